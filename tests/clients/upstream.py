"""
The upstreams of the client tests: vendors' bodies, told in the way each scenario wants them.

A path begins with a key of ``BODIES`` and a scenario: ``/anthropic/silence/v1/messages``. What was recorded
is sent as recorded; only where there is no recording is a body written by hand, from the vendor's documents.
"""

from __future__ import annotations

import asyncio
import json
import re
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from end_to_end.scripted import Peer, chunk
from wire.recordings import recording

from .scenarios import RETRY_AFTER, SILENCE

__all__ = ["BODIES", "MESSAGE", "Bodies", "Body", "Upstream"]

MESSAGE = "The model is overloaded, says the upstream"
"""Of the error in mid-answer."""

UNICODE = "日本語 🙂 \U0001f469\u200d\U0001f467 שלום e\u0301 ﷽ \u2028\u0085\u200b𝔘"
"""Of all planes, joined, combining, from right to left, and line ends that are none in JSON or SSE."""


@dataclass(frozen=True)
class Body:
    """What an upstream says, and what a client must make of it."""

    data: bytes
    content_type: str
    text: str = ""
    reasoning: str = ""
    calls: tuple[tuple[str, Any], ...] = ()
    """Name and arguments, which are no text any more."""

    @property
    def events(self) -> list[bytes]:
        """The body, cut where its events end."""
        end = rb"\n" if "json" in self.content_type else rb"(?:\r?\n){2}"
        return re.findall(rb".+?(?:%b|\Z)" % end, self.data, re.DOTALL)

    def replaced(self, word: str, by: str, escaped: str = "") -> Body:
        """
        Return the same with *by* for *word*, which is in the text once: first raw, then in escapes.

        Args:
            escaped: Characters that are never raw.
        """
        assert self.text.count(word) == 1
        raw = "".join(json.dumps(sign)[1:-1] if sign in escaped else sign for sign in by)
        data = self.data.replace(word.encode(), (raw + json.dumps(by)[1:-1]).encode())
        return Body(data, self.content_type, self.text.replace(word, by + by))


def recorded(file: str) -> Body:
    """Return the body recorded in *file*."""
    entry = recording(file)
    expected = entry.expected
    calls = tuple((call["name"], json.loads(call["arguments"] or "{}")) for call in entry.calls)
    return Body(entry.body, entry.content_type, expected["text"], expected["reasoning"], calls)


@dataclass(frozen=True)
class Bodies:
    """What one vendor says."""

    text: Body
    word: str
    """A word of the text that arrives in one piece."""

    failure: bytes
    """Its error in mid-answer."""

    refusal: dict[str, Any]
    """The body of its 429."""

    tool: Body | None = None
    reasoning: Body | None = None
    escaped: str = ""
    """Characters that its server never sends raw."""

    def of(self, scenario: str) -> Body | None:
        """Return what is said in *scenario*, if this vendor can."""
        if scenario == "unicode":
            return self.text.replaced(self.word, UNICODE, self.escaped)
        return {"tool": self.tool, "reasoning": self.reasoning}.get(scenario, self.text)


def _event(data: Any, name: str = "") -> bytes:
    return (b"event: %b\n" % name.encode() if name else b"") + b"data: %b\n\n" % json.dumps(data).encode()


def _lines(*said: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(line).encode() + b"\n" for line in said)


_OPENAI_ERROR = {"error": {"message": MESSAGE, "type": "server_error", "param": None, "code": None}}
_OPENAI_LIMIT = {
    "error": {"message": "Slow down", "type": "requests", "param": None, "code": "rate_limit_exceeded"}
}
_OPENAI = {"failure": _event(_OPENAI_ERROR), "refusal": _OPENAI_LIMIT}


def _ollama(*messages: dict[str, Any]) -> bytes:
    """Shape: https://docs.ollama.com/api/chat"""
    head = {"model": "m", "created_at": "2026-01-01T00:00:00Z"}
    said = [
        {**head, "message": {"role": "assistant", "content": "", **told}, "done": False} for told in messages
    ]
    last = {**head, "message": {"role": "assistant", "content": ""}, "done": True, "done_reason": "stop"}
    return _lines(*said, {**last, "prompt_eval_count": 3, "eval_count": 5})


