"""
Replicate's streams: events whose name says what they are, and whose data is bare text.

    event: output    a piece of the answer, blanks and newlines and all
    event: logs      what the model's program prints; no part of the answer
    event: error     text, or JSON with ``detail``
    event: done      ``{}``, or why it ended before its time

Nobody counts tokens here. A prediction as JSON is no answer of this kind, unless it has failed.

Source: https://replicate.com/docs/topics/predictions/streaming
"""

from __future__ import annotations

from typing import Any, ClassVar

from ssegate.wire.dialects.base import FrameDialect
from ssegate.wire.dialects.failure import failure_in, read_failure
from ssegate.wire.dialects.reasons import finish_reason
from ssegate.wire.errors import WireError
from ssegate.wire.events import End, Event, Finish, Frame, Text
from ssegate.wire.payload import loads

__all__ = ["Replicate"]


class Replicate(FrameDialect):
    """Reads the stream of a prediction."""

    name: ClassVar[str] = "replicate"

    def _read(self, frame: Frame) -> list[Event]:
        match frame.event:
            case "output":
                return [Text(frame.data.decode(errors="replace"))] if frame.data else []
            case "error":
                return [failure_in(frame.data)]
            case "done":
                return _done(loads(frame.data) if frame.data else {})
            case "":
                document = _object(frame)
                has_failed = document.get("error") or document.get("detail")
                return [read_failure(document)] if has_failed else []
        return []


def _done(document: Any) -> list[Event]:
    reason = document.get("reason") if isinstance(document, dict) else None
    if reason == "error":
        return [read_failure({})]  # the event before this one said which
    if isinstance(reason, str) and reason:
        return [Finish(finish_reason(reason), reason), End()]
    return [End()]


def _object(frame: Frame) -> dict[str, Any]:
    """Return the JSON object in *frame*; an empty one if there is none."""
    try:
        document = loads(frame.data)
    except WireError:
        return {}
    return document if isinstance(document, dict) else {}
