"""
A client that keeps every byte and every border, and upstreams that tests write themselves.

An answer is kept with the chunks it came in, since one chunk is one write of the gate's.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from multidict import CIMultiDict

__all__ = [
    "CHAT",
    "JSON",
    "STREAM",
    "Answer",
    "Connection",
    "Served",
    "Upstream",
    "answering",
    "ask",
    "code_of",
    "connected",
    "connection_to",
    "error_of",
    "everything_to",
    "serving",
]

CHAT = "/v1/chat/completions"
JSON = {"Content-Type": "application/json"}

_CHUNK = b'data: {"id":"c1","object":"chat.completion.chunk","created":1,"model":"m","choices":%b}\n\n'
STREAM = (
    _CHUNK % b'[{"index":0,"delta":{"role":"assistant","content":"Hello"},"finish_reason":null}]'
    + _CHUNK % b'[{"index":0,"delta":{},"finish_reason":"stop"}]'
    + b"data: [DONE]\n\n"
)
"""The shortest healthy answer of OpenAI's: it says Hello."""

PATIENCE = 20.0


@dataclass
class Answer:
    """One answer, as it came."""

    version: str
    status: int
    headers: CIMultiDict[str]
    chunks: list[bytes] = field(default_factory=list)
    """Of a chunked body, one per HTTP chunk; of another body, whatever came."""

    is_whole: bool = True
    """The body ended as HTTP wants it: last chunk, announced length, or the close of HTTP/1.0."""

    @property
    def body(self) -> bytes:
        return b"".join(self.chunks)

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def header(self, name: str) -> str | None:
        """Return the one header of that name; two of them are a mistake."""
        values = self.headers.getall(name, [])
        assert len(values) <= 1, f"{name} came {len(values)} times: {values}"
        return values[0] if values else None


class Connection:
    """One connection, on which any number of requests may be sent."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def send(
        self, path: str, body: object = None, *, method: str = "POST", headers: Any = (), version: str = "1.1"
    ) -> None:
        """
        Send one request.

        Args:
            body: Bytes go out as they are, anything else as JSON, None as no body.
            headers: A mapping, or pairs where a name comes twice.
        """
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        fields = list(headers.items()) if isinstance(headers, dict) else list(headers)
        names = {name.lower() for name, _ in fields}
        if "host" not in names:
            fields.insert(0, ("Host", "gate.test"))
        if body is not None and not names & {"content-length", "transfer-encoding"}:
            fields.append(("Content-Length", str(len(data))))
        if body is not None and not isinstance(body, bytes) and "content-type" not in names:
            fields.append(("Content-Type", "application/json"))
        head = "".join(f"{name}: {value}\r\n" for name, value in fields)
        self.writer.write(f"{method} {path} HTTP/{version}\r\n{head}\r\n".encode("latin-1") + data)

    async def answer(self, method: str = "POST") -> Answer:
        """Read one answer to a request with *method*, and nothing beyond its end."""
        async with asyncio.timeout(PATIENCE):
            answer = await self.head()
            await self._read_body(answer, method)
            return answer

    async def ask(self, path: str, body: object = None, *, method: str = "POST", **rest: Any) -> Answer:
        """Send one request and read its answer."""
        self.send(path, body, method=method, **rest)
        return await self.answer(method)

    async def head(self) -> Answer:
        """Read the head of an answer; its body is left to the caller."""
        first, *lines = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        version, status, _ = first.split(" ", 2)
        pairs = (line.split(": ", 1) for line in lines if line)
        return Answer(version, int(status), CIMultiDict((name, value) for name, value in pairs))

    async def chunk(self) -> bytes:
        """Read one HTTP chunk; empty for the last one."""
        size = int(await self.reader.readuntil(b"\r\n"), 16)
        data = await self.reader.readexactly(size + 2)
        assert data.endswith(b"\r\n")
        return data[:-2]

    async def is_closed(self) -> bool:
        """Wait for the server's close; False if it says anything before."""
        async with asyncio.timeout(PATIENCE):
            with suppress(ConnectionError):
                return await self.reader.read(1) == b""
            return True

    async def _read_body(self, answer: Answer, method: str) -> None:
        if method == "HEAD" or answer.status in (204, 304) or answer.status < 200:
            return
        try:
            if "chunked" in answer.headers.get("Transfer-Encoding", ""):
                while data := await self.chunk():
                    answer.chunks.append(data)
            elif (length := answer.header("Content-Length")) is not None:
                answer.chunks.append(await self.reader.readexactly(int(length)))
            else:
                answer.chunks.append(await self.reader.read())
        except (asyncio.IncompleteReadError, ConnectionError):
            answer.is_whole = False


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Connection]:
    """A connection to *url*."""
    connection = await connection_to(url)
    try:
        yield connection
    finally:
        connection.writer.close()
        with suppress(OSError):  # a reset by the peer is told here once more
            await connection.writer.wait_closed()


async def connection_to(url: str) -> Connection:
    """Return a connection to *url*, the caller's to close."""
    host, _, port = url.partition("://")[2].rpartition(":")
    return Connection(*await asyncio.open_connection(host, int(port), limit=1 << 24))


async def ask(url: str, path: str, body: object = None, *, method: str = "POST", **rest: Any) -> Answer:
    """Send one request on a connection of its own and read its answer."""
    async with connected(url) as connection:
        return await connection.ask(path, body, method=method, **rest)


def error_of(answer: Answer) -> Any:
    """Return the object that holds the error, in native or OpenAI's shape."""
    assert answer.header("Content-Type") == "application/json"
    return answer.json if isinstance(answer.json["error"], str) else answer.json["error"]


def code_of(answer: Answer) -> str:
    """Return the error's code, in native or OpenAI's shape."""
    return str(error_of(answer)["code"])


def everything_to(url: str, **route: Any) -> str:
    """Return a config with one upstream and one route, for every path unless *route* says another."""
    return f"""
        upstreams: {{up: {{url: "{url}"}}}}
        routes: [{json.dumps({"path": "/*"} | route)}]
        """


@dataclass(frozen=True)
class Served:
    """A request as the upstream saw it."""

    method: str
    target: str
    """Path and query, exactly as on the wire."""

    headers: CIMultiDict[str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Upstream:
    """A running upstream of a test's own."""

    url: str
    requests: list[Served] = field(default_factory=list)


Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


def answering(*args: Any, **kwargs: Any) -> Handler:
    """Return a handler that always gives the same ``web.Response``."""

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(*args, **kwargs)

    return handler


@asynccontextmanager
async def serving(handler: Handler, *, reads_body: bool = True) -> AsyncIterator[Upstream]:
    """
    A real server that answers with *handler* and remembers what it was asked.

    Args:
        reads_body: Read each body whole before *handler* is called; False leaves that to it.
    """
    upstream = Upstream("")

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        # Not ``request.read``, which refuses bodies of more than 1 MB.
        body = await request.content.read() if reads_body else b""
        seen = Served(request.method, request.raw_path, CIMultiDict(request.headers), body)
        upstream.requests.append(seen)
        return await handler(request)

    server = web.Server(handle, auto_decompress=False, lingering_time=0.1)
    runner = web.ServerRunner(server, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    upstream.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield upstream
    finally:
        await runner.cleanup()
