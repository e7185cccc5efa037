"""
Hands an upstream's body bytes to a sink where they arrive, without waking a task per read.

Waking a task costs a future, a callback and one more turn of the loop: about 12 µs a token, more than
reading, parsing and writing it. The tap takes the place of the response's own ``StreamReader`` by changing
its class (aiohttp's C parser keeps its own reference to the object, so putting another one there does
nothing). Pool, TLS, heads and keep-alive stay aiohttp's. Where the shape is not as expected, ``attach``
says so and the caller reads in the ordinary way.

Nearly every read of a stream is one whole HTTP chunk. ``Line`` is aiohttp's client connection that takes such
reads apart itself (1 µs, where parser and three callbacks take 4) as long as the parser stands between two
chunks: chunks that it never sees leave it standing there. Everything else goes through the parser.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from typing import Protocol

from aiohttp import ClientResponse
from aiohttp.client_proto import ResponseHandler
from aiohttp.helpers import TimerNoop
from aiohttp.streams import StreamReader

from ssegate import lowwater

__all__ = ["Line", "Sink", "attach", "detach", "forget", "left_in", "line_of", "pause", "resume"]


class Sink(Protocol):
    """Takes a body as it arrives. None of its methods may raise."""

    def on_data(self, data: bytes) -> None:
        """Take the next bytes."""

    def on_end(self) -> None:
        """The body is complete as far as the transport can tell."""

    def on_error(self, error: BaseException) -> None:
        """The body broke off."""


class _Hook(TimerNoop):
    """
    Holds the sink in the reader's slot for a timer, which only who waits for data asks.

    The sink belongs to the one body: the connection may carry the next one before the last word on this.
    """

    def __init__(self, sink: Sink) -> None:
        self.sink = sink
        self.is_parsing = False
        """The sink is being called from inside the parser."""

        self.is_after_chunk = False
        """The parser has seen a chunk's end, and no beginning since."""

        self.ended_line = False
        """The parser's last bytes ended a line: no part of a chunk's size waits in it."""

        self.gathered: list[bytes] | None = None
        """What a read has brought so far, to be handed over at once; None: as it comes."""

        self.room = 0
        """Bytes to be gathered before they are handed over within the read."""

    def gather(self) -> None:
        """Gather what comes from now on."""
        if self.gathered is None:
            self.gathered = []
        self.room = _MOST_GATHERED

    def take(self, data: bytes) -> None:
        """Take what the parser has found."""
        self.is_parsing = True
        if self.gathered is None:
            self.sink.on_data(data)
        else:
            self.gathered.append(data)
            self.room -= len(data)
            if self.room <= 0:
                self.hand_over()
                self.gather()
        self.is_parsing = False

    def hand_over(self) -> None:
        """Hand over what was gathered, and gather no more."""
        gathered, self.gathered = self.gathered, None
        if gathered:
            self.sink.on_data(b"".join(gathered))


_NOWHERE: deque[bytes] = deque(maxlen=0)
"""The buffer of every tapped reader: an empty one of its own is 760 bytes."""

_NEAR = 16
"""A low-water mark that is wrong by less than this part of it stays as it is."""

_MOST_GATHERED = 8 << 10
"""
When so many bytes of one read have been gathered they are handed over: there the sink can hold the parser
back, and what is left of the read waits as it is.
"""

_CHUNK_HEAD = 7
"""Bytes around the data of a common HTTP chunk (RFC 9112 section 7.1)."""

_RECORD = 22
"""Bytes around the data of a record of TLS 1.3 (RFC 8446 section 5.2)."""

_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,7})\r\n")


