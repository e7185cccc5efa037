"""The gate as its users run it: a process that is started, signalled and ends."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

__all__ = ["RunningGate", "started"]

PATIENCE = 10.0
"""Seconds a gate may take to listen, and to end after SIGTERM once its streams have ended."""


class RunningGate:
    """A gate in its own process; ``url`` and ``admin_url`` are known once it listens."""

    url: str
    admin_url: str

    def __init__(self, process: asyncio.subprocess.Process, errors: Path) -> None:
        self.process = process
        self.log: list[dict[str, Any]] = []
        """Every JSON line printed so far."""

        self._errors = errors
        self._listening = asyncio.Event()
        self._reading = asyncio.create_task(self._read(), name=f"log of gate {process.pid}")

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def errors(self) -> str:
        """What it has written on stderr."""
        return self._errors.read_text("utf-8", "replace")

    async def _read(self) -> None:
        assert self.process.stdout
        async for line in self.process.stdout:
            entry = json.loads(line)
            self.log.append(entry)
            if entry.get("event") == "listening":
                self.url, self.admin_url = entry["listen"], entry["admin"]
                self._listening.set()

    async def listening(self) -> None:
        """Wait until it listens; fail if it ends before."""
        waiting = asyncio.create_task(self._listening.wait())
        await asyncio.wait({waiting, self._reading}, timeout=PATIENCE, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        assert self._listening.is_set(), f"the gate does not listen; log {self.log}, stderr:\n{self.errors}"

    def send(self, number: signal.Signals) -> None:
        """Signal this process alone, by its pid."""
        self.process.send_signal(number)

    async def ended(self, within: float = PATIENCE) -> int:
        """Wait for its end, read its log to the last line, and return the exit code."""
        async with asyncio.timeout(within):
            code = await self.process.wait()
            await self._reading
        return code

    async def stop(self) -> int:
        """Ask it to end, as an orchestrator does, and return the exit code."""
        self.send(signal.SIGTERM)
        return await self.ended()

    async def end(self) -> None:
        """End it by any means: the test is over."""
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()
        await self._reading


@asynccontextmanager
async def started(config: Path, env: Mapping[str, str]) -> AsyncIterator[RunningGate]:
    """Run a gate with the file *config*, with no SSEGATE_* variables but those of *env*."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("SSEGATE_")}
    errors = config.with_suffix(".stderr")
    with errors.open("wb") as stderr:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "ssegate", "run", "-c", str(config)),
            env={**inherited, **env},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=stderr,
        )
    gate = RunningGate(process, errors)
    try:
        await gate.listening()
        yield gate
    finally:
        await gate.end()
