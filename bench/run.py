"""
Measure ssegate beside other proxies: ``make bench ARGS="--only paced-400"``.

The proxy has one core, clients and upstream share another. Contenders take turns, round by round, so that
what slows the machine slows all of them; medians and ratios are quoted. Each run starts its proxy afresh.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from bench import judge
from bench.machine import describe
from bench.process import CACHE, StartError, max_descriptors
from bench.programs import build
from bench.proxies import PROXIES, tls_missing
from bench.rows import LOADS, ROWS, Load, Row, curve, quick_contenders
from bench.trial import DIRECT, run

QUICK: Load = {"warm": 0.6, "seconds": 1.0}


def main() -> None:
    """Measure what the command line says and print the tables."""
    options = _options()
    cores = sorted(os.sched_getaffinity(0))
    compiler = _compiler()
    lack = _lack(cores, compiler)
    if lack is not None or compiler is None:
        print(f"bench: skipped: {lack}")
        return
    build(compiler)
    rows = _chosen(options)
    absent = _absent(rows, options.with_)
    present = [name for name, reason in absent.items() if reason is None]
    about = describe(present) | {"command": " ".join(sys.argv[1:])}
    results: judge.Results = {}
    began = time.monotonic()
    file = CACHE / time.strftime("%Y%m%d-%H%M%S.json")
    try:
        for row, contender, result in _measure(rows, present, options, cores):
            told = {"title": row.title, "load": row.load, "shows": row.shows, "runs": {}}
            results.setdefault(row.name, told)["runs"].setdefault(contender, []).append(result)
            file.write_text(json.dumps({"about": about, "rows": results}, indent=1, ensure_ascii=False))
    except KeyboardInterrupt:
        print("\nbench: interrupted; this is what there is")
    if results:
        _print(results, file)
    print(f"bench: took {time.monotonic() - began:.0f} s")
    if options.quick:
        print("bench: a quick round shows that it runs; do not quote its numbers")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench ARGS=", description="Measure ssegate beside others.")
    names = [row.name for row in ROWS]
    optional = [name for name, proxy in PROXIES.items() if proxy.optional]
    add = parser.add_argument
    add("--only", nargs="+", metavar="ROW", help=f"of: {', '.join(names)}, curve")
    add("--rounds", type=int, default=3, help="how often each is measured (%(default)s)")
    add("--seconds", type=float, default=5, help="of one measurement (%(default)s)")
    add("--quick", action="store_true", help="one short round: does it run?")
    add("--with", dest="with_", action="append", default=[], choices=optional, help="measure it too")
    add(
        "--loads",
        type=int,
        nargs="+",
        default=LOADS,
        metavar="N",
        help="points of the curve, tokens a second",
    )
    options = parser.parse_args()
    if unknown := set(options.only or ()) - {*names, "curve"}:
        parser.error(f"no such row: {', '.join(sorted(unknown))} (there are {', '.join(names)}, curve)")
    return options


def _compiler() -> str | None:
    return os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")


def _lack(cores: list[int], compiler: str | None) -> str | None:
    """Say what keeps this machine from measuring."""
    if sys.platform != "linux":
        return "it needs Linux (epoll, /proc)"
    if len(cores) < 2:
        return "it needs two cores, one for the proxy and one for the load"
    if compiler is None:
        return "there is no C compiler (Debian and Ubuntu: apt-get install gcc libc6-dev)"
    return None


def _chosen(options: argparse.Namespace) -> list[Row]:
    rows = [*ROWS, *curve(options.loads)]
    if options.only:
        return [row for row in rows if {row.name, row.group} & set(options.only)]
    return [row for row in rows if not options.quick or row.quick is not None]


def _absent(rows: list[Row], wished: list[str]) -> dict[str, str | None]:
    """Return why each contender of *rows* that is wanted cannot run; None: it can."""
    asked = {name for row in rows for name in row.contenders}
    wanted = (proxy for proxy in PROXIES.values() if not proxy.optional or proxy.name in wished)
    absent = {proxy.name: proxy.missing() for proxy in wanted if proxy.name in asked}
    for name, reason in absent.items():
        if reason is not None:
            print(f"bench: without {name}: {reason}")
    return absent


def _measure(
    rows: list[Row], present: list[str], options: argparse.Namespace, cores: list[int]
) -> Iterator[tuple[Row, str, dict]]:
    for row in rows:
        if (reason := _unfit(row)) is not None:
            print(f"bench: without {row.name}: {reason}")
            continue
        contenders = quick_contenders(row) if options.quick else row.contenders
        here = [name for name in contenders if name == DIRECT or name in present]
        for number in range(1, 1 + (1 if options.quick else options.rounds)):
            for name in here:
                print(f"bench: {row.name}, round {number}, {name}: ", end="", flush=True)
                try:
                    result = run(row, name, _load(row, options), cores)
                except (StartError, subprocess.SubprocessError) as error:
                    print(f"failed: {error}")
                    continue
                print(judge.summary(result, row.shows), flush=True)
                yield row, name, result


def _unfit(row: Row) -> str | None:
    """Say why *row* cannot be measured on this machine."""
    if row.tls and (reason := tls_missing()) is not None:
        return reason
    # An open stream takes two descriptors in the proxy, and two in the load generator.
    needed = 2 * int(row.load["clients"]) + 100 if row.load else 0
    if needed > max_descriptors():
        return f"it needs {needed} descriptors, the limit is {max_descriptors()} (ulimit -Hn)"
    return None


def _load(row: Row, options: argparse.Namespace) -> Load:
    load: Load = {"seconds": options.seconds, **(row.load or {})}
    return load | QUICK | (row.quick or {}) if options.quick else load


def _print(results: judge.Results, file: Path) -> None:
    for row, measured in results.items():
        print(f"\n{row}: {measured['title']}")
        print(judge.aligned(judge.detail_rows(results, row)))
    print()
    print(judge.aligned(judge.goal_rows(results)))
    for doubt in judge.doubts(results):
        print(f"bench: {doubt}")
    print(f"bench: all of it is in {file}; python -m bench.report FILE makes a page of it")


if __name__ == "__main__":
    main()
