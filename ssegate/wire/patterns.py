"""
Patterns: where the text stands in the bytes of a frame.

Nothing is taken for granted of a framing or a dialect: a pattern is proven by sending probes through the very
framer and dialect of the stream.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from typing import TypeGuard

import msgspec

from ssegate.wire.errors import WireError
from ssegate.wire.events import Delta, Event, Reasoning, Refusal, Text, ToolCall
from ssegate.wire.formats.encoding import quoted
from ssegate.wire.payload import UNREADABLE
from ssegate.wire.seams import Dialect, Framer

__all__ = [
    "PROBES",
    "Found",
    "Pattern",
    "Shape",
    "body_of",
    "decode_text",
    "is_run",
    "pattern_of",
    "text_of",
    "with_text",
]

decode_text = msgspec.json.Decoder(str).decode

PROBES = ("zq7probe", 'é"\n\\…/8')
"""Texts that occur in no frame, the second with all that JSON and SSE treat in a way of their own."""

_STRING = re.compile(rb'"((?:[^"\\\n]|\\.)*+)"')
_PADDING = re.compile(rb'["}]( *)}\r?\n')
"""Blanks before the brace that ends a payload."""

_KINDS = {
    "text": rb'[^"\\\n]*+(?:\\.[^"\\\n]*+)*+',
    "word": rb"[ !#-\[\]-~]*+",  # the inside of a JSON string without any escape
    "number": rb"(?:0|[1-9]\d*+)",
    "blanks": rb" *+",
}
_NOISE = {"word": (b"zq7", b"zq-80"), "number": (b"7", b"80"), "blanks": (b"   ", b"")}
"""What stands for it in the probes."""

_MATCH = {kind: re.compile(shape).match for kind, shape in _KINDS.items()}


def is_run(event: Event) -> TypeGuard[Delta]:
    """Tell whether *event* is a piece of text, of any kind, that another may continue."""
    match event:
        case Text() | Reasoning() | Refusal():
            return event.text != ""
        case ToolCall():
            return event.name is None and event.arguments != ""
    return False


def text_of(event: Delta) -> str:
    """Return the text of *event*."""
    return event.arguments if isinstance(event, ToolCall) else event.text


def with_text(event: Delta, text: str, count: int = 1) -> Delta:
    """Return *event* with another text."""
    if isinstance(event, ToolCall):
        return replace(event, arguments=text, count=count)
    return replace(event, text=text, count=count)


def body_of(text: str) -> bytes:
    """Return *text* as it stands inside a JSON string."""
    return quoted(text)[1:-1]


Found = tuple[int, int, int, int]
"""Where a frame begins, where its text begins and ends, and where the frame ends."""


class Shape:
    """
    The whole of a frame in which more than the text may differ.

    Not a regular expression: making one takes as long as finding five hundred frames.
    """

    __slots__ = ("_last", "_parts")

    def __init__(self, fixed: list[bytes], kinds: list[str]) -> None:
        parts = zip(fixed, kinds, strict=False)
        self._parts = [(part, len(part), _MATCH[kind], kind == "text") for part, kind in parts]
        self._last = fixed[-1]

    def find(self, data: bytes, begin: int = 0) -> Found | None:
        """Return the frame that begins at *begin*; None if another one does."""
        start = stop = 0
        at = begin
        for fixed, length, match, is_text in self._parts:
            if not data.startswith(fixed, at):
                return None
            at += length
            found = match(data, at)
            if found is None:
                return None
            end = found.end()
            if is_text:
                start, stop = at, end
            at = end
        if not data.startswith(self._last, at):
            return None
        return begin, start, stop, at + len(self._last)


@dataclass(frozen=True, slots=True)
class Pattern:
    """
    What stands around the text in the bytes of each frame, framing included.

    Attributes:
        head, tail: Before and behind all that differs from frame to frame.
        shape: Of the whole frame, where something differs too that says nothing: a time, a number, padding;
            None where nothing but the text differs.
        probes: Frames of that shape with the texts of ``PROBES``.
    """

    head: bytes
    tail: bytes
    shape: Shape | None = None
    probes: tuple[bytes, ...] = ()

    def cut(self, frame: bytes) -> bytes | None:
        """Return the text of one *frame*, still escaped; None if it is another frame, or is none."""
        if self.shape is not None:
            found = self.shape.find(frame)
            return None if found is None or found[3] < len(frame) else frame[found[1] : found[2]]
        if not (frame.startswith(self.head) and frame.endswith(self.tail)):
            return None
        return frame[len(self.head) : -len(self.tail)]


def pattern_of(raw: bytes, before: bytes, event: Delta, framer: Framer, dialect: Dialect) -> Pattern | None:
    """
    Return the pattern of a frame, proven; None if it has none.

    Args:
        raw: The frame's bytes, framing included.
        before: Those of the frame before it, or nothing.
        event: All that the dialect has made of it.
        framer: A new one.
        dialect: The stream's; such frames must leave no trace in it.
    """
    noise = _noise(raw, before, dialect)
    places = [
        found.span(1)
        for found in _STRING.finditer(raw)
        if found.span(1) not in noise and _is(found[1], text_of(event))
    ]
    if len(places) != 1:
        return None
    pattern = _around(raw, {places[0]: "text", **noise})
    for probe, frame in zip(PROBES, pattern.probes, strict=True):
        if not _says(framer, dialect, frame, with_text(event, probe)):
            return None
    return pattern


def _noise(raw: bytes, before: bytes, dialect: Dialect) -> dict[tuple[int, int], str]:
    """Return where *raw* differs from the frame before it in something that says nothing, and its kind."""
    found = {}
    for kind, shape in _volatile(dialect.volatile, dialect.pads):
        here, there = list(shape.finditer(raw)), shape.search(before)
        if len(here) == 1 and there is not None and here[0][1] != there[1]:
            found[here[0].span(1)] = kind
    return found


@lru_cache
def _volatile(names: tuple[str, ...], pads: bool) -> list[tuple[str, re.Pattern[bytes]]]:
    """Return kinds and shapes of what may differ from frame to frame."""
    shapes = [("blanks", _PADDING)] if pads else []
    for name in names:
        member = rb'"%b"\s*:\s*' % re.escape(name.encode())
        shapes.append(("word", re.compile(member + rb'"(%b)"' % _KINDS["word"])))
        shapes.append(("number", re.compile(member + rb"(%b)(?=[,}\s])" % _KINDS["number"])))
    return shapes


def _around(raw: bytes, parts: dict[tuple[int, int], str]) -> Pattern:
    """Return the pattern of *raw*, where *parts* may differ."""
    places = sorted(parts)
    borders = [(0, 0), *places, (len(raw), len(raw))]
    fixed = [raw[before[1] : after[0]] for before, after in pairwise(borders)]
    kinds = [parts[place] for place in places]
    probes = []
    for number, probe in enumerate(PROBES):
        values = [body_of(probe) if kind == "text" else _NOISE[kind][number] for kind in kinds]
        probes.append(b"".join(_interleaved(fixed, values)))
    shape = Shape(fixed, kinds) if len(kinds) > 1 else None
    return Pattern(fixed[0], fixed[-1], shape, tuple(probes))


def _interleaved(fixed: list[bytes], between: list[bytes]) -> list[bytes]:
    return [part for pair in zip(fixed, [*between, b""], strict=True) for part in pair]


def _is(body: bytes, text: str) -> bool:
    """Tell whether *body* says *text*, however it is spelt."""
    try:
        return decode_text(b'"%b"' % body) == text
    except UNREADABLE:
        return False


def _says(framer: Framer, dialect: Dialect, raw: bytes, event: Delta) -> bool:
    """Tell whether *raw* is one frame and says just *event*."""
    try:
        frames = list(framer.feed(raw))
        return len(frames) == 1 and framer.is_between and dialect.decode(frames[0]) == [event]
    except WireError:  # the bytes began inside a frame
        return False
