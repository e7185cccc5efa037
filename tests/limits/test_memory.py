"""The bounds of the store in memory."""

from __future__ import annotations

import tracemalloc

from ssegate.limits import Bucket, MemoryStore, Moment, RateLimit, StreamLimit
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
