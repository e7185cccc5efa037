"""A client that trusts nobody: it keeps the bytes, and says how the connection ended."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Literal

__all__ = ["PATHS", "QUIET", "Heard", "connected", "events", "lines", "request", "talk", "until"]

PATHS = {
    "openai": "/v1/chat/completions",
    "completions": "/v1/completions",
    "anthropic": "/v1/messages",
    "ollama": "/api/chat",
    "generate": "/api/generate",
}
QUIET = 0.25
"""Seconds of silence after which a connection counts as held open, where that is expected."""

PATIENCE = 20.0
"""The same where it is not: long enough for a busy machine."""


@dataclass
class Heard:
    """What came back, and how it stopped: ``fin``, ``reset``, ``open`` (silence), ``enough`` (our limit)."""

    raw: bytes
    end: Literal["fin", "reset", "open", "enough"]
    chunks: list[bytes] = field(default_factory=list)
    """The chunks of a chunked body."""

    last_chunk: bool = False
    """The body was ended as HTTP wants it ended."""

    def __post_init__(self) -> None:
        if "transfer-encoding: chunked" not in self.head.lower():
            return
        body, at = self.after_head, 0
        while (line_end := body.find(b"\r\n", at)) >= 0:
            try:
                length = int(body[at:line_end], 16)
            except ValueError:
                return
            if length == 0:
                self.last_chunk = True
                return
            at = line_end + 2
            self.chunks.append(body[at : at + length])
            at += length + 2

    @property
    def head(self) -> str:
        return self.raw.partition(b"\r\n\r\n")[0].decode("latin-1")

    @property
    def after_head(self) -> bytes:
        return self.raw.partition(b"\r\n\r\n")[2]

    @property
    def status(self) -> int:
        return int(self.head.split(" ")[1])

    @property
    def body(self) -> bytes:
        return b"".join(self.chunks) if "chunked" in self.head else self.after_head

    def header(self, name: str) -> str | None:
        for line in self.head.split("\r\n")[1:]:
            key, _, value = line.partition(":")
            if key.lower() == name.lower():
                return value.strip()
        return None


def request(path: str, body: object, method: str = "POST", **headers: str) -> bytes:
    """Return one HTTP/1.1 request; ``_`` in the names of *headers* stands for ``-``."""
    data = json.dumps(body).encode()
    fields = {"Host": "upstream", "Content-Length": str(len(data)), "Connection": "close"}
    fields |= {name.replace("_", "-"): value for name, value in headers.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + data


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection to *url*."""
    host, _, port = url.removeprefix("http://").rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        yield reader, writer
    finally:
        writer.close()
        with suppress(OSError):  # a reset by the peer is told here once more
            await writer.wait_closed()


async def talk(
    url: str, path: str, body: object, *, limit: int = 1 << 30, quiet: float = PATIENCE, **headers: str
) -> Heard:
    """Send one request and listen until the end, *quiet* seconds of silence, or *limit* bytes."""
    async with connected(url) as (reader, writer):
        writer.write(request(path, body, **headers))
        raw = b""
        while len(raw) < limit:
            try:
                data = await _read(reader, quiet)
            except TimeoutError:
                return Heard(raw, "open")
            except ConnectionResetError:
                return Heard(raw, "reset")
            if not data:
                return Heard(raw, "fin")
            raw += data
        return Heard(raw, "enough")


async def _read(reader: asyncio.StreamReader, quiet: float) -> bytes:
    try:
        async with asyncio.timeout(quiet):
            return await reader.read(1 << 16)
    except TimeoutError:
        # The whole process may have been asleep, with data waiting: look once more.
        async with asyncio.timeout(quiet / 10):
            return await reader.read(1 << 16)


async def until(condition: Any, patience: float = PATIENCE) -> None:
    """Wait until *condition* holds."""
    async with asyncio.timeout(patience):
        while not condition():
            await asyncio.sleep(0.002)


def events(body: bytes) -> list[tuple[str, Any]]:
    """Return name and payload of each SSE event of *body*; ``[DONE]`` stays text, comments are dropped."""
    found = []
    for block in body.decode().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.split("\n") if line and not line.startswith(":"))
        if "data" in fields:
            data = fields["data"]
            found.append((fields.get("event", ""), data if data == "[DONE]" else json.loads(data)))
    return found


def lines(body: bytes) -> list[Any]:
    """Return the object of each line of NDJSON."""
    return [json.loads(line) for line in body.decode().split("\n") if line.strip()]
