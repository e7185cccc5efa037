"""
Limits on open streams: each holds a lease from its admission to its end.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ssegate.limits.ground import TICKS_PER_SECOND, Moment, State

__all__ = ["StreamLimit"]

_LOOK_AGAIN = TICKS_PER_SECOND
"""Nobody knows when a stream ends."""


@dataclass(frozen=True, slots=True)
class StreamLimit:
    """*amount* streams open at the same time."""

    amount: int
    dimension: Literal["streams"] = "streams"

    @property
    def capacity(self) -> int:
        """How many may be open."""
        return self.amount

    @property
    def name(self) -> str:
        """Names it within its scope."""
        return "streams"

    def advance(self, state: State, now: Moment) -> None:
        """Time alone ends no stream."""

    def wait(self, state: State, units: int, now: Moment) -> int:
        """Return when to look again, if *units* do not fit."""
        return 0 if state.used + units <= self.amount and self.amount > 0 else _LOOK_AGAIN

    def charge(self, state: State, units: int, mark: int | None = None) -> None:
        """Count streams that begin, or, below 0, that have ended."""
        state.used = max(0, state.used + units)

    def mark(self, state: State) -> int:
        """A lease can be given back whenever its stream ends."""
        return 0

    def remaining(self, state: State) -> int:
        """Return how many streams may still be opened."""
        return max(0, self.amount - state.used)

    def reset(self, state: State, now: Moment) -> int:
        """Return when to look again."""
        return _LOOK_AGAIN if state.used else 0

    def share(self, of: int, rank: int) -> StreamLimit:
        """Return one of *of* parts."""
        return StreamLimit(self.amount // of + (rank < self.amount % of))
