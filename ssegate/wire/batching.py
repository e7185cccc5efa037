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

__all__ = ["Batcher", "Unbatched"]


class Batcher:
    """
    Holds back deltas for a moment and lets them leave as one.

    Attributes:
        size: Upstream deltas that may be held; with so many they leave.
        delay: Seconds since the last write after which what is held leaves; may change at any time.
    """

    def __init__(self, size: int, delay: float) -> None:
        self.size = size
        self.delay = delay
        self._held: list[Event | Carried] = []
        self._count = 0
        # Before the first delta everything is as if written long ago: role-only frames and the like that
        # precede it must not make it wait.
        self._written_at = -inf

    @property
    def deadline(self) -> float | None:
        """The moment by which ``flush`` must be called; None while nothing is held."""
        return self._written_at + self.delay if self._held else None

    def add(self, event: Event | Carried, now: float) -> list[Event | Carried]:
        """Return what leaves now that *event* has come, in order."""
        held = self._held
        if not held or not _are_alike(held[0], event):
            return self._change(event, now)
        held.append(event)
        self._count += event.count  # type: ignore[union-attr]  # alike: it is a delta
        if self._count >= self.size or now >= self._written_at + self.delay:
            return self.flush(now)
        return []

    def flush(self, now: float) -> list[Event | Carried]:
        """Return what is held, as one event."""
        held = self._held
        if not held:
            return []
        self._held = []
        self._written_at = now
        return [held[0] if len(held) == 1 else _joined(held, self._count)]

    def _change(self, event: Event | Carried, now: float) -> list[Event | Carried]:
        """Take an event that joins nothing held: what is held leaves before it."""
        if isinstance(event, Start | Usage):
            # No bytes leave for these. Some vendors report usage with every token: flushing here would
            # undo all joining.
            return [event]
        is_due = now >= self._written_at + self.delay
        out = self.flush(now)
        if _may_wait(event):
            if not is_due and event.count < self.size:
                self._held, self._count = [event], event.count
                return out
            self._written_at = now
        elif self._written_at != -inf or (isinstance(event, ToolCall | Carried) and event.count):
            self._written_at = now
        out.append(event)
        return out


class Unbatched:
    """Stands where a batcher stands, and lets everything pass as it comes."""

    deadline: float | None = None

    def add(self, event: Event | Carried, now: float) -> list[Event | Carried]:
        """Return *event*."""
        return [event]

    def flush(self, now: float) -> list[Event | Carried]:
        """Return nothing, as nothing is held."""
        return []


def _are_alike(first: Event | Carried, event: Event | Carried) -> bool:
    """Whether *event* continues *first*, which is held. The commonest kind is asked for first."""
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
        # Frames with one key differ beside the body in padding at most: the first frame's stands for all.
        body = b"".join([frame.body for frame in cast("list[Carried]", held)])
        return Carried(first.event, first.head, body, first.tail, first.key, count, first.last)
    if isinstance(first, ToolCall):
        arguments = "".join([call.arguments for call in cast("list[ToolCall]", held)])
        return ToolCall(first.index, arguments, choice=first.choice, count=count)
    assert isinstance(first, Text | Reasoning | Refusal)
    text = "".join([delta.text for delta in cast("list[Text]", held)])
    return type(first)(text, first.choice, count)
