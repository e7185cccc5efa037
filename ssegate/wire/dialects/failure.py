"""Errors in the shapes vendors give them: in a stream, in place of one, or with an HTTP status."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from ssegate.wire.errors import WireError
from ssegate.wire.events import Failure
from ssegate.wire.payload import compact, loads
from ssegate.wire.surrogates import whole

__all__ = ["failure_in", "failure_of", "read_failure"]

MAX_MESSAGE = 2048
"""Bytes of an upstream's message that are passed on."""

SECONDS = re.compile(r"\d{1,9}(?:\.\d{1,9})?s", re.ASCII)
"""A duration as protobuf writes it in JSON."""

LONGEST_READ = 64 * 1024
"""
Bytes of an error that are read, its strings cut to what is passed on: as Python's objects it takes fifty
times as much. A longer one is quoted.
"""

LONG_STRING = re.compile(
    rb'((?:[^"]++|"(?:[^"\\]|\\.){0,%d}+")*+)'  # all that is no long string
    rb'(?:("(?:[^"\\]|\\.){%d})(?:[^"\\]++|\\.)*+("?))?' % (MAX_MESSAGE, MAX_MESSAGE),
    re.DOTALL,
)
"""Fits anywhere, a string without an end too: what fits nowhere would be tried again from each quote."""

FALLBACK = "the upstream reported an error"

ERRORS = ("error", "errors", "last_error")
FAILED = ("response", "interaction", "delta")
"""Objects that hold an error when they have failed."""


def failure_in(data: bytes, fallback: str = FALLBACK) -> Failure:
    """Return the failure that *data* reports, as JSON or as text."""
    if len(data) > LONGEST_READ:
        data = LONG_STRING.sub(rb"\1\2\3", data)  # most likely it repeats a long prompt
    try:
        if len(data) > LONGEST_READ:
            raise WireError("the upstream sent an error that is no message")
        document = loads(data)
    except WireError:
        document = data[:LONGEST_READ].decode(errors="replace").strip()
    return read_failure(document, fallback)


def failure_of(error: msgspec.Raw, fallback: str = FALLBACK) -> Failure:
    """Return the failure that the member *error* of a document reports."""
    return failure_in(b'{"error":%b}' % (bytes(error) or b"null"), fallback)


def read_failure(document: Any, fallback: str = FALLBACK) -> Failure:
    """
    Return the failure that *document*, decoded JSON, reports.

    Shapes: ``{"error": {message, type, code, param}}`` (OpenAI), the same flat with ``"object": "error"``
    (old vLLM, Mistral) or ``"type": "error"`` (Responses), ``{"type": "error", "error": {type, message}}``
    (Anthropic), ``{"error": {code, message, status, details}}``, also in a list (Gemini), ``{"error": "…"}``
    (Ollama, TGI), ``{"errors": […]}`` (watsonx), ``{"last_error": {…}}`` (Assistants), ``{"message": …}``
    (Bedrock, Cohere, gateways), ``{"detail": …}`` (FastAPI, Replicate); and any of them inside the object
    that has failed (``response``, ``interaction``, Cohere's ``delta``).

    Args:
        fallback: The message where the document has none.
    """
    if isinstance(document, list) and document:
        document = document[0]
    if not isinstance(document, dict):
        said = _cut(document) if isinstance(document, str) else ""
        return Failure("upstream_error", said or fallback)
    error = _error_in(document)
    # A gateway says more beside the error object than in it: Anthropic's own type is just "error" there.
    beside = {} if error is document else document
    return Failure(
        "upstream_error",
        _message(error) or _message(beside) or fallback,
        upstream_status=_status(error) or _status(beside),
        upstream_type=_type(error),
        upstream_code=_code(error),
        upstream_param=_first_str(error, "param"),
        retry_after=_retry_after(error),
    )


def _error_in(document: dict[str, Any]) -> dict[str, Any]:
    """Return what stands under the name of an error, here or in the object that has failed, as an object."""
    inner = (document.get(name) for name in FAILED)
    for holder in (document, *(value for value in inner if isinstance(value, dict))):
        error = next((holder[name] for name in ERRORS if holder.get(name)), None)
        if isinstance(error, list):
            error = error[0]
        if error:
            return error if isinstance(error, dict) else {**holder, "message": error}
    return document


def _message(error: dict[str, Any]) -> str:
    for key in ("message", "Message", "detail", "error_message", "title"):
        if value := error.get(key):
            if isinstance(value, dict) and isinstance(value.get("detail"), list):
                value = value["detail"]  # Mistral
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
    for key in ("status_code", "statusCode", "originalStatusCode", "status", "code"):
        value = error.get(key)
        if isinstance(value, str) and len(value) == 3 and value.isdecimal():
            value = int(value)  # Azure: "code": "429"
        if isinstance(value, int) and 100 <= value <= 599:
            return value
    return None


def _type(error: dict[str, Any]) -> str | None:
    """Return the error's type; that of a flat error's event is none."""
    keys = ("type", "error_type", "__type", "status")
    return _first_str(error, *keys[error.get("type") == "error" :])


def _code(error: dict[str, Any]) -> str | int | None:
    code = error.get("code", error.get("error_code"))
    if isinstance(code, str):
        return _cut(code)
    return code if isinstance(code, int) and not isinstance(code, bool) else None


def _retry_after(error: dict[str, Any]) -> str | None:
    """Return the seconds to wait, which Google says in the body (``"retryDelay": "12.5s"``)."""
    details = error.get("details")
    for detail in details if isinstance(details, list) else ():
        delay = detail.get("retryDelay") if isinstance(detail, dict) else None
        if isinstance(delay, str) and SECONDS.fullmatch(delay):
            return delay.removesuffix("s")
    return None


def _first_str(error: dict[str, Any], *keys: str) -> str | None:
    for key in keys:
        value = error.get(key)
        if isinstance(value, str) and value:
            return _cut(value)
    return None


def _cut(text: str) -> str:
    return whole(text).encode()[:MAX_MESSAGE].decode(errors="ignore")
