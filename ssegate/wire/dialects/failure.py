"""Errors in the shapes vendors give them: in a stream, in place of one, or with an HTTP status."""

from __future__ import annotations

from typing import Any

from ssegate.wire.dialects.payload import compact, loads
from ssegate.wire.dialects.surrogates import whole
from ssegate.wire.errors import WireError
from ssegate.wire.events import Failure

__all__ = ["failure_in", "read_failure"]

MAX_MESSAGE = 2048
"""Bytes of an upstream's message that are passed on."""


FALLBACK = "the upstream reported an error"


def failure_in(data: bytes, fallback: str = FALLBACK) -> Failure:
    """Return the failure that *data* reports, as JSON or as text."""
    try:
        document = loads(data)
    except WireError:
        document = data.decode(errors="replace").strip()
    return read_failure(document, fallback)


def read_failure(document: Any, fallback: str = FALLBACK) -> Failure:
    """
    Return the failure that *document*, decoded JSON, reports.

    Shapes: ``{"error": {message, type, code, param}}`` (OpenAI), the same flat with ``"object": "error"``
    (old vLLM, Mistral), ``{"type": "error", "error": {type, message}}`` (Anthropic), ``{"error": {code,
    message, status}}``, also in a list (Gemini), ``{"error": "…"}`` (Ollama, TGI), ``{"errors": […]}``
    (watsonx), ``{"message": …}`` (Bedrock, Cohere, gateways), ``{"detail": …}`` (FastAPI, Replicate).

    Args:
        fallback: The message where the document has none.
    """
    if isinstance(document, list) and document:
        document = document[0]
    if not isinstance(document, dict):
        said = _cut(document) if isinstance(document, str) else ""
        return Failure("upstream_error", said or fallback)
    error = document.get("error") or document.get("errors")
    if isinstance(error, list) and error:
        error = error[0]
    if not isinstance(error, dict):
        error = {**document, "message": error} if error else document
    # A gateway says more beside the error object than in it: Anthropic's own type is just "error" there.
    beside = {} if error is document else document
    return Failure(
        "upstream_error",
        _message(error) or _message(beside) or fallback,
        upstream_status=_status(error) or _status(beside),
        upstream_type=_first_str(error, "type", "error_type", "status"),
        upstream_code=_code(error),
        upstream_param=_first_str(error, "param"),
    )


def _message(error: dict[str, Any]) -> str:
    for key in ("message", "Message", "detail", "error_message", "title"):
        if value := error.get(key):
            return _cut(_validation(value) or compact(value))
    return ""


def _validation(value: Any) -> str:
    """Return the first message of a list of validation errors (FastAPI), or nothing."""
    first = value[0] if isinstance(value, list) and value else None
    message = first.get("msg") if isinstance(first, dict) else None
    if not isinstance(first, dict) or not isinstance(message, str):
        return ""
    where = first.get("loc")
    return f"{'.'.join(map(str, where))}: {message}" if isinstance(where, list) else message


def _status(error: dict[str, Any]) -> int | None:
    for key in ("status_code", "statusCode", "status", "code"):
        value = error.get(key)
        if isinstance(value, int) and 100 <= value <= 599:
            return value
    return None


def _code(error: dict[str, Any]) -> str | int | None:
    code = error.get("code")
    if isinstance(code, str):
        return _cut(code)
    return code if isinstance(code, int) and not isinstance(code, bool) else None


def _first_str(error: dict[str, Any], *keys: str) -> str | None:
    for key in keys:
        value = error.get(key)
        if isinstance(value, str) and value:
            return _cut(value)
    return None


def _cut(text: str) -> str:
    return whole(text).encode()[:MAX_MESSAGE].decode(errors="ignore")
