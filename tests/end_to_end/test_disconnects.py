"""A client that leaves, at whatever moment, stops what it had set in motion; one that does not read, too."""

from __future__ import annotations

import asyncio
import gc
import gzip
import json
import tracemalloc
from typing import Any

import aiohttp
import pytest
from simulate.peer import Heard, events, talk, until

from ssegate.simulate import Behaviour
from ssegate.simulate.text import pieces

from . import leaks
from .scripted import DONE, HEAD, Client, Peer, calling, chunk, scripted, sse

PATH = "/v1/chat/completions"
AT_ONCE = 3.0
"""Seconds. The contract says 0.1; a busy machine looks away for longer, and nothing else ends it so soon."""

CONFIG = """
upstreams:
  up: {{url: "{url}"}}
defaults: {{timeouts: {{write: {write}, idle: {idle}}}, {more}}}
routes:
  - {{name: chat, path: {path}, output: {output}, hold: {hold}}}
  - {{name: rest, path: /*}}
"""


def config(
    url: str,
    *,
    output: str = "native",
    hold: str = "20s",
    write: str = "20s",
    idle: str = "20s",
    more: str = "heartbeat: off",
) -> str:
    return CONFIG.format(url=url, output=output, hold=hold, write=write, idle=idle, path=PATH, more=more)


@pytest.fixture(params=["fin", "reset"])
def leave(request: pytest.FixtureRequest) -> Any:
    """How a client goes: it closes its socket, or resets it."""
    return Client.close if request.param == "fin" else Client.reset


def now() -> float:
    return asyncio.get_running_loop().time()


async def assert_gone(gate: Any, running: Any, upstream: Any, left_at: float, phase: str) -> None:
    """The upstream was closed at once, and one outcome counted."""
    await until(lambda: upstream.gone == 1)
    assert upstream.last_gone_at - left_at < AT_ONCE
    assert upstream.open_streams == 0
    await until(lambda: not running.live())
    metrics = await gate.metrics(running)
    assert leaks.outcomes(metrics) == {"client_gone": 1}
    assert leaks.total(metrics, "ssegate_client_disconnects_total", route="chat", phase=phase) == 1
    assert leaks.total(metrics, "ssegate_client_disconnects_total") == 1


# Every moment

MOMENTS = {
    # what the upstream does, what the client waits for, hold, and the phase it left in
    "no head yet": ("fault=silence", b"", "20s", "before_headers"),
    "no token yet": ("fault=headers_then_silence", b"", "20s", "before_headers"),
    "pings only": ("fault=pings_only", b"", "20s", "before_headers"),
    "no head, hold over": ("fault=silence", b"\r\n\r\n", "50ms", "streaming"),
    "no token, hold over": ("fault=headers_then_silence", b"\r\n\r\n", "50ms", "streaming"),
    "first token": ("rate=20; tokens=1000", b"token", "20s", "streaming"),
    "mid-stream": ("fault=infinite; rate=200", b'"token_count":20', "20s", "streaming"),
    "full speed": ("fault=infinite", b'"token_count":100', "20s", "streaming"),
    "stalled": ("fault=stall; fault_after=3", b'"token_count":1', "20s", "streaming"),
}


@pytest.mark.parametrize("moment", list(MOMENTS))
async def test_leaving(moment: str, leave: Any, both_ways: None, gate: Any, simulator: Any):
    """FIN or RST, at any moment: the upstream is closed at once, one ``client_gone``, in the right phase."""
    simulate, mark, hold, phase = MOMENTS[moment]
    upstream = await simulator()
    running = await gate(config(upstream.url, hold=hold, more="heartbeat: off, batch: off"))
    async with calling(running.url) as client:
        client.ask(PATH, X_Simulate=simulate)
        await until(lambda: upstream.open_streams == 1)
        if mark:
            await client.until(mark)
        else:
            await asyncio.sleep(0.05)  # so that a head, where there is one, has come
        assert len(running.live()) == 1

        left_at = now()
        leave(client)
        await assert_gone(gate, running, upstream, left_at, phase)


async def test_half_a_close_is_a_leaving(gate: Any, simulator: Any):
    """Closing only the sending side counts as leaving: nobody can tell the two apart (E5)."""
    upstream = await simulator(Behaviour(fault="stall"))
    running = await gate(config(upstream.url))
    async with calling(running.url) as client:
        client.ask(PATH)
        await client.until(b"token")

        left_at = now()
        client._writer.write_eof()
        await assert_gone(gate, running, upstream, left_at, "streaming")


