"""
The data port: one request from its first line to its answer.

    request ─ route ─ origin ─ key ─ body ─ plan ─ limits ─┬─ a stream is wanted ─► relay
                                                           └─ else ───────────────► passed through

A request that is refused has asked nothing of any upstream, and taken nothing from any limit. Errors before
the stream are in the format of the route; afterwards they are events, and the relay's business.
"""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import Protocol

from aiohttp.web import BaseRequest, Response, StreamResponse
from multidict import CIMultiDict

from ssegate import origin
from ssegate.admission import Admission, admit
from ssegate.alarm import Soon
from ssegate.booking import Identity, note_usage
from ssegate.client_body import check_size, pieces, read_body
from ssegate.config import Route
from ssegate.connection import Connection
from ssegate.copying import Kept
from ssegate.decoding import usage_of
from ssegate.exchange import Exchange, World
from ssegate.keys import counted, may_use, shown_keys
from ssegate.limits import Bucket, MemoryStore, RateLimit, Store
from ssegate.limits.headers import refused
from ssegate.logs import log_request, log_stream
from ssegate.metrics import Metrics
from ssegate.passage import pass_through
from ssegate.relay import Relay, Terms
from ssegate.report import RequestReport, StreamReport
from ssegate.request import Plan, forward_headers, plan, request_model
from ssegate.routing import Router
from ssegate.streams import Streams, chosen_id
from ssegate.upstream import Body, Call, Upstreams
from ssegate.wire.batching import Load
from ssegate.wire.errors import CODES, ClientError
from ssegate.wire.events import Failure, Usage
from ssegate.wire.pipeline import Pipeline, Settings
from ssegate.wire.seams import Context

__all__ = ["DataPort", "Shared"]

_WRONG_KEYS = RateLimit("requests", 20, "minute", 20)
"""How many wrong keys one address may show; right ones are not refused for it."""


class Shared(Protocol):
    """What every request of a gate shares."""

    world: World
    upstreams: Upstreams
    streams: Streams
    metrics: Metrics
    store: Store
    load: Load
    draining: bool


