"""Batching that adapts: nothing waits while the gate has time, and what is joined under load stays whole."""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import Any

from simulate.peer import events, talk, until

from ssegate.simulate import Behaviour
from ssegate.simulate.text import pieces

CONFIG = """
upstreams: {{up: {{url: "{url}"}}}}
routes: [{{path: /*, output: native, batch: {{mode: adaptive, size: 20, delay: 400ms}}}}]
"""
TOKENS = 60


async def occupy() -> None:
    """Leave the loop no time, but for a turn now and then."""
    while True:
        end = perf_counter() + 0.01
        while perf_counter() < end:
            pass
        await asyncio.sleep(0)


async def test_tokens_are_joined_as_far_as_the_gate_is_busy(gate: Any, simulator: Any):
    """
    They leave alone while there is time, several at once when there is none, and alone again after.

    A machine that other work keeps busy leaves less time than there could be.
    """
    upstream = await simulator(Behaviour(tokens=TOKENS, rate=100))
    running = await gate(CONFIG.format(url=upstream.url))
    counts = []

    async def stream() -> None:
        heard = await talk(running.url, "/v1/chat/completions", {"stream": True})
        said = [data for _, data in events(heard.body)]
        assert "".join(data.get("token", "") for data in said) == "".join(pieces(TOKENS, 0))
        assert said[-1]["finished"]
        counts.append(len(said) - 1)

    await stream()
    work = asyncio.create_task(occupy())
    await until(lambda: running.load.share > 0.9, patience=10)
    await stream()
    work.cancel()
    await until(lambda: running.load.share < 0.01, patience=10)
    await stream()

    before, under_load, after = counts
    assert under_load <= TOKENS / 2
    assert min(before, after) > 1.5 * under_load
