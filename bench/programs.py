"""The programs in C: what loads a proxy, and what measures the machine's memory."""

from __future__ import annotations

import subprocess
from pathlib import Path

from bench.process import CACHE

GENERATOR, MEMORY = CACHE / "load", CACHE / "memory"
SOURCES = {GENERATOR: ("load.c", "client.c", "upstream.c", "measure.c"), MEMORY: ("memory.c",)}


def build(compiler: str) -> None:
    """Compile them."""
    CACHE.mkdir(parents=True, exist_ok=True)
    for program, names in SOURCES.items():
        files = [Path(__file__).with_name(name) for name in names]
        words = [*compiler.split(), "-O2", "-Wall", "-Wextra", "-o", program, *files]
        if subprocess.run(words, check=False).returncode != 0:
            raise SystemExit(f"bench: {compiler} could not compile {', '.join(names)}")


def memory_latency() -> dict[str, float]:
    """Return how long a read in random order takes, in ns, by the KiB that are read."""
    said = subprocess.run([MEMORY], capture_output=True, text=True, check=True).stdout
    return {size: float(took) for size, took in map(str.split, said.splitlines())}
