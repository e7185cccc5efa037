"""
A config of which parts may be wrong: everything that can be understood of it, for the cross checks.

A value that does not fit is complained of once, by the model, and counts as its default here. So a wrong
timeout in a route does not hide that the route's upstream has a wrong name.
"""

from __future__ import annotations

import pathlib
from dataclasses import dataclass
from typing import Any

from ssegate.config import build, model, settings
from ssegate.config.load import Document
from ssegate.config.problems import Path
from ssegate.config.validate import lenient

__all__ = ["Draft", "RouteDraft", "draft"]


@dataclass(frozen=True, slots=True)
class RouteDraft:
    """One route over the defaults."""

    index: int
    said: model.Route
    wrong: frozenset[str]
    """Keys whose values do not fit: what depends on them is not judged."""

    made: settings.Route | None
    """None while its path or its upstream is not known."""


@dataclass(frozen=True, slots=True)
class Draft:
    """The whole file, as far as it goes."""

    tree: dict[str, Any]
    folder: pathlib.Path
    """Where relative file names begin."""

    file: model.File
    """The top level, without upstreams and routes."""

    names: tuple[str, ...]
    """Of all upstreams, wrong ones too."""

    upstreams: dict[str, settings.Upstream]
    routes: tuple[RouteDraft, ...]

    def place(self, index: int, *keys: str) -> Path:
        """Return where the route's value stands: in the route, or in the defaults it has it from."""
        own, defaults = self.tree["routes"][index], self.tree.get("defaults")
        if keys[0] not in own and isinstance(defaults, dict) and keys[0] in defaults:
            return ("defaults", *keys)
        return ("routes", index, *keys)

    def config(self) -> settings.Config:
        """Return the settings; only for a document without problems."""
        routes = tuple(route.made for route in self.routes if route.made)
        assert len(routes) == len(self.tree["routes"])
        return build.config(self.file, self.upstreams, routes, self.folder)


def draft(document: Document) -> Draft:
    """Return what can be understood of *document*, whose tree is a mapping."""
    tree = document.tree
    folder = pathlib.Path(document.source.filename).parent
    top = {key: value for key, value in tree.items() if key not in ("upstreams", "routes", "defaults")}
    file = lenient(model.File, top)
    assert file is not None  # nothing at the top level is required
    said = tree.get("upstreams")
    said = said if isinstance(said, dict) else {}
    found = {name: lenient(model.Upstream, value) for name, value in said.items()}
    upstreams = {name: build.upstream(name, one, folder) for name, one in found.items() if one}
    routes = tree.get("routes")
    drafts = [
        _route(index, build.merged(tree.get("defaults"), route), tuple(said), upstreams)
        for index, route in enumerate(routes if isinstance(routes, list) else [])
    ]
    return Draft(tree, folder, file, tuple(said), upstreams, tuple(one for one in drafts if one))


def _route(
    index: int, tree: Any, names: tuple[str, ...], upstreams: dict[str, settings.Upstream]
) -> RouteDraft | None:
    said = lenient(model.Route, tree)
    if said is None:
        return None
    name = said.upstream or (names[0] if len(names) == 1 else None)
    to = upstreams.get(name) if isinstance(name, str) else None
    wrong = frozenset(tree) - said.model_fields_set
    return RouteDraft(index, said, wrong, build.route(said, to) if to and said.path else None)
