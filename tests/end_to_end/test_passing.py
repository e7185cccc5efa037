"""Requests for which no stream was wanted, and answers that are none: both pass as they are."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import json
import os
import socket
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import web

from ssegate.simulate import Behaviour

from .asking import CHAT, STREAM, answering, ask, code_of, connected, error_of, everything_to, serving
from .logbook import Log
from .scripted import Peer, chunk, scripted

MEGABYTE = 1 << 20
IMAGE = b"\x89PNG\r\n\x1a\n" + os.urandom(5 * MEGABYTE)
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
SSE_BODY = b': hello\r\ndata: {"choices":[]}\r\n\r\ndata: [DONE]\n\n: and more\n'


# Answers nobody wanted as a stream


ANSWERS: dict[str, tuple[int, dict[str, str], bytes]] = {
    "json": (200, {"Content-Type": "application/json"}, b'{"object": "list",\n "data": []}'),
    "image": (200, {"Content-Type": "image/png"}, IMAGE),
    "empty": (200, {"Content-Type": "text/plain"}, b""),
    "created": (201, {"Content-Type": "application/json", "Location": "/x/1"}, b"{}"),
    "404": (404, {"Content-Type": "application/json"}, b'{"error": {"message": "no such model"}}'),
    "404 page": (404, {"Content-Type": "text/html"}, b"<html>not here</html>"),
    "401": (401, {"Content-Type": "text/plain", "WWW-Authenticate": "Bearer"}, b"who are you?"),
    "429": (429, {"Content-Type": "application/json", "Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}, b"{}"),
    "500": (500, {"Content-Type": "text/html"}, b"<html>oops</html>"),
    "sse": (200, {"Content-Type": "text/event-stream"}, SSE_BODY),
    "gzip": (
        200,
        {"Content-Type": "application/json", "Content-Encoding": "gzip"},
        gzip.compress(b'{"a": "%b"}' % (b"x" * 5000)),
    ),
    "unknown coding": (200, {"Content-Type": "application/json", "Content-Encoding": "br"}, b"\x0b\x02\x80"),
    "etag": (200, {"Content-Type": "text/plain", "ETag": '"v1"', "X-Own": "a", "Vary": "Accept"}, b"text"),
    "redirect": (302, {"Location": "https://elsewhere.test/", "Content-Type": "text/plain"}, b"moved"),
}


@pytest.mark.parametrize("name", list(ANSWERS))
@pytest.mark.parametrize("chunked", [False, True])
async def test_any_answer_passes_to_the_byte(gate: Any, name: str, chunked: bool):
    """Status, headers and body of an answer are the upstream's, whatever they are."""
    status, headers, body = ANSWERS[name]

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        if not chunked:
            return web.Response(status=status, headers=headers, body=body)
        response = web.StreamResponse(status=status, headers=headers)
        await response.prepare(request)
        for at in range(0, len(body), 100_000):
            await response.write(body[at : at + 100_000])
        return response

    async with serving(handler) as upstream:
        running = await gate(everything_to(upstream.url))
        answer = await ask(running.url, "/v1/things/1?a=b", method="GET")

    assert (answer.status, answer.body) == (status, body)
    assert {name: answer.header(name) for name in headers} == headers
    if not chunked:
        assert answer.header("Content-Length") == str(len(body))
    assert "X-Stream-ID" not in answer.headers


@pytest.mark.parametrize("status", [204, 304])
async def test_answers_without_a_body(gate: Any, status: int):
    """204 and 304 have no body and get no type; the connection stays usable."""
    async with serving(answering(status=status, headers={"ETag": '"v1"'})) as upstream:
        running = await gate(everything_to(upstream.url))
        async with connected(running.url) as connection:
            answers = [await connection.ask("/x", method="GET") for _ in range(2)]

    for answer in answers:
        assert (answer.status, answer.body, answer.header("ETag")) == (status, b"", '"v1"')
        assert "Content-Type" not in answer.headers


async def test_head_has_the_headers_and_no_body(gate: Any):
    """HEAD passes with the upstream's own length, and nothing follows its head."""
    headers = {"Content-Type": "image/png"}
    async with serving(answering(body=b"x" * 1234, headers=headers)) as upstream:
        running = await gate(everything_to(upstream.url))
        async with connected(running.url) as connection:
            answer = await connection.ask("/x.png", method="HEAD")
            after = await connection.ask("/x.png", method="GET")

    assert (answer.status, answer.header("Content-Length")) == (200, "1234")
    assert answer.header("Content-Type") == "image/png"
    assert after.body == b"x" * 1234
    assert [request.method for request in upstream.requests] == ["HEAD", "GET"]


