"""
One request on the data port: what has been found out about it, and how it is told that it failed.
"""

from __future__ import annotations

import ipaddress
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from aiohttp.web import BaseRequest, Response
from multidict import CIMultiDict

from ssegate.config import Config, Key, Route
from ssegate.config.address import is_loopback
from ssegate.keys import Keys, client_address
from ssegate.limits import Rules
from ssegate.passing import lay_over
from ssegate.report import RequestReport
from ssegate.request import CREDENTIALS, resolved_output
from ssegate.retrying import retry_headers
from ssegate.routing import Router
from ssegate.wire.errors import CODES, http_status
from ssegate.wire.events import Failure
from ssegate.wire.formats import FORMATS, HEADERS, make
from ssegate.wire.formats.error_bodies import error_body
from ssegate.wire.seams import Context
from ssegate.wire.settings import price_of
from ssegate.wire.stats import Price

__all__ = ["Exchange", "World"]

_SHAPES = (
    ("/responses", "responses"),
    (":streamGenerateContent", "gemini"),
    (":generateContent", "gemini"),
    ("/interactions", "gemini"),
    ("/converse-stream", "bedrock"),
    ("/converse", "bedrock"),
    ("/invoke-with-response-stream", "bedrock"),
    ("/invoke", "bedrock"),
    ("/v1/chat", "cohere"),
    ("/v2/chat", "cohere"),
    ("/generate_stream", "tgi"),
    ("/completion", "llamacpp"),
    ("/infill", "llamacpp"),
    ("/text/generation_stream", "watsonx"),
    ("/predictions", "replicate"),
)
"""How a vendor's path ends, and whose errors are expected there."""

_SPOKEN = (
    ("/chat/completions", "openai"),
    ("/completions", "openai"),
    ("/responses", "responses"),
    ("/messages", "anthropic"),
    ("/v2/chat", "cohere"),
)
"""How a vendor's path ends, and the dialect of the streams that are expected there."""


@dataclass(frozen=True, slots=True)
class World:
    """What one configuration means for a request; a reload makes a new one, running requests keep theirs."""

    config: Config
    router: Router
    prices: tuple[tuple[str, Price], ...]
    rules: Rules
    keys: Keys | None
    """None: nobody is asked for one."""

    @classmethod
    def of(cls, config: Config) -> World:
        """Build it from *config*."""
        keys = None if config.keys is None else Keys(config.keys)
        prices = tuple(config.prices.items())
        return cls(config, Router(config.routes), prices, Rules(config.limits), keys)

    def price_of(self, model: str | None) -> Price | None:
        """Return what *model* costs, if that is known."""
        return price_of(self.prices, model)


