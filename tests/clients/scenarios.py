"""
What every client must manage through the gate, and how that is written down.

A client is pointed at the gate by its base URL alone, ``{gate}/{wire}/{scenario}`` and whatever path its
vendor has after the host (``/v1``): the wire decides dialect and output, the scenario what the upstream does
(``upstream.py``). Texts, calls and waits to expect are in ``upstream.BODIES`` and in the constants here.

Each result is one line of JSON in ``RESULTS``, by ``record`` or by whatever else can append a line:

    {"language": "Python", "client": "openai", "version": "2.54.0", "wire": "openai", "scenario": "text",
     "result": "ok", "note": ""}

``language`` and ``client`` are shown as they are, and with ``wire`` they are one row of the table; ``client``
may name the part of a package that reads ("openai responses"). ``result`` is ``ok``, ``n/a`` or ``failed``.
``note`` is a short sentence for the reader, needed for ``n/a`` (why), welcome for ``ok`` (in which way);
equal notes share one footnote. A later line about the same row and scenario replaces an earlier one.
``table.py`` makes docs/clients.md of it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["HEARTBEAT", "RESULTS", "RETRY_AFTER", "SCENARIOS", "SILENCE", "WIRES", "Wire", "config", "record"]

RESULTS = Path(__file__).parents[2] / ".cache" / "clients.jsonl"

SCALE = 35
"""How much faster time runs here: the 70 s of silence that many networks do not survive become 2 s."""

SILENCE = 70 / SCALE
HEARTBEAT = 15 / SCALE
"""The default, scaled: within a client's patience of 60 s, scaled, four of them fit."""

PATIENCE = 60 / SCALE
"""Seconds without a byte after which a client gives up in the scenario ``silence``."""

RETRY_AFTER = 1
"""Seconds that the upstream's 429 asks for."""

SCENARIOS = {
    "text": "the whole text of a recorded answer",
    "tool": "names and arguments of recorded tool calls",
    "reasoning": "recorded thinking, apart from the text",
    "unicode": "characters of every plane, raw and escaped, cut inside by the network",
    "error": "an error of the upstream in mid-answer is raised as the client's own error, in the upstream's "
    "words, after the text before it",
    "limit": "a 429 of the upstream: asked again after `Retry-After`, or raised as the client's own error",
    "truncated": "an answer that ends without its end is raised as the client's own error",
    "silence": "70 s without a word, before the first one and in mid-answer, and a client that gives up "
    f"after 60 s without a byte (time runs {SCALE} times faster)",
    "disconnect": "the client stops reading, and the upstream's connection is closed",
}
"""By the name in the URL, what must be seen."""


@dataclass(frozen=True)
class Wire:
    """One way through the gate."""

    upstream: str
    """A key of ``upstream.BODIES``."""

    output: str
    path: str = "*"
    """What follows the scenario in the upstream's path; ``*``: whatever the client asked for."""

    prompt: bool = False
    """Takes ``{"prompt": …}`` and ``?prompt=…``, on exactly ``/{wire}/{scenario}``."""

    heartbeats: bool = True
    """Silence is bridged; where its vendor's clients would stumble, it is not."""


WIRES = {
    "openai": Wire("openai", "openai"),
    "openai-from-anthropic": Wire("anthropic", "openai", path="v1/messages"),
    "completions": Wire("completions", "openai"),
    "responses": Wire("responses", "same"),
    "anthropic": Wire("anthropic", "same"),
    "gemini": Wire("gemini", "same", heartbeats=False),
    "ollama": Wire("ollama", "same", heartbeats=False),
    "cohere": Wire("cohere", "same"),
    "mistral": Wire("mistral", "openai"),
    "native": Wire("openai", "native", path="v1/chat/completions", prompt=True),
    "vercel": Wire("openai", "vercel", path="v1/chat/completions", prompt=True),
    "vercel-from-anthropic": Wire("anthropic", "vercel", path="v1/messages", prompt=True),
}
"""By the name in the URL."""

TIMES: dict[str, dict[str, Any]] = {"silence": {"hold": 0.2, "heartbeat": HEARTBEAT}}
"""What a scenario needs of its routes."""

PROMPT = {"model": "any", "messages": [{"role": "user", "content": "{prompt}"}]}


def config(upstream: str) -> dict[str, Any]:
    """Return the gate's config: a route for each wire and scenario, all to the one *upstream*, a URL."""
    routes = [_route(name, wire, scenario) for name, wire in WIRES.items() for scenario in SCENARIOS]
    listeners = {"listen": "127.0.0.1:0", "admin": "127.0.0.1:0"}
    return {**listeners, "upstreams": {"up": {"url": upstream}}, "routes": routes}


def _route(name: str, wire: Wire, scenario: str) -> dict[str, Any]:
    path = f"/{name}/{scenario}"
    kind = {"path": path, "from_prompt": {"body": PROMPT}} if wire.prompt else {"path": f"{path}/*"}
    upstream_path = f"/{wire.upstream}/{scenario}/{wire.path}"
    return {**kind, "upstream_path": upstream_path, "output": wire.output, **TIMES.get(scenario, {})}


def record(**line: str) -> None:
    """Write one result down; the names are those of the module's docstring."""
    RESULTS.parent.mkdir(exist_ok=True)
    # One short write to a file opened for appending is never mixed with those of other test workers.
    with RESULTS.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line, ensure_ascii=False) + "\n")
