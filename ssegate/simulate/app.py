"""
The simulated upstream as a server: a real one, on a real port or Unix socket, that speaks plain HTTP/1.1.

It answers on the paths of OpenAI, Anthropic and Ollama, misbehaves on demand, and remembers its requests.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections import deque
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import msgspec
from aiohttp import web
from multidict import CIMultiDict, MultiDict

from ssegate.config import Address
from ssegate.listening import cannot_listen, remove_unix_socket, unix_socket
from ssegate.simulate.answer import Endpoint, ask, prepare
from ssegate.simulate.behaviour import OVERRIDE_HEADER, Behaviour, overridden
from ssegate.simulate.dialects import DIALECTS, endpoint_for
from ssegate.simulate.exchange import Exchange
from ssegate.simulate.faults import FAULTS, healthy
from ssegate.simulate.problems import PROBLEMS

__all__ = ["Received", "Simulator"]

_HEALTHY = Behaviour()
_MAX_BODY = 256 << 20
_BACKLOG = 4096
"""Thousands of clients may connect at once; the usual 128 makes them wait for a second SYN."""

_REMEMBERED = 1000


@dataclass(frozen=True, slots=True)
class Received:
    """A request as it arrived."""

    method: str
    path: str
    query: MultiDict[str]
    headers: CIMultiDict[str]
    body: bytes


class Simulator:
    """
    An LLM upstream without a model. Use it as an async context manager, or call ``start`` and ``stop``.

    Args:
        path: Listen on this Unix socket, and on no port.

    Attributes:
        behaviour: What requests from now on meet; may be replaced at any time.
        requests: The last 1000 requests.
        open_streams: Requests being answered right now.
        completed: Answers that came to the end they were meant to have, faults included.
        gone: Answers whose reader left before that.
        last_gone_at: ``loop.time()`` when the last such leaving was noticed.
    """

    def __init__(
        self,
        behaviour: Behaviour = _HEALTHY,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        path: str | None = None,
    ) -> None:
        self.behaviour = behaviour
        self.requests: deque[Received] = deque(maxlen=_REMEMBERED)
        self.open_streams = 0
        self.completed = 0
        self.gone = 0
        self.last_gone_at: float | None = None
        self._address = Address(host, port, path)
        self._socket: socket.socket | None = None
        self._runner: web.AppRunner | None = None
        self._answering: set[asyncio.Task[Any]] = set()
        self._served = 0

    @property
    def url(self) -> str:
        """``http://host:port`` or ``unix:/path``, once started."""
        if self._address.path is not None:
            return str(self._address)
        assert self._socket is not None, "the simulator has not been started"
        host, port = self._socket.getsockname()[:2]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    async def start(self) -> None:
        """
        Listen.

        With the fault ``refuse`` the port is taken but nobody listens on it until ``stop``, which is how the
        system is made to refuse connections.

        Raises:
            OSError: The address cannot be had.
        """
        try:
            self._socket = _bound(self._address)
        except OSError as error:
            raise cannot_listen(self._address, error) from error
        try:
            if self.behaviour.fault != "refuse":
                await self._listen(self._socket)
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Break off what is being answered, and close."""
        tasks = list(self._answering)
        self._answering.clear()  # who is not in it any more has not left, but was sent away
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
        if self._socket is not None:
            if self._address.path is not None:
                remove_unix_socket(self._address.path)
            self._socket.close()
            self._socket = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def _listen(self, sock: socket.socket) -> None:
        app = web.Application(client_max_size=_MAX_BODY)
        app.router.add_route("*", "/{path:.*}", self._handle)
        # Without handler_cancellation a reader that leaves before the first token is never noticed.
        self._runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=1)
        await self._runner.setup()
        await web.SockSite(self._runner, sock, backlog=_BACKLOG).start()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        query, headers = MultiDict(request.query), CIMultiDict(request.headers)
        self.requests.append(Received(request.method, request.path, query, headers, body))
        if request.method in ("GET", "HEAD") and (listing := _listing(request)) is not None:
            return web.json_response(body=msgspec.json.encode(listing))
        try:
            exchange = self._exchange(request, body)
        except ValueError as exc:
            endpoint = endpoint_for(request.path) or DIALECTS["openai"][0]
            return _refusal(endpoint, 400, str(exc))
        return exchange if isinstance(exchange, web.Response) else await self._answer(exchange)

    def _exchange(self, request: web.Request, body: bytes) -> Exchange | web.Response:
        """Return the exchange to carry out, or the answer to a request that is none of ours."""
        behaviour = overridden(self.behaviour, request.headers.get(OVERRIDE_HEADER, ""))
        endpoint = endpoint_for(request.path, behaviour.dialect)
        if behaviour.replay is not None:
            # A recording is sent to whoever asks, however they ask.
            endpoint, body = endpoint or DIALECTS["openai"][0], b"{}"
        elif endpoint is None:
            return _refusal(DIALECTS["openai"][0], 404)
        elif request.method != "POST":
            return _refusal(endpoint, 405)
        self._served += 1
        asked = ask(body, endpoint)
        answer = prepare(behaviour, endpoint, asked, serial=self._served, clock=time.time)
        return Exchange(request, behaviour, endpoint, answer)

    async def _answer(self, exchange: Exchange) -> web.StreamResponse:
        task = asyncio.current_task()
        assert task is not None
        self._answering.add(task)
        self.open_streams += 1
        fault = exchange.behaviour.fault
        try:
            await (FAULTS[fault] if fault else healthy)(exchange)
        except ConnectionError:  # a write met the reader's leaving; aiohttp meets it again and says nothing
            self._count_gone(task)
        except asyncio.CancelledError:
            self._count_gone(task)
            raise
        else:
            self.completed += 1
        finally:
            self.open_streams -= 1
            self._answering.discard(task)
        return exchange.response

    def _count_gone(self, task: asyncio.Task[Any]) -> None:
        if task in self._answering:
            self.gone += 1
            self.last_gone_at = asyncio.get_running_loop().time()


def _bound(address: Address) -> socket.socket:
    if address.path is not None:
        return unix_socket(address.path)
    sock = socket.socket(socket.AF_INET6 if ":" in address.host else socket.AF_INET)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((address.host, address.port))
    except BaseException:
        sock.close()
        raise
    return sock


def _refusal(endpoint: Endpoint, status: int, message: str | None = None) -> web.Response:
    problem = PROBLEMS[status]
    if message is not None:
        # The code speaks of the message that stands there else.
        problem = problem._replace(message=message, openai_code=None)
    return web.Response(status=status, body=endpoint.error(problem), content_type="application/json")


def _listing(request: web.Request) -> dict[str, Any] | None:
    """Return the list of models in the dialect the request speaks, or None if it asks for something else."""
    if request.path.endswith("/v1/models"):
        return _anthropic_models() if "anthropic-version" in request.headers else _openai_models()
    return _ollama_models() if request.path.endswith("/api/tags") else None


def _openai_models() -> dict[str, Any]:
    model = {"id": "simulated-1", "object": "model", "created": 1_700_000_000, "owned_by": "ssegate"}
    return {"object": "list", "data": [model]}


def _anthropic_models() -> dict[str, Any]:
    named = {"id": "simulated-1", "display_name": "Simulated 1"}
    model = {"type": "model", **named, "created_at": "2023-11-14T22:13:20Z"}
    return {"data": [model], "has_more": False, "first_id": "simulated-1", "last_id": "simulated-1"}


def _ollama_models() -> dict[str, Any]:
    model = {
        "name": "simulated-1",
        "model": "simulated-1",
        "modified_at": "2023-11-14T22:13:20Z",
        "size": 0,
        "digest": "0" * 64,
        "details": {
            "parent_model": "",
            "format": "gguf",
            "family": "simulated",
            "families": ["simulated"],
            "parameter_size": "0B",
            "quantization_level": "F16",
        },
    }
    return {"models": [model]}
