"""
The least that aiohttp can do: pass the upstream's bytes to the client, and nothing else.

What two goals are measured against: streams started a second, and memory of an open stream.
"""

from __future__ import annotations

import sys

import aiohttp
import uvloop
from aiohttp import web


async def relay(request: web.Request) -> web.StreamResponse:
    """Send the request on and its answer back."""
    session, upstream = request.app[SESSION], request.app[UPSTREAM]
    headers = {"Content-Type": request.content_type, "Accept-Encoding": "identity"}
    async with session.post(upstream + request.path, data=await request.read(), headers=headers) as answer:
        response = web.StreamResponse(headers={"Content-Type": answer.headers["Content-Type"]})
        await response.prepare(request)
        async for data in answer.content.iter_any():
            await response.write(data)
        return response


async def with_session(app: web.Application):
    """Share one pool of upstream connections."""
    timeout = aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=timeout) as session:
        app[SESSION] = session
        yield


SESSION = web.AppKey("session", aiohttp.ClientSession)
UPSTREAM = web.AppKey("upstream", str)

if __name__ == "__main__":
    port, upstream = sys.argv[1:]
    app = web.Application(client_max_size=64 << 20, handler_args={"handler_cancellation": True})
    app[UPSTREAM] = upstream
    app.cleanup_ctx.append(with_session)
    app.router.add_post("/{path:.*}", relay)
    # The default backlog makes thousands that connect together wait for a repeated SYN.
    web.run_app(
        app,
        host="127.0.0.1",
        port=int(port),
        backlog=4096,
        access_log=None,
        print=None,
        loop=uvloop.new_event_loop(),
    )
