"""
Finds the route of a request: first match wins, by path, method and, where a route asks for it, the model.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase
from urllib.parse import unquote

from ssegate.config import Route
from ssegate.wire.errors import ClientError

__all__ = ["Router"]

_SLASHES = re.compile("/{2,}")
_DOTS = frozenset({".", ".."})
_NEVER = frozenset({"TRACE", "CONNECT"})
"""Methods that no route takes: they are about the connection, not about a resource."""


class Router:
    """The routes of one configuration, in their order."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._routes = tuple(routes)

    def candidates(self, path: str) -> list[Route]:
        """
        Return the routes whose path fits, in order.

        Raises:
            ClientError: ``not_found``; ``bad_request`` for a path that an upstream might take for another
                one than a route was found for: with ``..``, or with another route once it is decoded.
        """
        plain = unquote(path)
        if not _DOTS.isdisjoint(plain.split("/")):
            raise ClientError("bad_request", "the path must not hold '.' or '..' as a segment")
        fitting = self._fitting(path)
        # Many servers decode a path and fold its slashes before they look: /v1//chat%2Fcompletions must
        # not slip past the route of /v1/chat/completions, and its limits, into a catch-all.
        plain = _SLASHES.sub("/", plain)
        if plain != path and self._fitting(plain) != fitting:
            raise ClientError("bad_request", "the path must be written plainly: no '//', nothing encoded")
        if not fitting:
            raise ClientError("not_found", "no route for this path")
        return fitting

    def _fitting(self, path: str) -> list[Route]:
        return [route for route in self._routes if _fits(route, path)]

    @staticmethod
    def allowed(candidates: list[Route], method: str) -> list[Route]:
        """
        Return those of *candidates* that take *method*, up to the first that takes every model.

        Raises:
            ClientError: ``method_not_allowed``, with ``Allow``.
        """
        allowed = [route for route in candidates if route.methods is None or method in route.methods]
        if not allowed or method in _NEVER:
            methods = ", ".join(Router.methods(candidates))
            said = f"{method} is not allowed here; allowed: {methods}"
            raise ClientError("method_not_allowed", said, {"Allow": methods})
        last = next((at for at, route in enumerate(allowed) if route.model is None), len(allowed))
        return allowed[: last + 1]

    @staticmethod
    def choose(allowed: list[Route], model: str | None) -> Route:
        """
        Return the first route that takes *model*.

        Raises:
            ClientError: ``not_found``, every route asks for a model of another name.
        """
        for route in allowed:
            if route.model is None or (model is not None and fnmatchcase(model, route.model)):
                return route
        raise ClientError("not_found", "no route for this model")

    @staticmethod
    def methods(candidates: list[Route]) -> list[str]:
        """Return the methods that any of *candidates* takes."""
        if any(route.methods is None for route in candidates):
            return ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]
        return sorted({method for route in candidates for method in route.methods or ()})


def _fits(route: Route, path: str) -> bool:
    if route.prefix is None:
        return path == route.path
    return path.startswith(route.prefix)
