"""The JSON Schema of a config file, as editors want it: with units, ``${…}`` and ``off``."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any

from pydantic.json_schema import GenerateJsonSchema

from ssegate.config.model import File
from ssegate.config.sections import Section

__all__ = ["schema"]

_INTERPOLATED = {"type": "string", "pattern": r"\$\{"}


class _Generator(GenerateJsonSchema):
    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a config file."""
    _describe(Section.__subclasses__())
    made = File.model_json_schema(schema_generator=_Generator)
    sections = [made, *made["$defs"].values()]
    for section in sections:
        for name, value in section.get("properties", {}).items():
            section["properties"][name] = _interpolable(value)
    made["patternProperties"] = {"^x-": {}}
    # Without these nothing can run; the model leaves them to checks that name the remedy.
    made["required"] = ["upstreams", "routes"]
    made["properties"]["routes"]["items"] |= {"required": ["path"]}
    return {"$schema": GenerateJsonSchema.schema_dialect, **made, "title": "ssegate"}


def _describe(sections: Iterable[type[Section]]) -> None:
    """
    Give the fields of *sections*, and of what extends them, the docstrings below them.

    pydantic does so by itself if asked to, but whenever it is imported, which took 7 % of a start.
    """
    for section in sections:
        described: dict[str, str] = {}
        for base in reversed(section.__mro__):
            described |= _docstrings(base) if issubclass(base, Section) else {}
        for name, field in section.model_fields.items():
            field.description = described.get(name)
        section.model_rebuild(force=True)
        _describe(section.__subclasses__())


def _docstrings(section: type) -> dict[str, str]:
    """Return what stands below each field in the source of *section*."""
    (body,) = ast.parse(inspect.getsource(section)).body
    assert isinstance(body, ast.ClassDef)
    found = {}
    for field, below in pairwise(body.body):
        match field, below:
            case ast.AnnAssign(target=ast.Name(name)), ast.Expr(ast.Constant(str(said))):
                found[name] = inspect.cleandoc(said)
    return found


def _interpolable(value: dict[str, Any]) -> dict[str, Any]:
    """Return *value* with ``${…}`` allowed for each scalar in it that would not take any text."""
    for key in ("items", "additionalProperties"):
        if isinstance(value.get(key), dict):
            value[key] = _interpolable(value[key])
    about: dict[str, Any] = {key: value.pop(key) for key in ("description", "default") if key in value}
    forms = list(_forms(value))
    if any(map(_is_narrow, forms)):
        forms.append(_INTERPOLATED)
    return {**about, **({"anyOf": forms} if len(forms) > 1 else forms[0])}


def _forms(value: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the forms that *value* lets one choose from; itself when there is no choice."""
    choice = value.get("anyOf") or value.get("oneOf")
    if not choice:
        yield value
    for form in choice or ():
        yield from _forms(_interpolable(form) if form.get("type") in ("array", "object") else form)


def _is_narrow(form: dict[str, Any]) -> bool:
    if "enum" in form or "const" in form or form.get("type") in ("integer", "number", "boolean"):
        return True
    return form.get("type") == "string" and bool(form.keys() & {"pattern", "minLength"})