async def test_head_wants_no_stream(gate: Any):
    """HEAD has no body, whatever it asks for: it passes, and its connection stays usable."""
    async with serving(answering(body=SSE_BODY, headers={"Content-Type": "text/event-stream"})) as upstream:
        running = await gate(everything_to(upstream.url, output="native"))
        async with connected(running.url) as connection:
            answers = [await connection.ask(f"{CHAT}?stream=true", method="HEAD") for _ in range(2)]

    for answer in answers:
        assert (answer.status, answer.header("Content-Length")) == (200, str(len(SSE_BODY)))
        assert answer.header("Content-Type") == "text/event-stream"
        assert "X-Stream-ID" not in answer.headers
    assert [request.target for request in upstream.requests] == [f"{CHAT}?stream=true"] * 2


async def test_a_stale_connection_is_replaced_once(gate: Any):
    """A pooled connection that dies under a request is replaced; the answer's coding stays untouched."""
    coded = gzip.compress(b'{"a": 1}')
    head = HEAD + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(coded)
    served: list[bytes] = []

    async def script(peer: Peer) -> None:
        while request := await peer.request():
            served.append(request)
            if len(served) == 2:
                return  # closed under the hands of who has just asked
            await peer.say(head + coded)

    async with scripted(script) as upstream:
        running = await gate(everything_to(upstream.url))
        answers = [await ask(running.url, CHAT, {"stream": False}) for _ in range(2)]

    assert [(answer.status, answer.header("Content-Encoding")) for answer in answers] == [(200, "gzip")] * 2
    assert [answer.body for answer in answers] == [coded] * 2
    assert len(served) == 3
    assert len(upstream.peers) == 2


async def test_the_list_of_models(gate: Any, simulator: Any):
    """``GET /v1/models`` works as with the upstream itself: clients ask it first."""
    upstream = await simulator()
    running = await gate(everything_to(upstream.url, output="native"))

    through, direct = [await ask(url, "/v1/models", method="GET") for url in (running.url, upstream.url)]

    assert (through.status, through.body) == (200, direct.body)


async def test_a_completion_that_was_not_to_be_streamed(gate: Any, simulator: Any, log: Log):
    """The JSON of ``"stream": false`` passes as the upstream wrote it, its request id with it and logged."""
    upstream = await simulator(Behaviour(tokens=9))
    running = await gate(everything_to(upstream.url))

    answer = await ask(running.url, CHAT, {"stream": False})

    assert answer.json["choices"][0]["message"]["content"]
    assert answer.json["usage"]["completion_tokens"] == 9
    assert str(answer.header("X-Request-ID")).startswith("req_")
    log.whole()
    line = await log.line("request")
    assert (line["status"], line["bytes_out"]) == (200, len(answer.body))
    assert line["upstream_request_id"] == answer.header("X-Request-ID")


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "POST"])
async def test_every_method_passes(gate: Any, method: str):
    """A prefix route takes all methods, with their bodies."""
    async with serving(answering(text="ok")) as upstream:
        running = await gate(everything_to(upstream.url))
        answer = await ask(
            running.url, "/v1/files/1", b"\0body", method=method, headers={"Content-Type": "a/b"}
        )

    [request] = upstream.requests
    assert (answer.body, request.method, request.body) == (b"ok", method, b"\0body")


# Bodies on their way up


@pytest.mark.parametrize("framing", ["length", "chunked"])
async def test_a_multipart_upload_arrives_whole(gate: Any, framing: str):
    """An upload passes byte for byte, framed as the client framed it."""
    part = (
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n%b\r\n--b--\r\n' % IMAGE
    )
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    body = part
    if framing == "chunked":
        headers["Transfer-Encoding"] = "chunked"
        pieces = [part[at : at + 70_001] for at in range(0, len(part), 70_001)]
        body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"

    async with serving(answering(text="ok")) as upstream:
        running = await gate(everything_to(upstream.url))
        answer = await ask(running.url, "/v1/files", body, headers=headers)

    [request] = upstream.requests
    assert answer.body == b"ok"
    assert request.body == part
    assert request.headers["Content-Type"] == headers["Content-Type"]
    assert request.headers.get("Content-Length") == (str(len(part)) if framing == "length" else None)


