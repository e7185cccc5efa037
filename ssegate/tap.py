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
from aiohttp.client_proto import ResponseHandler
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


class _Tap(StreamReader):
    # No slots of its own: only then may an object change into this class.
    __slots__ = ()

    def feed_data(self, data: bytes, size: int = 0) -> bool:
        self._protocol.ssegate_sink.on_data(data)  # type: ignore[attr-defined]
        return False

    def feed_eof(self) -> None:
        super().feed_eof()
        self._protocol.ssegate_sink.on_end()  # type: ignore[attr-defined]

    def set_exception(self, exc: BaseException, exc_cause: BaseException | None = None) -> None:
        super().set_exception(exc)
        exc.__cause__ = exc.__cause__ or exc_cause
        self._protocol.ssegate_sink.on_error(exc)  # type: ignore[attr-defined]

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
    if type(reader) is not StreamReader or not isinstance(reader._protocol, ResponseHandler):
        return False
    protocol = reader._protocol
    buffered = reader.read_nowait(-1) if reader.exception() is None else b""
    protocol.ssegate_sink = sink  # type: ignore[attr-defined]
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
        reader.__class__ = StreamReader  # type: ignore[assignment]
        del reader._protocol.ssegate_sink  # type: ignore[attr-defined]
