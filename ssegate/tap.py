"""
Hands an upstream's body bytes to a sink where they arrive, without waking a task per read.

Waking a task costs a future, a callback and one more turn of the loop: about 12 µs a token, more than
reading, parsing and writing it. The tap takes the place of the response's own ``StreamReader`` by changing
its class (aiohttp's C parser keeps its own reference to the object, so putting another one there does
nothing). Pool, TLS, heads and keep-alive stay aiohttp's. Where the shape is not as expected, ``attach``
says so and the caller reads in the ordinary way.
"""

from __future__ import annotations

from typing import Protocol

from aiohttp import ClientResponse
from aiohttp.helpers import TimerNoop
from aiohttp.streams import StreamReader

__all__ = ["Sink", "attach", "detach", "left_in", "pause", "resume"]


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


class _Tap(StreamReader):
    # No slots of its own: only then may an object change into this class.
    __slots__ = ()
    _timer: _Hook

    def feed_data(self, data: bytes, size: int = 0) -> bool:
        hook = self._timer
        hook.is_parsing = True
        hook.sink.on_data(data)
        hook.is_parsing = False
        return False

    def feed_eof(self) -> None:
        super().feed_eof()
        self._timer.sink.on_end()

    def set_exception(self, exc: BaseException, *cause: BaseException) -> None:
        super().set_exception(exc, *cause)
        self._timer.sink.on_error(exc)

    # The borders of HTTP chunks mean nothing to us, and remembering them would grow without end.
    def begin_http_chunk_receiving(self) -> None: ...

    def end_http_chunk_receiving(self) -> None: ...


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
    reader._timer = _Hook(sink)
    reader.__class__ = _Tap
    # The reader holds its upstream back when its buffer is full; now the sink alone does.
    protocol = reader._protocol
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


def detach(response: ClientResponse) -> None:
    """Give *response* its own reader back; what comes from now on is read in the ordinary way."""
    reader = response.content
    if type(reader) is _Tap:
        reader._timer = TimerNoop()  # type: ignore[assignment]
        reader.__class__ = StreamReader  # type: ignore[assignment]
