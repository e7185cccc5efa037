"""
Which dialect a stream speaks, told by the keys of its first frames and never by the host it comes from.

A frame is claimed only for what no other vendor sends: a stream that is taken for the wrong dialect would
come out empty.
"""

from __future__ import annotations

from typing import Any

from ssegate.wire.dialects.payload import loads
from ssegate.wire.errors import WireError
from ssegate.wire.events import Frame

__all__ = ["detect"]

CHUNKS = ("chat.completion.chunk", "chat.completion", "text_completion")
MESSAGES = {
    "message_start",
    "content_block_start",
    "content_block_delta",
    "content_block_stop",
    "message_delta",
    "message_stop",
    "completion",
}
"""Types of Anthropic's events; ``ping`` and ``error`` are not theirs alone."""


def detect(frame: Frame) -> str | None:
    """Return the name of the dialect *frame* is in, or None if this frame alone does not tell."""
    is_error = frame.event == "error"
    try:
        document = loads(frame.data)
    except WireError:
        return "openai" if is_error and frame.data.strip() else None  # it reads any error there is
    if not isinstance(document, dict):
        return None
    return _by_keys(document) or _by_error(document, is_error)


def _by_keys(document: dict[str, Any]) -> str | None:
    if isinstance(document.get("choices"), list) or document.get("object") in CHUNKS:
        return "openai"
    kind = document.get("type")
    if (isinstance(kind, str) and kind in MESSAGES) or (
        kind == "message" and isinstance(document.get("content"), list)
    ):
        return "anthropic"
    answers = isinstance(document.get("message"), dict) or isinstance(document.get("response"), str)
    if isinstance(document.get("done"), bool) and answers:
        return "ollama"
    return None


def _by_error(document: dict[str, Any], is_error: bool) -> str | None:
    error = document.get("error")
    if document.get("type") == "error":
        # OpenAI's Responses number their events; Anthropic does not.
        return "anthropic" if isinstance(error, dict) and "sequence_number" not in document else None
    if isinstance(error, dict) and not _is_google(error):
        return "openai"
    if isinstance(error, str) and not is_error and "error_type" not in document:
        return "ollama"
    if document.get("object") == "error" and "message" in document:
        return "openai"
    return "openai" if is_error and not {"error", "message", "detail"}.isdisjoint(document) else None


def _is_google(error: dict[str, Any]) -> bool:
    """Google's errors have an enum for a status: ``{"code": 404, "message": …, "status": "NOT_FOUND"}``."""
    status = error.get("status")
    return isinstance(status, str) and status.isupper()
