"""
Anthropic's Messages stream: events under their own names, ended by ``message_stop``.

From an Anthropic-shaped upstream the frames come carried and leave as they are. A complete answer in place of
a stream comes as neutral events and is told as a stream would have been, block by block; what those do not
hold (signatures, server tools) is lost there.

Source: https://docs.anthropic.com/en/docs/build-with-claude/streaming
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any, ClassVar

import msgspec

from ssegate.wire.events import (
    Carried,
    Event,
    Failure,
    Finish,
    FinishReason,
    Reasoning,
    Refusal,
    Start,
    Text,
    ToolCall,
    Usage,
)
from ssegate.wire.formats.encoding import BRACE, SSE, encoded, with_key
from ssegate.wire.formats.error_bodies import stream_error
from ssegate.wire.payload import UNREADABLE
from ssegate.wire.seams import Context

__all__ = ["Anthropic"]

_REASONS: dict[FinishReason, str] = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
    "refusal": "refusal",
}
"""Any other reason is ``end_turn``."""

_OWN_REASONS = {*_REASONS.values(), "stop_sequence", "pause_turn", "model_context_window_exceeded"}


class _Block(msgspec.Struct):
    type: str


class _Opened(msgspec.Struct):
    """What is read of a block's start."""

    index: int
    content_block: _Block


_decode = msgspec.json.Decoder(_Opened).decode


class Anthropic:
    """
    Writes Messages events.

    States of a stream of neutral events: not begun · between blocks · in a block (``_block``) · stopped.
    """

    name: ClassVar[str] = "anthropic"
    may_miss_deltas: ClassVar[bool] = True
    content_type = SSE
    heartbeat = b":\n"
    noop = b'event: ping\ndata: {"type":"ping"}\n\n'

    def __init__(self, context: Context) -> None:
        self._start = Start(f"msg_{context.stream_id}", "")
        self._has_begun = False
        self._has_carried = False
        self._has_stopped = False
        self._block: tuple[str, int] | None = None
        """Type of the open block, and which tool call it is."""

        self._index = -1

    def encode(self, event: Event | Carried, metadata: bytes) -> list[bytes]:
        """Return the events that say *event*, with those that open and close its block."""
        match event:
            case Carried():
                return [self._carry(event, metadata)]
            case Start():
                self._start = Start(event.id or self._start.id, event.model or self._start.model)
            case Text(choice=0) | Refusal(choice=0):
                block = self._open(("text", 0), {"type": "text", "text": ""})
                return [*block, self._delta({"type": "text_delta", "text": event.text})]
            case Reasoning(choice=0):
                block = self._open(("thinking", 0), {"type": "thinking", "thinking": "", "signature": ""})
                return [*block, self._delta({"type": "thinking_delta", "thinking": event.text})]
            case ToolCall(choice=0):
                return self._call(event)
        return []  # there is one choice, and citations are of too many kinds to be made up

    def finish(self, finish: Finish, usage: Usage | None, metadata: bytes) -> list[bytes]:
        """Return ``message_delta`` and ``message_stop``, or what a carried stream lacks of it."""
        if self._has_carried:
            return [] if self._has_stopped else [_event({"type": "message_stop"})]
        reason = finish.upstream_reason
        if reason not in _OWN_REASONS:
            reason = _REASONS.get(finish.reason, "end_turn")
        delta = {"stop_reason": reason, "stop_sequence": None}
        last = _event({"type": "message_delta", "delta": delta, "usage": _usage(usage)}, metadata)
        return [*self._begin(), *self._close(), last, _event({"type": "message_stop"})]

    def fail(self, failure: Failure, metadata: bytes) -> list[bytes]:
        """
        Return the error, which without its name SDKs overlook, and what closes the open block.

        A call is closed after the error only, and with a brace too many: SDKs stop at the error, as they
        would hand on half of its arguments, and whoever reads on finds no JSON that a call could be made of.
        """
        error = b"event: error\ndata: %b\n\n" % encoded(stream_error("anthropic", failure))
        if self._block is None or self._block[0] != "tool_use":
            return [*self._close(), error]
        return [error, self._delta({"type": "input_json_delta", "partial_json": BRACE}), *self._close()]

    def _carry(self, carried: Carried, metadata: bytes) -> bytes:
        self._has_carried = True
        # Legacy completions have no end mark at all.
        self._has_stopped = self._has_stopped or carried.event in ("message_stop", "completion")
        if carried.event.startswith("content_block_st"):  # start or stop
            self._note_block(carried)
        data = carried.payload
        if carried.event == "message_delta":
            data = with_key(data, b"ssegate", metadata)
        return b"event: %b\ndata: %b\n\n" % (carried.event.encode(), data)

    def _note_block(self, carried: Carried) -> None:
        """Read which block of a carried stream is open now."""
        self._block = None
        if carried.event == "content_block_start":
            with suppress(*UNREADABLE):
                opened = _decode(carried.payload)
                self._block, self._index = (opened.content_block.type, 0), opened.index

    def _begin(self) -> list[bytes]:
        if self._has_begun:
            return []
        self._has_begun = True
        message: dict[str, Any] = {
            "id": self._start.id,
            "type": "message",
            "role": "assistant",
            "model": self._start.model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": _usage(None),  # the SDKs want the object here; message_delta replaces its numbers
        }
        return [_event({"type": "message_start", "message": message})]

    def _open(self, block: tuple[str, int], content: dict[str, Any]) -> list[bytes]:
        """Return what makes *block* the open one: nothing if it is."""
        if block == self._block:
            return []
        opening = [*self._begin(), *self._close()]
        self._block = block
        self._index += 1
        start = {"type": "content_block_start", "index": self._index, "content_block": content}
        return [*opening, _event(start)]

    def _close(self) -> list[bytes]:
        if self._block is None:
            return []
        self._block = None
        return [_event({"type": "content_block_stop", "index": self._index})]

    def _call(self, event: ToolCall) -> list[bytes]:
        out = []
        if event.name is not None:
            block = ("tool_use", event.index)
            out = self._open(block, {"type": "tool_use", "id": event.id, "name": event.name, "input": {}})
        if event.arguments:
            out.append(self._delta({"type": "input_json_delta", "partial_json": event.arguments}))
        return out

    def _delta(self, delta: dict[str, Any]) -> bytes:
        return _event({"type": "content_block_delta", "index": self._index, "delta": delta})


def _event(data: dict[str, Any], metadata: bytes = b"") -> bytes:
    return b"event: %b\ndata: %b\n\n" % (data["type"].encode(), with_key(encoded(data), b"ssegate", metadata))


def _usage(usage: Usage | None) -> dict[str, int]:
    """Return Anthropic's usage object, where fresh and cached input are told apart."""
    if usage is None:
        return {"input_tokens": 0, "output_tokens": 0}
    counts = {"output_tokens": usage.output_tokens or 0}
    if usage.input_tokens is not None:
        counts["input_tokens"] = usage.input_tokens - (usage.cached_tokens or 0)
    if usage.cached_tokens is not None:
        counts["cache_read_input_tokens"] = usage.cached_tokens
    return counts
