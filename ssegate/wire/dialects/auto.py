"""
Which dialect a stream speaks, told by the keys of its first frames and never by the host it comes from.

A frame is claimed only for what no other vendor sends: a stream that is taken for the wrong dialect would
come out empty.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import msgspec

from ssegate.wire.errors import WireError
from ssegate.wire.events import Frame
from ssegate.wire.payload import UNREADABLE, loads

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

BEDROCK_EVENTS = {
    "chunk": "bytes",
    "messageStart": "role",
    "contentBlockStart": "contentBlockIndex",
    "contentBlockDelta": "contentBlockIndex",
    "contentBlockStop": "contentBlockIndex",
    "messageStop": "stopReason",
    "metadata": "usage",
}
"""The names of Bedrock's events, and what each of them holds."""

COHERE = {
    *("message-start", "message-end", "content-start", "content-delta", "content-end", "tool-plan-delta"),
    *("tool-call-start", "tool-call-delta", "tool-call-end", "citation-start", "citation-end"),
}
"""Types of Cohere's v2 events."""

COHERE_V1 = {
    *("stream-start", "stream-end", "text-generation", "citation-generation"),
    *("search-queries-generation", "search-results", "tool-calls-chunk", "tool-calls-generation"),
}

REPLICATE = ("output", "logs", "error", "done")
REPLICATE_ID = re.compile(r"\d+:\d+", re.ASCII)

_decode = msgspec.json.Decoder().decode


def detect(frame: Frame) -> str | None:
    """Return the name of the dialect *frame* is in, or None if this frame alone does not tell."""
    if _is_replicate(frame):
        return "replicate"
    is_error = frame.event == "error"
    try:
        document = _read(frame.data)
    except WireError:
        return "openai" if is_error and frame.data.strip() else None  # it reads any error there is
    if not isinstance(document, dict):
        return None
    for name, speaks in (*ANSWERS, *ERRORS):
        if speaks(document, frame):
            return name
    return None


def _read(data: bytes) -> Any:
    """Return the JSON value in *data*, fast where it is in order."""
    try:
        return _decode(data)
    except UNREADABLE:
        return loads(data)


def _is_replicate(frame: Frame) -> bool:
    """Its payloads are bare text, its IDs ``<Unix seconds>:<number>``."""
    return frame.event in REPLICATE and REPLICATE_ID.fullmatch(frame.id) is not None


def _is_openai(document: dict[str, Any], frame: Frame) -> bool:
    return isinstance(document.get("choices"), list) or document.get("object") in CHUNKS


def _is_responses(document: dict[str, Any], frame: Frame) -> bool:
    kind = document.get("type")
    return document.get("object") == "response" or (isinstance(kind, str) and kind.startswith("response."))


def _is_assistants(document: dict[str, Any], frame: Frame) -> bool:
    kind = document.get("object")
    return isinstance(kind, str) and kind.startswith("thread.")


def _is_anthropic(document: dict[str, Any], frame: Frame) -> bool:
    kind = document.get("type")
    if kind == "message":
        return isinstance(document.get("content"), list)
    return isinstance(kind, str) and kind in MESSAGES


def _is_gemini(document: dict[str, Any], frame: Frame) -> bool:
    if isinstance(document.get("candidates"), list) or isinstance(document.get("promptFeedback"), dict):
        return True
    kind = document.get("event_type")
    if isinstance(kind, str) and kind.startswith(("interaction.", "step.")):
        return True
    # A last chunk may hold nothing but counts.
    is_chunk = isinstance(document.get("usageMetadata"), dict) and "modelVersion" in document
    return is_chunk or (document.get("object") == "interaction" and isinstance(document.get("steps"), list))


def _is_bedrock(document: dict[str, Any], frame: Frame) -> bool:
    if not frame.event:
        output = document.get("output")  # a complete answer of Converse
        return isinstance(output, dict) and isinstance(output.get("message"), dict)
    key = BEDROCK_EVENTS.get(frame.event)
    return key is not None and key in document


def _is_ollama(document: dict[str, Any], frame: Frame) -> bool:
    answers = isinstance(document.get("message"), dict) or isinstance(document.get("response"), str)
    return answers and isinstance(document.get("done"), bool)


