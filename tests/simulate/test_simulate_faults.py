"""Every fault does on the wire what its name says, seen by a client that looks at bytes."""

from __future__ import annotations

import gzip
import json
import zlib
from pathlib import Path
from typing import Any

import pytest

from ssegate.simulate import FAULTS, Behaviour, Simulator

from .peer import PATHS, QUIET, Heard, events, lines, talk, until
from .reading import READERS

STREAMING = ["openai", "anthropic", "ollama"]


# By hand: the first tokens of seed 0.
TWO = "A stream is a "
SIX = "A stream is a promise kept in small"

HOLDING = {"silence", "headers_then_silence", "stall", "hang_after_done"}
"""Faults that say nothing more and keep the connection open."""


async def commit(fault: str, name: str = "openai", body: Any = None, **settings: Any) -> Heard:
    """Ask a simulator with *fault* once, and say what came back; its books must balance afterwards."""
    async with Simulator(Behaviour()) as upstream:
        upstream.behaviour = Behaviour(**{"fault": fault, "tokens": 6, "fault_after": 2, **settings})
        quiet = {"quiet": QUIET} if fault in HOLDING else {}
        heard = await talk(upstream.url, PATHS[name], body or {"stream": True}, **quiet)
        await until(lambda: upstream.completed + upstream.gone == 1)
        assert upstream.gone == (heard.end == "open")
        assert upstream.open_streams == 0
    return heard


async def test_refused_from_the_start():
    """A simulator started so refuses connections, as a dead port does."""
    async with Simulator(Behaviour(fault="refuse")) as upstream:
        with pytest.raises(ConnectionRefusedError):
            await talk(upstream.url, "/", {})


@pytest.mark.parametrize(
    ("fault", "raw", "end"),
    [
        ("refuse", b"", "reset"),
        ("close", b"", "fin"),
        ("silence", b"", "open"),
        ("garbage", b"SSH-2.0-not_an_http_server\r\n\x00\xff\xfe\r\n", "fin"),
    ],
)
async def test_nothing_like_an_answer(fault: str, raw: bytes, end: str):
    """Before any HTTP: a reset, a close, silence, or bytes that are something else."""
    heard = await commit(fault)

    assert (heard.raw, heard.end) == (raw, end)


OPENAI = {
    "400": ("invalid_request_error", "context_length_exceeded"),
    "401": ("invalid_request_error", "invalid_api_key"),
    "429": ("requests", "rate_limit_exceeded"),
    "503": ("service_unavailable_error", None),
    "529": ("server_error", "overloaded"),
}
ANTHROPIC = {
    "400": "invalid_request_error",
    "401": "authentication_error",
    "429": "rate_limit_error",
    "503": "api_error",
    "529": "overloaded_error",
}


@pytest.mark.parametrize("fault", list(OPENAI))
@pytest.mark.parametrize("name", STREAMING)
async def test_an_error_status(fault: str, name: str):
    """The status, in the vendor's own error shape; 429 and 503 say when to come back."""
    heard = await commit(fault, name, retry_after=7)

    said = json.loads(heard.body)
    assert heard.status == int(fault)
    assert heard.header("retry-after") == ("7" if fault in ("429", "503") else None)
    match name:
        case "openai":
            assert set(said) == {"error"}
            assert set(said["error"]) == {"message", "type", "param", "code"}
            assert (said["error"]["type"], said["error"]["code"]) == OPENAI[fault]
        case "anthropic":
            assert set(said) == {"type", "error", "request_id"}
            assert (said["type"], said["error"]["type"]) == ("error", ANTHROPIC[fault])
        case "ollama":
            assert isinstance(said["error"], str)


@pytest.mark.parametrize(("fault", "status"), [("500_html", 500), ("html_200", 200)])
async def test_a_page_instead(fault: str, status: int):
    """HTML, with the status it says."""
    heard = await commit(fault)

    assert heard.status == status
    assert str(heard.header("content-type")).startswith("text/html")
    assert heard.body.startswith(b"<!doctype html>")


async def test_an_error_with_200():
    """A JSON error under a 200."""
    heard = await commit("error_200", "anthropic")

    assert (heard.status, heard.header("content-type")) == (200, "application/json")
    assert json.loads(heard.body)["type"] == "error"


@pytest.mark.parametrize("name", STREAMING)
async def test_a_document_instead_of_a_stream(name: str):
    """The complete answer as one JSON document."""
    heard = await commit("json_200", name)

    said = json.loads(heard.body)
    text = {
        "openai": lambda: said["choices"][0]["message"]["content"],
        "anthropic": lambda: said["content"][0]["text"],
        "ollama": lambda: said["message"]["content"],
    }[name]()
    assert (heard.status, heard.header("content-type")) == (200, "application/json")
    assert text == SIX


