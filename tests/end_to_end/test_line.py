"""The way of whole chunks past aiohttp's parser: however a body is cut, its sink hears the same."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp import TCPConnector
from aiohttp.client_proto import ResponseHandler

from ssegate import tap
from ssegate.tap import Line
from ssegate.upstream import Upstreams

from .scripted import HEAD, chunk
from .test_tap import Heard

END = b"0\r\n\r\n"
BODIES = {
    "plain": chunk(b"one") + chunk(b"two\r\n") + chunk(b"\r\n3") + chunk(b"4" * 300) + END,
    "upper case": b"A\r\n0123456789\r\n" + chunk(b"b" * 171).upper() + END,
    "an extension": b"3;name=value\r\none\r\n" + chunk(b"two") + END,
    "trailers": chunk(b"one") + b"0\r\nX-Trailer: 1\r\n\r\n",
    "leading zeros": b"0003\r\none\r\n" + chunk(b"two") + END,
    "chunks in a chunk": chunk(chunk(b"inner") + b"0\r\n\r\n") + chunk(b"two") + END,
}


class Wire(asyncio.Transport):
    """The socket's place: it can be closed, no more."""

    def close(self) -> None: ...


async def heard(pieces: list[bytes], way: str = "head first") -> Heard:
    """Feed *pieces* of a body to a tapped line, each in a read of its own."""
    line = Line(asyncio.get_running_loop())
    line.connection_made(Wire())
    line.set_response_params(read_until_eof=True)
    if way == "head first":
        line.data_received(HEAD)
    else:
        line.data_received(HEAD + pieces[0])
        pieces = pieces[1:]
    _, reader = await line.read()
    sink = Heard()
    response: Any = SimpleNamespace(content=reader, headers={"Transfer-Encoding": "chunked"})
    assert tap.attach(response, sink)
    for piece in pieces:
        line.data_received(piece)
    return sink


@pytest.mark.parametrize("way", ["head first", "with the head"])
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
async def test_no_cut_changes_the_body(body: bytes, way: str):
    """Whole, byte by byte, and cut in two or three at every byte; it ends once, and well."""
    whole = (await heard([body])).whole
    sides = [[body[:at], body[at:]] for at in range(1, len(body))]
    thirds = [[body[: at // 2], body[at // 2 : at], body[at:]] for at in range(2, len(body))]

    for pieces in [[body[at : at + 1] for at in range(len(body))], *sides, *thirds]:
        sink = await heard(pieces, way)
        assert (sink.whole, sink.ends, sink.errors) == (whole, 1, []), pieces


async def test_several_chunks_of_one_read_come_as_one():
    """The parser would bring them one by one; what it is asked for comes with the whole ones beside it."""
    cut = [chunk(b"d") + b"5\r\nef", b"ghi\r\n" + chunk(b"j") + chunk(b"k") + b"2\r\nl", b"m\r\n" + END]
    sink = await heard([chunk(b"a"), chunk(b"b") + chunk(b"c"), *cut])

    assert sink.data == [b"a", b"bc", b"def", b"ghijkl", b"m"]
    assert (sink.whole, sink.ends) == (b"abcdefghijklm", 1)


async def test_what_came_before_a_fault_comes_before_it():
    """Of the same read, too, and after a chunk that had begun before."""
    sink = await heard([chunk(b"a"), b"3\r\nb", b"cd\r\n" + chunk(b"e") + b"xyz\r\n"])

    assert sink.whole == b"abcde"


@pytest.mark.parametrize(
    "broken", [b"xyz\r\none\r\n", b"-3\r\none\r\n", b"1_0\r\none\r\n", b"3\r\nonetwo\r\n"], ids=repr
)
async def test_broken_chunks_are_the_parsers(broken: bytes):
    """What is no chunk is refused by the parser, after what was whole."""
    sink = await heard([chunk(b"one"), chunk(b"two") + broken])

    assert sink.whole.startswith(b"onetwo")
    assert sink.ends == 0


async def test_every_connection_to_an_upstream_is_a_line():
    """aiohttp makes its connections where the gate tells it how; a new name for that place fails here."""
    plain = TCPConnector()
    upstreams = Upstreams()
    await upstreams.start()
    try:
        assert plain._factory.func is ResponseHandler
        assert upstreams._connector._factory.func is Line
        assert upstreams._fresh_connector._factory.func is Line
    finally:
        await plain.close()
        await upstreams.stop()
