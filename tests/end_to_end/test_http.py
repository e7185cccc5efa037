"""HTTP itself: what is none is refused, what is odd is served."""

from __future__ import annotations

import json
from typing import Any

import pytest
from aiohttp import web

from ssegate.simulate import Behaviour

from .asking import CHAT, JSON, ask, code_of, connected, serving


def config(url: str, **route: Any) -> str:
    entry = {"path": CHAT} | route
    return f"""
        upstreams: {{up: {{url: "{url}"}}}}
        routes: [{json.dumps(entry)}, {{path: /v1/*}}]
        """


MALFORMED = [
    b"SECRET\r\n\r\n",
    b"SECRET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET / HTTP/9.9\r\nHost: a\r\n\r\n",
    b"\x16\x03\x01\x02\x00SECRET\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nSECRET\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nSECRET : b\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n SECRET\r\n\r\n",
    b"POST /v1/x HTTP/1.1\r\nHost: a\r\nContent-Length: SECRET\r\n\r\n",
    b"POST /v1/x HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    b"POST /v1/x HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"GET /v1/x HTTP/1.1\r\nHost: a\r\nX: " + b"SECRET" * 10_000 + b"\r\n\r\n",
    b"GET /v1/" + b"SECRET" * 5000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
]


@pytest.mark.parametrize("request_bytes", MALFORMED, ids=range(len(MALFORMED)))
async def test_what_is_no_http_is_refused(gate: Any, simulator: Any, request_bytes: bytes):
    """Malformed bytes get a JSON 400 that echoes nothing, and the connection ends."""
    upstream = await simulator()
    running = await gate(config(upstream.url))

    async with connected(running.url) as connection:
        connection.writer.write(request_bytes)
        answer = await connection.answer()
        closed = await connection.is_closed()

    assert (answer.status, code_of(answer), closed) == (400, "bad_request", True)
    assert b"SECRET" not in answer.body + str(answer.headers).encode()
    assert not upstream.requests


async def test_broken_chunks_are_refused(gate: Any, simulator: Any):
    """A chunked body that is none is 400, and nothing of it is taken for the next request."""
    upstream = await simulator()
    running = await gate(config(upstream.url))

    async with connected(running.url) as connection:
        connection.send(CHAT, b"", headers=JSON | {"Transfer-Encoding": "chunked"})
        connection.writer.write(b"zz\r\nGET /v1/smuggled HTTP/1.1\r\nHost: a\r\n\r\n")
        answer = await connection.answer()
        closed = await connection.is_closed()

    assert (answer.status, code_of(answer), closed) == (400, "bad_request", True)
    assert not upstream.requests


async def test_a_client_that_waits_to_be_asked(gate: Any, simulator: Any):
    """``Expect: 100-continue`` is answered once the body is welcome, and not where it is refused."""
    upstream = await simulator(Behaviour(tokens=2))
    running = await gate(config(upstream.url, max_body="1KiB"))
    expecting = JSON | {"Expect": "100-continue"}
    body = b'{"stream": true}'

    async with connected(running.url) as connection:
        connection.send(CHAT, b"", headers=expecting | {"Content-Length": str(len(body))})
        first = await connection.head()
        connection.writer.write(body)
        answer = await connection.answer()
    async with connected(running.url) as connection:
        connection.send(CHAT, b"", headers=expecting | {"Content-Length": "5000"})
        refused = await connection.answer()
    async with connected(running.url) as connection:
        connection.send("/nowhere", b"", headers=expecting | {"Content-Length": "5"})
        nowhere = await connection.answer()

    assert (first.status, answer.status, refused.status, nowhere.status) == (100, 200, 413, 404)
    assert "Expect" not in upstream.requests[0].headers


async def test_an_upload_that_waits_to_be_asked(gate: Any, simulator: Any):
    """A body that streams through is asked for, too."""
    upstream = await simulator()
    running = await gate(config(upstream.url))

    async with connected(running.url) as connection:
        headers = {"Content-Type": "audio/wav", "Expect": "100-continue", "Content-Length": "4"}
        connection.send("/v1/audio", b"", headers=headers)
        first = await connection.head()
        connection.writer.write(b"RIFF")
        await connection.answer()

    assert first.status == 100
    assert upstream.requests[0].body == b"RIFF"


@pytest.mark.parametrize("connection_header", ["close", "keep-alive", None])
async def test_http_1_0(gate: Any, simulator: Any, connection_header: str | None):
    """For HTTP/1.0 a stream is not chunked: its end is the connection's, whatever the client would like."""
    upstream = await simulator(Behaviour(tokens=5))
    running = await gate(config(upstream.url, output="openai"))
    headers = {"Connection": connection_header} if connection_header else {}

    async with connected(running.url) as connection:
        answer = await connection.ask(CHAT, {"stream": True}, headers=headers, version="1.0")

    assert answer.status == 200
    assert "Transfer-Encoding" not in answer.headers
    assert answer.header("Connection") != "keep-alive"
    assert answer.body.startswith(b"data: {")
    assert answer.body.endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize("connection_header", ["keep-alive", None])
async def test_http_1_0_without_a_stream(gate: Any, simulator: Any, connection_header: str | None):
    """What passes to an HTTP/1.0 client has a length, or ends with the connection."""
    upstream = await simulator(Behaviour(tokens=5))
    running = await gate(config(upstream.url))
    headers = {"Connection": connection_header} if connection_header else {}

    async with connected(running.url) as connection:
        connection.send(CHAT, {}, headers=headers, version="1.0")
        answer = await connection.answer()

    assert answer.json["object"] == "chat.completion"
    assert "Transfer-Encoding" not in answer.headers


async def test_http_1_0_and_an_answer_without_length(gate: Any):
    """An answer that comes in chunks ends with the connection for HTTP/1.0, even if that is to be kept."""

    async def chunked(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        await response.write(b"one")
        await response.write(b"two")
        return response

    async with serving(chunked) as upstream:
        running = await gate(config(upstream.url))
        headers = {"Connection": "keep-alive"}
        answer = await ask(running.url, "/v1/x", method="GET", headers=headers, version="1.0")

    assert answer.body == b"onetwo"
    assert "Transfer-Encoding" not in answer.headers


async def test_pipelined_requests(gate: Any, simulator: Any):
    """Requests sent together are answered in their order, each whole."""
    upstream = await simulator(Behaviour(tokens=20))
    running = await gate(config(upstream.url, output="native"))

    async with connected(running.url) as connection:
        for number in range(3):
            connection.send(CHAT, {"stream": True, "model": f"m{number}"})
            connection.send("/v1/models", method="GET")
        answers = [await connection.answer() for _ in range(6)]

    models = [
        json.loads(answer.chunks[-1].split(b"data: ")[-1])["metadata"]["model"] for answer in answers[::2]
    ]
    assert models == ["m0", "m1", "m2"]
    assert all(answer.json["object"] == "list" for answer in answers[1::2])
