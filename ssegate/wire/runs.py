"""
Runs: frames that differ in nothing but one string are carried without being decoded.

Nearly every frame of a stream is the frame before it with another piece of text in it. Once the ordinary way
has shown what becomes of such a frame, its bytes are cut at the text, and so are those that leave for it;
from then on the text is taken out of the one and put into the other, at a tenth of the cost.

What does not fit its pattern, by a single byte, goes the ordinary way. What leaves is the same either way.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import msgspec

from ssegate.wire.batching import Batcher, Pace
from ssegate.wire.dialects.payload import UNREADABLE
from ssegate.wire.events import Carried, Delta, Event
from ssegate.wire.patterns import Pattern, Stencil, body_of, decode_text, text_of, with_text
from ssegate.wire.stats import Stats

__all__ = ["Run"]

_decode_texts = msgspec.json.Decoder(list[str]).decode

_MAX_REST = 64 << 10
"""Bytes of an unfinished frame that wait here; a larger one is the framer's business, with its bounds."""


class Run:
    """
    One run of one stream.

    All that a frame needs is in this one object: with hundreds of streams in turn, what costs is memory that
    is no longer in the cache, not the work.

    Attributes:
        event: What a frame of it says.
        total: How many frames there have been.
        room: Bytes that the stream may still bring; whoever has the run go on sets it.
        content_at: When the last one came.
        characters: Of text since ``settle``, as Unicode.
    """

    __slots__ = (
        "_after",
        "_before",
        "_between",
        "_bytes",
        "_bytes_text",
        "_frames",
        "_has_metadata",
        "_head",
        "_held",
        "_keeps_escapes",
        "_max_event",
        "_number",
        "_pace",
        "_pattern",
        "_rest",
        "_start",
        "_stats",
        "_stop",
        "_tail",
        "characters",
        "content_at",
        "event",
        "room",
        "total",
    )

    def __init__(
        self,
        event: Delta | Carried,
        pattern: Pattern,
        stencil: Stencil,
        stats: Stats,
        max_event: int,
    ) -> None:
        self.event = event
        self.total = self.characters = self._frames = self._bytes = self._bytes_text = 0
        self.content_at = 0.0
        self._pattern, self._head, self._tail = pattern, pattern.head, pattern.tail
        self._start, self._stop = len(pattern.head), -len(pattern.tail)
        self._before, self._between, self._after = stencil.before, stencil.between, stencil.after
        self._has_metadata = stencil.has_metadata
        self._stats = stats
        self._max_event = max_event
        self.room = 0
        self._pace = Pace(1, 0.0)
        self._held: list[bytes] = []
        self._rest = b""
        # A carried frame leaves as it came, everything else is written anew.
        self._keeps_escapes = isinstance(event, Carried)
        self._number: Callable[[bytes], bytes] | None = None

    # ---- reading -------------------------------------------------------------------------------

    def feed(self, data: bytes, now: float) -> bytes | None:
        """Take *data* if it is frames of this run; return what leaves, None if anything else is in it."""
        size = len(data)
        total = self._bytes + size
        if size > self._max_event or total > self.room:
            return None
        if self._rest or not (data.startswith(self._head) and data.endswith(self._tail)):
            return self._feed_cut(data, now)
        body = data[self._start : self._stop]
        try:
            # Decoding proves all at once: no quote, no control character, whole escapes, valid UTF-8.
            text = decode_text(b'"%b"' % body)
        except UNREADABLE:
            return self._feed_cut(data, now)
        if not text:
            return None
        self._bytes = total
        self._frames += 1
        self.characters += len(text)
        self.content_at = now
        if b"\\" in body:
            self._bytes_text += len(text.encode())
            if not self._keeps_escapes:
                body = body_of(text)
        else:
            self._bytes_text += len(body)
        leaving = self._pace.add(now)
        if leaving is None:
            self._held.append(body)
            return b""
        return self._write(body, leaving, now)

    def _feed_cut(self, data: bytes, now: float) -> bytes | None:
        """Take several frames, the rest of one and the beginning of another."""
        size, rest = len(data), b""
        data = self._rest + data
        if not data.endswith(self._tail):
            end = data.rfind(self._tail) - self._stop
            data, rest = data[:end], data[end:]
            if end < -self._stop or not self._is_begun(rest):
                return None
        try:
            bodies, texts = self._read(data)
        except UNREADABLE:
            return None
        if not bodies or len(texts) != len(bodies) or not all(texts):
            return None
        self._rest = rest
        self._bytes += size
        self._frames += len(bodies)
        self.characters += sum(map(len, texts))
        self._bytes_text += len("".join(texts).encode())
        self.content_at = now
        return b"".join([self._send(body, now) for body in bodies])

    def _read(self, data: bytes) -> tuple[list[bytes], list[str]]:
        """Return the bodies of *data*, as they leave, and their texts; no body if anything else is in it."""
        bodies = self._cut(data)
        if b"\\" not in b"".join(bodies):
            # Every quote inside a body makes one text more.
            return bodies, _decode_texts(b'["%b"]' % b'","'.join(bodies))
        texts = [decode_text(b'"%b"' % body) for body in bodies]
        return (bodies if self._keeps_escapes else [body_of(text) for text in texts]), texts

    def _cut(self, data: bytes) -> list[bytes]:
        # The tail ends a frame's last line, and no JSON string holds the end of a line.
        if not self._pattern.middle:
            inside = self._pattern.cut(data)
            return [] if inside is None else inside.split(self._tail + self._head)
        end = self._tail[len(self._tail.rstrip(b"\r\n")) :]
        bodies = [self._pattern.cut(frame + end) for frame in data.removesuffix(end).split(end)]
        return [body for body in bodies if body is not None] if None not in bodies else []

    def _is_begun(self, rest: bytes) -> bool:
        """Tell whether *rest* is nothing but the beginning of a frame."""
        if len(rest) > _MAX_REST:
            return False
        return self._head.startswith(rest) or (
            rest.startswith(self._head) and b"\n" not in rest[self._start :]
        )

    def keep(self, rest: bytes) -> bool:
        """Keep *rest* for the next read if it is the beginning of a frame; tell whether it is."""
        is_begun = self._is_begun(rest)
        if is_begun:
            self._rest = rest
        return is_begun

    def take_rest(self) -> bytes:
        """Give up the beginning of a frame that came at the end of the last read, to be read another way."""
        rest, self._rest = self._rest, b""
        return rest

    # ---- writing -------------------------------------------------------------------------------

    @property
    def deadline(self) -> float | None:
        """When what is held must leave; None while nothing is."""
        return self._pace.due_at if self._held else None

    def begin(self, batcher: Batcher, number: Callable[[bytes], bytes] | None) -> None:
        """
        Hold from now on what *batcher* holds, which this run continues.

        Args:
            number: Gives an event its id; None where events have none.
        """
        self._number = number
        self._pace = batcher.pace
        self._held = [_body(event) for event in batcher.release()]

    def end(self, batcher: Batcher) -> None:
        """Give *batcher* back what is held, as one event."""
        if not self._held:
            return
        body, event, count = b"".join(self._held), self.event, self._pace.count
        self._held = []
        if isinstance(event, Carried):
            batcher.hold(replace(event, body=body, count=count))
        else:
            batcher.hold(with_text(event, decode_text(b'"%b"' % body), count))

    def flush(self, now: float) -> bytes:
        """Return what is held, as one event."""
        if not self._held:
            return b""
        count, self._pace.count = self._pace.count, 0
        self._pace.wrote(now)
        return self._write(b"", count, now)

    def _send(self, body: bytes, now: float) -> bytes:
        leaving = self._pace.add(now)
        if leaving is None:
            self._held.append(body)
            return b""
        return self._write(body, leaving, now)

    def _write(self, body: bytes, count: int, now: float) -> bytes:
        """Return the event of what is held and *body*, *count* deltas."""
        if held := self._held:
            held.append(body)
            body = b"".join(held)
            held.clear()
        stats = self._stats
        stats.sent_deltas += count
        stats.events_out += 1
        metadata = stats.running(now, None) if self._has_metadata else b""
        event = b"".join((self._before, body, self._between, metadata, self._after))
        return event if self._number is None else self._number(event)

    # ---- counting ------------------------------------------------------------------------------

    def settle(self) -> int:
        """Book what has come since the last time; return the frames."""
        frames, stats = self._frames, self._stats
        if frames:
            stats.bytes_in += self._bytes
            self.room -= self._bytes
            stats.events_in += frames
            stats.deltas += frames
            stats.generated_bytes += self._bytes_text
            self.total += frames
            self._frames = self._bytes = self._bytes_text = 0
        return frames


def _body(event: Event | Carried) -> bytes:
    if isinstance(event, Carried):
        return event.body
    assert isinstance(event, Delta)
    return body_of(text_of(event))
