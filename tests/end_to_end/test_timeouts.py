"""Every clock ends a stream with its own code, and the 200 is held back no longer than it may be."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from simulate.peer import Heard, events, talk, until

from ssegate.simulate import Behaviour
from ssegate.simulate.text import pieces

from . import leaks
from .scripted import DONE, HEAD, Peer, calling, chunk, scripted, sse

PATH = "/v1/chat/completions"
CONFIG = """
upstreams:
  up: {{url: "{url}"}}
routes:
  - name: chat
    path: {path}
    output: {output}
    hold: {hold}
    heartbeat: {heartbeat}
    timeouts: {{{clocks}}}
"""


def config(
    url: str,
    clocks: str = "",
    *,
    output: str = "native",
    hold: str = "20s",
    heartbeat: str = "off",
    path: str = PATH,
) -> str:
    return CONFIG.format(url=url, clocks=clocks, output=output, hold=hold, heartbeat=heartbeat, path=path)


def error_status(heard: Heard) -> tuple[int, str]:
    return heard.status, json.loads(heard.body)["code"]


def last_event(heard: Heard) -> tuple[str, str | None]:
    """Return name and code of the last event of a native stream."""
    name, data = events(without_heartbeats(heard.body))[-1]
    assert data["finished"] is True
    return name, data.get("code")


def without_heartbeats(body: bytes) -> bytes:
    return b"".join(line for line in body.splitlines(keepends=True) if line != b":\n")


async def assert_ended(gate: Any, running: Any, outcome: str, kind: str) -> None:
    metrics = await gate.metrics(running)
    assert leaks.outcomes(metrics) == {outcome: 1}
    assert leaks.total(metrics, "ssegate_timeouts_total", route="chat", kind=kind) == 1
    assert leaks.total(metrics, "ssegate_timeouts_total") == 1


# Connecting


@contextmanager
def black_hole() -> Iterator[str]:
    """A port whose queue is full, so that the system drops what would connect to it, as a dead host does."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(16):
            caller = stack.enter_context(socket.socket())
            caller.settimeout(0.1)
            try:
                caller.connect(listener.getsockname())
            except TimeoutError:
                break
        else:
            pytest.skip("this system answers for a listener whose queue is full")
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


async def test_connect(gate: Any):
    """A host that does not answer is ``upstream_connect_timeout``, 504, after ``connect``."""
    with black_hole() as url:
        running = await gate(config(url, "connect: 150ms"))

        heard = await talk(running.url, PATH, {"stream": True})

    assert error_status(heard) == (504, "upstream_connect_timeout")
    assert heard.header("x-should-retry") is None, "nothing was sent, so a retry costs nothing"
    await assert_ended(gate, running, "upstream_error", "connect")


async def test_connect_without_a_stream(gate: Any):
    """The same holds for a request that wants no stream."""
    with black_hole() as url:
        running = await gate(config(url, "connect: 150ms"))

        heard = await talk(running.url, PATH, {"stream": False})

    assert error_status(heard) == (504, "upstream_connect_timeout")


async def test_a_handshake_counts_as_connecting(gate: Any):
    """An upstream that takes the connection but not the TLS handshake is a connect timeout, too."""

    async def script(peer: Peer) -> None:
        await peer.left()

    async with scripted(script) as upstream:
        running = await gate(config(upstream.url.replace("http:", "https:"), "connect: 150ms"))
        heard = await talk(running.url, PATH, {"stream": True})

    assert error_status(heard) == (504, "upstream_connect_timeout")


# The first token

SILENT = {
    "no head": "silence",
    "a head": "headers_then_silence",
    "pings": "pings_only",
}


@pytest.mark.parametrize("phase", list(SILENT))
async def test_first_token_inside_the_hold(phase: str, both_ways: None, gate: Any, simulator: Any):
    """No head, a head and silence, or pings for ever: 504 ``first_token_timeout``, and no retry."""
    upstream = await simulator(Behaviour(fault=SILENT[phase]))
    running = await gate(config(upstream.url, "first_token: 400ms"))

    heard = await talk(running.url, PATH, {"stream": True})

    assert error_status(heard) == (504, "first_token_timeout")
    assert heard.header("x-should-retry") == "false"
    await assert_ended(gate, running, "first_token_timeout", "first_token")
    await until(lambda: upstream.gone == 1)


