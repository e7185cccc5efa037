"""The simulator as a server: routes, pace, books, leaving readers, recordings."""

from __future__ import annotations

import asyncio
import json
import selectors
import socket
import struct
from pathlib import Path
from typing import Any, cast

import pytest

from ssegate.simulate import Behaviour, Simulator
from ssegate.simulate.answer import ask, prepare
from ssegate.simulate.dialects import DIALECTS
from ssegate.simulate.exchange import Exchange

from .peer import PATHS, QUIET, connected, events, request, talk, until
from .reading import READERS

SSE = 'event: a\ndata: {"t":"Grüße"}\n\n: note\n\ndata: 東京\r\n\r\ndata: last'.encode()
NDJSON = b'{"a":1}\n{"b":"\xf0\x9f\x99\x82"}\n\n{"c":3}'
BINARY = bytes(range(256)) * 40


async def test_requests_are_remembered():
    """Method, path, query, headers and body of what arrived can be read back."""
    async with Simulator(Behaviour(tokens=1)) as upstream:
        await talk(upstream.url, "/v1/messages?beta=true&a=1&a=2", {"stream": False}, X_Api_Key="k")
        await talk(upstream.url, "/v1/models", {}, method="GET")

    received = upstream.requests[0]
    assert (received.method, received.path) == ("POST", "/v1/messages")
    assert received.query.getall("a") == ["1", "2"]
    assert received.headers["x-api-key"] == "k"
    assert json.loads(received.body) == {"stream": False}
    assert upstream.requests[1].method == "GET"
    assert (upstream.completed, upstream.gone, upstream.open_streams) == (1, 0, 0)


@pytest.mark.parametrize(
    ("method", "path", "status", "words"),
    [
        ("POST", "/v1/embeddings", 404, "Nothing is simulated here"),
        ("GET", "/v1/chat/completions", 405, "Only POST"),
        ("DELETE", "/api/chat", 405, "Only POST"),
        ("GET", "/", 404, "Nothing"),
    ],
)
async def test_what_is_not_there(method: str, path: str, status: int, words: str):
    """Other paths are 404 and other methods 405, as JSON."""
    async with Simulator() as upstream:
        heard = await talk(upstream.url, path, {}, method=method)

    assert heard.status == status
    assert words in str(json.loads(heard.body)["error"])


@pytest.mark.parametrize(
    ("body", "words"), [([1], "must be an object"), ({"n": 0}, "n must be"), ({"n": "x"}, "n must be")]
)
async def test_a_body_that_cannot_be(body: Any, words: str):
    """A body that is no object, or asks for no choices, is a 400 in the vendor's shape."""
    async with Simulator() as upstream:
        heard = await talk(upstream.url, PATHS["openai"], body)

    assert heard.status == 400
    error = json.loads(heard.body)["error"]
    assert words in error["message"]
    assert (error["type"], error["code"]) == ("invalid_request_error", None)


async def test_a_body_that_is_no_json():
    """Broken JSON is a 400."""
    async with Simulator() as upstream, connected(upstream.url) as (reader, writer):
        writer.write(
            b"POST /v1/messages HTTP/1.1\r\nHost: u\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{]"
        )
        answer = await reader.read()

    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"could not parse" in answer


async def test_lists_of_models():
    """Each dialect's list of models, in its own shape."""
    async with Simulator() as upstream:
        openai = await talk(upstream.url, "/v1/models", {}, method="GET")
        anthropic = await talk(upstream.url, "/v1/models", {}, method="GET", Anthropic_Version="2023-06-01")
        ollama = await talk(upstream.url, "/api/tags", {}, method="GET")

    assert json.loads(openai.body)["data"][0]["object"] == "model"
    assert json.loads(anthropic.body)["data"][0]["type"] == "model"
    assert json.loads(ollama.body)["models"][0]["details"]["format"] == "gguf"