async def test_an_empty_body():
    """A 200 of a stream's type, without a byte of body."""
    heard = await commit("empty")

    assert (heard.status, heard.body, heard.end) == (200, b"", "fin")
    assert heard.header("content-type") == "text/event-stream; charset=utf-8"


async def test_a_redirect():
    """A 307 to somewhere else."""
    heard = await commit("redirect")

    assert (heard.status, heard.header("location")) == (307, "/redirected")


async def test_a_head_and_no_more():
    """The head of a stream arrives, and nothing after it."""
    heard = await commit("headers_then_silence")

    assert (heard.status, heard.after_head, heard.end) == (200, b"", "open")


@pytest.mark.parametrize("name", STREAMING)
@pytest.mark.parametrize(
    ("fault", "end", "last_chunk"),
    [("stall", "open", False), ("eof", "fin", True), ("reset", "reset", False), ("bad_chunk", "fin", False)],
)
async def test_it_breaks_after_so_many_tokens(fault: str, end: str, last_chunk: bool, name: str):
    """Exactly fault_after tokens arrive whole, and then the connection does what the fault says."""
    heard = await commit(fault, name)

    said = READERS[name](heard.body)
    assert (heard.end, heard.last_chunk) == (end, last_chunk)
    assert said.text == TWO
    assert (said.finish, said.ended) == (None, False)
    assert heard.raw.endswith(b"this is no chunk size\r\n") == (fault == "bad_chunk")


async def test_a_fault_before_the_first_token():
    """With fault_after=0 the opening arrives and no text."""
    heard = await commit("eof", fault_after=0)

    ((_, opening),) = events(heard.body)
    assert opening["choices"][0]["delta"]["role"] == "assistant"


async def test_a_fault_strikes_before_the_finish():
    """An answer shorter than fault_after is broken all the same, with all its text."""
    heard = await commit("reset", fault_after=100)

    said = READERS["openai"](heard.body)
    assert (said.text, said.finish, heard.end) == (SIX, None, "reset")


@pytest.mark.parametrize("name", STREAMING)
async def test_cut_inside_an_event(name: str):
    """The body stops inside an event, and without a last chunk."""
    heard = await commit("cut", name)

    assert (heard.end, heard.last_chunk) == ("fin", False)
    assert not heard.body.endswith(b"\n")
    whole, fragment = heard.body[: heard.body.rindex(b"\n") + 1], heard.body[heard.body.rindex(b"\n") + 1 :]
    assert len(fragment) > 10
    if name == "openai":
        assert READERS[name](whole).text == TWO


async def test_less_than_promised():
    """A Content-Length that the body does not reach."""
    heard = await commit("short_length")

    assert heard.end == "fin"
    assert 0 < len(heard.body) < int(heard.header("content-length") or 0)


@pytest.mark.parametrize("name", STREAMING)
async def test_one_event_of_broken_json(name: str):
    """The third token's event cannot be read; without it all is well up to the end."""
    heard = await commit("bad_json", name)

    payloads, broken = [], []
    for line in heard.body.decode().split("\n"):
        data = line if name == "ollama" else line.removeprefix("data: ")
        if not data.startswith("{"):
            continue
        try:
            payloads.append(json.loads(data))
        except ValueError:
            broken.append(data)
    assert len(broken) == 1
    assert len(payloads) == {"openai": 7, "anthropic": 11, "ollama": 6}[name]
    assert heard.last_chunk


@pytest.mark.parametrize("name", STREAMING)
async def test_one_giant_event(name: str):
    """One line is as long as asked for; the text is still the text."""
    heard = await commit("giant_event", name, giant_bytes=300_000)

    assert sorted(map(len, heard.body.split(b"\n")))[-1] in range(299_900, 300_001)
    assert READERS[name](heard.body).text == SIX
    assert READERS[name](heard.body).ended


async def test_an_error_event():
    """After the tokens, the error in each vendor's own shape, and a clean end."""
    heard = {name: await commit("error_event", name) for name in STREAMING}

    last = {
        name: READ(heard[name].body)[-1]
        for name, READ in zip(STREAMING, [events, events, lines], strict=True)
    }
    assert last["openai"][1]["error"]["type"] == "server_error"
    assert last["anthropic"][0] == "error"
    assert last["anthropic"][1]["type"] == "error"
    assert last["anthropic"][1]["error"]["type"] == "overloaded_error"
    assert last["ollama"] == {"error": "Overloaded"}
    assert all(h.last_chunk for h in heard.values())


