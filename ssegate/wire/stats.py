"""
What a stream amounted to: counters kept per delta, and the metadata made of them.

Durations are seconds since the request arrived; nothing here is per event but additions.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import ceil
from typing import Any

import msgspec

from ssegate.wire.events import Reasoning, Refusal, Start, Text, ToolCall, Usage

__all__ = ["Price", "Stats"]


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars per million tokens of one model."""

    input: float
    output: float
    cached: float | None = None
    """Of input read from a cache; None: as any other input."""

    def cost(self, usage: Usage) -> float:
        """Return the dollars *usage* costs; what it does not name counts as zero."""
        cached = (usage.cached_tokens or 0) if self.cached is not None else 0
        fresh = (usage.input_tokens or 0) - cached
        dollars = fresh * self.input + cached * (self.cached or 0.0)
        return (dollars + (usage.output_tokens or 0) * self.output) / 1e6


@dataclass(slots=True)
class Stats:
    """The counters of one stream."""

    started_at: float
    """When the request arrived, on the clock of every *now*."""

    deltas: int = 0
    """Non-empty deltas of all kinds that the upstream sent."""

    generated_bytes: int = 0
    """Their text, as UTF-8."""

    sent_deltas: int = 0
    """Of them, those that have left for the client."""

    first_token_at: float | None = None
    bytes_in: int = 0
    events_in: int = 0
    events_out: int = 0
    bytes_out: int = 0
    heartbeats: int = 0
    malformed: int = 0
    upstream_id: str | None = None
    model: str | None = None
    usage: Usage = field(default_factory=Usage)

    def start(self, event: Start) -> None:
        """Keep the first non-empty id and model."""
        self.upstream_id = self.upstream_id or event.id
        self.model = self.model or event.model

    def delta(self, event: Text | Reasoning | Refusal | ToolCall, now: float) -> None:
        """Count one delta of the upstream."""
        if self.first_token_at is None:
            self.first_token_at = now
        self.deltas += event.count
        text = event.arguments if isinstance(event, ToolCall) else event.text
        # A lone surrogate half is three bytes wide here; it is mended only later.
        self.generated_bytes += len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))

    def report(self, usage: Usage) -> None:
        """Lay a newer usage report over the older one: what it names replaces, nothing is summed."""
        for name in ("input_tokens", "output_tokens", "reasoning_tokens", "cached_tokens"):
            if (value := getattr(usage, name)) is not None:
                setattr(self.usage, name, value)

    @property
    def usage_source(self) -> str:
        """``reported`` if the upstream told its output tokens, else ``estimated``."""
        return "estimated" if self.usage.output_tokens is None else "reported"

    @property
    def time_to_first_token(self) -> float | None:
        """Seconds from the request to the first content event."""
        return None if self.first_token_at is None else self.first_token_at - self.started_at

    def total_usage(self) -> Usage:
        """Return what the upstream reported, else the estimate, which knows of no input."""
        if self.usage.output_tokens is not None:
            return self.usage
        # Four bytes a token is the common rule of thumb; a delta is rarely less than one token.
        return Usage(output_tokens=max(self.deltas, ceil(self.generated_bytes / 4)))

    def tokens_per_second(self, now: float) -> float | None:
        """Generated tokens over the time since the first one; None before there is such a time."""
        total = self.total_usage().output_tokens
        if self.first_token_at is None or not total or now <= self.first_token_at:
            return None
        return total / (now - self.first_token_at)

    def running(self, now: float, stream_id: str | None) -> bytes:
        """Return the metadata of one running event, encoded; *stream_id* goes on the first one."""
        tail = b"" if stream_id is None else b',"stream_id":"%b"' % stream_id.encode()
        return b'{"token_count":%d,"elapsed_time":%.3f%b}' % (
            self.sent_deltas,
            now - self.started_at,
            tail,
        )

    def final(self, now: float, stream_id: str, price: Price | None, model: str | None) -> bytes:
        """
        Return the metadata of the last event, encoded; what is not known is left out.

        Args:
            model: The stream's, whoever has named it.
        """
        usage = self.total_usage()
        known: dict[str, Any] = {
            "total_tokens": usage.output_tokens,
            "total_time": round(now - self.started_at, 3),
            "time_to_first_token": _rounded(self.time_to_first_token),
            "tokens_per_second": _rounded(self.tokens_per_second(now)),
            "input_tokens": usage.input_tokens,
            "output_tokens": usage.output_tokens,
            "reasoning_tokens": usage.reasoning_tokens,
            "cached_tokens": usage.cached_tokens,
            "usage_source": self.usage_source,
            "model": model,
            "stream_id": stream_id,
            "cost": None if price is None else round(price.cost(usage), 9),
        }
        return msgspec.json.encode({name: value for name, value in known.items() if value is not None})


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)
