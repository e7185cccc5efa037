"""
The three clocks of a stream: first token, idle, total.

First token and idle run on content, not on bytes, comments or pings; idle also hears of work that makes none.
They stop while we ourselves hold the upstream back because the client does not read. Moments and durations
are seconds of one monotonic clock.
"""

from __future__ import annotations

from ssegate.wire.events import Failure

__all__ = ["Clocks"]


class Clocks:
    """Knows by when a stream must have moved; ``None`` for a clock that is off."""

    def __init__(
        self, started_at: float, *, first_token: float | None, idle: float | None, total: float | None
    ) -> None:
        self._first_token, self._idle, self._total = first_token, idle, total
        self._total_at = None if total is None else started_at + total
        self._content_at = started_at
        self._seen_content = False
        self._paused_at: float | None = None

    def content(self, now: float) -> None:
        """A content event has arrived."""
        self._content_at = now
        self._seen_content = True

    def progress(self, now: float) -> None:
        """The upstream shows that it is at work: no silence, but not the first token either."""
        if self._seen_content:
            self._content_at = now

    def pause(self, now: float) -> None:
        """We have stopped reading the upstream: its silence is ours."""
        if self._paused_at is None:
            self._paused_at = now

    def resume(self, now: float) -> None:
        """We read again; the time in between does not count."""
        if self._paused_at is not None:
            self._content_at += now - self._paused_at
            self._paused_at = None

    @property
    def deadline(self) -> float | None:
        """The earliest moment at which ``expired`` may say something."""
        allowed = self._idle if self._seen_content else self._first_token
        if allowed is None or self._paused_at is not None:
            return self._total_at
        silence_at = self._content_at + allowed
        return silence_at if self._total_at is None else min(silence_at, self._total_at)

    def expired(self, now: float) -> Failure | None:
        """Return the failure of the clock that has run out, if any."""
        if self._total_at is not None and now >= self._total_at:
            return Failure("total_timeout", f"the stream took longer than {self._total:g} s")
        allowed = self._idle if self._seen_content else self._first_token
        if allowed is None or self._paused_at is not None or now < self._content_at + allowed:
            return None
        if self._seen_content:
            return Failure("idle_timeout", f"upstream was silent for {allowed:g} s")
        return Failure("first_token_timeout", f"upstream sent no token within {allowed:g} s")
