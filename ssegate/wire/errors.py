"""
Every way a request or a stream can fail: its code, its HTTP status, its outcome.

One table holds word and code, so that the log line, the metric, the live page and the last event of the
stream always say the same. Whose fault it was decides the class of an exception:

    SSEGateError
    ├── ConfigError      the operator's
    ├── ClientError      the caller's, 4xx
    ├── UpstreamError    the upstream's connection or answer, 502 or 504
    ├── WireError        the upstream broke its own framing or dialect
    └── NotAStream       the upstream's body is no LLM answer, which may be nobody's fault
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ssegate.wire.events import Failure

__all__ = [
    "CODES",
    "OUTCOMES",
    "ClientError",
    "Code",
    "ConfigError",
    "NotAStream",
    "Outcome",
    "SSEGateError",
    "UpstreamError",
    "WireError",
    "classified",
    "http_status",
    "redact",
]

Outcome = Literal[
    "completed",
    "client_gone",
    "cancelled",
    "truncated",
    "upstream_error",
    "idle_timeout",
    "first_token_timeout",
    "total_timeout",
    "too_large",
    "slow_client",
    "quota_exceeded",
    "shutting_down",
    "internal",
]
"""How a stream ended, as counted once in ``ssegate_streams_total``."""


@dataclass(frozen=True, slots=True)
class Code:
    """What one failure code means outside the stream."""

    status: int
    """The HTTP status when nothing has been sent yet."""

    outcome: Outcome | None = None
    """None where no stream was counted: the request was refused before it."""

    retry: bool = True
    """False: a retry would only pay again (``x-should-retry: false``)."""


CODES: dict[str, Code] = {
    # the caller's fault, before any upstream was asked
    "bad_request": Code(400),
    "unauthorized": Code(401),
    "forbidden": Code(403),
    "forbidden_origin": Code(403),
    "not_found": Code(404),
    "method_not_allowed": Code(405),
    "request_timeout": Code(408),
    "stream_exists": Code(409, retry=False),
    "body_too_large": Code(413),
    "expectation_failed": Code(417),
    "rate_limit_exceeded": Code(429),
    # ours
    "internal": Code(500, "internal"),
    "draining": Code(503),
    "overloaded": Code(503),
    "shutting_down": Code(503, "shutting_down"),
    # the upstream's, mostly before the stream
    "upstream_connect": Code(502, "upstream_error"),
    "upstream_dns": Code(502, "upstream_error"),
    "upstream_tls": Code(502, "upstream_error"),
    "upstream_disconnected": Code(502, "upstream_error"),
    "upstream_protocol": Code(502, "upstream_error", retry=False),
    "upstream_auth": Code(502, "upstream_error", retry=False),
    "upstream_redirect": Code(502, "upstream_error", retry=False),
    "upstream_content_encoding": Code(502, "upstream_error"),
    "upstream_content_type": Code(502, "upstream_error", retry=False),
    "upstream_empty": Code(502, "upstream_error"),
    "upstream_error": Code(502, "upstream_error"),
    "upstream_rate_limited": Code(429, "upstream_error"),
    "upstream_connect_timeout": Code(504, "upstream_error"),
    "first_token_timeout": Code(504, "first_token_timeout", retry=False),
    # in the stream
    "idle_timeout": Code(504, "idle_timeout"),
    "total_timeout": Code(504, "total_timeout"),
    "upstream_truncated": Code(502, "truncated"),
    "upstream_bad_event": Code(502, "upstream_error"),
    "event_too_large": Code(502, "too_large"),
    "stream_too_large": Code(502, "too_large"),
    "quota_exceeded": Code(429, "quota_exceeded"),
    "cancelled": Code(499, "cancelled"),
    # seen by nobody: the client has left or does not read
    "client_gone": Code(499, "client_gone"),
    "slow_client": Code(499, "slow_client"),
}

OUTCOMES: tuple[Outcome, ...] = tuple(
    dict.fromkeys(["completed", *(c.outcome for c in CODES.values() if c.outcome)])
)


class SSEGateError(Exception):
    """Anything ssegate itself reports."""


class ConfigError(SSEGateError):
    """The configuration cannot be used; the message is the whole report, ready to print."""


class ClientError(SSEGateError):
    """
    The request was refused; nothing was asked of the upstream.

    Attributes:
        failure: Code and message for the body of the answer.
        headers: Extra headers of the answer.
    """

    def __init__(self, code: str, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.failure = Failure(code, message)
        self.headers = headers or {}


class UpstreamError(SSEGateError):
    """The upstream could not be reached, or its connection broke."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


class WireError(SSEGateError):
    """
    The upstream broke its own format.

    Attributes:
        code: ``upstream_bad_event`` or ``event_too_large``.
    """

    def __init__(self, message: str, code: str = "upstream_bad_event") -> None:
        super().__init__(message)
        self.code = code


class NotAStream(SSEGateError):
    """
    The body is no LLM answer.

    Attributes:
        code: A key of ``CODES``; empty: the body is to be passed on as it is.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def classified(failure: Failure, *, own_credential: bool) -> Failure:
    """
    Give an upstream's own error the code its status calls for; others come back as they are.

    Args:
        own_credential: The gate holds the upstream's credential, so a 401 or 403 is not the caller's.
    """
    status = failure.upstream_status
    if failure.code != "upstream_error" or status is None:
        return failure
    if status in (401, 403) and own_credential:
        # Vendors quote part of the key they refuse, and it is not the caller's to see.
        failure.code = "upstream_auth"
        failure.message = f"the upstream refused the gate's credential (HTTP {status})"
        failure.upstream_type = failure.upstream_code = failure.upstream_param = None
    elif status == 429:
        failure.code = "upstream_rate_limited"
    return failure


def http_status(failure: Failure) -> int:
    """
    Return the status of *failure* while nothing has been sent.

    An upstream's own 4xx stays as it is, its 503 and 529 (overloaded) are 503, its other 5xx 502.
    """
    status = failure.upstream_status
    if failure.code == "upstream_error" and status is not None:
        if 400 <= status < 500:
            return status
        if status in (503, 529):
            return 503
    return CODES[failure.code].status


def redact(failure: Failure, secrets: tuple[str, ...]) -> None:
    """Strike *secrets* out of all that *failure* quotes."""
    for name in ("message", "upstream_type", "upstream_code", "upstream_param"):
        if isinstance(text := getattr(failure, name), str):
            for secret in secrets:
                text = text.replace(secret, "***")
            setattr(failure, name, text)
    for secret in secrets if failure.seen else ():
        failure.seen = _without(failure.seen, secret.encode(errors="surrogateescape"))


def _without(seen: bytes, secret: bytes) -> bytes:
    """Return *seen*, which may end anywhere, without *secret* or as much of it as its end has."""
    seen = seen.replace(secret, b"***")
    for size in range(min(len(secret), len(seen)), 7, -1):
        if seen.endswith(secret[:size]):
            return seen[:-size]
    return seen
