"""
Buckets in the memory of one process: the default store.

The number of buckets is bounded, however many addresses a flood comes from. When there are too many, idle
ones leave first, as nothing is lost with them, then those used least recently; one that has run dry never
does, for that would refill it. Where all have run dry, newcomers share one bucket a limit.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
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


class MemoryStore:
    """
    Implements ``store.Store``.

    Args:
        now: Tells the time; tests bring their own.
    """

    def __init__(self, now: Callable[[], Moment] = clock, max_buckets: int = MAX_BUCKETS) -> None:
        self._now = now
        self._max_buckets = max_buckets
        self._buckets: OrderedDict[str, tuple[Limit, State]] = OrderedDict()
        """Used least recently first."""

    def __len__(self) -> int:
        """How many buckets are remembered."""
        return len(self._buckets)

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
            key, state = self._state(bucket.key, limit)
            before = state.used, state.at
            limit.advance(state, now)
            units = bucket.units if force else min(bucket.units, limit.capacity)
            wait = 0 if force else limit.wait(state, units, now)
            if wait > longest:
                longest, refused = wait, bucket
            found.append((bucket, key, state, units, before))
        holds = []
        for bucket, key, state, units, before in found:
            limit = bucket.limit
            if refused is None:
                limit.charge(state, units)
                self._keep(key, limit, state)
            remaining, reset = limit.remaining(state), limit.reset(state, now)
            holds.append(Hold(bucket, key, units, limit.mark(state), remaining, in_ms(reset)))
            if refused is not None and state.at >= before[1]:
                # A refusal leaves all as it was, unless the clock was set back: from there on it goes on.
                state.used, state.at = before
        return Verdict(holds, in_ms(longest), refused)

    def settle(self, verdict: Verdict, actual: Actual) -> None:
        """Put what was reserved right, and give back open streams."""
        changes = corrections(verdict, actual)
        now = self._now() if changes else None
        for hold, units in changes:
            assert now is not None
            limit = hold.bucket.limit
            known = self._buckets.get(hold.key)
            state = State() if known is None else known[1]
            limit.advance(state, now)
            limit.charge(state, units, hold.mark)
            self._keep(hold.key, limit, state)

    def _state(self, key: str, limit: Limit) -> tuple[str, State]:
        """Return the bucket's name and state; the names of newcomers to a full house are all the same."""
        known = self._buckets.get(key)
        if known is None and len(self._buckets) >= self._max_buckets and not self._make_room():
            key = f"others:{limit.name}:{limit.capacity}"
            known = self._buckets.get(key)
        return key, State() if known is None else known[1]

    def _keep(self, key: str, limit: Limit, state: State) -> None:
        if state.used:
            self._buckets[key] = limit, state
            self._buckets.move_to_end(key)
        else:
            self._buckets.pop(key, None)

    def _make_room(self) -> bool:
        """Forget a bucket: an idle one of those used least recently, else one that has not run dry."""
        now, spare = self._now(), None
        for key in list(islice(self._buckets, _LOOKED_AT)):
            limit, state = self._buckets[key]
            limit.advance(state, now)
            if not state.used:
                del self._buckets[key]
                return True
            if limit.dimension == "streams" or limit.wait(state, 1, now):
                self._buckets.move_to_end(key)
            elif spare is None:
                spare = key
        if spare is not None:
            del self._buckets[spare]
        return spare is not None
