"""
Which framing an answer has, decided from its content type and its first bytes.

Bytes win over labels, because labels are often wrong: SSE comes as ``text/plain`` or ``application/json``,
JSON errors come as ``text/event-stream``, Ollama's lines come as ``application/json``. Where bytes could
mean several things, the label decides.
"""

from __future__ import annotations

import json
import re
from typing import Literal

import msgspec

from ssegate.wire.framing.eventstream import PRELUDE, is_prelude
from ssegate.wire.framing.lines import BLANK, BOM

__all__ = ["recognise"]

FIELD = re.compile(rb"(?:data|event|id|retry):|(?:data|id)\n|error: ?\{")
FIELDS = (b"data:", b"event:", b"id:", b"retry:", b"error: {", b"error:{")
ARRAYS = (b'[{"candidates"', b'[{"promptFeedback"', b'[{"error"')
"""How an array of Gemini's begins, blanks left out; prose may well begin with any other array of objects."""
HTML = re.compile(rb"<!doctype\s+html|<html[\s>]|<head[\s>]", re.IGNORECASE)
NDJSON_TYPES = {
    "application/x-ndjson",
    "application/ndjson",
    "application/jsonl",
    "application/x-jsonlines",
    "application/jsonlines",
    "application/json-lines",
    "application/stream+json",
}
SEQUENCE_TYPE = "application/json-seq"
EVENTSTREAM_TYPE = "application/vnd.amazon.eventstream"
HTML_TYPES = {"text/html", "application/xhtml+xml"}
ENOUGH = 64 * 1024
"""Bytes after which nothing is waited for any more: a newline, a field after comments, an array's element."""


def recognise(content_type: str | None, head: bytes, at_end: bool) -> str | None:
    """
    Return the framing of a body that begins with *head*, or None while that cannot be said.

    Args:
        content_type: The header as it came, parameters and all; None where there was none.
        head: All bytes of the body so far.
        at_end: The body has ended, *head* is all of it.

    Returns:
        A key of ``FRAMINGS``; ``empty`` (the body ended without a byte that is not blank), ``html``, or
        ``pass`` (nothing we read).
    """
    media = (content_type or "").partition(";")[0].strip().lower()
    if media.startswith(("image/", "audio/", "video/")):
        return "pass"
    if head[:1] in (b"\0", b"\1"):  # of a length in four bytes; text begins with neither
        return _binary(media, head, at_end)
    start = head.removeprefix(BOM).lstrip(BLANK)
    if not start or BOM.startswith(start):
        return "empty" if at_end and not start else _by_label(media) if at_end else None
    if start[:1] == b"{":
        is_sequence = media == SEQUENCE_TYPE or b"\x1e" in head[: head.index(b"{")]
        return "json-seq" if is_sequence else _json(media, start, at_end)
    if start[:1] == b"[" and (array := _array(media, start, at_end)) is not False:
        return array
    if media == "text/event-stream":
        return _markup(start, at_end, otherwise="sse")
    fields = _fields(start, at_end, strict=_is_prose(media))
    if fields is not False:
        return fields
    if _is_prose(media):
        return "text"
    if start[:1] == b"[" and media not in HTML_TYPES:
        return "json"
    return _markup(start, at_end, otherwise=_by_label(media))


def _by_label(media: str) -> str:
    """Return what the content type says of bytes that say nothing themselves."""
    if media == "text/event-stream":
        return "sse"
    if media in NDJSON_TYPES:
        return "ndjson"
    if media == SEQUENCE_TYPE:
        return "json-seq"
    if media == EVENTSTREAM_TYPE:
        return "eventstream"
    if media == "application/json" or media.endswith("+json"):
        return "json"
    if media in HTML_TYPES:
        return "html"
    return "text" if media.startswith("text/") else "pass"


def _is_prose(media: str) -> bool:
    return media.startswith("text/") and media != "text/event-stream" and media not in HTML_TYPES


def _binary(media: str, head: bytes, at_end: bool) -> str | None:
    """Tell an AWS event stream from other bytes: the checksum of its first prelude makes that certain."""
    if media == EVENTSTREAM_TYPE or is_prelude(head):
        return "eventstream"
    if len(head) < PRELUDE.size and not at_end:
        return None
    return _by_label(media)


def _array(media: str, start: bytes, at_end: bool) -> Literal["json-array", False] | None:
    """Return ``json-array`` if *start* begins an array of objects, None if it may yet, else False."""
    text = start[:ENOUGH].translate(None, BLANK)
    beginnings = ARRAYS if _is_prose(media) else (b"[{",)
    if text.startswith(beginnings):
        return "json-array"
    may_be = any(beginning.startswith(text) for beginning in beginnings)
    return None if may_be and not at_end and len(start) < ENOUGH else False


def _json(media: str, start: bytes, at_end: bool) -> str | None:
    """Tell lines of JSON from one document: only of the former the first line is complete in itself."""
    if media in NDJSON_TYPES:
        return "ndjson"
    line, newline, _ = start.partition(b"\n")
    if not newline and not at_end and len(start) < ENOUGH:
        return None
    if newline and _is_json(line):
        return "ndjson"
    if _is_prose(media) and not (at_end and _is_json(start)):
        return "text"  # a model may well write an object as its answer
    return "json"


def _is_json(text: bytes) -> bool:
    try:
        msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        try:
            json.loads(text.decode(errors="replace"))
        except (ValueError, RecursionError):
            return False
    return True


def _fields(start: bytes, at_end: bool, *, strict: bool) -> Literal["sse", False] | None:
    """
    Return ``sse`` if *start* begins like an event stream, None if it may yet, False if it does not.

    Args:
        strict: A comment alone is not enough: plain text may begin with a colon.
    """
    text = start.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    while text[:1] == b":":
        if not strict or len(start) > ENOUGH:
            return "sse"
        _, newline, text = text.partition(b"\n")
        text = text.lstrip(b"\n")
        if not newline or not text:
            return False if at_end else None
    if FIELD.match(text):
        return "sse"
    if at_end:
        return False
    return None if any(field.startswith(text) for field in FIELDS) else False


def _markup(start: bytes, at_end: bool, *, otherwise: str) -> str | None:
    """Return ``html`` if *start* is a page, None if it may yet be one, else *otherwise*."""
    if HTML.match(start):
        return "html"
    if start[:1] == b"<" and len(start) < 16 and not at_end:
        return None
    return otherwise
