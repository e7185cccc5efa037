"""
The tap stands on internals of aiohttp. These tests look at those internals alone, so that a new aiohttp in
which they differ fails here, by name, and not as a stream that stalls.
"""

from __future__ import annotations

import asyncio
import gzip
import inspect
import json
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
from aiohttp import ClientResponse
from aiohttp.base_protocol import BaseProtocol
from aiohttp.client_proto import ResponseHandler
from aiohttp.streams import StreamReader
from simulate.peer import events, talk, until

from ssegate import tap
from ssegate.tap import _Tap

from .scripted import DONE, HEAD, Peer, chunk, scripted, sse

END = b"0\r\n\r\n"


@dataclass
class Heard:
    """A sink that writes down what it is told."""

    data: list[bytes] = field(default_factory=list)
    ends: int = 0
    errors: list[BaseException] = field(default_factory=list)

    def on_data(self, data: bytes) -> None:
        self.data.append(data)

    def on_end(self) -> None:
        self.ends += 1

    def on_error(self, error: BaseException) -> None:
        self.errors.append(error)

    @property
    def whole(self) -> bytes:
        return b"".join(self.data)


@asynccontextmanager
async def answered(*said: bytes, pause: float = 0.05, keep: bool = False) -> AsyncIterator[ClientResponse]:
    """The response of an upstream that says each piece of *said* in its own packet, then hangs up or not."""

    async def script(peer: Peer) -> None:
        await peer.request()
        for piece in said:
            await peer.say(piece)
            await asyncio.sleep(pause)
        if keep:
            await peer.left()

    async with (
        scripted(script) as upstream,
        aiohttp.ClientSession() as session,
        session.get(upstream.url) as response,
    ):
        yield response


# The internals


def test_the_reader_has_the_layout_that_the_tap_takes_over():
    """``__class__`` can be changed between the reader and the tap: neither has slots or a dict of its own."""
    assert _Tap.__slots__ == ()
    assert _Tap.__base__ is StreamReader
    assert StreamReader.__basicsize__ == _Tap.__basicsize__
    assert StreamReader.__dictoffset__ == _Tap.__dictoffset__ == 0


async def test_the_reader_has_the_slots_that_the_tap_uses():
    """The timer's slot takes the sink; buffer, offset and size are where they were."""
    reader = StreamReader(ResponseHandler(asyncio.get_running_loop()), 1 << 16)

    assert {"_timer", "_buffer", "_buffer_offset", "_size", "_protocol"} <= set(StreamReader.__slots__)
    assert isinstance(reader._buffer, deque)
    assert (reader._buffer_offset, reader._size) == (0, 0)


@pytest.mark.parametrize(
    ("method", "parameters"),
    [
        ("feed_data", ["data", "size"]),
        ("feed_eof", []),
        ("set_exception", ["exc", "exc_cause"]),
        ("begin_http_chunk_receiving", []),
        ("end_http_chunk_receiving", []),
    ],
)
def test_the_parser_calls_what_the_tap_overrides(method: str, parameters: list[str]):
    """Names and parameters of the methods by which the parser feeds a body are the ones overridden."""
    theirs = inspect.signature(getattr(StreamReader, method)).parameters
    ours = inspect.signature(getattr(_Tap, method)).parameters

    assert [name for name in theirs if name != "self"] == parameters
    assert getattr(_Tap, method) is not getattr(StreamReader, method)
    inspect.signature(getattr(_Tap, method)).bind(None, *[None] * len(parameters))
    assert len(ours) >= 1


def test_nothing_else_feeds_a_reader():
    """No method of the reader is new that could bring or end a body behind the tap's back."""
    feeding = {name for name in vars(StreamReader) if name.startswith(("feed", "set_exc", "begin", "end_"))}

    assert feeding == {
        "feed_data",
        "feed_eof",
        "set_exception",
        "begin_http_chunk_receiving",
        "end_http_chunk_receiving",
    }


def test_the_protocol_pauses_as_the_tap_expects():
    """The names by which the socket alone is paused, and all is resumed, are there."""
    assert "_reading_paused" in BaseProtocol.__slots__
    assert list(inspect.signature(BaseProtocol.resume_reading).parameters) == ["self", "resume_parser"]
    assert list(inspect.signature(BaseProtocol._pause_transport_reading).parameters) == ["self"]
    assert list(inspect.signature(BaseProtocol.pause_reading).parameters) == ["self"]


def test_the_parser_is_the_compiled_one():
    """The tap is measured and proved on the C parser; without it streams work, only slower."""
    from aiohttp import http_parser

    assert http_parser.HttpResponseParser.__module__ == "aiohttp._http_parser"


# The parser calls the tap


