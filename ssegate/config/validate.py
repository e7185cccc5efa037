"""
Hold a document against the model, and say everything that does not fit in one go.

pydantic finds the faults; here they get their place in the file, words of our own that never repeat a
value, and a suggestion.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from ssegate.config.load import Document
from ssegate.config.model import File, Route
from ssegate.config.problems import Path, Problem, did_you_mean

__all__ = ["lenient", "validate"]

M = TypeVar("M", bound=BaseModel)

_QUOTED = re.compile(r"'([^']*)'")

_MESSAGES = {
    "missing": "is needed",
    "string_type": "expected text (put it in quotes)",
    "string_too_short": "must not be empty",
    "too_short": "must not be empty",
    "int_type": "expected a whole number",
    "float_type": "expected a number",
    "finite_number": "expected a finite number",
    "bool_type": "expected true or false",
    "list_type": "expected a list",
    "dict_type": "expected a mapping",
    "model_type": "expected a mapping",
    "model_attributes_type": "expected a mapping",
}

_PATTERNS = {
    "store": "expected memory or redis://host:6379/0",
    "by": "expected key, ip or header:NAME",
    "hash": "expected sha256: and 64 hexadecimal digits, as `ssegate key new` prints them",
}


def validate(document: Document) -> list[Problem]:
    """
    Return what is wrong with the document's tree.

    Where a scalar does not fit but its other reading does (``Document.readings``), the tree gets that.
    """
    first = _errors(document.tree)
    other = {path for path, _ in first if path in document.readings}
    for path in other:
        _exchange(document, path)
    if not other:
        return [problem for _, problem in first]
    second = _errors(document.tree)
    # What fits neither way is told in the words of the first reading.
    wrong = {path for path, _ in second}
    told = [problem for path, problem in first if path in wrong and path in other]
    return told + [problem for path, problem in second if path not in other]


def lenient(model: type[M], tree: Any) -> M | None:
    """Return *tree* as *model* without those of its keys that do not fit; None if too little remains."""
    while isinstance(tree, dict):
        try:
            return model.model_validate(tree)
        except ValidationError as exc:
            wrong = {error["loc"][0] for error in exc.errors(include_url=False) if error["loc"]} & tree.keys()
            tree = {key: value for key, value in tree.items() if key not in wrong} if wrong else None
    return None


def _errors(tree: Any) -> list[tuple[Path, Problem]]:
    try:
        File.model_validate(tree)
    except ValidationError as exc:
        return [_problem(error, tree) for error in exc.errors(include_url=False)]
    return []


def _problem(error: ErrorDetails, tree: Any) -> tuple[Path, Problem]:
    missing = error["type"] == "missing"
    of_key = error["loc"][-1:] == ("[key]",)
    path = _existing(error["loc"][:-1] if missing or of_key else error["loc"], tree)
    if missing:
        path = (*path, error["loc"][-1])
    at_key = of_key or error["type"] == "extra_forbidden"
    return path, Problem(path, _message(error, path), at_key=at_key)


def _existing(loc: tuple[int | str, ...], tree: Any) -> Path:
    """Return *loc* without the parts that are pydantic's own: tags of unions, forms made of shorter ones."""
    path: list[str | int] = []
    for part in loc:
        inside: Any = dict(enumerate(tree)) if isinstance(tree, list) else tree
        if isinstance(inside, dict) and part in inside:
            tree = inside[part]
            path.append(part)
    return tuple(path)


def _message(error: ErrorDetails, path: Path) -> str:
    kind, context = error["type"], error.get("ctx", {})
    match kind:
        case "extra_forbidden":
            return _unknown_key(path)
        case "literal_error":
            names = _QUOTED.findall(context["expected"])
            return f"expected {_listed(names)}{did_you_mean(error['input'], names)}"
        case "value_error":
            return str(context["error"])
        case "greater_than_equal":
            return f"must be at least {context['ge']}"
        case "string_pattern_mismatch":
            return _PATTERNS[str(path[-1])]
    # Types not in the table have messages of pydantic's, which name what is expected, not what was seen.
    return _MESSAGES.get(kind, error["msg"])


def _unknown_key(path: Path) -> str:
    section = _section(path[:-1])
    names = [field.alias or name for name, field in section.model_fields.items()] if section else []
    near = did_you_mean(path[-1], names)
    if not near and path[-1] in Route.model_fields:
        near = " (it belongs in a route, or in defaults)"
    return "unknown key" + (near or f" (known: {', '.join(names)})")


def _section(path: Iterable[str | int]) -> type[BaseModel] | None:
    """Return the model of the mapping at *path*."""
    annotation: Any = File
    for part in path:
        annotation = _inside(annotation, part)
    return next(_models(annotation), None)


def _inside(annotation: Any, part: str | int) -> Any:
    """Return the annotation of what stands at *part* of a value of *annotation*."""
    origin = get_origin(annotation)
    if origin in (list, dict):
        return get_args(annotation)[-1]
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        named = {field.alias or name: field for name, field in annotation.model_fields.items()}
        return named[str(part)].annotation if str(part) in named else None
    # Annotated, a union: the one member that has an inside.
    inside = [_inside(member, part) for member in get_args(annotation)]
    return next((found for found in inside if found is not None), None)


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for member in get_args(annotation) if get_origin(annotation) not in (list, dict) else ():
        yield from _models(member)


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"


def _exchange(document: Document, path: Path) -> None:
    """Put the other reading of the scalar at *path* into the tree."""
    parent: Any = document.tree
    for part in path[:-1]:
        parent = parent[part]
    parent[path[-1]] = document.readings[path]
