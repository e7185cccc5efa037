"""Requests that are refused, odd ones that are not, the ids of streams, and ``/health``."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from ssegate.simulate import Behaviour

from .asking import CHAT, JSON, ask, code_of, connected, error_of


def config(url: str, **route: Any) -> str:
    entry = {"path": CHAT} | route
    return f"""
        upstreams: {{up: {{url: "{url}"}}}}
        routes: [{json.dumps(entry)}, {{path: /v1/*}}]
        """


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

    assert (deep.status, code_of(deep)) == (400, "bad_request")
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

    assert (answer.status, code_of(answer), closed) == (413, "body_too_large", True)
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

    assert (answer.status, code_of(answer)) == (413, "body_too_large")
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

    assert (answer.status, code_of(answer)) == (404, "not_found")
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
        assert code_of(answer) == "method_not_allowed"
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
