"""A real Chromium pays once, however a stream ends; a page of a foreign origin does not pay at all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from end_to_end.asking import CHAT, ask
from end_to_end.conftest import Gates
from end_to_end.scripted import Peer, scripted
from simulate.reading import READERS

from ssegate.simulate import Behaviour, Simulator

from .node import Node

pytestmark = pytest.mark.xdist_group("chromium")  # one browser is enough

APIS = {"EventSource": "GET", "fetch": "POST"}
UNHURRIED = 30.0


@pytest.fixture
async def gates() -> AsyncIterator[Gates]:
    """Starts gates in this loop; each must have settled at the end."""
    gates = Gates()
    yield gates
    await gates.stop_all()


async def behind(gates: Gates, upstream: Simulator, more: str = "") -> str:
    """Start a gate before *upstream*, with *more* YAML at its top; return the URL for prompts."""
    running = await gates(f"""
        upstreams: {{up: {{url: "{upstream.url}"}}}}
        routes:
          - path: /chat
            upstream_path: {CHAT}
            from_prompt: {{body: {{model: any, messages: [{{role: user, content: "{{prompt}}"}}]}}}}
        {more}
    """)
    return f"{running.url}/chat"


async def visit(browser: Node, url: str, api: str, **more: Any) -> dict[str, Any]:
    """Return what a page has seen of the stream at *url* once that was over."""
    reading = browser.reader(api, quiet=True, **more)
    await asyncio.to_thread(lambda: list(reading(url, UNHURRIED)))
    return browser.ended


async def text_of(behaviour: Behaviour) -> str:
    """Return what a simulator that behaves so says without a gate."""
    async with Simulator(behaviour) as upstream:
        return READERS["openai"]((await ask(upstream.url, CHAT, {"stream": True})).body).text


@pytest.mark.parametrize("rate", [0, 400])
@pytest.mark.parametrize("api", APIS)
async def test_a_normal_end(api: str, rate: float, gates: Gates, browser: Node):
    """The page shows the text exactly, is told the end once, and asks once."""
    behaviour = Behaviour(tokens=120, rate=rate, reasoning=6, tools=2, recut=13)
    async with Simulator(behaviour) as upstream:
        seen = await visit(browser, await behind(gates, upstream), api)

    assert seen["shown"] == await text_of(Behaviour(tokens=120))
    assert [data["finish_reason"] for data in seen["finished"]] == ["tool_calls"]
    assert seen["errors"] == []
    assert seen["asked"] == [[APIS[api], None]]
    assert len(upstream.requests) == 1


@pytest.mark.parametrize(
    ("fault", "code"),
    [("error_event", "upstream_error"), ("reset", "upstream_truncated"), ("eof", "upstream_truncated")],
)
@pytest.mark.parametrize("api", APIS)
async def test_an_error(api: str, fault: str, code: str, gates: Gates, browser: Node):
    """The page shows what came before it, is told of it once, and asks once."""
    async with Simulator(Behaviour(tokens=30, rate=200, fault=fault, fault_after=6)) as upstream:
        seen = await visit(browser, await behind(gates, upstream), api)

    assert seen["shown"] == await text_of(Behaviour(tokens=6))
    [error] = seen["errors"] if api == "EventSource" else seen["finished"]
    assert (error["code"], error["type"], error["finished"]) == (code, "stream_error", True)
    assert seen["asked"] == [[APIS[api], None]]
    assert len(upstream.requests) == 1


@asynccontextmanager
async def cutting(url: str, *, by_reset: bool) -> AsyncIterator[str]:
    """A network in front of *url* that drops its connections a few events into a stream; yields the URL."""
    host, _, path = url.removeprefix("http://").partition("/")
    name, _, port = host.partition(":")

    async def script(peer: Peer) -> None:
        reader, writer = await asyncio.open_connection(name, int(port))
        carrying = asyncio.create_task(carry(reader, peer))
        try:
            while request := await peer.request():
                writer.write(request)
        finally:
            carrying.cancel()
            writer.close()

    async def carry(reader: asyncio.StreamReader, peer: Peer) -> None:
        events = 0
        while events < 5 and (data := await reader.read(1 << 16)):
            await peer.say(data)
            events += data.count(b'"token"')
        if by_reset:
            peer.reset()
        else:
            peer.close()

    async with scripted(script) as network:
        yield f"{network.url}/{path}"


@pytest.mark.parametrize("by_reset", [True, False], ids=["reset", "closed"])
@pytest.mark.parametrize("api", APIS)
async def test_a_dropped_connection(api: str, by_reset: bool, gates: Gates, browser: Node):
    """The page keeps what it has, asks no second time, and the upstream is left."""
    async with Simulator(Behaviour(tokens=10_000, rate=200)) as upstream:
        async with cutting(await behind(gates, upstream), by_reset=by_reset) as url:
            seen = await visit(browser, url, api)
        async with asyncio.timeout(5):
            while not upstream.gone:
                await asyncio.sleep(0.01)

    assert seen["shown"] and (await text_of(Behaviour(tokens=10_000))).startswith(seen["shown"])
    assert (len(seen["errors"]), seen["finished"]) == (1, [])
    assert seen["asked"] == [[APIS[api], None]]
    assert len(upstream.requests) == 1


@pytest.mark.parametrize("is_cut", [False, True], ids=["ended", "dropped"])
async def test_a_page_that_forgets_to_close(is_cut: bool, gates: Gates, browser: Node):
    """Chromium comes back with the last id by itself, is told 204, and gives up: one generation is paid."""
    async with Simulator(Behaviour(tokens=100, rate=500)) as upstream:
        url = await behind(gates, upstream)
        if is_cut:
            async with cutting(url, by_reset=True) as cut_url:
                seen = await visit(browser, cut_url, "EventSource", closes=False)
        else:
            seen = await visit(browser, url, "EventSource", closes=False)

    [[_, none], [_, last_id]] = seen["asked"]
    assert none is None and last_id
    assert len(seen["finished"]) == (0 if is_cut else 1)
    assert len(upstream.requests) == 1


@pytest.mark.parametrize("api", APIS)
async def test_a_page_of_a_foreign_origin_costs_nothing(api: str, gates: Gates, browser: Node):
    """Unless it is listed, no upstream is asked and the page is shown nothing."""
    async with Simulator() as upstream:
        seen = await visit(browser, await behind(gates, upstream), api, page=f"{upstream.url}/v1/models")

    assert (seen["shown"], seen["finished"], len(seen["errors"])) == ("", [], 1)
    assert CHAT not in [request.path for request in upstream.requests]


@pytest.mark.parametrize("api", APIS)
async def test_a_page_of_a_listed_origin_reads_the_stream(api: str, gates: Gates, browser: Node):
    """``cors.origins`` is all it takes, for the preflight of a JSON body too."""
    async with Simulator(Behaviour(tokens=20)) as upstream:
        url = await behind(gates, upstream, f'cors: {{origins: ["{upstream.url}"]}}')
        seen = await visit(browser, url, api, page=f"{upstream.url}/v1/models")

    assert seen["shown"] == await text_of(Behaviour(tokens=20))
    assert (len(seen["finished"]), seen["errors"]) == (1, [])
    assert [request.path for request in upstream.requests].count(CHAT) == 1
