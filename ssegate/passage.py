"""
One request for which no stream was wanted: it goes up as it came, and its answer comes back as it is.
"""

from __future__ import annotations

import asyncio

from aiohttp import ClientResponse
from aiohttp.web import StreamResponse

from ssegate import passing
from ssegate.booking import upstream_request_id
from ssegate.config import Route
from ssegate.connection import Connection
from ssegate.copying import Copy, Kept
from ssegate.exchange import Exchange
from ssegate.report import RequestReport
from ssegate.upstream import Call, Upstreams
from ssegate.wire.errors import UpstreamError, classified
from ssegate.wire.events import Failure

__all__ = ["pass_through"]


async def pass_through(
    exchange: Exchange,
    route: Route,
    call: Call,
    upstreams: Upstreams,
    report: RequestReport,
    kept: Kept,
) -> StreamResponse:
    """
    Send *call*, give the client what comes back, and write into *report* how it went.

    Args:
        kept: Gets the answer's body, for its usage.

    Raises:
        asyncio.CancelledError, ConnectionError: The client has gone or was cut; the upstream is closed.
    """
    try:
        return await _passed(exchange, route, call, upstreams, report, kept)
    except (asyncio.CancelledError, ConnectionError):
        report.status, report.code = report.status or 499, report.code or "client_gone"
        raise
    except Exception:
        report.status, report.code = report.status or 500, "internal"
        raise


async def _passed(
    exchange: Exchange,
    route: Route,
    call: Call,
    upstreams: Upstreams,
    report: RequestReport,
    kept: Kept,
) -> StreamResponse:
    try:
        response = await _asked(call, upstreams, route.timeouts.total)
    except UpstreamError as error:
        return _refused(exchange, error.failure, report)
    try:
        return await _answered(exchange, route, response, report, kept)
    finally:
        response.close()


async def _asked(call: Call, upstreams: Upstreams, total: float | None) -> ClientResponse:
    try:
        async with asyncio.timeout(total):
            return await upstreams.open(call)
    except TimeoutError:
        late = Failure("total_timeout", "the upstream did not answer in time")
        raise UpstreamError(late) from None


async def _answered(
    exchange: Exchange,
    route: Route,
    response: ClientResponse,
    report: RequestReport,
    kept: Kept,
) -> StreamResponse:
    report.upstream_status = response.status
    report.upstream_request_id = upstream_request_id(response)
    if response.status in (401, 403) and route.upstream.holds_credential:
        refused = Failure("upstream_error", "", upstream_status=response.status)
        return _refused(exchange, classified(refused, own_credential=True), report)
    request, timeouts = exchange.request, route.timeouts
    headers = passing.passed_headers(
        response, exchange.head, forward_client=route.upstream.forward_client, decoded=False
    )
    headers.setdefault("X-Request-ID", exchange.request_id)
    answer = await passing.send_head(request, response.status, response.reason, headers)
    report.status = response.status
    kept.content_type = response.headers.get("Content-Type", "").lower()
    copy = Copy(request, response, idle=timeouts.idle, write=timeouts.write, kept=kept)
    connection = request.protocol
    assert isinstance(connection, Connection)
    connection.reader = copy
    try:
        await copy.run(answer)
    finally:
        connection.reader = None
        report.bytes_out = copy.sent
        if copy.failure is not None:
            report.code, report.error = copy.failure.code, copy.failure.message
    return answer


def _refused(exchange: Exchange, failure: Failure, report: RequestReport) -> StreamResponse:
    answer = exchange.error(failure)
    report.status, report.code, report.error = answer.status, failure.code, failure.message
    return answer
