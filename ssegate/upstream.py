"""
Asks upstreams: connections, TLS, proxies, and every exception of the HTTP client mapped once.

Redirects are never followed and cookies never kept. Time limits other than for connecting are not set here:
the stream's own clocks run on content, which only the pipeline can see.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterable
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, TypeAlias, cast

import aiohttp
from aiohttp import ClientRequest, ClientResponse, ClientSession, ClientTimeout, TCPConnector
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.http_exceptions import ContentEncodingError, HttpProcessingError
from aiohttp.tracing import Trace
from multidict import CIMultiDict
from yarl import URL

from ssegate import lowwater
from ssegate.config import Upstream
from ssegate.tap import Line
from ssegate.wire.dialects.http_error import read_error
from ssegate.wire.errors import UpstreamError
from ssegate.wire.events import Failure

__all__ = ["Body", "Call", "Upstreams", "broken_body", "check_coding", "read", "refusal"]

Body: TypeAlias = bytes | AsyncIterable[bytes] | None

_POOL_SECONDS = 14.0
"""Idle upstream connections are dropped before common servers (15 s and more) drop them under our hands."""

_ERROR_BODY = 64 << 10
_ERROR_BODY_SECONDS = 5.0

_DECODED = frozenset({"", "identity", "gzip", "deflate"})
"""Content codings the client always decodes; others would reach the parser as raw bytes."""


@dataclass(frozen=True, slots=True)
class Call:
    """One request to an upstream, ready to be sent."""

    upstream: Upstream
    method: str
    url: str
    headers: CIMultiDict[str]
    body: Body
    connect_timeout: float | None
    decompress: bool = True
    """False: the body passes through in whatever coding it has."""


_is_reused: ContextVar[bool] = ContextVar("the call's connection came from the pool")


class _Connector(TCPConnector):
    """Makes connections that can be tapped."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._factory = cast("partial[ResponseHandler]", partial(Line, loop=self._loop))

    async def connect(self, req: ClientRequest, traces: list[Trace], timeout: ClientTimeout) -> Connection:
        """Take a connection from the pool or make one, and note which."""
        connection = await super().connect(req, traces, timeout)
        # The pool asked when it was put back. What came since is an answer that nobody has asked for.
        while connection.protocol is not None and connection.protocol.should_close:
            connection.close()
            connection = await super().connect(req, traces, timeout)
        line = connection.protocol
        if isinstance(line, Line):
            # The client itself tries a GET again: what the new connection then meets is no stale one.
            _is_reused.set(line.is_used)
            line.is_used = True
        return connection


class Upstreams:
    """The gate's side towards all upstreams: one pool, opened by ``start``, closed by ``stop``."""

    def __init__(self) -> None:
        self._contexts: dict[str, ssl.SSLContext] = {}
        self._ending: set[ClientResponse] = set()

    async def start(self) -> None:
        """Open the sessions; needs a running loop."""
        lowwater.is_heeded()  # to be tried now, not in the middle of a stream
        self._connector = _Connector(limit=0, keepalive_timeout=_POOL_SECONDS, ttl_dns_cache=30)
        self._fresh_connector = _Connector(limit=0, force_close=True, ttl_dns_cache=30)
        self._decoding = self._session(self._connector, auto_decompress=True)
        self._passing = self._session(self._connector, auto_decompress=False)
        self._fresh = self._session(self._fresh_connector, auto_decompress=True)
        self._fresh_passing = self._session(self._fresh_connector, auto_decompress=False)

    async def stop(self) -> None:
        """Close every connection."""
        for response in list(self._ending):
            self._end(response)
        for session in (self._decoding, self._passing, self._fresh, self._fresh_passing):
            await session.close()
        await self._connector.close()
        await self._fresh_connector.close()

    def _session(self, connector: TCPConnector, *, auto_decompress: bool) -> ClientSession:
        return ClientSession(
            connector=connector,
            connector_owner=False,
            auto_decompress=auto_decompress,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=ClientTimeout(total=None),
            skip_auto_headers=("User-Agent", "Accept", "Content-Type"),
            max_field_size=32_768,
            max_line_size=16_384,
        )

    async def open(self, call: Call) -> ClientResponse:
        """
        Send *call* and return the answer once its head is here.

        A pooled connection that the upstream had closed meanwhile is replaced by a fresh one, once, as no
        byte of an answer has come and the body can be sent again.

        Raises:
            UpstreamError: With the code of what went wrong.
        """
        _is_reused.set(False)
        session = self._decoding if call.decompress else self._passing
        try:
            return await self._send(session, call)
        except UpstreamError as error:
            stale = error.failure.code == "upstream_disconnected" and _is_reused.get()
            if not stale or _had_begun(error.__cause__) or not isinstance(call.body, bytes | None):
                raise
        return await self._send(self._fresh if call.decompress else self._fresh_passing, call)

    def end_within(self, seconds: float, response: ClientResponse) -> None:
        """Close *response* in *seconds*; should its body have ended by then, its connection is kept."""
        self._ending.add(response)
        asyncio.get_running_loop().call_later(seconds, self._end, response)

    def _end(self, response: ClientResponse) -> None:
        self._ending.discard(response)
        response.close()

    async def _send(self, session: ClientSession, call: Call) -> ClientResponse:
        upstream = call.upstream
        try:
            response = await session.request(
                call.method,
                URL(call.url, encoded=True),
                headers=call.headers,
                data=call.body,
                allow_redirects=False,
                ssl=self._verification(upstream),
                proxy=upstream.proxy,
                timeout=_timeout(call.connect_timeout),
            )
        except (TimeoutError, aiohttp.ClientError, OSError, HttpProcessingError) as error:
            code, seen = _opening_failure(error)
            raise UpstreamError(Failure(code, f"upstream {upstream.name!r} {seen}")) from error
        _end_with_connection(response)
        return response

    def _verification(self, upstream: Upstream) -> ssl.SSLContext | bool:
        if isinstance(upstream.verify, bool):
            return upstream.verify
        if upstream.verify not in self._contexts:
            self._contexts[upstream.verify] = ssl.create_default_context(cafile=upstream.verify)
        return self._contexts[upstream.verify]


