"""
Replicate's stream as ``same``: events leave as they came, names, IDs and lines of text.

Source: https://replicate.com/docs/topics/predictions/streaming
"""

from __future__ import annotations

from typing import ClassVar

from ssegate.wire.events import Carried, Event, Failure
from ssegate.wire.formats.encoding import encoded, sse_event
from ssegate.wire.formats.error_bodies import stream_error
from ssegate.wire.formats.same import SameEvents
from ssegate.wire.seams import Context

__all__ = ["Replicate"]


class Replicate(SameEvents):
    """Writes a prediction's events; only ``done`` has JSON for data, and room for metadata."""

    name: ClassVar[str] = "replicate"
    may_miss_deltas: ClassVar[bool] = False

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._id = f"{context.created}:0"

    def encode(self, event: Event | Carried, metadata: bytes) -> list[bytes]:
        """Return a carried event as it goes out."""
        if not isinstance(event, Carried):
            return []
        self._id = event.id or self._id
        return super().encode(event, metadata if event.event == "done" else b"")

    def fail(self, failure: Failure, metadata: bytes) -> list[bytes]:
        """Return the error and the end, with an ID, without which the Python client overlooks them."""
        error = sse_event(encoded(stream_error("replicate", failure)), "error", self._id)
        return [error, sse_event(b'{"reason":"error"}', "done", self._id)]
