"""One replica of many: says ready, reads a time, and asks a shared store for more than it has until then."""

from __future__ import annotations

import asyncio
import json
import sys

import redis

from ssegate.limits import Bucket, RateLimit
from ssegate.limits.redis import RedisStore


def server_time(client: redis.Redis) -> float:
    seconds, microseconds = client.time()  # type: ignore[misc]
    return float(seconds + microseconds / 1e6)


async def main(url: str, amount: int, burst: int) -> None:
    client = redis.Redis.from_url(url, protocol=2)
    # Patient: this is about exact counting, however busy the machine is.
    store = RedisStore(url, budget=30)
    await store.start()
    limit = RateLimit("requests", amount, "second", burst)
    # Connections are made before: while nobody asks, a full bucket cannot fill.
    await asyncio.gather(*(store.take([Bucket("first", limit, 1)]) for _ in range(8)))
    bucket = Bucket("all", limit, 1)
    print("ready", flush=True)
    until = float(sys.stdin.readline())
    began = server_time(client)
    admitted = alone = 0
    dry_at = None
    while server_time(client) < until:
        for verdict in await asyncio.gather(*(store.take([bucket]) for _ in range(8))):
            admitted += verdict.is_allowed
            alone += verdict.is_alone
            if dry_at is None and not verdict.is_allowed:
                dry_at = server_time(client)
    said = {"admitted": admitted, "alone": alone, "began": began, "dry": dry_at}
    print(json.dumps(said | {"ended": server_time(client)}))
    await store.stop()
    client.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