async def test_a_body_comes_to_the_sink():
    """Data in order, in the turn it arrives; one end; the reader itself keeps nothing."""
    heard = Heard()
    async with answered(HEAD, chunk(b"one"), chunk(b"two") + chunk(b"three"), END) as response:
        assert tap.attach(response, heard)
        await until(lambda: heard.ends)

        assert heard.whole == b"onetwothree"
        assert (heard.ends, heard.errors) == (1, [])
        assert response.content.is_eof()
        assert not response.content._buffer
        assert response.closed or response.connection is None, "a body that has ended frees its connection"


async def test_what_had_arrived_comes_first():
    """Bytes that came before the tap are handed over in its first call, the end too."""
    heard = Heard()
    async with answered(HEAD + chunk(b"early") + END) as response:
        await until(response.content.is_eof)

        assert tap.attach(response, heard)

        assert (heard.data, heard.ends) == ([b"early"], 1)


async def test_a_broken_body_comes_with_its_error():
    """A cut is an error of the payload, once, after the data."""
    heard = Heard()
    async with answered(HEAD, chunk(b"one")) as response:
        assert tap.attach(response, heard)
        await until(lambda: heard.errors)

    assert (heard.data, heard.ends, len(heard.errors)) == ([b"one"], 0, 1)
    assert isinstance(heard.errors[0], aiohttp.ClientPayloadError)


async def test_an_error_before_the_tap_hides_no_data():
    """What had arrived before a cut is handed over, though reading it would only raise."""
    heard = Heard()
    async with answered(HEAD + chunk(b"one")) as response:
        await until(lambda: response.content.exception())
        with pytest.raises(aiohttp.ClientPayloadError):
            response.content.read_nowait()

        assert tap.attach(response, heard)

    assert (heard.data, heard.ends, len(heard.errors)) == ([b"one"], 0, 1)


async def test_a_compressed_body_comes_decoded():
    """The decoder stands before the tap."""
    head = HEAD.replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n")
    heard = Heard()
    async with answered(head, chunk(gzip.compress(b"hello")), END) as response:
        assert tap.attach(response, heard)
        await until(lambda: heard.ends)

    assert heard.whole == b"hello"


async def test_a_body_that_the_reader_had_held_back_goes_on():
    """A reader whose buffer was full had stopped the parser; the tap sets it going, in order."""
    body = b"".join(b"%07d " % n for n in range(500_000))
    head = HEAD.replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n")
    heard = Heard()
    async with answered(head + chunk(gzip.compress(body)) + END) as response:
        await until(lambda: response.content._protocol._reading_paused)

        assert tap.attach(response, heard)
        await until(lambda: heard.ends)

    assert heard.whole == body


async def test_many_chunks_leave_nothing_behind():
    """The reader would remember the border of every chunk; the tap does not."""
    heard = Heard()
    async with answered(HEAD, chunk(b"x") * 5000, END) as response:
        assert tap.attach(response, heard)
        await until(lambda: heard.ends)

        assert heard.whole == b"x" * 5000
        assert len(response.content._http_chunk_splits or ()) <= 1


async def test_a_connection_is_used_again_under_another_tap():
    """Two bodies over one connection go to their own sinks."""

    async def script(peer: Peer) -> None:
        while await peer.request():
            await peer.stream(b"body %d" % len(bodies))
            await asyncio.sleep(0)

    bodies: list[Heard] = []
    async with scripted(script) as upstream, aiohttp.ClientSession() as session:
        for _ in range(3):
            heard = Heard()
            bodies.append(heard)
            async with session.get(upstream.url) as response:
                assert tap.attach(response, heard)
                await until(lambda heard=heard: heard.ends)
        connections = len(upstream.peers)

    assert [heard.whole for heard in bodies] == [b"body 1", b"body 2", b"body 3"]
    assert connections == 1


# Flow control


@dataclass
class Holding(Heard):
    """A sink that wants no more after each piece, told from inside the parser."""

    response: ClientResponse | None = None

    def on_data(self, data: bytes) -> None:
        super().on_data(data)
        assert self.response is not None
        tap.pause(self.response)


async def test_a_sink_that_pauses_gets_one_piece_at_a_time():
    """A pause from inside the parser stops it at once; each resume brings the next piece, none is lost."""
    heard = Holding()
    async with answered(HEAD, chunk(b"one") + chunk(b"two") + chunk(b"three") + END) as response:
        heard.response = response
        assert tap.attach(response, heard)
        await until(lambda: heard.data)
        assert heard.data == [b"one"]

        tap.resume(response)
        assert heard.data == [b"one", b"two"]
        tap.resume(response)
        tap.resume(response)

        assert (heard.data, heard.ends) == ([b"one", b"two", b"three"], 1)


