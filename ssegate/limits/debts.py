"""
What a shared store is still to be told: of requests that have ended, and of what was taken without it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from ssegate.limits.gcra import RateLimit
from ssegate.limits.ground import Limit, Moment, State
from ssegate.limits.leases import StreamLimit
from ssegate.limits.scripts import five
from ssegate.limits.store import Actual, Hold, Verdict, corrections

__all__ = ["Debt", "Unseen", "debts_of"]


class Leak(NamedTuple):
    """
    What has leaked from a replica's share of a rate while it went alone.

    The server's own bucket has leaked at the same time, for what had been taken before. Both together must
    not leak faster than the whole rate, so the server puts back what leaked twice.
    """

    units: int
    """Of what was taken alone, rounded up."""

    before: int
    """Of what the replica had taken before, which is the server's to forget; rounded down."""

    ticks: int
    """How long ago the first was taken alone."""


@dataclass(frozen=True, slots=True)
class Debt:
    """A change that the server is still to be told."""

    key: str
    limit: Limit
    units: int
    mark: int | None = None
    lease: str | None = None
    leak: Leak | None = None

    @property
    def may_be_paid_twice(self) -> bool:
        """Whether to tell it again where it is not known if it has arrived."""
        return self.units > 0 or self.leak is not None or isinstance(self.limit, StreamLimit)

    def args(self) -> list[str | int]:
        """Return it as ``settle.lua`` takes it."""
        last = self.lease if isinstance(self.limit, StreamLimit) else self.mark
        if self.leak is not None:
            last = ":".join(map(str, self.leak))
        return [*five(self.limit, self.units), "" if last is None else last]


@dataclass(slots=True)
class _Levels:
    """A bucket of the server's: how the share that stands for it was without what was taken, and is."""

    limit: Limit
    share: Limit
    without: State
    level: State
    since: Moment
    taken: int
    """Whole units."""

    before: int = field(init=False)
    """What ``without`` was at first."""

    def __post_init__(self) -> None:
        self.before = self.without.used

    def charge(self, units: int, now: Moment) -> None:
        self.share.advance(self.level, now)
        self.share.charge(self.level, units)
        self.taken += units

    def debt(self, key: str, now: Moment) -> Debt:
        """Return as a debt how many whole units of it count still."""
        for state in (self.without, self.level):
            self.share.advance(state, now)
        step = _step(self.share)
        owed = max(0, -(-(self.level.used - self.without.used) // step))
        if not isinstance(self.limit, RateLimit):
            return Debt(key, self.limit, owed)
        leaked_before = (self.before - self.without.used) // step
        leak = Leak(max(0, self.taken - owed), leaked_before, now.steady - self.since.steady)
        return Debt(key, self.limit, owed, leak=leak)


def _step(limit: Limit) -> int:
    """Return what a unit adds to a bucket's state."""
    return limit.ticks if isinstance(limit, RateLimit) else 1


class Unseen:
    """What a replica has taken from rates and budgets without the server, as far as it counts still."""

    def __init__(self, max_buckets: int) -> None:
        self._buckets: dict[str, _Levels] = {}
        self._max_buckets = max_buckets

    def take(self, key: str, limit: Limit, share: Hold, state: State, now: Moment) -> Debt | None:
        """
        Note that *share* was taken just now, which led to *state*.

        Returns:
            What is owed for the bucket noted first, if there are too many of them: it leaks no more.
        """
        if key in self._buckets:
            self._buckets[key].charge(share.units, now)
            return None
        of = share.bucket.limit
        without = State(max(0, state.used - share.units * _step(of)), state.at)
        self._buckets[key] = _Levels(limit, of, without, replace(state), now, share.units)
        if len(self._buckets) <= self._max_buckets:
            return None
        first = next(iter(self._buckets))
        return self._buckets.pop(first).debt(first, now)

    def correct(self, key: str, units: int, now: Moment) -> None:
        """A request that is noted here has used *units* more, or less."""
        if key in self._buckets:
            self._buckets[key].charge(units, now)

    def debts(self, now: Moment) -> Iterator[Debt]:
        """Return what is owed, and forget it."""
        buckets, self._buckets = self._buckets, {}
        debts = (levels.debt(key, now) for key, levels in buckets.items())
        return (debt for debt in debts if debt.units > 0 or (debt.leak is not None and debt.leak.units > 0))


def debts_of(verdict: Verdict, actual: Actual, unseen: Unseen | None, now: Moment) -> list[Debt]:
    """
    Return what settling *verdict* changes on the server.

    Args:
        unseen: Where what it took is noted, if the server has not been told of it.
    """
    debts = []
    for hold, units in corrections(verdict, actual):
        limit = hold.bucket.limit
        if unseen is None or isinstance(limit, StreamLimit):
            debts.append(Debt(hold.key, limit, units, hold.mark, verdict.lease))
        else:
            unseen.correct(hold.key, units, now)
    return debts
