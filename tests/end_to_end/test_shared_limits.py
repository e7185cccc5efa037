"""Gates that share their limits through a real Redis, and what becomes of them without it."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from realredis import RedisServer

from ssegate.limits.redis import BUDGET

from .asking import CHAT, connected, error_of
from .leaks import outcomes, total
from .limited import BODY, Worker, chat, config, left, usage

PATIENCE = 10.0


@pytest.fixture
async def worker(nothing_left_open: None) -> AsyncIterator[Worker]:
    async with Worker() as worker:
        yield worker


def shared(worker: Worker, server: RedisServer, limits: str, more: str = "") -> str:
    return config(worker, limits, f"store: {server.url}\n        {more}")


async def until_up(running: Any) -> None:
    async with asyncio.timeout(PATIENCE):
        while not running.store.is_up:
            await asyncio.sleep(0.02)


async def test_gates_share_one_limit(gate: Any, worker: Worker, redis_server: RedisServer):
    """Five an hour are five for both of them together, and tokens and streams likewise."""
    text = shared(worker, redis_server, "{requests: 5/hour, tokens: 10000/hour, streams: 1}")
    gates = [await gate(text), await gate(text)]
    worker.go.clear()
    async with connected(gates[0].url) as connection:
        connection.send(CHAT, BODY)
        assert (await connection.head()).status == 200
        refused = await chat(gates[1])
        assert error_of(refused)["type"] == "streams"
        worker.go.set()
        while await connection.chunk():
            pass
    await gates[0].store.written()

    answers = [await chat(gates[number % 2]) for number in range(6)]
    assert [answer.status for answer in answers] == [200] * 4 + [429] * 2
    body = -(-len(worker.requests[0].body) // 4)
    assert left(answers[3]) >= 10_000 - 3 * (body + 50) - 4 * 15 - 65


async def test_a_budget_outlives_the_gate(gate: Any, worker: Worker, redis_server: RedisServer):
    """What was spent today is spent for the next gate, too."""
    prices = "prices: {gpt-4o: {input: 1000, output: 1000}}"
    text = shared(worker, redis_server, "{cost: 1.00/day}", prices)
    worker.usage = usage(400, 300)
    first = await gate(text)
    assert [(await chat(first)).status for _ in range(2)] == [200, 200]
    await gate.stop(first)

    assert (await chat(await gate(text))).status == 429


@pytest.mark.parametrize("how", ["killed", "frozen", "slowed"])
async def test_streams_run_on_without_the_store(gate: Any, worker: Worker, own_redis: RedisServer, how: str):
    """One request waits 100 ms, no stream is harmed, and afterwards the limits are exact again."""
    running = await gate(shared(worker, own_redis, "{requests: 1000/minute, streams: 6}"))
    worker.go.clear()
    async with AsyncExitStack() as stack:
        streams = [await stack.enter_async_context(connected(running.url)) for _ in range(5)]
        for stream in streams:
            stream.send(CHAT, BODY)
            assert (await stream.head()).status == 200
        break_server(own_redis, how)
        waits = [await timed(chat(running, BODY | {"stream": False})) for _ in range(40)]
        streams.append(await stack.enter_async_context(connected(running.url)))
        streams[-1].send(CHAT, BODY)
        assert (await streams[-1].head()).status == 200
        assert (await chat(running)).status == 429  # the own share: one store, one replica
        if how != "slowed":
            mend_server(own_redis, how)
            await until_up(running)
            assert (await chat(running)).status == 429
        worker.go.set()
        ends = [await rest(stream) for stream in streams]

    assert all(end.endswith(b"data: [DONE]\n\n") and b"error" not in end for end in ends)
    assert sum(waits) < len(waits) * BUDGET  # it is not each that waits
    await until_up(running)
    await running.store.written()
    worker.go.clear()
    async with AsyncExitStack() as stack:
        for expected in [200] * 6 + [429] * 2:
            stream = await stack.enter_async_context(connected(running.url))
            stream.send(CHAT, BODY)
            assert (await stream.head()).status == expected
        worker.go.set()
    text = await gate.metrics(running)
    assert total(text, "ssegate_store_errors_total") >= 1
    assert outcomes(text)["completed"] >= 6


def break_server(server: RedisServer, how: str) -> None:
    if how == "killed":
        server.kill()
    elif how == "frozen":
        server.send(signal.SIGSTOP)
    else:
        with server.client() as client:
            client.execute_command("CLIENT", "PAUSE", "5000", "ALL")


def mend_server(server: RedisServer, how: str) -> None:
    if how == "killed":
        server.start()
    else:
        server.send(signal.SIGCONT)


async def timed(request: Any) -> float:
    began = time.perf_counter()
    assert (await request).status == 200
    return time.perf_counter() - began


async def rest(stream: Any) -> bytes:
    text = b""
    while chunk := await stream.chunk():
        text += chunk
    return text


async def test_deny_refuses_in_words(gate: Any, worker: Worker, own_redis: RedisServer):
    """503, with the time to come again; a stream that runs goes on."""
    text = shared(worker, own_redis, "{requests: 1000/minute}", "on_store_error: deny")
    running = await gate(text)
    worker.go.clear()
    async with connected(running.url) as stream:
        stream.send(CHAT, BODY)
        await stream.head()
        own_redis.kill()
        answer = await chat(running)
        worker.go.set()
        assert (await rest(stream)).endswith(b"data: [DONE]\n\n")

    assert (answer.status, error_of(answer)["code"], answer.header("Retry-After")) == (503, "overloaded", "1")
