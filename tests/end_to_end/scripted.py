"""
Upstreams and clients made of bare sockets: they say exactly the bytes a test gives them, and tell when they
were left.
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
import ssl
import struct
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

__all__ = ["DONE", "HEAD", "Client", "Peer", "Scripted", "calling", "chunk", "scripted", "self_signed", "sse"]

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
"""Of a stream that is well."""

PATIENCE = 10.0


def chunk(data: bytes) -> bytes:
    """Return *data* as one HTTP chunk."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def sse(text: str | None = None, finish: str | None = None, **keys: Any) -> bytes:
    """Return one chat completion chunk as an SSE event."""
    delta = {} if text is None else {"content": text}
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    return b"data: %b\n\n" % json.dumps(head | {"choices": [choice]} | keys).encode()


DONE = sse(finish="stop") + b"data: [DONE]\n\n"
"""Finish and end mark."""


class Peer:
    """One accepted connection, from its server's side."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self.sent = 0
        """Bytes that were taken by the system."""

    async def head(self) -> bytes:
        """Read the head of one request; its body stays where it is."""
        return await self._reader.readuntil(b"\r\n\r\n")

    async def request(self) -> bytes:
        """Read one request whole; empty at the end of the connection."""
        try:
            head = await self._reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return b""
        length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
        return head + (await self._reader.readexactly(int(length[1])) if length else b"")

    async def say(self, data: bytes) -> None:
        """Send *data*."""
        self._writer.write(data)
        await self._writer.drain()
        self.sent += len(data)

    async def stream(self, *events: bytes, head: bytes = HEAD, end: bool = True) -> None:
        """Send a head, each event as a chunk, and the last chunk."""
        await self.say(head + b"".join(map(chunk, events)) + (b"0\r\n\r\n" if end else b""))

    async def left(self) -> float:
        """Wait until the other side has closed; return when, on the loop's clock."""
        with suppress(ConnectionError):
            while await self._reader.read(1 << 16):
                pass
        return asyncio.get_running_loop().time()

    def reset(self) -> None:
        """Break the connection (RST): socket(7), a linger time of 0."""
        reset(self._writer)

    def close(self) -> None:
        """Close the connection (FIN)."""
        self._writer.close()


class Scripted:
    """
    A server that follows a script on each connection.

    Attributes:
        peers: Every connection there was, in order.
    """

    def __init__(self, script: Callable[[Peer], Awaitable[None]], scheme: str) -> None:
        self.peers: list[Peer] = []
        self._script, self._scheme = script, scheme
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    @property
    def port(self) -> int:
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    @property
    def url(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self.port}"

    async def start(self, tls: ssl.SSLContext | None) -> None:
        self._server = await asyncio.start_server(self._accepted, "127.0.0.1", 0, ssl=tls, backlog=1024)

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        results = await asyncio.gather(*self._tasks, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception) and not isinstance(result, ConnectionError):
                raise result

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        peer = Peer(reader, writer)
        self.peers.append(peer)
        try:
            await self._script(peer)
        except ConnectionError:
            pass  # the script spoke to somebody who had left
        except asyncio.CancelledError:
            pass  # the test is over
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()


@asynccontextmanager
async def scripted(
    script: Callable[[Peer], Awaitable[None]], tls: ssl.SSLContext | None = None
) -> AsyncIterator[Scripted]:
    """Run a server that follows *script* on each connection."""
    server = Scripted(script, "http" if tls is None else "https")
    await server.start(tls)
    try:
        yield server
    finally:
        await server.stop()


class Client:
    """One connection to a gate, from the client's side."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self._writer = reader, writer

    def ask(self, path: str, body: Any = None, *, method: str = "POST", **headers: str) -> None:
        """Send one request; ``_`` in the names of *headers* stands for ``-``."""
        data = b"" if method == "GET" else json.dumps({"stream": True} if body is None else body).encode()
        fields = {"Host": "gate", "Content-Length": str(len(data))}
        fields |= {name.replace("_", "-"): value for name, value in headers.items()}
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        self.send(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + data)

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self._writer.write(data)

    async def until(self, mark: bytes) -> bytes:
        """Read up to and including *mark*."""
        async with asyncio.timeout(PATIENCE):
            return await self.reader.readuntil(mark)

    async def rest(self) -> bytes:
        """Read to the end; what came before a reset counts."""
        found = b""
        async with asyncio.timeout(PATIENCE):
            with suppress(ConnectionError):
                while data := await self.reader.read(1 << 16):
                    found += data
        return found

    def close(self) -> None:
        """Leave (FIN)."""
        self._writer.close()

    def reset(self) -> None:
        """Leave (RST)."""
        reset(self._writer)


@asynccontextmanager
async def calling(
    url: str, *, receive_buffer: int | None = None, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Client]:
    """
    A connection to *url*.

    Args:
        receive_buffer: Bytes the system keeps for a client that does not read.
    """
    host, _, port = url.partition("://")[2].rpartition(":")
    sock = socket.socket()
    sock.setblocking(False)
    if receive_buffer is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    await asyncio.get_running_loop().sock_connect(sock, (host, int(port)))
    # The limit is what asyncio itself reads ahead.
    limit = 1 << 16 if receive_buffer is None else receive_buffer
    name = {} if tls is None else {"ssl": tls, "server_hostname": "localhost"}
    reader, writer = await asyncio.open_connection(sock=sock, limit=limit, **name)
    try:
        yield Client(reader, writer)
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


def reset(writer: asyncio.StreamWriter) -> None:
    transport = writer.transport
    sock = transport.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


def self_signed(file: Path, name: str = "localhost", key: str = "ec") -> Path:
    """Write a new certificate for *name*, signed by nobody but itself, and its *key* into *file*."""
    kind = {"ec": ("ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"), "rsa": ("rsa:2048",)}[key]
    made = subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", *kind),
            *("-nodes", "-days", "2", "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}"),
            *("-keyout", "-", "-out", "-"),
        ],
        capture_output=True,
        check=True,
    )
    file.write_bytes(made.stdout)
    return file
