"""
Gates, upstreams and the checks that every end-to-end test ends with.

Whatever a test does, afterwards each of its gates has counted one outcome for every stream it started, has
none running and none waiting for a timer, and this process holds no descriptor and no task more than before.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from textwrap import dedent
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from ssegate import logs
from ssegate.relay import Relay

from . import leaks, realserver
from .logbook import Log
from .processes import RunningGate, started

PULLING = Path(__file__).parent / "pulling"
"""Holds what Python runs at its start."""

if TYPE_CHECKING:
    from ssegate.gate import Gate
    from ssegate.simulate import Simulator


def pytest_configure(config: pytest.Config) -> None:
    """With ``--pull`` no gate taps its upstream, as if aiohttp had changed; gates in processes neither."""
    if config.getoption("--pull"):
        Relay.push = False
        os.environ["PYTHONPATH"] = os.pathsep.join(
            [str(PULLING), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
        )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave those out that try both ways themselves."""
    if config.getoption("--pull"):
        items[:] = [item for item in items if "both_ways" not in getattr(item, "fixturenames", ())]


@pytest.fixture(params=[True, False], ids=["push", "pull"])
def both_ways(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bodies arrive by the tap, and by the ordinary reader."""
    monkeypatch.setattr(Relay, "push", request.param)


@pytest.fixture(autouse=True)
async def nothing_left_open() -> AsyncIterator[None]:
    """Fail the test if it leaves descriptors or tasks behind; set up first, so torn down last."""
    before = leaks.snapshot()
    yield
    await leaks.assert_back(before)


class Gates:
    """Starts gates inside the test's own loop; call it with YAML, get a ``Gate`` that serves."""

    def __init__(self) -> None:
        self._running: list[Gate] = []

    async def __call__(self, text: str, env: dict[str, str] | None = None) -> Gate:
        """Start a gate with the config *text*, on free ports of the loopback unless it names others."""
        from ssegate.config import parse
        from ssegate.gate import Gate

        gate = Gate(parse(on_free_ports(text), "test.yaml", env=env or {}))
        await gate.start()
        self._running.append(gate)
        return gate

    async def metrics(self, gate: Gate) -> str:
        """Return what Prometheus would read now, or would if there were an admin port."""
        if gate.admin_url is None:
            return gate.metrics.render(None)[0].decode()
        async with aiohttp.ClientSession() as session, session.get(f"{gate.admin_url}/metrics") as answer:
            assert answer.status == 200
            return await answer.text()

    async def stop(self, gate: Gate) -> None:
        """Check that every stream of *gate* was counted once and none runs, then stop it."""
        self._running.remove(gate)
        try:
            await self._assert_settled(gate)
        finally:
            await gate.stop()

    async def stop_all(self) -> None:
        async with AsyncExitStack() as stack:
            for gate in list(self._running):
                stack.push_async_callback(self.stop, gate)

    async def _assert_settled(self, gate: Gate) -> None:
        # A client that has just left is noticed in a later turn of the loop.
        loop = asyncio.get_running_loop()
        deadline = loop.time() + leaks.PATIENCE
        while True:
            text = await self.metrics(gate)
            waiting = sum(map(will_wait, gate._port._soon))
            seen = (leaks.active(text), sum(leaks.outcomes(text).values()), waiting)
            if seen == (0, gate.streams_started, 0):
                return
            assert loop.time() < deadline, (
                f"{gate.streams_started} streams started, {seen[0]:g} active, {waiting} wait for a timer, "
                f"outcomes {leaks.outcomes(text)}"
            )
            await asyncio.sleep(0.02)


def on_free_ports(text: str) -> str:
    """Return the YAML *text*, with free loopback ports for the listeners it does not name."""
    text = dedent(text)
    unnamed = [name for name in ("listen", "admin") if not re.search(rf"^{name}:", text, re.MULTILINE)]
    return "".join(f"{name}: 127.0.0.1:0\n" for name in unnamed) + text


@pytest.fixture
async def gate(nothing_left_open: None) -> AsyncIterator[Gates]:
    """Gates of this test: ``running = await gate(yaml)``, then ``running.url`` and ``running.admin_url``."""
    gates = Gates()
    yield gates
    await gates.stop_all()


def will_wait(pacing: Any) -> bool:
    """A timer that *pacing* asks for again after its end would keep gate and core busy for ever."""
    return pacing._pipeline.near_deadline is not None


class Simulators:
    """Starts simulated upstreams; takes what ``Simulator`` takes."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack = stack

    async def __call__(self, *args: Any, **settings: Any) -> Simulator:
        from ssegate.simulate import Simulator

        return await self._stack.enter_async_context(Simulator(*args, **settings))


@pytest.fixture
async def simulator(nothing_left_open: None) -> AsyncIterator[Simulators]:
    """Simulated upstreams of this test: ``upstream = await simulator()``, then ``upstream.url``."""
    async with AsyncExitStack() as stack:
        yield Simulators(stack)


class GateProcesses:
    """Runs ``ssegate run -c FILE`` in processes of their own; takes YAML."""

    def __init__(self, directory: Path, stack: AsyncExitStack) -> None:
        self._directory = directory
        self._stack = stack
        self._count = 0

    async def __call__(self, text: str, env: dict[str, str] | None = None) -> RunningGate:
        """Start one and wait until it listens; it ends with the test at the latest."""
        self._count += 1
        file = self._directory / f"gate{self._count}.yaml"
        file.write_text(on_free_ports(text), "utf-8")
        return await self._stack.enter_async_context(started(file, env or {}))


@pytest.fixture
async def run_gate(nothing_left_open: None, tmp_path: Path) -> AsyncIterator[GateProcesses]:
    """Gates in processes of their own: ``running = await run_gate(yaml)``, then ``running.url``."""
    async with AsyncExitStack() as stack:
        yield GateProcesses(tmp_path, stack)


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Iterator[realserver.Llama]:
    """A real llama.cpp server with a scripted model, one for all tests."""
    try:
        with realserver.serving(tmp_path_factory.mktemp("llama")) as server:
            yield server
    except realserver.Missing as exc:
        pytest.skip(f"the real llama.cpp server cannot run here: {exc}")


@pytest.fixture
def log(request: pytest.FixtureRequest) -> Iterator[Log]:
    """The whole log of this process, at the level that says most; JSON unless the test asks otherwise."""
    stream = Log()
    level = logging.getLogger().level
    logs.configure("debug", getattr(request, "param", "json"), stream)
    yield stream
    logs.shutdown()
    logging.getLogger().setLevel(level)