async def test_a_request_overrides():
    """The header rules one request and no other; a wrong one is a 400 that lists what there is."""
    async with Simulator(Behaviour(tokens=50)) as upstream:
        short = await talk(upstream.url, PATHS["ollama"], {}, X_Simulate="tokens=3; reasoning=1")
        wrong = await talk(upstream.url, PATHS["ollama"], {}, X_Simulate="fault=nope")
        long = await talk(upstream.url, PATHS["ollama"], {})

    assert READERS["ollama"](short.body).output_tokens == 4
    assert wrong.status == 400
    assert "hang_after_done" in json.loads(wrong.body)["error"]
    assert READERS["ollama"](long.body).output_tokens == 50


async def test_a_dialect_can_be_forced():
    """A named dialect is spoken on any path, its own paths still meaning what they mean."""
    async with Simulator(Behaviour(tokens=2, dialect="openai")) as upstream:
        anywhere = await talk(upstream.url, "/v9/talk", {"stream": True})
        legacy = await talk(upstream.url, "/v9/completions", {"stream": True})

    assert events(anywhere.body)[0][1]["object"] == "chat.completion.chunk"
    assert events(legacy.body)[0][1]["object"] == "text_completion"


async def test_a_connection_is_used_again():
    """Two answers on one connection, as HTTP/1.1 allows."""
    async with Simulator(Behaviour(tokens=2)) as upstream, connected(upstream.url) as (reader, writer):
        for _ in range(2):
            writer.write(request(PATHS["openai"], {"stream": True}, Connection="keep-alive"))
            answer = await reader.readuntil(b"\r\n0\r\n\r\n")
            assert b"data: [DONE]\n\n" in answer


async def test_a_unix_socket(tmp_path: Path):
    """It answers on a socket as on a port, says where, and leaves no file behind."""
    path = tmp_path / "socket"
    async with Simulator(Behaviour(tokens=2), path=str(path)) as upstream:
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(request(PATHS["openai"], {"stream": True}))
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()

    assert upstream.url == f"unix:{path}"
    assert answer.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")
    assert not path.exists()


async def test_a_unix_socket_that_refuses(tmp_path: Path):
    """The fault ``refuse`` is one of sockets, too."""
    async with Simulator(Behaviour(fault="refuse"), path=str(tmp_path / "socket")):
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_unix_connection(tmp_path / "socket")


# Pace


class LateLoop(asyncio.SelectorEventLoop):
    """A loop whose clock only moves while it waits, and which wakes 3 ms late each time."""

    LATE = 0.003

    def __init__(self) -> None:
        self.now = 0.0
        real = selectors.DefaultSelector()
        select = real.select

        def late(timeout: float | None = None) -> list[Any]:
            if timeout:
                self.now += timeout + self.LATE
            return select(0)

        real.select = late  # type: ignore[method-assign]
        super().__init__(real)

    def time(self) -> float:
        return self.now


def test_lateness_does_not_add_up():
    """Each token's time is counted from the first: a hundred late wake-ups cost one."""

    async def wait_for_tokens() -> float:
        behaviour = Behaviour(rate=100, tokens=100, first_token_delay=0.5)
        endpoint = DIALECTS["openai"][0]
        asked = ask(b'{"stream":true}', endpoint)
        answer = prepare(behaviour, endpoint, asked, serial=1, clock=lambda: 0.0)
        exchange = Exchange(cast(Any, None), behaviour, endpoint, answer)
        for _ in range(100):
            await exchange.due()
        return asyncio.get_running_loop().time()

    with asyncio.Runner(loop_factory=LateLoop) as runner:
        took = runner.run(wait_for_tokens())

    assert took == pytest.approx(0.5 + 99 / 100 + LateLoop.LATE, abs=LateLoop.LATE)


@pytest.mark.parametrize("stream", [True, False])
async def test_tokens_are_never_early(stream: bool):
    """A stream's last token, and a document, do not come before their time."""
    loop = asyncio.get_running_loop()
    async with Simulator(Behaviour(rate=100, tokens=10, first_token_delay=0.05)) as upstream:
        began = loop.time()
        heard = await talk(upstream.url, PATHS["openai"], {"stream": stream})
        took = loop.time() - began

    assert took >= 0.05 + 9 / 100 - 0.001
    assert len(heard.chunks) == (13 if stream else 0)


