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
from ssegate.exchange import Exchange
from ssegate.keys import counted
from ssegate.limits import Dimension, Limit, Store, StoreDown, Verdict
from ssegate.limits.headers import rate_headers, refusal_headers, refusal_words
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
        """Give everything back: the request was refused after all."""
        self.store.settle(self.verdict, dict.fromkeys(("requests", *_of(0, 0, 0)), 0))

    def _settle(self, usage: Usage, model: str | None) -> None:
        spent = Usage(
            self.input_tokens if usage.input_tokens is None else usage.input_tokens,
            self.output_tokens if usage.output_tokens is None else usage.output_tokens,
            cached_tokens=usage.cached_tokens,
        )
        price = self.price_of(model) or self.price
        cost = 0 if price is None else _billionths(price, spent)
        self.store.settle(self.verdict, _of(spent.input_tokens or 0, spent.output_tokens or 0, cost))


async def admit(exchange: Exchange, route: Route, planned: Plan, store: Store, decided: Decided) -> Admission:
    """
    Take what the request needs from all of its buckets, or from none.

    Raises:
        ClientError: ``rate_limit_exceeded`` with the time to wait; ``forbidden``, a budget cannot be held as
            the model has no price; ``overloaded``, the store does not answer and nothing goes without it.
    """
    rules, key = exchange.world.rules, exchange.key
    limited = rules.dimensions(key, route)
    tokens_in = tokens_out = cost = 0
    price = None
    if planned.json is not None and limited - _WORDS.keys():
        tokens_in, tokens_out = expected_input(planned.body or b""), expected_output(planned.json)
        price = exchange.world.price_of(planned.model)
        if price is not None:
            cost = _billionths(price, Usage(tokens_in, tokens_out))
        elif planned.model is not None and "cost" in limited:
            raise ClientError("forbidden", "a budget is in force, and this model has no price")
    units = _of(tokens_in, tokens_out, cost) | {"requests": 1, "streams": int(planned.wants_stream)}
    buckets = rules.buckets(_who(exchange), key, route, units)
    if not buckets:
        return Admission(store, Verdict([]), tokens_in, tokens_out, price, exchange.world.price_of)
    try:
        verdict = await store.take(buckets)
    except StoreDown:
        said = "the limit store does not answer"
        raise ClientError("overloaded", said, {"Retry-After": "1"}) from None
    exchange.rates = rate_headers(verdict.holds, anthropic=exchange.shape == "anthropic", now=time.time())
    name = "-" if key is None else key.name
    if verdict.refused is not None:
        decided(route.name, name, verdict.refused.limit.dimension, False)
        raise _refusal(verdict, verdict.refused.limit)
    decided(route.name, name, "-", True)
    return Admission(store, verdict, tokens_in, tokens_out, price, exchange.world.price_of)


def _refusal(verdict: Verdict, limit: Limit) -> ClientError:
    error = ClientError("rate_limit_exceeded", refusal_words(verdict), refusal_headers(verdict))
    error.failure.limit = _WORDS.get(limit.dimension, "tokens")
    error.failure.retry_after = str(ceil(verdict.wait_ms / 1000))
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
