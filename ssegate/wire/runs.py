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
from math import inf

import msgspec

from ssegate.wire.batching import Batcher, Pace
from ssegate.wire.events import Carried, Delta, Event
from ssegate.wire.patterns import Found, Pattern, body_of, decode_text, text_of, with_text
from ssegate.wire.payload import UNREADABLE
from ssegate.wire.stats import Stats
from ssegate.wire.stencils import Cast, Stencil

__all__ = ["Run"]

_decode_texts = msgspec.json.Decoder(list[str]).decode

_LONGEST_WAIT = 16 << 10
"""Bytes that may lie unread: a fraction of what any system holds for a connection."""

_WORTH_JOINING = 2
"""Deltas of a batch; where each leaves alone there is no read to be saved."""

_WORTH_WAITING = 0.004
"""Seconds; for less than that nothing is left lying."""

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
        joined: How many batches, one after the other up to the last, would have been worth leaving unread.
        characters: Of text since ``settle``, as Unicode.
    """

    __slots__ = (
        "_after",
        "_before",
        "_between",
        "_bytes",
        "_bytes_text",
        "_cast",
        "_each",
        "_frames",
        "_has_metadata",
        "_head",
        "_held",
        "_joint",
        "_keeps_escapes",
        "_max_event",
        "_number",
        "_pace",
        "_payload",
        "_rest",
        "_shape",
        "_start",
        "_stats",
        "_stop",
        "_tail",
        "_wrote_at",
        "characters",
        "content_at",
        "event",
        "joined",
        "room",
        "total",
    )

    def __init__(
        self,
        event: Delta | Carried,
        pattern: Pattern,
        stencil: Stencil,
        cast: Cast | None,
        stats: Stats,
        max_event: int,
    ) -> None:
        self.event = event
        self.total = self.characters = self._frames = self._bytes = self._bytes_text = 0
        self.content_at = self._wrote_at = 0.0
        self._head, self._tail, self._shape = pattern.head, pattern.tail, pattern.shape
        self._start, self._stop = len(pattern.head), -len(pattern.tail)
        self._joint = pattern.tail + pattern.head
        self._each = 0.0  # bytes of a frame, on the average
        self._before, self._between, self._after = stencil.before, stencil.between, stencil.after
        self._has_metadata = stencil.has_metadata
        self._cast = cast  # where what leaves differs in more than the text too
        self._payload = (b"", b"")
        """What stood around the last text, for the cast."""

        self._stats = stats
        self._max_event = max_event
        self.room = self.joined = 0
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
        found = None
        if self._shape is None:
            body = data[self._start : self._stop]
        elif (found := self._shape.find(data)) is not None and found[3] == size:
            body = data[found[1] : found[2]]
        else:
            return self._feed_cut(data, now)
        try:
            # Decoding proves all at once: no quote, no control character, whole escapes, valid UTF-8.
            text = decode_text(b'"%b"' % body)
        except UNREADABLE:
            return self._feed_cut(data, now)
        if not text:
            return None
        if self._cast is not None and found is not None:
            self._payload = self._cast.split(data, found)
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
        found = [] if self._shape is None else self._find(data)
        try:
            bodies, texts = self._read(data, found)
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
        if self._cast is None:
            return self._send_all(bodies, now)
        out = []
        for body, one in zip(bodies, found, strict=True):
            self._payload = self._cast.split(data, one)
            out.append(self._send(body, now))
        return b"".join(out)

    def _read(self, data: bytes, found: list[Found]) -> tuple[list[bytes], list[str]]:
        """Return the bodies of *data*, as they leave, and their texts; no body if anything else is in it."""
        bodies = self._cut(data) if self._shape is None else [data[start:stop] for _, start, stop, _ in found]
        if b"\\" not in b"".join(bodies):
            # Every quote inside a body makes one text more.
            return bodies, _decode_texts(b'["%b"]' % b'","'.join(bodies))
        texts = [decode_text(b'"%b"' % body) for body in bodies]
        return (bodies if self._keeps_escapes else [body_of(text) for text in texts]), texts

    def _cut(self, data: bytes) -> list[bytes]:
        # The tail ends a frame's last line, and no JSON string holds the end of a line.
        if not (data.startswith(self._head) and data.endswith(self._tail)):
            return []
        return data[self._start : self._stop].split(self._joint)

    def _find(self, data: bytes) -> list[Found]:
        """Return the frames of *data*; none if anything else is in it."""
        assert self._shape is not None
        found: list[Found] = []
        at = 0
        while at < len(data):
            one = self._shape.find(data, at)
            if one is None:
                return []
            found.append(one)
            at = one[3]
        return found

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
        held = batcher.release()
        self._held = [_body(event) for event in held]
        if held and isinstance(last := held[-1], Carried):
            self._payload = last.head, last.tail

    def end(self, batcher: Batcher) -> None:
        """Give *batcher* back what is held, as one event."""
        if not self._held:
            return
        body, event, count = b"".join(self._held), self.event, self._pace.count
        self._held = []
        if isinstance(event, Carried):
            head, tail = (event.head, event.tail) if self._cast is None else self._payload
            batcher.hold(replace(event, head=head, body=body, tail=tail, count=count))
        else:
            batcher.hold(with_text(event, decode_text(b'"%b"' % body), count))

    def flush(self, now: float) -> bytes:
        """Return what is held, as one event."""
        if not self._held:
            return b""
        count, self._pace.count = self._pace.count, 0
        self._pace.wrote(now)
        return self._write(b"", count, now)

    def gather(self, data: bytes, now: float) -> bytes | None:
        """As ``feed``, for deltas that have lain unread: all leave when they are due, however many came."""
        pace, due_at = self._pace, self._pace.due_at
        pace.due_at = inf if now >= due_at else due_at
        fits = len(data) <= min(self._max_event, self.room - self._bytes)
        out = self._feed_cut(data, now) if fits else None
        if now < due_at or out is None:
            if self._held or out is None:
                # What is left over of a full batch may have lain as long as the first of it.
                pace.due_at = min(pace.due_at, due_at)
            return out
        if pace.due_at == inf:  # no batch was full
            pace.due_at = now
        return out + self.flush(now) if self._held else out

    def patience(self, now: float, overhead: int) -> tuple[int, float] | None:
        """
        Return how long what comes may lie unread, as nothing would leave any sooner.

        Args:
            overhead: Bytes that come with each frame and are none of it.

        Returns:
            The bytes that would fill the batch, and the moment it leaves in any case; None if that is now.
        """
        if self._frames:
            self._each = self._bytes / self._frames
        pace = self._pace
        if pace.due_at - now < _WORTH_WAITING or not self._each:
            return None
        missing = pace.size - pace.count
        # In the middle of the last one: frames differ by a few bytes, and each too many is read for nothing.
        return min(int((missing - 0.5) * (self._each + overhead)), _LONGEST_WAIT), pace.due_at

    def _send_all(self, bodies: list[bytes], now: float) -> bytes:
        pace = self._pace
        if now < pace.due_at and pace.count + len(bodies) < pace.size:
            self._held += bodies
            pace.count += len(bodies)
            return b""
        return b"".join([self._send(body, now) for body in bodies])

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
        if count < _WORTH_JOINING:
            self.joined = 0
        else:
            # Of a stream so fast that its batches fill at once, each read brings several in any case.
            self.joined = self.joined + 1 if now - self._wrote_at >= _WORTH_WAITING else 0
            self._wrote_at = now
        stats.sent_deltas += count
        stats.events_out += 1
        metadata = stats.running(now, None) if self._has_metadata else b""
        before, between = self._before, self._between
        if self._cast is not None:
            before, between = self._cast.around(*self._payload)
        event = b"".join((before, body, between, metadata, self._after))
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
