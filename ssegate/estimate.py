"""
How many tokens a request may take, before anybody has counted them.

    input    a quarter of the body's bytes, images and other base64 not counted
    output   the most the client allows itself, else 1000
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

__all__ = ["expected_input", "expected_output"]

_BYTES_A_TOKEN = 4
_UNSAID = 1000
_LONG = 4096
"""A string of base64 that is longer is a file, not text."""

_BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_=\\"
"""Both alphabets, and the backslash by which JSON may escape a slash."""

_MOST = (
    "max_completion_tokens",
    "max_output_tokens",
    "max_tokens",
    "maxOutputTokens",
    "num_predict",
    "maxTokens",
    "max_new_tokens",
    "max_tokens_to_sample",
)
_INSIDE = ("generationConfig", "generation_config", "options", "inferenceConfig", "parameters")
"""Where Gemini, Ollama, Bedrock and TGI have theirs."""


def expected_input(body: bytes) -> int:
    """Return about how many tokens *body*, JSON for the upstream, holds."""
    size = len(body)
    if size > _LONG:
        size -= sum(len(part) for part in body.split(b'"') if len(part) > _LONG and _is_base64(part))
    return -(-size // _BYTES_A_TOKEN)


def expected_output(body: Mapping[str, msgspec.Raw]) -> int:
    """Return how many tokens an answer to *body* may have."""
    if most := _said(body):
        return most
    for place in _INSIDE:
        if (names := _inside(body.get(place))) and (most := _said(names)):
            return most
    return _UNSAID


def _said(names: Mapping[str, msgspec.Raw]) -> int:
    """Return the most that *names* allow, the first that is more than nothing; else 0."""
    return next((most for name in _MOST if name in names and (most := _whole(names[name])) > 0), 0)


def _is_base64(text: bytes) -> bool:
    return not text.rpartition(b";base64,")[2].translate(None, _BASE64)


def _inside(value: msgspec.Raw | None) -> dict[str, msgspec.Raw] | None:
    try:
        return None if value is None else msgspec.json.decode(value, type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _whole(value: msgspec.Raw) -> int:
    try:
        return int(msgspec.json.decode(value, type=int | float))
    except (msgspec.DecodeError, UnicodeDecodeError, OverflowError, ValueError):
        return 0
