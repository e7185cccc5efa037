"""
What a request takes from its buckets, and what keeps them: the one interface of all stores.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from ssegate.limits.ground import Dimension, Limit

__all__ = ["Actual", "Bucket", "Hold", "Store", "StoreDown", "Verdict", "corrections"]

Actual = Mapping[Dimension, int]
"""What a request has really used; a dimension that is not in it was used as it was reserved."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """What one request wants of one limit."""

    key: str
    """Names the bucket in every store: whose it is, and the limit's name."""

    limit: Limit
    units: int
    """> 0; where they are more than the limit's capacity, that is taken."""

    is_lasting: bool = False
    """A key's, or everybody's: config bounds how many there are, so none has to leave for another."""


@dataclass(slots=True)
class Hold:
    """What a request has got from one bucket, or how the bucket stood when it was refused."""

    bucket: Bucket
    key: str
    """The bucket that it was really taken from."""

    units: int
    mark: int
    remaining: int
    """Whole units left after this request."""

    reset_ms: int
    """Time to a full bucket."""


@dataclass(slots=True)
class Verdict:
    """The one decision over all buckets of a request."""

    holds: list[Hold]
    wait_ms: int = 0
    """0: admitted. Else, waiting so long and asking again succeeds unless others come before."""

    refused: Bucket | None = None
    """The bucket that makes it wait longest."""

    lease: str | None = None
    """What a shared store knows the open stream by."""

    mirror: Verdict | None = field(default=None, repr=False)
    """The same, as this replica counts it for itself should the shared store fail."""

    outage: int = 0
    """The shared store did not answer, for the so-manieth time: this replica has decided by its own share."""

    is_settled: bool = field(default=False, repr=False)

    @property
    def is_alone(self) -> bool:
        """This replica has decided without the shared store."""
        return self.outage > 0

    @property
    def is_allowed(self) -> bool:
        """All buckets had room, and it was taken from all."""
        return self.refused is None


class StoreDown(Exception):
    """The store does not answer, and without it nothing is admitted (``on_store_error: deny``)."""


class Store(Protocol):
    """Keeps buckets. Every method but ``take`` returns at once."""

    async def start(self) -> None:
        """Begin to work; a store that cannot be reached is no error."""

    async def stop(self) -> None:
        """Write what is still to be written, and end."""

    async def take(self, buckets: Sequence[Bucket]) -> Verdict:
        """
        Take from all *buckets*, which differ in their keys, or from none.

        Raises:
            StoreDown: Nobody can tell.
        """

    def settle(self, verdict: Verdict, actual: Actual) -> None:
        """
        Put what was reserved right and give back open streams; only the first call counts.

        A request that used more than it reserved runs into debt, one that used less gets the rest back.
        """


def corrections(verdict: Verdict, actual: Actual) -> list[tuple[Hold, int]]:
    """Return what settling *verdict* changes: each hold with the units to count, negative ones back."""
    if verdict.is_settled or not verdict.is_allowed:
        return []
    verdict.is_settled = True
    changes = []
    for hold in verdict.holds:
        dimension = hold.bucket.limit.dimension
        units = 0 if dimension == "streams" else actual.get(dimension, hold.units)
        if units != hold.units:
            changes.append((hold, max(0, min(units, _MOST)) - hold.units))
    return changes


_MOST = 2**40
"""No request uses more, and none less than nothing, whatever an upstream reports."""
