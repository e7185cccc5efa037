"""
Gemini's own streams, which exist only as ``same``: chunks as SSE events, or as elements of one JSON array.

The client has asked for one or the other in the URL (``alt=sse``), and the upstream has answered accordingly.
Google's Python SDK reads line by line and takes every line without ``data: `` for an error: no heartbeats, no
ids, no other fields. Only the events of interactions have names, as they came.
"""

from __future__ import annotations

from typing import ClassVar

from ssegate.wire.events import Carried, Event, Failure, Finish, Usage
from ssegate.wire.formats.encoding import encoded, with_key
from ssegate.wire.formats.error_bodies import stream_error
from ssegate.wire.formats.same import SameArray
from ssegate.wire.seams import Context

__all__ = ["SameGemini", "SameGeminiArray"]


class SameGemini:
    """One chunk an event; an answer ends with its last chunk, an interaction with the upstream's end mark."""

    name: ClassVar[str] = "gemini"
    may_miss_deltas: ClassVar[bool] = True
    content_type = "text/event-stream"
    """As Google writes it. Not the type of the other SSE formats: their events may be given ids."""

    heartbeat = b""
    noop = b""

    def __init__(self, context: Context) -> None:
        pass

    def encode(self, event: Event | Carried, metadata: bytes) -> list[bytes]:
        """Return a carried chunk as it goes out."""
        if not isinstance(event, Carried):
            return []
        name = b"event: %b\n" % event.event.encode() if event.event else b""
        return [b"%bdata: %b\n\n" % (name, _chunk(event, metadata))]

    def finish(self, finish: Finish, usage: Usage | None, metadata: bytes) -> list[bytes]:
        """Return nothing: the last chunk has been carried."""
        return []

    def fail(self, failure: Failure, metadata: bytes) -> list[bytes]:
        """Return the error; an event with a name is none to Google's SDKs."""
        return [b"data: %b\n\n" % encoded(stream_error("gemini", failure))]


class SameGeminiArray(SameArray):
    """One chunk an element."""

    name: ClassVar[str] = "gemini"


def _chunk(carried: Carried, metadata: bytes) -> bytes:
    chunk = carried.head + carried.body + carried.tail
    # The end mark of an interaction is no object.
    return with_key(chunk, b"ssegate", metadata) if metadata and chunk.startswith(b"{") else chunk
