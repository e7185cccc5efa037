"""
The events of OpenAI's Assistants, which exist only as ``same``: frames leave as they came, one by one.

Source: https://platform.openai.com/docs/api-reference/assistants-streaming
"""

from __future__ import annotations

from typing import ClassVar

from ssegate.wire.events import Carried, Event, Failure, Finish, Usage
from ssegate.wire.formats.encoding import SSE, encoded, with_key
from ssegate.wire.formats.error_bodies import stream_error
from ssegate.wire.seams import Context

__all__ = ["Assistants"]

_DONE = b"event: done\ndata: [DONE]\n\n"


class Assistants:
    """Writes each frame under its name, and ``event: done`` at the end of whatever kind."""

    name: ClassVar[str] = "assistants"
    may_miss_deltas: ClassVar[bool] = True
    content_type = SSE
    heartbeat = b":\n"
    noop = b""

    def __init__(self, context: Context) -> None:
        pass

    def encode(self, event: Event | Carried, metadata: bytes) -> list[bytes]:
        """Return a carried frame as it goes out."""
        if not isinstance(event, Carried):
            return []
        name = b"event: %b\n" % event.event.encode() if event.event else b""
        data = with_key(event.head + event.body + event.tail, b"ssegate", metadata)
        return [b"%bdata: %b\n\n" % (name, data)]

    def finish(self, finish: Finish, usage: Usage | None, metadata: bytes) -> list[bytes]:
        """Return the end mark: how the run has ended has been carried."""
        return [_DONE]

    def fail(self, failure: Failure, metadata: bytes) -> list[bytes]:
        """Return the error and the end mark; the SDKs raise on an ``error`` in the data."""
        error = encoded(stream_error("openai", failure))
        return [b"event: error\ndata: %b\n\n" % with_key(error, b"ssegate", metadata), _DONE]
