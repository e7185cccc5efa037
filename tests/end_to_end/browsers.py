"""
Two small web pages, line by line, as readers of raw sockets.

``EventSource`` follows the HTML standard (section 9.2, server-sent events); ``Fetch`` is the short reader
that thousands of pages have, with its faults: it looks at each read on its own and keeps nothing across
reads.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from .asking import Answer, Connection, connection_to

__all__ = ["Bytes", "EventSource", "Fetch", "Page"]


def text(value: Any, key: str) -> str:
    """Return what JavaScript appends for ``value.key``: a missing one is ``undefined``."""
    return str(value.get(key, "undefined"))


@dataclass
class Page:
    """What is on the page, and what has happened to it."""

    shown: str = ""
    finished: list[Any] = field(default_factory=list)
    errors: list[str | None] = field(default_factory=list)
    """The data of each ``error`` event; None for those that the browser itself makes."""

    reads: int = 0

    def handle(self, data: Any, close: Callable[[], None]) -> None:
        """``if (data.finished) close(); else out.textContent += data.token``"""
        if data.get("finished"):
            self.finished.append(data)
            close()
        else:
            self.shown += text(data, "token")


class Bytes:
    """A body as the network stack hands it up: whatever one read of the socket brought, unchunked."""

    def __init__(self, connection: Connection, head: Answer) -> None:
        self._reader = connection.reader
        self._chunked = "chunked" in head.headers.get("Transfer-Encoding", "")
        self._length = None if self._chunked else int(head.headers["Content-Length"])
        self._raw = b""
        self._ended = self._length == 0

    async def read(self) -> bytes:
        """Return the body bytes of the next read; empty at the end."""
        while not self._ended:
            self._raw += (fresh := await self._reader.read(1 << 16))
            assert fresh, "the connection was cut in mid-body"
            if self._chunked:
                data = self._unchunk()
            else:
                assert self._length is not None
                data, self._raw = self._raw, b""
                self._length -= len(data)
                self._ended = self._length == 0
            if data:
                return data
        return b""

    def _unchunk(self) -> bytes:
        data = b""
        while (line_end := self._raw.find(b"\r\n")) >= 0:
            size = int(self._raw[:line_end], 16)
            after = line_end + 2 + size + 2
            if len(self._raw) < after:
                break
            data += self._raw[line_end + 2 : after - 2]
            self._raw = self._raw[after:]
            self._ended = size == 0
        return data


class Fetch:
    """
    ``fetch(url, {method: "POST", body: JSON.stringify({prompt})})`` and a reader that buffers nothing.

    ``for (const line of decoder.decode(value).split("\\n")) if (line.startsWith("data: "))
    handle(JSON.parse(line.slice(6)))``
    """

    def __init__(self, url: str, path: str) -> None:
        self.page = Page()
        self.status = 0
        self._url, self._path = url, path
        self._is_closed = False

    async def run(self, body: Any) -> Page:
        """Ask, read to the end or until the page has had enough, and return the page."""
        connection = await connection_to(self._url)
        try:
            # Browsers label a string so.
            headers = {"Content-Type": "text/plain;charset=UTF-8", "Accept": "*/*"}
            connection.send(self._path, json.dumps(body).encode(), headers=headers)
            head = await connection.head()
            self.status = head.status
            stream = Bytes(connection, head)
            while not self._is_closed and (value := await stream.read()):
                self.page.reads += 1
                self._take(value)
        finally:
            connection.writer.close()
        return self.page

    def _take(self, value: bytes) -> None:
        for line in value.decode(errors="replace").split("\n"):
            if line.startswith("data: "):
                self.page.handle(json.loads(line[6:]), self._close)

    def _close(self) -> None:
        self._is_closed = True


class EventSource:
    """
    ``new EventSource(url)`` with the page's handlers on it.

    Attributes:
        states: The status of each answer, one a connection.
        sent_ids: The ``Last-Event-ID`` of each request.

    Args:
        closes: False is a page that forgets to close; it reconnects until it is told 204.
    """

    def __init__(self, url: str, path: str, *, closes: bool = True) -> None:
        self.page = Page()
        self.states: list[int] = []
        self.sent_ids: list[str | None] = []
        self.ids: list[str] = []
        self._url, self._path, self._closes = url, path, closes
        self._is_closed = False
        self._retry = 0.01  # the standard says "a few seconds"; the server may say otherwise
        self._last_id = ""

    async def run(self) -> Page:
        """Connect, again and again, until closed by the page, by 204 or by an answer that is no stream."""
        async with asyncio.timeout(20):
            while not self._is_closed:
                await self._connect()
                if not self._is_closed:
                    self._fire_error(None)
                    await asyncio.sleep(self._retry)
        return self.page

    async def _connect(self) -> None:
        connection = await connection_to(self._url)
        headers = {"Accept": "text/event-stream", "Cache-Control": "no-cache"}
        if self._last_id:
            headers["Last-Event-ID"] = self._last_id
        self.sent_ids.append(headers.get("Last-Event-ID"))
        try:
            connection.send(self._path, method="GET", headers=headers)
            head = await connection.head()
            self.states.append(head.status)
            media = head.headers.get("Content-Type", "").replace(" ", "").lower()
            if head.status != 200 or media not in ("text/event-stream", "text/event-stream;charset=utf-8"):
                self._is_closed = True  # "fail the connection": no reconnect, the status stays unseen
                self._fire_error(None)
                return
            await self._read(Bytes(connection, head))
        finally:
            connection.writer.close()

    async def _read(self, stream: Bytes) -> None:
        buffer = b""
        fields: dict[str, str] = {}
        while not self._is_closed and (value := await stream.read()):
            self.page.reads += 1
            buffer += value
            *lines, buffer = buffer.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
            for line in lines:
                self._take_line(line.decode(), fields)
                if self._is_closed:
                    return

    def _take_line(self, line: str, fields: dict[str, str]) -> None:
        if not line:
            self._dispatch(fields)
            fields.clear()
            return
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match name:
            case "event":
                fields["event"] = value
            case "data":
                fields["data"] = fields.get("data", "") + value + "\n"
            case "id" if "\0" not in value:
                fields["id"] = value
            case "retry" if value.isascii() and value.isdigit():
                self._retry = int(value) / 1000

    def _dispatch(self, fields: dict[str, str]) -> None:
        self._last_id = fields.get("id", self._last_id)
        if not fields.get("data"):
            return
        self.ids.append(self._last_id)
        data = fields["data"].removesuffix("\n")
        match fields.get("event", "message"):
            case "message" | "":
                self.page.handle(json.loads(data), self._close if self._closes else lambda: None)
            case "error":
                self._fire_error(data)

    def _fire_error(self, data: str | None) -> None:
        self.page.errors.append(data)
        if self._closes:
            self._close()  # source.onerror = () => source.close()

    def _close(self) -> None:
        self._is_closed = True
