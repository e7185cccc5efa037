"""
Watches the event loop: how late its timers are, and for what part of the time it is busy.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

__all__ = ["watch"]

_SECONDS = 0.1
_SCHEDSTAT = Path("/proc/thread-self/schedstat")


async def watch(lag: Callable[[float], None], busy: Callable[[float], None]) -> None:
    """
    Watch the loop for ever.

    Args:
        lag: Told how many seconds late a timer was, ten times a second.
        busy: Told what part of the last tenth of a second the loop had work for, from 0 to 1.
    """
    loop = asyncio.get_running_loop()
    since, worked = loop.time(), _busy_seconds()
    while True:
        await asyncio.sleep(_SECONDS)
        now, work = loop.time(), _busy_seconds()
        lag(max(0.0, now - since - _SECONDS))
        busy((work - worked) / (now - since))
        since, worked = now, work


def _busy_seconds() -> float:
    """Return how long this thread has worked, or waited for a core: one that is shared leaves less time."""
    try:
        # Nanoseconds on a core, and ready to run without one (Linux, Documentation/scheduler/sched-stats).
        running, waiting, _ = _SCHEDSTAT.read_text().split()
    except (OSError, ValueError):
        return time.thread_time()
    return (int(running) + int(waiting)) * 1e-9
