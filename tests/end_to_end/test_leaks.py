"""The leak checks themselves must be able to fail; and a stream that is over leaves nothing to be found."""

from __future__ import annotations

import asyncio
import gc
import os
from typing import Any

import pytest
from simulate.peer import talk, until

from ssegate.relay import Relay
from ssegate.simulate import Behaviour

from .leaks import active, assert_back, outcomes, snapshot, total

METRICS = """\
# HELP ssegate_streams Streams that have ended.
# TYPE ssegate_streams counter
ssegate_streams_total{route="chat",model="a",outcome="completed"} 2.0
ssegate_streams_total{route="chat",model="b",outcome="completed"} 3.0
ssegate_streams_total{route="raw",model="a",outcome="client_gone"} 1.0
ssegate_streams_total{route="raw",model="a",outcome="cancelled"} 0.0
# HELP ssegate_streams_active Streams that are running.
# TYPE ssegate_streams_active gauge
ssegate_streams_active{route="chat"} 4.0
ssegate_streams_active{route="raw"} 1.0
"""


async def test_an_open_descriptor_is_told_with_what_it_points_at():
    """A descriptor left open fails the test and is named."""
    before = snapshot()
    read, write = os.pipe()

    with pytest.raises(AssertionError, match=rf"descriptor {read}: pipe:"):
        await assert_back(before, within=0)

    os.close(read)
    os.close(write)
    await assert_back(before)


async def test_a_descriptor_number_used_again_is_no_disguise():
    """Closing one descriptor and opening another under its number does not hide the new one."""
    read, write = os.pipe()
    before = snapshot()
    os.dup2(other := os.open(os.devnull, os.O_RDONLY), read)
    os.close(other)

    with pytest.raises(AssertionError, match=rf"descriptor {read}: {os.devnull}"):
        await assert_back(before, within=0)

    os.close(read)
    os.close(write)


async def test_a_running_task_is_told_by_name():
    """A task nobody has awaited or cancelled fails the test and is named."""
    before = snapshot()
    task = asyncio.create_task(asyncio.sleep(60), name="forgotten")

    with pytest.raises(AssertionError, match="forgotten"):
        await assert_back(before, within=0)

    task.cancel()
    await assert_back(before)


async def test_what_closes_soon_is_no_leak():
    """What is closed within the time allowed is waited for."""
    before = snapshot()
    task = asyncio.create_task(asyncio.sleep(0.03))

    await assert_back(before)

    assert task.done()


def test_metrics_are_added_up_over_their_other_labels():
    """Outcomes and running streams are sums over routes and models, read from the exposition text."""
    assert outcomes(METRICS) == {"completed": 5.0, "client_gone": 1.0}
    assert active(METRICS) == 5.0
    assert total(METRICS, "ssegate_streams_total", route="raw") == 1.0
    assert total(METRICS, "ssegate_streams_total", route="none") == 0.0


async def test_a_stream_that_is_over_is_no_work_for_the_collector(gate: Any, simulator: Any):
    """Nothing of it holds itself in a circle, so all of it goes with its last reference."""
    upstream = await simulator(Behaviour(tokens=2))
    running = await gate(f"upstreams: {{up: {{url: '{upstream.url}'}}}}\nroutes: [{{path: /*}}]")
    # A gate that starts freezes what there is: earlier ones of this process stay, with their last streams.
    earlier = _relays()
    gc.disable()
    try:
        await talk(running.url, "/v1/chat/completions", {"stream": True})
        await until(lambda: all(one in earlier for one in _relays()))
    finally:
        gc.enable()


def _relays() -> list[Relay]:
    return [one for one in gc.get_objects() if isinstance(one, Relay)]