def _cohere(thoughts: list[str], texts: list[str]) -> bytes:
    """Shape: https://docs.cohere.com/v2/docs/reasoning"""
    said = [{"type": "message-start", "id": "m1", "delta": {"message": {"role": "assistant", "content": []}}}]
    for index, (kind, pieces) in enumerate({"thinking": thoughts, "text": texts}.items()):
        for place, piece in enumerate(["", *pieces]):
            content = {kind: piece} | ({} if place else {"type": kind})
            name = "content-delta" if place else "content-start"
            said.append({"type": name, "index": index, "delta": {"message": {"content": content}}})
        said.append({"type": "content-end", "index": index})
    said.append({"type": "message-end", "id": "m1", "delta": {"finish_reason": "COMPLETE"}})
    return b"".join(_event(event, event["type"]) for event in said)


_COHERE_FAILED = {"type": "message-end", "delta": {"finish_reason": "ERROR", "error": MESSAGE}}
_NDJSON = "application/x-ndjson"

BODIES = {
    "openai": Bodies(
        recorded("openai_chat/01-test-records-token-counts-for-streaming-openai-l.sse"),
        "bicycle",
        tool=recorded("openai_chat/04-test-async-chat-completion-multiple-tools-stream.sse"),
        reasoning=recorded("deepseek_chat/03-deepseek-tool-call.sse"),
        **_OPENAI,
    ),
    "completions": Bodies(
        recorded("openai_completions/03-test-completion-streaming-with-events-with-conte.sse"),
        "Email",
        **_OPENAI,
    ),
    "responses": Bodies(
        recorded("openai_responses/03-test-openai-instructions-with-responses-logprobs.sse"),
        "Horizonte",
        failure=_event(
            {
                "type": "error",
                "code": "server_error",
                "message": MESSAGE,
                "param": None,
                "sequence_number": 9,
            },
            "error",
        ),
        refusal=_OPENAI_LIMIT,
        tool=recorded("azure_openai_responses/02-azure-tool-call-1.sse"),
        reasoning=recorded("deepseek_responses/01-test-deepseek-responses-text-stream.sse"),
    ),
    "anthropic": Bodies(
        recorded("anthropic_messages/08-test-fixed-version-tool-chain-regression.sse"),
        "guess",
        failure=_event({"type": "error", "error": {"type": "overloaded_error", "message": MESSAGE}}, "error"),
        refusal={"type": "error", "error": {"type": "rate_limit_error", "message": "Slow down"}},
        tool=recorded("llamacpp_messages/02-recorded-s-msg-tooltext.sse"),
        reasoning=recorded("anthropic_messages/09-test-opus-46-adaptive-thinking.sse"),
    ),
    "gemini": Bodies(
        recorded("gemini_sse/03-test-streaming-text-content.sse"),
        "contentedly",
        failure=_event({"error": {"code": 503, "message": MESSAGE, "status": "UNAVAILABLE"}}),
        refusal={"error": {"code": 429, "message": "Slow down", "status": "RESOURCE_EXHAUSTED"}},
        tool=recorded("gemini_sse/02-test-response-with-multiple-tool-calls-true.sse"),
        reasoning=recorded("gemini_sse/06-streaming-success-thinking-reply-thought-summary.sse"),
    ),
    "ollama": Bodies(
        recorded("ollama_chat/01-test-ollama-streaming-chat-legacy.ndjson"),
        "therapy",
        failure=_lines({"error": MESSAGE}),
        # Go escapes the line separators of Unicode. A raw U+0085 ends a line for Ollama's Python client, and
        # the stream with it, with the gate or without.
        escaped="\u2028\u0085",
        refusal={"error": "Slow down"},
        tool=Body(
            _ollama(
                {"tool_calls": [{"function": {"name": "weather", "arguments": {"city": "東京", "days": 3}}}]}
            ),
            _NDJSON,
            calls=(("weather", {"city": "東京", "days": 3}),),
        ),
        reasoning=Body(
            _ollama({"thinking": "Because"}, {"thinking": " of 理由."}, {"content": "So."}),
            _NDJSON,
            text="So.",
            reasoning="Because of 理由.",
        ),
    ),
    "cohere": Bodies(
        recorded("cohere_v2/03-cohere-text.sse"),
        "Paris",
        failure=_event(_COHERE_FAILED, "message-end"),
        refusal={"id": "1", "message": "Slow down"},
        tool=recorded("cohere_v2/04-cohere-tool-call.sse"),
        reasoning=Body(
            _cohere(["Because", " of 理由."], ["So", "."]),
            "text/event-stream",
            text="So.",
            reasoning="Because of 理由.",
        ),
    ),
    "mistral": Bodies(
        recorded("mistral_chat/03-tapes-json-494ac643acd05c23.sse"),
        "equation",
        tool=recorded("mistral_chat/02-test-synchronous-streaming-chat-completions-with.sse"),
        reasoning=recorded("mistral_chat/05-test-mistral-model-thinking-part-iter.sse"),
        **_OPENAI,
    ),
}
"""By the first part of the path."""


