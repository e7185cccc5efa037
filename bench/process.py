"""A proxy's life: it is started on a core of its own, watched, and ended."""

from __future__ import annotations

import contextlib
import http.client
import os
import random
import resource
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[1]
CACHE = ROOT / ".cache" / "bench"
START_TIMEOUT = 90.0
"""Seconds; LiteLLM takes ten or more."""


class StartError(Exception):
    """A proxy did not come up; the message says why, as far as it told us."""


@dataclass(frozen=True)
class Site:
    """Where a proxy stands between clients and upstream, for one run."""

    port: int
    upstream_port: int
    path: str
    tls: bool
    folder: Path

    @property
    def upstream(self) -> str:
        """URL of the upstream."""
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.upstream_port}"

    def write(self, name: str, text: str) -> Path:
        """Write a file of the proxy's configuration."""
        file = self.folder / name
        file.write_text(text)
        return file


@dataclass(frozen=True)
class Proxy:
    """
    One contender.

    Attributes:
        command: Writes its configuration and returns how it is started.
        missing: Why it cannot run on this machine; None: it can. May install it.
        ready_path: What answers 200 once it serves; None: it serves when it takes connections.
        optional: Runs only when asked for.
    """

    name: str
    command: Callable[[Site], list[str | Path]]
    missing: Callable[[], str | None] = lambda: None
    version: Callable[[], str] = lambda: ""
    ready_path: str | None = None
    optional: bool = False
    environment: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Running:
    """A proxy that serves."""

    pids: list[int]
    ready_s: float
    """From its start."""
    rest_mib: float
    """Resident memory before the first request."""


@contextlib.contextmanager
def running(proxy: Proxy, site: Site, core: int) -> Iterator[Running]:
    """Start *proxy* at *site*, on *core* alone; end it on leaving."""
    site.folder.mkdir(parents=True, exist_ok=True)
    log = site.folder / f"{proxy.name.replace(' ', '-')}.out"
    command = [str(word) for word in proxy.command(site)]
    began = time.monotonic()
    with log.open("w") as out:
        process = subprocess.Popen(
            command,
            stdout=out,
            stderr=out,
            cwd=ROOT,
            env=os.environ | proxy.environment,
            preexec_fn=lambda: _settle(core),
            process_group=0,
        )
    try:
        _wait_until_ready(proxy, site, process, log)
        ready = time.monotonic() - began
        time.sleep(0.1)  # what is left of starting is not the load's
        pids = _family(process.pid)
        yield Running(pids, ready, sum(map(_rss_mib, pids)))
    finally:
        _end(process)


def _settle(core: int) -> None:
    """Run in the new process: on its core, with all the descriptors it may have."""
    os.sched_setaffinity(0, {core})
    limit = max_descriptors()
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))


def max_descriptors() -> int:
    """How many files a process may have open."""
    return min(resource.getrlimit(resource.RLIMIT_NOFILE)[1], 1 << 18)


def _wait_until_ready(proxy: Proxy, site: Site, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise StartError(f"{proxy.name} ended at once: {log.read_text(errors='replace')[-600:].strip()}")
        if _answers(site.port, proxy.ready_path):
            return
        time.sleep(0.005)
    raise StartError(f"{proxy.name} did not serve within {START_TIMEOUT:.0f} s; see {log}")


def _answers(port: int, path: str | None) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.connect()
        if path is None:
            return True
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _family(pid: int) -> list[int]:
    """Return *pid* and all its descendants."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(one for child in children for one in _family(int(child)))]


def _rss_mib(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE") / (1 << 20)


def _end(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def free_port() -> int:
    """Return a port nobody listens on just now, below those the kernel gives to connections."""
    while True:
        port = random.randrange(20000, 30000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
