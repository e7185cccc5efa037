"""
Lets a request in or not: one decision over all of its buckets, and what was reserved put right at its end.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from math import ceil

from ssegate.config import Route
from ssegate.estimate import expected_input, expected_output
from ssegate.exchange import Exchange, World
from ssegate.keys import counted
from ssegate.limits import Dimension, Limit, Store, StoreDown, Verdict
from ssegate.limits.headers import rate_headers, refusal_words, refused
from ssegate.quota import Quota
from ssegate.report import RequestReport, StreamReport
from ssegate.request import Plan
from ssegate.wire.errors import ClientError
from ssegate.wire.events import Usage
from ssegate.wire.stats import Price

__all__ = ["Admission", "admit"]

Decided = Callable[[str, str, str, bool], None]
"""Told each decision: route, key, the dimension that refused (``-``: none), whether it was admitted."""

_WORDS = {"requests": "requests", "streams": "streams"}
"""What a refusal is about, in the words of the error's type; the rest is about tokens."""

_BILLION = 10**9
_UNREAD_INPUT = 1
"""Tokens of a body that was not read (a file, compressed): what the upstream reports will tell."""


@dataclass(slots=True)
class Admission:
    """A request that was let in, and what was reserved for it."""

    store: Store
    verdict: Verdict
    input_tokens: int
    output_tokens: int
    price: Price | None
    """Of the model that was asked for."""

    price_of: Callable[[str | None], Price | None]
    quota: Quota | None = None
    """Where a stream is to end when its tokens are used up."""

    @property
    def counts_tokens(self) -> bool:
        """Something else than requests and streams was reserved."""
        return any(hold.bucket.limit.dimension not in _WORDS for hold in self.verdict.holds)

    def settle_stream(self, report: StreamReport) -> None:
        """Put right what was reserved for a stream that is over."""
        if not _has_worked(report):
            self._settle(Usage(0, 0), None)
            return
        usage = Usage(report.input_tokens, report.output_tokens, cached_tokens=report.cached_tokens)
        self._settle(usage, report.model)

    def settle_passed(self, report: RequestReport, usage: Usage, model: str | None) -> None:
        """The same for an answer that passed as it is, and what was found in it."""
        if not _has_worked(report):
            usage = Usage(0, 0)
        elif usage.output_tokens is None:
            usage.output_tokens = min(self.output_tokens, ceil(report.bytes_out / 4))
        self._settle(usage, model)

    def undo(self) -> None:
        """Give everything back, if it has not been settled: the request was not sent after all."""
        self.store.settle(self.verdict, dict.fromkeys(("requests", *_of(0, 0, 0)), 0))

    def _settle(self, usage: Usage, model: str | None) -> None:
        spent = Usage(
            self.input_tokens if usage.input_tokens is None else usage.input_tokens,
            self.output_tokens if usage.output_tokens is None else usage.output_tokens,
            cached_tokens=usage.cached_tokens,
        )
        price = self.price_of(model) or self.price
        cost = 0 if price is None else _billionths(price, spent)
        actual = _of(spent.input_tokens or 0, spent.output_tokens or 0, cost)
        if self.quota is not None:
            self.quota.settle(actual)
        self.store.settle(self.verdict, actual)


