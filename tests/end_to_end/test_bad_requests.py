"""Requests that are refused, odd ones that are not, the ids of streams, and ``/health``."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import pytest
from aiohttp import web

from ssegate.simulate import Behaviour

from .asking import Answer, ask, connected, serving

CHAT = "/v1/chat/completions"
JSON = {"Content-Type": "application/json"}
ID = "abcdefghijKLMNOPQR_-01"
assert len(ID) == 22


def config(url: str, **route: Any) -> str:
    entry = {"path": CHAT} | route
    return f"""
        upstreams: {{up: {{url: "{url}"}}}}
        routes: [{json.dumps(entry)}, {{path: /v1/*}}]
        """


def code(answer: Answer) -> str:
    assert answer.header("Content-Type") == "application/json"
    return str(error_of(answer)["code"])


def error_of(answer: Answer) -> Any:
    """Return the error's object, in native or OpenAI's shape."""
    return answer.json if isinstance(answer.json["error"], str) else answer.json["error"]


# Bodies

BAD = {
    "nothing of JSON": (b"secret words", 0),
    "cut": (b'{"secret": "secret', 18),
    "cut after a value": (b'{"secret": 1', 12),
    "trailing comma": (b'{"secret": 1,}', 13),
    "trailing text": (b'{"secret": 1} secret', 14),
    "two objects": (b'{"secret": 1}{"secret": 2}', 13),
    "single quotes": (b"{'secret': 1}", 1),
    "NaN": (b'{"secret": NaN}', 11),
    "BOM": (b'\xef\xbb\xbf{"secret": 1}', 0),
    "bare newline in a string": (b'{"secret": "a\nsecret"}', None),
    "bad UTF-8 in a key": (b'{"secret\xff": 1}', None),
}


@pytest.mark.parametrize("name", list(BAD))
@pytest.mark.parametrize("output", ["openai", "native"])
async def test_what_is_no_json_is_refused(gate: Any, simulator: Any, name: str, output: str):
    """The answer says where the fault is and repeats nothing of the body; nobody is asked."""
    body, place = BAD[name]
    upstream = await simulator()
    running = await gate(config(upstream.url, output=output))

    answer = await ask(running.url, CHAT, body, headers=JSON)

    said = error_of(answer)
    assert isinstance(answer.json["error"], str if output == "native" else dict)
    assert (answer.status, said["code"], said["type"]) == (400, "bad_request", "invalid_request_error")
    assert b"secret" not in answer.body
    assert not upstream.requests
    numbers = [int(number) for number in re.findall(r"\d+", str(said))]
    assert numbers
    if place is not None:
        assert min(abs(number - place) for number in numbers) <= 1


@pytest.mark.parametrize("opening", [b'{"a":', b"["])
@pytest.mark.parametrize("depth", [10_000, 1_000_000])
async def test_deep_nesting_is_refused(gate: Any, simulator: Any, opening: bytes, depth: int):
    """JSON nested beyond reason is 400, not a stack that overflows; the gate goes on."""
    upstream = await simulator(Behaviour(tokens=1))
    running = await gate(config(upstream.url))
    closing = b"}" if opening.startswith(b"{") else b"]"
    body = b'{"stream": true, "x": %b1%b}' % (opening * depth, closing * depth)

    deep = await ask(running.url, CHAT, body, headers=JSON)
    after = await ask(running.url, CHAT, {"stream": True})

    assert (deep.status, code(deep)) == (400, "bad_request")
    assert after.status == 200
    assert len(upstream.requests) == 1


@pytest.mark.parametrize("body", [b"[]", b'"text"', b"5", b"null", b"true"])
async def test_json_that_is_no_object_wants_nothing(gate: Any, simulator: Any, body: bytes):
    """Valid JSON of another kind is the upstream's to judge."""
    upstream = await simulator()
    running = await gate(config(upstream.url))

    answer = await ask(running.url, CHAT, body, headers=JSON)

    assert answer.status == 400  # in the simulator's words
    assert upstream.requests[0].body == body


async def test_too_large_by_announcement(gate: Any, simulator: Any):
    """A body announced too large is 413 before a byte of it is read, and the connection ends."""
    upstream = await simulator()
    running = await gate(config(upstream.url, max_body="1KiB"))

    async with connected(running.url) as connection:
        connection.send(CHAT, b"", headers=JSON | {"Content-Length": "1025"})
        answer = await connection.answer()
        closed = await connection.is_closed()

    assert (answer.status, code(answer), closed) == (413, "body_too_large", True)
    assert answer.json["error"]["type"] == "invalid_request_error"
    assert not upstream.requests


async def test_too_large_in_chunks(gate: Any, simulator: Any):
    """A chunked body is 413 as soon as it is too large, although its sender goes on."""
    upstream = await simulator()
    running = await gate(config(upstream.url, max_body="1KiB"))

    async with connected(running.url) as connection:
        connection.send(CHAT, b"", headers=JSON | {"Transfer-Encoding": "chunked"})
        for _ in range(5):
            connection.writer.write(b"100\r\n%b\r\n" % (b" " * 256))
        answer = await connection.answer()

    assert (answer.status, code(answer)) == (413, "body_too_large")
    assert not upstream.requests


async def test_as_large_as_allowed(gate: Any, simulator: Any):
    """A body of exactly ``max_body`` is fine, and so is a larger one that is no JSON."""
    upstream = await simulator(Behaviour(tokens=1))
    running = await gate(config(upstream.url, max_body="1KiB"))
    body = b'{"stream": true}'.ljust(1024)

    fits = await ask(running.url, CHAT, body, headers=JSON)
    await ask(running.url, CHAT, b"x" * 5000, headers={"Content-Type": "audio/wav"})

    assert fits.status == 200
    assert len(upstream.requests[-1].body) == 5000


async def test_the_routes_own_limit_counts(gate: Any, simulator: Any):
    """Where routes share a path, the one that takes the request says how large it may be."""
    upstream = await simulator(Behaviour(tokens=1))
    running = await gate(
        f"""
        upstreams: {{up: {{url: "{upstream.url}"}}}}
        routes:
          - {{name: small, path: {CHAT}, model: small, max_body: 100}}
          - {{name: large, path: {CHAT}, max_body: 10KiB}}
        """
    )

    large = await ask(running.url, CHAT, {"model": "large", "x": "x" * 200})
    small = await ask(running.url, CHAT, {"model": "small", "x": "x" * 200})

    assert (large.status, small.status) == (200, 413)


# Routes and methods


@pytest.mark.parametrize("path", ["/", "/v2/chat", "/v1", "/v1/chat/completions/", "/V1/models", "/%76%31/x"])
async def test_no_route(gate: Any, simulator: Any, path: str):
    """A path that no route has is 404 in OpenAI's shape; case, slashes and escapes count."""
    upstream = await simulator()
    running = await gate(config(upstream.url).replace("/v1/*", "/v1/files/*"))

    answer = await ask(running.url, path, {"stream": True})

    assert (answer.status, code(answer)) == (404, "not_found")
    assert answer.json["error"]["type"] == "invalid_request_error"
    assert not upstream.requests


@pytest.mark.parametrize("path", ["/v1/../admin", "/v1/%2e%2E/admin", "/v1/./x", "/v1/..", "/v1/..%2fadmin"])
async def test_a_path_cannot_climb_out_of_its_route(gate: Any, simulator: Any, path: str):
    """Segments of dots, escaped or not, reach no upstream."""
    upstream = await simulator()
    running = await gate(config(upstream.url))

    answer = await ask(running.url, path, method="GET")

    assert answer.status == 400
    assert not upstream.requests


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "HEAD", "TRACE", "PATCH"])
async def test_a_method_that_is_not_taken(gate: Any, simulator: Any, method: str):
    """405 tells in ``Allow`` what is."""
    upstream = await simulator()
    running = await gate(config(upstream.url).replace(", {path: /v1/*}", ""))

    answer = await ask(running.url, CHAT, method=method)

    assert (answer.status, answer.header("Allow")) == (405, "POST")
    if method != "HEAD":
        assert code(answer) == "method_not_allowed"
        assert error_of(answer)["type"] == "invalid_request_error"
    assert not upstream.requests


@pytest.mark.parametrize("method", ["TRACE", "CONNECT"])
async def test_methods_about_the_connection(gate: Any, simulator: Any, method: str):
    """TRACE and CONNECT are taken by no route, not even by one for all methods."""
    upstream = await simulator()
    running = await gate(config(upstream.url))

    async with connected(running.url) as connection:
        connection.send("/v1/x" if method == "TRACE" else "a.test:443", method=method)
        answer = await connection.answer()

    assert answer.status in (400, 404, 405)
    assert not upstream.requests


# HTTP itself


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

    assert (answer.status, code(answer), closed) == (400, "bad_request", True)
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

    assert (answer.status, code(answer), closed) == (400, "bad_request", True)
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


# Stream ids


@pytest.mark.parametrize("place", ["header", "query"])
@pytest.mark.parametrize(
    ("chosen", "status"),
    [
        (ID, 200),
        ("x" * 64, 200),
        ("x" * 65, 400),
        ("x" * 21, 400),
        ("12345678", 400),  # enough only where keys say whose it is
        (ID + ".", 400),
        (ID + "%20", 400),
        (ID + "\xe9", 400),
        ("../../../../etc/passwd", 400),
    ],
)
async def test_a_client_may_choose_its_streams_id(
    gate: Any, simulator: Any, place: str, chosen: str, status: int
):
    """Without keys 22 to 64 characters of a small alphabet; another form is 400 and asks nobody."""
    upstream = await simulator(Behaviour(tokens=3))
    running = await gate(config(upstream.url, output="native"))

    if place == "header":
        answer = await ask(running.url, CHAT, {"stream": True}, headers={"X-Stream-ID": chosen})
    else:
        answer = await ask(
            running.url, f"{CHAT}?stream_id={chosen.replace(chr(0xE9), '%E9')}", {"stream": True}
        )

    assert answer.status == status
    assert len(upstream.requests) == (status == 200)
    if status == 200:
        assert answer.header("X-Stream-ID") == chosen
        assert json.loads(answer.chunks[0].split(b"\n")[0][6:])["metadata"]["stream_id"] == chosen
        assert dict(upstream.requests[0].query) == {}
    else:
        assert answer.json["code"] == "bad_request"


async def test_ids_of_ours_cannot_be_guessed(gate: Any, simulator: Any):
    """An id that the gate makes has at least 128 random bits in its 64-letter alphabet."""
    upstream = await simulator(Behaviour(tokens=1))
    running = await gate(config(upstream.url))

    ids = {(await ask(running.url, CHAT, {"stream": True})).header("X-Stream-ID") for _ in range(20)}

    assert len(ids) == 20
    assert all(re.fullmatch("[A-Za-z0-9_-]{22,64}", str(chosen)) for chosen in ids)


async def test_an_id_in_use_is_refused(gate: Any, simulator: Any):
    """A second stream of the same id is 409 while the first one runs, and fine as soon as it has ended."""
    upstream = await simulator(Behaviour(tokens=1000, rate=50))
    running = await gate(config(upstream.url))
    chosen = {"X-Stream-ID": ID}

    async with connected(running.url) as first:
        first.send(CHAT, {"stream": True}, headers=chosen)
        await first.head()
        await first.chunk()
        second = await ask(running.url, CHAT, {"stream": True}, headers=chosen)
        assert (second.status, code(second)) == (409, "stream_exists")
        assert second.header("x-should-retry") == "false"
        assert len(upstream.requests) == 1
        assert running.cancel(ID)
        while await first.chunk():
            pass
        again = await first.ask(CHAT, {"stream": True, "max_tokens": 2}, headers=chosen)

    assert (again.status, again.header("X-Stream-ID")) == (200, ID)


@pytest.mark.parametrize("fault", ["429", "close", "html_200"])
async def test_an_id_is_free_after_a_failure(gate: Any, simulator: Any, fault: str):
    """An id whose request failed before its stream can be used again at once."""
    upstream = await simulator(Behaviour(tokens=2))
    running = await gate(config(upstream.url))

    chosen = {"X-Stream-ID": ID}
    failed = await ask(running.url, CHAT, {"stream": True}, headers=chosen | {"X-Simulate": f"fault={fault}"})
    again = await ask(running.url, CHAT, {"stream": True}, headers=chosen)

    assert failed.status in (429, 502)
    assert again.status == 200


async def test_an_id_is_free_after_its_client_left(gate: Any, simulator: Any):
    """A client that left in mid-stream can come back with the same id."""
    upstream = await simulator(Behaviour(tokens=1000, rate=50))
    running = await gate(config(upstream.url))
    chosen = {"X-Stream-ID": ID}

    async with connected(running.url) as first:
        first.send(CHAT, {"stream": True}, headers=chosen)
        await first.head()
    async with asyncio.timeout(5):
        while len(running.streams):
            await asyncio.sleep(0.01)
    again = await ask(running.url, CHAT, {"stream": True, "max_tokens": 2}, headers=chosen)

    assert again.status == 200


# Health


async def test_health(gate: Any, simulator: Any):
    """``GET /health`` answers for the gate itself, and says when it drains."""
    upstream = await simulator()
    running = await gate(config(upstream.url))

    healthy = await ask(running.url, "/health?x=1", method="GET")
    running.begin_drain()
    draining = await ask(running.url, "/health", method="GET")
    refused = await ask(running.url, CHAT, {"stream": True})

    assert (healthy.status, healthy.body) == (200, b'{"status":"healthy"}')
    assert (draining.status, draining.json) == (503, {"status": "draining"})
    assert (refused.status, code(refused), refused.header("Retry-After")) == (503, "draining", "1")
    assert refused.json["error"]["type"] == "overloaded_error"
    assert refused.header("Connection") == "close"
    assert not upstream.requests


@pytest.mark.parametrize(("path", "is_theirs"), [("/health", True), ("/*", False)])
async def test_an_explicit_route_of_that_path_wins(gate: Any, simulator: Any, path: str, is_theirs: bool):
    """Who names ``/health`` gets it; a prefix does not take it from the gate."""
    upstream = await simulator()
    running = await gate(
        f"""
        upstreams: {{up: {{url: "{upstream.url}"}}}}
        routes: [{{path: {path}, methods: [GET], upstream_path: /v1/models}}]
        """
    )

    answer = await ask(running.url, "/health", method="GET")

    assert (answer.json != {"status": "healthy"}) is is_theirs
