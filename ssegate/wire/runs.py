"""
Runs: frames that differ in nothing but one string are carried without being decoded.

Nearly every frame of a stream is the frame before it with another piece of text in it. Once the ordinary way
has shown what becomes of such a frame, its bytes are cut at the text, and so are those that leave for it;
from then on the text is taken out of the one and put into the other, at a tenth of the cost.

Nothing is taken for granted of a framing, a dialect or a format: both cuts are proven by sending probes
through the very framer, dialect and format of the stream (``pattern_of``, ``stencil_of``). Whatever then does
not fit, by a single byte, goes the ordinary way. What leaves is the same to the byte either way.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeGuard

import msgspec

from ssegate.wire.batching import Pace
from ssegate.wire.dialects.payload import UNREADABLE
from ssegate.wire.errors import WireError
from ssegate.wire.events import Carried, Delta, Event, Reasoning, Refusal, Text, ToolCall
from ssegate.wire.formats.encoding import quoted
from ssegate.wire.seams import Dialect, Framer

__all__ = ["Pattern", "Run", "Stencil", "body_of", "is_run", "pattern_of", "stencil_of"]

_decode_text = msgspec.json.Decoder(str).decode
_decode_texts = msgspec.json.Decoder(list[str]).decode

_PROBES = ("zq7probe", 'é"\n\\…/8')
"""Texts that occur in no frame, the second with all that JSON and SSE treat in a way of their own."""

_STRING = re.compile(rb'"((?:[^"\\\n]|\\.)*+)"')

_MAX_REST = 64 << 10
"""Bytes of an unfinished frame that wait here; a larger one is the framer's business, with its bounds."""

_METADATA = (b'{"zq7":1}', b'{"zq7":22,"t":0.5}')


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


@dataclass(slots=True)
class Pattern:
    """What stands before and after the text in the bytes of each frame, framing included."""

    head: bytes
    tail: bytes

    def cut(self, data: bytes) -> list[bytes] | None:
        """Return the inside of each frame's text, still escaped; None unless *data* is whole frames."""
        if not (data.startswith(self.head) and data.endswith(self.tail)):
            return None
        inside = data[len(self.head) : -len(self.tail)]
        # The tail ends a frame's last line, and no JSON string holds the end of a line.
        seam = self.tail + self.head
        return inside.split(seam) if seam in inside else [inside]

    def is_begun(self, rest: bytes) -> bool:
        """Tell whether *rest* is nothing but the beginning of a frame."""
        head = self.head
        if len(rest) > _MAX_REST:
            return False
        return head.startswith(rest) or (rest.startswith(head) and b"\n" not in rest[len(head) :])


def pattern_of(raw: bytes, event: Delta, framer: Framer, dialect: Dialect) -> Pattern | None:
    """
    Return the pattern of a frame, proven; None if it has none.

    Args:
        raw: The frame's bytes, framing included.
        event: All that the dialect has made of it.
        framer: A new one.
        dialect: The stream's; such frames must leave no trace in it.
    """
    places = [found.span(1) for found in _STRING.finditer(raw) if _is(found[1], text_of(event))]
    if len(places) != 1:
        return None
    start, end = places[0]
    pattern = Pattern(raw[:start], raw[end:])
    if all(_says(framer, dialect, pattern, with_text(event, probe)) for probe in _PROBES):
        return pattern
    return None


def _is(body: bytes, text: str) -> bool:
    """Tell whether *body* says *text*, however it is spelt."""
    try:
        return _decode_text(b'"%b"' % body) == text
    except UNREADABLE:
        return False


def _says(framer: Framer, dialect: Dialect, pattern: Pattern, event: Delta) -> bool:
    """Tell whether a frame of *pattern* with the text of *event* is one frame and says just that."""
    try:
        frames = list(framer.feed(pattern.head + body_of(text_of(event)) + pattern.tail))
        return len(frames) == 1 and framer.is_between and dialect.decode(frames[0]) == [event]
    except WireError:  # the bytes began inside a frame
        return False