async def admit(exchange: Exchange, route: Route, planned: Plan, store: Store, decided: Decided) -> Admission:
    """
    Take what the request needs from all of its buckets, or from none.

    Raises:
        ClientError: ``rate_limit_exceeded`` with the time to wait; ``forbidden``, a budget cannot be held as
            the model has no price; ``overloaded``, the store does not answer and nothing goes without it.
    """
    rules, key, world = exchange.world.rules, exchange.key, exchange.world
    limited = rules.dimensions(key, route)
    expected, price = Usage(0, 0), None
    if limited - _WORDS.keys():
        expected = _expected(planned)
        price = _price(world, planned.model, expected, is_needed="cost" in limited)
    tokens_in, tokens_out = expected.input_tokens or 0, expected.output_tokens or 0
    cost = 0 if price is None else _billionths(price, expected)
    units = _of(tokens_in, tokens_out, cost) | {"requests": 1, "streams": int(planned.wants_stream)}
    buckets = rules.buckets(_who(exchange), key, route, units)
    if not buckets:
        return Admission(store, Verdict([]), tokens_in, tokens_out, price, world.price_of)
    try:
        verdict = await store.take(buckets)
    except StoreDown:
        said = "the limit store does not answer"
        raise ClientError("overloaded", said, {"Retry-After": "1"}) from None
    exchange.rates = rate_headers(verdict.holds, anthropic=exchange.shape == "anthropic", now=time.time())
    name = exchange.key_name
    if verdict.refused is not None:
        decided(route.name, name, verdict.refused.limit.dimension, False)
        raise _refusal(verdict, verdict.refused.limit)
    decided(route.name, name, "-", True)
    admission = Admission(store, verdict, tokens_in, tokens_out, price, world.price_of)
    if world.config.limits.cuts and admission.counts_tokens:
        admission.quota = _quota(admission, lambda what: decided(route.name, name, what, False))
    return admission


def _quota(admission: Admission, refused: Callable[[Dimension], None]) -> Quota:
    price, tokens_in = admission.price, admission.input_tokens
    input_cost = 0 if price is None else _billionths(price, Usage(tokens_in, 0))
    token_cost = 0.0 if price is None else price.output * _BILLION / 1e6
    of_input = _of(tokens_in, 0, input_cost)
    return Quota(admission.store, admission.verdict, of_input, token_cost, refused)


def _expected(planned: Plan) -> Usage:
    """Return what the request may take at most, as far as anybody knows."""
    if planned.body is None:
        return Usage(_UNREAD_INPUT, expected_output({}))
    if not planned.body:
        return Usage(0, 0)
    return Usage(expected_input(planned.body), expected_output(planned.json or {}))


def _price(world: World, model: str | None, usage: Usage, *, is_needed: bool) -> Price | None:
    """
    Return what *model* costs; where a budget needs a price and no model is named, the dearest there is.

    Raises:
        ClientError: ``forbidden``, the model has no price, and without one no budget can be held.
    """
    price = world.price_of(model)
    if price is None and is_needed and usage.output_tokens:
        if model is not None:
            raise ClientError("forbidden", "a budget is in force, and this model has no price")
        price = max((known for _, known in world.prices), key=lambda known: known.cost(usage))
    return price


def _refusal(verdict: Verdict, limit: Limit) -> ClientError:
    error = refused(verdict, refusal_words(verdict))
    error.failure.limit = _WORDS.get(limit.dimension, "tokens")
    return error


def _who(exchange: Exchange) -> str:
    """Return who is counted."""
    by, key = exchange.world.config.limits.by, exchange.key
    name = "" if key is None else key.name
    if by.startswith("header:") and (said := exchange.request.headers.get(by.partition(":")[2])):
        # Hashed, as it may be long or private; with the key, as each application has users of its own.
        return f"header:{name}:{sha256(said.encode(errors='surrogateescape')).hexdigest()[:32]}"
    return f"key:{name}" if key is not None and by != "ip" else f"ip:{counted(exchange.client)}"


def _of(tokens_in: int, tokens_out: int, cost: int) -> dict[Dimension, int]:
    return {
        "tokens": tokens_in + tokens_out,
        "input_tokens": tokens_in,
        "output_tokens": tokens_out,
        "cost": cost,
    }


def _billionths(price: Price, usage: Usage) -> int:
    return max(0, ceil(price.cost(usage) * _BILLION))


def _has_worked(report: StreamReport | RequestReport) -> bool:
    """Tell whether the upstream has worked, or may have: one that refused or was not reached has not."""
    if report.upstream_status is not None:
        return report.upstream_status < 400
    return not (report.code or "").startswith("upstream_")
