"""
What a test must leave as it found it, and the numbers the gate must show of itself at the end.

File descriptors and tasks are compared by identity, not by count, so that one closed and another left open
do not cancel each other out.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

__all__ = ["Snapshot", "active", "assert_back", "outcomes", "snapshot", "total"]

PATIENCE = 2.0
"""Seconds that closing may take: sockets close in a later turn of the loop."""

OWN_DESCRIPTORS = Path("/proc/self/fd")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What this process holds open: descriptors with what they point at, and tasks of the running loop."""

    descriptors: Mapping[int, str]
    tasks: frozenset[asyncio.Task[object]]


def snapshot() -> Snapshot:
    """Note what is open now; without ``/proc`` only the tasks."""
    current = asyncio.current_task()
    return Snapshot(_descriptors(), frozenset(task for task in asyncio.all_tasks() if task is not current))


def _descriptors() -> dict[int, str]:
    found: dict[int, str] = {}
    for name in os.listdir(OWN_DESCRIPTORS) if OWN_DESCRIPTORS.exists() else ():
        try:
            found[int(name)] = os.readlink(OWN_DESCRIPTORS / name)
        except FileNotFoundError:
            continue  # the one the listing itself was read through
    return found


async def assert_back(before: Snapshot, within: float = PATIENCE) -> None:
    """Fail unless all that was opened since *before* is closed at the latest after *within* seconds."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + within
    while left := _opened_since(before):
        assert loop.time() < deadline, "left open:\n" + "\n".join(left)
        await asyncio.sleep(0.01)


def _opened_since(before: Snapshot) -> list[str]:
    now = snapshot()
    descriptors = now.descriptors.items() - before.descriptors.items()
    left = [f"descriptor {number}: {target}" for number, target in sorted(descriptors)]
    return left + [f"task {task!r}" for task in now.tasks - before.tasks]


def total(metrics: str, name: str, **labels: str) -> float:
    """Add up the samples called *name* whose labels include *labels*; 0.0 if there is none."""
    return sum(sample.value for sample in _samples(metrics, name) if labels.items() <= sample.labels.items())


def outcomes(metrics: str) -> dict[str, float]:
    """Return how many streams have ended, by outcome; outcomes that never came are left out."""
    counts: dict[str, float] = {}
    for sample in _samples(metrics, "ssegate_streams_total"):
        if sample.value:
            outcome = sample.labels["outcome"]
            counts[outcome] = counts.get(outcome, 0.0) + sample.value
    return counts


def active(metrics: str) -> float:
    """Return how many streams are running, over all routes."""
    return total(metrics, "ssegate_streams_active")


def _samples(metrics: str, name: str) -> Iterator[Sample]:
    # Every test asks several times: only the lines in question are read.
    lines = "".join(line for line in metrics.splitlines(keepends=True) if line.startswith(name))
    families = text_string_to_metric_families(lines)
    return (sample for family in families for sample in family.samples if sample.name == name)