async def test_a_body_without_a_type_is_read_if_it_is_json(gate: Any):
    """Without a Content-Type, JSON is understood and anything else passes."""
    async with serving(answering(text="ok")) as upstream:
        running = await gate(everything_to(upstream.url, output="same", set={"x": 1}))
        await ask(running.url, "/v1/a", b'{"y":2}', headers={})
        await ask(running.url, "/v1/a", b"\x89PNG", headers={})

    assert [request.body for request in upstream.requests] == [b'{"y":2,"x":1}', b"\x89PNG"]


CODED = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
WISH = gzip.compress(json.dumps({"stream": True}).encode())


@pytest.mark.parametrize("path", [CHAT, "/api/chat", "/ask"])
async def test_compressed_json_passes_as_it_is(gate: Any, path: str):
    """A body in a content coding is not read: it passes, coding and all, and what it wishes is not known."""
    async with serving(answering(body=SSE_BODY, headers={"Content-Type": "text/event-stream"})) as upstream:
        running = await gate(
            f"""
            upstreams: {{up: {{url: "{upstream.url}"}}}}
            routes: [{{path: /ask, output: native}}, {{path: /*}}]
            """
        )
        answer = await ask(running.url, path, WISH, headers=CODED)

    [request] = upstream.requests
    assert (request.body, request.headers["Content-Encoding"]) == (WISH, "gzip")
    assert (answer.status, answer.body) == (200, SSE_BODY)


@pytest.mark.parametrize("path", [f"{CHAT}?stream=true", "/v1beta/models/g:streamGenerateContent"])
async def test_compressed_json_may_ask_for_a_stream_by_its_path(gate: Any, path: str):
    """Path and query alone say whether a stream is wanted of a body that is not read; it stays as it is."""
    async with serving(answering(body=STREAM, headers={"Content-Type": "text/event-stream"})) as upstream:
        running = await gate(everything_to(upstream.url, output="native"))
        answer = await ask(running.url, path, WISH, headers=CODED)

    [request] = upstream.requests
    assert (request.body, request.headers["Content-Encoding"]) == (WISH, "gzip")
    assert b'data: {"token":"Hello","finished":false' in answer.body


@pytest.mark.parametrize("coding", ["gzip", "br", "Deflate", "identity, gzip"])
async def test_a_compressed_prompt_is_refused(gate: Any, coding: str):
    """Where a prompt is read out of the body, a coded one is told why it is of no use."""
    async with serving(answering(text="ok")) as upstream:
        running = await gate(everything_to(upstream.url, from_prompt={"body": {"p": "{prompt}"}}))
        headers = {"Content-Type": "application/json", "Content-Encoding": coding}
        refused = await ask(running.url, "/ask", gzip.compress(b'{"prompt": "a"}'), headers=headers)
        plain = {"Content-Type": "application/json", "Content-Encoding": "identity"}
        read = await ask(running.url, "/ask", b'{"prompt": "a", "stream": false}', headers=plain)

    assert (refused.status, code_of(refused)) == (400, "bad_request")
    assert "compressed" in error_of(refused)["error"]
    assert read.status == 200
    [request] = upstream.requests
    assert request.json == {"p": "a", "stream": False}


BIG = 48 * MEGABYTE
HELD = 24 * MEGABYTE
"""More than all socket buffers on the way take (up to 6 MB each for receiving, 4 MB for sending)."""

BLOCK = os.urandom(64 << 10)


async def settled(count: Callable[[], int]) -> int:
    """Wait until *count* grows no more, and return it."""
    before = -1
    while count() != before:
        before = count()
        await asyncio.sleep(0.2)
    return before


