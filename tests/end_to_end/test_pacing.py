"""What of one stream is due when, by a real connection and an invented clock."""

from __future__ import annotations

import array
import asyncio
import fcntl
import termios
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
from simulate.peer import until
from wire.driving import word
from wire.test_pipeline_unread import DELAY, joining

from ssegate import lowwater, tap
from ssegate.alarm import GRAIN, Soon
from ssegate.pacing import Pacing
from ssegate.tap import Line
from ssegate.wire.pipeline import Pipeline

from .scripted import HEAD, Peer, chunk, scripted
from .test_tap import Heard

pytestmark = pytest.mark.skipif(not lowwater.is_heeded(), reason="this system has no low-water marks")


class Body(NamedTuple):
    """A tapped body, and who sends it."""

    line: Line
    peer: Peer
    heard: Heard


@pytest.fixture
async def body() -> AsyncIterator[Body]:
    """A body that has begun."""
    peers: list[Peer] = []

    async def script(peer: Peer) -> None:
        peers.append(peer)
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
        heard = Heard()
        assert tap.attach(response, heard)
        yield Body(line, peers[0], heard)
        line.close()
        await closed


@pytest.fixture
def line(body: Body) -> Line:
    """The connection of a tapped body."""
    return body.line


async def lie(body: Body, data: bytes) -> None:
    """Have *data* lie unread."""
    assert body.line.set_low_water(1 << 14) and body.line.transport is not None
    descriptor = lowwater.descriptor_of(body.line.transport)
    assert descriptor is not None
    await body.peer.say(data)

    def lying() -> int:
        size = array.array("i", [0])
        fcntl.ioctl(descriptor, termios.FIONREAD, size)
        return size[0]

    heard = body.heard.whole
    await until(lambda: lying() == len(data))
    assert body.heard.whole == heard


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


async def test_what_lies_there_is_read_at_once(body: Body):
    """Without a turn of the loop; the mark stays where it is."""
    await lie(body, chunk(b"one") + chunk(b"two"))

    assert body.line.read_lying()
    assert body.heard.whole == b"onetwo"
    assert body.line.low_water == 1 << 14
    assert not body.line.read_lying()


async def test_of_a_flood_so_much_is_read_as_the_loop_reads(body: Body, monkeypatch: pytest.MonkeyPatch):
    """The rest comes by itself, so that a client that cannot take it may hold it back."""
    monkeypatch.setattr(lowwater, "MOST", lowwater._ROOM)
    text = b"x" * (lowwater._ROOM + 1000)
    await lie(body, chunk(text))

    assert body.line.read_lying()
    assert 0 < len(body.heard.whole) <= lowwater._ROOM
    assert body.line.low_water == 1
    await until(lambda: body.heard.whole == text)


async def test_a_fault_of_ours_closes_the_connection(body: Body, monkeypatch: pytest.MonkeyPatch):
    """As where the loop calls: nobody is to wait for what will not be read."""

    def fails(data: bytes) -> None:
        raise ZeroDivisionError

    await body.peer.say(chunk(b"one"))
    await until(lambda: body.heard.whole == b"one")
    monkeypatch.setattr(body.heard, "on_data", fails)
    await lie(body, chunk(b"two"))

    with pytest.raises(ZeroDivisionError):
        body.line.read_lying()
    assert body.line.transport is None or body.line.transport.is_closing()


async def test_a_clock_that_rings_has_what_is_due_read(body: Body):
    """It would send what is held without what lies behind it, which then waited once more."""
    pacing, soon, _, now = pacing_of(body.line)
    await lie(body, chunk(b"one"))

    assert not pacing.read_due(now + DELAY / 2)
    assert body.heard.data == []
    pacing.read_due(now + DELAY)
    assert body.heard.whole == b"one"
    assert len(list(soon)) == 1


async def test_while_nothing_is_to_be_read_nothing_is(body: Body):
    """The client does not take what was written already."""
    await lie(body, chunk(b"one"))
    tap.pause(SimpleNamespace(connection=SimpleNamespace(protocol=body.line), content=None))  # type: ignore[arg-type]

    assert not body.line.read_lying()
    assert body.heard.data == []


async def test_a_connection_that_closes_is_not_read(body: Body):
    """Its descriptor may be another's in a moment."""
    await lie(body, chunk(b"one"))
    assert body.line.transport is not None
    body.line.transport.close()

    assert not body.line.read_lying()


async def test_the_beginning_of_a_chunk_keeps_nothing_lying(body: Body):
    """What is due has not come yet: from now on whatever comes is read."""
    pacing, _, pipeline, now = pacing_of(body.line)
    await lie(body, b"5")

    pacing.on_soon(now + DELAY)
    assert body.line.low_water == 1

    pacing.on_soon(now + DELAY + GRAIN)
    assert pipeline.near_deadline is None
    await body.peer.say(b"\r\nhello\r\n")
    await until(lambda: body.heard.whole == b"hello")