@pytest.mark.parametrize(
    ("name", "ping"),
    [
        ("openai", b": keep-alive\n\n"),
        ("anthropic", b'event: ping\ndata: {"type":"ping"}\n\n'),
        ("ollama", b"\n"),
    ],
)
async def test_pings_for_ever(name: str, ping: bytes):
    """An opening, then nothing but signs of life."""
    async with Simulator(Behaviour(fault="pings_only", rate=1000)) as upstream:
        heard = await talk(upstream.url, PATHS[name], {"stream": True}, limit=1200)

    assert heard.end == "enough"
    assert heard.chunks[-5:] == [ping] * 5
    assert b"A stream" not in heard.body


@pytest.mark.parametrize("name", list(PATHS))
async def test_a_stream_without_end(name: str):
    """Text goes on and on; the server leaves room for others meanwhile."""
    async with Simulator(Behaviour(fault="infinite", tokens=1)) as upstream:
        heard = await talk(upstream.url, PATHS[name], {"stream": True}, limit=1 << 20)

    assert heard.end == "enough"
    assert len(heard.chunks) > 1000


async def test_a_document_without_end():
    """A document that never begins sends newlines."""
    async with Simulator(Behaviour(fault="infinite")) as upstream:
        heard = await talk(upstream.url, PATHS["openai"], {"stream": False}, limit=5000)

    assert heard.end == "enough"
    assert set(heard.chunks) == {b"\n"}


@pytest.mark.parametrize("name", STREAMING)
async def test_no_finish_mark(name: str):
    """All the text and a clean end, but no word that it is over."""
    heard = await commit("no_finish", name)

    said = READERS[name](heard.body)
    assert (said.text, said.finish, said.ended) == (SIX, None, False)
    assert (heard.last_chunk, heard.end) == (True, "fin")


@pytest.mark.parametrize("name", STREAMING)
async def test_no_end_mark(name: str):
    """The finish without the end mark; Ollama's finish is its end mark."""
    heard = await commit("no_done", name)

    said = READERS[name](heard.body)
    assert said.text == SIX
    assert said.finish in ("stop", "end_turn")
    assert said.ended == (name == "ollama")
    assert heard.last_chunk


@pytest.mark.parametrize("name", STREAMING)
async def test_it_hangs_after_the_end_mark(name: str):
    """The answer is complete, the body is not ended, the connection stays open."""
    heard = await commit("hang_after_done", name)

    assert READERS[name](heard.body).ended
    assert (heard.last_chunk, heard.end) == (False, "open")


@pytest.mark.parametrize("name", STREAMING)
async def test_tokens_after_the_end_mark(name: str):
    """Three tokens more after it was over."""
    heard = await commit("after_done", name)

    mark = {"openai": b"data: [DONE]\n\n", "anthropic": b'"message_stop"}\n\n', "ollama": b'"done":true'}[
        name
    ]
    rest = heard.body.partition(mark)[2]
    assert rest.count(b'"done":false' if name == "ollama" else b"data: ") == 3
    with pytest.raises(AssertionError):
        READERS[name](heard.body)


async def test_byte_by_byte():
    """Every chunk is one byte, and together they are a stream in good order."""
    heard = await commit("drip")

    assert {len(chunk) for chunk in heard.chunks} == {1}
    assert READERS["openai"](heard.body).ended


async def test_compressed_and_flushed():
    """gzip, each chunk of which can be read when it arrives."""
    heard = await commit("gzip")

    assert heard.header("content-encoding") == "gzip"
    assert READERS["openai"](gzip.decompress(heard.body)).text == SIX
    reading = zlib.decompressobj(wbits=31)
    first = [reading.decompress(chunk) for chunk in heard.chunks[:3]]
    assert all(part.startswith(b"data: {") and part.endswith(b"\n\n") for part in first)


@pytest.mark.parametrize("name", STREAMING)
async def test_crlf(name: str):
    """Every line ends in CRLF, and that is the only difference."""
    heard = await commit("crlf", name)

    assert heard.body.count(b"\n") == heard.body.count(b"\r\n") > 5
    assert READERS[name](heard.body.replace(b"\r\n", b"\n")).text == SIX


@pytest.mark.parametrize("fault", ["cut", "reset", "eof", "stall"])
async def test_documents_break_too(fault: str):
    """A document is broken after fault_after blocks of 64 bytes."""
    heard = await commit(fault, body={"stream": False}, fault_after=3)

    assert heard.header("content-type") == "application/json"
    assert len(heard.body) == 192 + (32 if fault == "cut" else 0)
    assert heard.end == {"cut": "fin", "reset": "reset", "eof": "fin", "stall": "open"}[fault]


def test_every_fault_says_what_it_does():
    """Each fault has one line for the help, and a place in these tests."""
    text = Path(__file__).read_text("utf-8")

    for name, fault in FAULTS.items():
        assert fault.__doc__
        assert "\n" not in fault.__doc__
        assert f'"{name}"' in text