@pytest.mark.parametrize("output", ["native", "openai"])
@pytest.mark.parametrize("phase", list(SILENT))
async def test_first_token_after_the_hold(
    phase: str, output: str, both_ways: None, gate: Any, simulator: Any
):
    """Once the 200 has left the same failure is an event, and the body ends well."""
    upstream = await simulator(Behaviour(fault=SILENT[phase]))
    running = await gate(config(upstream.url, "first_token: 400ms", hold="60ms", output=output))

    heard = await talk(running.url, PATH, {"stream": True})

    assert (heard.status, heard.last_chunk) == (200, True)
    if output == "native":
        assert last_event(heard) == ("error", "first_token_timeout")
    else:
        (_, *_, (_, error), (_, done)) = [("", None), *events(heard.body)]
        assert (error["error"]["code"], done) == ("first_token_timeout", "[DONE]")
    await assert_ended(gate, running, "first_token_timeout", "first_token")
    await until(lambda: upstream.open_streams == 0)  # on a busy machine it may not even have been asked


async def test_first_token_while_connecting(gate: Any):
    """The first token's clock runs from the request on, whatever ``connect`` allows."""
    with black_hole() as url:
        running = await gate(config(url, "connect: 20s, first_token: 300ms"))

        heard = await talk(running.url, PATH, {"stream": True})

    assert error_status(heard) == (504, "first_token_timeout")


@pytest.mark.parametrize(
    "nothing",
    [
        b": keep-alive\n\n",
        b"data: \n\n",
        sse(""),
        sse(choices=[{"index": 0, "delta": {"role": "assistant", "content": None}}]),
        b"event: ping\ndata: {}\n\n",
    ],
    ids=["comments", "empty data", "empty deltas", "roles", "named pings"],
)
async def test_what_is_no_token(nothing: bytes, both_ways: None, gate: Any):
    """Comments, blanks and empty deltas do not count as a first token (C2)."""
    async with scripted(saying_for_ever(nothing)) as upstream:
        running = await gate(config(upstream.url, "first_token: 400ms"))
        heard = await talk(running.url, PATH, {"stream": True})

        assert error_status(heard) == (504, "first_token_timeout")
        await assert_ended(gate, running, "first_token_timeout", "first_token")


def saying_for_ever(what: bytes, *first: bytes) -> Any:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.say(HEAD + b"".join(map(chunk, first)))
        while True:
            await peer.say(chunk(what))
            await asyncio.sleep(0.03)

    return script


# Idle


async def test_idle(both_ways: None, gate: Any, simulator: Any):
    """Silence in mid-stream is ``idle_timeout`` in the stream; what had come is delivered."""
    upstream = await simulator(Behaviour(fault="stall", fault_after=4))
    running = await gate(config(upstream.url, "idle: 400ms"))

    heard = await talk(running.url, PATH, {"stream": True})

    assert heard.last_chunk
    assert last_event(heard) == ("error", "idle_timeout")
    assert "".join(data.get("token", "") for _, data in events(heard.body)) == "".join(pieces(4, 0))
    await assert_ended(gate, running, "idle_timeout", "idle")
    await until(lambda: upstream.gone == 1)


@pytest.mark.parametrize("nothing", [b": keep-alive\n\n", sse(""), sse(usage={"prompt_tokens": 1})])
async def test_pings_do_not_hide_silence(nothing: bytes, both_ways: None, gate: Any):
    """Comments, empty deltas and usage do not move the idle clock."""
    async with scripted(saying_for_ever(nothing, sse("hello"))) as upstream:
        running = await gate(config(upstream.url, "idle: 400ms"))
        heard = await talk(running.url, PATH, {"stream": True})

        assert last_event(heard) == ("error", "idle_timeout")


async def test_tokens_move_the_idle_clock(both_ways: None, gate: Any, simulator: Any):
    """A stream slower than its whole idle time, but never silent for so long, completes."""
    upstream = await simulator(Behaviour(tokens=12, rate=12))
    running = await gate(config(upstream.url, "first_token: 500ms, idle: 500ms"))

    heard = await talk(running.url, PATH, {"stream": True})

    assert last_event(heard) == ("", None)


async def test_a_whole_answer_need_not_be_quick(gate: Any, simulator: Any):
    """Without a stream ``idle`` bounds the gaps of the body, ``total`` the head."""
    upstream = await simulator(Behaviour(fault="silence"))
    running = await gate(config(upstream.url, "total: 300ms, idle: 20s"))

    heard = await talk(running.url, PATH, {"stream": False})

    assert error_status(heard) == (504, "total_timeout")
    await until(lambda: upstream.gone == 1)