@dataclass(slots=True)
class Exchange:
    """One request and its answer in the making."""

    request: BaseRequest
    world: World
    began_at: float
    """Seconds on the loop's clock."""

    path: str
    """As it came, percent-encoded."""

    request_id: str = field(default_factory=lambda: secrets.token_hex(16))
    route: Route | None = None
    key: Key | None = None
    cors: CIMultiDict[str] = field(default_factory=CIMultiDict)
    rates: dict[str, str] = field(default_factory=dict)
    """How the caller stands with its limits, as headers tell it."""

    is_booked: bool = False
    """Log line and metrics of it are made, or made by the relay."""

    peer: str = field(init=False)
    """The IP address of who is connected; ``unix`` on a Unix socket."""

    def __post_init__(self) -> None:
        # Now, as a connection that is lost no longer tells it.
        transport = self.request.transport
        peer = transport.get_extra_info("peername") if transport is not None else None
        self.peer = peer[0] if isinstance(peer, tuple) else "unix"

    @property
    def head(self) -> CIMultiDict[str]:
        """Headers that every answer carries, whatever it is."""
        head = CIMultiDict(self.cors)
        head.update(self.rates)
        return head

    @property
    def key_name(self) -> str:
        """The caller's key, as logs and metrics name it."""
        return "-" if self.key is None else self.key.name

    @property
    def hides_key(self) -> bool:
        """What the caller shows is for the gate; the upstream does not get it."""
        return self.world.keys is not None

    @property
    def client(self) -> str:
        """The address of the client itself: of the peer, or whom a trusted proxy speaks for."""
        if not self.is_from_trusted_proxy:
            return self.peer
        forwarded = self.request.headers.getall("X-Forwarded-For", ())
        return client_address(self.peer, forwarded, self.world.config.trusted_proxies)

    @property
    def errors_as_events(self) -> bool:
        """The client cannot see an HTTP status: errors go into a 200 with one event."""
        route, request = self.route, self.request
        if route is None or route.errors == "status":
            return False
        wants_events = "text/event-stream" in request.headers.get("Accept", "").lower()
        return route.errors == "stream" or (request.method == "GET" and wants_events)

    @property
    def expected_dialect(self) -> str | None:
        """The dialect in which the client wants its stream, by the upstream's name for it or by the path."""
        said = None if self.route is None else self.route.upstream.dialect
        if isinstance(said, str) and said != "auto":
            return said
        return next((dialect for ending, dialect in _SPOKEN if self.path.endswith(ending)), None)

    @property
    def is_from_trusted_proxy(self) -> bool:
        """The peer is one of ``trusted_proxies``: what it says of the client is believed."""
        trusted = self.world.config.trusted_proxies
        if not trusted or self.peer == "unix":  # whoever may open the socket is on this machine
            return bool(trusted)
        address = ipaddress.ip_address(self.peer)
        return any(address in network for network in trusted)

    @property
    def is_local(self) -> bool:
        """The peer is on this machine, where any web page may have sent it, and no trusted proxy."""
        return self.peer != "unix" and is_loopback(self.peer) and not self.is_from_trusted_proxy

    def secrets(self) -> tuple[str, ...]:
        """Return every credential in play, so that no error that quotes the upstream repeats one."""
        headers = self.request.headers
        found = [] if self.route is None else list(self.route.upstream.headers.values())
        found += [headers[name] for name in CREDENTIALS if name in headers]
        found.append(self.request.rel_url.query.get("key", ""))
        found += [value.partition(" ")[2] for value in found]
        # Shorter ones are no secrets, and striking them out would garble every message.
        return tuple(sorted({value for value in found if len(value) >= 8}, key=len, reverse=True))

    def error(self, failure: Failure, headers: Mapping[str, str] | None = None) -> Response:
        """
        Return *failure* as the client's format tells it before a stream.

        Args:
            headers: Of the answer, besides those that every error has.
        """
        shape, status = self.shape, http_status(failure)
        head = CIMultiDict(headers or {})
        lay_over(head, self.head)
        head.setdefault("X-Request-ID", self.request_id)
        is_bodiless = self.request.method in ("HEAD", "OPTIONS")
        # A page that may not ask is not served a stream either, whatever it can see.
        tells_event = self.errors_as_events and failure.code != "forbidden_origin"
        if tells_event and not is_bodiless and shape in FORMATS:
            form = make(shape, "auto", Context("-", int(time.time())))
            head["Cache-Control"] = "no-cache, no-transform"
            head["X-Accel-Buffering"] = "no"
            head["Content-Type"] = form.content_type
            head.extend(HEADERS.get(shape, {}))
            return Response(headers=head, body=b"".join(form.fail(failure, b"")))
        head.extend(retry_headers(failure, time.time()))
        if not CODES[failure.code].retry or status == 409:
            head["x-should-retry"] = "false"
        if is_bodiless:
            return Response(status=status, headers=head)
        head["Content-Type"] = "application/json"
        request_id = head.get("request-id") or head["X-Request-ID"]
        body = error_body(shape, failure, status, request_id)
        return Response(status=status, headers=head, body=body)

    def report(self) -> RequestReport:
        """Return the record of this request, its end still to be filled in."""
        route = self.route
        return RequestReport(
            request_id=self.request_id,
            route="-" if route is None else route.name,
            method=self.request.method,
            status=0,
            duration=0.0,
            upstream="-" if route is None else route.upstream.name,
            key=self.key_name,
        )

    @property
    def shape(self) -> str:
        """Whose error bodies this client reads: the output's, else the path's, else OpenAI's."""
        if self.route is None:
            return "openai"
        query = self.request.rel_url.raw_query_string
        output = resolved_output(self.route, self.request.method, self.path, query)
        if output != "same":
            return output if output in FORMATS else "openai"
        if self.path.endswith(("/messages", "/complete")) or "/v1/messages/" in self.path:
            return "anthropic"
        for ending, shape in _SHAPES:
            if self.path.endswith(ending):
                return shape
        is_ollama = self.path.startswith("/api/") or self.path.endswith(("/api/chat", "/api/generate"))
        return "ollama" if is_ollama else "openai"
