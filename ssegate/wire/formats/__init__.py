"""Formats: what a client reads. One line here is one name for ``output`` in the configuration."""

from __future__ import annotations

from collections.abc import Callable

from ssegate.wire.formats.anthropic import Anthropic
from ssegate.wire.formats.assistants import Assistants
from ssegate.wire.formats.error_bodies import ERRORS, error_body
from ssegate.wire.formats.native import Native
from ssegate.wire.formats.openai import OpenAI
from ssegate.wire.formats.responses import Responses
from ssegate.wire.formats.same import SameOllama, SameText
from ssegate.wire.seams import Context, Format

__all__ = ["ERRORS", "FORMATS", "SAME", "error_body", "make"]

FORMATS: dict[str, Callable[[Context], Format]] = {
    "native": Native,
    "openai": OpenAI,
}
"""Formats by the name of the output."""

SAME: dict[str, Callable[[Context], Format]] = {
    "openai": OpenAI,
    "responses": Responses,
    "anthropic": Anthropic,
    "ollama": SameOllama,
    "text": SameText,
    "assistants": Assistants,
}
"""What ``same`` is, by the name of the upstream's dialect."""


def make(output: str, dialect: str, context: Context) -> Format:
    """Return a new format for one stream; *dialect*, as recognised, matters for ``same`` alone."""
    return SAME[dialect](context) if output == "same" else FORMATS[output](context)
