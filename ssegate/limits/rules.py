"""
Which buckets a request has. Pure; docs/limits.md has it as a table.

    each caller             the top-level limits; dimension by dimension, the key's own in their place
    each caller on a route  the route's limits
    a route                 the route's global limits, for all callers together
    everybody               the global limits

What is counted for a caller is counted for its key, its address or the value of a header (``limits.by``); a
key's own limits count that key, whatever ``by`` says.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import get_args

from ssegate.config import Key, Limits, Route, SharedLimits
from ssegate.config.units import Rate
from ssegate.limits.gcra import RateLimit
from ssegate.limits.ground import Dimension, Limit
from ssegate.limits.leases import StreamLimit
from ssegate.limits.store import Bucket
from ssegate.limits.windows import WindowLimit

__all__ = ["DIMENSIONS", "Rules", "limits_of"]

DIMENSIONS: tuple[Dimension, ...] = get_args(Dimension)

_EVERYBODY = "all"


class Rules:
    """The limits of one configuration."""

    def __init__(self, shared: SharedLimits) -> None:
        self._each = limits_of(shared.each)
        self._everybody = limits_of(shared.everybody)
        # Of each route, and each key on it: where a bucket is, whether it is the caller's own, and its limit.
        self._known: dict[tuple[str, str | None], list[tuple[str, bool, Limit]]] = {}

    def buckets(
        self, who: str, key: Key | None, route: Route, units: Mapping[Dimension, int]
    ) -> list[Bucket]:
        """
        Return the buckets of a request.

        Args:
            who: The caller, as it is counted: ``key:…``, or one of any number of others.
            units: What the request takes of each dimension; what it takes nothing of is not asked.
        """
        is_key = who.startswith("key:")
        return [
            Bucket(
                f"{scope}{who if is_own else _EVERYBODY}:{limit.name}", limit, wanted, is_key or not is_own
            )
            for scope, is_own, limit in self._places(key, route)
            if (wanted := units.get(limit.dimension, 0)) > 0
        ]

    def dimensions(self, key: Key | None, route: Route) -> set[Dimension]:
        """Return what is limited for a request of *key* on *route*."""
        return {limit.dimension for _, _, limit in self._places(key, route)}

    def _places(self, key: Key | None, route: Route) -> list[tuple[str, bool, Limit]]:
        place = route.name, None if key is None else key.name
        found = self._known.get(place)
        if found is None:
            found = self._known[place] = self._find(key, route)
        return found

    def _find(self, key: Key | None, route: Route) -> list[tuple[str, bool, Limit]]:
        own = {} if key is None else limits_of(key.limits)
        found: list[tuple[str, bool, Limit]] = []
        for dimension in DIMENSIONS:
            if dimension in own:
                assert key is not None
                found += [(f"key:{key.name}:", False, limit) for limit in own[dimension]]
            else:
                found += [("each:", True, limit) for limit in self._each.get(dimension, ())]
        on_route = f"route:{route.name}:"
        for scope, is_own, limits in (
            (on_route, True, limits_of(route.limits)),
            (on_route, False, limits_of(route.everybody)),
            ("", False, self._everybody),
        ):
            found += [(scope, is_own, limit) for group in limits.values() for limit in group]
        return found


def limits_of(said: Limits) -> dict[Dimension, tuple[Limit, ...]]:
    """Return what *said* limits; a dimension that it switches off is there and has no limit."""
    made: dict[Dimension, tuple[Limit, ...]] = {}
    for dimension in DIMENSIONS:
        if dimension in said.rates:
            made[dimension] = tuple(_limit(dimension, rate) for rate in said.rates[dimension])
    if said.streams is not None:
        made["streams"] = tuple(StreamLimit(amount) for amount in said.streams)
    return made


def _limit(dimension: Dimension, rate: Rate) -> Limit:
    if dimension == "cost" or rate.period not in ("second", "minute"):
        return WindowLimit(dimension, rate.amount, rate.period)
    return RateLimit(dimension, rate.amount, rate.period, rate.burst or rate.amount)
