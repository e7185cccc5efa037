"""
Limits a second and a minute: a burst, and a steady rate behind it (GCRA).

In place of a theoretical arrival time the bucket's level is kept, in units times the ticks of the period: so
many of them leak a tick as the rate has units, and no rate needs a fraction. Admitted in any time t is at
most burst + rate × t. A clock that steps forward gives one burst at the most, one that steps back only waits.

Source: ITU-T I.371, the continuous-state leaky bucket form, which decides as the virtual scheduling form.
"""

from __future__ import annotations

from dataclasses import dataclass

from ssegate.config.units import Period
from ssegate.limits.ground import EXACT, PERIOD_TICKS, TICKS_PER_SECOND, Dimension, Moment, State

__all__ = ["MAX_LEVEL", "RateLimit"]

MAX_LEVEL = EXACT * 2 // 3
"""Debt beyond it is forgotten; what is added to it (a third at most) stays exact."""

_NO_SHARE = TICKS_PER_SECOND
"""The wait where nothing ever fits, as this replica has no part in a limit smaller than their number."""


@dataclass(frozen=True, slots=True)
class RateLimit:
    """*amount* units a period, *burst* at once."""

    dimension: Dimension
    amount: int
    period: Period
    burst: int
    ticks: int = 0
    """Of the period; 0: those that its name says."""

    def __post_init__(self) -> None:
        if self.ticks == 0:
            object.__setattr__(self, "ticks", PERIOD_TICKS[self.period])

    @property
    def capacity(self) -> int:
        """The most that fits at once."""
        return self.burst

    @property
    def name(self) -> str:
        """Names it within its scope."""
        return f"{self.dimension}/{self.period}"

    def advance(self, state: State, now: Moment) -> None:
        """Let leak what has leaked since the state was written."""
        elapsed = now.steady - state.at
        if elapsed > 0:
            state.used = max(0, state.used - elapsed * self.amount)
        # Also when the clock has stepped back: from there on it leaks as before.
        state.at = now.steady

    def wait(self, state: State, units: int, now: Moment) -> int:
        """Return in how many ticks *units* will fit."""
        if self.burst == 0:
            return _NO_SHARE
        over = state.used + (units - self.burst) * self.ticks
        return -(-over // self.amount) if over > 0 else 0

    def charge(self, state: State, units: int, mark: int | None = None) -> None:
        """Count *units*; a refund never lifts the bucket above its burst."""
        state.used = min(MAX_LEVEL, max(0, state.used + units * self.ticks))

    def mark(self, state: State) -> int:
        """A refund may come at any time: what has leaked meanwhile is full already."""
        return 0

    def remaining(self, state: State) -> int:
        """Return how many whole units fit now."""
        return max(0, (self.burst * self.ticks - state.used) // self.ticks)

    def reset(self, state: State, now: Moment) -> int:
        """Return in how many ticks the bucket is full."""
        return -(-state.used // self.amount)

    def share(self, of: int, rank: int) -> RateLimit:
        """Return one of *of* parts: the rate through them, and the burst in whole units."""
        burst = self.burst // of + (rank < self.burst % of)
        return RateLimit(self.dimension, self.amount, self.period, burst, self.ticks * of)
