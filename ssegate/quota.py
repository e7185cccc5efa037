"""
Ends a running stream whose caller has used up its tokens (``limits.on_exhausted: cut``).

A stream begins with what was reserved for it. Once that is used up it takes more from the same buckets, a
little at a time, so that streams that run together share what is left, on all replicas; when nothing is left
it ends. A store that does not answer ends no stream.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from math import ceil

from ssegate.limits import Dimension, Hold, Store, StoreDown, Verdict
from ssegate.limits.headers import refusal_words
from ssegate.wire.events import Failure

__all__ = ["Quota"]

_STEP = 256
"""Tokens that are taken at once: a round trip to a shared store for several seconds of most streams."""

_ENDLESS = 2**40

_COUNTED: frozenset[Dimension] = frozenset({"tokens", "output_tokens", "cost"})


class Quota:
    """
    What one stream may generate.

    Args:
        input_units: Of each dimension, what the input takes of the reservation.
        token_cost: Billionths of a dollar for a token of output.
        refused: Told what ended the stream.
    """

    def __init__(
        self,
        store: Store,
        verdict: Verdict,
        input_units: dict[Dimension, int],
        token_cost: float,
        refused: Callable[[Dimension], None],
    ) -> None:
        self._store, self._refused, self._token_cost = store, refused, token_cost
        self._extras: list[tuple[Verdict, int]] = []  # and how many tokens each time
        self._holds = [hold for hold in verdict.holds if hold.bucket.limit.dimension in _COUNTED]
        self._tokens = self._fitting(lambda h: h.units - input_units.get(h.bucket.limit.dimension, 0))
        self._unlooked_bytes = self._tokens
        self._count: Callable[[], int] = int
        self._end: Callable[[Failure], object] = _nobody
        self._asking: asyncio.Task[None] | None = None
        self._is_over = False

    def watch(self, count: Callable[[], int], end: Callable[[Failure], object]) -> None:
        """Watch the stream that has generated *count* tokens so far, and that *end* ends."""
        self._count, self._end = count, end

    def wrote(self, size: int) -> None:
        """Of the stream *size* more bytes have been written."""
        self._unlooked_bytes -= size
        if self._unlooked_bytes < 0:
            self._look()

    def settle(self, actual: dict[Dimension, int]) -> None:
        """
        The stream has ended and *actual* is what it used: take out of it what was taken on the way.

        The reservation is settled by the rest; what is still asked for is given back when it comes.
        """
        self._is_over = True
        self._count, self._end = int, _nobody  # both hold the stream, which holds this
        for verdict, tokens in self._extras:
            used = min(tokens, max(0, actual["output_tokens"]))
            units = self._units(used)
            self._store.settle(verdict, units)
            for dimension, count in units.items():
                actual[dimension] = max(0, actual[dimension] - count)

    def _units(self, tokens: int) -> dict[Dimension, int]:
        """Return what *tokens* of output take of each dimension."""
        cost = ceil(tokens * self._token_cost)
        return {"tokens": tokens, "output_tokens": tokens, "cost": cost}

    def _look(self) -> None:
        left = self._tokens - self._count()
        # No token is shorter than a byte on the wire, so nothing can be used up before.
        self._unlooked_bytes = max(0, left)
        if left < 0 and self._asking is None and not self._is_over:
            self._asking = asyncio.get_running_loop().create_task(self._ask(-left), name="take more tokens")

    async def _ask(self, short: int) -> None:
        """Take the *short* tokens that were generated unasked, and a step; or else as many as are left."""
        try:
            verdict = await self._take(short + _STEP)
            if not verdict.is_allowed and (rest := self._left(verdict)) >= short:
                verdict = await self._take(rest)
        except StoreDown:
            self._tokens += short + _STEP
            return
        finally:
            self._asking = None
        if verdict.refused is not None and not self._is_over:
            self._refused(verdict.refused.limit.dimension)
            self._end(Failure("quota_exceeded", refusal_words(verdict), limit="tokens"))

    async def _take(self, wanted: int) -> Verdict:
        tokens = max(1, min(wanted, self._fitting(lambda h: h.bucket.limit.capacity)))
        units = self._units(tokens)
        asked = [replace(h.bucket, units=units[h.bucket.limit.dimension]) for h in self._holds]
        verdict = await self._store.take([bucket for bucket in asked if bucket.units > 0])
        if self._is_over:
            self._store.settle(verdict, self._units(0))
        elif verdict.is_allowed:
            self._tokens += tokens
            self._extras.append((verdict, tokens))
        return verdict

    def _left(self, verdict: Verdict) -> int:
        remaining = {hold.bucket.key: hold.remaining for hold in verdict.holds}
        return self._fitting(lambda h: remaining.get(h.bucket.key, h.units))

    def _fitting(self, room: Callable[[Hold], int]) -> int:
        """Return how many tokens fit where each bucket has *room*."""
        return max(0, min((self._in_tokens(hold, room(hold)) for hold in self._holds), default=_ENDLESS))

    def _in_tokens(self, hold: Hold, units: int) -> int:
        if hold.bucket.limit.dimension != "cost":
            return units
        return int(units / self._token_cost) if self._token_cost else _ENDLESS


def _nobody(failure: Failure) -> None:
    """There is no stream to be ended."""
