"""
Limits an hour, a day, a month, and of every cost: windows of the calendar (UTC), never above the number.

A clock that steps back by a little over a window's border goes on with the later window, so neither of them
gets more than its number. One that had been far ahead is believed again at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from ssegate.config.units import Period
from ssegate.limits.ground import EXACT, PERIOD_TICKS, TICKS_PER_SECOND, Dimension, Moment, State

__all__ = ["BACKWARD", "WindowLimit", "bounds"]

BACKWARD = 300 * TICKS_PER_SECOND
"""How far back a clock is set by somebody who puts it right; more mends a clock that was wrong."""

_SHORTEST_MONTH = 28 * PERIOD_TICKS["day"]


def bounds(period: Period, wall: int) -> tuple[int, int]:
    """Return where the window around *wall* begins, and the next one, in ticks since 1970 UTC."""
    if period != "month":
        ticks = PERIOD_TICKS[period]
        begin = wall - wall % ticks
        return begin, begin + ticks
    day = datetime.fromtimestamp(wall // TICKS_PER_SECOND, UTC)
    first = datetime(day.year, day.month, 1, tzinfo=UTC)
    after = datetime(day.year + day.month // 12, day.month % 12 + 1, 1, tzinfo=UTC)
    return int(first.timestamp()) * TICKS_PER_SECOND, int(after.timestamp()) * TICKS_PER_SECOND


@dataclass(frozen=True, slots=True)
class WindowLimit:
    """*amount* units in each window; of a cost, billionths of a dollar."""

    dimension: Dimension
    amount: int
    period: Period

    @property
    def capacity(self) -> int:
        """The most that fits at once."""
        return self.amount

    @property
    def name(self) -> str:
        """Names it within its scope."""
        return f"{self.dimension}/{self.period}"

    def advance(self, state: State, now: Moment) -> None:
        """Begin a new window where one has begun."""
        ahead = state.at - now.wall
        # Inside the window that is counted: no need to ask the calendar.
        if -PERIOD_TICKS.get(self.period, _SHORTEST_MONTH) < ahead <= 0 or 0 < ahead <= BACKWARD:
            return
        begin, _ = bounds(self.period, now.wall)
        if begin > state.at:
            state.used = 0
        state.at = begin

    def wait(self, state: State, units: int, now: Moment) -> int:
        """Return in how many ticks *units* will fit: at the window's end."""
        return 0 if state.used + units <= self.amount and self.amount > 0 else self.reset(state, now)

    def charge(self, state: State, units: int, mark: int | None = None) -> None:
        """Count *units*; what was reserved in a window before is not given back in this one."""
        if units < 0 and mark is not None and mark != state.at:
            return
        state.used = min(EXACT // 2, max(0, state.used + units))

    def mark(self, state: State) -> int:
        """Return which window it is."""
        return state.at

    def remaining(self, state: State) -> int:
        """Return how many units fit now."""
        return max(0, self.amount - state.used)

    def reset(self, state: State, now: Moment) -> int:
        """Return in how many ticks the window ends."""
        return bounds(self.period, state.at)[1] - now.wall

    def share(self, of: int, rank: int) -> WindowLimit:
        """Return one of *of* parts."""
        amount = self.amount // of + (rank < self.amount % of)
        return WindowLimit(self.dimension, amount, self.period)
