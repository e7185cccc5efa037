"""
Turn files of results into docs/performance.md and its picture: ``python -m bench.report FILE [FILE …]``.

Every number of the page comes from them; several hold different rows, measured at one commit.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from bench import judge, plot
from bench.process import ROOT

CURVE = "curve-"

HOW = """\
The proxy is pinned to one core, clients and upstream to another.
One program of ours plays both of them (`bench/load.c`).
Each token carries the moment it was sent in its text, so its way through the proxy is timed on one clock.
Tokens are OpenAI chunks of about 300 bytes, each its own `send()`, within 0.2 ms of when it is due.
Each run starts its proxy afresh, and proxies take turns, round by round.
A number is the median of {rounds} rounds, a ratio the median of the ratios within each round.
CPU is the time of all threads and workers of the proxy, user and system.
Latency is from the upstream's `send()` to the client's `recv()`, the load generator's own part included.
Where tokens are joined, each is timed from when *it* was sent, so the time it was held counts; \
*of an event's last token* counts only the one that was held least.
nginx, Envoy and the bare relay pass bytes; ssegate parses, joins, re-encodes as `native` with metadata on \
each event, keeps its metrics, and holds limits on requests, tokens and open streams.
"""

NAMES = """\
| name | what it is |
|---|---|
| ssegate | as shipped: `batch: {size: 5, delay: 40ms}` |
| ssegate-wide | `batch: {size: 5, delay: 100ms}` |
| ssegate-off | `batch: off` |
| ssegate-adaptive | `batch: {mode: adaptive, size: 5, delay: 100ms}` |
| nginx | one worker, `proxy_buffering off`, connections to the upstream kept |
| relay | the least aiohttp can do (`bench/bare_relay.py`) |
| envoy | one worker, no timeouts |
| litellm | its proxy, one worker |
| direct | no proxy at all: what the load generator itself adds |
"""


def main() -> None:
    """Write the page and the picture."""
    if len(sys.argv) < 2:
        sys.exit("usage: python -m bench.report FILE [FILE …]")
    data = _joined([json.loads(Path(file).read_text()) for file in sys.argv[1:]])
    panels = _panels(data["rows"])
    (ROOT / "docs" / "performance.md").write_text(_page(data, bool(panels)))
    if panels:
        (ROOT / "docs" / "performance.svg").write_text(plot.page(panels))
    print("docs/performance.md is written")


def _joined(files: list[dict]) -> dict:
    """Return all rows as if they were of one file."""
    about = [file["about"] for file in files]
    if len({one["commit"] for one in about}) > 1:
        sys.exit("bench: these results are not of one commit")
    versions = {name: said for one in about for name, said in one["versions"].items()}
    commands = [one["command"] for one in about]
    rows = {name: row for file in files for name, row in file["rows"].items()}
    return {"about": about[0] | {"versions": versions, "commands": commands}, "rows": rows}


def _page(data: dict, has_picture: bool) -> str:
    about, results = data["about"], data["rows"]
    rounds = max(len(runs) for row in results.values() for runs in row["runs"].values())
    parts = ["# Performance\n", _machine(about)]
    if has_picture:
        parts.append("![CPU per token by proxy; latency and CPU against load](performance.svg)\n")
    parts += ["## Goals\n", _table(_emphasised(judge.goal_rows(results)))]
    parts += ["## How it was measured\n", HOW.format(rounds=rounds), NAMES]
    commands = " and ".join(f"`make bench{_arguments(command)}`" for command in about["commands"])
    parts.append(
        f"The commands were {commands}.\n" if " and " in commands else f"The command was {commands}.\n"
    )
    parts.append("## All numbers\n")
    for row in results:
        parts += [f"### {row}: {results[row]['title']}\n", _table(judge.detail_rows(results, row))]
    if doubts := list(judge.doubts(results)):
        parts += ["## What went wrong\n", "\n".join(f"* {doubt}" for doubt in doubts) + "\n"]
    return "\n".join(parts)


def _arguments(command: str) -> str:
    return f' ARGS="{command}"' if command else ""


def _machine(about: dict) -> str:
    versions = ", ".join(dict.fromkeys(_version(name, said) for name, said in about["versions"].items()))
    return (
        f"Measured on {about['date']} at commit {about['commit']}.\n"
        f"{about['cpu']}, {about['cores']} cores, {about['memory_gib']} GiB, {about['system']}.\n"
        f"Reads of memory in random order took {_memory(about['memory_ns'])} before the first row.\n"
        f"{versions}.\n"
    )


def _memory(took: dict[str, float]) -> str:
    """Return what tells how much of the processor's caches was left by its other users."""
    return ", ".join(f"{ns:.0f} ns within {_size(int(kib))}" for kib, ns in took.items())


def _size(kib: int) -> str:
    return f"{kib} KiB" if kib < 1024 else f"{kib // 1024} MiB"


def _version(name: str, said: str) -> str:
    return said if " " in said else f"{name} {said}"


def _emphasised(lines: list[list[str]]) -> list[list[str]]:
    """Make it plain where a goal was not reached."""
    plain = ("", "reached", "not measured")
    return [[*line[:-1], line[-1] if line[-1] in plain else f"**{line[-1]}**"] for line in lines]


def _table(lines: list[list[str]]) -> str:
    head, *body = (f"| {' | '.join(line)} |" for line in lines)
    rule = "|" + "---|" * len(lines[0])
    return "\n".join([head, rule, *body]) + "\n"


def _panels(results: judge.Results) -> list[str]:
    """Draw what was measured: CPU per token as bars, latency and CPU against load as lines."""
    panels = []
    if (paced := results.get("paced-400")) is not None:
        values = {name: judge.middle(results, "paced-400", name, "cpu") for name in paced["runs"]}
        title = f"CPU per token, µs ({paced['title']})"
        panels.append(plot.bars(title, {name: value for name, value in values.items() if value}))
    latency, share = _series(results, "p99"), _series(results, "share")
    if any(len(points) > 1 for points in share.values()):
        panels.append(
            plot.lines(
                "latency of a token, p99, ms (holding counts)", "tokens a second", latency, logarithmic=True
            )
        )
        panels.append(plot.lines("CPU of the proxy's core, %", "tokens a second", share))
    return panels


def _series(results: judge.Results, metric: str) -> dict[str, plot.Points]:
    """Return the points of the curve of *metric*, by contender."""
    series: dict[str, plot.Points] = {}
    for row in (row for row in results if row.startswith(CURVE)):
        for name in results[row]["runs"]:
            if (value := judge.middle(results, row, name, metric)) is not None:
                series.setdefault(name, []).append((float(row.removeprefix(CURVE)), value))
    return series


if __name__ == "__main__":
    main()
