"""
The admin port: metrics, health, the live page, and what an operator may do to running streams.

``/metrics``, ``/-/healthy`` and ``/-/ready`` answer anyone. All else takes one of two proofs:

* ``Authorization: Bearer`` with the admin token, from anywhere; or
* a peer on this machine: a loopback address or a unix socket. Two kinds of stranger look local, too:

  - A reverse proxy on this machine brings in the world. A request that says it was forwarded
    (``Forwarded``, ``X-Forwarded-For``, ``X-Real-IP``) has to show the token.
  - A web page may give its own name the address 127.0.0.1 (DNS rebinding), and the browser then takes us
    for its server. What it cannot change is the name in ``Host``, so that has to be ``localhost`` (or below
    it) or an address: names of those cannot be rebound. Over a unix socket no browser comes.

State changes moreover refuse what a browser sends for a page that is not ours, with or without the token.
"""

from __future__ import annotations

import asyncio
import hmac
import json
from collections.abc import Awaitable, Callable
from importlib import resources
from typing import Any, Protocol

import msgspec
from aiohttp import hdrs, web

from ssegate.config.address import is_loopback
from ssegate.metrics import Metrics
from ssegate.origin import is_fixed_host
from ssegate.wire.errors import CODES

__all__ = ["GateView", "admin_app"]

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

OPEN = frozenset({"/metrics", "/-/healthy", "/-/ready"})
"""Paths that answer anyone."""

FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Real-IP")

PAGE = {
    "/": ("index.html", "text/html"),
    "/page/page.js": ("page.js", "text/javascript"),
    "/page/page.css": ("page.css", "text/css"),
}
"""Path → file under ``ssegate/page`` and its content type."""

PAGE_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src 'self' data:; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


class GateView(Protocol):
    """What the admin port may see of the gate, and do to it."""

    @property
    def metrics(self) -> Metrics: ...

    @property
    def draining(self) -> bool: ...

    @property
    def admin_token(self) -> str | None: ...

    def live(self) -> list[dict[str, Any]]:
        """
        Return a row for each open stream, oldest first.

        Keys: ``id``, ``route``, ``key``, ``model``, ``state``, ``age`` (seconds), ``tokens``,
        ``tokens_per_second``, ``time_to_first_token`` (seconds); None is not known.
        """

    def begin_drain(self) -> None:
        """Refuse new requests from now on, and end with the last answer; to say so again changes nothing."""

    def reload(self) -> tuple[bool, str]:
        """Read the configuration anew; return whether it is in force now, and what to tell the operator."""

    def cancel(self, stream_id: str) -> bool:
        """End a live stream with ``cancelled``; False if there is none of that id."""


def admin_app(gate: GateView) -> web.Application:
    """Return the application of the admin port; whoever serves it chooses address and lifetime."""
    port = _Admin(gate)
    app = web.Application(middlewares=[_errors_as_json, port.guard])
    app.router.add_get("/metrics", port.metrics)
    app.router.add_get("/-/healthy", port.healthy)
    app.router.add_get("/-/ready", port.ready)
    app.router.add_get("/-/streams", port.streams)
    app.router.add_delete("/-/streams/{id}", port.cancel)
    app.router.add_post("/-/reload", port.reload)
    app.router.add_post("/-/drain", port.drain)
    for path, (name, content_type) in PAGE.items():
        app.router.add_get(path, _file(name, content_type))
    return app


