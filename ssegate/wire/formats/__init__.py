"""Formats: what a client reads. One line here is one name for ``output`` in the configuration."""

from __future__ import annotations

from collections.abc import Callable

from ssegate.wire.formats.anthropic import Anthropic
from ssegate.wire.formats.bedrock import SameBedrock
from ssegate.wire.formats.error_bodies import ERRORS, error_body
from ssegate.wire.formats.gemini import SameGemini, SameGeminiArray
from ssegate.wire.formats.native import Native
from ssegate.wire.formats.openai import OpenAI
from ssegate.wire.formats.same import SameOllama, SameText
from ssegate.wire.seams import Context, Format

__all__ = ["ERRORS", "FORMATS", "SAME", "SAME_IN", "error_body", "make"]

FORMATS: dict[str, Callable[[Context], Format]] = {
    "native": Native,
    "openai": OpenAI,
}
"""Formats by the name of the output."""

SAME: dict[str, Callable[[Context], Format]] = {
    "openai": OpenAI,
    "anthropic": Anthropic,
    "gemini": SameGemini,
    "bedrock": SameBedrock,
    "ollama": SameOllama,
    "text": SameText,
}
"""What ``same`` is, by the name of the upstream's dialect."""

SAME_IN: dict[tuple[str, str], Callable[[Context], Format]] = {
    ("gemini", "json-array"): SameGeminiArray,
}
"""What it is where a dialect comes in several framings; a framing that is not here gets the line above."""


def make(output: str, dialect: str, context: Context, framing: str = "") -> Format:
    """Return a new format for one stream; *dialect* and *framing*, as recognised, matter to ``same``."""
    if output != "same":
        return FORMATS[output](context)
    return SAME_IN.get((dialect, framing), SAME[dialect])(context)
