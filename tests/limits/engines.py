"""Both stores under a clock that the test moves, so that one set of promises can be held against each."""

from __future__ import annotations

import redis
from realredis import RedisServer

from ssegate.limits import Bucket, MemoryStore, Moment, Verdict
from ssegate.limits.ground import TICKS_PER_MS
from ssegate.limits.redis import RedisStore
from ssegate.limits.store import Actual

__all__ = ["NOON", "REDIS_CLOCK", "Engine", "MemoryEngine", "RedisEngine"]

NOON = 1_800_014_400_000 * TICKS_PER_MS
"""2027-01-15 12:00:00 UTC, in ticks."""

REDIS_CLOCK = "local now = tonumber(redis.call('GET', 'test:clock'))\n"


class Engine:
    """One store whose time stands still until it is moved."""

    def __init__(self, now: int = NOON) -> None:
        self.now = now

    def move(self, ticks: int) -> None:
        """Let *ticks* pass, or, below 0, set the clock back."""
        self.now += ticks

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def take(self, *buckets: Bucket) -> Verdict:
        raise NotImplementedError

    async def settle(self, verdict: Verdict, actual: Actual) -> None:
        raise NotImplementedError


class MemoryEngine(Engine):
    """``MemoryStore``; both of its clocks are the one of the test."""

    def __init__(self, now: int = NOON) -> None:
        super().__init__(now)
        self.store = MemoryStore(lambda: Moment(self.now, self.now))

    async def take(self, *buckets: Bucket) -> Verdict:
        return await self.store.take(buckets)

    async def settle(self, verdict: Verdict, actual: Actual) -> None:
        self.store.settle(verdict, actual)


class RedisEngine(Engine):
    """``RedisStore`` on a real server; the scripts read the test's clock in place of the server's."""

    def __init__(self, server: RedisServer, now: int = NOON) -> None:
        super().__init__(now)
        self._client: redis.Redis = server.client()
        self.store = RedisStore(server.url, clock=REDIS_CLOCK, budget=10)

    def move(self, ticks: int) -> None:
        super().move(ticks)
        self._client.set("test:clock", self.now)

    async def start(self) -> None:
        self.move(0)
        await self.store.start()
        assert self.store.is_up

    async def stop(self) -> None:
        await self.store.stop()
        self._client.close()

    async def take(self, *buckets: Bucket) -> Verdict:
        verdict = await self.store.take(buckets)
        assert not verdict.is_alone
        return verdict

    async def settle(self, verdict: Verdict, actual: Actual) -> None:
        self.store.settle(verdict, actual)
        await self.store.written()
