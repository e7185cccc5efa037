"""One run: a proxy is started afresh, the load generator is put on it, and both end."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Iterator

from bench.process import CACHE, Site, free_port, running
from bench.programs import GENERATOR
from bench.proxies import PROXIES, TLS_FRONT
from bench.rows import Load, Row

PATHS = {"openai": "/v1/chat/completions", "anthropic": "/v1/messages", "ollama": "/api/chat"}
DIRECT = "direct"
"""The contender that is no proxy: clients connect to the upstream itself."""


def run(row: Row, contender: str, load: Load, cores: list[int]) -> dict:
    """Put *load* on *contender* once; the proxy has the first of *cores*, all else the second."""
    path = PATHS[str(load.get("dialect", "openai"))]
    upstream = free_port()
    if contender == DIRECT:
        return _generate(load, upstream, upstream, [], cores[1])
    with _upstream_for(row, upstream, path, cores[1]) as reached:
        site = Site(free_port(), reached, path, row.tls, CACHE / "runs" / contender)
        with running(PROXIES[contender], site, cores[0]) as proxy:
            told = {"ready_s": round(proxy.ready_s, 4), "rest_mib": round(proxy.rest_mib, 2)}
            if row.load is None:
                return told
            return told | _generate(load, site.port, upstream, proxy.pids, cores[1])


@contextlib.contextmanager
def _upstream_for(row: Row, upstream: int, path: str, core: int) -> Iterator[int]:
    """Give the port where the proxy finds the upstream: with TLS, that of a front before it."""
    if not row.tls:
        yield upstream
        return
    front = Site(free_port(), upstream, path, False, CACHE / "runs" / "front")
    with running(TLS_FRONT, front, core):
        yield front.port


def _generate(load: Load, proxy: int, upstream: int, pids: list[int], core: int) -> dict:
    """Run the load generator and return what it says."""
    words = [str(GENERATOR), "--proxy", str(proxy), "--upstream", str(upstream)]
    for option, value in load.items():
        words += [f"--{option}"] if value is True else [f"--{option}", str(value)]
    for pid in pids:
        words += ["--pid", str(pid)]
    done = subprocess.run(
        words,
        stdout=subprocess.PIPE,
        timeout=float(load["seconds"]) + float(load.get("warm", 2)) + 40,
        check=True,
        preexec_fn=lambda: os.sched_setaffinity(0, {core}),
    )
    return json.loads(done.stdout)
