"""Settings of the whole suite."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings
from realredis import RedisServer, serving

from ssegate.wire import pipeline

# A failing example found on one machine must fail on the next one too, and a busy machine is no failure.
settings.register_profile("ci", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("local", deadline=None)
settings.register_profile(
    "proof",
    max_examples=500,
    derandomize="CI" in os.environ,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("ci" if os.environ.get("CI") else "local")


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--cuts``, ``--compiled``: ``make proof`` asks for them; ``--pull``: what ``make test-pull`` adds."""
    parser.addoption("--cuts", type=int, default=20, help="how often each recorded body is cut in two")
    parser.addoption(
        "--compiled", action="store_true", help="go no further where the pipeline is not compiled"
    )
    parser.addoption("--pull", action="store_true", help="have gates read bodies the ordinary way, untapped")
    parser.addoption("--store-seconds", type=float, default=3, help="how long processes share a Redis")


def pytest_configure(config: pytest.Config) -> None:
    """See to it that what is tested is what was meant."""
    if config.getoption("--compiled") and pipeline.__file__.endswith(".py"):
        raise pytest.UsageError(f"--compiled: {pipeline.__file__} is not")


def pytest_collection_finish() -> None:
    """Spare the garbage collector the tests themselves, which are many: some ask it to look at everything."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def one_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A redis-server for all tests that leave it running."""
    try:
        with serving(tmp_path_factory.mktemp("redis")) as server:
            yield server
    except FileNotFoundError as missing:
        pytest.skip(str(missing))


@pytest.fixture
def redis_server(one_redis: RedisServer) -> RedisServer:
    """The same, empty."""
    with one_redis.client() as client:
        client.flushall()
    return one_redis


@pytest.fixture
def own_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A redis-server of the test's own, to be killed or frozen."""
    try:
        with serving(tmp_path_factory.mktemp("redis")) as server:
            yield server
    except FileNotFoundError as missing:
        pytest.skip(str(missing))