class DataPort:
    """Handles the requests of the data port."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._soon = Soon()
        self._wrong_keys = MemoryStore()
        self._in_flight: dict[asyncio.Timeout, Exchange] = {}
        self._has_ended = False

    async def handle(self, request: BaseRequest) -> StreamResponse:
        """Answer *request* (aiohttp's handler)."""
        now = asyncio.get_running_loop().time()
        exchange = Exchange(request, self._shared.world, now, request.rel_url.raw_path)
        try:
            answer = await self._answer_while_alive(exchange)
        except ClientError as refusal:
            return self._refuse(exchange, refusal)
        if not exchange.is_booked:
            report = exchange.report()
            report.status = answer.status
            self._book_request(exchange, report)
        return answer

    def end_all(self) -> None:
        """Tell ``shutting_down`` to every request in flight, but for the streams: their relays do."""
        self._has_ended = True
        for patience, exchange in self._in_flight.items():
            request = exchange.request
            if exchange.is_booked:
                continue
            if request.writer.output_size > 0 and request.transport is not None:
                # Its answer has begun; nobody is to take what there is for the whole.
                request.transport.abort()
            else:
                patience.reschedule(0)

    async def _answer_while_alive(self, exchange: Exchange) -> StreamResponse:
        """Answer, unless ``end_all`` comes first."""
        try:
            async with asyncio.timeout(None) as patience:
                self._in_flight[patience] = exchange
                try:
                    return await self._answer(exchange)
                finally:
                    del self._in_flight[patience]
        except TimeoutError:
            if not patience.expired():
                raise
        failure = Failure("shutting_down", "the gate is shutting down")
        if not exchange.is_booked:
            raise ClientError(failure.code, failure.message)
        answer = exchange.error(failure)
        answer.force_close()
        return answer

    async def _answer(self, exchange: Exchange) -> StreamResponse:
        request, path = exchange.request, exchange.path
        if self._is_health(exchange):
            return self._health()
        exchange.cors = origin.cors_headers(request.headers, exchange.world.config.cors_origins)
        candidates = exchange.world.router.candidates(path)
        exchange.route = candidates[0]
        if (answer := self._leave_to_ask(exchange, candidates)) is not None:
            return answer
        if self._shared.draining:
            raise ClientError("draining", "the gate is shutting down", {"Retry-After": "1"})
        allowed = Router.allowed(candidates, request.method)
        self._check_key(exchange)
        route, planned = await _planned(exchange, allowed)
        if not planned.wants_stream:
            return await self._pass(exchange, route, planned)
        if request.method == "GET" and "Last-Event-ID" in request.headers:
            # An EventSource that reconnects after a normal end must not pay for a second generation.
            return _empty(204, exchange.cors)
        return await self._stream(exchange, route, planned)

    def _leave_to_ask(self, exchange: Exchange, candidates: list[Route]) -> Response | None:
        """Apply the Origin rule; return the answer to a preflight or an OPTIONS, None for other requests."""
        request, origins = exchange.request, exchange.world.config.cors_origins
        origin.check(request.headers, origins, is_local=exchange.is_local)
        methods = Router.methods(candidates)
        if origin.is_preflight(request.method, request.headers):
            return _empty(204, origin.preflight_headers(request.headers, origins, methods))
        if request.method == "OPTIONS":
            return _empty(204, CIMultiDict({"Allow": ", ".join(methods)}))
        return None

    def _check_key(self, exchange: Exchange) -> None:
        """
        Find out who is asking.

        Raises:
            ClientError: ``unauthorized``, in the same words and the same time for whatever is not a key;
                ``rate_limit_exceeded`` after too many of them; ``forbidden``, a key for other paths.
        """
        request, keys = exchange.request, exchange.world.keys
        if keys is None:
            return
        key = keys.find(shown_keys(request.headers, request.rel_url.query.get("key")))
        if key is None:
            wrong = Bucket(f"ip:{counted(exchange.client)}", _WRONG_KEYS, 1)
            verdict = self._wrong_keys.take_now([wrong])
            if verdict.is_allowed:
                raise ClientError("unauthorized", "a valid key is needed", {"WWW-Authenticate": "Bearer"})
            raise refused(verdict, "too many requests without a valid key")
        exchange.key = key
        if not may_use(key, exchange.path):
            raise ClientError("forbidden", "this key is not for this path")

    async def _admit(self, exchange: Exchange, route: Route, planned: Plan) -> Admission:
        return await admit(exchange, route, planned, self._shared.store, self._shared.metrics.limit_decided)

    def _is_health(self, exchange: Exchange) -> bool:
        """The gate's own ``/health``, unless a route of that very path takes it."""
        is_asked = exchange.path == "/health" and exchange.request.method in ("GET", "HEAD")
        return is_asked and all(route.path != "/health" for route in exchange.world.config.routes)

    def _health(self) -> Response:
        if self._shared.draining:
            return Response(status=503, body=b'{"status":"draining"}', content_type="application/json")
        return Response(body=b'{"status":"healthy"}', content_type="application/json")

    # ---- streams -------------------------------------------------------------------------------

    async def _stream(self, exchange: Exchange, route: Route, planned: Plan) -> StreamResponse:
        request, shared = exchange.request, self._shared
        asked_id = request.headers.get("X-Stream-ID") or request.rel_url.query.get("stream_id")
        stream_id = chosen_id(asked_id, has_key=exchange.key is not None)
        shared.streams.check_free(stream_id)
        admission = await self._admit(exchange, route, planned)
        context = Context(
            stream_id, int(time.time()), planned.wants_usage, completions=_is_legacy(exchange.path)
        )
        try:
            relay = Relay(
                request,
                _terms(exchange, route, stream_id),
                Pipeline(_settings(exchange, route, planned, shared.load), context, exchange.began_at),
                shared.upstreams,
                _call(exchange, route, planned),
                self._soon,
                partial(self._book, admission),
                admission.quota,
            )
            shared.streams.add(relay)
        except BaseException:  # somebody was faster with this id while the limits were asked
            admission.undo()
            raise
        planned.body = planned.json = None  # a prompt may be large, and its answer long
        exchange.is_booked = True
        shared.metrics.stream_started(route.name)
        connection = request.protocol
        assert isinstance(connection, Connection)
        connection.reader = relay
        try:
            await self._run(relay, route)
        finally:
            connection.reader = None
        if relay.answer is not None:
            return relay.answer
        assert relay.failure is not None
        headers = relay.upstream_headers
        headers["X-Stream-ID"] = stream_id
        return exchange.error(relay.failure, headers)

    async def _run(self, relay: Relay, route: Route) -> None:
        """Run *relay*; with ``on_disconnect: finish`` in a task that outlives the client."""
        if route.on_disconnect == "cancel":
            try:
                await relay.run()
            finally:
                self._shared.streams.remove(relay)
            return
        # The request's own task ends with its client, so the reading to the end needs one that does not.
        task = asyncio.ensure_future(relay.run())
        task.add_done_callback(lambda _: self._shared.streams.remove(relay))
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            relay.client_left()
            raise

    def _book(self, admission: Admission, report: StreamReport) -> None:
        admission.settle_stream(report)
        self._shared.metrics.stream_ended(report)
        log_stream(report)

    # ---- everything else -----------------------------------------------------------------------

    async def _pass(self, exchange: Exchange, route: Route, planned: Plan) -> StreamResponse:
        """Pass a request for which no stream was wanted through, and its answer back as it is."""
        report = exchange.report()
        call = _call(exchange, route, planned)
        admission = await self._admit(exchange, route, planned)
        kept = Kept()
        try:
            return await pass_through(exchange, route, call, self._shared.upstreams, report, kept)
        except (asyncio.CancelledError, ConnectionError):
            if self._has_ended:
                report.code = "shutting_down"
                if report.status == CODES["client_gone"].status:  # there was no head yet
                    report.status = CODES[report.code].status
            raise
        finally:
            try:
                usage, model = _found_usage(kept, route)
                model = model or planned.model
                note_usage(report, usage, model, exchange.world.price_of(model))
                admission.settle_passed(report, usage, model)
            finally:
                admission.undo()
                self._book_request(exchange, report)

    # ---- refusals ------------------------------------------------------------------------------

    def _refuse(self, exchange: Exchange, refusal: ClientError) -> StreamResponse:
        code = refusal.failure.code
        answer = exchange.error(refusal.failure, refusal.headers)
        if code in ("draining", "shutting_down", "body_too_large", "request_timeout"):
            answer.force_close()
        report = exchange.report()
        report.status, report.code, report.error = answer.status, code, str(refusal)
        self._book_request(exchange, report)
        return answer

    def _book_request(self, exchange: Exchange, report: RequestReport) -> None:
        exchange.is_booked = True
        report.duration = asyncio.get_running_loop().time() - exchange.began_at
        self._shared.metrics.request_ended(report)
        log_request(report)


async def _planned(exchange: Exchange, allowed: list[Route]) -> tuple[Route, Plan]:
    """Read the request, and decide which route it takes and what goes upstream."""
    request = exchange.request
    raw, body = await read_body(request, allowed)
    route = exchange.route = Router.choose(allowed, request_model(body))
    check_size(raw, route)
    query = request.rel_url.raw_query_string
    planned = plan(route, request.method, exchange.path, query, body, raw, hides_key=exchange.hides_key)
    return route, planned


def _found_usage(kept: Kept, route: Route) -> tuple[Usage, str | None]:
    if not kept.body:
        return Usage(), None
    return usage_of(bytes(kept.body), route.upstream.dialect, kept.content_type)


def _call(exchange: Exchange, route: Route, planned: Plan) -> Call:
    request = exchange.request
    headers = forward_headers(
        route,
        request.headers,
        peer=exchange.peer,
        is_trusted=exchange.is_from_trusted_proxy,
        scheme=request.scheme,
        wants_stream=planned.wants_stream,
        is_json=planned.from_prompt,
        hides_key=exchange.hides_key,
    )
    body: Body = planned.body or None
    if planned.body is None:
        body = pieces(request)
        if (length := request.headers.get("Content-Length")) is not None:
            headers["Content-Length"] = length
    return Call(
        upstream=route.upstream,
        method=planned.method,
        url=planned.url,
        headers=headers,
        body=body,
        connect_timeout=route.timeouts.connect,
        decompress=planned.wants_stream,
    )


def _terms(exchange: Exchange, route: Route, stream_id: str) -> Terms:
    request = exchange.request
    identity = Identity(
        stream_id,
        exchange.request_id,
        route.name,
        request.method,
        route.upstream.name,
        exchange.key_name,
    )
    return Terms(
        identity=identity,
        write_timeout=route.timeouts.write,
        idle_timeout=route.timeouts.idle,
        errors_as_events=exchange.errors_as_events,
        forward_client=route.upstream.forward_client,
        head=exchange.head,
    )


def _settings(exchange: Exchange, route: Route, planned: Plan, load: Load) -> Settings:
    batch = route.batch
    return Settings(
        dialect=route.upstream.dialect,
        output=planned.output,
        metadata=route.metadata or ("every" if planned.output == "native" else "final"),
        batch_size=batch.size if batch else 1,
        batch_delay=batch.delay if batch else None,
        load=load if batch and batch.adapts else None,
        heartbeat=route.heartbeat,
        hold=route.hold,
        first_token=route.timeouts.first_token,
        idle=route.timeouts.idle,
        total=route.timeouts.total,
        max_event=route.max_event,
        max_stream=route.max_stream,
        choices=planned.choices,
        expected=exchange.expected_dialect,
        numbered=exchange.request.method == "GET",
        own_credential=route.upstream.holds_credential,
        secrets=exchange.secrets(),
        model=planned.model,
        prices=exchange.world.prices,
    )


def _is_legacy(path: str) -> bool:
    """Tell whether the client asked OpenAI's older completions, whose chunks look different."""
    return path.endswith("/completions") and not path.endswith("/chat/completions")


def _empty(status: int, headers: CIMultiDict[str]) -> Response:
    return Response(status=status, headers=headers)
