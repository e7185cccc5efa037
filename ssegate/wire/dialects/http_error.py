"""What an upstream says in the body of an answer whose HTTP status is an error."""

from __future__ import annotations

import re

from ssegate.wire.dialects.failure import failure_in
from ssegate.wire.events import Failure

__all__ = ["read_error"]

PAGE = re.compile(rb"\s*(?:<\?xml[^>]*>\s*)?<(?:!doctype|html|head|body)\b", re.IGNORECASE)
BOM = b"\xef\xbb\xbf"


def read_error(body: bytes, content_type: str | None, status: int) -> Failure:
    """
    Return the upstream's own message, type, code and parameter; ``upstream_status`` is *status*.

    A page is never quoted: its text is for people who look at the wrong server.

    Args:
        body: As much of the body as was read; a document cut short is quoted as text.
    """
    body = body.removeprefix(BOM).strip()
    media = (content_type or "").partition(";")[0].strip().lower()
    if PAGE.match(body) or (media == "text/html" and body[:1] == b"<"):
        failure = Failure("upstream_error", f"HTTP {status} with an HTML body")
    elif body:
        failure = _read(body, f"HTTP {status}")
    else:
        failure = Failure("upstream_error", f"HTTP {status} without a body")
    failure.upstream_status = status
    return failure


def _read(body: bytes, fallback: str) -> Failure:
    if body.startswith((b"data:", b"event:", b"error:")):
        # An event stream with an error status: its first object is the error.
        body = body[body.find(b"{") :] if b"{" in body else body
        body = body.partition(b"\n")[0]
    return failure_in(body, fallback)