async def test_an_upload_is_read_no_faster_than_the_upstream_takes_it(gate: Any):
    """While the upstream does not read, the client is held back; nothing is piled up in between."""
    may_read = asyncio.Event()
    digest, sent = hashlib.sha256(), 0

    async def slow(request: web.BaseRequest) -> web.Response:
        await may_read.wait()
        async for data in request.content.iter_any():
            digest.update(data)
        return web.Response(text=digest.hexdigest())

    async def upload(writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        while sent < BIG:
            writer.write(BLOCK)
            await writer.drain()
            sent += len(BLOCK)

    async with serving(slow, reads_body=False) as upstream:
        running = await gate(everything_to(upstream.url))
        async with connected(running.url) as connection:
            connection.send("/v1/files", b"", headers={"Content-Length": str(BIG), "Content-Type": "a/b"})
            task = asyncio.create_task(upload(connection.writer))
            held = await settled(lambda: sent)
            may_read.set()
            await task
            answer = await connection.answer()

    assert 0 < held < HELD
    assert answer.body.decode() == hashlib.sha256(BLOCK * (BIG // len(BLOCK))).hexdigest()


async def test_a_download_is_read_no_faster_than_the_client_takes_it(gate: Any):
    """While the client does not read, the upstream is held back."""
    sent = 0

    async def giant(request: web.BaseRequest) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse(headers={"Content-Type": "image/png", "Content-Length": str(BIG)})
        await response.prepare(request)
        while sent < BIG:
            await response.write(BLOCK)
            sent += len(BLOCK)
        return response

    async with serving(giant) as upstream:
        running = await gate(everything_to(upstream.url))
        host, _, port = running.url.partition("://")[2].rpartition(":")
        with socket.create_connection((host, int(port))) as sock:
            sock.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_sendall(sock, b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
            held = await settled(lambda: sent)
            got, digest, head = 0, hashlib.sha256(), b""
            while b"\r\n\r\n" not in head:
                head += await loop.sock_recv(sock, 1 << 16)
            data = head.partition(b"\r\n\r\n")[2]
            while data:
                digest.update(data)
                got += len(data)
                data = await loop.sock_recv(sock, 1 << 20) if got < BIG else b""

    assert 0 < held < HELD
    assert digest.hexdigest() == hashlib.sha256(BLOCK * (BIG // len(BLOCK))).hexdigest()


HALF = b'{"a": 1'
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
BROKEN: dict[str, tuple[bytes, bytes | None]] = {
    # what comes, and what after it; None: a reset
    "end between chunks": (CHUNKED + chunk(HALF), b""),
    "end in a chunk": (CHUNKED + b"ff\r\n" + HALF, b""),
    "no chunk": (CHUNKED + chunk(HALF), b"zz\r\n"),
    "too short": (HEAD + b"Content-Length: 100\r\n\r\n" + HALF, b""),
    "reset between chunks": (CHUNKED + chunk(HALF), None),
    "reset in a length": (HEAD + b"Content-Length: 100\r\n\r\n" + HALF, None),
    "reset before the close": (HEAD + b"\r\n" + HALF, None),
}


@pytest.mark.parametrize("version", ["1.1", "1.0"])
@pytest.mark.parametrize("how", list(BROKEN))
async def test_a_body_that_breaks_off_is_seen_as_broken(gate: Any, log: Log, how: str, version: str):
    """When the upstream's body breaks off, so does the client's, of whatever version: no part looks whole."""
    comes, after = BROKEN[how]

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.say(comes)
        await asyncio.sleep(0.05)  # so that it is read: a reset overtakes what was not
        if after is None:
            peer.reset()
        else:
            await peer.say(after)

    async with scripted(script) as upstream:
        running = await gate(everything_to(upstream.url))
        answer = await ask(running.url, "/x", method="GET", version=version)

    assert (answer.status, answer.is_whole) == (200, False)
    log.whole()
    line = await log.line("request")
    assert line["code"] == ("upstream_protocol" if how == "no chunk" else "upstream_truncated")
    assert line["bytes_out"] == len(HALF)


@pytest.mark.parametrize(("limit", "status"), [("total", 504), ("idle", None)])
async def test_clocks_run_on_answers_that_pass(gate: Any, limit: str, status: int | None):
    """``total`` bounds the wait for the head, ``idle`` the gaps in the body."""
    never = asyncio.Event()

    async def silent(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "image/png"})
        if limit == "idle":
            await response.prepare(request)
            await response.write(b"half")
        await never.wait()
        return response

    async with serving(silent) as upstream:
        running = await gate(
            f"""
            upstreams: {{up: {{url: "{upstream.url}"}}}}
            routes: [{{path: /*, timeouts: {{{limit}: 150ms}}}}]
            """
        )
        answer = await ask(running.url, "/x", method="GET")
        never.set()

    if status is None:
        assert (answer.body, answer.is_whole) == (b"half", False)
    else:
        assert (answer.status, code_of(answer)) == (status, "total_timeout")
