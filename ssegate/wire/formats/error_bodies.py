"""
Errors in each vendor's shape: whole bodies before the stream, the same objects inside it.

``code`` is ours, a key of ``errors.CODES``. What the upstream said of its own error stays where a client of
that shape looks for it; native, which has one shape for all upstreams, keeps both side by side.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ssegate.wire.errors import CODES, http_status
from ssegate.wire.events import Failure
from ssegate.wire.formats.encoding import encoded

__all__ = ["ERRORS", "bedrock_exception", "error_body", "stream_error"]

_OPENAI_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    429: "rate_limit_error",
    499: "cancelled",
    500: "server_error",
    502: "upstream_error",
    503: "overloaded_error",
    504: "upstream_error",
}
"""By status; any other 4xx is an ``invalid_request_error``. The words for 429, 499 and 500 are for those
that are neither a limit of ours nor typed by the upstream."""

# https://docs.anthropic.com/en/api/errors; 408, 499, 502 and 503 are not there and get the nearest word.
_ANTHROPIC_TYPES = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    413: "request_too_large",
    429: "rate_limit_error",
    499: "api_error",
    500: "api_error",
    502: "api_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}

# https://cloud.google.com/apis/design/errors#handling_errors; 408, 413, 502 and 529 get the nearest word.
_GOOGLE_STATUSES = {
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    408: "DEADLINE_EXCEEDED",
    409: "ABORTED",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    500: "INTERNAL",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
    529: "UNAVAILABLE",
}

# Those that a stream of Bedrock's may raise; other 4xx are validation, other 5xx the model's stream.
_AWS_EXCEPTIONS = {
    400: "validationException",
    408: "modelTimeoutException",
    424: "modelStreamErrorException",
    429: "throttlingException",
    500: "internalServerException",
    503: "serviceUnavailableException",
}

_LLAMACPP_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    501: "not_supported_error",
    503: "unavailable_error",
}

_STREAM_ERROR = "stream_error"
"""Native's type of whatever ends a running stream."""


def _native(failure: Failure, status: int, request_id: str | None) -> dict[str, Any]:
    error: dict[str, Any] = {
        "error": failure.message,
        "type": _openai_type(failure, status),
        "code": failure.code,
    }
    return error | _known(upstream_code=failure.upstream_code, upstream_type=failure.upstream_type)


def _openai(failure: Failure, status: int, request_id: str | None) -> dict[str, Any]:
    return {
        "error": {
            "message": failure.message,
            "type": failure.upstream_type or _openai_type(failure, status),
            "param": failure.upstream_param,
            "code": failure.code if failure.upstream_code is None else failure.upstream_code,
        }
    }


def _anthropic(failure: Failure, status: int, request_id: str | None) -> dict[str, Any]:
    ours = _ANTHROPIC_TYPES.get(status, "invalid_request_error" if status < 500 else "api_error")
    error = {"type": failure.upstream_type or ours, "message": failure.message}
    return {"type": "error", "error": error} | _known(request_id=request_id)


def _gemini(failure: Failure, status: int, request_id: str | None) -> dict[str, Any]:
    ours = _GOOGLE_STATUSES.get(status, "INVALID_ARGUMENT" if status < 500 else "INTERNAL")
    details = [
        {
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": failure.code,
            "domain": "ssegate",
        }
    ]
    if failure.retry_after is not None and failure.retry_after.replace(".", "", 1).isdecimal():
        # Google's clients look for it here, not in a header.
        delay = failure.retry_after + "s"
        details.append({"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay})
    code = failure.upstream_code if isinstance(failure.upstream_code, int) else status
    said = {"code": code, "message": failure.message, "status": failure.upstream_type or ours}
    return {"error": {**said, "details": details}}


def _ollama(failure: Failure, status: int, request_id: str | None) -> dict[str, Any]:
    return {"error": failure.message}


def _bedrock(failure: Failure, status: int, request_id: str | None) -> dict[str, Any]:
    name = bedrock_exception(failure)
    # The SDKs take the type from here where no header has it; a stream's exception has it in its own.
    return {"message": failure.message, "__type": name[:1].upper() + name[1:]}


def bedrock_exception(failure: Failure) -> str:
    """Return the name of the exception that AWS would raise."""
    if failure.upstream_type is not None and failure.upstream_type in _AWS_EXCEPTIONS.values():
        return failure.upstream_type
    status = http_status(failure) if failure.code in CODES else 500
    if status < 500:
        return _AWS_EXCEPTIONS.get(status, "validationException")
    return _AWS_EXCEPTIONS.get(status, "modelStreamErrorException")


def _cohere(failure: Failure, status: int, request_id: str | None) -> dict[str, Any]:
    return _known(id=request_id) | {"message": failure.message}


def _tgi(failure: Failure, status: int, request_id: str | None) -> dict[str, Any]:
    ours = "overloaded" if status == 503 else "validation" if status < 500 else "generation"
    if failure.code == "upstream_truncated":
        ours = "incomplete_generation"
    return {"error": failure.message, "error_type": failure.upstream_type or ours}


def _llamacpp(failure: Failure, status: int, request_id: str | None) -> dict[str, Any]:
    ours = _LLAMACPP_TYPES.get(status, "invalid_request_error" if status < 500 else "server_error")
    return {"error": {"code": status, "message": failure.message, "type": failure.upstream_type or ours}}


def _replicate(failure: Failure, status: int, request_id: str | None) -> dict[str, Any]:
    return {"detail": failure.message, "status": status}


def _watsonx(failure: Failure, status: int, request_id: str | None) -> dict[str, Any]:
    code = failure.code if failure.upstream_code is None else failure.upstream_code
    error = {"code": code, "message": failure.message}
    return {"errors": [error], "trace": request_id or "", "status_code": status}


ERRORS: dict[str, Callable[[Failure, int, str | None], dict[str, Any]]] = {
    "native": _native,
    "openai": _openai,
    "responses": _openai,
    "vercel": _openai,
    "text": _openai,
    "anthropic": _anthropic,
    "gemini": _gemini,
    "bedrock": _bedrock,
    "ollama": _ollama,
    "cohere": _cohere,
    "tgi": _tgi,
    "llamacpp": _llamacpp,
    "replicate": _replicate,
    "watsonx": _watsonx,
}
"""Shape → what makes its error object of a failure, an HTTP status and a request id."""


def error_body(shape: str, failure: Failure, status: int, request_id: str | None = None) -> bytes:
    """Return the JSON body of an answer with *status*, in the *shape* of that name in ``ERRORS``."""
    return encoded(ERRORS[shape](failure, status, request_id))


def stream_error(shape: str, failure: Failure) -> dict[str, Any]:
    """
    Return the error object of a stream that failed, for the format to write as an event.

    A refusal that is told as an event (``errors: stream``) keeps the type it has as a status.
    """
    code = CODES.get(failure.code)
    error = ERRORS[shape](failure, http_status(failure) if code else 500, None)
    if shape == "native" and (code is None or code.outcome is not None):
        error["type"] = _STREAM_ERROR
    return error


def _openai_type(failure: Failure, status: int) -> str:
    if failure.code == "rate_limit_exceeded":
        return failure.limit or "requests"
    if failure.code == "quota_exceeded":
        return failure.limit or "tokens"
    return _OPENAI_TYPES.get(status, "invalid_request_error" if status < 500 else "upstream_error")


def _known(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}
