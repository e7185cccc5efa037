"""
Bedrock's binary streams, which exist only as ``same``: messages of an AWS event stream.

Frames come carried and leave as they came, with headers and checksums of their own. A complete answer in
place of a stream comes as neutral events and is told as Converse would have streamed it.

Source: https://docs.aws.amazon.com/transcribe/latest/dg/event-stream.html,
https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseStream.html
"""

from __future__ import annotations

import struct
import zlib
from typing import Any, ClassVar

from ssegate.wire.events import (
    Carried,
    Event,
    Failure,
    Finish,
    FinishReason,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
    Usage,
)
from ssegate.wire.formats.encoding import encoded, with_key
from ssegate.wire.formats.error_bodies import bedrock_exception, stream_error
from ssegate.wire.seams import Context

__all__ = ["SameBedrock", "message"]

_REASONS: dict[FinishReason, str] = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "content_filtered",
    "refusal": "content_filtered",
}
"""Any other reason is ``end_turn``."""

_OWN_REASONS = {
    *_REASONS.values(),
    *("stop_sequence", "guardrail_intervened", "model_context_window_exceeded"),
    *("malformed_model_output", "malformed_tool_use"),
}
_PRELUDE = struct.Struct(">II")
_CRC = struct.Struct(">I")
_STRING = 7


class SameBedrock:
    """
    Writes messages.

    States of a stream of neutral events: not begun · between blocks · in a block (``_block``).
    """

    name: ClassVar[str] = "bedrock"
    may_miss_deltas: ClassVar[bool] = False
    content_type = "application/vnd.amazon.eventstream"
    heartbeat = b""
    noop = b""

    def __init__(self, context: Context) -> None:
        self._has_begun = self._has_carried = False
        self._block: tuple[str, int] | None = None
        """Kind of the open block, and which tool call it is."""

        self._index = -1

    def encode(self, event: Event | Carried, metadata: bytes) -> list[bytes]:
        """Return the messages that say *event*, with those that open and close its block."""
        match event:
            case Carried():
                self._has_carried = True
                payload = with_key(event.payload, b"ssegate", metadata)
                return [message({"event-type": event.event}, payload)]
            case Text(choice=0) | Refusal(choice=0):
                return [*self._open(("text", 0)), self._delta({"text": event.text})]
            case Reasoning(choice=0):
                return [*self._open(("thinking", 0)), self._delta({"reasoningContent": {"text": event.text}})]
            case ToolCall(choice=0):
                return self._call(event)
        return []

    def finish(self, finish: Finish, usage: Usage | None, metadata: bytes) -> list[bytes]:
        """Return the stop and the usage, unless they have been carried."""
        if self._has_carried:
            return []
        reason = finish.upstream_reason
        if reason not in _OWN_REASONS:
            reason = _REASONS.get(finish.reason, "end_turn")
        told = encoded({"usage": _usage(usage), "metrics": {}})
        return [
            *self._begin(),
            *self._close(),
            _event("messageStop", {"stopReason": reason}),
            message({"event-type": "metadata"}, with_key(told, b"ssegate", metadata)),
        ]

    def fail(self, failure: Failure, metadata: bytes) -> list[bytes]:
        """Return the exception, on which AWS's SDKs raise."""
        payload = encoded(stream_error("bedrock", failure))
        return [message({"exception-type": bedrock_exception(failure)}, payload)]

    def _begin(self) -> list[bytes]:
        if self._has_begun:
            return []
        self._has_begun = True
        return [_event("messageStart", {"role": "assistant"})]

    def _open(self, block: tuple[str, int], start: dict[str, Any] | None = None) -> list[bytes]:
        """Return what makes *block* the open one: nothing if it is. Only a call has a start."""
        if block == self._block:
            return []
        opening = [*self._begin(), *self._close()]
        self._block = block
        self._index += 1
        if start is not None:
            opening.append(_event("contentBlockStart", {"start": start, "contentBlockIndex": self._index}))
        return opening

    def _close(self) -> list[bytes]:
        if self._block is None:
            return []
        self._block = None
        return [_event("contentBlockStop", {"contentBlockIndex": self._index})]

    def _call(self, event: ToolCall) -> list[bytes]:
        out = []
        if event.name is not None:
            use = {"toolUseId": event.id, "name": event.name}
            out = self._open(("call", event.index), {"toolUse": use})
        if event.arguments:
            out.append(self._delta({"toolUse": {"input": event.arguments}}))
        return out

    def _delta(self, delta: dict[str, Any]) -> bytes:
        return _event("contentBlockDelta", {"delta": delta, "contentBlockIndex": self._index})


def message(kind: dict[str, str], payload: bytes) -> bytes:
    """
    Return one message.

    Args:
        kind: The one header that says what it is: ``event-type`` or ``exception-type``, and which.
    """
    ((name, value),) = kind.items()
    headers = b"".join(
        _header(header, text)
        for header, text in (
            (f":{name}", value),
            (":content-type", "application/json"),
            (":message-type", name.removesuffix("-type")),
        )
    )
    length = _PRELUDE.size + _CRC.size + len(headers) + len(payload) + _CRC.size
    prelude = _PRELUDE.pack(length, len(headers))
    whole = b"".join((prelude, _CRC.pack(zlib.crc32(prelude)), headers, payload))
    return whole + _CRC.pack(zlib.crc32(whole))


def _header(name: str, value: str) -> bytes:
    text = value.encode(errors="replace")
    return b"%c%b%c%b%b" % (len(name), name.encode(), _STRING, len(text).to_bytes(2, "big"), text)


def _event(kind: str, data: dict[str, Any]) -> bytes:
    return message({"event-type": kind}, encoded(data))


def _usage(usage: Usage | None) -> dict[str, int]:
    """Return Converse's usage object, where fresh and cached input are told apart."""
    usage = usage or Usage()
    cached = usage.cached_tokens or 0
    counts = {
        "inputTokens": (usage.input_tokens or 0) - cached,
        "outputTokens": usage.output_tokens or 0,
        "totalTokens": (usage.input_tokens or 0) + (usage.output_tokens or 0),
    }
    return counts | ({"cacheReadInputTokens": cached} if cached else {})
