"""
What a shared store is still to be told of requests that have ended.
"""

from __future__ import annotations

from dataclasses import dataclass

from ssegate.limits.gcra import RateLimit
from ssegate.limits.ground import Limit
from ssegate.limits.leases import StreamLimit
from ssegate.limits.scripts import five
from ssegate.limits.store import Actual, Verdict, corrections

__all__ = ["Debt", "debts_of"]


@dataclass(frozen=True, slots=True)
class Debt:
    """A change that the server is still to be told."""

    key: str
    limit: Limit
    units: int
    mark: int | None = None
    lease: str | None = None

    @property
    def may_be_paid_twice(self) -> bool:
        """Whether to tell it again where it is not known if it has arrived."""
        return self.units > 0 or isinstance(self.limit, StreamLimit)

    def args(self) -> list[str | int]:
        """Return it as ``settle.lua`` takes it."""
        last = self.lease if isinstance(self.limit, StreamLimit) else self.mark
        return [*five(self.limit, self.units), "" if last is None else last]


def debts_of(verdict: Verdict, actual: Actual) -> list[Debt]:
    """Return what settling *verdict* changes on the server."""
    if not verdict.is_alone:
        changes = corrections(verdict, actual)
        return [Debt(h.key, h.bucket.limit, units, h.mark, verdict.lease) for h, units in changes]
    if verdict.is_settled:
        return []
    verdict.is_settled = True
    # The server knows nothing of this request. What is over by now need not be told: rates have gone on.
    return [
        Debt(hold.key, limit, actual.get(limit.dimension, hold.units), None, verdict.lease)
        for hold in verdict.holds
        if not isinstance(limit := hold.bucket.limit, RateLimit)
    ]
