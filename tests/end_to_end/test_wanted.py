"""Is a stream wanted, and in which output: decided from the request alone."""

from __future__ import annotations

import json
from typing import Any

import pytest
from simulate.reading import READERS

from ssegate.simulate import Behaviour

from .asking import CHAT, STREAM, answering, ask, everything_to, serving

UNASKED = "text/event-stream; charset=iso-8859-1"
"""An odd type shows that an answer has passed as it is."""


HI = {"messages": []}
WANTED: list[tuple[str, str, str, Any, bool]] = [
    # output, method, path, body, wanted – all on a prefix route
    ("auto", "POST", CHAT, HI | {"stream": True}, True),
    ("auto", "POST", CHAT, HI | {"stream": False}, False),
    ("auto", "POST", CHAT, HI | {"stream": None}, False),
    ("auto", "POST", CHAT, HI, False),
    ("auto", "POST", CHAT + "?stream=true", HI, True),
    ("auto", "POST", CHAT + "?a=b&stream=true", HI, True),
    ("auto", "POST", CHAT + "?stream=true", HI | {"stream": False}, False),
    ("auto", "POST", CHAT + "?upstream=true", HI, False),
    ("auto", "GET", "/anything?stream=true", None, True),
    ("auto", "GET", "/anything", None, False),
    ("auto", "POST", "/v1beta/models/g:streamGenerateContent", HI, True),
    ("auto", "POST", "/v1beta/models/g:streamGenerateContent?alt=sse", HI, True),
    ("auto", "POST", "/v1beta/models/g:streamGenerateContent", HI | {"stream": False}, False),
    ("auto", "POST", "/v1beta/models/g:streamGenerateContent?stream=false", HI, False),
    ("auto", "POST", "/v1beta/models/g:generateContent", HI, False),
    ("auto", "POST", "/model/m/converse-stream", HI, True),
    ("auto", "POST", "/model/m/converse", HI, False),
    ("auto", "POST", "/model/m/invoke-with-response-stream", HI, True),
    ("auto", "POST", "/generate_stream", HI, True),
    ("auto", "POST", "/ml/v1/text/generation_stream", HI, True),
    ("auto", "POST", "/api/chat", HI, True),
    ("auto", "POST", "/api/generate", HI, True),
    ("auto", "POST", "/api/chat", HI | {"stream": True}, True),
    ("auto", "POST", "/api/chat", HI | {"stream": False}, False),
    ("auto", "POST", "/api/embed", HI, False),
    ("native", "POST", CHAT, HI, True),
    ("native", "POST", CHAT, HI | {"stream": False}, False),
    ("native", "POST", CHAT + "?stream=false", HI, False),
    ("native", "POST", "/v1/completions", HI, True),
    ("native", "POST", "/v1/responses", HI, True),
    ("native", "POST", "/v1/messages", HI, True),
    ("native", "POST", "/v1/chat", HI, True),
    ("native", "POST", "/v2/chat", HI, True),
    ("native", "POST", "/completion", HI, True),
    ("native", "POST", "/v1/embeddings", HI, False),
    ("native", "POST", "/v1/messages/count_tokens", HI, False),
    ("native", "GET", "/v1/models", None, False),
    ("openai", "POST", CHAT, HI, False),
    ("openai", "POST", CHAT, HI | {"stream": True}, True),
    ("raw", "POST", CHAT, HI, False),
    ("same", "POST", "/v1/messages", HI, False),
]


FORM = {"Content-Type": "application/x-www-form-urlencoded"}


async def test_curl_needs_no_header(gate: Any, simulator: Any):
    """``curl URL/api/chat -d '{…}'``, as Ollama's own documents have it, gets a metered stream."""
    upstream = await simulator(Behaviour(tokens=3))
    running = await gate(everything_to(upstream.url))
    body = b'{"model": "m", "messages": [{"role": "user", "content": "hi"}]}'

    answer = await ask(running.url, "/api/chat", body, headers=FORM)

    assert answer.status == 200
    assert "X-Stream-ID" in answer.headers
    assert running.streams_started == 1


