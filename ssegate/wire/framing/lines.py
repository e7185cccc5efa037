"""Framings without marks of their own: a JSON document a line, one JSON document, plain text."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from typing import ClassVar

from ssegate.wire.events import Frame
from ssegate.wire.framing.faults import too_large

__all__ = ["NDJSON", "JSONDocument", "PlainText"]

BOM = b"\xef\xbb\xbf"
BLANK = b" \t\r\n\x1e"
"""White space of JSON, and the record separator of ``application/json-seq``, which some put before lines."""


class NDJSON:
    """
    Cut a body of newline-delimited JSON into one frame a line.

    Source: https://github.com/ndjson/ndjson-spec (empty lines are skipped, as it allows).
    """

    ends: ClassVar[tuple[bytes, ...]] = (b"\n",)
    has_ended = None

    def __init__(self, max_event: int) -> None:
        self._max = max_event
        self._line = bytearray()
        self._first = True

    @property
    def is_between(self) -> bool:
        """Nothing is unfinished: the next byte begins a line."""
        return not self._line

    def anew(self) -> NDJSON:
        """Return one that has read nothing."""
        return NDJSON(self._max)

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Yield the lines that *data* completes, then raise if one is too large."""
        *lines, unfinished = data.split(b"\n")
        if lines and self._line:
            self._line += lines[0]
            lines[0] = bytes(self._line)
            self._line.clear()
        for line in lines:
            if document := self._strip(line):
                yield Frame("", document)
        self._line += unfinished
        self._check(len(self._line))

    def close(self) -> Iterator[Frame]:
        """Yield a last line without its newline, as ``unfinished``: a whole document, or a cut one."""
        if document := self._strip(bytes(self._line)):
            yield Frame("", document, irregular="unfinished")
        self._line.clear()

    def _strip(self, line: bytes) -> bytes:
        if self._first:
            line = line.removeprefix(BOM)
            self._first = False
        line = line.strip(BLANK)
        self._check(len(line))
        return line

    def _check(self, size: int) -> None:
        if size > self._max:
            self._line = bytearray()
            raise too_large("a line", self._max)


class JSONDocument:
    """Collect a body that is one JSON document, pretty-printed or not, into one frame at its end."""

    ends: ClassVar[tuple[bytes, ...]] = ()
    has_ended = None

    def __init__(self, max_event: int) -> None:
        self._max = max_event
        self._body = bytearray()

    @property
    def is_between(self) -> bool:
        """Nothing is unfinished: the next byte begins the document."""
        return not self._body

    def anew(self) -> JSONDocument:
        """Return one that has read nothing."""
        return JSONDocument(self._max)

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Keep *data*; blank lines before the document are keepalives (DeepSeek) and take no room."""
        self._body += data if self._body else data.lstrip(BLANK)
        if len(self._body) > self._max + len(BOM):
            self._body = bytearray()
            raise too_large("a JSON document", self._max)
        return iter(())

    def close(self) -> Iterator[Frame]:
        """Yield the document, if there is one."""
        if self._body.startswith(BOM):
            del self._body[: len(BOM)]
        document = bytes(self._body)
        self._body.clear()  # at once: it may be as large as an event may be
        document = document.strip(BLANK)
        if document:
            yield Frame("", document)


class PlainText:
    """
    Pass text on as it comes: what can be decoded of each read is a frame of valid UTF-8.

    A character that a read has cut waits for its rest; what is no UTF-8 becomes U+FFFD. ``max_event``
    has no meaning here: nothing but part of a character is ever held.
    """

    ends: ClassVar[tuple[bytes, ...]] = ()
    has_ended = None

    def __init__(self, max_event: int) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._first = True

    @property
    def is_between(self) -> bool:
        """Nothing is unfinished: the next byte begins a character."""
        return not self._decoder.getstate()[0]

    def anew(self) -> PlainText:
        """Return one that has read nothing."""
        return PlainText(0)

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Yield the text of *data*, if it completes any."""
        return self._frames(self._decoder.decode(data))

    def close(self) -> Iterator[Frame]:
        """Yield U+FFFD for a character whose rest never came."""
        return self._frames(self._decoder.decode(b"", True))

    def _frames(self, text: str) -> Iterator[Frame]:
        if text and self._first:
            text = text.removeprefix("\ufeff")
            self._first = False
        if text:
            yield Frame("", text.encode())
