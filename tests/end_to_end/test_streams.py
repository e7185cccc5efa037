"""Streams through a real gate: every dialect the simulator speaks, in every output."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from aiohttp import web
from simulate.reading import READERS, Said
from wire import reading_back

from ssegate.simulate import Behaviour

from .asking import STREAM, ask, connected, serving

PATHS = {
    "openai": "/v1/chat/completions",
    "completions": "/v1/completions",
    "anthropic": "/v1/messages",
    "ollama": "/api/chat",
    "generate": "/api/generate",
}
SSE = "text/event-stream; charset=utf-8"
NDJSON = "application/x-ndjson"
TEXT = 'Zürich, 東京 and 🙂:\nnothing is "lost", \\ neither.\n\n{}' * 20
FINISHES = {"end_turn": "stop", "max_tokens": "length", "tool_use": "tool_calls"}
"""Native's words for those of the upstream; all others are the same."""

ROUTE = """
upstreams: {{sim: {{url: "{url}"}}}}
routes: [{{path: /*, output: {output}}}]
"""


def native(body: bytes) -> tuple[Said, dict[str, Any]]:
    """Return what native events say, and the last one."""
    said, last = Said(), {}
    for block in body.decode().split("\n\n")[:-1]:
        assert not last, "an event after the end"
        assert block.startswith("data: ")
        event = json.loads(block.removeprefix("data: "))
        if event["finished"]:
            last, said.finish, said.ended = event, event["finish_reason"], True
            continue
        said.text += event["token"]
        said.reasoning += event.get("reasoning", "")
        if call := event.get("tool_call"):
            if "name" in call:
                assert call["id"]
                assert call["index"] == len(said.calls)
                said.calls[call["index"]] = [call["name"], ""]
            said.calls[call["index"]][1] += call["arguments"]
    return said, last


def asked(name: str) -> dict[str, Any]:
    """Return the body a client of that dialect sends for a stream."""
    usage = {"stream_options": {"include_usage": True}} if "/v1/c" in PATHS[name] else {}
    return {"stream": True, "model": "m-1", "messages": [{"role": "user", "content": "hi"}], **usage}


async def heard_directly(url: str, name: str) -> Said:
    """Return what the simulator itself says to a client that asks it without a gate."""
    answer = await ask(url, PATHS[name], asked(name))
    return READERS[name](answer.body)


def same_words(said: Said, upstream: Said) -> None:
    assert said.text == upstream.text
    assert said.reasoning == upstream.reasoning
    assert said.arguments() == upstream.arguments()
    assert said.ended


BEHAVIOURS = {
    "text": Behaviour(tokens=40),
    "reasoning": Behaviour(tokens=20, reasoning=10),
    "tools": Behaviour(tokens=8, tools=3),
    "recut": Behaviour(tokens=30, reasoning=5, tools=2, recut=7),
}


