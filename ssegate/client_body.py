"""
Reads what a client sends: a JSON body whole and within bounds, any other piece by piece.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from aiohttp.web import BaseRequest

from ssegate.config import Route
from ssegate.request import JSONObject, accepts_json, is_labelled_json, read_json
from ssegate.wire.errors import ClientError

__all__ = ["check_size", "pieces", "read_body"]

_BODY_SECONDS = 30.0
"""How long a client may take to send a JSON body."""


async def read_body(request: BaseRequest, allowed: list[Route]) -> tuple[bytes | None, JSONObject | None]:
    """
    Return a JSON body, raw and as an object; (None, None) for a body that is to be streamed through.

    Raises:
        ClientError: ``bad_request``, ``body_too_large``, ``request_timeout`` or ``expectation_failed``.
    """
    if request.headers.get("Expect", "100-continue").lower() != "100-continue":
        raise ClientError("expectation_failed", "nothing but 100-continue can be expected")
    if not request.body_exists:
        return b"", None
    content_type, path = request.headers.get("Content-Type"), request.rel_url.raw_path
    is_coded = request.headers.get("Content-Encoding", "identity").strip().lower() != "identity"
    if is_coded and allowed[0].from_prompt is not None:
        raise ClientError("bad_request", "compressed bodies are not read here, send the prompt as it is")
    if is_coded or not accepts_json(allowed[0], path, content_type):
        return None, None
    raw = await _whole(request, max(route.max_body for route in allowed))
    if not raw.strip():
        return raw, None
    try:
        return raw, read_json(raw)
    except ClientError:
        if is_labelled_json(content_type) or allowed[0].from_prompt is not None:
            raise
        return raw, None  # nobody called it JSON


def check_size(raw: bytes | None, route: Route) -> None:
    """
    Hold a body that was read to the limit of *route*; others of its path may allow more.

    Raises:
        ClientError: ``body_too_large``.
    """
    if raw is not None and len(raw) > route.max_body:
        raise _too_large(route.max_body)


async def pieces(request: BaseRequest) -> AsyncIterator[bytes]:
    """Yield the body as it arrives."""
    _ask_for_body(request)
    async for piece in request.content.iter_any():
        yield piece


async def _whole(request: BaseRequest, limit: int) -> bytes:
    if (request.content_length or 0) > limit:
        raise _too_large(limit)
    content = request.content
    # Mostly it came with the head: nobody needs to wait for it, or to look at a clock.
    raw = content.read_nowait() if content.is_eof() else await _arriving(request, limit)
    if len(raw) > limit:
        raise _too_large(limit)
    return raw


async def _arriving(request: BaseRequest, limit: int) -> bytes:
    """Wait for the body, or for more of it than *limit*."""
    parts, size = [], 0
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            async for part in pieces(request):
                parts.append(part)
                size += len(part)
                if size > limit:
                    break
    except TimeoutError:
        said = f"the body did not arrive within {_BODY_SECONDS:g} s"
        raise ClientError("request_timeout", said) from None
    return b"".join(parts)


def _too_large(limit: int) -> ClientError:
    return ClientError("body_too_large", f"the body is larger than {limit} bytes")


def _ask_for_body(request: BaseRequest) -> None:
    """Say that the body is welcome to a client that waits to hear it (RFC 9110 section 10.1.1)."""
    if "Expect" in request.headers and request.transport is not None:
        request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
