"""
The kinds of values a config holds: how each is checked, and what the JSON Schema says of it.

A check is a ``ValueError`` that says what was expected and never repeats the value. Every value is
judged as YAML 1.2 typed it: ``"yes"`` is no boolean, ``5.0`` is the integer 5.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    GetJsonSchemaHandler,
    PlainValidator,
    WithJsonSchema,
)

from ssegate.config import units

__all__ = [
    "OFF",
    "Also",
    "Budgets",
    "Count",
    "Duration",
    "JSONObject",
    "Name",
    "Off",
    "Positive",
    "Rates",
    "Size",
    "T",
    "either",
    "integral",
]

T = TypeVar("T")


class Also:
    """Let the JSON Schema of a field accept other forms too."""

    def __init__(self, *forms: dict[str, Any]) -> None:
        self._forms = forms

    def __get_pydantic_json_schema__(self, core_schema: Any, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        own = handler(core_schema)
        known = own["anyOf"] if set(own) == {"anyOf"} else [own]
        return {"anyOf": [*known, *(form for form in self._forms if form not in known)]}


def _off(value: object) -> object:
    return None if value is False or value == "off" else value


OFF = BeforeValidator(_off)
"""What the fields have by which ``off`` can be told to be allowed there."""

Off = Annotated[T | None, OFF, Also({"const": "off"}, {"const": False}, {"type": "null"})]
"""None where the file says ``off``, ``false`` or ``null``."""


def integral(value: object) -> object:
    """Return a float without a fraction as the integer it is; anything else as it is."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _positive(value: float) -> float:
    if value <= 0:
        raise ValueError("must be more than 0")
    return value


Count = Annotated[int, Field(ge=1), BeforeValidator(integral)]

Duration = Annotated[
    float,
    BeforeValidator(units.duration),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number", "minimum": 0, "maximum": units.MAX_DURATION},
                {"type": "string", "pattern": units.DURATION_PATTERN},
            ]
        }
    ),
]
"""Seconds."""

Positive = Annotated[Duration, AfterValidator(_positive)]
"""Seconds, more than 0: a clock that would ring at once is a mistake."""

Size = Annotated[
    int,
    BeforeValidator(units.size),
    AfterValidator(_positive),
    WithJsonSchema(
        {"anyOf": [{"type": "integer", "minimum": 1}, {"type": "string", "pattern": units.SIZE_PATTERN}]}
    ),
]
"""Bytes."""


def _one_or_more(pattern: str) -> WithJsonSchema:
    one = {"type": "string", "pattern": pattern}
    return WithJsonSchema({"anyOf": [one, {"type": "array", "items": one, "minItems": 1}]})


Rates = Annotated[tuple[units.Rate, ...], PlainValidator(units.rates), _one_or_more(units.RATE_PATTERN)]
Budgets = Annotated[tuple[units.Rate, ...], PlainValidator(units.budgets), _one_or_more(units.BUDGET_PATTERN)]


def _name(value: str) -> str:
    # `-` stands for "none" in logs and metrics.
    if not value.strip() or value == "-" or not value.isprintable():
        raise ValueError("expected a name: printable, not empty, not -")
    return value


Name = Annotated[str, AfterValidator(_name)]


def _json(value: Any) -> Any:
    """Refuse numbers that JSON does not have."""
    match value:
        case dict():
            for item in value.values():
                _json(item)
        case list():
            for item in value:
                _json(item)
        case float() if not math.isfinite(value):
            raise ValueError("JSON has no infinite number and no NaN")
        case int() if not -(2**63) <= value < 2**64:
            raise ValueError("a number of more than 64 bits")
    return value


JSONObject = Annotated[dict[str, Any], AfterValidator(_json)]


def either(check: Callable[[object], bool], message: str) -> BeforeValidator:
    """Return a check for a field of several types, so that a wrong value is complained of once."""

    def validate(value: object) -> object:
        if not check(value):
            raise ValueError(message)
        return value

    return BeforeValidator(validate)
