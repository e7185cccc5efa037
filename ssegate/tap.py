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

__all__ = ["Sink", "attach", "detach"]


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


class _Tap(StreamReader):
    # No slots of its own: only then may an object change into this class.
    __slots__ = ()
    _timer: _Hook

    def feed_data(self, data: bytes, size: int = 0) -> bool:
        self._timer.sink.on_data(data)
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
    buffered = reader.read_nowait(-1) if reader.exception() is None else b""
    reader._timer = _Hook(sink)
    reader.__class__ = _Tap
    if buffered:
        sink.on_data(buffered)
    if (error := reader.exception()) is not None:
        sink.on_error(error)
    elif reader.is_eof():
        sink.on_end()
    return True


def detach(response: ClientResponse) -> None:
    """Give *response* its own reader back; what comes from now on is read in the ordinary way."""
    reader = response.content
    if type(reader) is _Tap:
        reader._timer = TimerNoop()  # type: ignore[assignment]
        reader.__class__ = StreamReader  # type: ignore[assignment]
