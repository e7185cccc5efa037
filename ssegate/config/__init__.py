"""
The config file: read, checked whole, and handed on as plain frozen settings.

Every problem is told at once, as ``FILE:LINE:COL: path: message`` with the source line and a caret. What
a ``${…}`` was replaced by is never shown. Relative file names begin at the config file.
"""

from __future__ import annotations

import os
import pathlib
from collections.abc import Mapping

from ssegate.config.check import CHECKS
from ssegate.config.draft import draft
from ssegate.config.load import Document, read
from ssegate.config.problems import Path, Problem, Source
from ssegate.config.schema import schema
from ssegate.config.settings import (
    Address,
    Admin,
    Batch,
    Config,
    FromPrompt,
    Key,
    Limits,
    Log,
    Network,
    Route,
    SharedLimits,
    Timeouts,
    Tls,
    Upstream,
)
from ssegate.config.unbuilt import unbuilt
from ssegate.config.validate import validate
from ssegate.wire.errors import ConfigError

__all__ = [
    "Address",
    "Admin",
    "Batch",
    "Config",
    "FromPrompt",
    "Key",
    "Limits",
    "Log",
    "Network",
    "Route",
    "SharedLimits",
    "Timeouts",
    "Tls",
    "Upstream",
    "from_upstream",
    "load",
    "parse",
    "route_lines",
    "schema",
]

_NO_FILE = " (name another with -c FILE, or start without one: ssegate run --upstream URL)"


def load(path: pathlib.Path, env: Mapping[str, str] | None = None) -> Config:
    """
    Return the config in the file *path*.

    Args:
        env: Where ``${VAR}`` comes from; default: the process's environment.

    Raises:
        ConfigError: The file cannot be read, or something in it is wrong; the message is the whole report.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as exc:
        hint = _NO_FILE if isinstance(exc, FileNotFoundError) else ""
        raise ConfigError(f"{path}: cannot read: {exc.strerror}{hint}") from exc
    except UnicodeDecodeError as exc:
        line = exc.object[: exc.start].count(b"\n") + 1
        raise ConfigError(f"{path}:{line}:1: not UTF-8 text (save the file as UTF-8)") from exc
    return parse(text, str(path), env)


def parse(text: str, filename: str, env: Mapping[str, str] | None = None) -> Config:
    """
    Return the config in *text*; *filename* stands in the report, and relative file names begin there.

    Raises:
        ConfigError: Something is wrong; the message is the whole report.
    """
    return _finished(read(text, filename, os.environ if env is None else env))


def from_upstream(
    url: str, listen: str | None = None, output: str | None = None, env: Mapping[str, str] | None = None
) -> Config:
    """
    Return the config of a gate in front of one upstream, every path open; the rest is default.

    Args:
        env: Not read: the values of a command line have been through the shell already.

    Raises:
        ConfigError: As ``parse``; places are named by their options.
    """
    tree = {
        "upstreams": {"upstream": {"url": url}},
        "routes": [{"path": "/*", **({} if output is None else {"output": output})}],
        **({} if listen is None else {"listen": listen}),
    }
    labels: dict[Path, str] = {
        ("upstreams", "upstream", "url"): "--upstream",
        ("routes", 0, "output"): "--output",
        ("listen",): "--listen",
    }
    return _finished(Document(Source("", (), {}, {}, labels), tree))


def route_lines(config: Config) -> list[str]:
    """Return one line a route: what it takes → where that goes, and in which languages."""
    return [_route_line(route) for route in config.routes]


def _route_line(route: Route) -> str:
    methods = "*" if route.methods is None else ",".join(sorted(route.methods))
    model = f" (model {route.model})" if route.model else ""
    return (
        f"{methods} {route.path}{model} → {route.target(route.path)}"
        f"  dialect {route.upstream.dialect}, output {route.output}"
    )


def _finished(document: Document) -> Config:
    if document.tree is None and not document.problems:
        document.tree = {}  # an empty file: everything that is needed is missing
    problems, made = list(document.problems), None
    if isinstance(document.tree, dict):
        problems += validate(document)
        made = draft(document)
        problems += unbuilt(document.tree)
        problems += [problem for check in CHECKS for problem in check(made)]
    elif not problems:
        problems = [Problem((), "expected a mapping of settings, such as `upstreams: …` and `routes: …`")]
    news = [problem for problem in problems if _is_news(problem, document)]
    if news or made is None:
        raise ConfigError(document.source.report(news))
    return made.config()


def _is_news(problem: Problem, document: Document) -> bool:
    """A value that could not be read is complained of once, by the reader."""
    return problem in document.problems or problem.path not in document.broken
