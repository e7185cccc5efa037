"""
Has one stream's batches leave in time, and leaves unread what would wait for one in any case.

Most deltas wait for their batch. Once enough of them do, they need not even be read before: their bytes lie
in the operating system until there is a batch of them or it is due (``lowwater``).
"""

from __future__ import annotations

from collections.abc import Callable

from ssegate.alarm import GRAIN, Soon
from ssegate.tap import Line
from ssegate.wire.pipeline import Pipeline

__all__ = ["Pacing"]


class Pacing:
    """
    Knows when something of one stream is due. Implements ``alarm.Waiting``.

    Attributes:
        is_told: It will be told of a moment that is near.
        joins: Deltas may wait for others; else nothing is ever due here.
        unread_until: When what may lie unread is read at the latest; None: everything is read as it comes.
    """

    __slots__ = ("_flush", "_line", "_pipeline", "_soon", "is_told", "joins", "unread_until")

    def __init__(self, pipeline: Pipeline, soon: Soon, flush: Callable[[float], None]) -> None:
        self.is_told = False
        self.joins = pipeline.may_join
        self.unread_until: float | None = None
        self._pipeline, self._soon, self._flush = pipeline, soon, flush
        self._line: Line | None = None

    def begin(self, line: Line | None) -> None:
        """The body comes over *line*; None: it is read the ordinary way."""
        self._line = line

    def end(self) -> None:
        """The connection serves another stream from now on, or nobody, and nothing is due any more."""
        self._read_on()
        self._line = self.unread_until = None
        self._flush = _nothing  # it holds the stream, which holds this

    def leave_unread(self, now: float) -> None:
        """Leave what comes lying until there is a batch of it, if nothing of it would leave sooner."""
        line = self._line
        wanted = None if line is None else self._pipeline.patience(now, line.overhead)
        if line is not None and wanted is not None and line.set_low_water(wanted[0]):
            self.unread_until = wanted[1]
        elif self.unread_until is not None:
            self._read_on()
            self.unread_until = None

    def tell(self, now: float) -> None:
        """Ask to be told when something is due, if anything is."""
        due = self.unread_until
        if due is None or due <= now:
            due = self._pipeline.near_deadline
        if due is not None:
            self.is_told = True
            self._soon.tell(self, due)

    def on_soon(self, now: float) -> None:
        """A batch may have been held, or left unread, for long enough (``alarm.Waiting``)."""
        self.is_told = False
        if self.read_due(now):
            return
        due = self._pipeline.near_deadline
        if due is not None and due <= now:
            self._flush(now)
        self.tell(now)

    def read_due(self, now: float) -> bool:
        """Read what has lain for long enough; tell whether what is to come next has been seen to."""
        line, until = self._line, self.unread_until
        if line is None or until is None or until > now:
            return False
        if line.read_lying() and self.unread_until != until:
            return True
        if self._read_on() and self._pipeline.near_deadline is not None:
            # What is held leaves with what is read now: it is told again when that must have happened.
            if not self.is_told:
                self.is_told = True
                self._soon.tell(self, now + GRAIN)
            return True
        return False

    def _read_on(self) -> bool:
        """Read whatever comes; tell whether something may lie there that comes in this turn of the loop."""
        line = self._line
        return line is not None and line.low_water > 1 and line.set_low_water(1)


def _nothing(now: float) -> None:
    """There is nothing to be flushed."""