async def test_leaving_while_the_body_is_sent(leave: Any, gate: Any, simulator: Any):
    """A client that goes inside its request's body has asked no upstream and started no stream."""
    upstream = await simulator()
    running = await gate(config(upstream.url))
    async with calling(running.url) as client:
        client.send(f"POST {PATH} HTTP/1.1\r\nHost: gate\r\nContent-Length: 1000\r\n\r\n{{".encode())
        await asyncio.sleep(0.05)

        leave(client)
        await asyncio.sleep(0.05)

    metrics = await gate.metrics(running)
    assert not upstream.requests
    assert leaks.outcomes(metrics) == {}
    assert running.streams_started == 0


async def test_leaving_while_the_connection_to_the_upstream_is_made(leave: Any, gate: Any):
    """A client that goes while the upstream does its handshake is noticed as well."""
    left: list[float] = []

    async def script(peer: Peer) -> None:
        left.append(await peer.left())

    async with scripted(script) as upstream:
        running = await gate(config(upstream.url.replace("http:", "https:")))
        async with calling(running.url) as client:
            client.ask(PATH)
            await until(lambda: upstream.peers)
            left_at = now()
            leave(client)
            await until(lambda: left)
    assert left[0] - left_at < AT_ONCE
    assert leaks.outcomes(await gate.metrics(running)) == {"client_gone": 1}


async def test_leaving_at_the_very_end(leave: Any, both_ways: None, gate: Any, simulator: Any):
    """Whoever goes with the last byte leaves one outcome behind, whichever came first (E8)."""
    upstream = await simulator(Behaviour(tokens=5))
    running = await gate(config(upstream.url))
    for _ in range(20):
        async with calling(running.url) as client:
            client.ask(PATH)
            await client.until(b'"finished":true')
            leave(client)

    await until(lambda: not running.live())
    outcomes = leaks.outcomes(await gate.metrics(running))
    assert sum(outcomes.values()) == 20
    assert set(outcomes) <= {"completed", "client_gone"}


async def test_leaving_without_a_stream(leave: Any, gate: Any, simulator: Any):
    """A request that is only passed through lets its upstream go, too."""
    upstream = await simulator(Behaviour(fault="silence"))
    running = await gate(config(upstream.url))
    async with calling(running.url) as client:
        client.ask("/v1/chat/completions/other", {"stream": False})
        await until(lambda: upstream.requests or upstream.open_streams)
        client.ask(PATH, {"stream": False})
        leave(client)
    async with calling(running.url) as client:
        client.ask(PATH, {"stream": False})
        await until(lambda: upstream.open_streams == 1)
        left_at = now()
        leave(client)
        await until(lambda: upstream.gone == 1)
    assert upstream.last_gone_at - left_at < AT_ONCE
    metrics = await gate.metrics(running)
    assert leaks.outcomes(metrics) == {}
    assert leaks.total(metrics, "ssegate_client_disconnects_total", phase="before_headers") >= 1
    assert leaks.total(metrics, "ssegate_requests_total", code="499") >= 1


