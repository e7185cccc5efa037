"""A stream was wanted and something else came: what passes, what becomes a stream, what is refused."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
from typing import Any

import pytest

from ssegate.simulate import Behaviour

from .asking import CHAT, answering, ask, code_of, connected, everything_to, serving

BYTES = b"\x89PNG\r\n\x1a\n" + os.urandom(70_000)
PASSES = {
    "image": ({"Content-Type": "image/png"}, BYTES),
    "audio": ({"Content-Type": "audio/mpeg"}, b"ID3" + BYTES),
    "octets": ({"Content-Type": "application/octet-stream"}, BYTES),
    "other json": ({"Content-Type": "application/json"}, b'{"object": "list", "data": [{"id": 1}]}'),
    "json list": ({"Content-Type": "application/json"}, b'[{"embedding": [0.5]}]'),
    "zipped json": (
        {"Content-Type": "application/json", "Content-Encoding": "gzip"},
        gzip.compress(b'{"object": "list", "data": []}'),
    ),
}


@pytest.mark.parametrize("name", list(PASSES))
async def test_wanted_but_no_stream_passes(gate: Any, name: str):
    """Images, audio, bytes and other JSON pass as they are although a stream was wanted."""
    headers, body = PASSES[name]
    async with serving(answering(body=body, headers=headers)) as upstream:
        running = await gate(everything_to(upstream.url, output="native"))
        async with connected(running.url) as connection:
            answers = [await connection.ask(CHAT, {"stream": True}) for _ in range(2)]

    for answer in answers:
        assert (answer.status, answer.is_whole) == (200, True)
        assert plain(answer.body, answer.header("Content-Encoding")) == plain(
            body, headers.get("Content-Encoding")
        )
        assert answer.header("Content-Type") == headers["Content-Type"]
        assert answer.header("X-Request-ID")


def plain(body: bytes, coding: str | None) -> bytes:
    return gzip.decompress(body) if coding == "gzip" else body


@pytest.mark.parametrize("media", ["application/octet-stream", None])
async def test_bytes_that_are_a_stream_are_read_as_one(gate: Any, media: str | None):
    """Without a telling type the first bytes decide: those of a known framing are a stream."""
    chunk = (
        b'data: {"choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
    )

    async def raw(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        label = f"Content-Type: {media}\r\n" if media else ""
        writer.write(f"HTTP/1.1 200 OK\r\n{label}Content-Length: {len(chunk)}\r\n\r\n".encode() + chunk)
        await writer.drain()
        await reader.read()
        writer.close()

    server = await asyncio.start_server(raw, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        running = await gate(everything_to(f"http://127.0.0.1:{port}", output="native"))
        answer = await ask(running.url, CHAT, {"stream": True})

    assert b'"token":"Hi"' in answer.body
    assert answer.header("Content-Type") == "text/event-stream; charset=utf-8"


REFUSED = [
    ("text/html", b"<html><title>log in</title></html>", "upstream_content_type"),
    ("text/event-stream", b'data: {"what": 1}\n\n' * 3, "upstream_content_type"),
    ("text/event-stream", b"", "upstream_empty"),
    ("application/json", b"", "upstream_empty"),
]


@pytest.mark.parametrize(("media", "body", "code"), REFUSED)
async def test_wanted_but_nothing_to_give(gate: Any, media: str, body: bytes, code: str):
    """A page, an unknown stream and an empty body are 502, and no page is quoted."""
    async with serving(answering(body=body, headers={"Content-Type": media})) as upstream:
        running = await gate(everything_to(upstream.url))
        answer = await ask(running.url, CHAT, {"stream": True})

    assert (answer.status, code_of(answer)) == (502, code)
    assert b"log in" not in answer.body


async def test_wanted_and_no_content(gate: Any):
    """204 where a stream was wanted is an empty answer."""
    async with serving(answering(status=204)) as upstream:
        running = await gate(everything_to(upstream.url))
        answer = await ask(running.url, CHAT, {"stream": True})

    assert (answer.status, code_of(answer)) == (502, "upstream_empty")


@pytest.mark.parametrize("output", ["native", "openai"])
async def test_a_whole_answer_becomes_a_stream_of_one_delta(gate: Any, simulator: Any, output: str):
    """A complete JSON answer where a stream was wanted is told as a stream."""
    upstream = await simulator(Behaviour(tokens=9, fault="json_200"))
    running = await gate(everything_to(upstream.url, output=output))

    answer = await ask(running.url, CHAT, {"stream": True})
    direct = await ask(upstream.url, CHAT, {})

    text = direct.json["choices"][0]["message"]["content"]
    events = [json.loads(line[6:]) for line in answer.body.decode().split("\n") if line.startswith("data: {")]
    if output == "native":
        assert [event["token"] for event in events[:-1]] == [text]
    else:
        contents = [event["choices"][0]["delta"].get("content") for event in events]
        assert [content for content in contents if content] == [text]
        assert answer.body.endswith(b"data: [DONE]\n\n")


async def test_a_refused_upload_is_answered(gate: Any):
    """An upstream that refuses an upload before it has read it is heard, not taken for broken."""
    async with serving(answering(status=413, text="too large"), reads_body=False) as upstream:
        running = await gate(everything_to(upstream.url))
        answer = await ask(running.url, "/v1/files", b"x" * 100_000, headers={"Content-Type": "a/b"})

    assert (answer.status, answer.body) == (413, b"too large")
