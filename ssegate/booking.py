"""
Sums a stream up: once at its end for log and metrics, and whenever an operator looks.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from aiohttp import ClientResponse

from ssegate.report import RequestReport, StreamReport
from ssegate.wire.errors import CODES, http_status
from ssegate.wire.events import Failure, Usage
from ssegate.wire.pipeline import Pipeline
from ssegate.wire.stats import Price

__all__ = ["Identity", "note_usage", "row", "stream_report", "upstream_request_id"]


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a stream is, in log lines, metrics and lists."""

    stream_id: str
    request_id: str
    route: str
    method: str
    upstream: str
    key: str = "-"


def row(identity: Identity, pipeline: Pipeline, state: str, now: float) -> dict[str, Any]:
    """Return a running stream as ``/-/streams`` shows it."""
    stats = pipeline.stats
    speed, first = stats.tokens_per_second(now), stats.time_to_first_token
    return {
        "id": identity.stream_id,
        "route": identity.route,
        "key": identity.key,
        "model": pipeline.model,
        "state": state,
        "age": round(now - stats.started_at, 3),
        "tokens": stats.total_usage().output_tokens,
        "tokens_per_second": None if speed is None else round(speed, 1),
        "time_to_first_token": None if first is None else round(first, 3),
    }


def stream_report(
    identity: Identity,
    pipeline: Pipeline,
    *,
    failure: Failure | None,
    status: int | None,
    upstream: ClientResponse | None,
    overhead: float | None,
    now: float,
) -> StreamReport:
    """
    Return what is known of a stream that is over.

    Args:
        failure: Why the stream failed, or its client did not get all of it; None: it completed.
        status: Of the answer that was begun; None when no head was sent.
        overhead: Seconds in the pipeline, a mean per read.
    """
    stats, finish = pipeline.stats, pipeline.finish
    outcome = "completed" if failure is None else CODES[failure.code].outcome or "internal"
    usage, price = stats.total_usage(), pipeline.price
    return StreamReport(
        stream_id=identity.stream_id,
        request_id=identity.request_id,
        route=identity.route,
        method=identity.method,
        upstream=identity.upstream,
        outcome=outcome,
        status=_unsent_status(failure) if status is None else status,
        duration=now - stats.started_at,
        key=identity.key,
        model=pipeline.model,
        code=None if failure is None else failure.code,
        error=None if failure is None else _loggable(failure),
        finish_reason=None if finish is None else finish.reason,
        usage_source=stats.usage_source,
        upstream_request_id=upstream_request_id(upstream),
        upstream_status=None if upstream is None else upstream.status,
        ttft=stats.time_to_first_token,
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        reasoning_tokens=usage.reasoning_tokens,
        cached_tokens=usage.cached_tokens,
        tokens_per_second=stats.tokens_per_second(now),
        cost=None if price is None else price.cost(usage),
        events_in=stats.events_in,
        events_out=stats.events_out,
        bytes_out=stats.bytes_out,
        heartbeats=stats.heartbeats,
        malformed=stats.malformed,
        head_sent=status is not None,
        overhead=overhead,
    )


def note_usage(report: RequestReport, usage: Usage, model: str | None, price: Price | None) -> None:
    """Write into *report* what an answer that passed as it is said of its usage, if it did."""
    if usage == Usage():
        return
    report.model, report.usage_source = model, "reported"
    report.input_tokens, report.output_tokens = usage.input_tokens, usage.output_tokens
    report.reasoning_tokens, report.cached_tokens = usage.reasoning_tokens, usage.cached_tokens
    report.cost = None if price is None else price.cost(usage)


def _unsent_status(failure: Failure | None) -> int:
    """499 is nginx's word for a client that left before its answer."""
    return 499 if failure is None else http_status(failure)


def upstream_request_id(response: ClientResponse | None) -> str | None:
    """Return what the upstream itself calls the request; its support asks for it."""
    if response is None:
        return None
    return response.headers.get("x-request-id") or response.headers.get("request-id")


def _loggable(failure: Failure) -> str:
    """
    Return the failure's message, never the upstream's own words: they may quote the prompt or a key.

    Of a body that nobody can tell there is no word to be left out; how it begins may tell an operator.
    """
    if failure.seen:
        return f"{failure.message}; it begins {failure.seen!r}"
    if failure.upstream_status is None and failure.code != "upstream_error":
        return failure.message
    said = [str(part) for part in (failure.upstream_status, failure.upstream_type, failure.upstream_code)]
    return " ".join(["the upstream reported an error:", *filter(_NAME.fullmatch, said)])


_NAME = re.compile(r"(?!None$)[A-Za-z0-9_.-]{1,64}")
"""What a type or a code looks like; anything else in their place may be anybody's text."""