class Upstream:
    """
    Answers on every path of ``BODIES`` and the scenarios.

    Attributes:
        asked: When each request of this test came, ``time.monotonic``.
        left: The client of ``disconnect`` has closed.
    """

    def __init__(self) -> None:
        self.asked: list[float] = []
        self.left = threading.Event()
        self._tell: dict[str, Callable[[Peer, Bodies], Awaitable[None]]] = {
            "unicode": self._cut_small,
            "error": self._failing,
            "limit": self._limited,
            "truncated": self._truncated,
            "silence": self._silent,
            "disconnect": self._endless,
        }

    def forget(self) -> None:
        """Begin another test."""
        self.asked.clear()
        self.left.clear()

    async def answer(self, peer: Peer) -> None:
        """Answer all requests of one connection."""
        while request := await peer.request():
            self.asked.append(time.monotonic())
            _, vendor, scenario, *_ = request.split(b" ", 2)[1].decode().split("/")
            if tell := self._tell.get(scenario):
                await tell(peer, BODIES[vendor])
            else:
                body = BODIES[vendor].of(scenario)
                assert body is not None, f"{vendor} has nothing to say in {scenario}"
                await peer.stream(*body.events, head=_head(body))

    async def _cut_small(self, peer: Peer, bodies: Bodies) -> None:
        """Pieces of 1 to 5 bytes, with a pause now and then so that they arrive as pieces."""
        body = bodies.of("unicode")
        assert body is not None
        await peer.say(_head(body))
        dice, at = Random(5), 0
        while at < len(body.data):
            size = dice.randint(1, 5)
            await peer.say(chunk(body.data[at : at + size]))
            at += size
            if dice.random() < 0.1:
                await asyncio.sleep(0)
        await peer.say(chunk(b""))

    async def _half(self, peer: Peer, bodies: Bodies) -> list[bytes]:
        """Say half of the text, so that it can be seen before what follows; return the other half."""
        events = bodies.text.events
        middle = len(events) // 2
        await peer.stream(*events[:middle], head=_head(bodies.text), end=False)
        await asyncio.sleep(0.1)
        return events[middle:]

    async def _failing(self, peer: Peer, bodies: Bodies) -> None:
        await self._half(peer, bodies)
        await peer.say(chunk(bodies.failure) + chunk(b""))

    async def _truncated(self, peer: Peer, bodies: Bodies) -> None:
        await self._half(peer, bodies)
        await peer.say(chunk(b""))

    async def _silent(self, peer: Peer, bodies: Bodies) -> None:
        events = bodies.text.events
        middle = len(events) // 2
        await asyncio.sleep(SILENCE)
        await peer.stream(*events[:middle], head=_head(bodies.text), end=False)
        await asyncio.sleep(SILENCE)
        await peer.stream(*events[middle:], head=b"")

    async def _endless(self, peer: Peer, bodies: Bodies) -> None:
        await self._half(peer, bodies)
        await peer.left()
        self.left.set()

    async def _limited(self, peer: Peer, bodies: Bodies) -> None:
        """429 once, then the text."""
        if len(self.asked) > 1:
            await peer.stream(*bodies.text.events, head=_head(bodies.text))
            return
        body = json.dumps(bodies.refusal).encode()
        head = "HTTP/1.1 429 Too Many Requests\r\nContent-Type: application/json\r\n"
        fields = f"Retry-After: {RETRY_AFTER}\r\nContent-Length: {len(body)}\r\n\r\n"
        await peer.say((head + fields).encode() + body)


def _head(body: Body) -> bytes:
    fields = f"Content-Type: {body.content_type}\r\nTransfer-Encoding: chunked\r\n\r\n"
    return f"HTTP/1.1 200 OK\r\n{fields}".encode()
