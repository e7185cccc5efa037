"""
What a config may already say but this version cannot do yet.

The shape of it all is checked like everything else, so that a file written for later stays right; using
it is an error, because something that is silently ignored would be worse. Leaving something at its default
is no use of it.

A feature that gets built loses its line here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, get_args

from ssegate.config.model import BUILT_DIALECTS, BUILT_OUTPUTS, DialectName, Output
from ssegate.config.problems import Path, Problem
from ssegate.config.sections import RATES

__all__ = ["limits_anything", "unbuilt"]

_OFF = (None, False, "off")


def limits_anything(limits: Any) -> bool:
    """Return whether a ``limits`` section of the file holds any limit."""
    if not isinstance(limits, dict):
        return False
    own = any(limits.get(name) not in _OFF for name in (*RATES, "streams"))
    return own or limits_anything(limits.get("global"))


def _not_among(known: Any, built: tuple[str, ...]) -> Callable[[Any], bool]:
    names = frozenset(get_args(known)) - frozenset(built)
    return lambda value: isinstance(value, str) and value in names


_dialect_name = _not_among(DialectName, BUILT_DIALECTS)

# `*` stands for every key or index.
_UNBUILT: tuple[tuple[Path, Callable[[Any], bool], str], ...] = (
    (("upstreams", "*", "dialect"), _dialect_name, "this dialect is"),
)
_UNBUILT_IN_ROUTES: tuple[tuple[Path, Callable[[Any], bool], str], ...] = (
    (("output",), _not_among(Output, BUILT_OUTPUTS), "this output is"),
    (("resume",), lambda value: value not in _OFF, "resume is"),
    (("upstream",), lambda value: isinstance(value, list), "failover over a list of upstreams is"),
)


def unbuilt(tree: Any) -> Iterator[Problem]:
    """Yield a problem for each feature that *tree* uses and this version does not have."""
    places: tuple[Path, ...] = (("routes", "*"), ("defaults",))
    in_routes = ((place + path, used, what) for place in places for path, used, what in _UNBUILT_IN_ROUTES)
    for pattern, used, what in (*_UNBUILT, *in_routes):
        for path, value in _matches(pattern, tree):
            if used(value):
                yield Problem(path, f"{what} not built yet in this version")


def _matches(pattern: Path, tree: Any, at: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Yield the place and the value of everything in *tree* that stands at *pattern*."""
    if not pattern:
        yield at, tree
        return
    head, rest = pattern[0], pattern[1:]
    inside: dict[Any, Any] = dict(enumerate(tree)) if isinstance(tree, list) else {}
    inside = tree if isinstance(tree, dict) else inside
    for key in inside if head == "*" else (head,) if head in inside else ():
        yield from _matches(rest, inside[key], (*at, key))