@dataclass(slots=True)
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


class Run:
    """
    One run: reads what fits its pattern, and holds bodies that wait for their batch.

    Attributes:
        event: What a frame of it says.
        stencil: How its bodies leave.
        held: Bodies that wait.
        frames: How many frames the last read held.
        size, characters: The length of their text, as UTF-8 and as Unicode.
        total: How many frames there have been.
    """

    def __init__(self, event: Delta | Carried, pattern: Pattern, stencil: Stencil, pace: Pace) -> None:
        self.event, self.stencil = event, stencil
        self.held: list[bytes] = []
        self.frames = self.size = self.characters = self.total = 0
        self._pattern, self._pace = pattern, pace
        self._rest = b""
        # A carried frame leaves as it came, everything else is written anew.
        self._keeps_escapes = isinstance(event, Carried)

    @property
    def deadline(self) -> float | None:
        """When what is held must leave; None while nothing is."""
        return self._pace.due_at if self.held else None

    def read(self, data: bytes) -> list[bytes] | None:
        """Return the bodies of *data*, as they leave; None if any of it does not fit."""
        pattern, rest = self._pattern, b""
        if self._rest:
            data = self._rest + data
        if not data.endswith(pattern.tail):
            end = data.rfind(pattern.tail) + len(pattern.tail)
            data, rest = data[:end], data[end:]
            if not pattern.is_begun(rest):
                return None
        bodies = pattern.cut(data)
        if bodies is None:
            return None
        try:
            found = self._one(bodies[0]) if len(bodies) == 1 else self._many(bodies)
        except UNREADABLE:
            return None
        if found is not None:
            self._rest = rest
        return found

    def keep(self, rest: bytes) -> bool:
        """Keep *rest* for the next read if it is the beginning of a frame; tell whether it is."""
        is_begun = self._pattern.is_begun(rest)
        if is_begun:
            self._rest = rest
        return is_begun

    def take_rest(self) -> bytes:
        """Give up the beginning of a frame that came at the end of the last read, to be read another way."""
        rest, self._rest = self._rest, b""
        return rest

    def _one(self, body: bytes) -> list[bytes] | None:
        # Decoding proves all at once: no quote, no control character, whole escapes, valid UTF-8.
        text = _decode_text(b'"%b"' % body)
        if not text:
            return None
        self.frames, self.size, self.characters = 1, len(body), len(text)
        if b"\\" not in body:
            return [body]
        self.size = len(text.encode())
        return [body if self._keeps_escapes else body_of(text)]

    def _many(self, bodies: list[bytes]) -> list[bytes] | None:
        joined = b"".join(bodies)
        if b"\\" not in joined:
            # Every quote inside a body would make one text more.
            texts = _decode_texts(b'["%b"]' % b'","'.join(bodies))
            self.size = len(joined)
        else:
            texts = [_decode_text(b'"%b"' % body) for body in bodies]
            self.size = len("".join(texts).encode())
            if not self._keeps_escapes:
                bodies = [body_of(text) for text in texts]
        self.frames, self.characters = len(bodies), sum(map(len, texts))
        return bodies if len(texts) == self.frames and all(texts) else None

    def hold(self, events: Sequence[Event | Carried]) -> None:
        """Take over what a batcher has held."""
        self.held = [_body(event) for event in events]

    def release(self, count: int) -> Delta | Carried:
        """Give up what is held, *count* deltas, as one event."""
        body, event = b"".join(self.held), self.event
        self.held = []
        if isinstance(event, Carried):
            return replace(event, body=body, count=count)
        return with_text(event, _decode_text(b'"%b"' % body), count)


def _body(event: Event | Carried) -> bytes:
    if isinstance(event, Carried):
        return event.body
    assert isinstance(event, Delta)
    return body_of(text_of(event))
