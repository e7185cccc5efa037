"""
What all limits stand on: moments, the state of a bucket, and how large a number may be.

Every number is an integer below 2**53. Lua, in which Redis counts, has doubles only, and those are exact so
far: both stores decide alike, to the unit and to the tick.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol, runtime_checkable

from ssegate.config.units import Period

__all__ = [
    "EXACT",
    "PERIOD_TICKS",
    "TICKS_PER_MS",
    "TICKS_PER_SECOND",
    "Dimension",
    "Limit",
    "Moment",
    "State",
    "in_ms",
]

Dimension = Literal["requests", "tokens", "input_tokens", "output_tokens", "cost", "streams"]

TICKS_PER_SECOND = 100_000
"""
Time is counted in ticks of 10 µs: fine enough for 10 000 requests a second to be told apart, coarse enough
for 500 000 000 tokens a minute to be counted in doubles.
"""

TICKS_PER_MS = TICKS_PER_SECOND // 1000

PERIOD_TICKS: dict[Period, int] = {
    "second": TICKS_PER_SECOND,
    "minute": 60 * TICKS_PER_SECOND,
    "hour": 3600 * TICKS_PER_SECOND,
    "day": 86_400 * TICKS_PER_SECOND,
}
"""How long a period is; a month has no one length."""

EXACT = 2**53
"""Up to here every integer is a double, too."""


class Moment(NamedTuple):
    """Now, on two clocks, in ticks."""

    steady: int
    """Never steps; it has no date."""

    wall: int
    """Since 1970 UTC; somebody may set it."""


@dataclass(slots=True)
class State:
    """What is remembered of one bucket; the limit that it is for knows what the numbers say."""

    used: int = 0
    at: int = 0


@runtime_checkable
class Limit(Protocol):
    """One limit on one dimension. Frozen; the state is passed in."""

    @property
    def dimension(self) -> Dimension:
        """What is counted."""

    @property
    def capacity(self) -> int:
        """The most that fits at once, in whole units."""

    @property
    def name(self) -> str:
        """What tells it apart from the other limits of a scope; its numbers may change under that name."""

    def advance(self, state: State, now: Moment) -> None:
        """Bring *state* up to *now*; everything below wants that done."""

    def wait(self, state: State, units: int, now: Moment) -> int:
        """Return in how many ticks *units* (at most ``capacity``) will fit; 0: they fit now."""

    def charge(self, state: State, units: int, mark: int | None = None) -> None:
        """
        Count *units*; negative ones were reserved and not used.

        Args:
            mark: What ``mark`` was when they were reserved; None: they are reserved now.
        """

    def mark(self, state: State) -> int:
        """Return what a later refund has to show."""

    def remaining(self, state: State) -> int:
        """Return how many whole units fit now."""

    def reset(self, state: State, now: Moment) -> int:
        """Return in how many ticks nothing will be counted any more."""

    def share(self, of: int, rank: int) -> Limit:
        """Return the part of it for number *rank* of *of* replicas; all parts together are the whole."""


def in_ms(ticks: int) -> int:
    """Return *ticks* in milliseconds, rounded up."""
    return -(-ticks // TICKS_PER_MS)
