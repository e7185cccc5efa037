"""
Outputs that exist only as ``same``: the upstream's own language, passed on in its own framing.

Frames leave as the dialect hands them over, one by one unless it joined them. Only truncation is added, as an
error in the dialect's own shape, the ``error_bodies.ERRORS`` of the format's name.
"""

from __future__ import annotations

from typing import ClassVar

from ssegate.wire.events import Carried, Event, Failure, Finish, Text, Usage
from ssegate.wire.formats.encoding import SSE, encoded, sse_event, with_key
from ssegate.wire.formats.error_bodies import stream_error
from ssegate.wire.seams import Context

__all__ = ["SameEvents", "SameLines", "SameLlamaCpp", "SameOllama", "SameText", "SameWatsonX"]


class SameEvents:
    """Server-Sent Events, each under its own name and ID; the upstream's last one is the last."""

    name: ClassVar[str]
    may_miss_deltas: ClassVar[bool] = True
    content_type = SSE
    heartbeat = b":\n"
    noop = b""

    def __init__(self, context: Context) -> None:
        pass

    def encode(self, event: Event | Carried, metadata: bytes) -> list[bytes]:
        """Return a carried event as it goes out."""
        if not isinstance(event, Carried):
            return []
        data = with_key(event.head + event.body + event.tail, b"ssegate", metadata)
        return [sse_event(data, event.event, event.id)]

    def finish(self, finish: Finish, usage: Usage | None, metadata: bytes) -> list[bytes]:
        """Return nothing: the last event has been carried."""
        return []

    def fail(self, failure: Failure, metadata: bytes) -> list[bytes]:
        """Return the error as an event."""
        return [sse_event(encoded(stream_error(self.name, failure)))]


class SameLlamaCpp(SameEvents):
    """llama.cpp's own events; the one with ``stop: true`` is the last."""

    name: ClassVar[str] = "llamacpp"


class SameWatsonX(SameEvents):
    """watsonx.ai's events; the one that has a reason to stop is the last."""

    name: ClassVar[str] = "watsonx"


class SameLines:
    """One JSON object a line; the upstream's last one is the last."""

    name: ClassVar[str]
    may_miss_deltas: ClassVar[bool] = True
    content_type = "application/x-ndjson"
    heartbeat = b""
    noop = b""

    def __init__(self, context: Context) -> None:
        pass

    def encode(self, event: Event | Carried, metadata: bytes) -> list[bytes]:
        """Return a carried line as it goes out."""
        if not isinstance(event, Carried):
            return []
        return [with_key(event.head + event.body + event.tail, b"ssegate", metadata) + b"\n"]

    def finish(self, finish: Finish, usage: Usage | None, metadata: bytes) -> list[bytes]:
        """Return nothing: the last line has been carried."""
        return []

    def fail(self, failure: Failure, metadata: bytes) -> list[bytes]:
        """Return the error line."""
        return [encoded(stream_error(self.name, failure)) + b"\n"]


class SameOllama(SameLines):
    """Ollama's lines; the one with ``done: true`` is the last."""

    name: ClassVar[str] = "ollama"


class SameText:
    """Bare text, without framing: nothing can be said beside it, neither an end nor an error."""

    name: ClassVar[str] = "text"
    may_miss_deltas: ClassVar[bool] = False
    content_type = "text/plain; charset=utf-8"
    heartbeat = b""
    noop = b""

    def __init__(self, context: Context) -> None:
        pass

    def encode(self, event: Event | Carried, metadata: bytes) -> list[bytes]:
        """Return the text, carried or not."""
        match event:
            case Carried():
                return [event.head + event.body + event.tail]
            case Text():
                return [event.text.encode(errors="replace")]
        return []

    def finish(self, finish: Finish, usage: Usage | None, metadata: bytes) -> list[bytes]:
        """Return nothing: the end of the body is the end."""
        return []

    def fail(self, failure: Failure, metadata: bytes) -> list[bytes]:
        """Return nothing: the body has to be cut instead."""
        return []
