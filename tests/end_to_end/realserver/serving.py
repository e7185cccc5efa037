"""Starts the real server in a process of its own, and ends it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .scripts import SCRIPTS, Script

__all__ = ["Llama", "Missing", "serving"]

PATIENCE = 10.0
"""Seconds the server has to end by itself."""


class Missing(Exception):
    """A package the server needs cannot be imported here."""


@dataclass(frozen=True, slots=True)
class Llama:
    """A running server: ``url`` without a path, and what its model can say, by user message."""

    url: str
    scripts: Mapping[str, Script]
    pid: int


@contextmanager
def serving(directory: Path) -> Iterator[Llama]:
    """
    Build the model in *directory* and serve it on a free port of the loopback.

    Raises:
        Missing: The machine lacks xllamacpp, gguf or numpy.
    """
    package = __package__ or ""
    # The directory that holds the outermost package: tests may or may not be one themselves.
    root = Path(__file__).parents[package.count(".") + 1]
    log_path = directory / "server.log"
    with log_path.open("wb") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", package, str(directory)],
            cwd=root,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
        )
    assert server.stdin and server.stdout
    try:
        line = server.stdout.readline()
        if not line:
            raise RuntimeError(f"the real server did not start:\n{log_path.read_text('utf-8', 'replace')}")
        told: dict[str, str] = json.loads(line)
        if "missing" in told:
            raise Missing(told["missing"])
        yield Llama(told["url"], SCRIPTS, server.pid)
    finally:
        server.stdin.close()
        try:
            server.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
        server.stdout.close()
