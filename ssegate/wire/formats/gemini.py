"""
Gemini's own streams, which exist only as ``same``: chunks as SSE events, or as elements of one JSON array.

The client has asked for one or the other in the URL (``alt=sse``), and the upstream has answered accordingly.
Google's Python SDK reads line by line and takes every line without ``data: `` for an error: no heartbeats, no
ids, no other fields. Only the events of interactions have names, as they came.
"""

from __future__ import annotations

from typing import ClassVar

from ssegate.wire.events import Carried
from ssegate.wire.formats.encoding import sse_event
from ssegate.wire.formats.same import SameArray, SameFrames

__all__ = ["SameGemini", "SameGeminiArray"]


class SameGemini(SameFrames):
    """One chunk an event; an answer ends with its last chunk, an interaction with the upstream's end mark."""

    name: ClassVar[str] = "gemini"
    content_type = "text/event-stream"
    """As Google writes it. Not the type of the other SSE formats: their events may be given ids."""

    def _payload(self, carried: Carried, metadata: bytes) -> bytes:
        # The end mark of an interaction is no object.
        return super()._payload(carried, metadata if carried.head.startswith(b"{") else b"")

    def _frame(self, payload: bytes, carried: Carried | None = None) -> bytes:
        # An error with a name is none to Google's SDKs.
        return sse_event(payload, carried.event if carried is not None else "")


class SameGeminiArray(SameArray):
    """One chunk an element."""

    name: ClassVar[str] = "gemini"