class _Admin:
    """The handlers, and who may reach them."""

    def __init__(self, gate: GateView) -> None:
        self._gate = gate
        self._scrape = asyncio.Lock()

    @web.middleware
    async def guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Let in who may come in, and say to others what is missing."""
        closed = request.path not in OPEN and not self._shows_token(request)
        if closed and (reason := _not_local(request)) is not None:
            return self._refused(reason)
        if request.method not in (hdrs.METH_GET, hdrs.METH_HEAD) and _is_cross_site(request):
            return _error("forbidden_origin", "another site's page may not do this")
        return await handler(request)

    def _shows_token(self, request: web.Request) -> bool:
        token = self._gate.admin_token
        scheme, _, shown = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
        if not token or scheme.lower() != "bearer":
            return False
        # aiohttp decodes header bytes that are no UTF-8 as surrogates: encoded back, they just differ.
        return hmac.compare_digest(shown.strip().encode(errors="surrogateescape"), token.encode())

    def _refused(self, reason: str) -> web.Response:
        if not self._gate.admin_token:
            return _error("forbidden", f"{reason}, and no admin token is configured")
        answer = _error("unauthorized", f"{reason}: show the admin token")
        answer.headers[hdrs.WWW_AUTHENTICATE] = 'Bearer realm="ssegate admin"'
        return answer

    async def metrics(self, request: web.Request) -> web.Response:
        # A large scrape takes tenths of a second: in a thread, and one at a time, streams hardly feel it.
        async with self._scrape:
            body, content_type = await asyncio.to_thread(
                self._gate.metrics.render, request.headers.get(hdrs.ACCEPT)
            )
        return web.Response(body=body, headers={hdrs.CONTENT_TYPE: content_type})

    async def healthy(self, _request: web.Request) -> web.Response:
        return _json({"status": "healthy"})

    async def ready(self, _request: web.Request) -> web.Response:
        return _json({"status": "draining"}, 503) if self._gate.draining else _json({"status": "ready"})

    async def streams(self, _request: web.Request) -> web.Response:
        return _json({"draining": self._gate.draining, "streams": self._gate.live()})

    async def cancel(self, request: web.Request) -> web.Response:
        if not self._gate.cancel(request.match_info["id"]):
            return _error("not_found", "no live stream has this id")
        return _json({"status": "closed"})

    async def reload(self, _request: web.Request) -> web.Response:
        ok, message = self._gate.reload()
        if not ok:  # 500 as Prometheus does: nothing was wrong with the request
            return _json({"error": message, "code": "bad_config"}, 500)
        return _json({"status": "reloaded", "message": message})

    async def drain(self, _request: web.Request) -> web.Response:
        self._gate.begin_drain()
        return _json({"status": "draining"}, 202)


def _not_local(request: web.Request) -> str | None:
    """Return why *request* does not count as made by somebody on this machine; None if it does."""
    if any(header in request.headers for header in FORWARDED):
        return "the request was forwarded by a proxy"
    # A pair or quadruple for TCP, a string for a unix socket, None once the peer has gone.
    peer = request.transport.get_extra_info("peername") if request.transport else None
    if isinstance(peer, (str, bytes)):
        return None
    if not peer or not is_loopback(peer[0]):
        return "the request comes from another machine"
    host = request.headers.get(hdrs.HOST)
    if host is not None and not is_fixed_host(host):
        return "the Host header is neither localhost nor an address"
    return None


def _is_cross_site(request: web.Request) -> bool:
    """
    Tell whether a browser sends *request* for a page of another origin; what is no browser says nothing.

    ``same-site`` is not ours either: another port of localhost is the same site.
    """
    if request.headers.get("Sec-Fetch-Site") in ("cross-site", "same-site"):
        return True
    origin = request.headers.get(hdrs.ORIGIN)
    if origin is None:
        return False
    own = request.headers.get(hdrs.HOST, "").lower()
    _, _, asked = origin.lower().partition("://")  # "null" has no host at all
    return not asked or asked != own


def _file(name: str, content_type: str) -> Handler:
    """Return a handler that serves a file of the page, read once."""
    body = resources.files("ssegate").joinpath("page", name).read_bytes()

    async def serve(_request: web.Request) -> web.Response:
        return web.Response(body=body, content_type=content_type, charset="utf-8", headers=PAGE_HEADERS)

    return serve


@web.middleware
async def _errors_as_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer what the router refuses in JSON, as everything else here."""
    try:
        return await handler(request)
    except web.HTTPNotFound:
        return _error("not_found", "there is nothing at this path")
    except web.HTTPMethodNotAllowed as exc:
        answer = _error("method_not_allowed", f"{exc.method} is not allowed here")
        answer.headers[hdrs.ALLOW] = exc.headers[hdrs.ALLOW]
        return answer


def _error(code: str, message: str) -> web.Response:
    return _json({"error": message, "code": code}, CODES[code].status)


def _json(content: dict[str, Any], status: int = 200) -> web.Response:
    try:
        body = msgspec.json.encode(content)
    except UnicodeEncodeError:  # half a surrogate pair in a model's name: json escapes it, five times slower
        body = json.dumps(content).encode()
    headers = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
    return web.Response(body=body, status=status, content_type="application/json", headers=headers)