async def test_what_only_looks_mislabelled_passes(gate: Any):
    """A form on an LLM path that is no JSON goes on as it came: nobody had called it JSON."""
    async with serving(answering(text="ok")) as upstream:
        running = await gate(everything_to(upstream.url))
        answer = await ask(running.url, "/api/chat", b"model=m&prompt=hi", headers=FORM)

    assert answer.body == b"ok"
    assert upstream.requests[0].body == b"model=m&prompt=hi"
    assert upstream.requests[0].headers["Content-Type"] == FORM["Content-Type"]


@pytest.mark.parametrize(("output", "method", "path", "body", "wanted"), WANTED)
async def test_is_a_stream_wanted(gate: Any, output: str, method: str, path: str, body: Any, wanted: bool):
    """The request alone decides; what was not wanted passes untouched, even if it is a stream."""
    async with serving(answering(body=STREAM, headers={"Content-Type": UNASKED})) as upstream:
        running = await gate(
            f"""
            upstreams: {{up: {{url: "{upstream.url}"}}}}
            routes: [{{path: /*, output: {output}}}]
            """
        )
        answer = await ask(running.url, path, body, method=method)

    assert ("X-Stream-ID" in answer.headers) is wanted
    if not wanted:
        assert (answer.status, answer.body, answer.header("Content-Type")) == (200, STREAM, UNASKED)


@pytest.mark.parametrize(
    ("body", "kind", "wanted"),
    [
        (HI, None, True),
        (HI | {"stream": False}, None, False),
        (b'{"messages": []}', "application/vnd.api+json", True),
        (b"--b\r\n\r\n--b--", "multipart/form-data; boundary=b", False),
    ],
)
async def test_every_json_post_to_an_exact_native_route_wants_a_stream(
    gate: Any, body: Any, kind: str | None, wanted: bool
):
    """On an exact route with output native the path says nothing: any JSON POST wants a stream."""
    async with serving(answering(body=STREAM, headers={"Content-Type": UNASKED})) as upstream:
        running = await gate(
            f"""
            upstreams: {{up: {{url: "{upstream.url}"}}}}
            routes: [{{path: /ask-me, output: native}}]
            """
        )
        answer = await ask(running.url, "/ask-me", body, headers={"Content-Type": kind} if kind else {})

    assert ("X-Stream-ID" in answer.headers) is wanted


AUTO = [
    (CHAT, "data: {", "chat.completion.chunk"),
    ("/openai/deployments/d/chat/completions", "data: {", "chat.completion.chunk"),
    ("/v1/messages", "event: message_start\n", None),
    ("/api/chat", "{", None),
]


@pytest.mark.parametrize(("path", "beginning", "kind"), AUTO)
async def test_auto_output_goes_by_the_path(
    gate: Any, simulator: Any, path: str, beginning: str, kind: str | None
):
    """Paths of OpenAI get OpenAI's chunks, all others their own dialect."""
    upstream = await simulator(Behaviour(tokens=3))
    running = await gate(everything_to(upstream.url))

    answer = await ask(running.url, path, {"stream": True})

    assert answer.body.decode().startswith(beginning)
    assert kind is None or json.loads(answer.chunks[0].split(b"\n")[0][6:])["object"] == kind


async def test_auto_output_of_openai_chunks_elsewhere_is_same(gate: Any):
    """OpenAI's chunks on a path that is none of OpenAI's stay what they are."""
    async with serving(answering(body=STREAM, headers={"Content-Type": UNASKED})) as upstream:
        running = await gate(everything_to(upstream.url))
        answer = await ask(running.url, "/predict", {"stream": True})

    assert READERS["openai"](answer.body).text == "Hello"


async def test_auto_output_of_a_get_is_native(gate: Any):
    """Who asks by GET is a page, and pages read native events."""
    async with serving(answering(body=STREAM, headers={"Content-Type": UNASKED})) as upstream:
        running = await gate(everything_to(upstream.url))
        answer = await ask(running.url, CHAT + "?stream=true", method="GET")

    assert b'data: {"token":"Hello","finished":false' in answer.body
