"""Imports go down only, and what is pure stays pure: this file holds the table of floors."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "ssegate"

GROUND = -1
FLOORS: dict[str, float] = {
    "cli": 6,
    "__main__": 6,
    "demo": 5.6,
    "lifecycle": 5.4,
    "gate": 5.2,  # puts the two ports together
    "server": 5,
    "admin": 5,
    "relay": 4,
    "passage": 4,
    "admission": 4,
    "quota": 3.5,
    "simulate": 4,
    "exchange": 3.6,  # what it says of limits is laid over what the upstream says
    "client_body": 3.5,
    "inlet": 3.5,
    "pacing": 3.5,
    "passing": 3.5,
    "copying": 3.5,
    "limits": 3,
    "replay": 3,
    "keys": 3,
    "estimate": 3,
    "upstream": 3.2,  # its connections can be tapped
    "request": 3,
    "streams": 3,
    "metrics": 3,
    "logs": 3,
    "alarm": 3,
    "loopwatch": 3,
    "tap": 3,
    "lowwater": 2,
    "connection": 3,
    "listening": 3,
    "certificate": 3,
    "origin": 3,
    "retrying": 3,
    "routing": 3,
    "booking": 3,
    "outlet": 3,
    "decoding": 3,
    "series": 2,
    "config": 2,
    "report": 2,
    "wire.pipeline": 1,
    "wire.settings": 0.5,
    "wire.recognition": 0.5,  # the way into a pipeline: framings and dialects
    "wire.patterns": 0.3,  # what framings, dialects and formats do to a frame, seen from outside
    "wire.stencils": 0.35,
    "wire.runs": 0.4,
    "wire.learning": 0.45,
    "wire.outflow": 0.5,  # the way out of it: batching and formats
    "wire.framing": 0,
    "wire.dialects": 0,
    "wire.batching": 0,
    "wire.mending": 0,
    "wire.formats": 0,
    "wire.clocks": 0,
    "wire.stats": 0,
    "wire.description": GROUND,
    "wire.payload": GROUND,
    "wire.surrogates": GROUND,
    "wire.events": GROUND,
    "wire.errors": GROUND,
    "wire.seams": GROUND,
    "wire.__init__": GROUND,
    "__init__": GROUND,
}
"""
A module or package and its floor; a fraction is a landing between two floors.

A new one is one line here; without it the test fails.
"""

APART = {3, 0}
"""Floors whose modules do not import each other; on the others neighbours may."""

IMPURE = {
    *("asyncio", "aiohttp", "socket", "ssl", "threading"),
    *("time", "random", "uuid", "secrets", "os", "logging"),
}
"""What nothing in ``wire/`` may import: there is no I/O, no clock and no chance there."""


def listed(name: str) -> str | None:
    """Return the line of the table that *name* (dotted, without ``ssegate.``) falls under."""
    parts = name.split(".")
    heads = (".".join(parts[:end]) for end in range(len(parts), 0, -1))
    return next((head for head in heads if head in FLOORS), None)


def imported(name: str, source: str) -> Iterator[tuple[int, str, str]]:
    """Yield line, module and attribute (or "") of every import, those under ``if TYPE_CHECKING`` too."""
    package = ["ssegate", *name.split(".")]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = package[: -node.level] if node.level else []
            module = ".".join([*start, *filter(None, [node.module])])
            yield from ((node.lineno, module, alias.name) for alias in node.names)


def breaches(name: str, source: str) -> list[str]:
    """Return what is wrong with the module *name*, a line for each import that breaks the table."""
    here = listed(name)
    if here is None:
        return [f"{name}: not in the table"]
    wrong = []
    for line, module, attribute in imported(name, source):
        top, _, below = module.partition(".")
        if top != "ssegate":
            if name.startswith("wire.") and top in IMPURE:
                wrong.append(f"{name}:{line}: wire is pure, it does not import {top}")
            continue
        inner = ".".join(filter(None, [below, attribute]))
        there = listed(inner) or listed(f"{below}.__init__".lstrip("."))
        if there is None:
            wrong.append(f"{name}:{line}: {inner} is not in the table")
        elif there != here and (
            FLOORS[there] > FLOORS[here] or (FLOORS[there] == FLOORS[here] and FLOORS[here] in APART)
        ):
            wrong.append(f"{name}:{line}: floor {FLOORS[here]} imports {there} of floor {FLOORS[there]}")
    return wrong


def test_imports_go_down_only():
    """Every module is in the table and imports only what lies below it."""
    files = {".".join(file.relative_to(ROOT).with_suffix("").parts): file for file in ROOT.rglob("*.py")}

    assert [
        wrong for name, file in sorted(files.items()) for wrong in breaches(name, file.read_text("utf-8"))
    ] == []


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("novelty", ""),
        ("wire.novelty", ""),
        ("wire.dialects.acme", "from ssegate.wire.formats import native"),
        ("wire.dialects.acme", "from ...wire import formats"),
        ("wire.framing.acme", "from ssegate.wire import pipeline"),
        ("wire.errors", "import ssegate.wire.batching"),
        ("wire.batching", "from asyncio import sleep"),
        ("wire.formats.__init__", "def f():\n    import time"),
        ("wire.pipeline", "from ssegate.config import load"),
        ("config.load", "if TYPE_CHECKING:\n    from ssegate.server import Gate"),
        ("limits.gcra", "from ssegate import streams"),
        ("limits.gcra", "from ..metrics import Metrics"),
        ("relay", "from . import server"),
        ("relay", "from ssegate.novelty import x"),
    ],
)
def test_a_breach_is_found(name: str, source: str):
    """Each way of breaking the table is seen, however the import is spelt."""
    assert len(breaches(name, source)) == 1


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("__main__", "from ssegate.cli import main"),
        ("cli", "from ssegate import __version__"),
        ("wire.dialects.acme", "from .openai import OpenAI\nfrom ssegate.wire import events\nimport re"),
        ("config.load", "from ssegate.wire.dialects import DIALECTS\nimport os"),
        ("server", "import asyncio\nfrom .wire.errors import ClientError"),
    ],
)
def test_what_is_allowed_is_not_found(name: str, source: str):
    """Looking down, looking inside one's own package and foreign libraries of the shell are fine."""
    assert breaches(name, source) == []
