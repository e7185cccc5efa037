"""
Learns the runs of one stream from what the ordinary way makes of its frames.

A run is looked for when two frames in a row have said one piece of text of the same kind each. It is kept
while frames that do not fit it still continue it (an odd padding, half a character), and forgotten with the
first that does not: what such a frame may have changed in dialect or format is not known here.
"""

from __future__ import annotations

from copy import copy
from typing import NamedTuple

from ssegate.wire.batching import are_alike
from ssegate.wire.events import Carried, Delta, Event
from ssegate.wire.patterns import is_run, pattern_of
from ssegate.wire.runs import Run
from ssegate.wire.seams import Dialect, Format, Framer
from ssegate.wire.stats import Stats
from ssegate.wire.stencils import cast_of, stencil_of

__all__ = ["Learner"]

_ATTEMPTS = 8
"""How often a run is looked for in vain, or for a few frames only, before the stream is left alone."""

_WORTHWHILE = 32
"""Frames after which a run has paid for being looked for."""


class _Said(NamedTuple):
    """What one frame said, if that was one piece of text, and how it leaves."""

    delta: Delta
    sent: Delta | Carried


class Learner:
    """
    Finds runs.

    Args:
        has_metadata: Metadata goes with every delta.
        max_event: Bytes of one event.
    """

    def __init__(self, stats: Stats, *, has_metadata: bool, max_event: int) -> None:
        self._stats, self._has_metadata, self._max_event = stats, has_metadata, max_event
        self._known: Run | None = None
        self._said: _Said | None = None
        self._before: _Said | None = None
        self._raw = b""
        """Of the last frame that was read the ordinary way."""

        self._attempts = _ATTEMPTS

    def note(self, events: list[Event], carried: Carried | None) -> None:
        """Take note of what a frame said, and of the form in which it leaves if that is its own."""
        self._before, self._said = self._said, None
        joins = carried is None or carried.key is not None
        if len(events) == 1 and joins and is_run(delta := events[0]):
            self._said = _Said(delta, delta if carried is None else carried)
        known = self._known
        if known is not None and (self._said is None or not _goes_on(known.event, self._said.sent)):
            self._known = None
            if known.total >= _WORTHWHILE:
                self._attempts = _ATTEMPTS

    def split(self, data: bytes, framer: Framer | None) -> int:
        """Return where the last whole frame of *data* ends, if a run may go on behind it; else its length."""
        if framer is None or not (self._known or self._attempts) or data.endswith(framer.ends):
            return len(data)
        return max((data.rfind(end) + len(end) for end in framer.ends if end in data), default=len(data))

    def learn(self, data: bytes, framer: Framer, dialect: Dialect, form: Format) -> Run | None:
        """Return the run that the next read may belong to, after *data* was read the ordinary way."""
        if not framer.is_between:
            return None
        if self._said is None:
            self._raw = b""  # the next frame has none before it that a run could go on from
        elif self._known is None and self._attempts:
            before, raw = _last_frames(data, self._raw, framer)
            self._raw = raw
            if raw and self._is_begun:
                self._attempts -= 1
                self._known = self._found(raw, before, framer, dialect, form)
                self._raw = raw if self._known is None else b""
        return self._known

    @property
    def _is_begun(self) -> bool:
        """The last two frames said a piece of text each, of one kind."""
        said, before = self._said, self._before
        return said is not None and before is not None and are_alike(before.sent, said.sent)

    def _found(self, raw: bytes, before: bytes, framer: Framer, dialect: Dialect, form: Format) -> Run | None:
        said = self._said
        if said is None or not (dialect.may_miss_deltas and form.may_miss_deltas):
            return None
        sent = said.sent
        pattern = pattern_of(raw, before, said.delta, framer.anew(), dialect)
        # A copy's: what is held has yet to be written, and a probe would open in its place what that opens.
        stencil = stencil_of(copy(form).encode, sent, has_metadata=self._has_metadata)
        if pattern is None or stencil is None:
            return None
        cast = None
        if pattern.shape is not None and isinstance(sent, Carried):
            cast = cast_of(form.encode, sent, raw, pattern, stencil)
            if cast is None:
                return None
        return Run(sent, pattern, stencil, cast, self._stats, self._max_event)


def _goes_on(event: Delta | Carried, sent: Delta | Carried) -> bool:
    """Tell whether *sent* may be joined with *event*, and leaves in the very same words."""
    if isinstance(event, Carried) and isinstance(sent, Carried):
        return (event.key, event.head, event.tail) == (sent.key, sent.head, sent.tail)
    return are_alike(event, sent)


def _last_frames(data: bytes, earlier: bytes, framer: Framer) -> tuple[bytes, bytes]:
    """
    Return the bytes of the last two frames, nothing for what cannot be told.

    Args:
        data: Ends with a frame.
        earlier: The last frame before *data*.
    """
    for end in framer.ends:
        if data.endswith(end):
            rest, _, last = data[: -len(end)].rpartition(end)
            if not rest:
                return earlier, data
            return rest.rpartition(end)[2] + end, last + end
    return b"", b""
