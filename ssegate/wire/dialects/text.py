"""Plain text: whatever comes is the answer, and its end is the end."""

from __future__ import annotations

from typing import ClassVar

from ssegate.wire.dialects.base import FrameDialect
from ssegate.wire.events import End, Event, Finish, Frame
from ssegate.wire.events import Text as TextDelta

__all__ = ["Text"]


class Text(FrameDialect):
    """Reads each frame as a piece of the answer; the framing ``text`` makes them valid UTF-8."""

    name: ClassVar[str] = "text"

    def close(self) -> list[Event]:
        """Return the finish, for a reason nobody has told."""
        return [Finish("other"), End()]

    def _read(self, frame: Frame) -> list[Event]:
        return [TextDelta(frame.data.decode(errors="replace"))] if frame.data else []
