"""Stores for the tests of limits."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from .engines import Engine, MemoryEngine, RedisEngine


@pytest.fixture(params=["memory", "redis"])
async def engine(request: pytest.FixtureRequest) -> AsyncIterator[Engine]:
    """Each store in turn, under a clock of the test's."""
    if request.param == "memory":
        engine: Engine = MemoryEngine()
    else:
        engine = RedisEngine(request.getfixturevalue("redis_server"))
    await engine.start()
    yield engine
    await engine.stop()
