"""
Joins neighbouring deltas by count and by delay, so that a fast stream needs fewer events and writes.

States: nothing has been written yet (the first delta never waits) · idle · holding like deltas. What is
held leaves when ``delay`` has passed since the last write, when ``size`` upstream deltas are held, or when
anything comes that cannot join it. Order never changes, nothing is ever lost or split.
"""

from __future__ import annotations

from math import inf
from typing import TypeGuard, cast

from ssegate.wire.events import Carried, Event, Reasoning, Refusal, Start, Text, ToolCall, Usage

__all__ = ["AdaptivePace", "Batcher", "Load", "Pace", "are_alike"]

_FREE = 0.5
"""Of its time busy, a gate has enough left: nothing waits."""

_FULL = 0.9
"""Busy for this much of its time, it needs all that batching saves."""

_SMOOTHING = 0.3
"""How much of the way the share goes each time: joining makes the gate less busy, so it could swing."""


class Pace:
    """
    The rule of batching: when deltas wait, and when they leave.

    Attributes:
        size: Deltas that leave together at the most; 1: each leaves alone.
        delay: Seconds since the last write after which nothing waits.
        count: Deltas that wait now.
        due_at: When what waits must leave.
    """

    __slots__ = ("count", "delay", "due_at", "size")

    def __init__(self, size: int, delay: float) -> None:
        self.size, self.delay = size, delay
        self.count = 0
        # Before the first delta everything is as if written long ago: role-only frames and the like that
        # precede it must not make it wait.
        self.due_at = -inf

    def add(self, now: float, count: int = 1) -> int | None:
        """Take note of *count* more deltas; return how many leave now with them, None if all wait."""
        count += self.count
        if count < self.size and now < self.due_at:
            self.count = count
            return None
        self.count = 0
        self.wrote(now)
        return count

    def wrote(self, now: float) -> None:
        """Take note of a write."""
        self.due_at = now + self.delay


class Load:
    """
    How busy the gate is, and what that means for the streams that adapt to it.

    Attributes:
        share: Of its delay a stream makes its deltas wait for: 0 while there is time for each, at most 1.
    """

    __slots__ = ("share",)

    def __init__(self) -> None:
        self.share = 0.0

    def note(self, busy: float) -> None:
        """Take note of what part of the last moments, from 0 to 1, the gate has been *busy* for."""
        wanted = min(max(0.0, (busy - _FREE) / (_FULL - _FREE)), 1.0)
        self.share += (wanted - self.share) * _SMOOTHING


class AdaptivePace(Pace):
    """Has deltas wait for so much of the delay as the *load* asks for when the wait begins."""

    __slots__ = ("_load",)

    def __init__(self, size: int, delay: float, load: Load) -> None:
        super().__init__(size, delay)
        self._load = load

    def wrote(self, now: float) -> None:
        """Take note of a write."""
        self.due_at = now + self.delay * self._load.share


class Batcher:
    """Holds back deltas for a moment and lets them leave as one, at the *pace* it is given."""

    def __init__(self, pace: Pace) -> None:
        self.pace = pace
        self._held: list[Event | Carried] = []

    @property
    def deadline(self) -> float | None:
        """The moment by which ``flush`` must be called; None while nothing is held."""
        return self.pace.due_at if self._held else None

    def add(self, event: Event | Carried, now: float) -> list[Event | Carried]:
        """Return what leaves now that *event* has come, in order."""
        held = self._held
        if not held or not are_alike(held[0], event):
            return self._change(event, now)
        held.append(event)
        leaving = self.pace.add(now, event.count)  # type: ignore[union-attr]  # alike: it is a delta
        if leaving is None:
            return []
        self._held = []
        return [_joined(held, leaving)]

    def flush(self, now: float) -> list[Event | Carried]:
        """Return what is held, as one event."""
        count = self.pace.count
        held = self.release()
        if not held:
            return []
        self.pace.count = 0
        self.pace.wrote(now)
        return [held[0] if len(held) == 1 else _joined(held, count)]

    def release(self) -> list[Event | Carried]:
        """Give what is held, all alike, to somebody who goes on holding it at the same pace."""
        held, self._held = self._held, []
        return held

    def hold(self, event: Event | Carried) -> None:
        """Take back what somebody else has held at the same pace."""
        self._held = [event]

    def _change(self, event: Event | Carried, now: float) -> list[Event | Carried]:
        """Take an event that joins nothing held: what is held leaves before it."""
        if isinstance(event, Start | Usage):
            # No bytes leave for these. Some vendors report usage with every token: flushing here would
            # undo all joining.
            return [event]
        pace = self.pace
        was_due_at = pace.due_at
        out = self.flush(now)
        if _may_wait(event):
            # The flush has not made it later for this one.
            pace.due_at = was_due_at
            if pace.add(now, event.count) is None:
                if out:
                    pace.wrote(now)
                self._held = [event]
                return out
        elif pace.due_at != -inf or (isinstance(event, ToolCall | Carried) and event.count):
            pace.wrote(now)
        out.append(event)
        return out


def are_alike(first: Event | Carried, event: Event | Carried) -> bool:
    """Tell whether *event* continues *first*. The commonest kind is asked for first."""
    kind = type(event)
    if kind is not type(first):
        return False
    if kind is Text or kind is Reasoning or kind is Refusal:
        return event.choice == first.choice  # type: ignore[union-attr]
    if isinstance(event, Carried):
        assert isinstance(first, Carried)
        return event.key == first.key and event.count > 0 and event.event == first.event
    assert isinstance(event, ToolCall) and isinstance(first, ToolCall)
    return event.name is None and event.index == first.index and event.choice == first.choice


def _may_wait(event: Event | Carried) -> TypeGuard[Text | Reasoning | Refusal | ToolCall | Carried]:
    match event:
        case Text() | Reasoning() | Refusal():
            return True
        case ToolCall():
            return event.name is None
        case Carried():
            return event.key is not None and event.count > 0
    return False


def _joined(held: list[Event | Carried], count: int) -> Event | Carried:
    """Return one event that says what all of *held*, which are alike, say."""
    first = held[0]
    if isinstance(first, Carried):
        # Frames with one key differ beside the body in padding, times and numbers at most. The last frame's
        # stand for all: who goes on behind the number it has read must not get the others again.
        last = cast("Carried", held[-1])
        body = b"".join([frame.body for frame in cast("list[Carried]", held)])
        return Carried(last.event, last.head, body, last.tail, last.key, count, last.last)
    if isinstance(first, ToolCall):
        arguments = "".join([call.arguments for call in cast("list[ToolCall]", held)])
        return ToolCall(first.index, arguments, choice=first.choice, count=count)
    assert isinstance(first, Text | Reasoning | Refusal)
    text = "".join([delta.text for delta in cast("list[Text | Reasoning | Refusal]", held)])
    return type(first)(text, first.choice, count)