@lru_cache(64)
def _timeout(connect: float | None) -> ClientTimeout:
    """Return the client's time limits for a route that connects within *connect* seconds: they are few."""
    return ClientTimeout(total=None, connect=connect)


def _had_begun(error: BaseException | None) -> bool:
    """Tell whether an answer broke off inside its head: the client keeps what it read in ``message``."""
    return isinstance(error, aiohttp.ServerDisconnectedError) and not isinstance(error.message, str)


def _end_with_connection(response: ClientResponse) -> None:
    """
    Have a body end in an error when its connection is lost without one.

    aiohttp 3.14 closes the connection when it cannot parse a chunk, but tells nobody who reads the body:
    the reader would wait until its own timeout. And it takes a reset for the end of a body that has no other
    end than that of the connection.
    """
    connection, body = response.connection, response.content
    if connection is None or connection.protocol is None or (closed := connection.protocol.closed) is None:
        return
    protocol = connection.protocol

    def lost(closed: asyncio.Future[None]) -> None:
        unclean = None if closed.cancelled() else closed.exception()
        if (unclean or not body.is_eof()) and body.exception() is None:
            error = aiohttp.ClientPayloadError("the connection was lost in mid-body")
            error.__cause__ = protocol.exception() or unclean
            body.set_exception(error)

    def ended() -> None:
        # The connection may serve other bodies after this one.
        closed.remove_done_callback(lost)
        if closed.done():
            lost(closed)

    closed.add_done_callback(lost)
    body.on_eof(ended)


def check_coding(response: ClientResponse) -> None:
    """Refuse a body whose coding is not undone by the client."""
    coding = response.headers.get("Content-Encoding", "").strip().lower()
    if coding not in _DECODED:
        raise UpstreamError(
            Failure(
                "upstream_content_encoding",
                f"the upstream's answer is in the coding {coding[:40]!r}; expected identity, gzip or deflate",
            )
        )


async def refusal(response: ClientResponse) -> Failure:
    """Return what the upstream says instead of a stream, its body read as far as it is worth."""
    if 300 <= response.status < 400:
        return Failure("upstream_redirect", f"the upstream answered with a redirect ({response.status})")
    body = b""
    # Should the body break off, the status alone says enough.
    with suppress(asyncio.TimeoutError, aiohttp.ClientError, OSError):
        async with asyncio.timeout(_ERROR_BODY_SECONDS):
            body = await response.content.read(_ERROR_BODY)
    failure = read_error(body, response.headers.get("Content-Type"), response.status)
    failure.retry_after = response.headers.get("Retry-After") or failure.retry_after
    return failure


def _opening_failure(error: BaseException) -> tuple[str, str]:
    """Return code and message: the first line of the table that fits."""
    for kind, code, seen in _OPENING:
        if isinstance(error, kind):
            return code, seen
    return "upstream_connect", f"could not be asked ({type(error).__name__})"


_OPENING: tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], str, str], ...] = (
    (asyncio.TimeoutError, "upstream_connect_timeout", "did not accept a connection in time"),
    (aiohttp.ClientConnectorDNSError, "upstream_dns", "has a host name that does not resolve"),
    (
        (aiohttp.ClientSSLError, aiohttp.ServerFingerprintMismatch),
        "upstream_tls",
        "failed the TLS handshake or its certificate is not trusted",
    ),
    (aiohttp.ClientHttpProxyError, "upstream_connect", "cannot be reached: the proxy refused"),
    (aiohttp.ClientConnectorError, "upstream_connect", "refused the connection or cannot be reached"),
    (
        (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError),
        "upstream_disconnected",
        "closed the connection before answering",
    ),
    (aiohttp.InvalidURL, "upstream_connect", "has a URL that cannot be asked"),
    (
        (aiohttp.ClientResponseError, aiohttp.ClientPayloadError, HttpProcessingError),
        "upstream_protocol",
        "sent something that is not HTTP",
    ),
    (OSError, "upstream_connect", "cannot be reached"),
)


async def read(response: ClientResponse) -> bytes:
    """
    Return the next bytes of a body, nothing at its end.

    Raises:
        UpstreamError: The body broke off.
    """
    body = response.content
    try:
        data = await body.readany()
        if not data and (error := body.exception()) is not None:
            raise error
        return data
    except (aiohttp.ClientError, OSError, RuntimeError) as error:
        # RuntimeError: aiohttp knows only that the connection is gone. Why reaches the body a turn later.
        await asyncio.sleep(0)
        raise UpstreamError(broken_body(body.exception() or error)) from error


def broken_body(error: BaseException) -> Failure:
    """Return the failure of a body that broke off: reset, cut short, or not framed as HTTP wants it."""
    cause = error.__cause__ or error
    if isinstance(cause, ContentEncodingError):
        return Failure("upstream_content_encoding", "the upstream's compressed body is broken")
    if isinstance(cause, HttpProcessingError) and "Not enough data" not in str(cause):
        return Failure("upstream_protocol", "the upstream's chunked body is broken")
    return Failure("upstream_truncated", "the upstream's connection broke in mid-answer")
