"""
A real redis-server on a free port of the loopback, for the tests that need one.

It comes from the Debian package ``redis-server``; where there is none, those tests are skipped and say so.
"""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import redis

__all__ = ["MISSING", "RedisServer", "serving"]

MISSING = "no redis-server here (Debian: apt-get install redis-server)"

_PATIENCE = 10.0


class RedisServer:
    """One server, which can be killed, frozen and brought back on the same port."""

    def __init__(self, program: str, folder: Path, *options: str) -> None:
        self._program, self._folder, self._options = program, folder, options
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it is, as the config says it."""
        return f"redis://127.0.0.1:{self.port}/0"

    def client(self) -> redis.Redis:
        """Return a client of it, the caller's to close."""
        return redis.Redis(port=self.port, decode_responses=True, protocol=2)

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self._process = subprocess.Popen(
            [
                *(self._program, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self._folder)),
                *("--daemonize", "no", "--logfile", str(self._folder / "redis.log"), *self._options),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + _PATIENCE
        while True:
            with suppress(redis.ConnectionError), self.client() as client:
                client.ping()
                return
            assert time.monotonic() < deadline, "the redis-server does not answer"
            time.sleep(0.02)

    def send(self, number: signal.Signals) -> None:
        """Signal it: SIGSTOP freezes it, SIGCONT lets it go on."""
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """End it at once, as a crash does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@contextmanager
def serving(folder: Path, *options: str) -> Iterator[RedisServer]:
    """
    Run a server that keeps nothing on disk unless *options* say so.

    Raises:
        FileNotFoundError: There is none on this machine.
    """
    program = shutil.which("redis-server") or shutil.which("valkey-server")
    if program is None:
        raise FileNotFoundError(MISSING)
    server = RedisServer(program, folder, *(options or ("--save", "", "--appendonly", "no")))
    server.start()
    try:
        yield server
    finally:
        server.kill()
