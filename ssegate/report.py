"""
What is known of a request once it is over: the one record that the log line and the metrics are made of.

It is filled once a stream, never once a token.
"""

from __future__ import annotations

from dataclasses import dataclass

from ssegate.wire.errors import Outcome

__all__ = ["RequestReport", "StreamReport"]


@dataclass(slots=True)
class RequestReport:
    """A request that ended without a counted stream: passed through, or refused."""

    request_id: str
    route: str
    """The route's name, ``-`` when none matched."""

    method: str
    status: int
    """As the client saw it; 499 when it had left before the head."""

    duration: float
    upstream: str = "-"
    upstream_status: int | None = None
    upstream_request_id: str | None = None
    key: str = "-"
    code: str | None = None
    error: str | None = None
    bytes_out: int = 0
    model: str | None = None
    usage_source: str | None = None
    """``reported`` where the answer told a usage; without one nothing is guessed."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    reasoning_tokens: int | None = None
    cached_tokens: int | None = None
    cost: float | None = None
    """US dollars."""


@dataclass(slots=True)
class StreamReport:
    """A stream that was wanted, and how it ended. Durations are in seconds; None: not known."""

    stream_id: str
    request_id: str
    route: str
    method: str
    upstream: str
    outcome: Outcome
    status: int
    duration: float
    key: str = "-"
    model: str | None = None
    code: str | None = None
    """The failure's code; None when the stream completed."""

    error: str | None = None
    finish_reason: str | None = None
    usage_source: str | None = None
    """``reported`` or ``estimated``."""

    upstream_request_id: str | None = None
    upstream_status: int | None = None
    ttft: float | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    """Reported, else estimated (``usage_source`` tells)."""

    reasoning_tokens: int | None = None
    cached_tokens: int | None = None
    tokens_per_second: float | None = None
    cost: float | None = None
    """US dollars."""

    events_in: int = 0
    events_out: int = 0
    bytes_out: int = 0
    heartbeats: int = 0
    malformed: int = 0
    """Events of the upstream that could not be read."""

    head_sent: bool = False
    """The client had got the response's head when the stream ended."""

    overhead: float | None = None
    """Time spent inside the gate's own pipeline, a mean over one read in sixteen."""
