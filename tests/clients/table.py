"""
Makes the tables of docs/clients.md of the results in ``scenarios.RESULTS``, and the list of scenarios.

    python -m tests.clients.table           rewrite them
    python -m tests.clients.table --check   and fail if one was not run, or more than a version out of date

Each language has a block of its own, between ``<!-- Python -->`` and ``<!-- /Python -->``. A language of
which nothing was run keeps its block as it is, so that a machine without Node does not lose Node's. Versions
do not count as out of date: they change without anybody here doing anything.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable
from pathlib import Path

from .scenarios import RESULTS, SCENARIOS, WIRES

__all__ = ["PAGE", "block", "explained", "latest", "main", "replaced", "untried", "without_versions"]

PAGE = Path(__file__).parents[2] / "docs" / "clients.md"

Line = dict[str, str]
Row = tuple[str, str, str]
"""Language, client, wire."""

_MARKS = {"ok": "✓", "n/a": "–", "failed": "✗"}


def latest(lines: Iterable[Line]) -> dict[Row, dict[str, Line]]:
    """Return the last result of each row and scenario."""
    rows: dict[Row, dict[str, Line]] = {}
    for line in lines:
        rows.setdefault((line["language"], line["client"], line["wire"]), {})[line["scenario"]] = line
    return rows


def explained() -> str:
    """Return what each scenario shows."""
    return "".join(f"* **{name}**: {shown}\n" for name, shown in SCENARIOS.items())


def block(language: str, rows: dict[Row, dict[str, Line]]) -> str:
    """Return the table of one language, with its footnotes."""
    notes: dict[str, int] = {}
    lines = [f"| client | version | upstream → output | {' | '.join(SCENARIOS)} |"]
    lines.append("|---" * (3 + len(SCENARIOS)) + "|")
    for row in sorted((row for row in rows if row[0] == language), key=_order):
        results = rows[row]
        version = next(iter(results.values()))["version"]
        cells = [_cell(results.get(scenario), notes) for scenario in SCENARIOS]
        wire = WIRES[row[2]]
        lines.append(f"| {row[1]} | {version} | {wire.upstream} → {wire.output} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", *(f"{number}. {note}" for note, number in notes.items())]) + "\n"


def _order(row: Row) -> tuple[str, int]:
    return row[1], list(WIRES).index(row[2])


def _cell(line: Line | None, notes: dict[str, int]) -> str:
    if line is None:
        return ""
    note = line["note"]
    return _MARKS[line["result"]] + (f" {notes.setdefault(note, len(notes) + 1)}" if note else "")


def replaced(page: str, name: str, content: str) -> str:
    """Return *page* with *content* as the block *name*, a language's or ``scenarios``."""
    start, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
    pattern = re.escape(start) + ".*" + re.escape(end)
    page, count = re.subn(pattern, lambda _: f"{start}\n{content}\n{end}", page, flags=re.DOTALL)
    assert count == 1, f"docs/clients.md needs one place for {name}: {start}{end}"
    return page


def without_versions(page: str) -> str:
    """Return *page* without the second column of its tables."""
    return re.sub(r"(?m)^(\|[^|]*\|)[^|]*(?=\|)", r"\1", page)


def untried(page: str, rows: dict[Row, dict[str, Line]]) -> list[str]:
    """Return the languages of *page* of which nothing was run."""
    tried = {"scenarios", *(row[0] for row in rows)}
    return [name for name in re.findall(r"<!-- (\w+) -->", page) if name not in tried]


def main(check: bool) -> int:
    """Rewrite the page; return 1 if *check* and it had not been up to date."""
    rows = latest(json.loads(line) for line in RESULTS.read_text("utf-8").splitlines())
    old = PAGE.read_text("utf-8")
    page = replaced(old, "scenarios", explained())
    for language in sorted({row[0] for row in rows}):
        page = replaced(page, language, block(language, rows))
    PAGE.write_text(page, "utf-8")
    if check and (missing := untried(page, rows)):
        print(f"docs/clients.md: nothing was run of {', '.join(missing)}", file=sys.stderr)
        return 1
    if without_versions(page) == without_versions(old):
        return 0
    print("docs/clients.md was out of date and has been rewritten: look at it and commit it", file=sys.stderr)
    return int(check)


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv[1:]))
