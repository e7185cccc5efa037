"""
Outputs that exist only as ``same``: the upstream's own language, passed on in its own framing.

Frames leave as the dialect hands them over, on one line each. Only truncation is added, as an error in the
dialect's own shape.
"""

from __future__ import annotations

from typing import ClassVar

from ssegate.wire.events import Carried, Event, Failure, Finish, Text, Usage
from ssegate.wire.formats.encoding import encoded, with_key
from ssegate.wire.formats.error_bodies import stream_error
from ssegate.wire.seams import Context

__all__ = ["SameOllama", "SameText"]


class SameOllama:
    """One JSON object a line; the one with ``done: true`` is the last, and the upstream's."""

    name: ClassVar[str] = "ollama"
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
        """Return nothing: the done line has been carried."""
        return []

    def fail(self, failure: Failure, metadata: bytes) -> list[bytes]:
        """Return the error line."""
        return [encoded(stream_error("ollama", failure)) + b"\n"]


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
