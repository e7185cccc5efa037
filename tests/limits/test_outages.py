"""
A rate through an outage of its server, against a slow exact model: one bucket that saw everything.

Every replica goes by its share meanwhile. When all are back the server's bucket is at least as full as the
model's, whatever was taken where and when: no window has more than its burst and its rate.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from itertools import permutations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from realredis import RedisServer

from ssegate.limits import Bucket, Moment, RateLimit
from ssegate.limits.ground import TICKS_PER_SECOND
from ssegate.limits.redis import RedisStore

from .engines import NOON, REDIS_CLOCK

LIMIT = RateLimit("tokens", 60, "minute", 60)
LEVEL = "ssegate:{limits}:k:tokens/minute"


@dataclass
class Fleet:
    """Replicas of one server, under a clock of the test's, and the model of their limit."""

    server: RedisServer
    count: int
    now: int = NOON
    level: int = 0
    stores: list[RedisStore] = field(default_factory=list)

    async def __aenter__(self) -> Fleet:
        self.redis = self.server.client()
        self.redis.flushall()
        self.move(0)
        for _ in range(self.count):
            self.stores.append(RedisStore(self.server.url, clock=REDIS_CLOCK, budget=10, moment=self.moment))
        for store in self.stores * 2:
            await store.beat()
        assert {store.replicas for store in self.stores} == {self.count}
        return self

    async def __aexit__(self, *_: object) -> None:
        for store in self.stores:
            await store.stop()
        self.redis.close()

    def moment(self) -> Moment:
        return Moment(self.now, self.now)

    def move(self, seconds: float) -> None:
        ticks = int(seconds * TICKS_PER_SECOND)
        self.now += ticks
        self.level = max(0, self.level - ticks * LIMIT.amount)
        self.redis.set("test:clock", self.now)

    async def take(self, replica: int, units: int) -> bool:
        verdict = await self.stores[replica % self.count].take([Bucket("k:tokens/minute", LIMIT, units)])
        if verdict.is_allowed:
            self.level += verdict.holds[0].units * LIMIT.ticks  # no more is reserved than fits a share
        return verdict.is_allowed

    async def play(self, steps: list[tuple[float, int, int]]) -> None:
        for seconds, replica, units in steps:
            self.move(seconds)
            await self.take(replica, units)

    def fail(self) -> None:
        for store in self.stores:
            store.is_up = False

    async def come_back(self, order: list[int], apart: float = 0.0) -> None:
        for replica in order:
            await self.stores[replica].beat()
            assert self.stores[replica].is_up
            self.move(apart)

    @property
    def units(self) -> tuple[float, float]:
        """How full the server's bucket is, and the model's."""
        used, at = map(int, (self.redis.get(LEVEL) or "0:0").split(":"))
        used = max(0, used - (self.now - at) * LIMIT.amount)
        return used / LIMIT.ticks, self.level / LIMIT.ticks


seconds = st.sampled_from([0.0, 0.0, 0.1, 1.0, 5.0, 20.0, 70.0])
steps = st.lists(st.tuples(seconds, st.integers(0, 3), st.integers(1, 60)), max_size=8)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    data=st.data(),
    count=st.integers(1, 4),
    before=steps,
    meanwhile=steps,
    apart=st.sampled_from([0.0, 0.5]),
)
def test_no_window_gets_more_for_an_outage(redis_server: RedisServer, data, count, before, meanwhile, apart):
    """Nor does one replica alone get less: it knows all that there was."""

    async def run() -> tuple[float, float]:
        async with Fleet(redis_server, count) as fleet:
            await fleet.play(before)
            fleet.fail()
            await fleet.play(meanwhile)
            order = data.draw(st.permutations(range(count)))
            await fleet.come_back(order, apart)
            return fleet.units

    told, exact = asyncio.run(run())
    assert told >= exact - 1e-6
    # Whole units are told: of each replica what is owed is rounded up, what it knew of is rounded down.
    assert told <= exact + 2 * count + (LIMIT.burst if count > 1 else 0)


async def test_what_leaks_in_two_places_is_put_back(redis_server: RedisServer):
    """One replica had taken all, the other takes while both the server's bucket and its own share leak."""
    async with Fleet(redis_server, 2) as fleet:
        assert await fleet.take(0, 60)
        fleet.fail()
        assert await fleet.take(1, 30)
        fleet.move(20.0)
        assert fleet.level == (60 + 30 - 20) * LIMIT.ticks
        await fleet.come_back([1, 0])

        told, exact = fleet.units
        assert exact <= told <= exact + 1


@pytest.mark.parametrize("order", list(permutations(range(3))))
async def test_the_order_in_which_they_come_back_changes_nothing(redis_server: RedisServer, order):
    """Nor do those that have nothing to put back hide from the others what there was."""
    async with Fleet(redis_server, 3) as fleet:
        assert await fleet.take(0, 60)
        fleet.fail()
        await fleet.play([(0.0, 1, 20), (20.0, 2, 20)])
        await fleet.come_back(list(order))

        told, exact = fleet.units
        assert exact == 80 and exact <= told <= exact + 3


async def test_who_took_last_puts_back_as_much(redis_server: RedisServer):
    """What leaked twice is what all had leaked since the first of them took, not since the last."""
    async with Fleet(redis_server, 3) as fleet:
        assert await fleet.take(0, 25)
        fleet.fail()
        await fleet.play([(0.0, 1, 5), (20.0, 2, 1), (5.0, 0, 1)])
        await fleet.come_back([0, 1, 2])

        told, exact = fleet.units
        assert exact == 7 and exact <= told <= exact + 3


async def test_an_idle_limit_is_not_made_fuller(redis_server: RedisServer):
    """Nothing had been taken before, so nothing has leaked twice."""
    async with Fleet(redis_server, 2) as fleet:
        fleet.fail()
        await fleet.play([(0.0, 0, 30), (0.0, 1, 30)])
        fleet.move(30.0)
        await fleet.come_back([0, 1])

        told, exact = fleet.units
        assert exact == 30 and exact <= told <= exact + 2
