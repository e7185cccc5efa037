"""Clients of what passes as it is: they leave, stop reading, read slowly, and each is booked once."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from simulate.peer import Heard, until

from ssegate.connection import ConnectionServer

from . import leaks
from .logbook import Log
from .scripted import Client, Peer, calling, chunk, scripted

AT_ONCE = 0.5
"""Seconds. The contract says 0.1; a busy machine may look away for longer."""

KINDS = {"passed": "/things/1", "foreign": "/things/1?stream=true"}
"""A body nobody wanted as a stream, and one that turns out to be none."""

LENGTH = 100_000_000
HEADS = {
    "chunked": b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nTransfer-Encoding: chunked\r\n\r\n",
    "length": b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: %d\r\n\r\n" % LENGTH,
}
FIRST, PIECE = b"\x89PNG", b"x" * 1000
UPLOAD = "POST /files HTTP/1.1\r\nHost: gate\r\nContent-Type: a/b\r\n"
REQUESTS = {
    "no body": b"GET /things/1 HTTP/1.1\r\nHost: gate\r\n\r\n",
    "half a body": f"{UPLOAD}Content-Length: 100000\r\n\r\nhalf".encode(),
    "half a chunked body": f"{UPLOAD}Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n".encode(),
}


def config(url: str, timeouts: str = "", **route: str) -> str:
    more = "".join(f", {name}: {value}" for name, value in route.items())
    return f"""
        upstreams: {{up: {{url: "{url}"}}}}
        routes: [{{path: /*, timeouts: {{{timeouts}}}{more}}}]
        """


def now() -> float:
    return asyncio.get_running_loop().time()


class Speaker:
    """
    An upstream's script: the head of an answer, FIRST, then nothing or PIECE without end.

    Attributes:
        left_at: When it was left, on the loop's clock.
    """

    def __init__(self, framing: str | None, *, is_endless: bool = False) -> None:
        self.left_at: float | None = None
        self._framing, self._is_endless = framing, is_endless

    async def __call__(self, peer: Peer) -> None:
        await peer.head()
        try:
            if self._framing is not None:
                await peer.say(HEADS[self._framing] + self._framed(FIRST))
            while self._is_endless:
                await peer.say(self._framed(PIECE))
                await asyncio.sleep(0)
            self.left_at = await peer.left()
        except ConnectionError:
            self.left_at = now()

    def _framed(self, data: bytes) -> bytes:
        return chunk(data) if self._framing == "chunked" else data


def go(client: Client, how: str) -> None:
    """Leave: by FIN, by RST, or by closing only the sending side."""
    match how:
        case "fin":
            client.close()
        case "reset":
            client.reset()
        case _:
            client._writer.write_eof()


async def assert_left(speaker: Speaker, since: float) -> None:
    """The upstream was closed at once."""
    await until(lambda: speaker.left_at is not None)
    assert speaker.left_at is not None
    assert speaker.left_at - since < AT_ONCE


def faults(log: Log) -> list[dict[str, Any]]:
    """Return what was taken for a fault; asyncio tells at level debug what befalls its sockets."""
    return [line for line in log.lines() if line["level"] == "error"]


async def booked(log: Log, event: str = "request") -> dict[str, Any]:
    """Return the one line of the one request; nothing was taken for a fault of the gate's."""
    await until(lambda: log.lines(event))
    gc.collect()  # exceptions that nobody has looked at complain now
    await asyncio.sleep(0.02)
    log.whole()
    assert faults(log) == []
    [line] = log.lines(event)
    return line


LEAVING = pytest.mark.parametrize("how", ["fin", "reset", "half"])


@LEAVING
@pytest.mark.parametrize("asked", list(REQUESTS))
async def test_leaving_before_the_head(asked: str, how: str, log: Log, gate: Any):
    """Also while the client's own body is on its way up: 499, nothing sent, the upstream closed at once."""
    speaker = Speaker(None)
    async with scripted(speaker) as upstream:
        running = await gate(config(upstream.url))
        async with calling(running.url) as client:
            client.send(REQUESTS[asked])
            await until(lambda: upstream.peers)
            await asyncio.sleep(0.05)  # so that the request has gone up
            left_at = now()
            go(client, how)
            await assert_left(speaker, left_at)
        line = await booked(log)

    assert (line["status"], line["code"], line["bytes_out"]) == (499, "client_gone", 0)
    metrics = await gate.metrics(running)
    assert leaks.total(metrics, "ssegate_client_disconnects_total", phase="before_headers") == 1
    assert leaks.total(metrics, "ssegate_requests_total", code="499") == 1


@LEAVING
@pytest.mark.parametrize("framing", list(HEADS))
@pytest.mark.parametrize("asked", list(REQUESTS))
async def test_leaving_a_silent_body(asked: str, framing: str, how: str, log: Log, gate: Any):
    """The status that was sent and the bytes that were; also where the client's own body was not all sent."""
    speaker = Speaker(framing)
    async with scripted(speaker) as upstream:
        running = await gate(config(upstream.url))
        async with calling(running.url) as client:
            client.send(REQUESTS[asked])
            await client.until(FIRST)
            left_at = now()
            go(client, how)
            await assert_left(speaker, left_at)
        line = await booked(log)

    assert (line["status"], line["code"], line["bytes_out"]) == (200, "client_gone", len(FIRST))
    metrics = await gate.metrics(running)
    assert leaks.total(metrics, "ssegate_client_disconnects_total", phase="streaming") == 1


@LEAVING
@pytest.mark.parametrize("framing", list(HEADS))
@pytest.mark.parametrize("kind", list(KINDS))
async def test_leaving_a_flowing_body(kind: str, framing: str, how: str, log: Log, gate: Any):
    """A body at full speed, its client no longer reads: the upstream is closed at once, what went is told."""
    speaker = Speaker(framing, is_endless=True)
    async with scripted(speaker) as upstream:
        running = await gate(config(upstream.url))
        async with calling(running.url, receive_buffer=4096) as client:
            client.ask(KINDS[kind], method="GET")
            await client.until(FIRST)
            await until(lambda: upstream.peers[0].sent > 100_000)
            await asyncio.sleep(0.1)  # until nothing moves any more
            left_at = now()
            go(client, how)
            await assert_left(speaker, left_at)
        line = await booked(log, "request" if kind == "passed" else "stream")

        assert (line["status"], line["code"]) == (200, "client_gone")
        assert 64_000 < line["bytes_out"] < upstream.peers[0].sent + 2 * len(PIECE)


@pytest.mark.parametrize("kind", list(KINDS))
async def test_a_crowd_that_leaves_is_no_fault(kind: str, run_gate: Any):
    """Whoever goes while a write is on its way leaves one line and no traceback behind."""
    async with scripted(Speaker("chunked", is_endless=True)) as upstream:
        running = await run_gate(config(upstream.url))

        async def visit(n: int) -> None:
            async with calling(running.url) as client:
                client.ask(KINDS[kind], method="GET")
                await client.until(FIRST)
                for _ in range(n % 7):
                    await client.reader.read(30_000)
                go(client, "fin" if n % 2 else "half")
                for _ in range(5):
                    await client.reader.read(30_000)

        for _ in range(4):
            await asyncio.gather(*(visit(n) for n in range(20)))
        assert await running.stop() == 0

    assert [line for line in running.log if "exception" in line] == []
    ends = Counter((line["code"], line["status"]) for line in running.log if "bytes_out" in line)
    assert ends == {("client_gone", 200): 80}
    assert running.errors == ""


async def test_a_write_to_nobody_is_no_fault(log: Log):
    """Whatever request meets a client that has just left: nothing is answered, nothing taken for a fault."""

    async def late(request: web.BaseRequest) -> web.StreamResponse:
        raise aiohttp.ClientConnectionResetError("Cannot write to closing transport")

    server = ConnectionServer(late, max_connections=9, keepalive=9)
    listener = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
    async with listener, calling(f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}") as client:
        client.ask("/", method="GET")
        assert await client.rest() == b""

    log.whole()
    assert faults(log) == []


async def test_nobody_reads_on_for_a_foreign_body(log: Log, gate: Any):
    """``on_disconnect: finish`` is for the usage: of a body that has none the upstream is let go at once."""
    speaker = Speaker("chunked")
    async with scripted(speaker) as upstream:
        running = await gate(config(upstream.url, on_disconnect="finish"))
        async with calling(running.url) as client:
            client.ask(KINDS["foreign"], method="GET")
            await client.until(FIRST)
            left_at = now()
            client.close()
            await assert_left(speaker, left_at)
        line = await booked(log, "stream")

    assert (line["outcome"], line["bytes_out"]) == ("client_gone", len(FIRST))


# Not reading


@pytest.mark.parametrize("framing", list(HEADS))
@pytest.mark.parametrize("kind", list(KINDS))
@pytest.mark.parametrize("on_disconnect", ["cancel", "finish"])
async def test_a_client_that_reads_nothing_is_cut(
    kind: str, framing: str, on_disconnect: str, log: Log, gate: Any
):
    """After ``write``: ``slow_client``, no end of the body, the upstream closed; its silence is not ours."""
    speaker = Speaker(framing, is_endless=True)
    async with scripted(speaker) as upstream:
        timeouts = "write: 400ms, idle: 100ms"
        running = await gate(config(upstream.url, timeouts, on_disconnect=on_disconnect))
        async with calling(running.url, receive_buffer=4096) as client:
            client.ask(KINDS[kind], method="GET")
            await client.until(FIRST)
            asked_at = now()
            await assert_left(speaker, asked_at + 0.4)
            heard = Heard(await client.rest(), "fin")
        line = await booked(log, "request" if kind == "passed" else "stream")

    assert speaker.left_at is not None and speaker.left_at - asked_at > 0.3
    assert (line["status"], line["code"]) == (200, "slow_client")
    assert 64_000 < line["bytes_out"] < LENGTH
    assert len(heard.raw) < LENGTH and not heard.last_chunk
    metrics = await gate.metrics(running)
    assert leaks.total(metrics, "ssegate_timeouts_total", kind="write") == 1
    if kind == "foreign":
        assert leaks.outcomes(metrics) == {"slow_client": 1}


@pytest.mark.parametrize("kind", list(KINDS))
async def test_a_client_that_does_not_read_the_end_is_cut(kind: str, log: Log, gate: Any):
    """The upstream has said everything; ``write`` still bounds how long it is kept for the client."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.say(HEADS["chunked"] + chunk(b"x" * 500_000) + b"0\r\n\r\n")
        await peer.left()

    async with scripted(script) as upstream:
        running = await gate(config(upstream.url, "write: 300ms, idle: 100ms"))
        async with calling(running.url, receive_buffer=4096) as client:
            client.ask(KINDS[kind], method="GET")
            await client.until(b"xxx")
            line = await booked(log, "request" if kind == "passed" else "stream")
            heard = await client.rest()

    assert line["code"] == "slow_client"
    assert not heard.endswith(b"\r\n0\r\n\r\n")


@pytest.mark.parametrize("kind", list(KINDS))
async def test_a_slow_reader_gets_a_body_whole(kind: str, log: Log, gate: Any):
    """Small sips, and a pause longer than ``idle``: every byte comes, and the upstream is not blamed."""
    body = bytes(range(256)) * 4000

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.say(HEADS["chunked"] + chunk(body[:1]))
        for at in range(1, len(body), 10_000):
            await peer.say(chunk(body[at : at + 10_000]))
        await peer.say(b"0\r\n\r\n")
        await peer.left()

    async with scripted(script) as upstream:
        running = await gate(config(upstream.url, "write: 10s, idle: 150ms"))
        async with calling(running.url, receive_buffer=8192) as client:
            client.ask(KINDS[kind], method="GET", Connection="close")
            await client.until(b"\r\n\r\n")
            await asyncio.sleep(0.4)
            raw = b"chunked\r\n\r\n"
            while data := await client.reader.read(16_384):
                raw += data
                await asyncio.sleep(0.002)
        line = await booked(log, "request" if kind == "passed" else "stream")

    heard = Heard(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: " + raw, "fin")
    assert heard.last_chunk
    assert heard.body == body
    assert (line["status"], line.get("code"), line["bytes_out"]) == (200, None, len(body))


@pytest.mark.parametrize("kind", list(KINDS))
async def test_a_client_that_reads_ever_so_slowly_is_not_cut(kind: str, log: Log, gate: Any):
    """``write`` is for clients that read nothing: one that needs longer for what was sent is served on."""
    speaker = Speaker("length", is_endless=True)
    async with scripted(speaker) as upstream:
        running = await gate(config(upstream.url, "write: 1s"))
        async with calling(running.url, receive_buffer=4096) as client:
            client.ask(KINDS[kind], method="GET")
            await until(lambda: upstream.peers and upstream.peers[0].sent > 100_000)
            await asyncio.sleep(0.1)  # until nothing moves any more
            held, began = upstream.peers[0].sent, now()
            while now() - began < 2.5:
                await client.reader.read(6_000)
                await asyncio.sleep(0.06)
            print("MOVED", held, upstream.peers[0].sent)

            assert not log.lines("request" if kind == "passed" else "stream")
            assert speaker.left_at is None


async def test_an_operator_ends_a_foreign_body(log: Log, gate: Any):
    """A cancel ends also a body that waits for its reader, at once."""
    speaker = Speaker("chunked", is_endless=True)
    async with scripted(speaker) as upstream:
        running = await gate(config(upstream.url))
        async with calling(running.url, receive_buffer=4096) as client:
            client.ask(KINDS["foreign"], method="GET")
            await until(lambda: [row["state"] for row in running.live()] == ["blocked"])
            (row,) = running.live()
            target = f"{running.admin_url}/-/streams/{row['id']}"
            async with aiohttp.ClientSession() as session, session.delete(target) as answer:
                assert answer.status == 200
            await assert_left(speaker, now())
            await until(lambda: not running.live())
        line = await booked(log, "stream")

    assert line["outcome"] == "cancelled"
