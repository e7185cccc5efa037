"""
How a frame is carried to a client of the same shape: as it came, split around the one string that grows.

Nothing is decoded here to be encoded again. Two neighbours are joined by their keys: everything that is not
the growing string must be the same, byte for byte, but for padding and times. That is not yet enough, because
a client adds up more than text (the OpenAI SDK joins every string it finds in a delta, the role too), so a
dialect also says what else a joinable payload may hold; it is asked once for each key that comes twice.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from ssegate.wire.events import Carried, Frame

__all__ = ["Carrier", "is_neutral", "payload"]

Allows = Callable[[dict[str, Any], str, str], bool]
"""Called with a payload, decoded, the name of its growing string and that string."""

ERROR_NULL = re.compile(rb'"error"\s*:\s*null')
STRUCTURE = re.compile(rb'"(?:[^"\\]|\\.)*"|[{}\[\]]', re.DOTALL)
REST_OF_STRING = re.compile(rb'(?:[^"\\]++|\\.)*+"', re.DOTALL)
CLOSING = b'"} '
UNREAD = ("arguments", "parameters")
"""Strings that a decoder may leave as they are (``msgspec.Raw``), in UTF-8 or not."""

LONGEST_KEPT = 64 * 1024
"""Bytes around a growing string up to which a frame is kept to be compared with the next."""

BACKSLASH = ord("\\")


class Carrier:
    """
    Splits payloads and tells which neighbours may be joined, for one stream.

    Args:
        volatile: Names of members that differ from frame to frame and say nothing: a number or a string.
        allows: Whether joining the payload with its like changes nothing but the growing string.
    """

    def __init__(self, volatile: tuple[str, ...], allows: Allows) -> None:
        self._volatile = tuple(f'"{name}":'.encode() for name in volatile)
        self._allows = allows
        # of the last frame that grows:
        self._event = ""
        self._head = self._tail = self._steady_tail = b""
        self._key = b""
        self._is_unread = False
        self._allowed: bool | None = False

    def carry(self, event: str, data: bytes, growing: str | None, count: int) -> Carried:
        """
        Return *data* split around its member *growing*, or whole.

        Args:
            data: The payload, as ``payload`` gave it.
            growing: The name of the one JSON string that grows; None where the frame is not to be joined.
        """
        span = _span(data, growing.encode()) if growing else None
        if span is None or growing is None:
            return Carried(event, data, count=count)
        start, end = span
        head, body, tail = data[:start], data[start:end], data[end:]
        return Carried(event, head, body, tail, self._key_of(event, head, body, tail, growing), count)

    def repeat(self, frame: Frame) -> Carried | None:
        """
        Return *frame* if it differs from the last one only in the string that grows, else None.

        Nearly every frame of a long answer takes this way: 0.6 µs, where ``carry`` takes 3. It must have been
        decoded without repair, so that the string is known to be valid, if it was read.
        """
        data = frame.data
        head = self._head
        if not self._allowed or frame.event != self._event or not data.startswith(head):
            return None
        start = len(head)
        end = data.find(b'"', start)
        if end <= start or data[end - 1] == BACKSLASH:
            return None
        if self._is_unread and not data.isascii():
            return None
        tail = data[end:]
        if tail != self._tail and not (
            tail.isascii() and b"\n" not in tail and self._steady(tail) == self._steady_tail
        ):
            return None
        return Carried(self._event, head, data[start:end], tail, self._key, 1)

    def _key_of(self, event: str, head: bytes, body: bytes, tail: bytes, growing: str) -> bytes | None:
        if len(head) + len(tail) > LONGEST_KEPT:
            self._head = self._tail = self._steady_tail = self._key = b""
            self._allowed = False
            return None
        self._event, self._head, self._tail = event, head, tail
        self._is_unread = growing in UNREAD
        self._steady_tail = self._steady(tail)
        key = b"\0".join((event.encode(), self._steady(head), self._steady_tail))
        if key != self._key:
            self._key = key
            self._allowed = None
            return key  # asked when it comes again; alone it joins with nothing
        if self._allowed is None:
            self._allowed = self._asks(head, body, tail, growing)
        return self._key if self._allowed else None

    def _asks(self, head: bytes, body: bytes, tail: bytes, growing: str) -> bool:
        try:
            grown = json.loads(b'"' + body + b'"')
            return self._allows(json.loads(head + body + tail), growing, grown)
        except (ValueError, RecursionError, TypeError, AttributeError, LookupError):
            return False  # not of the shape the dialect knows

    def _steady(self, part: bytes) -> bytes:
        """Return *part* without what differs from frame to frame."""
        if not part.strip(CLOSING):
            return part.replace(b" ", b"")  # Anthropic pads with blanks before the last brace
        for mark in self._volatile:
            at = part.find(mark)
            if at >= 0:
                start = end = at + len(mark)
                while part[end : end + 1] == b" ":
                    end += 1
                if part[end : end + 1] == b'"':
                    end = part.find(b'"', end + 1) + 1 or len(part)
                else:
                    while part[end : end + 1].isdigit():
                        end += 1
                part = part[:start] + part[end:]
        return part


def payload(frame: Frame) -> bytes:
    """
    Return a frame's JSON on one line and in valid UTF-8.

    A ``"error": null`` is taken out: some clients take its mere presence for an error, Vercel's AI SDK 6
    among them.
    """
    data = frame.data.strip()
    if not data.isascii():
        try:
            data.decode()
        except UnicodeDecodeError:
            data = data.decode(errors="replace").encode()
    if b"\n" in data:
        data = data.replace(b"\n", b" ")
    if b"\r" in data:
        data = data.replace(b"\r", b" ")
    return _without_null_error(data) if b'"error"' in data and ERROR_NULL.search(data) else data


def is_neutral(value: object) -> bool:
    """Whether a client that adds *value* up has added nothing."""
    return value is None or value in ("", [], {})


def _span(data: bytes, name: bytes) -> tuple[int, int] | None:
    """Return where the inside of the only JSON string called *name* starts and ends."""
    for mark in (b'"' + name + b'":"', b'"' + name + b'": "'):
        at = data.find(mark)
        if at > 0:
            start = at + len(mark)
            if data[at - 1] == BACKSLASH or data.find(mark, start) >= 0:
                return None
            end = REST_OF_STRING.match(data, start)
            return (start, end.end() - 1) if end else None
    return None


def _without_null_error(data: bytes) -> bytes:
    """Take the outermost ``"error": null`` out, with one of the commas beside it."""
    depth = 0
    for token in STRUCTURE.finditer(data):
        if token[0] in b"{[":
            depth += 1
        elif token[0] in b"}]":
            depth -= 1
        elif depth == 1 and (null := ERROR_NULL.match(data, token.start())):
            before, after = data[: null.start()].rstrip(), data[null.end() :].lstrip()
            if after.startswith(b","):
                return before + after[1:].lstrip()
            return before.removesuffix(b",") + after
    return data
