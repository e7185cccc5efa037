"""
JSON objects that follow one another: each is a frame as soon as its closing brace is there.

``JSONArray`` is what Gemini and Vertex answer without ``alt=sse``: ``[{…}\\n,\\r\\n{…}\\n]``, pretty-printed,
its elements minutes apart. ``JSONSequence`` is RFC 7464, each document behind a record separator.

    between ──{──► inside ──the brace that matches──► between ──]──► ended (arrays only)

Between objects only blanks, the framing's own separators and a BOM may stand, in any order and number: what
is missing or doubled there says nothing about the objects. Inside an object only braces and strings are
looked at; whether it is JSON the dialect will see. A byte is looked at twice at most, however the network
cut the body: the state of the scan (depth, inside a string, behind a backslash) is kept, not the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import ClassVar, Self

from ssegate.wire.errors import WireError
from ssegate.wire.events import Frame
from ssegate.wire.framing.faults import then_raise, too_large

__all__ = ["JSONArray", "JSONSequence"]

OPENING, QUOTE, BACKSLASH, END = b'{"\\]'

UP_TO_BRACE = re.compile(rb'(?:[^"{}]++|"(?:[^"\\]++|\\.)*+")*+', re.DOTALL)
"""All of an object up to its next brace outside strings, or to a string that is cut off."""

REST_OF_STRING = re.compile(rb'(?:[^"\\]++|\\.)*+', re.DOTALL)


class Objects:
    """What an array and a sequence have in common."""

    separators: re.Pattern[bytes]
    """What may stand between two objects."""

    ends: ClassVar[tuple[bytes, ...]] = ()
    has_ended: bool | None = None

    def __init__(self, max_event: int) -> None:
        self._max = max_event
        self._object = bytearray()  # the unfinished object
        self._depth = 0  # of its braces; 0 between objects
        self._in_string = False
        self._is_escaped = False  # the next byte stands behind a backslash

    @property
    def is_between(self) -> bool:
        """Nothing is unfinished: the next byte that is no separator begins an object."""
        return not self._depth

    def anew(self) -> Self:
        """Return one that has read nothing."""
        return type(self)(self._max)

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Yield the objects that *data* completes, then raise if something else follows, or too much."""
        if self.has_ended:
            return iter(())
        frames: list[Frame] = []
        at = 0
        try:
            while at < len(data):
                if not self._depth:
                    at = self._next_object(data, at)
                at = self._read_object(data, at, frames)
        except WireError as fault:
            return then_raise(frames, fault)
        return iter(frames)

    def close(self) -> Iterator[Frame]:
        """Yield an object that was cut off, as ``unfinished``."""
        if self._depth:
            yield Frame("", bytes(self._object), irregular="unfinished")
            self._object.clear()
            self._depth = 0

    def _next_object(self, data: bytes, at: int) -> int:
        """Return where the next object begins, the end of *data* if there is none in it."""
        match = self.separators.match(data, at)
        assert match is not None, "it matches nothing, too"
        at = match.end()
        if at == len(data) or data[at] == OPENING:
            return at
        if data[at] == END and self.has_ended is False:
            self.has_ended = True
            return len(data)
        raise WireError("the upstream sent something between its JSON objects that is none")

    def _read_object(self, data: bytes, start: int, frames: list[Frame]) -> int:
        """Read on to the object's end, or as far as *data* goes; return where that is."""
        end = self._scan(data, start)
        if len(self._object) + end - start > self._max:
            self._object = bytearray()
            raise too_large("a JSON object", self._max)
        if self._depth:
            self._object += data[start:end]
        elif self._object:
            self._object += data[start:end]
            frames.append(Frame("", bytes(self._object)))
            self._object.clear()
        elif end > start:
            frames.append(Frame("", data[start:end]))
        return end

    def _scan(self, data: bytes, at: int) -> int:
        """Return where the object ends that *data* goes on with (or begins) at *at*."""
        while at < len(data):
            if self._in_string:
                at = self._leave_string(data, at)
                continue
            match = UP_TO_BRACE.match(data, at)
            assert match is not None, "it matches nothing, too"
            at = match.end()
            if at == len(data):
                break
            byte = data[at]
            at += 1
            if byte == QUOTE:
                self._in_string = True
            elif byte == OPENING:
                self._depth += 1
            else:
                self._depth -= 1
                if not self._depth:
                    break
        return at

    def _leave_string(self, data: bytes, at: int) -> int:
        """Return where the string ends that was begun before *at*, behind its quote."""
        if self._is_escaped:
            self._is_escaped = False
            return at + 1
        match = REST_OF_STRING.match(data, at)
        assert match is not None, "it matches nothing, too"
        at = match.end()
        if at < len(data):  # at its quote, or at a backslash that is the last byte of data
            self._is_escaped = data[at] == BACKSLASH
            self._in_string = self._is_escaped
            at += 1
        return at


class JSONArray(Objects):
    """
    Cut a JSON array into one frame an element; only objects are elements.

    What follows the array is dropped. That its end is missing breaks no element: only ``has_ended`` tells.
    """

    separators = re.compile(rb"[ \t\r\n,[\xef\xbb\xbf]*+")
    has_ended = False


class JSONSequence(Objects):
    """
    Cut a JSON text sequence into one frame a document; only objects are documents.

    A document may go over several lines, and the record separator before it may be missing.

    Source: RFC 7464.
    """

    separators = re.compile(rb"[ \t\r\n\x1e\xef\xbb\xbf]*+")
