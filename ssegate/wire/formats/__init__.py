"""Formats: what a client reads. One line here is one name for ``output`` in the configuration."""

from __future__ import annotations

from collections.abc import Callable

from ssegate.wire.description import Description
from ssegate.wire.formats.anthropic import Anthropic
from ssegate.wire.formats.assistants import Assistants
from ssegate.wire.formats.bedrock import SameBedrock
from ssegate.wire.formats.cohere import Cohere, CohereLines
from ssegate.wire.formats.custom import CUSTOM
from ssegate.wire.formats.error_bodies import ERRORS, error_body
from ssegate.wire.formats.gemini import SameGemini, SameGeminiArray
from ssegate.wire.formats.native import Native
from ssegate.wire.formats.openai import OpenAI
from ssegate.wire.formats.replicate import Replicate
from ssegate.wire.formats.responses import Responses
from ssegate.wire.formats.same import SameLlamaCpp, SameOllama, SameText, SameWatsonX
from ssegate.wire.formats.text import BareText
from ssegate.wire.formats.tgi import TGI
from ssegate.wire.formats.vercel import HEADERS as VERCEL_HEADERS
from ssegate.wire.formats.vercel import Vercel
from ssegate.wire.seams import Context, Format

__all__ = [
    "CARRYING",
    "CUSTOM",
    "ERRORS",
    "FORMATS",
    "HEADERS",
    "OF_OWN_DIALECT",
    "SAME",
    "SAME_IN",
    "error_body",
    "make",
]

FORMATS: dict[str, Callable[[Context], Format]] = {
    "native": Native,
    "openai": OpenAI,
    "anthropic": Anthropic,
    "responses": Responses,
    "vercel": Vercel,
    "text": BareText,
}
"""Formats by the name of the output."""

CARRYING = frozenset({"openai", "anthropic", "responses"})
"""Outputs that write the frames of the dialect of their name back as they came."""

OF_OWN_DIALECT = frozenset({"anthropic", "responses"})
"""Outputs for upstreams of their own dialect alone: what others say does not fill these formats yet."""

HEADERS: dict[str, dict[str, str]] = {"vercel": VERCEL_HEADERS}
"""What an answer in a format has beside its content type, by the format's name."""

SAME: dict[str, Callable[[Context], Format]] = {
    "openai": OpenAI,
    "responses": Responses,
    "anthropic": Anthropic,
    "gemini": SameGemini,
    "bedrock": SameBedrock,
    "ollama": SameOllama,
    "cohere": Cohere,
    "tgi": TGI,
    "llamacpp": SameLlamaCpp,
    "replicate": Replicate,
    "watsonx": SameWatsonX,
    "text": SameText,
    "assistants": Assistants,
}
"""What ``same`` is, by the name of the upstream's dialect."""

SAME_IN: dict[tuple[str, str], Callable[[Context], Format]] = {
    ("cohere", "ndjson"): CohereLines,
    ("gemini", "json-array"): SameGeminiArray,
}
"""What ``same`` is where a dialect comes in another framing than its usual one, by both their names."""


SPEAKS_FIRST = frozenset({"openai", "responses", "anthropic", "cohere"})
"""Dialects whose ``same`` may begin before the upstream has: always SSE, where a comment has room."""


def make(output: str, dialect: str | Description, context: Context, framing: str = "") -> Format:
    """Return a new format for a stream; *dialect* and *framing*, as recognised, matter for ``same`` alone."""
    if output != "same":
        return FORMATS[output](context)
    if isinstance(dialect, Description):
        return CUSTOM[dialect.framing](context, dialect)
    return SAME_IN.get((dialect, framing), SAME[dialect])(context)
