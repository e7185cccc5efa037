"""
One gate for all client tests of a worker, as its users run it: a process with a file, before real sockets.

Both run beside the tests, in a process and a thread, so that clients may block, or be processes themselves.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Coroutine, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from end_to_end.processes import started
from end_to_end.scripted import scripted

from . import scenarios
from .upstream import Upstream


class House:
    """
    The gate and its upstream.

    Attributes:
        url: The gate's; a client's base URL begins with ``house.base(wire, scenario)``.
        upstream: What it was asked, and who left it.
    """

    def __init__(self) -> None:
        self.upstream = Upstream()
        self.url = ""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="house")
        self._stack = AsyncExitStack()

    def base(self, wire: str, scenario: str) -> str:
        """Return the URL that stands for the vendor's host."""
        return f"{self.url}/{wire}/{scenario}"

    def open(self, directory: Path) -> None:
        """Start both; the gate's files are in *directory*."""
        self._thread.start()
        self._do(self._open(directory))

    def close(self) -> None:
        """End both."""
        try:
            self._do(self._stack.aclose())
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    async def _open(self, directory: Path) -> None:
        upstream = await self._stack.enter_async_context(scripted(self.upstream.answer))
        file = directory / "ssegate.yaml"
        file.write_text(json.dumps(scenarios.config(upstream.url)), "utf-8")
        self.url = (await self._stack.enter_async_context(started(file, {}))).url


@pytest.fixture(scope="session")
def open_house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    house = House()
    house.open(tmp_path_factory.mktemp("house"))
    yield house
    house.close()


@pytest.fixture
def house(open_house: House) -> House:
    """The gate and its upstream, as if this test were the first."""
    open_house.upstream.forget()
    return open_house