async def test_a_pause_between_two_reads_holds_the_socket_only():
    """After a pause from outside the parser and a resume, a read of many chunks is taken whole."""
    heard = Heard()
    two = chunk(b"two") + chunk(b"three") + END
    async with answered(HEAD + chunk(b"one"), two, pause=0.2, keep=True) as response:
        assert tap.attach(response, heard)
        await until(lambda: heard.data)

        tap.pause(response)
        await asyncio.sleep(0.3)
        assert heard.data == [b"one"], "nothing is read meanwhile"
        tap.resume(response)

        await until(lambda: heard.ends)
        assert heard.whole == b"onetwothree"


async def test_a_pause_and_resume_without_data_between_changes_nothing():
    """The parser does not remember a pause that is over."""
    heard = Heard()
    two = chunk(b"two") + chunk(b"three") + END
    async with answered(HEAD + chunk(b"one"), two, pause=0.2, keep=True) as response:
        assert tap.attach(response, heard)
        await until(lambda: heard.data)

        tap.pause(response)
        tap.resume(response)

        await until(lambda: heard.ends, patience=5)
        assert heard.whole == b"onetwothree"


async def test_the_parser_does_remember_which_is_why():
    """The fact behind it: aiohttp's own pause, between two reads, leaves the later chunks lying."""
    heard = Heard()
    two = chunk(b"two") + chunk(b"three") + END
    async with answered(HEAD + chunk(b"one"), two, pause=0.2, keep=True) as response:
        assert tap.attach(response, heard)
        await until(lambda: heard.data)
        protocol = response.content._protocol

        protocol.pause_reading()
        protocol.resume_reading()
        await asyncio.sleep(0.4)

        # Should this fail, aiohttp has mended it and tap.pause() can become protocol.pause_reading().
        assert heard.whole == b"onetwo"


async def test_pausing_after_the_end_is_nothing():
    """A response that has ended can be paused and resumed without harm."""
    heard = Heard()
    async with answered(HEAD + chunk(b"one") + END) as response:
        assert tap.attach(response, heard)
        await until(lambda: heard.ends)

        tap.pause(response)
        tap.resume(response)

        assert (heard.data, heard.ends, heard.errors) == ([b"one"], 1, [])


# Detaching, and shapes unknown


async def test_detaching_gives_the_reader_back():
    """What comes after is read in the ordinary way, and the sink hears no more."""
    heard = Heard()
    async with answered(HEAD, chunk(b"one"), chunk(b"two"), END, pause=0.1) as response:
        assert tap.attach(response, heard)
        await until(lambda: heard.data)

        tap.detach(response)

        assert type(response.content) is StreamReader
        assert await response.content.read() == b"two"
    assert (heard.data, heard.ends) == ([b"one"], 0)


async def test_detaching_twice_or_untapped_is_nothing():
    """A response without a tap stays as it is."""
    async with answered(HEAD, chunk(b"one"), END) as response:
        tap.detach(response)

        assert await response.content.read() == b"one"


async def test_a_reader_of_another_kind_is_left_alone():
    """A reader that is not aiohttp's own is not taken over, and nothing of it is changed."""

    class Another(StreamReader):
        __slots__ = ()

    heard = Heard()
    async with answered(HEAD, chunk(b"one"), END) as response:
        response.content.__class__ = Another

        assert not tap.attach(response, heard)

        assert type(response.content) is Another
        assert await response.content.read() == b"one"
    assert heard == Heard()


async def test_an_empty_body_is_left_alone():
    """A 204 has a reader of its own kind: the caller reads it in the ordinary way."""
    async with answered(b"HTTP/1.1 204 No Content\r\n\r\n", keep=True) as response:
        assert not tap.attach(response, Heard())
        assert await response.read() == b""


async def test_streams_work_where_the_tap_does_not_fit(
    gate: Any, simulator: Any, monkeypatch: pytest.MonkeyPatch
):
    """When aiohttp hands out readers of another kind, streams take the ordinary way and say the same."""

    class Expected(StreamReader):
        """What the tap would know; aiohttp's own is then another."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.stream(sse("hel"), sse("lo"), DONE)

    async with scripted(script) as upstream:
        running = await gate(f"""
            upstreams: {{up: {{url: "{upstream.url}"}}}}
            routes: [{{path: /*, output: native}}]
        """)
        monkeypatch.setattr(tap, "StreamReader", Expected)
        heard = await talk(running.url, "/v1/chat/completions", {"stream": True})

    assert "".join(data.get("token", "") for _, data in events(heard.body)) == "hello"
    assert json.loads(heard.body.decode().strip().split("data: ")[-1])["finished"] is True
