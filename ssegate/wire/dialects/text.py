"""Plain text: whatever comes is the answer, and its end is the end."""

from __future__ import annotations

from typing import ClassVar

from ssegate.wire.events import Carried, End, Event, Finish, Frame
from ssegate.wire.events import Text as TextDelta

__all__ = ["Text"]


class Text:
    """Reads each frame as a piece of the answer; the framing ``text`` makes them valid UTF-8."""

    name: ClassVar[str] = "text"
    may_miss_deltas: ClassVar[bool] = False

    def decode(self, frame: Frame) -> list[Event]:
        """Return the frame's text."""
        return [TextDelta(frame.data.decode(errors="replace"))] if frame.data else []

    def close(self) -> list[Event]:
        """Return the finish, for a reason nobody has told."""
        return [Finish("other"), End()]

    def carry(self, frame: Frame) -> Carried | None:
        """Return the text as it came, in valid UTF-8."""
        text = frame.data.decode(errors="replace").encode()
        return Carried(frame.event, text, count=1) if text else None
