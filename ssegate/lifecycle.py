"""
Runs a gate as a process: event loop, signals, exit code.

    SIGTERM, SIGINT   drain, then exit 0; a second one ends within a second, exit 1
    POST /-/drain     drain, then exit 0, as the first signal does; said again, nothing
    SIGHUP            reload

Asking over the admin port does not count as a signal: Kubernetes sends its SIGTERM as soon as a preStop hook
has asked, and that must not cut what the hook wanted to spare. The time for the drain runs from whoever asked
first; only the second signal hurries.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import resource
import signal
from collections.abc import Awaitable, Callable
from typing import TypeVar

from ssegate import logs
from ssegate.gate import Gate

try:
    from uvloop import new_event_loop
except ImportError:  # no uvloop on this platform: asyncio's own loop, slower and just as correct
    from asyncio import new_event_loop  # type: ignore[assignment]

__all__ = ["asked_to_end", "run_loop", "serve"]

_T = TypeVar("_T")


def run_loop(main: Callable[[], Awaitable[_T]]) -> _T:
    """Run *main* on the fastest loop there is, with room for many connections."""
    _raise_descriptor_limit()

    async def run() -> _T:
        return await main()

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        try:
            return runner.run(run())
        finally:
            logs.shutdown()


async def serve(gate: Gate, *, once_ready: Callable[[], Awaitable[None]] | None = None) -> int:
    """
    Serve until a signal says otherwise; return the exit code.

    Args:
        once_ready: What else to do when the gate listens (the demo's first stream).
    """
    signalled, hurry = asyncio.Event(), asyncio.Event()

    def stop() -> None:
        (hurry if signalled.is_set() else signalled).set()
        gate.begin_drain()

    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop)
    loop.add_signal_handler(signal.SIGINT, stop)
    loop.add_signal_handler(signal.SIGHUP, gate.reload)
    await gate.start()
    # What is alive now stays alive: the collector need not look at it again.
    gc.collect()
    gc.freeze()
    # A stream is made of a hundred objects and leaves no circle behind: there is little to find.
    gc.set_threshold(10_000, 10, 10)
    extra = asyncio.ensure_future(once_ready()) if once_ready is not None else None
    await gate.drain_begun()
    drained = asyncio.ensure_future(gate.drained())
    hurried = asyncio.ensure_future(hurry.wait())
    await asyncio.wait({drained, hurried}, return_when=asyncio.FIRST_COMPLETED)
    for task in (drained, hurried, extra):
        if task is not None:
            task.cancel()
    await gate.stop()
    return 1 if hurry.is_set() else 0


def asked_to_end() -> asyncio.Event:
    """Return what SIGTERM and SIGINT set from now on, instead of ending the process."""
    asked = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, asked.set)
    return asked


def _raise_descriptor_limit() -> None:
    """Each stream takes two descriptors; use what the system allows."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # Where the system names no limit it may still refuse to be taken at its word (macOS).
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
