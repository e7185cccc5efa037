"""
Hold a document against the model, and say everything that does not fit in one go.

pydantic finds the faults; here they get their place in the file, and their words from ``words.py``.
"""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from ssegate.config.load import Document
from ssegate.config.model import File
from ssegate.config.problems import Path, Problem
from ssegate.config.words import words

__all__ = ["lenient", "validate"]

M = TypeVar("M", bound=BaseModel)

_TYPES = frozenset({"string_type", "bool_type", "int_type", "float_type"})


def validate(document: Document) -> list[Problem]:
    """
    Return what is wrong with the document's tree.

    Where a scalar does not fit but its other reading does (``Document.readings``), the tree gets that.
    """
    first = _errors(document.tree)
    other = {problem.path for kind, problem in first if problem.path in document.readings}
    for path in other:
        _exchange(document, path)
    if not other:
        return [problem for _, problem in first]
    second = _errors(document.tree)
    # What fits neither way is told in the words of the first reading, unless that had not even the type.
    wrong = {problem.path for _, problem in second}
    kept = {problem.path for kind, problem in first if problem.path in other & wrong and kind not in _TYPES}
    return [problem for _, problem in first if problem.path in kept] + [
        problem for _, problem in second if problem.path not in kept
    ]


def lenient(model: type[M], tree: Any) -> M | None:
    """Return *tree* as *model* without those of its keys that do not fit; None if too little remains."""
    while isinstance(tree, dict):
        try:
            return model.model_validate(tree)
        except ValidationError as exc:
            wrong = {error["loc"][0] for error in exc.errors(include_url=False) if error["loc"]} & tree.keys()
            tree = {key: value for key, value in tree.items() if key not in wrong} if wrong else None
    return None


def _errors(tree: Any) -> list[tuple[str, Problem]]:
    """Return each fault with pydantic's name of its kind."""
    try:
        File.model_validate(tree)
    except ValidationError as exc:
        return [(error["type"], _problem(error, tree)) for error in exc.errors(include_url=False)]
    return []


def _problem(error: ErrorDetails, tree: Any) -> Problem:
    missing = error["type"] == "missing"
    of_key = error["loc"][-1:] == ("[key]",)
    path = _existing(error["loc"][:-1] if missing or of_key else error["loc"], tree)
    if missing:
        path = (*path, error["loc"][-1])
    at_key = of_key or error["type"] == "extra_forbidden"
    return Problem(path, words(error, path), at_key=at_key)


def _existing(loc: tuple[int | str, ...], tree: Any) -> Path:
    """Return *loc* without the parts that are pydantic's own: tags of unions, forms made of shorter ones."""
    path: list[str | int] = []
    for part in loc:
        inside: Any = dict(enumerate(tree)) if isinstance(tree, list) else tree
        if isinstance(inside, dict) and part in inside:
            tree = inside[part]
            path.append(part)
    return tuple(path)


def _exchange(document: Document, path: Path) -> None:
    """Put the other reading of the scalar at *path* into the tree."""
    parent: Any = document.tree
    for part in path[:-1]:
        parent = parent[part]
    parent[path[-1]] = document.readings[path]
