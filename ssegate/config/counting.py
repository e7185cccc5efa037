"""
What a config says of keys and limits: that they count something, and by what.

Each check takes the draft and yields problems; ``check.py`` lists them.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

from ssegate.config.draft import Draft
from ssegate.config.problems import Path, Problem
from ssegate.config.unbuilt import limits_anything

__all__ = [
    "costs_have_prices",
    "counting_has_limits",
    "cutting_has_tokens",
    "keys_differ",
    "stores_can_be_used",
]

_OFF = (None, False, "off")


def keys_differ(draft: Draft) -> Iterator[Problem]:
    """No two names stand for one key: nobody could tell who it was."""
    seen: dict[str, int] = {}
    for index, key in enumerate(draft.file.keys or []):
        secret = key.value if key.hash is None else key.hash.lower()
        if secret and seen.setdefault(secret, index) != index:
            yield Problem(("keys", index), f"keys[{seen[secret]}] is the same key")


def costs_have_prices(draft: Draft) -> Iterator[Problem]:
    """Where nothing has a price, no budget is ever used up."""
    for path, limits in _sections(draft.tree):
        if limits.get("cost") not in _OFF and not draft.tree.get("prices"):
            yield Problem((*path, "cost"), "needs `prices`: without them nothing costs anything")


def counting_has_limits(draft: Draft) -> Iterator[Problem]:
    """Who says how to count believes that somebody is counted."""
    said = draft.tree.get("limits")
    by = said.get("by", "key") if isinstance(said, dict) else "key"
    if by != "key" and not any(limits_anything(limits) for _, limits in _sections(draft.tree)):
        yield Problem(("limits", "by"), "does nothing: there is no limit (such as `requests: 60/minute`)")


def cutting_has_tokens(draft: Draft) -> Iterator[Problem]:
    """Where no tokens are limited, none are ever used up."""
    said = draft.tree.get("limits")
    cuts = isinstance(said, dict) and said.get("on_exhausted") == "cut"
    counted = {
        name for _, limits in _sections(draft.tree) for name, rate in limits.items() if rate not in _OFF
    }
    if cuts and not counted & {"tokens", "output_tokens", "cost"}:
        said_so = "does nothing: there is no limit on tokens (such as `tokens: 200000/minute`)"
        yield Problem(("limits", "on_exhausted"), said_so)


def stores_can_be_used(draft: Draft) -> Iterator[Problem]:
    """A shared store needs its library, and ``on_store_error`` a shared store."""
    is_shared = draft.file.store != "memory"
    if (
        draft.tree.get("on_store_error") in ("allow", "deny")
        and not is_shared
        and "store" not in _wrong(draft)
    ):
        yield Problem(("on_store_error",), "does nothing without a shared store: `store: redis://…`")
    if is_shared and find_spec("redis") is None:
        yield Problem(("store",), "needs the redis library: pip install 'ssegate[redis]'")


def _wrong(draft: Draft) -> frozenset[str]:
    return frozenset(draft.tree) - draft.file.model_fields_set


def _sections(tree: Any) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield every section of limits and its place."""
    places: list[tuple[Path, Any]] = [((), tree), (("defaults",), tree.get("defaults"))]
    for name in ("routes", "keys"):
        entries = tree.get(name)
        places += [((name, at), one) for at, one in enumerate(entries if isinstance(entries, list) else [])]
    for path, place in places:
        limits = place.get("limits") if isinstance(place, dict) else None
        for below, section in (((), limits), (("global",), _inside(limits))):
            if isinstance(section, dict):
                yield (*path, "limits", *below), section


def _inside(limits: Any) -> Any:
    return limits.get("global") if isinstance(limits, dict) else None
