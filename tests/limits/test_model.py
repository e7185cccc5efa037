"""
Both stores against a slow, exact model, through any sequence of requests, settlements and clock steps.

The model is written from the contract alone: fractions of a unit, a log of all that was admitted, dates of
the calendar. It shares no arithmetic with the stores.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from realredis import RedisServer

from ssegate.limits import Bucket, RateLimit, StreamLimit, Verdict, WindowLimit
from ssegate.limits.ground import TICKS_PER_MS

from .engines import NOON, Engine, MemoryEngine, RedisEngine

SECONDS = {"second": 1, "minute": 60}
DATES = {"hour": "%Y-%m-%d %H", "day": "%Y-%m-%d", "month": "%Y-%m"}
TICK = Fraction(1, 100_000)
SECOND = 100_000
OFTEN = max(1, settings().max_examples // 200)
"""``make proof`` tries ten times as many sequences."""


@dataclass
class ModelRate:
    """A rate: how full the bucket is, and what was ever taken and given back."""

    amount: int
    period: str
    burst: int
    level: Fraction = Fraction(0)
    seen_at: Fraction = Fraction(0)
    log: list[tuple[Fraction, int]] = field(default_factory=list)

    @property
    def rate(self) -> Fraction:
        return Fraction(self.amount, SECONDS[self.period])

    def look(self, now: Fraction) -> None:
        self.level = max(Fraction(0), self.level - max(Fraction(0), now - self.seen_at) * self.rate)
        self.seen_at = now

    def fits(self, units: int) -> bool:
        return self.level + min(units, self.burst) <= self.burst

    def wait(self, units: int) -> Fraction:
        return max(Fraction(0), (self.level + min(units, self.burst) - self.burst) / self.rate)

    def take(self, units: int) -> int:
        taken = min(units, self.burst)
        self.level += taken
        self.log.append((self.seen_at, taken))
        return taken

    def correct(self, units: int, _label: str) -> None:
        self.level = max(Fraction(0), self.level + units)
        # Of debts nothing is promised but that they are paid back: the bound is on what is admitted.
        self.log.append((self.seen_at, min(units, 0)))

    def left(self) -> int:
        return max(0, (self.burst - self.level).__floor__())

    def was_refused(self, before: ModelRate) -> None:
        """Nothing has happened, unless the clock was set back."""
        if self.seen_at >= before.seen_at:
            self.level, self.seen_at = before.level, before.seen_at

    label = ""


@dataclass
class ModelWindow:
    """A calendar window, named by its date."""

    amount: int
    period: str
    label: str = ""
    begun: Fraction = Fraction(0)
    used: int = 0

    def look(self, now: Fraction) -> None:
        label = self._label(now)
        if label == self.label:
            return
        if not self.used:
            self.label = ""  # of an empty window nothing is remembered
        if label < self.label and self.begun - now <= 300:
            return  # set back a little over the border
        if label > self.label:
            self.used = 0
        self.label = label
        self.begun = self._begin(now)

    def _label(self, now: Fraction) -> str:
        return datetime.fromtimestamp(int(now), UTC).strftime(DATES[self.period])

    def _begin(self, now: Fraction) -> Fraction:
        whole = {"hour": {}, "day": {"hour": 0}, "month": {"day": 1, "hour": 0}}[self.period]
        date = datetime.fromtimestamp(int(now), UTC).replace(minute=0, second=0, microsecond=0, **whole)
        return Fraction(int(date.timestamp()))

    def fits(self, units: int) -> bool:
        return self.used + min(units, self.amount) <= self.amount

    def take(self, units: int) -> int:
        taken = min(units, self.amount)
        self.used += taken
        return taken

    def correct(self, units: int, label: str) -> None:
        if units > 0 or label == self.label:
            self.used = max(0, self.used + units)

    def left(self) -> int:
        return max(0, self.amount - self.used)

    def was_refused(self, before: ModelWindow) -> None:
        if self.label >= before.label:
            self.label, self.begun, self.used = before.label, before.begun, before.used


@dataclass
class ModelStreams:
    """Open streams."""

    amount: int
    open: int = 0
    label = ""

    def look(self, now: Fraction) -> None: ...

    def fits(self, units: int) -> bool:
        return self.open + units <= self.amount

    def take(self, units: int) -> int:
        self.open += units
        return units

    def correct(self, units: int, _label: str) -> None:
        self.open += units

    def left(self) -> int:
        return self.amount - self.open

    def was_refused(self, before: ModelStreams) -> None: ...


amounts = st.one_of(st.integers(1, 12), st.integers(1, 500_000_000))
rates = st.tuples(amounts, st.sampled_from(["second", "minute"]), amounts).map(
    lambda t: (RateLimit("tokens", t[0], t[1], t[2]), ModelRate(*t))
)
windows = st.tuples(amounts, st.sampled_from(["hour", "day", "month"])).map(
    lambda t: (WindowLimit("cost", *t), ModelWindow(*t))
)
streams = st.integers(1, 3).map(lambda n: (StreamLimit(n), ModelStreams(n)))
everything = (rates, windows, streams)
shares = st.fractions(0, 2)
"""Of a bucket's capacity: what a request asks for, and what it turns out to have used."""