async def test_the_head_does_not_wait_for_the_first_token():
    """Head and opening come at once, the first token after its delay."""
    async with Simulator(Behaviour(first_token_delay=60)) as upstream:
        heard = await talk(upstream.url, PATHS["anthropic"], {"stream": True}, quiet=QUIET)

    assert heard.end == "open"
    assert [name for name, _ in events(heard.body)] == ["message_start", "content_block_start", "ping"]


# Readers that leave

LEAVING = {
    "waiting for the head": Behaviour(fault="silence"),
    "waiting for the first event": Behaviour(fault="headers_then_silence"),
    "waiting for the first token": Behaviour(first_token_delay=60),
    "between two tokens": Behaviour(rate=0.1),
    "in a flood": Behaviour(fault="infinite"),
    "in a flood cut anew": Behaviour(fault="infinite", recut=1),
    "in a slow drip": Behaviour(fault="drip", rate=5),
    "in a stall": Behaviour(fault="stall"),
    "among pings": Behaviour(fault="pings_only"),
    "after the end mark": Behaviour(fault="hang_after_done"),
}


@pytest.mark.parametrize("manner", ["fin", "reset"])
@pytest.mark.parametrize("phase", list(LEAVING))
async def test_a_leaving_reader_is_noticed(phase: str, manner: str):
    """Whatever the phase and however it leaves, the answer ends and is counted as gone, once."""
    loop = asyncio.get_running_loop()
    async with Simulator(LEAVING[phase]) as upstream:
        began = loop.time()
        async with connected(upstream.url) as (_, writer):
            writer.write(request(PATHS["openai"], {"stream": True}))
            await until(lambda: upstream.open_streams == 1)
            await asyncio.sleep(0.02)  # into the phase
            if manner == "reset":
                sock = writer.get_extra_info("socket")
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.transport.abort()
        await until(lambda: upstream.gone == 1)

        assert (upstream.open_streams, upstream.completed) == (0, 0)
        assert upstream.last_gone_at is not None
        assert upstream.last_gone_at > began
    assert upstream.gone == 1


async def test_a_leaving_reader_of_a_document_is_noticed():
    """A document that is still being generated notices too."""
    async with Simulator(Behaviour(rate=1, tokens=100)) as upstream:
        async with connected(upstream.url) as (_, writer):
            writer.write(request(PATHS["ollama"], {"stream": False}))
            await until(lambda: upstream.open_streams == 1)
        await until(lambda: upstream.gone == 1)


async def test_a_reader_that_does_not_read_holds_it_back():
    """With a full connection the flood waits, and leaving is still noticed."""
    async with Simulator(Behaviour(fault="infinite")) as upstream:
        async with connected(upstream.url) as (_, writer):
            cast(asyncio.Transport, writer.transport).pause_reading()
            writer.write(request(PATHS["openai"], {"stream": True}))
            await until(lambda: upstream.open_streams == 1)
            await asyncio.sleep(0.1)
        await until(lambda: upstream.gone == 1)


async def test_stopping_breaks_off():
    """A stop ends what runs, at once, and nobody is counted as gone."""
    upstream = Simulator(Behaviour(fault="stall"))
    await upstream.start()
    async with connected(upstream.url) as (reader, writer):
        writer.write(request(PATHS["openai"], {"stream": True}))
        await until(lambda: upstream.open_streams == 1)

        await upstream.stop()

        assert b"0\r\n\r\n" not in await reader.read()
    assert (upstream.open_streams, upstream.gone, upstream.completed) == (0, 0, 0)


