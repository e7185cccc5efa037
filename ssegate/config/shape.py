"""Which section of the model stands at a path, and what its keys are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from ssegate.config.fields import OFF
from ssegate.config.model import File
from ssegate.config.problems import Path

__all__ = ["keys_at", "keys_of", "may_be_off"]


def keys_at(path: Path) -> list[str]:
    """Return the keys that the mapping at *path* may have; none where they are free, or no mapping."""
    section = _section(path)
    return list(keys_of(section)) if section else []


def keys_of(section: type[BaseModel]) -> dict[str, FieldInfo]:
    """Return the keys of *section* as a file says them."""
    return {field.alias or name: field for name, field in section.model_fields.items()}


def may_be_off(path: Path) -> bool:
    """Return whether ``off`` may stand at *path*."""
    section = _section(path[:-1])
    field = keys_of(section).get(str(path[-1])) if section else None
    return field is not None and OFF in field.metadata


def _section(path: Path) -> type[BaseModel] | None:
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
        field = keys_of(annotation).get(str(part))
        return field.annotation if field else None
    # Annotated, a union: the one member that has an inside.
    inside = [_inside(member, part) for member in get_args(annotation)]
    return next((found for found in inside if found is not None), None)


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for member in get_args(annotation) if get_origin(annotation) not in (list, dict) else ():
        yield from _models(member)
