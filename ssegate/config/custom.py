"""
The section that describes a dialect of the operator's own, by paths into each JSON payload.

A path is names joined by dots; a number stands for an element of a list: ``choices.0.text``.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from ssegate.config.fields import Also
from ssegate.config.sections import Section, Text
from ssegate.wire.description import Description, Path

__all__ = ["CustomDialect", "Framing", "described"]

Framing = Literal["sse", "ndjson", "json-array", "eventstream", "text"]


def _path(path: str) -> str:
    """Refuse what can lead nowhere, and say how it is to be written."""
    if "${" in path:
        return path  # it could not be replaced; that is told elsewhere
    if path.startswith("$"):
        raise ValueError("leave out the $ in front: a path begins with its first name, such as output.token")
    if path.startswith("/"):
        raise ValueError("names are joined by dots, not by /, such as output.token")
    if "[" in path or "]" in path:
        raise ValueError("an element of a list is a number between dots, such as choices.0.text")
    if not all(part and part == part.strip() for part in path.split(".")):
        raise ValueError("expected names joined by single dots, without blanks, such as output.token")
    return path


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _not_blank(value: str) -> str:
    if not value.strip():
        raise ValueError('expected a payload, such as "[DONE]"')
    return value


Paths = Annotated[
    list[Annotated[Text, AfterValidator(_path)]],
    Field(min_length=1),
    BeforeValidator(_listed),
    Also({"type": "string"}),
]


class CustomUsage(Section):
    input: Paths | None = None
    """Path of the number of input tokens."""
    output: Paths | None = None
    """Path of the number of output tokens."""


class CustomDialect(Section):
    framing: Framing
    """How the body is cut into payloads; text: not at all, the body is the answer."""
    text: Paths | None = None
    """Path of the text in each payload; of several, the first that is a string."""
    reasoning: Paths | None = None
    """Path of the thinking text."""
    finish_reason: Paths | None = None
    """Path of the reason why the answer has ended."""
    usage: CustomUsage | None = None
    """Paths of the token counts."""
    error: Paths | None = None
    """Path of an error's message."""
    done: Annotated[Text, AfterValidator(_not_blank)] | None = None
    """The payload that ends the stream; without one its finish reason does, without that its end."""


def described(said: CustomDialect) -> str | Description:
    """Return what *said* is to the wire: a name if there are no payloads to look into."""
    if said.framing == "text":
        return "text"
    usage = said.usage or CustomUsage()
    return Description(
        framing=said.framing,
        text=_parts(said.text),
        reasoning=_parts(said.reasoning),
        finish_reason=_parts(said.finish_reason),
        input_tokens=_parts(usage.input),
        output_tokens=_parts(usage.output),
        error=_parts(said.error),
        done=None if said.done is None else said.done.strip().encode(),
    )


def _parts(paths: list[str] | None) -> tuple[Path, ...]:
    return tuple(tuple(path.split(".")) for path in paths or ())
