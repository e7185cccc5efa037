"""
Timers that cost next to nothing a token: one far one a stream that is moved lazily, and near ones in common.

Deadlines of a stream move with every token, nearly always further away. Moving a timer costs more than
letting it ring once for nothing, so it is moved only when a deadline comes nearer than it stands.

Held batches are due within milliseconds, for hundreds of streams at once: their deadlines share a timer for
each few milliseconds, so that holding a batch is an entry in a list.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Protocol

__all__ = ["GRAIN", "Alarm", "Soon"]

_log = logging.getLogger(__name__)

_NEVER = float("inf")

GRAIN = 0.002
"""Seconds: deadlines this near to each other are told together; a batch is held so much longer at most."""


class Alarm:
    """
    Rings by a moment, in seconds of the loop's clock: it may ring too early, never too late.

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

    def forget(self) -> None:
        """Switch it off for good: nobody is to be rung, so whoever was is held no longer."""
        self.stop()
        self._ring = _nobody

    def _rings(self) -> None:
        self._handle, self.at = None, _NEVER
        self._ring()


def _nobody() -> None:
    """There is nobody to be rung."""


class Waiting(Protocol):
    """What waits for a moment that is near."""

    def on_soon(self, now: float) -> None:
        """The moment has come."""


class Soon:
    """Tells those who wait for moments that are near, with one timer for each few milliseconds."""

    def __init__(self) -> None:
        self._slots: dict[int, list[Waiting]] = {}

    def __iter__(self) -> Iterator[Waiting]:
        """Those who wait."""
        return chain.from_iterable(self._slots.values())

    def tell(self, waiting: Waiting, due: float) -> None:
        """Call ``on_soon`` of *waiting* once, at *due* or a moment later; there is no taking back."""
        slot = int(due / GRAIN) + 1
        found = self._slots.get(slot)
        if found is None:
            self._slots[slot] = [waiting]
            asyncio.get_running_loop().call_at(slot * GRAIN, self._tell, slot)
        else:
            found.append(waiting)

    def _tell(self, slot: int) -> None:
        now = asyncio.get_running_loop().time()
        for waiting in self._slots.pop(slot):
            try:
                waiting.on_soon(now)
            except Exception:  # the others of the slot must hear of it all the same
                _log.exception("somebody who waited for a moment failed when it came")
