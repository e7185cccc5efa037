"""
The client's side of one stream: head, whole events, end, and the client that stops reading or leaves.

Events are written straight to the transport where they arise, so that no task needs waking for them; what
comes before the head is kept for it. ``send_head`` and ``end`` are the only calls that wait.
"""

from __future__ import annotations

import contextlib

from aiohttp.web import BaseRequest, StreamResponse
from multidict import CIMultiDict

__all__ = ["Outlet"]


_MAX_KEPT = 64 << 10
"""Bytes of events kept for the head; it leaves a turn of the loop after the first, so more is a flood."""


class Outlet:
    """
    Writes one stream to one client.

    Attributes:
        answer: What was sent, for aiohttp's handler to return; None while nothing was.
        is_open: The head has been sent, or is being sent.
        paused: The client does not take what was written.
        gone: The client has left; whatever is written is dropped.
    """

    def __init__(self, request: BaseRequest) -> None:
        self.answer: StreamResponse | None = None
        self.is_open = False
        self.paused = False
        self.gone = False
        self._request = request
        self._transport = request.transport
        self._chunked = request.version >= (1, 1)
        self._kept: list[bytes] = []

    @property
    def is_full(self) -> bool:
        """As much is kept for the head as may be."""
        return sum(map(len, self._kept)) > _MAX_KEPT

    async def send_head(self, headers: CIMultiDict[str]) -> None:
        """Send the head and what was kept for it; for HTTP/1.0 the body ends with the connection."""
        self.is_open = True
        answer = StreamResponse(headers=headers)
        # It leaves together with the first events: one system call instead of two.
        answer._send_headers_immediately = False
        if self._chunked:
            answer.enable_chunked_encoding()
        else:
            # Also for a client that asked for keep-alive: aiohttp would leave it waiting for the end.
            answer.force_close()
        await answer.prepare(self._request)
        self.answer = answer
        if self._kept:
            kept = b"".join(self._kept)
            self._kept.clear()
            await answer.write(kept)
        else:
            # Only a write or this takes the head out of aiohttp's buffer.
            assert answer._payload_writer is not None
            answer._payload_writer.send_headers()
        # They would be a kilobyte for as long as the stream runs.
        answer.headers.clear()

    def write(self, events: bytes) -> None:
        """Write whole events now, or keep them for the head."""
        if self.gone:
            return
        if self.answer is None:
            self._kept.append(events)
        elif self._transport is not None and not self._transport.is_closing():
            self._transport.write(b"%x\r\n%b\r\n" % (len(events), events) if self._chunked else events)

    def keep(self, events: bytes) -> None:
        """Keep the last events for ``end``, which sends them together with the body's end."""
        if not self.gone:
            self._kept.append(events)

    async def end(self) -> None:
        """Send what is kept and end the body; the connection stays usable."""
        if self.gone or self.answer is None:
            return
        with contextlib.suppress(ConnectionError):  # it left at the very end
            await self.answer.write_eof(b"".join(self._kept))

    def leave(self) -> None:
        """The client has gone."""
        self.gone = True
        self._kept.clear()

    def abort(self) -> None:
        """Cut the connection without the body's end, so that the client sees that something is missing."""
        if self._transport is not None:
            self._transport.abort()
