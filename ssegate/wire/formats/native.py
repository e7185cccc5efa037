"""
The gate's own format: unnamed SSE events of one small JSON object, ``token`` in all but the last.

A page that appends ``token`` until ``finished`` is true works with it, be it by EventSource or by splitting
what ``fetch`` reads at newlines. Only an error has a name, so that EventSource does not take it for the end.
"""

from __future__ import annotations

from typing import ClassVar

import msgspec

from ssegate.wire.events import (
    Carried,
    Citation,
    Event,
    Failure,
    Finish,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
    Usage,
)
from ssegate.wire.formats.encoding import SSE, encoded, quoted
from ssegate.wire.formats.error_bodies import stream_error
from ssegate.wire.seams import Context

__all__ = ["Native"]


class Native:
    """Writes the native format; keeps no state."""

    name: ClassVar[str] = "native"
    may_miss_deltas: ClassVar[bool] = True
    content_type = SSE
    heartbeat = b":\n"
    noop = b""

    def __init__(self, context: Context) -> None:
        pass

    def encode(self, event: Event | Carried, metadata: bytes) -> list[bytes]:
        """Return the one event that says *event*."""
        if type(event) is Text and not event.choice and metadata:
            # Nine of ten events: 0.3 µs here, 0.6 µs through the match.
            return [b'data: {"token":%b,"finished":false,"metadata":%b}\n\n' % (quoted(event.text), metadata)]
        match event:
            case Text(choice=0):
                return [_running(b'"token":' + quoted(event.text), metadata)]
            case Text():
                token = b'"token":%b,"choice":%d' % (quoted(event.text), event.choice)
                return [_running(token, metadata)]
            case Reasoning():
                return [_silent(event.choice, b'"reasoning":' + quoted(event.text), metadata)]
            case Refusal():
                return [_silent(event.choice, b'"refusal":' + quoted(event.text), metadata)]
            case ToolCall():
                return [_silent(event.choice, b'"tool_call":' + _call(event), metadata)]
            case Citation():
                return [_silent(event.choice, b'"citation":' + _citation(event), metadata)]
            case Finish():
                return [_silent(event.choice, _reason(event), metadata)]
        return []

    def finish(self, finish: Finish, usage: Usage | None, metadata: bytes) -> list[bytes]:
        """Return the one event with ``finished: true``; usage is in its metadata."""
        return [b'data: {"finished":true,%b%b}\n\n' % (_reason(finish), _member(metadata))]

    def fail(self, failure: Failure, metadata: bytes) -> list[bytes]:
        """Return the error event; a cancel is what somebody wanted, so it is a finish."""
        if failure.code == "cancelled":
            return self.finish(Finish("cancelled"), None, metadata)
        error = stream_error("native", failure) | {"finished": True}
        if metadata:
            error["metadata"] = msgspec.Raw(metadata)
        return [b"event: error\ndata: %b\n\n" % encoded(error)]


def _running(members: bytes, metadata: bytes) -> bytes:
    if metadata:
        return b'data: {%b,"finished":false,"metadata":%b}\n\n' % (members, metadata)
    return b'data: {%b,"finished":false}\n\n' % members


def _silent(choice: int, member: bytes, metadata: bytes) -> bytes:
    """An event without text. It has a ``token`` all the same: pages append that unasked."""
    token = b'"token":"","choice":%d,' % choice if choice else b'"token":"",'
    return _running(token + member, metadata)


def _member(metadata: bytes) -> bytes:
    return b',"metadata":' + metadata if metadata else b""


def _call(event: ToolCall) -> bytes:
    if event.name is None:
        return b'{"index":%d,"arguments":%b}' % (event.index, quoted(event.arguments))
    known = {"index": event.index, "id": event.id, "name": event.name, "arguments": event.arguments}
    return encoded({key: value for key, value in known.items() if value is not None})


def _citation(event: Citation) -> bytes:
    known = {
        "url": event.url,
        "title": event.title,
        "text": event.text,
        "start": event.start,
        "end": event.end,
    }
    return encoded({key: value for key, value in known.items() if value is not None})


def _reason(finish: Finish) -> bytes:
    word = finish.upstream_reason
    if word is None or word == finish.reason:
        return b'"finish_reason":"%b"' % finish.reason.encode()
    return b'"finish_reason":"%b","upstream_finish_reason":%b' % (finish.reason.encode(), quoted(word))
