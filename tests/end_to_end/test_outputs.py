"""Outputs that a route names, where they meet an upstream, an error or an end that is not the usual one."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from wire import reading_back

from ssegate.simulate import Behaviour

from .asking import Answer, ask, connected, everything_to

CHAT, MESSAGES = "/v1/chat/completions", "/v1/messages"
WORDS = {
    "native": lambda said: said["error"],
    "openai": lambda said: said["error"]["message"],
    "vercel": lambda said: said["error"]["message"],
    "text": lambda said: said["error"]["message"],
    "anthropic": lambda said: said["error"]["message"],
    "responses": lambda said: said["error"]["message"],
}
"""Where each format's client finds the message of an error before the stream."""


async def asked(gate: Any, url: str, path: str = CHAT, **route: str) -> Answer:
    running = await gate(everything_to(url, **route))
    return await ask(running.url, path, {"stream": True, "model": "m"})


@pytest.mark.parametrize(
    ("output", "path", "seen"),
    [
        ("anthropic", CHAT, "openai"),
        ("anthropic", "/api/chat", "ollama"),
        ("responses", CHAT, "openai"),
        ("responses", MESSAGES, "anthropic"),
    ],
)
async def test_a_stream_that_does_not_fit_its_output_is_refused(
    gate: Any, simulator: Any, output: str, path: str, seen: str
):
    """A 502 in the client's own shape says what came and what was needed; a retry would only cost."""
    upstream = await simulator(Behaviour(tokens=5))

    answer = await asked(gate, upstream.url, path, output=output)

    assert (answer.status, answer.header("x-should-retry")) == (502, "false")
    assert WORDS[output](answer.json) == (
        f"the upstream answered in the {seen} dialect, the output {output} needs its own"
    )
    assert ("request_id" in answer.json) is (output == "anthropic")


async def test_an_output_of_its_own_dialect_is_that_dialect(gate: Any, simulator: Any):
    """`output: anthropic` from an Anthropic upstream is what `same` would be, on any path."""
    upstream = await simulator(Behaviour(tokens=5))

    answer = await asked(gate, upstream.url, MESSAGES, output="anthropic")

    said = reading_back.anthropic(answer.body)
    assert (answer.status, said.error) == (200, None)
    assert said.first.text
    assert said.final["stream_id"] == answer.header("X-Stream-ID")


@pytest.mark.parametrize("output", list(WORDS))
async def test_a_client_that_sees_no_status_gets_the_error_as_an_event(
    gate: Any, simulator: Any, output: str
):
    """With `errors: stream` what fails before the stream is a stream of its error."""
    upstream = await simulator(Behaviour(fault="refuse"))
    running = await gate(everything_to(upstream.url, output=output, errors="stream"))

    refused = await ask(running.url, CHAT, b"{", headers={"Content-Type": "application/json"})
    failed = await ask(running.url, CHAT, {"stream": True})

    for answer in (refused, failed):
        assert (answer.status, answer.header("Content-Type")) == (200, "text/event-stream; charset=utf-8")
        assert answer.header("x-vercel-ai-ui-message-stream") == ("v1" if output == "vercel" else None)
        said = getattr(reading_back, output)(answer.body)
        assert said.error is not None and said.first.text == ""


@pytest.mark.parametrize(("path", "shape"), [(MESSAGES, "anthropic"), ("/v1/responses", "responses")])
async def test_where_no_output_is_named_the_path_tells_the_shape_of_the_event(
    gate: Any, simulator: Any, path: str, shape: str
):
    """Nobody knows yet what the upstream would have spoken; the client's path says what it reads."""
    upstream = await simulator(Behaviour(fault="refuse"))
    running = await gate(everything_to(upstream.url, errors="stream"))

    answer = await ask(running.url, path, {"stream": True})

    assert answer.status == 200
    assert getattr(reading_back, shape)(answer.body).error is not None


@pytest.mark.parametrize("output", ["vercel", "text", "anthropic"])
async def test_a_cancelled_stream_ends_in_its_format(gate: Any, simulator: Any, output: str):
    """The operator ends it; what was open is closed, and the response ends as HTTP wants it."""
    upstream = await simulator(Behaviour(tokens=100_000, rate=200))
    running = await gate(everything_to(upstream.url, output=output))
    path = MESSAGES if output == "anthropic" else CHAT

    async with connected(running.url) as connection:
        connection.send(path, {"stream": True, "model": "m"})
        head = await connection.head()
        body = await connection.chunk()
        cancel = f"/-/streams/{head.header('X-Stream-ID')}"
        told = await ask(running.admin_url, cancel, method="DELETE", headers={"Host": "localhost"})
        assert told.status == 200
        async with asyncio.timeout(5):
            while data := await connection.chunk():
                body += data

    said = getattr(reading_back, output)(body)
    assert said.first.text
    assert said.error is not None
    if output == "vercel":
        assert b'{"type":"abort","reason":' in body


@pytest.mark.parametrize("output", ["vercel", "text"])
async def test_a_truncated_upstream_is_told_as_such(gate: Any, simulator: Any, output: str):
    """What arrived is there and closed; then comes the error, never the end of a good answer."""
    upstream = await simulator(Behaviour(tokens=50, fault="eof", fault_after=20))

    answer = await asked(gate, upstream.url, output=output)

    said = getattr(reading_back, output)(answer.body)
    assert answer.is_whole
    assert said.first.text and said.first.finish_reason is None
    assert "ended before its finish" in said.error["message"]