@pytest.mark.parametrize("kind", list(BEHAVIOURS))
@pytest.mark.parametrize("name", list(PATHS))
async def test_native_says_what_the_upstream_said(gate: Any, simulator: Any, name: str, kind: str):
    """Text, reasoning, tool calls, finish and usage of every dialect arrive in native events."""
    upstream = await simulator(BEHAVIOURS[kind])
    running = await gate(ROUTE.format(url=upstream.url, output="native"))

    answer = await ask(running.url, PATHS[name], asked(name))

    said, last = native(answer.body)
    input_tokens = -(-len(upstream.requests[-1].body) // 4)  # the simulator counts so
    direct = await heard_directly(upstream.url, name)
    same_words(said, direct)
    reason = "tool_calls" if direct.calls else FINISHES.get(str(direct.finish), direct.finish)
    assert last["finish_reason"] == reason
    if direct.finish != reason:
        assert last["upstream_finish_reason"] == direct.finish
    metadata = last["metadata"]
    assert metadata["usage_source"] == "reported"
    assert metadata["input_tokens"] == input_tokens
    assert metadata["output_tokens"] == metadata["total_tokens"] == direct.output_tokens
    assert metadata["model"] == "m-1"
    assert metadata["stream_id"] == answer.header("X-Stream-ID")


@pytest.mark.parametrize("kind", list(BEHAVIOURS))
@pytest.mark.parametrize("name", list(PATHS))
async def test_openai_says_what_the_upstream_said(gate: Any, simulator: Any, name: str, kind: str):
    """Every dialect arrives as OpenAI chunks: those of legacy completions on their own path."""
    upstream = await simulator(BEHAVIOURS[kind])
    running = await gate(ROUTE.format(url=upstream.url, output="openai"))
    body = asked(name) | {"stream_options": {"include_usage": True}}

    answer = await ask(running.url, PATHS[name], body)

    said = READERS["completions" if name == "completions" else "openai"](answer.body)
    direct = await heard_directly(upstream.url, name)
    same_words(said, direct)
    assert said.finish == ("tool_calls" if direct.calls else FINISHES.get(str(direct.finish), direct.finish))
    assert said.output_tokens == direct.output_tokens
    assert answer.body.endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize("kind", list(BEHAVIOURS))
@pytest.mark.parametrize("name", list(PATHS))
async def test_same_says_what_the_upstream_said(gate: Any, simulator: Any, name: str, kind: str):
    """In its own dialect a client reads exactly what it would have read without a gate."""
    upstream = await simulator(BEHAVIOURS[kind])
    running = await gate(ROUTE.format(url=upstream.url, output="auto"))

    answer = await ask(running.url, PATHS[name], asked(name))

    said, direct = READERS[name](answer.body), await heard_directly(upstream.url, name)
    same_words(said, direct)
    assert (said.finish, said.output_tokens) == (direct.finish, direct.output_tokens)


@pytest.mark.parametrize("name", list(PATHS))
async def test_unbatched_same_changes_no_field(gate: Any, simulator: Any, name: str):
    """Without batching and metadata every payload of the upstream arrives in its order, no field changed."""
    first = await simulator(Behaviour(tokens=30, reasoning=4, tools=2))
    recording = (await ask(first.url, PATHS[name], asked(name))).body
    upstream = await simulator(
        Behaviour(replay=recording, replay_type=NDJSON if b"data:" not in recording else SSE)
    )
    running = await gate(
        f"""
        upstreams: {{sim: {{url: "{upstream.url}"}}}}
        routes: [{{path: /*, output: same, batch: off, metadata: off}}]
        """
    )

    answer = await ask(running.url, PATHS[name], asked(name))

    assert payloads(answer.body) == payloads(recording)


def payloads(body: bytes) -> list[Any]:
    """Return the JSON objects of a body in SSE or NDJSON, end marks as text."""
    lines = [line for line in body.decode().split("\n") if line and not line.startswith(("event: ", ":"))]
    texts = [line.removeprefix("data: ") for line in lines]
    return [text if text == "[DONE]" else json.loads(text) for text in texts]


@pytest.mark.parametrize("name", [*PATHS, "text"])
async def test_raw_is_the_upstreams_bytes(gate: Any, simulator: Any, name: str):
    """Raw output adds and removes no byte, and keeps the upstream's content type."""
    if name == "text":
        recording, media = TEXT.encode(), "text/plain; charset=utf-8"
    else:
        first = await simulator(Behaviour(tokens=30, reasoning=3, tools=1))
        direct = await ask(first.url, PATHS[name], asked(name))
        recording, media = direct.body, str(direct.header("Content-Type"))
    upstream = await simulator(Behaviour(replay=recording, replay_type=media, recut=5))
    running = await gate(ROUTE.format(url=upstream.url, output="raw"))

    answer = await ask(running.url, PATHS.get(name, "/v1/chat/completions"), {"stream": True})

    assert answer.body == recording
    assert answer.is_whole
    assert answer.header("Content-Type") == media


@pytest.mark.parametrize("output", ["native", "openai", "vercel", "text", "same"])
async def test_plain_text_is_a_dialect(gate: Any, simulator: Any, output: str):
    """An upstream of bare text arrives whole in every output, cut anywhere, even inside a character."""
    upstream = await simulator(Behaviour(replay=TEXT.encode(), replay_type="text/plain", recut=11))
    running = await gate(ROUTE.format(url=upstream.url, output=output))

    answer = await ask(running.url, "/v1/chat/completions", {"stream": True})

    if output == "same":
        assert (answer.body.decode(), answer.header("Content-Type")) == (TEXT, "text/plain; charset=utf-8")
    elif output == "native":
        said, last = native(answer.body)
        assert said.text == TEXT
        assert last["metadata"]["usage_source"] == "estimated"
        assert "input_tokens" not in last["metadata"]
    elif output == "openai":
        assert READERS["openai"](answer.body).text == TEXT
    else:
        assert getattr(reading_back, output)(answer.body).first.text == TEXT


# What surrounds the events

OURS = {
    "Content-Type",
    "Cache-Control",
    "X-Accel-Buffering",
    "X-Stream-ID",
    "X-Request-ID",
    "Transfer-Encoding",
}
OF_THE_SERVER = {"Date", "Server"}
CHATTY = {
    "x-request-id": "req_upstream",
    "x-ratelimit-limit-requests": "60",
    "x-ratelimit-remaining-tokens": "149984",
    "anthropic-ratelimit-requests-reset": "2026-01-01T00:00:00Z",
    "ratelimit-policy": '"rpm";q=60;w=60',
    "set-cookie": "a=b",
    "server": "upstream/1.0",
    "openai-organization": "org-1",
    "openai-processing-ms": "12",
    "access-control-allow-origin": "*",
    "strict-transport-security": "max-age=1",
    "retry-after": "3",
    "cf-ray": "1",
    "x-stream-id": "theirs",
    "cache-control": "public",
    "x-accel-buffering": "yes",
    "content-disposition": "attachment",
    "etag": '"x"',
}


@pytest.mark.parametrize("output", ["native", "openai", "vercel", "text", "same", "raw"])
async def test_the_headers_of_a_stream(gate: Any, output: str):
    """A stream has the gate's headers, the upstream's request id and rate limits, and nothing else of it."""

    async def chatty(request: web.BaseRequest) -> web.Response:
        return web.Response(body=STREAM, headers=CHATTY | {"content-type": "text/event-stream"})

    async with serving(chatty) as upstream:
        running = await gate(ROUTE.format(url=upstream.url, output=output))
        answer = await ask(running.url, "/v1/chat/completions", {"stream": True})

    passed = {name for name in CHATTY if "ratelimit" in name}
    names = {name.lower() for name in answer.headers} - {name.lower() for name in OF_THE_SERVER}
    of_format = {"x-vercel-ai-ui-message-stream"} if output == "vercel" else set()
    assert names == {name.lower() for name in OURS} | passed | of_format
    assert answer.header("x-vercel-ai-ui-message-stream") == ("v1" if of_format else None)
    assert {name: answer.header(name) for name in passed} == {name: CHATTY[name] for name in passed}
    assert answer.header("X-Request-ID") == "req_upstream"
    assert answer.header("X-Accel-Buffering") == "no"
    assert answer.header("Cache-Control") == "no-cache, no-transform"
    assert answer.header("Content-Type") == ("text/event-stream" if output == "raw" else SSE)
    assert "upstream" not in (answer.header("Server") or "")
    assert answer.header("X-Stream-ID") != "theirs"


async def test_anthropics_request_id_keeps_its_name(gate: Any, simulator: Any):
    """Anthropic's own ``request-id`` comes through, and the SDKs' ``x-request-id`` is there too."""
    upstream = await simulator(Behaviour(tokens=2))
    running = await gate(ROUTE.format(url=upstream.url, output="auto"))

    answer = await ask(running.url, "/v1/messages", {"stream": True})

    assert str(answer.header("request-id")).startswith("req_")
    assert answer.header("X-Request-ID")


async def test_an_upstream_without_an_id_gets_one_of_ours(gate: Any, simulator: Any):
    """Ollama names no request: the gate does, anew each time."""
    upstream = await simulator(Behaviour(tokens=2))
    running = await gate(ROUTE.format(url=upstream.url, output="auto"))

    answers = [await ask(running.url, "/api/chat", {}) for _ in range(2)]

    assert answers[0].header("X-Request-ID")
    assert answers[0].header("X-Request-ID") != answers[1].header("X-Request-ID")
    assert answers[0].header("Content-Type") == NDJSON


@pytest.mark.parametrize("output", ["native", "openai", "vercel", "text", "same", "raw"])
async def test_the_connection_is_usable_after_a_stream(gate: Any, simulator: Any, output: str):
    """After the terminator the response ends with its last chunk, and the connection serves the next one."""
    upstream = await simulator(Behaviour(tokens=20))
    running = await gate(ROUTE.format(url=upstream.url, output=output))

    async with connected(running.url) as connection:
        answers = [await connection.ask("/v1/chat/completions", {"stream": True}) for _ in range(3)]
        after = await connection.ask("/v1/models", method="GET")

    assert all(answer.is_whole and answer.status == 200 for answer in answers)
    assert len({answer.header("X-Stream-ID") for answer in answers}) == 3
    assert after.json["object"] == "list"


async def test_the_response_ends_although_the_upstream_does_not(gate: Any, simulator: Any):
    """The terminator ends the response at once, even if the upstream keeps its body open."""
    upstream = await simulator(Behaviour(tokens=5, fault="hang_after_done"))
    running = await gate(ROUTE.format(url=upstream.url, output="openai"))

    async with asyncio.timeout(5):
        answer = await ask(running.url, "/v1/chat/completions", {"stream": True})

    assert answer.is_whole
    assert answer.body.endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize("output", ["native", "openai", "vercel", "text", "same"])
@pytest.mark.parametrize("name", list(PATHS))
async def test_one_write_holds_whole_events(gate: Any, simulator: Any, name: str, output: str):
    """However the upstream's bytes are cut, no event is split over two writes of the gate's."""
    upstream = await simulator(Behaviour(tokens=60, reasoning=10, tools=2, recut=3))
    running = await gate(ROUTE.format(url=upstream.url, output=output))

    answer = await ask(running.url, PATHS[name], asked(name))

    end = b"\n" if answer.header("Content-Type") == NDJSON else b"\n\n"
    assert len(answer.chunks) > 5
    assert all(chunk.endswith(end) for chunk in answer.chunks)


async def test_the_head_and_the_first_events_do_not_wait_for_the_rest(gate: Any, simulator: Any):
    """The first delta is sent at once, while the upstream is still generating."""
    upstream = await simulator(Behaviour(tokens=10_000, rate=50))
    running = await gate(ROUTE.format(url=upstream.url, output="native"))

    async with connected(running.url) as connection:
        connection.send("/v1/chat/completions", {"stream": True})
        async with asyncio.timeout(5):
            await connection.head()
            first = await connection.chunk()

    assert b'"token_count":1' in first
    assert upstream.completed == 0