class Limits(RuleBasedStateMachine):
    """Requests come, end and wait, and the clock does what clocks do."""

    make: Any = MemoryEngine
    kinds: Any = everything

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.engine: Engine = self.make()
        self.runner.run(self.engine.start())
        self.running: list[tuple[Verdict, list[tuple[Any, int, str]]]] = []
        self.has_stepped = False
        self.clock = Fraction(NOON) * TICK

    def teardown(self) -> None:
        self.runner.run(self.engine.stop())
        self.runner.close()

    @initialize(data=st.data())
    def begin(self, data: st.DataObject) -> None:
        self.limits = data.draw(st.lists(st.one_of(*self.kinds), min_size=1, max_size=4))

    @rule(share=shares)
    def request(self, share: Fraction) -> None:
        """The store decides as the model does, and leaves as much as the model does."""
        self.decide(share)

    def decide(self, share: Fraction) -> Verdict:
        buckets, models = [], [model for _, model in self.limits]
        for number, (limit, _) in enumerate(self.limits):
            units = 1 if limit.dimension == "streams" else max(1, int(limit.capacity * share))
            buckets.append(Bucket(f"bucket{number}", limit, units))
        verdict = self.runner.run(self.engine.take(*buckets))
        before = [replace(model) for model in models]
        for model in models:
            model.look(self.clock)
        pairs = list(zip(models, buckets, strict=True))
        assert verdict.is_allowed == all(model.fits(bucket.units) for model, bucket in pairs)
        if verdict.is_allowed:
            taken = [(model, model.take(bucket.units), model.label) for model, bucket in pairs]
            self.running.append((verdict, taken))
        assert [hold.remaining for hold in verdict.holds] == [model.left() for model in models]
        if not verdict.is_allowed:
            for model, old in zip(models, before, strict=True):
                model.was_refused(old)
        return verdict

    @rule(share=shares)
    def wait_as_told(self, share: Fraction) -> None:
        """100 ms less than the wait is not enough; the wait is."""
        verdict = self.decide(share)
        rates_only = all(isinstance(model, ModelRate) for _, model in self.limits)
        if verdict.is_allowed or not rates_only or verdict.wait_ms > 10**9:
            return
        if verdict.wait_ms > 100:
            self.move((verdict.wait_ms - 100) * TICKS_PER_MS)
            assert not self.decide(share).is_allowed
            self.move(100 * TICKS_PER_MS)
        else:
            self.move(verdict.wait_ms * TICKS_PER_MS)
        assert self.decide(share).is_allowed

    @precondition(lambda self: self.running)
    @rule(data=st.data(), share=shares)
    def end(self, data: st.DataObject, share: Fraction) -> None:
        """One request ends, having used what nobody knew before."""
        verdict, taken = self.running.pop(data.draw(st.integers(0, len(self.running) - 1)))
        actual: dict[Any, int] = {}
        for hold in verdict.holds:
            limit = hold.bucket.limit
            actual.setdefault(limit.dimension, int(limit.capacity * share))
        self.runner.run(self.engine.settle(verdict, actual))
        for (model, units, label), hold in zip(taken, verdict.holds, strict=True):
            used = 0 if isinstance(model, ModelStreams) else actual[hold.bucket.limit.dimension]
            if used != units:
                model.look(self.clock)
                model.correct(used - units, label)

    @rule(ticks=st.one_of(st.integers(0, 10 * SECOND), st.integers(0, 40 * 86_400 * SECOND)))
    def time_passes(self, ticks: int) -> None:
        self.move(ticks)

    @rule(ticks=st.one_of(st.integers(1, 400 * SECOND), st.integers(1, 400 * 86_400 * SECOND)))
    def clock_is_set_back(self, ticks: int) -> None:
        self.has_stepped = True
        self.move(-ticks)

    def move(self, ticks: int) -> None:
        self.engine.move(ticks)
        self.clock += ticks * TICK

    @invariant()
    def never_more_than_promised(self) -> None:
        """In any span of time: at most burst + rate x time, while nobody touched the clock."""
        if self.has_stepped:
            return
        for _, model in self.limits if hasattr(self, "limits") else ():
            log = model.log if isinstance(model, ModelRate) else []
            for first in range(len(log)):
                span = log[-1][0] - log[first][0]
                total = sum(units for _, units in log[first:])
                assert total <= model.burst + model.rate * span


TestMemory = Limits.TestCase
TestMemory.settings = settings(max_examples=150 * OFTEN, stateful_step_count=40)


@pytest.fixture
def in_redis(redis_server: RedisServer) -> type[Limits]:
    def make() -> RedisEngine:
        with redis_server.client() as client:
            client.flushall()
        return RedisEngine(redis_server)

    # Open streams of a clock that jumps are ended there until the next sign of life: test_redis.py.
    return type("LimitsInRedis", (Limits,), {"make": staticmethod(make), "kinds": (rates, windows)})


def test_redis_decides_as_the_model_does(in_redis: type[Limits]):
    """The arithmetic in Lua is that of the contract, to the tick."""
    case = in_redis.TestCase
    case.settings = settings(max_examples=60 * OFTEN, stateful_step_count=30)
    case().runTest()
