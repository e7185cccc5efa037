"""
Cohere's chat streams: v2's events, ended by ``message-end``, and v1's lines, ended by ``stream-end``.

From such an upstream the frames come carried and leave as they are. A complete answer in place of a stream
comes as neutral events and is told as a v2 stream would have been, a block each; what those do not hold (the
tool plan) is lost there.

Source: https://docs.cohere.com/v2/docs/streaming
"""

from __future__ import annotations

from typing import Any, ClassVar

from ssegate.wire.events import (
    Carried,
    Citation,
    Event,
    Failure,
    Finish,
    FinishReason,
    Reasoning,
    Start,
    Text,
    ToolCall,
    Usage,
)
from ssegate.wire.formats.encoding import DONE, encoded, sse_event, with_key
from ssegate.wire.formats.same import SameEvents, SameLines
from ssegate.wire.seams import Context

__all__ = ["Cohere", "CohereLines"]

_REASONS: dict[FinishReason, str] = {"length": "MAX_TOKENS", "tool_calls": "TOOL_CALL"}
"""Any other reason is ``COMPLETE``."""

_OWN_REASONS = ("COMPLETE", "STOP_SEQUENCE", "MAX_TOKENS", "TOOL_CALL", "TIMEOUT")


class Cohere(SameEvents):
    """Writes v2's events."""

    name: ClassVar[str] = "cohere"
    may_miss_deltas: ClassVar[bool] = False

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._id = context.stream_id
        self._has_begun = self._has_carried = False
        self._blocks = self._citations = 0

    def encode(self, event: Event | Carried, metadata: bytes) -> list[bytes]:
        """Return a carried event as it goes out, any other as events of its own."""
        match event:
            case Carried():
                self._has_carried = True
                return super().encode(event, metadata)
            case Start():
                self._id = event.id or self._id
            case Text(choice=0):
                return [*self._begin(), *self._block("text", event.text)]
            case Reasoning(choice=0):
                return [*self._begin(), *self._block("thinking", event.text)]
            case ToolCall(choice=0):
                return [*self._begin(), *_call(event)]
            case Citation(choice=0):
                return [*self._begin(), *self._citation(event)]
        return []

    def finish(self, finish: Finish, usage: Usage | None, metadata: bytes) -> list[bytes]:
        """Return the last events, unless they have been carried."""
        if self._has_carried:
            return []
        reason = finish.upstream_reason
        if reason not in _OWN_REASONS:
            reason = _REASONS.get(finish.reason, "COMPLETE")
        delta = {"finish_reason": reason, "usage": _usage(usage)}
        return [*self._begin(), _event("message-end", metadata, delta=delta), DONE]

    def fail(self, failure: Failure, metadata: bytes) -> list[bytes]:
        """Return the end of a message that went wrong."""
        delta = {"finish_reason": "ERROR", "error": failure.message}
        return [_event("message-end", b"", delta=delta), DONE]

    def _begin(self) -> list[bytes]:
        if self._has_begun:
            return []
        self._has_begun = True
        message = {"role": "assistant", "content": [], "tool_plan": "", "tool_calls": [], "citations": []}
        return [_event("message-start", id=self._id, delta={"message": message})]

    def _block(self, kind: str, text: str) -> list[bytes]:
        index, self._blocks = self._blocks, self._blocks + 1
        return [
            _event("content-start", index=index, delta=_message(content={"type": kind, kind: ""})),
            _event("content-delta", index=index, delta=_message(content={kind: text})),
            _event("content-end", index=index),
        ]

    def _citation(self, citation: Citation) -> list[bytes]:
        index, self._citations = self._citations, self._citations + 1
        source = {"type": "document", "document": {"url": citation.url, "title": citation.title}}
        cited = {"start": citation.start, "end": citation.end, "text": citation.text, "sources": [source]}
        return [
            _event("citation-start", index=index, delta=_message(citations=cited)),
            _event("citation-end", index=index),
        ]


class CohereLines(SameLines):
    """
    Writes v1's lines.

    A complete answer on one line looks like lines, too, until it is read: it leaves as v2's events do.
    """

    name: ClassVar[str] = "cohere"
    may_miss_deltas: ClassVar[bool] = False
    content_type = "application/stream+json"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._whole = Cohere(context)
        self._has_carried = False

    def encode(self, event: Event | Carried, metadata: bytes) -> list[bytes]:
        """Return a carried line as it goes out, any other event as v2's."""
        if isinstance(event, Carried):
            self._has_carried = True
            return [] if event.head.startswith(b"[DONE]") else super().encode(event, metadata)
        out = [] if self._has_carried else self._whole.encode(event, metadata)
        if out:
            self.content_type, self.heartbeat = self._whole.content_type, self._whole.heartbeat
        return out

    def finish(self, finish: Finish, usage: Usage | None, metadata: bytes) -> list[bytes]:
        """Return the last events of an answer that was complete."""
        if self._has_carried:
            return []
        self.content_type = self._whole.content_type
        return self._whole.finish(finish, usage, metadata)

    def fail(self, failure: Failure, metadata: bytes) -> list[bytes]:
        """Return the end of a stream that went wrong."""
        end = {
            "is_finished": True,
            "event_type": "stream-end",
            "finish_reason": "ERROR",
            "error": failure.message,
            "response": {"text": "", "finish_reason": "ERROR"},
        }
        return [encoded(end) + b"\n"]


def _event(kind: str, metadata: bytes = b"", **members: Any) -> bytes:
    return sse_event(with_key(encoded({"type": kind, **members}), b"ssegate", metadata), kind)


def _message(**members: Any) -> dict[str, Any]:
    return {"message": members}


def _call(event: ToolCall) -> list[bytes]:
    """Return a call as it opens, its arguments, and its end once they are there."""
    out = []
    if event.name is not None:
        function = {"name": event.name, "arguments": ""}
        call = {"id": event.id, "type": "function", "function": function}
        out.append(_event("tool-call-start", index=event.index, delta=_message(tool_calls=call)))
    if event.arguments:
        fragment = {"function": {"arguments": event.arguments}}
        out.append(_event("tool-call-delta", index=event.index, delta=_message(tool_calls=fragment)))
        out.append(_event("tool-call-end", index=event.index))
    return out


def _usage(usage: Usage | None) -> dict[str, Any]:
    if usage is None:
        return {}
    tokens = {"input_tokens": usage.input_tokens or 0, "output_tokens": usage.output_tokens or 0}
    cached = {} if usage.cached_tokens is None else {"cached_tokens": usage.cached_tokens}
    return {"tokens": tokens, **cached}
