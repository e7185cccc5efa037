"""Medians, ratios and verdicts of a file of results; the tables of the terminal and of the report."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from statistics import median

from bench.rows import GOALS, METRICS, Goal

Results = dict[str, dict]
"""By row: its ``title``, what it ``shows``, and its ``runs``, by contender a list of one result a round."""

FAULTS = ("broken", "refused", "lost", "duplicated", "repeated", "unanswered")


MAX_WAITED = 0.05
"""Share of the time; more of it lost to other work than that, and a run has not been alone."""
SEAMLESS = ("lost", "duplicated")


@dataclass(frozen=True)
class Verdict:
    """
    How a goal was met.

    Attributes:
        measured: The number, or the ratio; the median of all rounds.
        numbers: Of a ratio, the medians of both sides.
        word: ``reached``, ``short``, ``in doubt`` (reached in runs that went wrong), ``not measured``.
    """

    what: str
    goal: str
    measured: str
    numbers: str
    word: str


def numbers(results: Results, row: str, contender: str, metric: str) -> list[float]:
    """Return one number a round; none if that was not measured."""
    runs = results.get(row, {}).get("runs", {}).get(contender, [])
    found = (METRICS[metric].of(run) for run in runs)
    return [number for number in found if number is not None]


def middle(results: Results, row: str, contender: str, metric: str) -> float | None:
    """Return the median of all rounds."""
    found = numbers(results, row, contender, metric)
    return median(found) if found else None


def verdicts(results: Results) -> Iterator[Verdict]:
    """Judge every goal of the rows that were measured."""
    yield from (_judge(results, goal) for goal in GOALS if goal.row in results)
    own = [
        run
        for row in results.values()
        for name, runs in row["runs"].items()
        if _is_ours(name)
        for run in runs
    ]
    wrong = sum(run.get(fault, 0) for run in own for fault in SEAMLESS)
    yield Verdict("all rows: tokens lost or doubled, ssegate", "0", str(wrong), "", _word(wrong == 0))


def _is_ours(contender: str) -> bool:
    return contender.startswith("ssegate")


def _judge(results: Results, goal: Goal) -> Verdict:
    own = numbers(results, goal.row, goal.contender, goal.metric)
    others = numbers(results, goal.versus_row or goal.row, goal.versus, goal.metric)
    sign = "≥" if goal.at_least else "≤"
    wanted = with_unit(goal.limit, goal.metric)
    if goal.versus:
        wanted = f"{show(goal.limit)} × {_compared(goal)}"
    what = f"{goal.row}: {METRICS[goal.metric].label}, {goal.contender}"
    if not own or (goal.versus and not others):
        return Verdict(what, f"{sign} {wanted}", "–", "", "not measured")
    if goal.versus:
        # A round's runs follow each other, so what disturbs the machine for minutes disturbs both alike.
        value = median(mine / theirs for mine, theirs in zip(own, others, strict=False))
        said, seen = f"{show(value)} ×", f"{show(median(own))} / {with_unit(median(others), goal.metric)}"
    else:
        value = median(own)
        said, seen = with_unit(value, goal.metric), ""
    reached = value >= goal.limit if goal.at_least else value <= goal.limit
    is_doubtful = any(any(_doubts_of(run)) for run in results[goal.row]["runs"][goal.contender])
    return Verdict(what, f"{sign} {wanted}", said, seen, _word(reached, is_doubtful))


def _word(reached: bool, is_doubtful: bool = False) -> str:
    if not reached:
        return "short"
    return "in doubt" if is_doubtful else "reached"


def _compared(goal: Goal) -> str:
    return f"its own at {goal.versus_row}" if goal.versus_row else goal.versus


def with_unit(number: float | None, metric: str) -> str:
    """Write *number*, which is of *metric*, with its unit."""
    return f"{show(number)} {METRICS[metric].unit}".rstrip()


def show(number: float | None) -> str:
    """Write *number* with three digits that mean something."""
    if number is None:
        return "–"
    if abs(number) >= 1000:
        return f"{number:,.0f}".replace(",", " ")
    if abs(number) >= 100:
        return f"{number:.0f}"
    return f"{number:.3g}"


def labelled(metric: str) -> str:
    """Return the head of a column of *metric*."""
    return f"{METRICS[metric].label} {METRICS[metric].unit}".rstrip()


def summary(result: dict, shows: Iterable[str]) -> str:
    """Say one run in a line."""
    return ", ".join(f"{METRICS[name].label} {with_unit(METRICS[name].of(result), name)}" for name in shows)


def detail_rows(results: Results, row: str) -> list[list[str]]:
    """Return the table of the medians of *row*, with its head."""
    shows, runs = results[row]["shows"], results[row]["runs"]
    body = [[one, *(show(middle(results, row, one, name)) for name in shows)] for one in runs]
    return [["", *map(labelled, shows)], *body]


def goal_rows(results: Results) -> list[list[str]]:
    """Return the table of goals, with its head."""
    lines = [["goal", "wanted", "measured", "medians", ""]]
    for verdict in verdicts(results):
        lines.append([verdict.what, verdict.goal, verdict.measured, verdict.numbers, verdict.word])
    return lines


def doubts(results: Results) -> Iterator[str]:
    """Tell of runs that went wrong, and of such as measured something else than they should."""
    for row, measured in results.items():
        for contender, runs in measured["runs"].items():
            for number, run in enumerate(runs, 1):
                for doubt in _doubts_of(run):
                    yield f"{row}, {contender}, round {number}: {doubt}"


def _doubts_of(run: dict) -> Iterator[str]:
    for fault in FAULTS:
        if run.get(fault):
            yield f"{run[fault]} {fault}"
    offered = run.get("offered_per_s", 0)
    if offered and run["tokens_per_s"] < 0.97 * offered:
        yield f"falls behind: {show(run['tokens_per_s'])} of {show(offered)} tokens a second"
    if offered and run["late_us"] and run["late_us"]["p99"] > 5000:
        yield f"the load generator itself was late (p99 {show(run['late_us']['p99'] / 1000)} ms)"
    for whose, key in (("proxy", "waited_share"), ("load generator", "own_waited_share")):
        if run.get(key, 0) > MAX_WAITED:
            yield f"the {whose} waited {show(100 * run[key])} % of the time for its core, which others used"
    is_rush = offered == 0 and not run.get("stalled")
    if is_rush and 0 < run.get("cpu_share", 0) < 0.95:
        yield f"the load generator was the limit: the proxy was busy for {show(100 * run['cpu_share'])} %"
    noticed = (run.get("cancel_us") or {}).get("count", 0)
    if run.get("cancelled", 0) > noticed:
        yield f"{run['cancelled'] - noticed} of {run['cancelled']} leavings were not seen upstream"


def aligned(lines: list[list[str]]) -> str:
    """Lay *lines* out in columns for a terminal."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )
