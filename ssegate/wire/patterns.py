"""
Patterns: where the text stands in the bytes of a frame, and in those that leave for it.

Nothing is taken for granted of a framing, a dialect or a format: a pattern is proven by sending probes
through the very framer, dialect and format of the stream.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TypeGuard

import msgspec

from ssegate.wire.dialects.payload import UNREADABLE
from ssegate.wire.errors import WireError
from ssegate.wire.events import Carried, Delta, Event, Reasoning, Refusal, Text, ToolCall
from ssegate.wire.formats.encoding import quoted
from ssegate.wire.seams import Dialect, Framer

__all__ = [
    "Pattern",
    "Stencil",
    "body_of",
    "decode_text",
    "is_run",
    "pattern_of",
    "stencil_of",
    "text_of",
    "with_text",
]

decode_text = msgspec.json.Decoder(str).decode

_PROBES = ("zq7probe", 'é"\n\\…/8')
"""Texts that occur in no frame, the second with all that JSON and SSE treat in a way of their own."""

_METADATA = (b'{"zq7":1}', b'{"zq7":22,"t":0.5}')

_PADDING = re.compile(rb'["}]( *)}\r?\n')
"""Blanks before the brace that ends a payload."""

_STRING = re.compile(rb'"((?:[^"\\\n]|\\.)*+)"')


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


@dataclass(frozen=True, slots=True)
class Pattern:
    """
    What stands around the text in the bytes of each frame, framing included.

    A frame is *head*, text, *tail*. Where something in it differs from frame to frame and says nothing (a
    time, padding), it is *head*, the one of them, *middle*, the other, *tail*.
    """

    head: bytes
    tail: bytes
    middle: bytes = b""
    text_is_last: bool = False
    """Of the two around *middle*."""

    is_padded: bool = False
    """What says nothing is blanks, outside of any string."""

    def frame(self, body: bytes, noise: bytes = b"") -> bytes:
        """Return the frame with the text *body*, escaped."""
        first, last = (noise, body) if self.text_is_last else (body, noise)
        return self.head + (first + self.middle + last if self.middle else body) + self.tail

    def cut(self, frame: bytes) -> bytes | None:
        """Return the text of one *frame*, still escaped; None if it is another frame, or is none."""
        if not (frame.startswith(self.head) and frame.endswith(self.tail)):
            return None
        inside = frame[len(self.head) : -len(self.tail)]
        if not self.middle:
            return inside
        first, middle, last = inside.partition(self.middle)
        if self.text_is_last:
            first, last = last, first
        is_noise = not last.strip(b" ") if self.is_padded else _is_plain(last)
        return first if middle and is_noise else None


def _is_plain(noise: bytes) -> bool:
    """Tell whether *noise* is the inside of a JSON string without any escape."""
    if not noise.isascii() or b'"' in noise or b"\\" in noise:
        return False
    return noise.decode().isprintable()


def pattern_of(raw: bytes, event: Delta, framer: Framer, dialect: Dialect) -> Pattern | None:
    """
    Return the pattern of a frame, proven; None if it has none.

    Args:
        raw: The frame's bytes, framing included.
        event: All that the dialect has made of it.
        framer: A new one.
        dialect: The stream's; such frames must leave no trace in it.
    """
    strings = [found.span(1) for found in _STRING.finditer(raw)]
    places = [place for place in strings if _is(raw[slice(*place)], text_of(event))]
    if len(places) != 1:
        return None
    if dialect.pads and (padding := _PADDING.search(raw)) is not None:
        pattern = replace(_around(raw, places[0], padding.span(1)), is_padded=True)
    else:
        pattern = _around(raw, places[0], _noise(raw, strings, dialect.volatile))
    for probe in _PROBES:
        noise = b" " * len(probe) if pattern.is_padded else b"zq7"
        if not _says(framer, dialect, pattern.frame(body_of(probe), noise), with_text(event, probe)):
            return None
    return pattern


def _noise(raw: bytes, strings: list[tuple[int, int]], names: tuple[str, ...]) -> tuple[int, int] | None:
    """Return where the value of the first member stands that is called one of *names*."""
    marks = [f'"{name}"'.encode() for name in names]
    for (start, end), value in pairwise(strings):
        is_member = raw[end + 1 : value[0] - 1].strip() == b":"
        if is_member and raw[start - 1 : end + 1] in marks:
            return value
    return None


def _around(raw: bytes, text: tuple[int, int], noise: tuple[int, int] | None) -> Pattern:
    if noise is None or noise == text:
        return Pattern(raw[: text[0]], raw[text[1] :])
    first, last = sorted((text, noise))
    return Pattern(raw[: first[0]], raw[last[1] :], raw[first[1] : last[0]], text_is_last=last == text)


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


@dataclass(frozen=True, slots=True)
class Stencil:
    """What stands around text and metadata in the bytes that leave for a frame."""

    before: bytes
    between: bytes
    after: bytes
    has_metadata: bool


def stencil_of(
    encode: Callable[[Event | Carried, bytes], list[bytes]],
    make: Callable[[str], Event | Carried],
    *,
    has_metadata: bool,
) -> Stencil | None:
    """
    Return the stencil of what a format writes, proven; None if it has none.

    Args:
        encode: The format's; such events must leave no trace in it.
        make: Makes the event of a text.
    """
    found: Stencil | None = None
    for probe, metadata in zip(_PROBES, _METADATA, strict=True):
        metadata = metadata if has_metadata else b""
        blocks = encode(make(probe), metadata)
        if len(blocks) != 1:
            return None
        if found is None:
            before, body, rest = blocks[0].partition(body_of(probe))
            between, seen, after = rest.partition(metadata) if metadata else (rest, b"", b"")
            if not body or seen != metadata:
                return None
            found = Stencil(before, between, after, has_metadata)
        elif blocks[0] != found.before + body_of(probe) + found.between + metadata + found.after:
            return None
    return found
