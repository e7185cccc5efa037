"""
One timer that is moved lazily: it may ring too early, never too late.

Deadlines of a stream move with every token, nearly always further away. Moving a timer costs more than
letting it ring once for nothing, so it is moved only when a deadline comes nearer than it stands.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

__all__ = ["Alarm"]

_NEVER = float("inf")


class Alarm:
    """
    Rings by a moment, in seconds of the loop's clock.

    Attributes:
        at: When it will ring; infinity while it is off.
    """

    def __init__(self, ring: Callable[[], None]) -> None:
        self.at = _NEVER
        self._ring = ring
        self._handle: asyncio.TimerHandle | None = None

    def set(self, due: float | None) -> None:
        """Have it ring at *due* at the latest; None asks for nothing."""
        if due is None or due >= self.at:
            return
        self.stop()
        self.at = due
        self._handle = asyncio.get_running_loop().call_at(due, self._rings)

    def stop(self) -> None:
        """Switch it off."""
        if self._handle is not None:
            self._handle.cancel()
        self._handle, self.at = None, _NEVER

    def _rings(self) -> None:
        self._handle, self.at = None, _NEVER
        self._ring()
