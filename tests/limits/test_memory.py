"""The bounds of the store in memory."""

from __future__ import annotations

import tracemalloc

import pytest

from ssegate.config import parse
from ssegate.limits import Bucket, MemoryStore, Moment, RateLimit, Rules, StreamLimit, WindowLimit
from ssegate.limits.ground import TICKS_PER_SECOND

from .engines import NOON


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> Moment:
        return Moment(self.now, self.now)


def ask(store, who, amount=2):
    limit = RateLimit("requests", amount, "minute", amount)
    return store.take_now([Bucket(f"ip:{who}:requests/minute", limit, 1)])


def test_a_flood_of_addresses_keeps_memory_bounded():
    """However many ask once, no more buckets are remembered than the bound, and no more bytes."""
    store = MemoryStore(Clock(), max_buckets=1000)
    for address in range(1000):
        ask(store, address)
    tracemalloc.start()
    try:
        for address in range(100_000):
            ask(store, f"flood{address}")
        grown, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert len(store) <= 1000
    assert grown < 1_000_000


def test_who_has_run_dry_is_not_forgotten_in_a_flood():
    """A flood does not refill the bucket of somebody who waits."""
    store = MemoryStore(Clock(), max_buckets=100)
    dry = range(20)
    for address in dry:
        ask(store, address)
        ask(store, address)

    for address in range(10_000):
        ask(store, f"flood{address}")

    assert not any(ask(store, address).is_allowed for address in dry)


CONFIG = parse(
    """
    limits: {cost: 5.00/day, global: {cost: 5.00/day}}
    prices: {m: {input: 1, output: 1}}
    keys: [{name: k, value: v, limits: {tokens: 1000/day}}]
    upstreams: {a: {url: 'http://h'}}
    routes: [{path: /*, limits: {tokens: 1000/day}}]
    """,
    "f",
    {},
)
CENT = 10_000_000


def of_config(dimension, units):
    """The buckets of one dimension of a request of the key ``k``."""
    asked = {dimension: units}
    return Rules(CONFIG.limits).buckets("key:k", CONFIG.keys[0], CONFIG.routes[0], asked)


@pytest.mark.parametrize(
    ("dimension", "used", "more"), [("cost", 499 * CENT, 10 * CENT), ("tokens", 900, 200)]
)
def test_budgets_of_keys_and_of_everybody_are_not_forgotten_in_a_flood(dimension, used, more):
    """Config bounds how many there are, so they need not leave, full or not, asked for or not."""
    store = MemoryStore(Clock(), max_buckets=100)
    for address in range(100):
        ask(store, address, amount=1)
    taken = store.take_now(of_config(dimension, used))
    assert len({hold.key for hold in taken.holds}) == 2

    for address in range(1000):
        ask(store, f"flood{address}")

    verdict = store.take_now(of_config(dimension, more))
    capacity = taken.holds[0].bucket.limit.capacity
    assert not verdict.is_allowed
    assert [hold.remaining for hold in verdict.holds] == [capacity - used] * 2


def test_who_was_refused_something_large_is_not_forgotten_in_a_flood():
    """A budget with a cent left is as dry as one with nothing left, for who asked for ten."""
    store = MemoryStore(Clock(), max_buckets=100)
    limit = WindowLimit("cost", 500 * CENT, "day")
    cost = [[Bucket(f"each:ip:{n}:cost/day", limit, units * CENT) for units in (499, 10)] for n in range(20)]
    for first, second in cost:
        assert store.take_now([first]).is_allowed
        assert not store.take_now([second]).is_allowed

    for address in range(1000):
        ask(store, f"flood{address}")

    assert not any(store.take_now([second]).is_allowed for _, second in cost)


def test_a_refusal_counts_as_a_use():
    """Who goes on asking is not among those used least recently, in any of the buckets of the request."""
    store = MemoryStore(Clock(), max_buckets=100)
    dry = Bucket("dry", RateLimit("requests", 1, "minute", 1), 1)
    other = Bucket("other", RateLimit("tokens", 10, "minute", 10), 5)
    store.take_now([dry, other])

    for address in range(1000):
        store.take_now([Bucket(f"flood{address}", RateLimit("tokens", 10, "minute", 10), 1), other, dry])
        ask(store, address)

    assert store.take_now([other]).holds[0].remaining == 0


def test_idle_buckets_leave_before_used_ones():
    """A bucket that is full again is forgotten first: nothing is lost with it."""
    clock = Clock()
    store = MemoryStore(clock, max_buckets=8)
    for address in range(8):
        ask(store, address, amount=10)
    for _ in range(9):
        ask(store, 0, amount=10)
    clock.now += 30 * TICKS_PER_SECOND  # enough for all but the first

    for address in range(100, 107):
        ask(store, address, amount=10)

    assert ask(store, 0, amount=10).holds[0].remaining == 4


def test_where_all_have_run_dry_newcomers_share_one_bucket():
    """The bound holds even then, and nobody who waits is let in for it."""
    store = MemoryStore(Clock(), max_buckets=50)
    for address in range(50):
        ask(store, address, amount=1)

    admitted = sum(ask(store, f"new{address}", amount=1).is_allowed for address in range(1000))

    assert admitted == 1
    assert len(store) == 51
    assert not any(ask(store, address, amount=1).is_allowed for address in range(50))


def test_open_streams_are_not_forgotten():
    """A stream that runs counts to its end, whoever floods meanwhile."""
    store = MemoryStore(Clock(), max_buckets=10)
    stream = [Bucket("k:a:streams", StreamLimit(1), 1)]
    held = store.take_now(stream)
    for address in range(1000):
        ask(store, address)

    assert not store.take_now(stream).is_allowed
    store.settle(held, {})
    assert store.take_now(stream).is_allowed


def test_ended_streams_leave_nothing_behind():
    """A caller without open streams takes no memory."""
    store = MemoryStore(Clock())
    for key in range(100):
        verdict = store.take_now([Bucket(f"k:{key}:streams", StreamLimit(1), 1)])
        store.settle(verdict, {})

    assert len(store) == 0
