"""
One client connection: tells its stream when the client stops reading, refuses what is not HTTP in JSON.

aiohttp's own handler would echo the bytes it cannot read, and has no cap on connections.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, cast

from aiohttp import web
from aiohttp.web import BaseRequest, Response, StreamResponse
from aiohttp.web_protocol import RequestHandler

from ssegate.wire.events import Failure
from ssegate.wire.formats.error_bodies import error_body

__all__ = ["Connection", "ConnectionServer"]

_WRITE_HIGH_WATER = 16 << 10
"""Bytes kept for a client that does not read before its stream is held back."""


class Reader(Protocol):
    """What a connection tells about its client."""

    def client_pauses(self) -> None: ...

    def client_resumes(self) -> None: ...


class Connection(RequestHandler):
    """A client's connection to the data port."""

    __slots__ = ("_is_refused", "reader")

    def __init__(self, server: ConnectionServer, **options: Any) -> None:
        super().__init__(server, **options)
        self.reader: Reader | None = None
        """The stream that is being sent on this connection."""
        self._is_refused = False

    @property
    def is_busy(self) -> bool:
        """A request has been read and is not answered, or its answer has not all left."""
        if self._manager is None or self.transport is None:
            return False  # gone, or cut
        if self.transport.get_write_buffer_size() > 0:
            return True
        awaits_request = self._waiter is not None and not self._waiter.done()
        return not (awaits_request or self.transport.is_closing())

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection, unless there are too many."""
        # uvloop's transports have the methods, not the base class.
        transport = cast(asyncio.Transport, transport)
        server = self._manager
        if isinstance(server, ConnectionServer) and len(server.connections) >= server.max_connections:
            self._is_refused = True
            transport.abort()
            return
        transport.set_write_buffer_limits(high=_WRITE_HIGH_WATER)
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Forget the connection."""
        if not self._is_refused:
            super().connection_lost(exc)

    def pause_writing(self) -> None:
        """The client does not take what we send."""
        super().pause_writing()
        if self.reader is not None:
            self.reader.client_pauses()

    def resume_writing(self) -> None:
        """The client takes it again."""
        super().resume_writing()
        if self.reader is not None:
            self.reader.client_resumes()

    def eof_received(self) -> None:
        """Take half a close for a leaving: nobody can tell the two apart."""
        # A mere close would wait for what was written to be taken, by a client that may not read any more.
        if self.reader is not None and self.transport is not None:
            self.transport.abort()
            return
        super().eof_received()

    def handle_error(
        self,
        request: BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> StreamResponse:
        """Answer what aiohttp could not read, without repeating it."""
        if isinstance(exc, ConnectionError):
            raise exc  # the client has left: nobody is to be answered, and nothing has failed here
        if status >= 500:
            self.log_exception("a request failed inside the gate", exc_info=exc)
        if request.writer.output_size > 0:
            # A head is out already; a second one would land in the open body.
            raise ConnectionError("the answer had begun") from exc
        code, said = ("internal", "the gate failed") if status >= 500 else ("bad_request", "this is not HTTP")
        body = error_body("openai", Failure(code, said), status)
        answer = Response(status=status, body=body, content_type="application/json")
        answer.force_close()
        return answer


class ConnectionServer(web.Server):
    """
    Makes a ``Connection`` for every client.

    Attributes:
        max_connections: As many there may be at the same time; who comes then is closed.
        keepalive: Seconds that a new connection may be idle, for all its life.
    """

    def __init__(
        self,
        handler: Callable[[BaseRequest], Awaitable[StreamResponse]],
        *,
        max_connections: int,
        keepalive: float,
    ) -> None:
        super().__init__(handler, handler_cancellation=True)
        self.max_connections = max_connections
        self.keepalive = keepalive

    def busy(self) -> list[Connection]:
        """Return the connections that have a request in flight, from its head to the end of its answer."""
        return [one for one in self.connections if isinstance(one, Connection) and one.is_busy]

    def __call__(self) -> Connection:
        """Make the protocol of one new connection."""
        return Connection(
            self,
            loop=self._loop,
            access_log=None,
            auto_decompress=False,
            keepalive_timeout=self.keepalive,
            max_field_size=32_768,
            max_line_size=16_384,
            lingering_time=1.0,
        )