class Line(ResponseHandler):
    """
    One connection to an upstream.

    Attributes:
        hook: Of the chunked body that it carries, if that is tapped.
        is_used: It has been given out by the pool before.
        low_water: Bytes that must have come for it to be read.
    """

    # Beside so many of the parent's, a few attributes more would double its dictionary.
    __slots__ = ("_descriptor", "_is_encrypted", "hook", "is_used", "low_water")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self.hook: _Hook | None = None
        self.is_used = False
        self.low_water = 1
        self._is_encrypted = False
        self._descriptor: int | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin on a new socket."""
        super().connection_made(transport)
        self._is_encrypted = transport.get_extra_info("sslcontext") is not None

    @property
    def overhead(self) -> int:
        """Bytes about a chunk of a body, as the mark counts them: its head, and a record of TLS."""
        return _CHUNK_HEAD + _RECORD if self._is_encrypted else _CHUNK_HEAD

    def set_low_water(self, size: int) -> bool:
        """
        Have nothing be read before *size* bytes are there, or the end; 1: whatever comes.

        Returns:
            Whether that is so; False where bytes cannot be left lying (``lowwater``), or they are nobody's.
        """
        mark = self.low_water
        if size == mark or (size > 1 and abs(size - mark) < mark / _NEAR):
            return True
        transport = self.transport
        if transport is None or transport.is_closing() or (self.hook is None and size > 1):
            return False
        descriptor = self._descriptor
        if descriptor is None:
            descriptor = self._descriptor = lowwater.descriptor_of(transport)
        if descriptor is None or not lowwater.set_mark(descriptor, size):
            return False
        self.low_water = size
        return True

    def read_lying(self) -> bool:
        """
        Read what lies below the mark now, without the loop's help; tell whether anything was there.

        An end is none of it, the loop sees that by itself; after an error, too, it sees an end.
        """
        transport = self.transport
        if self._descriptor is None or self._reading_paused or transport is None or transport.is_closing():
            return False
        # Of TLS only the loop knows how to make sense.
        data = b"" if self._is_encrypted else lowwater.read(self._descriptor)
        if not data:
            return False
        try:
            self.data_received(data)
        except BaseException:
            transport.abort()  # as the loop does
            raise
        if len(data) >= lowwater.MOST:
            self.set_low_water(1)  # there may be more
        return True

    def data_received(self, data: bytes) -> None:
        """Take bytes from the socket."""
        hook = self.hook
        if hook is None:
            super().data_received(data)
            return
        if hook.is_after_chunk and hook.ended_line:
            data = self._take_chunks(data, hook)
            if not data:
                return
        hook.ended_line = data.endswith(b"\r\n")
        # The parser tells each chunk by itself; carried one by one, each batch would be a write of its own.
        hook.gather()
        try:
            super().data_received(data)
        finally:
            hook.hand_over()

    def _take_chunks(self, data: bytes, hook: _Hook) -> bytes:
        """Hand the whole chunks at the start of *data* over, or gather them; return what is left."""
        sink = hook.sink
        # Mostly it is one, and its size, written as others write it, has two digits or three.
        length = len(data)
        body = length - (7 if length > 262 else 6)
        head = b"%x\r\n" % body
        if len(head) + body + 2 == length and data.startswith(head) and data.endswith(b"\r\n"):
            sink.on_data(data[len(head) : -2])
            return b""
        # Else several, with no such line end inside. An empty one is the end, which the parser must see.
        parts = data.split(b"\r\n")
        bodies = parts[1:-1:2]
        if parts[:-1:2] == [b"%x" % len(body) for body in bodies] and not parts[-1] and all(bodies):
            sink.on_data(b"".join(bodies))
            return b""
        size = _CHUNK.match(data)
        if size is None:
            return data
        start = size.end()
        end = start + int(size[1], 16)
        bodies = []
        at = 0
        while start < end and data[end : end + 2] == b"\r\n":
            bodies.append(data[start:end])
            at = end + 2
            size = _CHUNK.match(data, at)
            if size is None:
                break
            start = size.end()
            end = start + int(size[1], 16)
        if at == length:
            sink.on_data(b"".join(bodies))
        else:
            hook.gathered = bodies
        return data[at:]


class _Tap(StreamReader):
    # No slots of its own: only then may an object change into this class.
    __slots__ = ()
    _timer: _Hook

    def feed_data(self, data: bytes, size: int = 0) -> bool:
        self._timer.take(data)
        return False

    def feed_eof(self) -> None:
        self._timer.hand_over()
        # What is on the way now belongs to nobody, or to the connection's next body.
        _unhook(self)
        super().feed_eof()
        self._timer.sink.on_end()

    def set_exception(self, exc: BaseException, *cause: BaseException) -> None:
        self._timer.hand_over()
        super().set_exception(exc, *cause)
        self._timer.sink.on_error(exc)

    # The reader would remember the borders of all chunks.
    def begin_http_chunk_receiving(self) -> None:
        self._timer.is_after_chunk = False

    def end_http_chunk_receiving(self) -> None:
        self._timer.is_after_chunk = True


class _Nobody:
    """The sink of a body that nobody reads any more."""

    def on_data(self, data: bytes) -> None:
        """Drop it."""

    def on_end(self) -> None:
        """Drop it."""

    def on_error(self, error: BaseException) -> None:
        """Drop it."""


_NOBODY = _Nobody()


def _unhook(reader: StreamReader) -> None:
    if isinstance(reader._protocol, Line):
        reader._protocol.hook = None
        reader._protocol.set_low_water(1)


def attach(response: ClientResponse, sink: Sink) -> bool:
    """
    Send the body of *response* to *sink* from now on, what has arrived already first.

    Returns:
        False if aiohttp's internals are not as this module knows them; nothing has been changed then.
    """
    reader = response.content
    if type(reader) is not StreamReader:
        return False
    # Not read_nowait(): it has the parser go on, into the very buffer that nobody looks at again.
    buffered = left_in(reader)
    hook = reader._timer = _Hook(sink)
    reader._buffer = _NOWHERE
    reader.__class__ = _Tap
    # The reader holds its upstream back when its buffer is full; now the sink alone does.
    protocol = reader._protocol
    if isinstance(protocol, Line) and not reader.is_eof() and "Content-Encoding" not in response.headers:
        protocol.hook = hook
    is_held = protocol._reading_paused
    if is_held:
        protocol.resume_reading(resume_parser=False)
    if buffered:
        sink.on_data(buffered)
    if (error := reader.exception()) is not None:
        sink.on_error(error)
    elif reader.is_eof():
        sink.on_end()
    elif is_held and not protocol._reading_paused:
        protocol.resume_reading()
    return True


def left_in(reader: StreamReader) -> bytes:
    """Take what waits in the buffer of *reader*; also after an error, when reading it only raises."""
    pieces = getattr(reader, "_buffer", None)
    if not pieces:
        return b""
    data = b"".join(pieces)[reader._buffer_offset :]
    pieces.clear()
    reader._buffer_offset = reader._size = 0
    return data


def pause(response: ClientResponse) -> None:
    """Read no more of *response* until ``resume``; the sink may do it inside ``on_data``."""
    if response.connection is None or (protocol := response.connection.protocol) is None:
        return
    reader = response.content
    if type(reader) is _Tap and reader._timer.is_parsing:
        protocol.pause_reading()
        return
    # A pause that the parser learns of between its calls it remembers, to stop after the next piece and
    # leave the rest lying though reading was resumed long ago (aiohttp 3.14). So only the socket waits.
    protocol._reading_paused = True
    protocol._pause_transport_reading()


def resume(response: ClientResponse) -> None:
    """Read on, first what the parser had to leave."""
    if response.connection is not None and (protocol := response.connection.protocol) is not None:
        protocol.resume_reading()


def line_of(response: ClientResponse) -> Line | None:
    """Return the connection that brings *response*, if it hands its body to a sink."""
    line = None if response.connection is None else response.connection.protocol
    return line if isinstance(line, Line) and line.hook is not None else None


def forget(response: ClientResponse) -> None:
    """Drop the sink of *response*: what comes from now on is nobody's."""
    if type(response.content) is _Tap:
        response.content._timer.sink = _NOBODY


def detach(response: ClientResponse) -> None:
    """Give *response* its own reader back; what comes from now on is read in the ordinary way."""
    reader = response.content
    if type(reader) is _Tap:
        _unhook(reader)
        reader._timer = TimerNoop()  # type: ignore[assignment]
        reader._buffer = deque()
        reader.__class__ = StreamReader  # type: ignore[assignment]