async def test_a_gap_in_a_passed_body(gate: Any):
    """A passed answer that stalls is cut after ``idle``, without the end that would make it look whole."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(b"half"))
        await peer.left()

    async with scripted(script) as upstream:
        running = await gate(config(upstream.url, "idle: 400ms"))
        heard = await talk(running.url, PATH, {"stream": False})

    assert heard.status == 200
    assert heard.chunks == [b"half"]
    assert not heard.last_chunk
    assert leaks.total(await gate.metrics(running), "ssegate_timeouts_total", kind="idle") == 1


# Total


async def test_total(both_ways: None, gate: Any, simulator: Any):
    """A stream that never ends is ended after ``total``, though it is never silent."""
    upstream = await simulator(Behaviour(fault="infinite", rate=100))
    running = await gate(config(upstream.url, "first_token: 10s, idle: 10s, total: 400ms"))

    heard = await talk(running.url, PATH, {"stream": True})

    assert last_event(heard) == ("error", "total_timeout")
    await assert_ended(gate, running, "total_timeout", "total")
    await until(lambda: upstream.gone == 1)


@pytest.mark.parametrize("phase", list(SILENT))
async def test_total_before_the_first_token(phase: str, both_ways: None, gate: Any, simulator: Any):
    """``total`` counts from the request: inside the hold it is a 504."""
    upstream = await simulator(Behaviour(fault=SILENT[phase]))
    running = await gate(config(upstream.url, "total: 150ms"))

    heard = await talk(running.url, PATH, {"stream": True})

    assert error_status(heard) == (504, "total_timeout")
    await assert_ended(gate, running, "total_timeout", "total")


async def test_clocks_that_are_off(gate: Any, simulator: Any):
    """With every clock off a slow stream completes."""
    upstream = await simulator(Behaviour(tokens=4, rate=10, first_token_delay=0.3))
    clocks = "first_token: off, idle: off, total: off, write: off"
    running = await gate(config(upstream.url, clocks, hold="50ms"))

    heard = await talk(running.url, PATH, {"stream": True})

    assert last_event(heard) == ("", None)


# Write: see test_disconnects.py for what a client that does not read costs


async def test_write(gate: Any, simulator: Any):
    """A client that takes nothing for ``write`` is cut, and counted as a write timeout."""
    upstream = await simulator(Behaviour(fault="infinite"))
    running = await gate(config(upstream.url, "write: 400ms"))
    async with calling(running.url, receive_buffer=4096) as client:
        client.ask(PATH)

        await until(lambda: upstream.gone == 1)

        heard = Heard(await client.rest(), "fin")
    assert not heard.last_chunk
    await assert_ended(gate, running, "slow_client", "write")


# The hold


@pytest.mark.parametrize("output", ["native", "openai", "same"])
async def test_the_200_waits_for_content(output: str, both_ways: None, gate: Any):
    """A head, pings and a role-only chunk send nothing; the first content sends it all at once."""
    go = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.say(HEAD + chunk(b": ping\n\n") + chunk(sse("")))
        await go.wait()
        await peer.say(chunk(sse("hello")) + chunk(DONE) + b"0\r\n\r\n")

    async with scripted(script) as upstream:
        running = await gate(config(upstream.url, output=output))
        async with calling(running.url) as client:
            client.ask(PATH)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.3):
                    await client.reader.read(1)
            go.set()
            head = await client.until(b"\r\n\r\n")
            body = await client.until(b"\r\n0\r\n\r\n")

    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"hello" in body


@pytest.mark.parametrize("content", ["text", "reasoning", "refusal", "tool call", "finish"])
async def test_what_ends_the_hold(content: str, both_ways: None, gate: Any):
    """Text, reasoning, a refusal, a tool call or a finish: any of them is an answer."""
    call = {"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": ""}}
    delta = {
        "text": {"content": "a"},
        "reasoning": {"reasoning_content": "a"},
        "refusal": {"refusal": "a"},
        "tool call": {"tool_calls": [call]},
        "finish": {},
    }[content]
    choice = {"index": 0, "delta": delta, "finish_reason": "stop" if content == "finish" else None}
    event = sse(choices=[choice])

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.say(HEAD + chunk(event))
        await peer.left()

    async with scripted(script) as upstream:
        running = await gate(config(upstream.url))
        async with calling(running.url) as client:
            client.ask(PATH)
            # A finish may wait two seconds more for late usage.
            assert (await client.until(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize("phase", ["no head", "a head"])
async def test_the_hold_expires(phase: str, both_ways: None, gate: Any, simulator: Any):
    """After ``hold`` the 200 leaves without content, and heartbeats keep the connection alive."""
    upstream = await simulator(Behaviour(fault=SILENT[phase]))
    running = await gate(config(upstream.url, hold="100ms", heartbeat="50ms"))
    async with calling(running.url) as client:
        client.ask(PATH)

        head = await client.until(b"\r\n\r\n")
        beats = await client.until(b"2\r\n:\n\r\n2\r\n:\n\r\n2\r\n:\n\r\n")

        assert upstream.open_streams == 1
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\nContent-Type: text/event-stream; charset=utf-8\r\n" in head
    assert b"\r\nX-Stream-ID: " in head
    assert beats == b"2\r\n:\n\r\n" * 3, "a heartbeat is a colon and a newline, in a write of its own"
    await until(lambda: leaks.outcomes(running.metrics.render(None)[0].decode()) == {"client_gone": 1})
    assert leaks.total(await gate.metrics(running), "ssegate_heartbeats_total", route="chat") >= 3


async def test_no_heartbeat_inside_the_hold(gate: Any, simulator: Any):
    """A heartbeat would send the 200: while it is held, nothing leaves."""
    upstream = await simulator(Behaviour(fault="silence"))
    running = await gate(config(upstream.url, "first_token: 250ms", heartbeat="50ms"))

    heard = await talk(running.url, PATH, {"stream": True})

    assert error_status(heard) == (504, "first_token_timeout")


@pytest.mark.parametrize("fault", ["close", "garbage", "400", "500_html", "html_200", "empty", "error_200"])
async def test_a_failure_after_the_hold_is_an_event(fault: str, both_ways: None, gate: Any):
    """The codes that would have been a status come as an event once the 200 has left."""
    upstream_says = {
        "close": (b"", "upstream_disconnected"),
        "garbage": (b"SSH-2.0\r\n\r\n", "upstream_protocol"),
        "400": (whole(b"400 Bad", b'{"error":{"message":"too long"}}'), "upstream_error"),
        "500_html": (whole(b"500 Oh", b"<html></html>", b"text/html"), "upstream_error"),
        "html_200": (whole(b"200 OK", b"<html></html>", b"text/html"), "upstream_content_type"),
        "empty": (whole(b"200 OK", b"", b"text/event-stream"), "upstream_empty"),
        "error_200": (whole(b"200 OK", b'{"error":{"message":"no"}}'), "upstream_error"),
    }[fault]

    async def script(peer: Peer) -> None:
        await peer.request()
        await asyncio.sleep(0.2)
        await peer.say(upstream_says[0])

    async with scripted(script) as upstream:
        running = await gate(config(upstream.url, hold="60ms"))
        heard = await talk(running.url, PATH, {"stream": True})

    assert (heard.status, heard.last_chunk) == (200, True)
    assert last_event(heard) == ("error", upstream_says[1])
    assert leaks.outcomes(await gate.metrics(running)) == {"upstream_error": 1}


def whole(status: bytes, body: bytes, content_type: bytes = b"application/json") -> bytes:
    head = b"HTTP/1.1 %b\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n"
    return head % (status, content_type, len(body)) + body


async def test_a_late_answer_after_the_hold_is_delivered(both_ways: None, gate: Any, simulator: Any):
    """A first token that comes after the hold but before its timeout goes on as if nothing had been."""
    upstream = await simulator(Behaviour(tokens=5, first_token_delay=0.4))
    running = await gate(config(upstream.url, hold="100ms", heartbeat="100ms"))

    heard = await talk(running.url, PATH, {"stream": True})

    assert b":\n" in heard.chunks
    assert last_event(heard) == ("", None)
    said = events(without_heartbeats(heard.body))
    assert "".join(data.get("token", "") for _, data in said) == "".join(pieces(5, 0))


async def test_heartbeats_stop_with_the_stream(gate: Any, simulator: Any):
    """Between events of a slow stream heartbeats come; never inside an event, never after the end."""
    upstream = await simulator(Behaviour(tokens=3, rate=5))
    running = await gate(config(upstream.url, heartbeat="50ms"))

    heard = await talk(running.url, PATH, {"stream": True})

    beats = [piece for piece in heard.chunks if piece == b":\n"]
    assert beats
    assert all(piece == b":\n" or b":\n" not in piece for piece in heard.chunks)
    assert heard.chunks[-1] != b":\n"
    assert last_event(heard) == ("", None)
