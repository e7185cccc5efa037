"""
How an answer tells a client where it stands: OpenAI's headers, Anthropic's, and those of the IETF draft.

Source: https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from math import ceil

from ssegate.limits.gcra import RateLimit
from ssegate.limits.ground import Dimension
from ssegate.limits.store import Hold, Verdict
from ssegate.limits.windows import WindowLimit
from ssegate.wire.errors import ClientError

__all__ = ["go_duration", "rate_headers", "refusal_words", "refused"]

_SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400, "month": 30 * 86_400}
_ASKING_AGAIN_IS_VAIN = 60_000
"""
Milliseconds. Some SDKs would not wait so long but ask again at once, others sleep for minutes without a word:
both are told not to try again.
"""

_GENERIC: tuple[Dimension, ...] = ("requests", "tokens")
_ANTHROPIC: tuple[Dimension, ...] = ("requests", "tokens", "input_tokens", "output_tokens")


def rate_headers(holds: Iterable[Hold], *, anthropic: bool, now: float) -> dict[str, str]:
    """
    Return what an answer says of the limits; of several buckets of a dimension the one with least left.

    Args:
        anthropic: The client reads Anthropic's names.
        now: Unix seconds.
    """
    tight = _tightest(holds)
    headers: dict[str, str] = {}
    for dimension in _ANTHROPIC if anthropic else _GENERIC:
        if (hold := tight.get(dimension)) is None:
            continue
        if anthropic:
            name = f"anthropic-ratelimit-{dimension.replace('_', '-')}-"
            reset = datetime.fromtimestamp(ceil(now + hold.reset_ms / 1000), UTC)
            headers[name + "limit"] = str(hold.bucket.limit.capacity)
            headers[name + "remaining"] = str(hold.remaining)
            headers[name + "reset"] = reset.strftime("%Y-%m-%dT%H:%M:%SZ")
        else:
            headers[f"x-ratelimit-limit-{dimension}"] = str(hold.bucket.limit.capacity)
            headers[f"x-ratelimit-remaining-{dimension}"] = str(hold.remaining)
            headers[f"x-ratelimit-reset-{dimension}"] = go_duration(hold.reset_ms)
    named = [(dimension, tight[dimension]) for dimension in _GENERIC if dimension in tight]
    if named:
        headers["RateLimit-Policy"] = ", ".join(f'"{name}";q={_quota(hold)}' for name, hold in named)
        headers["RateLimit"] = ", ".join(
            f'"{name}";r={hold.remaining};t={ceil(hold.reset_ms / 1000)}' for name, hold in named
        )
    return headers


def refused(verdict: Verdict, words: str) -> ClientError:
    """Return the error that says so to a client in *words*, and when to come again."""
    headers = {"retry-after-ms": str(verdict.wait_ms)}
    if verdict.wait_ms > _ASKING_AGAIN_IS_VAIN:
        headers["x-should-retry"] = "false"
    error = ClientError("rate_limit_exceeded", words, headers)
    error.failure.retry_after = str(ceil(verdict.wait_ms / 1000))
    return error


def refusal_words(verdict: Verdict) -> str:
    """Return what was reached and when to come again, for people."""
    assert verdict.refused is not None
    limit, again = verdict.refused.limit, f"try again in {go_duration(verdict.wait_ms)}"
    match limit:
        case WindowLimit(dimension="cost"):
            dollars = f"{limit.amount / 1e9:.9f}".rstrip("0").rstrip(".")
            return f"limit reached: {dollars} dollars per {limit.period}; {again}"
        case RateLimit() | WindowLimit():
            what = limit.dimension.replace("_", " ")
            return f"limit reached: {limit.amount} {what} per {limit.period}; {again}"
    return f"limit reached: {limit.capacity} streams at the same time; {again}"


def go_duration(ms: int) -> str:
    """Return *ms* as Go writes durations: ``12ms``, ``1.5s``, ``6m0s``, ``1h0m0s``."""
    if ms < 1000:
        return f"{ms}ms" if ms else "0s"
    minutes, rest = divmod(ms, 60_000)
    seconds = f"{rest / 1000:.3f}".rstrip("0").rstrip(".") + "s"
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes}m{seconds}"
    return f"{minutes}m{seconds}" if minutes else seconds


def _tightest(holds: Iterable[Hold]) -> dict[Dimension, Hold]:
    found: dict[Dimension, Hold] = {}
    for hold in holds:
        dimension = hold.bucket.limit.dimension
        other = found.get(dimension)
        if other is None or (hold.remaining, -hold.reset_ms) < (other.remaining, -other.reset_ms):
            found[dimension] = hold
    return found


def _quota(hold: Hold) -> str:
    limit = hold.bucket.limit
    assert isinstance(limit, RateLimit | WindowLimit)
    return f"{limit.capacity};w={_SECONDS[limit.period]}"