async def test_leaving_a_foreign_body(leave: Any, gate: Any):
    """A stream was wanted, something else came and passes: leaving it is the same."""
    left: list[float] = []

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.say(b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nTransfer-Encoding: chunked\r\n\r\n")
        await peer.say(chunk(b"\x89PNG"))
        left.append(await peer.left())

    async with scripted(script) as upstream:
        running = await gate(config(upstream.url))
        async with calling(running.url) as client:
            client.ask(PATH)
            await client.until(b"\x89PNG")
            left_at = now()
            leave(client)
            await until(lambda: left)
    assert left[0] - left_at < AT_ONCE
    await until(lambda: not running.live())
    assert leaks.outcomes(await gate.metrics(running)) == {"client_gone": 1}


# Crowds


async def test_two_hundred_that_leave_at_once(leave: Any, gate: Any, simulator: Any):
    """200 clients that connect, ask and go at once leave nothing running anywhere (E9)."""
    upstream = await simulator(Behaviour(rate=100))
    running = await gate(config(upstream.url))

    async def hit_and_run() -> None:
        async with calling(running.url) as client:
            client.ask(PATH)
            await client._writer.drain()
            await asyncio.sleep(0)
            leave(client)

    await asyncio.gather(*(hit_and_run() for _ in range(200)))

    await until(lambda: not running.live() and upstream.open_streams == 0)
    outcomes = leaks.outcomes(await gate.metrics(running))
    assert set(outcomes) <= {"client_gone"}
    assert upstream.completed == 0


async def test_some_leave_and_some_stay(gate: Any, simulator: Any):
    """Of forty streams every other one is left in the middle; the rest arrive whole."""
    upstream = await simulator(Behaviour(tokens=90, rate=60))
    running = await gate(config(upstream.url))

    async def stay() -> str:
        heard = await talk(running.url, PATH, {"stream": True})
        return "".join(data.get("token", "") for _, data in events(heard.body))

    async def go() -> None:
        async with calling(running.url) as client:
            client.ask(PATH)
            await client.until(b"token")

    said = await asyncio.gather(*(stay() if n % 2 else go() for n in range(40)))

    assert {text for text in said if text is not None} == {"".join(pieces(90, 0))}
    await until(lambda: upstream.open_streams == 0)
    assert (upstream.gone, upstream.completed) == (20, 20)
    await until(lambda: not running.live())
    assert leaks.outcomes(await gate.metrics(running)) == {"client_gone": 20, "completed": 20}


# on_disconnect: finish

FINISHING = {
    "no head yet": ("first_token_delay=0.3; tokens=12; fault=json_200", b"", "20s"),
    "no token yet": ("first_token_delay=0.3; tokens=12", b"", "20s"),
    "hold over": ("first_token_delay=0.4; tokens=12", b"\r\n\r\n", "50ms"),
    "mid-stream": ("rate=30; tokens=12", b"token", "20s"),
}


@pytest.mark.parametrize("moment", list(FINISHING))
async def test_reading_on(moment: str, leave: Any, both_ways: None, gate: Any, simulator: Any):
    """``on_disconnect: finish``: the upstream is read to its end and its own count of tokens is booked."""
    simulate, mark, hold = FINISHING[moment]
    upstream = await simulator()
    running = await gate(config(upstream.url, hold=hold, more="on_disconnect: finish"))
    async with calling(running.url) as client:
        client.ask(PATH, {"stream": True, "model": "m1"}, X_Simulate=simulate)
        await until(lambda: upstream.open_streams == 1)
        if mark:
            await client.until(mark)
        leave(client)

        await until(lambda: not running.live())

    assert (upstream.completed, upstream.gone) == (1, 0)
    metrics = await gate.metrics(running)
    assert leaks.outcomes(metrics) == {"client_gone": 1}
    assert leaks.total(metrics, "ssegate_tokens_total", type="output", source="reported", model="m1") == 12
    assert leaks.total(metrics, "ssegate_tokens_total", type="output", source="estimated") == 0


async def test_reading_on_for_a_reader_that_had_stalled(both_ways: None, gate: Any, simulator: Any):
    """A client that goes while the upstream is held back for it lets it flow again."""
    upstream = await simulator(Behaviour(tokens=20_000))
    running = await gate(config(upstream.url, more="on_disconnect: finish"))
    async with calling(running.url, receive_buffer=4096) as client:
        client.ask(PATH)
        await until(lambda: [row["state"] for row in running.live()] == ["blocked"])
        client.reset()

        await until(lambda: not running.live())

    metrics = await gate.metrics(running)
    assert leaks.outcomes(metrics) == {"client_gone": 1}
    assert leaks.total(metrics, "ssegate_tokens_total", type="output", source="reported") == 20_000


async def test_reading_on_has_an_end(gate: Any, simulator: Any):
    """The stream's clocks go on after its client: a stalled upstream is not read for ever."""
    upstream = await simulator(Behaviour(fault="stall"))
    running = await gate(config(upstream.url, idle="300ms", more="on_disconnect: finish"))
    async with calling(running.url) as client:
        client.ask(PATH)
        await client.until(b"token")
        client.close()

        await until(lambda: not running.live())

    await until(lambda: upstream.gone == 1)
    assert leaks.outcomes(await gate.metrics(running)) == {"client_gone": 1}


async def test_reading_on_can_be_cancelled(gate: Any, simulator: Any):
    """An operator's cancel ends a stream that runs on without its client."""
    upstream = await simulator(Behaviour(fault="infinite", rate=50))
    running = await gate(config(upstream.url, more="on_disconnect: finish"))
    async with calling(running.url) as client:
        client.ask(PATH)
        await client.until(b"token")
        client.close()
        await asyncio.sleep(0.1)
        (row,) = running.live()

        target = f"{running.admin_url}/-/streams/{row['id']}"
        async with aiohttp.ClientSession() as session, session.delete(target) as answer:
            assert answer.status == 200
        await until(lambda: upstream.gone == 1, patience=AT_ONCE)

    await until(lambda: not running.live())
    assert sum(leaks.outcomes(await gate.metrics(running)).values()) == 1


# Readers that do not read


@pytest.mark.parametrize("output", ["native", "openai", "same"])
async def test_a_stalled_reader_is_cut(output: str, both_ways: None, gate: Any, simulator: Any):
    """After ``write`` without progress: ``slow_client``, no last chunk, the upstream closed."""
    upstream = await simulator(Behaviour(fault="infinite"))
    running = await gate(config(upstream.url, write="400ms", idle="100ms", output=output))
    async with calling(running.url, receive_buffer=4096) as client:
        client.ask(PATH)
        await until(lambda: [row["state"] for row in running.live()] == ["blocked"])
        blocked = now()
        (before,) = running.live()
        await asyncio.sleep(0.25)
        (after,) = running.live()

        await until(lambda: not running.live())
        assert now() - blocked < 0.4 + AT_ONCE
        await until(lambda: upstream.gone == 1, patience=AT_ONCE)
        assert upstream.last_gone_at - blocked < 0.4 + AT_ONCE
        heard = Heard(await client.rest(), "fin")

    assert before["tokens"] == after["tokens"], "nothing is read for a client that does not read"
    assert not heard.last_chunk
    assert leaks.outcomes(await gate.metrics(running)) == {"slow_client": 1}, "the idle clock stood still"


async def test_a_stalled_reader_costs_little(both_ways: None, gate: Any, simulator: Any):
    """What waits for a client that does not read is bounded, however fast its upstream is (E6)."""
    upstream = await simulator(Behaviour(fault="infinite"))
    running = await gate(config(upstream.url))
    async with calling(running.url, receive_buffer=4096) as client:
        client.ask(PATH)
        await until(lambda: [row["state"] for row in running.live()] == ["blocked"])
        (row,) = running.live()
        client.reset()
    # An event of the native format is about 80 bytes; buffers of ours and of the system are 64 KiB each.
    assert row["tokens"] < 20_000
    await until(lambda: not running.live())


async def test_a_bomb_for_a_stalled_reader(both_ways: None, gate: Any):
    """A compressed answer does not unfold into memory while its client does not read."""
    size = 128 << 20
    bomb = gzip.compress(sse("a" * 1000) * (size // 1100), 9)
    head = HEAD.replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n")

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.say(head + chunk(bomb) + b"0\r\n\r\n")
        await peer.left()

    async with scripted(script) as upstream:
        running = await gate(config(upstream.url, write="1s", more="max_stream: 512MiB, heartbeat: off"))
        async with calling(running.url, receive_buffer=4096) as client:
            gc.collect()
            tracemalloc.start()
            try:
                client.ask(PATH)
                await until(lambda: [row["state"] for row in running.live()] == ["blocked"])
                await asyncio.sleep(0.3)
                _, peak = tracemalloc.get_traced_memory()
            finally:
                tracemalloc.stop()
            client.reset()
        await until(lambda: not running.live())
    print("PEAK", peak)
    assert peak < 16 << 20


@pytest.mark.parametrize("output", ["native", "openai"])
async def test_a_slow_reader_gets_everything(output: str, both_ways: None, gate: Any, simulator: Any):
    """A client that reads in small sips gets the whole answer; its pauses are not the upstream's."""
    upstream = await simulator(Behaviour(tokens=15_000))
    running = await gate(config(upstream.url, write="5s", idle="800ms", output=output))
    raw, blocked = b"", False
    async with calling(running.url, receive_buffer=8192) as client:
        client.ask(PATH, Connection="close")
        await until(lambda: [row["state"] for row in running.live()] == ["blocked"])
        await asyncio.sleep(1.2)  # longer than idle: held back by us, it does not count
        while data := await client.reader.read(16_384):
            raw += data
            blocked |= any(row["state"] == "blocked" for row in running.live())
            await asyncio.sleep(0.002)

    heard = Heard(raw, "fin")
    assert heard.last_chunk
    if output == "native":
        said = "".join(data.get("token", "") for _, data in events(heard.body))
    else:
        chunks = [data for _, data in events(heard.body) if data != "[DONE]"]
        said = "".join(choice["delta"].get("content") or "" for data in chunks for choice in data["choices"])
    assert said == "".join(pieces(15_000, 0))
    assert blocked
    assert leaks.outcomes(await gate.metrics(running)) == {"completed": 1}


async def test_leaving_while_stalled(leave: Any, both_ways: None, gate: Any, simulator: Any):
    """A client that had stopped reading and then goes is gone, not slow."""
    upstream = await simulator(Behaviour(fault="infinite"))
    running = await gate(config(upstream.url))
    async with calling(running.url, receive_buffer=4096) as client:
        client.ask(PATH)
        await until(lambda: [row["state"] for row in running.live()] == ["blocked"])
        left_at = now()
        # Unread data in its buffer makes a close a reset; half a close is what a FIN then is.
        client._writer.write_eof() if leave is Client.close else client.reset()
        await assert_gone(gate, running, upstream, left_at, "streaming")


async def test_the_end_waits_for_a_stalled_reader(both_ways: None, gate: Any, simulator: Any):
    """An answer that ended while its client did not read is delivered once it does."""
    upstream = await simulator(Behaviour(tokens=15_000))
    running = await gate(config(upstream.url, idle="400ms"))
    async with calling(running.url, receive_buffer=4096) as client:
        client.ask(PATH, Connection="close")
        await until(lambda: [row["state"] for row in running.live()] == ["blocked"])
        await asyncio.sleep(0.3)
        heard = Heard(await client.rest(), "fin")

    assert heard.last_chunk
    assert "".join(data.get("token", "") for _, data in events(heard.body)) == "".join(pieces(15_000, 0))
    assert leaks.outcomes(await gate.metrics(running)) == {"completed": 1}


async def test_a_stalled_reader_at_the_end_is_cut(both_ways: None, gate: Any):
    """The upstream has ended, its reader has not read: ``write`` still bounds how long we keep it."""
    body = [sse("a" * 4000) for _ in range(300)]

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.stream(*body, DONE)
        await peer.left()

    async with scripted(script) as upstream:
        running = await gate(config(upstream.url, write="300ms"))
        async with calling(running.url, receive_buffer=4096) as client:
            client.ask(PATH)
            await until(lambda: running.streams_started == 1 and not running.live())
    outcomes = leaks.outcomes(await gate.metrics(running))
    assert outcomes == {"slow_client": 1}


async def test_the_connection_of_one_stream_serves_the_next(both_ways: None, gate: Any, simulator: Any):
    """After a stream its connection is usable, and what happens to it concerns the new stream alone."""
    upstream = await simulator(Behaviour(tokens=5))
    running = await gate(config(upstream.url))
    async with calling(running.url) as client:
        for _ in range(3):
            client.ask(PATH)
            await client.until(b"\r\n0\r\n\r\n")
        client.ask(PATH, X_Simulate="fault=stall")
        await client.until(b"token")
        client.close()

    await until(lambda: not running.live())
    assert leaks.outcomes(await gate.metrics(running)) == {"completed": 3, "client_gone": 1}


async def test_a_pipelined_request_waits_and_leaves_with_its_client(gate: Any, simulator: Any):
    """A second request on the connection is not begun before the first has ended; leaving drops it (D8)."""
    upstream = await simulator(Behaviour(fault="stall"))
    running = await gate(config(upstream.url))
    async with calling(running.url) as client:
        client.ask(PATH)
        client.ask(PATH)
        await client.until(b"token")
        client.close()

    await until(lambda: not running.live())
    assert len(upstream.requests) == 1
    assert json.loads(upstream.requests[0].body)["stream"] is True
    assert leaks.outcomes(await gate.metrics(running)) == {"client_gone": 1}
