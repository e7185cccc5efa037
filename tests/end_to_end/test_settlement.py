"""What a request is settled by, whatever it was and however it ended."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from .asking import CHAT, STREAM, answering, ask, connected, serving
from .leaks import outcomes
from .limited import BODY, Worker, chat, config, left, usage
from .logbook import Log

LIMITS = "{tokens: 10000/hour, streams: 1}"
PRICES = "prices: {cheap: {input: 1, output: 1}, dear: {input: 1000, output: 1000}}"


@pytest.fixture
async def worker(nothing_left_open: None) -> AsyncIterator[Worker]:
    async with Worker() as worker:
        yield worker


async def ended(gate: Any, running: Any, outcome: str) -> None:
    """Wait until one stream has ended so."""
    async with asyncio.timeout(5):
        while (seen := outcomes(await gate.metrics(running))) != {outcome: 1}:
            assert set(seen) <= {outcome}
            await asyncio.sleep(0.01)


async def breaks_off(running: Any, worker: Worker, connection: Any) -> None:
    worker.breaks = True
    worker.go.set()


async def is_cancelled(running: Any, worker: Worker, connection: Any) -> None:
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{running.admin_url}/-/streams") as answer:
            (row,) = (await answer.json())["streams"]
        async with session.delete(f"{running.admin_url}/-/streams/{row['id']}") as answer:
            assert answer.status == 200


async def client_leaves(running: Any, worker: Worker, connection: Any) -> None:
    connection.writer.close()


async def falls_silent(running: Any, worker: Worker, connection: Any) -> None:
    """The upstream says no more."""


@pytest.mark.parametrize(
    ("end", "outcome"),
    [
        (breaks_off, "truncated"),
        (is_cancelled, "cancelled"),
        (client_leaves, "client_gone"),
        (falls_silent, "idle_timeout"),
    ],
)
async def test_however_a_stream_ends_what_was_seen_counts(gate: Any, worker: Worker, end: Any, outcome: str):
    """Its place is free again at once, and of the reservation the rest comes back."""
    worker.words = 20
    worker.go.clear()
    running = await gate(config(worker, LIMITS, route=", timeouts: {idle: 300ms}"))
    async with connected(running.url) as connection:
        connection.send(CHAT, BODY)
        assert (await connection.head()).status == 200
        if outcome != "idle_timeout":
            text = b""
            while text.count(b'" w') + text.count(b" w w") == 0:
                text += await connection.chunk()
        await end(running, worker, connection)
        await ended(gate, running, outcome)
    worker.go.set()
    worker.breaks = False

    answer = await chat(running)

    assert answer.status == 200
    body = -(-len(worker.requests[0].body) // 4)
    # Of twenty tokens those that had come, and never the fifty that were reserved.
    assert 10_000 - 2 * body - 50 - 21 <= left(answer) <= 10_000 - 2 * body - 50 - 1


async def test_a_crash_gives_everything_back_too(gate: Any, worker: Worker, monkeypatch: pytest.MonkeyPatch):
    """A fault in the library below ends one stream, which is settled like any other."""
    running = await gate(config(worker, LIMITS))

    def fails(*_: Any) -> None:
        raise RuntimeError("no")

    with monkeypatch.context() as patch:
        patch.setattr(web.StreamResponse, "enable_chunked_encoding", fails)
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError, AssertionError)):
            await chat(running)
    await ended(gate, running, "internal")

    answer = await chat(running)

    assert answer.status == 200
    # The fifty that this one has reserved, and of the crashed one no more than could have come.
    body = -(-len(worker.requests[-1].body) // 4)
    assert left(answer) >= 10_000 - 2 * body - 50 - 21


@pytest.mark.parametrize("who", ["the client leaves", "the upstream breaks off"])
async def test_a_whole_answer_that_does_not_arrive_is_settled(gate: Any, log: Log, who: str):
    """By the prompt, and a quarter of the bytes that came: nobody knows better."""
    seen, over = list[str](), asyncio.Event()
    came = b'{"id": "c", "choices": ['

    async def half(request: web.BaseRequest) -> web.StreamResponse:
        seen.append(who)
        if len(seen) > 1:
            return web.json_response({"usage": usage(10, 5)})
        answer = web.StreamResponse(headers={"Content-Type": "application/json", "Content-Length": "1000"})
        await answer.prepare(request)
        await answer.write(came)
        if who == "the client leaves":
            await over.wait()
        assert request.transport is not None
        request.transport.abort()
        return answer

    async with serving(half) as upstream:
        running = await gate(
            "limits: {tokens: 5000/hour}\n"
            f"upstreams: {{up: {{url: '{upstream.url}'}}}}\nroutes: [{{path: /*}}]"
        )
        async with connected(running.url) as connection:
            connection.send(CHAT, BODY | {"stream": False})
            assert (await connection.head()).status == 200
            if who == "the client leaves":
                connection.writer.close()
            await log.line("request")
        over.set()
        answers = [await ask(running.url, CHAT, BODY | {"stream": False}) for _ in range(2)]
        prompt = -(-len(upstream.requests[0].body) // 4)

    first, reserved = prompt + len(came) // 4, prompt + BODY["max_tokens"]
    assert left(answers[0]) == 5000 - first - reserved
    assert left(answers[1]) == 5000 - first - (10 + 5) - reserved


async def test_a_request_that_is_no_completion_costs_what_it_reports(gate: Any):
    """Embeddings have no output; what was reserved for one comes back."""
    said = {"object": "list", "data": [{"embedding": [0.1] * 2000}], "usage": {"prompt_tokens": 8}}
    async with serving(
        answering(content_type="application/json", body=json.dumps(said).encode())
    ) as upstream:
        running = await gate(
            "limits: {tokens: 5000/hour}\n"
            f"upstreams: {{up: {{url: '{upstream.url}'}}}}\nroutes: [{{path: /*}}]"
        )
        for _ in range(2):
            answer = await ask(running.url, "/v1/embeddings", {"model": "m", "input": "hello"})

    assert left(answer) == 5000 - 8 - 1000 - -(-len(upstream.requests[0].body) // 4)


async def test_a_body_that_was_not_read_is_counted_all_the_same(gate: Any, worker: Worker):
    """Compressed, or a file: a little is reserved, and what the answer reports is counted."""
    running = await gate(config(worker, "{tokens: 5000/hour}"))
    worker.usage = usage(700, 300)
    packed = gzip.compress(json.dumps(BODY | {"stream": False}).encode())
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    first = await ask(running.url, CHAT, packed, headers=headers)
    assert left(first) == 5000 - 1001

    assert left(await ask(running.url, CHAT, packed, headers=headers)) == 5000 - 1000 - 1001


async def test_events_that_nobody_asked_for_are_counted_too(gate: Any):
    """They pass untouched; their usage is read all the same."""
    async with serving(answering(content_type="text/event-stream", body=STREAM)) as upstream:
        running = await gate(
            "limits: {tokens: 5000/hour}\n"
            f"upstreams: {{up: {{url: '{upstream.url}'}}}}\nroutes: [{{path: /*}}]"
        )
        for _ in range(2):
            answer = await ask(running.url, CHAT, BODY | {"stream": False})

    body = -(-len(upstream.requests[0].body) // 4)
    assert answer.body == STREAM
    assert left(answer) >= 5000 - 2 * body - 50 - 50


@pytest.mark.parametrize(
    ("path", "body", "expected"),
    [
        ("/v1/chat/completions", {"model": "cheap", "max_tokens": 9000}, 200),
        ("/v1/chat/completions", {"model": "dear", "max_tokens": 9000}, 429),
        ("/v1/chat/completions", {"max_tokens": 9000}, 429),
        ("/v1beta/models/cheap:generateContent", {"max_tokens": 9000}, 200),
        ("/model/dear/converse", {"max_tokens": 9000}, 429),
        ("/openai/deployments/cheap/chat/completions?api-version=1", {"max_tokens": 9000}, 200),
        ("/openai/deployments/other/chat/completions", {"max_tokens": 9000}, 403),
    ],
)
async def test_a_budget_knows_the_model_wherever_it_is_named(
    gate: Any, worker: Worker, path: str, body: dict[str, object], expected: int
):
    """In the body or in the path; where it is not named, the dearest price is reserved."""
    running = await gate(config(worker, "{cost: 10/day}", PRICES))
    worker.usage = usage(0, 3000)
    # A dear token is a thousandth of a dollar: three dollars are spent, nine more do not fit.
    first = await ask(running.url, CHAT, {"model": "dear", "max_tokens": 5000, "stream": False})
    answer = await ask(running.url, path, body)

    assert (first.status, answer.status) == (200, expected)
