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

from collections.abc import Mapping, Set
from typing import NamedTuple, get_args

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


class _Place(NamedTuple):
    """Where a bucket is, whether it is the caller's own, and its limit, by its name too."""

    scope: str
    is_own: bool
    name: str
    limit: Limit


class Rules:
    """The limits of one configuration."""

    def __init__(self, shared: SharedLimits) -> None:
        self._each = limits_of(shared.each)
        self._everybody = limits_of(shared.everybody)
        # Of each route, and each key on it.
        self._known: dict[tuple[str, str | None], tuple[list[_Place], Set[Dimension]]] = {}

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
            Bucket(f"{scope}{who if is_own else _EVERYBODY}:{name}", limit, wanted, is_key or not is_own)
            for scope, is_own, name, limit in self._of(key, route)[0]
            if (wanted := units.get(limit.dimension, 0)) > 0
        ]

    def dimensions(self, key: Key | None, route: Route) -> Set[Dimension]:
        """Return what is limited for a request of *key* on *route*."""
        return self._of(key, route)[1]

    def _of(self, key: Key | None, route: Route) -> tuple[list[_Place], Set[Dimension]]:
        """Return the places of a request, and what is limited there."""
        names = route.name, None if key is None else key.name
        known = self._known.get(names)
        if known is None:
            places = self._find(key, route)
            known = self._known[names] = places, frozenset(place.limit.dimension for place in places)
        return known

    def _find(self, key: Key | None, route: Route) -> list[_Place]:
        own = {} if key is None else limits_of(key.limits)
        found: list[_Place] = []
        for dimension in DIMENSIONS:
            if dimension in own:
                assert key is not None
                found += [_Place(f"key:{key.name}:", False, limit.name, limit) for limit in own[dimension]]
            else:
                found += [_Place("each:", True, limit.name, limit) for limit in self._each.get(dimension, ())]
        on_route = f"route:{route.name}:"
        for scope, is_own, limits in (
            (on_route, True, limits_of(route.limits)),
            (on_route, False, limits_of(route.everybody)),
            ("", False, self._everybody),
        ):
            found += [
                _Place(scope, is_own, limit.name, limit) for group in limits.values() for limit in group
            ]
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
