"""
Passes the body of an upstream's answer on as it is, within bounds of time and with flow control both ways.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from dataclasses import dataclass, field

from aiohttp import ClientResponse
from aiohttp.web import BaseRequest, StreamResponse

from ssegate.alarm import Alarm
from ssegate.upstream import read
from ssegate.wire.errors import UpstreamError
from ssegate.wire.events import Failure

__all__ = ["Copy", "Kept"]

_MAX_KEPT = 4 << 20
"""Bytes of a body that are kept for who wants to read them."""


@dataclass(slots=True)
class Kept:
    """A body that was passed on, for who wants to read its usage; empty where it is too long to be kept."""

    content_type: str = ""
    body: bytearray = field(default_factory=bytearray)

    @property
    def may_tell(self) -> bool:
        """The body is of a kind that may tell a usage: JSON, or events of any framing."""
        return "json" in self.content_type or "event" in self.content_type

    def add(self, data: bytes, total: int) -> None:
        """Keep *data*, with which *total* bytes have come."""
        if total > _MAX_KEPT:
            self.body.clear()
        elif self.may_tell:
            self.body += data


class Copy:
    """
    Copies a body to a client, no faster than it is taken. Implements ``connection.Reader``.

    One of two clocks runs: ``idle`` while the upstream is waited for, ``write`` while the client takes
    nothing. They share one timer, moved lazily. Where the body ends before its time, so does the client's
    connection: no part of a body must look whole.

    Args:
        kept: Gets a copy of the body.

    Attributes:
        sent: Bytes of the body given to the client's connection.
        failure: Why the body did not reach its end; also set where ``run`` is cancelled in consequence.
    """

    def __init__(
        self,
        request: BaseRequest,
        response: ClientResponse,
        *,
        idle: float | None,
        write: float | None,
        kept: Kept | None = None,
    ) -> None:
        self.sent = 0
        self.failure: Failure | None = None
        self._request, self._response = request, response
        self._idle, self._write = idle, write
        self._kept = kept
        self._loop = asyncio.get_running_loop()
        self._alarm = Alarm(self._on_time)
        self._due: float | None = None
        self._takes = asyncio.Event()
        self._takes.set()
        self._unsent = 0

    async def run(self, answer: StreamResponse, first: bytes = b"") -> None:
        """
        Copy to the end, *first* before what is still to be read, and until the client has taken it.

        Raises:
            asyncio.CancelledError, ConnectionError: The client has gone, or was cut: ``failure`` tells.
        """
        if self._request.protocol.writing_paused:
            self.client_pauses()  # it has not taken its last answer yet
        try:
            data = first or await self._next()
            while data:
                self.sent += len(data)
                if self._kept is not None:
                    self._kept.add(data, self.sent)
                await answer.write(data)
                data = await self._next()
        except UpstreamError as error:
            self.end(error.failure)
        except ConnectionError:
            if self.failure is None:
                raise
        finally:
            self._alarm.stop()

    def end(self, failure: Failure) -> None:
        """End it now, unless it has failed already: the upstream is closed and the client cut."""
        if self.failure is not None:
            return
        self.failure = failure
        self._response.close()
        self._takes.set()
        if (transport := self._request.transport) is not None:
            if self._request.version < (1, 1):
                _reset_at_close(transport)
            transport.abort()

    def client_pauses(self) -> None:
        """The client's connection has taken more than it can send."""
        self._takes.clear()
        self._unsent = self._left_over()
        self._expect_within(self._write)

    def client_resumes(self) -> None:
        """The client reads again."""
        self._due = None
        self._takes.set()

    async def _next(self) -> bytes:
        await self._takes.wait()
        self._expect_within(self._idle)
        data = await read(self._response)
        self._due = None
        return data

    def _expect_within(self, seconds: float | None) -> None:
        self._due = None if seconds is None else self._loop.time() + seconds
        self._alarm.set(self._due)

    def _on_time(self) -> None:
        if self._due is None or self._loop.time() < self._due:
            self._alarm.set(self._due)
        elif self._takes.is_set():
            self.end(Failure("idle_timeout", f"upstream was silent for {self._idle:g} s"))
        elif (unsent := self._left_over()) < self._unsent:
            self._unsent = unsent
            self._expect_within(self._write)  # it reads, be it ever so slowly
        else:
            self.end(Failure("slow_client", f"the client read nothing for {self._write:g} s"))

    def _left_over(self) -> int:
        transport = self._request.transport
        return 0 if transport is None else transport.get_write_buffer_size()


def _reset_at_close(transport: asyncio.Transport) -> None:
    """Make the close a reset (socket(7), a linger time of 0): to HTTP/1.0 a mere close is the body's end."""
    sock = transport.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
