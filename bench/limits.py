"""
What one decision of the limits costs: CPU time in memory, and time and round trips with a Redis.

``python -m bench.limits`` prints it; nothing is asserted. The Redis row wants a ``redis-server`` on the path
and is left out without one. Goals: 20 µs in memory, one round trip in Redis.
"""

from __future__ import annotations

import asyncio
import shutil
import socket
import subprocess
from contextlib import suppress
from statistics import median
from time import perf_counter, process_time, sleep
from typing import Any

import redis

from ssegate.limits import Bucket, Limit, MemoryStore, RateLimit, StreamLimit, WindowLimit
from ssegate.limits.redis import RedisStore

ROUNDS = 7
DECISIONS = 20_000
REMOTE = 2_000
CALLERS = 1_000

LIMITS: dict[str, tuple[Limit, ...]] = {
    "requests": (RateLimit("requests", 10**6, "minute", 10**6),),
    "requests, tokens": (
        RateLimit("requests", 10**6, "minute", 10**6),
        RateLimit("tokens", 5 * 10**8, "minute", 5 * 10**8),
    ),
    "requests, tokens, streams, dollars a day": (
        RateLimit("requests", 10**6, "minute", 10**6),
        RateLimit("tokens", 5 * 10**8, "minute", 5 * 10**8),
        StreamLimit(10**6),
        WindowLimit("cost", 10**15, "day"),
    ),
}


def buckets(limits: tuple[Limit, ...], caller: int) -> list[Bucket]:
    """Return what one request of *caller* asks for."""
    return [Bucket(f"each:key:{caller}:{limit.name}", limit, 1) for limit in limits]


def in_memory(limits: tuple[Limit, ...]) -> float:
    """Return the CPU seconds of a decision and its settlement, among a thousand callers."""
    store = MemoryStore()
    asked = [buckets(limits, caller) for caller in range(CALLERS)]
    began = process_time()
    for number in range(DECISIONS):
        verdict = store.take_now(asked[number % CALLERS])
        store.settle(verdict, {"tokens": 2})
    return (process_time() - began) / DECISIONS


async def in_redis(port: int, limits: tuple[Limit, ...]) -> tuple[float, float]:
    """Return the seconds of a decision, one after the other, and its round trips."""
    store = RedisStore(f"redis://127.0.0.1:{port}/0")
    await store.start()
    with redis.Redis(port=port, protocol=2) as client:
        for caller in range(20):
            await store.take(buckets(limits, caller))
        before, began = _trips(client), perf_counter()
        for number in range(REMOTE):
            await store.take(buckets(limits, number % CALLERS))
        took, trips = perf_counter() - began, _trips(client) - before
    await store.stop()
    return took / REMOTE, trips / REMOTE


def _trips(client: redis.Redis) -> int:
    """Return how many scripts clients have sent; the commands inside them are no round trips."""
    stats: dict[str, Any] = client.info("commandstats")  # type: ignore[assignment]
    return sum(stats.get(f"cmdstat_{name}", {}).get("calls", 0) for name in ("eval", "evalsha"))


def _server() -> tuple[subprocess.Popen[bytes], int] | None:
    program = shutil.which("redis-server") or shutil.which("valkey-server")
    if program is None:
        return None
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    process = subprocess.Popen([program, *options], stdout=subprocess.DEVNULL)
    for _ in range(500):
        sleep(0.01)
        with suppress(redis.ConnectionError), redis.Redis(port=port, protocol=2) as client:
            client.ping()
            return process, port
    process.kill()
    raise RuntimeError("the redis-server does not answer")


def main() -> None:
    """Print one line for each set of limits."""
    for name, limits in LIMITS.items():
        cost = median(in_memory(limits) for _ in range(ROUNDS))
        print(f"in memory: {cost * 1e6:5.1f} µs of CPU a decision with its settlement ({name})")
    found = _server()
    if found is None:
        print("in Redis: left out, there is no redis-server here")
        return
    process, port = found
    try:
        for name, limits in LIMITS.items():
            took, trips = asyncio.run(in_redis(port, limits))
            print(f"in Redis: {took * 1e6:5.0f} µs and {trips:.2f} round trips a decision ({name})")
    finally:
        process.kill()
        process.wait()


if __name__ == "__main__":
    main()
