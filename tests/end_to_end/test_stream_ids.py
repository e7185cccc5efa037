"""The ids of streams, chosen by the client or by the gate, and ``/health``."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import pytest

from ssegate.simulate import Behaviour

from .asking import CHAT, ask, code_of, connected

ID = "abcdefghijKLMNOPQR_-01"
assert len(ID) == 22


def config(url: str, **route: Any) -> str:
    entry = {"path": CHAT} | route
    return f"""
        upstreams: {{up: {{url: "{url}"}}}}
        routes: [{json.dumps(entry)}, {{path: /v1/*}}]
        """


@pytest.mark.parametrize("place", ["header", "query"])
@pytest.mark.parametrize(
    ("chosen", "status"),
    [
        (ID, 200),
        ("x" * 64, 200),
        ("x" * 65, 400),
        ("x" * 21, 400),
        ("12345678", 400),  # enough only where keys say whose it is
        (ID + ".", 400),
        (ID + "%20", 400),
        (ID + "\xe9", 400),
        ("../../../../etc/passwd", 400),
    ],
)
async def test_a_client_may_choose_its_streams_id(
    gate: Any, simulator: Any, place: str, chosen: str, status: int
):
    """Without keys 22 to 64 characters of a small alphabet; another form is 400 and asks nobody."""
    upstream = await simulator(Behaviour(tokens=3))
    running = await gate(config(upstream.url, output="native"))

    if place == "header":
        answer = await ask(running.url, CHAT, {"stream": True}, headers={"X-Stream-ID": chosen})
    else:
        answer = await ask(
            running.url, f"{CHAT}?stream_id={chosen.replace(chr(0xE9), '%E9')}", {"stream": True}
        )

    assert answer.status == status
    assert len(upstream.requests) == (status == 200)
    if status == 200:
        assert answer.header("X-Stream-ID") == chosen
        assert json.loads(answer.chunks[0].split(b"\n")[0][6:])["metadata"]["stream_id"] == chosen
        assert dict(upstream.requests[0].query) == {}
    else:
        assert answer.json["code"] == "bad_request"


async def test_ids_of_ours_cannot_be_guessed(gate: Any, simulator: Any):
    """An id that the gate makes has at least 128 random bits in its 64-letter alphabet."""
    upstream = await simulator(Behaviour(tokens=1))
    running = await gate(config(upstream.url))

    ids = {(await ask(running.url, CHAT, {"stream": True})).header("X-Stream-ID") for _ in range(20)}

    assert len(ids) == 20
    assert all(re.fullmatch("[A-Za-z0-9_-]{22,64}", str(chosen)) for chosen in ids)


async def test_an_id_in_use_is_refused(gate: Any, simulator: Any):
    """A second stream of the same id is 409 while the first one runs, and fine as soon as it has ended."""
    upstream = await simulator(Behaviour(tokens=1000, rate=50))
    running = await gate(config(upstream.url))
    chosen = {"X-Stream-ID": ID}

    async with connected(running.url) as first:
        first.send(CHAT, {"stream": True}, headers=chosen)
        await first.head()
        await first.chunk()
        second = await ask(running.url, CHAT, {"stream": True}, headers=chosen)
        assert (second.status, code_of(second)) == (409, "stream_exists")
        assert second.header("x-should-retry") == "false"
        assert len(upstream.requests) == 1
        assert running.cancel(ID)
        while await first.chunk():
            pass
        again = await first.ask(CHAT, {"stream": True, "max_tokens": 2}, headers=chosen)

    assert (again.status, again.header("X-Stream-ID")) == (200, ID)


@pytest.mark.parametrize("fault", ["429", "close", "html_200"])
async def test_an_id_is_free_after_a_failure(gate: Any, simulator: Any, fault: str):
    """An id whose request failed before its stream can be used again at once."""
    upstream = await simulator(Behaviour(tokens=2))
    running = await gate(config(upstream.url))

    chosen = {"X-Stream-ID": ID}
    failed = await ask(running.url, CHAT, {"stream": True}, headers=chosen | {"X-Simulate": f"fault={fault}"})
    again = await ask(running.url, CHAT, {"stream": True}, headers=chosen)

    assert failed.status in (429, 502)
    assert again.status == 200


async def test_an_id_is_free_after_its_client_left(gate: Any, simulator: Any):
    """A client that left in mid-stream can come back with the same id."""
    upstream = await simulator(Behaviour(tokens=1000, rate=50))
    running = await gate(config(upstream.url))
    chosen = {"X-Stream-ID": ID}

    async with connected(running.url) as first:
        first.send(CHAT, {"stream": True}, headers=chosen)
        await first.head()
    async with asyncio.timeout(5):
        while len(running.streams):
            await asyncio.sleep(0.01)
    again = await ask(running.url, CHAT, {"stream": True, "max_tokens": 2}, headers=chosen)

    assert again.status == 200


# Health


async def test_health(gate: Any, simulator: Any):
    """``GET /health`` answers for the gate itself, and says when it drains."""
    upstream = await simulator()
    running = await gate(config(upstream.url))

    healthy = await ask(running.url, "/health?x=1", method="GET")
    running.begin_drain()
    draining = await ask(running.url, "/health", method="GET")
    refused = await ask(running.url, CHAT, {"stream": True})

    assert (healthy.status, healthy.body) == (200, b'{"status":"healthy"}')
    assert (draining.status, draining.json) == (503, {"status": "draining"})
    assert (refused.status, code_of(refused), refused.header("Retry-After")) == (503, "draining", "1")
    assert refused.json["error"]["type"] == "overloaded_error"
    assert refused.header("Connection") == "close"
    assert not upstream.requests


@pytest.mark.parametrize(("path", "is_theirs"), [("/health", True), ("/*", False)])
async def test_an_explicit_route_of_that_path_wins(gate: Any, simulator: Any, path: str, is_theirs: bool):
    """Who names ``/health`` gets it; a prefix does not take it from the gate."""
    upstream = await simulator()
    running = await gate(
        f"""
        upstreams: {{up: {{url: "{upstream.url}"}}}}
        routes: [{{path: {path}, methods: [GET], upstream_path: /v1/models}}]
        """
    )

    answer = await ask(running.url, "/health", method="GET")

    assert (answer.json != {"status": "healthy"}) is is_theirs
