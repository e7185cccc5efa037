"""An upstream that only the configuration knows, behind a real gate: its streams whole, cut and failed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from . import leaks
from .asking import Answer, ask
from .scripted import Peer, chunk, scripted

CONFIG = """
upstreams:
  house:
    url: "{url}"
    dialect:
      framing: {framing}
      text: [output.token, choices.0.text]
      reasoning: output.thought
      finish_reason: output.stop
      usage: {{input: stats.in, output: stats.out}}
      error: error.message
      done: "{done}"
routes:
  - {{path: /native, upstream_path: /say, output: native}}
  - {{path: /openai, upstream_path: /say, output: openai}}
  - {{path: /say, output: same, metadata: off}}
"""
PAYLOADS = [
    {"output": {"thought": "hm"}, "stats": {"in": 3}},
    {"output": {"token": "Hé"}},
    {"choices": [{"text": 'llo, "you"'}]},
    {"output": {"stop": "max_tokens"}, "stats": {"out": 2}},
]
DONE = "<end>"


def event(payload: Any) -> bytes:
    return b"event: update\ndata: %b\n\n" % payload_of(payload)


def line(payload: Any) -> bytes:
    return payload_of(payload) + b"\n"


def payload_of(payload: Any) -> bytes:
    return payload.encode() if isinstance(payload, str) else json.dumps(payload).encode()


FRAMINGS = {
    "sse": ("text/event-stream", event, "text/event-stream; charset=utf-8"),
    "ndjson": ("application/json", line, "application/x-ndjson"),
}
"""The upstream's label, how it frames, and the label of the same."""


async def said(gate: Any, framing: str, path: str, payloads: list[Any]) -> tuple[bytes, Answer, str]:
    """Have an upstream say *payloads*; return its body, what the client got, and the metrics."""
    label, framed, _ = FRAMINGS[framing]
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {label}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    pieces = [framed(payload) for payload in payloads]

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.say(head)
        for piece in pieces:
            await peer.say(chunk(piece[:5]))
            await peer.say(chunk(piece[5:]))
        await peer.say(b"0\r\n\r\n")

    async with scripted(script) as upstream:
        running = await gate(CONFIG.format(url=upstream.url, framing=framing, done=DONE))
        answer = await ask(running.url, path, {"stream": True})
        return b"".join(pieces), answer, await gate.metrics(running)


@pytest.mark.parametrize("framing", list(FRAMINGS))
async def test_a_described_stream_is_read(gate: Any, framing: str):
    """Text, thinking, reason and counts, as the description says where they are."""
    _, answer, metrics = await said(gate, framing, "/native", [*PAYLOADS, DONE])

    *events, last = [json.loads(block[6:]) for block in answer.body.decode().split("\n\n")[:-1]]
    assert "".join(event["token"] for event in events) == 'Héllo, "you"'
    assert "".join(event.get("reasoning", "") for event in events) == "hm"
    assert (last["finish_reason"], last["upstream_finish_reason"]) == ("length", "max_tokens")
    assert (last["metadata"]["input_tokens"], last["metadata"]["output_tokens"]) == (3, 2)
    assert leaks.outcomes(metrics) == {"completed": 1}


async def test_a_described_stream_is_openai_s_too(gate: Any):
    """Any output can be made of it."""
    _, answer, _ = await said(gate, "ndjson", "/openai", [*PAYLOADS, DONE])

    *chunks, done = [block[6:] for block in answer.body.decode().split("\n\n")[:-1]]
    deltas = [choice["delta"] for one in map(json.loads, chunks) for choice in one["choices"]]
    assert "".join(delta.get("content") or "" for delta in deltas) == 'Héllo, "you"'
    assert done == "[DONE]"


@pytest.mark.parametrize("framing", list(FRAMINGS))
async def test_its_own_clients_get_every_frame(gate: Any, framing: str):
    """One by one, in its own framing, ended by its own end mark."""
    body, answer, metrics = await said(gate, framing, "/say", [*PAYLOADS, DONE])

    assert answer.status == 200 and answer.is_whole
    assert answer.header("Content-Type") == FRAMINGS[framing][2]
    assert answer.body == body
    assert leaks.outcomes(metrics) == {"completed": 1}


@pytest.mark.parametrize("path", ["/native", "/openai", "/say"])
async def test_a_body_that_ends_too_soon_is_told(gate: Any, path: str):
    """A clean end of the body without finish reason and end mark is no end of the answer."""
    body, answer, metrics = await said(gate, "ndjson", path, PAYLOADS[:3])

    assert b"ended before its finish" in answer.body
    if path == "/say":
        rest = answer.body.removeprefix(body)
        assert json.loads(rest)["error"]["message"] == "the upstream's stream ended before its finish"
    assert leaks.outcomes(metrics) == {"truncated": 1}


async def test_an_error_before_any_content_is_a_status(gate: Any):
    """Its message is the one at the described path."""
    _, answer, metrics = await said(gate, "sse", "/native", [{"error": {"message": "no GPU", "code": 503}}])

    assert (answer.status, answer.json["error"]) == (503, "no GPU")
    assert leaks.outcomes(metrics) == {"upstream_error": 1}


async def test_an_error_in_the_stream_is_its_last_event(gate: Any):
    """What had come before it has arrived."""
    payloads = [*PAYLOADS[:2], {"error": {"message": "no GPU"}}]

    _, answer, _ = await said(gate, "sse", "/say", payloads)

    *_, last = answer.body.split(b"\n\n")[:-1]
    assert json.loads(last.removeprefix(b"data: ")) == {"error": {"message": "no GPU"}}
    assert answer.body.startswith(event(PAYLOADS[0]) + event(PAYLOADS[1]))