def _is_cohere(document: dict[str, Any], frame: Frame) -> bool:
    for name, kinds in (("type", COHERE), ("event_type", COHERE_V1)):
        if isinstance(kind := document.get(name), str):
            return kind in kinds
    is_v2 = isinstance(document.get("message"), dict) and isinstance(document.get("finish_reason"), str)
    return is_v2 or (isinstance(document.get("generation_id"), str) and isinstance(document.get("text"), str))


def _is_tgi(document: dict[str, Any], frame: Frame) -> bool:
    token = document.get("token")
    is_token = isinstance(token, dict) and isinstance(token.get("text"), str)
    return is_token or isinstance(document.get("generated_text"), str)


def _is_llamacpp(document: dict[str, Any], frame: Frame) -> bool:
    return isinstance(document.get("content"), str) and isinstance(document.get("stop"), bool)


def _is_watsonx(document: dict[str, Any], frame: Frame) -> bool:
    results = document.get("results")
    first = results[0] if isinstance(results, list) and results else None
    return isinstance(first, dict) and isinstance(first.get("generated_text"), str)


def _is_anthropic_error(document: dict[str, Any], frame: Frame) -> bool:
    # OpenAI's Responses number their events; Anthropic does not.
    is_object = isinstance(document.get("error"), dict)
    return document.get("type") == "error" and is_object and "sequence_number" not in document


def _is_gemini_error(document: dict[str, Any], frame: Frame) -> bool:
    error = document.get("error")
    return isinstance(error, dict) and (_is_google(error) or document.get("event_type") == "error")


def _is_bedrock_error(document: dict[str, Any], frame: Frame) -> bool:
    return frame.event.startswith(("exception:", "error:"))  # only an AWS event stream has these


def _is_responses_error(document: dict[str, Any], frame: Frame) -> bool:
    return document.get("type") == "error" and ("sequence_number" in document or "message" in document)


def _is_openai_error(document: dict[str, Any], frame: Frame) -> bool:
    if document.get("type") == "error":
        return False
    error = document.get("error")
    if isinstance(error, dict) and not _is_google(error):
        return True
    if document.get("object") == "error" and "message" in document:
        return True
    # It reads any error there is.
    return frame.event == "error" and not {"error", "message", "detail"}.isdisjoint(document)


def _is_ollama_error(document: dict[str, Any], frame: Frame) -> bool:
    return (
        isinstance(document.get("error"), str)
        and "error_type" not in document
        and document.get("type") != "error"
    )


def _is_tgi_error(document: dict[str, Any], frame: Frame) -> bool:
    return isinstance(document.get("error"), str) and isinstance(document.get("error_type"), str)


def _is_watsonx_error(document: dict[str, Any], frame: Frame) -> bool:
    return isinstance(document.get("errors"), list) and "trace" in document


def _is_google(error: dict[str, Any]) -> bool:
    """Google's errors have an enum for a status: ``{"code": 404, "message": …, "status": "NOT_FOUND"}``."""
    status = error.get("status")
    return isinstance(status, str) and status.isupper()


Speaks = Callable[[dict[str, Any], Frame], bool]
"""Called with a payload, decoded, and its frame."""

ANSWERS: tuple[tuple[str, Speaks], ...] = (
    ("openai", _is_openai),
    ("responses", _is_responses),
    ("anthropic", _is_anthropic),
    ("gemini", _is_gemini),
    ("bedrock", _is_bedrock),
    ("ollama", _is_ollama),
    ("cohere", _is_cohere),
    ("tgi", _is_tgi),
    ("llamacpp", _is_llamacpp),
    ("watsonx", _is_watsonx),
    ("assistants", _is_assistants),
)
"""A new dialect is one line here. The first that claims a frame gets it."""

ERRORS: tuple[tuple[str, Speaks], ...] = (
    ("bedrock", _is_bedrock_error),
    ("anthropic", _is_anthropic_error),
    ("gemini", _is_gemini_error),
    ("responses", _is_responses_error),
    ("openai", _is_openai_error),
    ("ollama", _is_ollama_error),
    ("tgi", _is_tgi_error),
    ("watsonx", _is_watsonx_error),
)
"""Errors, which are told apart by less; a dialect whose errors are not its own alone needs no line."""
