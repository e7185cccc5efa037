"""
Buckets in the memory of one process: the default store.

The number of buckets is bounded, however many addresses a flood comes from. When there are too many, idle
ones leave first, as nothing is lost with them, then those used least recently; one that has run dry never
does, for that would refill it. Where all have run dry, newcomers share one bucket a limit. Those of keys and
of everybody never leave: config bounds how many there are.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import islice

from ssegate.limits.ground import TICKS_PER_SECOND, Limit, Moment, State, in_ms
from ssegate.limits.store import Actual, Bucket, Hold, Verdict, corrections

__all__ = ["MAX_BUCKETS", "MemoryStore", "clock"]

MAX_BUCKETS = 100_000
"""About 40 MB."""

_LOOKED_AT = 8
"""Buckets that are looked at for one that can leave."""

_NANOSECONDS = 10**9 // TICKS_PER_SECOND


def clock() -> Moment:
    """Return the time now."""
    return Moment(time.monotonic_ns() // _NANOSECONDS, time.time_ns() // _NANOSECONDS)


@dataclass(slots=True)
class _Kept:
    """What is remembered of one bucket."""

    limit: Limit
    state: State = field(default_factory=State)
    refused: int = 1
    """What it has refused last: it has run dry for as long as that does not fit."""


class MemoryStore:
    """
    Implements ``store.Store``.

    Args:
        now: Tells the time; tests bring their own.
    """

    def __init__(self, now: Callable[[], Moment] = clock, max_buckets: int = MAX_BUCKETS) -> None:
        self._now = now
        self._max_buckets = max_buckets
        self._buckets: OrderedDict[str, _Kept] = OrderedDict()
        """Used least recently first."""

        self._lasting: dict[str, _Kept] = {}

    def __len__(self) -> int:
        """How many buckets are remembered."""
        return len(self._buckets) + len(self._lasting)

    async def start(self) -> None:
        """Nothing to do."""

    async def stop(self) -> None:
        """Nothing to do."""

    async def take(self, buckets: Sequence[Bucket]) -> Verdict:
        """Take from all *buckets* or from none."""
        return self.take_now(buckets)

    def take_now(self, buckets: Sequence[Bucket], *, force: bool = False) -> Verdict:
        """
        Take from all *buckets* or from none, without an event loop.

        Args:
            force: Somebody else has decided; it is only counted here.
        """
        now = self._now()
        found, longest, refused = [], 0, None
        for bucket in buckets:
            limit = bucket.limit
            key, kept = self._find(bucket)
            state = kept.state
            before = state.used, state.at
            limit.advance(state, now)
            units = bucket.units if force else min(bucket.units, limit.capacity)
            wait = 0 if force else limit.wait(state, units, now)
            if wait > 0:
                kept.refused = units
            if wait > longest:
                longest, refused = wait, bucket
            found.append((bucket, key, kept, units, before))
        holds = []
        for bucket, key, kept, units, before in found:
            limit, state = bucket.limit, kept.state
            if refused is None:
                limit.charge(state, units)
            remaining, reset = limit.remaining(state), limit.reset(state, now)
            holds.append(Hold(bucket, key, units, limit.mark(state), remaining, in_ms(reset)))
            if refused is not None and state.at >= before[1]:
                # A refusal leaves all as it was, unless the clock was set back: from there on it goes on.
                state.used, state.at = before
            self._keep(bucket, key, kept)
        return Verdict(holds, in_ms(longest), refused)

    def state_of(self, hold: Hold) -> State:
        """Return the state of the bucket from which *hold* was taken just now; it is not to be changed."""
        return self._home(hold.bucket)[hold.key].state

    def settle(self, verdict: Verdict, actual: Actual) -> None:
        """Put what was reserved right, and give back open streams."""
        changes = corrections(verdict, actual)
        now = self._now() if changes else None
        for hold, units in changes:
            assert now is not None
            limit = hold.bucket.limit
            kept = self._home(hold.bucket).get(hold.key) or _Kept(limit)
            limit.advance(kept.state, now)
            limit.charge(kept.state, units, hold.mark)
            self._keep(hold.bucket, hold.key, kept)

    def _home(self, bucket: Bucket) -> dict[str, _Kept]:
        return self._lasting if bucket.is_lasting else self._buckets

    def _find(self, bucket: Bucket) -> tuple[str, _Kept]:
        """Return the bucket and its name; the names of newcomers to a full house are all the same."""
        key, limit, home = bucket.key, bucket.limit, self._home(bucket)
        known = home.get(key)
        is_full = home is self._buckets and len(home) >= self._max_buckets
        if known is None and is_full and not self._make_room():
            key = f"others:{limit.name}:{limit.capacity}"
            known = home.get(key)
        return key, _Kept(limit) if known is None else known

    def _keep(self, bucket: Bucket, key: str, kept: _Kept) -> None:
        """Remember it, as the one used last."""
        home = self._home(bucket)
        kept.limit = bucket.limit
        if not kept.state.used:
            home.pop(key, None)
            return
        home[key] = kept
        if home is self._buckets:
            self._buckets.move_to_end(key)

    def _make_room(self) -> bool:
        """Forget a bucket: an idle one of those used least recently, else one that has not run dry."""
        now, spare = self._now(), None
        for key in list(islice(self._buckets, _LOOKED_AT)):
            kept = self._buckets[key]
            limit = kept.limit
            limit.advance(kept.state, now)
            if not kept.state.used:
                del self._buckets[key]
                return True
            if limit.dimension == "streams" or limit.wait(kept.state, min(kept.refused, limit.capacity), now):
                self._buckets.move_to_end(key)
            elif spare is None:
                spare = key
        if spare is not None:
            del self._buckets[spare]
        return spare is not None
