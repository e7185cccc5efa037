"""What of one stream is due when, by a real connection and an invented clock."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest
from wire.driving import word
from wire.test_pipeline_unread import DELAY, joining

from ssegate import lowwater, tap
from ssegate.alarm import GRAIN, Soon
from ssegate.pacing import Pacing
from ssegate.tap import Line
from ssegate.wire.pipeline import Pipeline

from .scripted import HEAD, Peer, scripted
from .test_tap import Heard

pytestmark = pytest.mark.skipif(not lowwater.is_heeded(), reason="this system has no low-water marks")


@pytest.fixture
async def line() -> AsyncIterator[Line]:
    """The connection of a tapped body."""

    async def script(peer: Peer) -> None:
        await peer.say(HEAD)
        await peer.left()

    loop = asyncio.get_running_loop()
    async with scripted(script) as upstream:
        _, line = await loop.create_connection(lambda: Line(loop), "127.0.0.1", upstream.port)
        closed = line.closed
        assert closed is not None
        line.set_response_params(read_until_eof=True)
        _, reader = await line.read()
        response: Any = SimpleNamespace(content=reader, headers={"Transfer-Encoding": "chunked"})
        assert tap.attach(response, Heard())
        yield line
        line.close()
        await closed


def pacing_of(line: Line) -> tuple[Pacing, Soon, Pipeline, float]:
    """Return the pacing of a stream that may lie unread, and holds a delta already; and the time."""
    drive, now = joining()
    soon = Soon()
    pacing = Pacing(drive.pipeline, soon, drive.pipeline.flush)
    pacing.begin(line)
    drive.feed(word("a"), now)
    pacing.leave_unread(now)
    pacing.tell(now)
    assert line.low_water > 1 and len(list(soon)) == 1
    return pacing, soon, drive.pipeline, now


async def test_what_is_due_is_read_first(line: Line):
    """What is held is told again when what lay there must have been read, and leaves then at the latest."""
    pacing, soon, pipeline, now = pacing_of(line)

    pacing.on_soon(now + DELAY)
    assert line.low_water == 1 and pipeline.near_deadline is not None
    assert len(list(soon)) == 2

    pacing.on_soon(now + DELAY + GRAIN)
    assert pipeline.near_deadline is None
    assert len(list(soon)) == 2


async def test_a_connection_that_closes_keeps_nothing_back(line: Line):
    """Its mark stays; what is held leaves, and nothing that is past is asked for again and again."""
    pacing, soon, pipeline, now = pacing_of(line)
    assert line.transport is not None
    line.transport.close()

    pacing.on_soon(now + DELAY)

    assert line.low_water > 1 and pipeline.near_deadline is None
    assert len(list(soon)) == 1


async def test_the_end_reads_whatever_comes(line: Line):
    """The connection may bring another stream."""
    pacing, _, _, now = pacing_of(line)

    pacing.end()
    assert line.low_water == 1

    pacing.leave_unread(now)
    assert line.low_water == 1