async def test_many_at_once():
    """Two hundred streams at the same time are each complete."""
    async with Simulator(Behaviour(tokens=10)) as upstream:
        heard = await asyncio.gather(
            *(talk(upstream.url, PATHS["openai"], {"stream": True}) for _ in range(200))
        )

    assert all(READERS["openai"](one.body).ended for one in heard)
    assert len({events(one.body)[0][1]["id"] for one in heard}) == 200
    assert upstream.completed == 200


# Recordings


@pytest.mark.parametrize("recut", [None, 0, 1, 2, True])
@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (SSE, "text/event-stream"),
        (NDJSON, "application/x-ndjson"),
        (BINARY, "application/vnd.amazon.eventstream"),
        (b"", "text/event-stream"),
    ],
)
async def test_a_recording_comes_back_byte_for_byte(body: bytes, kind: str, recut: Any):
    """However it is cut, on any path and by any method, the bytes are those recorded."""
    behaviour = Behaviour(replay=body, replay_type=kind, recut=recut)
    async with Simulator(behaviour) as upstream:
        post = await talk(upstream.url, "/model/x/converse-stream", {"any": "thing"})
        get = await talk(upstream.url, PATHS["openai"], [], method="GET")

    assert post.body == get.body == body
    assert post.header("content-type") == kind
    assert post.last_chunk


async def test_a_seed_cuts_a_recording_always_alike():
    """The same seed gives the same chunks, another one others, and no cut respects events."""
    async with Simulator() as upstream:
        chunks = []
        for recut in (1, 1, 2):
            upstream.behaviour = Behaviour(replay=BINARY, recut=recut)
            chunks.append((await talk(upstream.url, "/", {})).chunks)

    assert chunks[0] == chunks[1] != chunks[2]
    assert len(chunks[0]) > 20
    assert min(map(len, chunks[0])) < 8


async def test_a_recording_goes_event_by_event():
    """Uncut, each event is one chunk."""
    async with Simulator(Behaviour(replay=SSE)) as upstream:
        heard = await talk(upstream.url, "/", {})

    assert heard.chunks == [
        'event: a\ndata: {"t":"Grüße"}\n\n'.encode(),
        b": note\n\n",
        "data: 東京\r\n\r\n".encode(),
        b"data: last",
    ]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.sse", "text/event-stream; charset=utf-8"),
        ("a.ndjson", "application/x-ndjson"),
        ("a.json", "application/json"),
        ("a.bin", "application/vnd.amazon.eventstream"),
        ("a.raw", "text/event-stream; charset=utf-8"),
    ],
)
async def test_a_recording_in_a_file(tmp_path: Path, name: str, kind: str):
    """A file is sent with the type its name tells."""
    file = tmp_path / name
    file.write_bytes(NDJSON)
    async with Simulator(Behaviour(replay=file)) as upstream:
        heard = await talk(upstream.url, "/", {})

    assert (heard.body, heard.header("content-type")) == (NDJSON, kind)


async def test_a_recording_can_break():
    """Faults in mid-stream count the recording's events as tokens."""
    async with Simulator(Behaviour(replay=SSE, fault="reset", fault_after=2)) as upstream:
        heard = await talk(upstream.url, "/", {})

    assert heard.end == "reset"
    assert heard.body == 'event: a\ndata: {"t":"Grüße"}\n\n: note\n\n'.encode()


@pytest.mark.parametrize(("fault", "end"), [("reset", "reset"), ("eof", "fin"), ("hang_after_done", "open")])
async def test_cutting_anew_keeps_nothing_back(fault: str, end: str):
    """However the body ends, what was said before is on the wire, to the last byte."""
    async with Simulator(Behaviour(replay=NDJSON, fault=fault, fault_after=9, recut=4)) as upstream:
        heard = await talk(upstream.url, "/", {}, quiet=QUIET)

    assert (heard.body, heard.end) == (NDJSON, end)


async def test_a_taken_port():
    """A port that is taken is an error of the system, and leaves nothing behind."""
    async with Simulator() as first:
        port = int(first.url.rpartition(":")[2])
        second = Simulator(port=port)

        with pytest.raises(OSError, match="in use"):
            await second.start()
