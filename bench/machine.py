"""What a measurement was made on, and with."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import time
from pathlib import Path

from bench.process import ROOT
from bench.programs import memory_latency
from bench.proxies import PROXIES


def describe(contenders: list[str]) -> dict:
    """Return what a reader must know to judge the numbers."""
    versions = {name: said for name in contenders if (said := PROXIES[name].version())}
    for package in ("aiohttp", "msgspec", "uvloop"):
        versions[package] = importlib.metadata.version(package)
    return {
        "date": time.strftime("%Y-%m-%d"),
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / (1 << 30), 1),
        "memory_ns": memory_latency(),
        "system": f"{platform.system()} {platform.release()}",
        "load_before": os.getloadavg()[0],
        "commit": _commit(),
        "versions": versions,
    }


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _commit() -> str:
    said = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return said.stdout.strip()
