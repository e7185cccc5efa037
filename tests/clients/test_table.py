"""The tables of docs/clients.md say what the results say."""

from __future__ import annotations

from typing import Any

from .scenarios import SCENARIOS
from .table import PAGE, block, explained, latest, replaced, untried, without_versions

PAGE_OF_TWO = (
    "# Clients\n<!-- Python -->\nold\n<!-- /Python -->\n<!-- JavaScript -->\nkept\n<!-- /JavaScript -->\n"
)


def result(scenario: str, result: str = "ok", note: str = "", **row: str) -> dict[str, Any]:
    of = {"language": "Python", "client": "openai", "version": "1.0", "wire": "openai"}
    return {**of, "scenario": scenario, "result": result, "note": note, **row}


def test_a_row_is_a_client_on_a_wire():
    """Marks stand under their scenarios, what was not tried is blank, equal notes are one."""
    lines = [
        result("error", note="raised"),
        result("text"),
        result("truncated", "failed", "raised"),
        result("reasoning", "n/a", "drops it"),
        result("text", wire="native", client="curl"),
    ]

    head, rule, curl, openai, *notes = block("Python", latest(lines)).splitlines()

    assert head.split(" | ")[3:6] == ["text", "tool", "reasoning"] and rule.count("---") == 3 + len(SCENARIOS)
    assert curl.startswith("| curl | 1.0 | openai → native | ✓ |  |  |")
    assert openai == "| openai | 1.0 | openai → openai | ✓ |  | – 1 |  | ✓ 2 |  | ✗ 2 |  |  |"
    assert notes == ["", "1. drops it", "2. raised"]


def test_the_last_result_counts():
    """What is tried again replaces what was found before."""
    rows = latest([result("text", "failed"), result("tool"), result("text")])

    ((_, results),) = rows.items()
    assert {scenario: line["result"] for scenario, line in results.items()} == {"text": "ok", "tool": "ok"}


def test_a_language_that_did_not_run_keeps_its_table():
    """Only the block that is named changes."""
    page = replaced(PAGE_OF_TWO, "Python", "new\n")

    assert "old" not in page and "kept" in page and "<!-- Python -->\n\nnew\n\n<!-- /Python -->" in page
    assert replaced(page, "Python", "new\n") == page


def test_where_all_must_run_a_missing_language_is_told():
    """A machine that skips a language, for want of Node or a browser, does not pass for one that tried it."""
    assert untried(PAGE_OF_TWO, latest([result("text")])) == ["JavaScript"]
    assert untried(PAGE_OF_TWO, latest([result("text"), result("text", language="JavaScript")])) == []


def test_versions_alone_are_not_out_of_date():
    """A table of other versions is the same table; one of other results, notes or clients is another."""
    page, newer, other = (
        block("Python", latest([line]))
        for line in (result("text"), result("text", version="2.0"), result("text", "failed"))
    )

    assert without_versions(page) == without_versions(newer) != without_versions(other)
    assert "openai → openai" in without_versions(page)


def test_the_page_is_all_green():
    """What is committed explains every scenario, has a mark for each in every row, and no failure."""
    page = PAGE.read_text("utf-8")
    rows = [
        line.split(" | ") for line in page.splitlines() if line.startswith("| ") and "version" not in line
    ]

    assert explained() in page
    assert rows and all(len(row) == 3 + len(SCENARIOS) for row in rows)
    assert all(cell[0] in "✓–" for row in rows for cell in row[3:])
