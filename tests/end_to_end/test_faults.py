"""Whatever an upstream does wrong, the client is told once, in its own format, and nothing stays open."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from simulate.peer import Heard, events, lines, talk, until

from ssegate.simulate import FAULTS, Behaviour
from ssegate.simulate.text import pieces

from . import leaks
from .scripted import DONE, HEAD, Peer, calling, chunk, scripted, self_signed, sse

PATHS = {
    "native": "/native/v1/chat/completions",
    "openai": "/openai/v1/chat/completions",
    "same-openai": "/same/v1/chat/completions",
    "same-anthropic": "/same/v1/messages",
    "same-ollama": "/api/chat",
}
AFTER, TOKENS = 3, 6
"""Tokens before a fault in mid-stream, and of a whole answer."""

CONFIG = """
upstreams:
  up: {{url: "{url}", verify: {verify}}}
defaults:
  hold: 5s
  heartbeat: off
  max_event: 64KiB
  timeouts: {{connect: 2s, first_token: {first_token}, idle: {idle}, total: {total}}}
  {more}
routes:
  - {{name: native, path: /native/v1/chat/completions, upstream_path: /v1/chat/completions, output: native}}
  - {{name: openai, path: /openai/*, upstream_path: "/*", output: openai}}
  - {{name: same, path: /same/*, upstream_path: "/*", output: same}}
  - {{name: ollama, path: /api/*, output: same}}
"""


def config(
    url: str,
    *,
    total: str = "30s",
    first_token: str = "10s",
    idle: str = "10s",
    verify: str = "true",
    more: str = "",
) -> str:
    return CONFIG.format(url=url, total=total, first_token=first_token, idle=idle, verify=verify, more=more)


@dataclass(frozen=True)
class Told:
    """What a fault must look like from outside, by CONTRACT.md section 6 and FAULTS.md A to C."""

    outcome: str
    code: str | None = None
    """None: no error at all."""

    status: int = 200
    tokens: int = 0
    """How many of the answer's tokens arrive."""

    upstream_code: str | None = None
    """The upstream's own, which OpenAI-shaped clients get where it stood."""

    kind: str | None = None
    """Label of the error in ``ssegate_upstream_errors_total``, or of the time limit."""

    retry: bool = True
    retry_after: str | None = None
    hint: str = ""
    """A part of the upstream's own message, which passes."""


_UP = "upstream_error"
TABLE: dict[str, Told] = {
    # before the head
    "refuse": Told(_UP, "upstream_disconnected", 502, kind="disconnected"),
    "close": Told(_UP, "upstream_disconnected", 502, kind="disconnected"),
    "silence": Told("first_token_timeout", "first_token_timeout", 504, kind="first_token", retry=False),
    "garbage": Told(_UP, "upstream_protocol", 502, kind="protocol", retry=False),
    # the wrong answer
    "400": Told(_UP, _UP, 400, upstream_code="context_length_exceeded", kind="error", hint="maximum context"),
    "401": Told(_UP, _UP, 401, upstream_code="invalid_api_key", kind="error", hint="Incorrect API key"),
    "429": Told(
        _UP,
        "upstream_rate_limited",
        429,
        upstream_code="rate_limit_exceeded",
        kind="rate_limited",
        retry_after="2",
        hint="Rate limit reached",
    ),
    "500_html": Told(_UP, _UP, 502, kind="error"),
    "503": Told(_UP, _UP, 503, kind="error", retry_after="2", hint="not ready"),
    "529": Told(_UP, _UP, 503, upstream_code="overloaded", kind="error", hint="Overloaded"),
    "html_200": Told(_UP, "upstream_content_type", 502, kind="content_type", retry=False),
    "error_200": Told(_UP, _UP, 502, kind="error", hint="The server had an error"),
    "json_200": Told("completed", tokens=TOKENS),
    "empty": Told(_UP, "upstream_empty", 502, kind="empty"),
    "redirect": Told(_UP, "upstream_redirect", 502, kind="redirect", retry=False),
    # in the stream, before content
    "headers_then_silence": Told(
        "first_token_timeout", "first_token_timeout", 504, kind="first_token", retry=False
    ),
    "pings_only": Told("first_token_timeout", "first_token_timeout", 504, kind="first_token", retry=False),
    # in the stream, after content
    "stall": Told("idle_timeout", "idle_timeout", tokens=AFTER, kind="idle"),
    "cut": Told("truncated", "upstream_truncated", tokens=AFTER, kind="truncated"),
    "eof": Told("truncated", "upstream_truncated", tokens=AFTER, kind="truncated"),
    "reset": Told("truncated", "upstream_truncated", tokens=AFTER, kind="truncated"),
    "bad_chunk": Told(_UP, "upstream_protocol", tokens=AFTER, kind="protocol"),
    "short_length": Told("truncated", "upstream_truncated", tokens=-1, kind="truncated"),
    "bad_json": Told(_UP, "upstream_bad_event", tokens=AFTER, kind="bad_event"),
    "giant_event": Told("too_large", "event_too_large", tokens=AFTER, kind="too_large"),
    "error_event": Told(_UP, _UP, tokens=AFTER, upstream_code="overloaded", kind="error", hint="Overloaded"),
    "infinite": Told("total_timeout", "total_timeout", tokens=-1, kind="total"),
    "no_finish": Told("truncated", "upstream_truncated", tokens=TOKENS, kind="truncated"),
    # sound enough
    "no_done": Told("completed", tokens=TOKENS),
    "hang_after_done": Told("completed", tokens=TOKENS),
    "after_done": Told("completed", tokens=TOKENS),
    "drip": Told("completed", tokens=TOKENS),
    "gzip": Told("completed", tokens=TOKENS),
    "crlf": Told("completed", tokens=TOKENS),
}
"""Tokens -1: at least one, how many depends on bytes or time."""

QUIET_FAULTS = {"silence", "headers_then_silence", "pings_only", "stall", "infinite", "hang_after_done"}
"""The upstream would go on for ever; it must be left."""


def test_the_table_holds_every_fault():
    """No fault of the simulator is left untested."""
    assert set(TABLE) == set(FAULTS)


@pytest.mark.parametrize("output", list(PATHS))
@pytest.mark.parametrize("fault", list(TABLE))
async def test_every_fault_in_every_output(
    fault: str, output: str, both_ways: None, gate: Any, simulator: Any
):
    """Status or one error event, what had arrived, one outcome, and the upstream released."""
    told = TABLE[fault]
    upstream = await simulator(Behaviour(tokens=TOKENS))
    running = await gate(
        config(
            upstream.url,
            total="500ms" if fault == "infinite" else "30s",
            idle="400ms" if fault == "stall" else "10s",
            first_token="400ms" if told.outcome == "first_token_timeout" else "10s",
        )
    )
    simulate = f"fault={fault}; fault_after={AFTER}; giant_bytes=200000"
    if fault in ("infinite", "bad_chunk"):
        # bad_chunk: what is in one read with the head is no answer at all to the HTTP client.
        simulate += "; rate=100"

    heard = await talk(running.url, PATHS[output], {"stream": True}, X_Simulate=simulate)

    if told.status == 200:
        assert_streamed(heard, told, output)
    else:
        assert_refused(heard, told, output)
    metrics = await gate.metrics(running)
    assert leaks.outcomes(metrics) == {told.outcome: 1}
    assert_counted(metrics, told, fault)
    await until(lambda: upstream.open_streams == 0 and upstream.completed + upstream.gone == 1)
    assert upstream.gone == (fault in QUIET_FAULTS) or fault in ("giant_event", "bad_json", "after_done")
    assert [stream for stream in running.live()] == []


def assert_refused(heard: Heard, told: Told, output: str) -> None:
    assert (heard.status, heard.header("content-type")) == (told.status, "application/json")
    error = error_in(json.loads(heard.body), output)
    if error.code is not None:
        own_place = output in ("openai", "same-openai")
        assert error.code == (told.upstream_code if own_place and told.upstream_code else told.code)
    assert told.hint in error.message
    assert "<" not in error.message
    assert heard.header("location") is None
    assert heard.header("retry-after") == told.retry_after
    assert heard.header("x-should-retry") == (None if told.retry else "false")
    assert heard.header("x-stream-id")
    assert heard.header("x-request-id")


def assert_streamed(heard: Heard, told: Told, output: str) -> None:
    assert heard.status == 200
    assert heard.end == "fin"
    assert heard.last_chunk, "a stream that failed is told so, and its body ends as HTTP wants it"
    said = read(heard.body, output)
    assert (
        said.text == text(told.tokens) if told.tokens >= 0 else text(1000).startswith(said.text) and said.text
    )
    if told.code is None:
        assert said.error is None
        assert said.finish == "stop"
    else:
        assert said.error is not None
        assert said.finish is None
        own_place = output in ("openai", "same-openai")
        if said.error.code is not None:
            assert said.error.code == (told.upstream_code if own_place and told.upstream_code else told.code)
        assert told.hint in said.error.message


def assert_counted(metrics: str, told: Told, fault: str) -> None:
    timeouts = ("first_token", "idle", "total")
    if told.kind is None:
        assert leaks.total(metrics, "ssegate_upstream_errors_total") == 0
        assert leaks.total(metrics, "ssegate_timeouts_total") == 0
    elif told.kind in timeouts:
        assert leaks.total(metrics, "ssegate_timeouts_total", kind=told.kind) == 1
    else:
        assert leaks.total(metrics, "ssegate_upstream_errors_total", kind=told.kind, upstream="up") == 1
    assert leaks.total(metrics, "ssegate_malformed_events_total") == (fault == "bad_json")
    assert leaks.total(metrics, "ssegate_requests_total", code=str(told.status), method="POST") == 1


# What a client of each format reads


@dataclass
class Error:
    message: str
    code: str | None
    """None where the shape has no place for it."""


@dataclass
class Said:
    text: str = ""
    finish: str | None = None
    error: Error | None = None


def text(tokens: int) -> str:
    return "".join(pieces(tokens, 0))


def error_in(said: dict[str, Any], output: str) -> Error:
    """Read an error object in the shape of *output*, and nothing but that shape."""
    match output:
        case "native":
            assert said["type"]
            return Error(said["error"], said["code"])
        case "openai" | "same-openai":
            assert set(said["error"]) == {"message", "type", "param", "code"}
            assert said["error"]["type"]
            return Error(said["error"]["message"], said["error"]["code"])
        case "same-anthropic":
            assert said["type"] == "error"
            assert said["error"]["type"].endswith("_error")
            return Error(said["error"]["message"], None)
        case _:
            assert isinstance(said["error"], str)
            return Error(said["error"], None)


def read(body: bytes, output: str) -> Said:
    """Read a stream as strictly as its format allows: what ends it is the last event, and there is one."""
    return {
        "native": read_native,
        "openai": read_openai,
        "same-openai": read_openai,
        "same-anthropic": read_anthropic,
        "same-ollama": read_ollama,
    }[output](body)


def read_native(body: bytes) -> Said:
    said = Said()
    found = events(body)
    for at, (name, data) in enumerate(found):
        assert data["finished"] == (at == len(found) - 1)
        assert (name == "error") == ("error" in data)
        if name == "error":
            said.error = error_in(data, "native")
            assert data["type"] == "stream_error"
        elif data["finished"]:
            said.finish = data["finish_reason"]
        else:
            said.text += data["token"]
    return said


def read_openai(body: bytes) -> Said:
    said = Said()
    *found, last = events(body)
    assert last == ("", "[DONE]")
    for name, data in found:
        assert name == ""
        assert said.error is None
        if "error" in data:
            assert "choices" not in data
            said.error = error_in({"error": data["error"]}, "openai")
            continue
        for choice in data["choices"]:
            said.text += choice["delta"].get("content") or ""
            said.finish = choice["finish_reason"] or said.finish
    return said


def read_anthropic(body: bytes) -> Said:
    said, ended = Said(), False
    for name, data in events(body):
        assert name == data["type"]
        assert not ended
        match name:
            case "content_block_delta":
                said.text += data["delta"]["text"]
            case "message_delta":
                said.finish = {"end_turn": "stop"}[data["delta"]["stop_reason"]]
            case "error":
                said.error = error_in(data, "same-anthropic")
        ended = name in ("message_stop", "error")
    assert ended
    return said


def read_ollama(body: bytes) -> Said:
    said, ended = Said(), False
    for data in lines(body):
        assert not ended
        if "error" in data:
            said.error, ended = error_in(data, "same-ollama"), True
            continue
        said.text += data["message"]["content"]
        if data["done"]:
            said.finish, ended = data["done_reason"], True
    assert ended
    return said


# Faults below HTTP


async def refused(url: str, gate: Any, **settings: str) -> tuple[int, str, dict[str, float], str]:
    """Ask through a gate; return status, code, outcomes and metrics."""
    running = await gate(config(url, **settings))
    heard = await talk(running.url, PATHS["native"], {"stream": True})
    metrics = await gate.metrics(running)
    return heard.status, json.loads(heard.body)["code"], leaks.outcomes(metrics), metrics


async def test_a_refused_connection(gate: Any, simulator: Any):
    """A port where nobody listens is ``upstream_connect``, at once."""
    upstream = await simulator(Behaviour(fault="refuse"))

    status, code, outcomes, metrics = await refused(upstream.url, gate)

    assert (status, code, outcomes) == (502, "upstream_connect", {_UP: 1})
    assert leaks.total(metrics, "ssegate_upstream_errors_total", kind="connect") == 1


@pytest.mark.parametrize("alias", ["", ", models: {mine: theirs}"])
async def test_a_stream_that_failed_is_counted_under_the_model_asked_for(
    gate: Any, simulator: Any, alias: str
):
    """The upstream has named no model yet: the one it was asked for stands in log and metrics."""
    upstream = await simulator(Behaviour(fault="refuse"))
    running = await gate(
        f"""
        upstreams: {{up: {{url: "{upstream.url}"}}}}
        routes: [{{path: /*{alias}}}]
        """
    )

    await talk(running.url, "/v1/chat/completions", {"stream": True, "model": "mine"})

    metrics = await gate.metrics(running)
    assert leaks.total(metrics, "ssegate_streams_total", model="theirs" if alias else "mine") == 1


async def test_a_host_that_does_not_resolve(gate: Any):
    """A name of the domain that has none (RFC 6761) is ``upstream_dns``."""
    status, code, outcomes, metrics = await refused("http://nobody.invalid:80", gate)

    assert (status, code, outcomes) == (502, "upstream_dns", {_UP: 1})
    assert leaks.total(metrics, "ssegate_upstream_errors_total", kind="dns") == 1


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for the name ``gate.test``, with its key in one file."""
    return self_signed(tmp_path_factory.mktemp("tls") / "both.pem", "gate.test")


def serving_tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    return context


async def healthy(peer: Peer) -> None:
    while await peer.request():
        await peer.stream(sse("hello"), DONE)


@pytest.mark.parametrize("verify", ["true", "the certificate itself"])
async def test_a_certificate_that_does_not_hold(verify: str, certificate: Path, gate: Any):
    """Signed by nobody, or by somebody trusted for another name: ``upstream_tls``, and nothing was asked."""
    verify = "true" if verify == "true" else f'"{certificate}"'
    async with scripted(healthy, serving_tls(certificate)) as upstream:
        status, code, outcomes, metrics = await refused(upstream.url, gate, verify=verify)

        assert (status, code, outcomes) == (502, "upstream_tls", {_UP: 1})
        assert leaks.total(metrics, "ssegate_upstream_errors_total", kind="tls") == 1
        assert upstream.peers == []


async def test_a_certificate_that_need_not_hold(certificate: Path, gate: Any):
    """With ``verify: false`` the same upstream answers: it was the certificate and nothing else."""
    async with scripted(healthy, serving_tls(certificate)) as upstream:
        running = await gate(config(upstream.url, verify="false"))

        heard = await talk(running.url, PATHS["native"], {"stream": True})

    assert read_native(heard.body) == Said("hello", "stop")


async def test_no_tls_behind_an_https_url(gate: Any, simulator: Any):
    """Plain HTTP on the port is ``upstream_tls``; nobody falls back to plain text."""
    upstream = await simulator()

    status, code, outcomes, _ = await refused(upstream.url.replace("http:", "https:"), gate)

    assert (status, code, outcomes) == (502, "upstream_tls", {_UP: 1})
    assert not upstream.requests


# Faults of HTTP, said byte by byte


async def ask_scripted(
    said: bytes, gate: Any, path: str = PATHS["native"], **settings: str
) -> tuple[Heard, str]:
    """Have an upstream say *said* and close; return what the client hears, and the metrics."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.say(said)

    async with scripted(script) as upstream:
        running = await gate(config(upstream.url, **settings))
        heard = await talk(running.url, path, {"stream": True})
        return heard, await gate.metrics(running)


@pytest.mark.parametrize("coding", ["foo", "br2", "gzip, identity", "gzip, gzip", "x-compress"])
async def test_a_coding_nobody_can_undo(coding: str, both_ways: None, gate: Any):
    """An unknown content coding, or two of them, is no stream."""
    head = HEAD.replace(b"\r\n\r\n", f"\r\nContent-Encoding: {coding}\r\n\r\n".encode())

    heard, metrics = await ask_scripted(head + chunk(b"\x00\x01\x02") + b"0\r\n\r\n", gate)

    assert (heard.status, json.loads(heard.body)["code"]) == (502, "upstream_content_encoding")
    assert leaks.outcomes(metrics) == {_UP: 1}
    assert leaks.total(metrics, "ssegate_upstream_errors_total", kind="content_encoding") == 1


async def test_a_coding_that_is_a_lie(both_ways: None, gate: Any):
    """Plain text that says it is gzip ends in an error, not in silence."""
    head = HEAD.replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n")

    heard, metrics = await ask_scripted(head + chunk(sse("hello")) + b"0\r\n\r\n", gate)

    assert (heard.status, json.loads(heard.body)["code"]) == (502, "upstream_content_encoding")
    assert leaks.outcomes(metrics) == {_UP: 1}


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\nX-Big: " + b"a" * 70_000 + b"\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X-Many: a\r\n" * 500 + b"Content-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nno colon here\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x15\x03\x01\x00\x02\x02\x16",
    ],
    ids=["huge", "many", "both lengths", "two lengths", "no header", "http2", "tls"],
)
async def test_a_head_that_cannot_be_taken(head: bytes, gate: Any):
    """Too big, too many, contradictory or not HTTP at all: ``upstream_protocol``."""
    heard, metrics = await ask_scripted(head, gate)

    assert (heard.status, json.loads(heard.body)["code"]) == (502, "upstream_protocol")
    assert leaks.outcomes(metrics) == {_UP: 1}


async def test_a_head_of_the_size_that_real_services_send(gate: Any):
    """A header of 16 KiB (content security policies are like that) is taken."""
    head = HEAD.replace(b"\r\n\r\n", b"\r\nX-Policy: " + b"a" * 16_000 + b"\r\n\r\n")

    heard, _ = await ask_scripted(head + chunk(sse("hello")) + chunk(DONE) + b"0\r\n\r\n", gate)

    assert read_native(heard.body) == Said("hello", "stop")


async def test_interim_answers_are_no_answer(both_ways: None, gate: Any):
    """1xx heads are skipped, the real one counts."""
    interim = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 3 + b"HTTP/1.1 100 Continue\r\n\r\n"

    heard, metrics = await ask_scripted(
        interim + HEAD + chunk(sse("hello")) + chunk(DONE) + b"0\r\n\r\n", gate
    )

    assert read_native(heard.body) == Said("hello", "stop")
    assert leaks.outcomes(metrics) == {"completed": 1}


async def test_a_flood_of_interim_answers_does_not_last(gate: Any):
    """1xx for ever is no first token."""

    async def script(peer: Peer) -> None:
        await peer.request()
        while True:
            await peer.say(b"HTTP/1.1 102 Processing\r\n\r\n")
            await asyncio.sleep(0.01)

    async with scripted(script) as upstream:
        running = await gate(config(upstream.url, first_token="300ms"))
        heard = await talk(running.url, PATHS["native"], {"stream": True})
        outcomes = leaks.outcomes(await gate.metrics(running))

    assert (heard.status, json.loads(heard.body)["code"]) == (504, "first_token_timeout")
    assert outcomes == {"first_token_timeout": 1}


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (sse("hel") + sse("lo")[:20], "upstream_truncated"),
        (sse("hel") + sse("lo"), "upstream_truncated"),
        (sse("hello") + DONE, None),
        (sse("hello") + sse(finish="stop"), None),
    ],
    ids=["cut in an event", "cut between events", "whole", "whole without end mark"],
)
async def test_a_body_that_ends_with_its_connection(
    body: bytes, code: str | None, both_ways: None, gate: Any
):
    """Without a length only the content can tell whether it is whole (C7)."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"

    heard, _ = await ask_scripted(head + body, gate)

    said = read_native(heard.body)
    assert said.text == ("hel" if body.endswith(sse("lo")[:20]) else "hello")
    assert (said.error and said.error.code) == code


@pytest.mark.parametrize("when", ["at once", "body apart", "later"])
@pytest.mark.parametrize("is_chunked", [False, True], ids=["length", "chunks"])
async def test_more_bytes_than_were_announced(is_chunked: bool, when: str, both_ways: None, gate: Any):
    """What follows a body never reaches the client, and the connection is not used again (C10)."""
    body = sse("hello") + DONE
    smuggled = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 0\r\n\r\n"

    async def script(peer: Peer) -> None:
        while await peer.request():
            head, rest = HEAD, chunk(body) + b"0\r\n\r\n"
            if not is_chunked:
                head = HEAD.replace(b"Transfer-Encoding: chunked", b"Content-Length: %d" % len(body))
                rest = body
            said = {
                "at once": [head + rest + smuggled],
                "body apart": [head, rest + smuggled],
                "later": [head + rest, smuggled],
            }
            for piece in said[when]:
                await peer.say(piece)
                await asyncio.sleep(0.05)

    async with scripted(script) as upstream:
        running = await gate(config(upstream.url))
        first = await talk(running.url, PATHS["native"], {"stream": True})
        await asyncio.sleep(0.15)  # what comes later has come
        second = await talk(running.url, PATHS["native"], {"stream": True})
        connections = len(upstream.peers)

    assert read_native(first.body).text == read_native(second.body).text == "hello"
    assert b"HTTP/1.1" not in first.body + second.body
    assert connections == 2


async def test_trailers_mean_nothing(both_ways: None, gate: Any):
    """Fields after the last chunk are read and forgotten (C24)."""
    said = HEAD + chunk(sse("hello")) + chunk(DONE) + b"0\r\nX-Trailer: a\r\n\r\n"

    heard, _ = await ask_scripted(said, gate)

    assert read_native(heard.body) == Said("hello", "stop")


@pytest.mark.parametrize(
    ("fault", "code"),
    [("fin", "upstream_truncated"), ("reset", "upstream_truncated"), ("garbage", "upstream_protocol")],
)
async def test_what_came_with_the_fault_is_delivered(fault: str, code: str, both_ways: None, gate: Any):
    """Events in the very read that ends in a fault still reach the client."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.say(HEAD + chunk(sse("hel")))
        await asyncio.sleep(0.1)
        await peer.say(chunk(sse("lo")) + (b"no chunk size\r\n" if fault == "garbage" else b""))
        if fault == "reset":
            peer.reset()

    async with scripted(script) as upstream:
        running = await gate(config(upstream.url))
        heard = await talk(running.url, PATHS["native"], {"stream": True})

    said = read_native(heard.body)
    assert said.error is not None
    assert (said.text, said.error.code) == ("hello", code)


# Pooled connections


async def test_a_stale_pooled_connection_is_replaced_once(both_ways: None, gate: Any):
    """A connection that the upstream closed while idle costs nothing, for a POST too (A6)."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.stream(sse("hello"), DONE)
        if len(upstream.peers) == 1:
            await peer.request()  # the second request, then FIN: too late for the gate to have noticed
            return
        await peer.request()

    async with scripted(script) as upstream:
        running = await gate(config(upstream.url))
        heard = [await talk(running.url, PATHS["native"], {"stream": True}) for _ in range(2)]
        connections = len(upstream.peers)
        metrics = await gate.metrics(running)

    assert [read_native(one.body) for one in heard] == [Said("hello", "stop")] * 2
    assert connections == 2, "the first connection was used again, then replaced"
    assert leaks.outcomes(metrics) == {"completed": 2}
    assert leaks.total(metrics, "ssegate_upstream_errors_total") == 0


async def test_a_fresh_connection_is_not_tried_twice(gate: Any):
    """An upstream that takes a request and hangs up may have worked on it: it is asked once."""
    asked = []

    async def script(peer: Peer) -> None:
        asked.append(await peer.request())

    async with scripted(script) as upstream:
        status, code, outcomes, _ = await refused(upstream.url, gate)

    assert (status, code, outcomes) == (502, "upstream_disconnected", {_UP: 1})
    assert len(asked) == 1


async def test_the_replacement_is_not_replaced(gate: Any):
    """A stale connection is retried once, and no more."""
    asked = []

    async def script(peer: Peer) -> None:
        asked.append(await peer.request())
        if len(upstream.peers) == 1:
            await peer.stream(sse("hello"), DONE)
            asked.append(await peer.request())

    async with scripted(script) as upstream:
        running = await gate(config(upstream.url))
        first = await talk(running.url, PATHS["native"], {"stream": True})
        second = await talk(running.url, PATHS["native"], {"stream": True})

    assert read_native(first.body) == Said("hello", "stop")
    assert (second.status, json.loads(second.body)["code"]) == (502, "upstream_disconnected")
    assert len(asked) == 3


async def test_half_an_answer_is_not_asked_for_again(gate: Any):
    """Once a byte of an answer has come over a pooled connection, there is no second try."""
    asked = []

    async def script(peer: Peer) -> None:
        asked.append(await peer.request())
        await peer.stream(sse("hello"), DONE)
        asked.append(await peer.request())
        await peer.say(HEAD[:30])

    async with scripted(script) as upstream:
        running = await gate(config(upstream.url))
        await talk(running.url, PATHS["native"], {"stream": True})
        second = await talk(running.url, PATHS["native"], {"stream": True})

    assert second.status == 502
    assert len(asked) == 2


async def test_a_get_is_tried_twice_and_no_more(gate: Any):
    """The HTTP client's own second try of a GET is not added to ours."""
    asked = []

    async def script(peer: Peer) -> None:
        asked.append(await peer.request())
        if len(upstream.peers) == 1:
            await peer.stream(sse("hello"), DONE)
            asked.append(await peer.request())

    async with scripted(script) as upstream:
        running = await gate(config(upstream.url))
        await talk(running.url, PATHS["openai"], {"stream": True})
        heard = await talk(running.url, "/openai/v1/models", {}, method="GET")

    assert heard.status == 502
    assert len(asked) == 3


async def test_a_good_connection_is_used_again(both_ways: None, gate: Any, simulator: Any):
    """Ten streams that end well need one connection to their upstream."""
    ports = []

    async def script(peer: Peer) -> None:
        while await peer.request():
            ports.append(peer)
            await peer.stream(sse("hello"), DONE)

    async with scripted(script) as upstream:
        running = await gate(config(upstream.url))
        async with calling(running.url) as client:
            for _ in range(10):
                client.ask(PATHS["native"])
                await client.until(b"0\r\n\r\n")
                await asyncio.sleep(0.06)  # what an upstream may take to end its body
        connections = len(upstream.peers)

    assert (len(ports), connections) == (10, 1)


@pytest.mark.parametrize("fault", ["stall", "bad_json", "error_event", "eof"])
async def test_a_connection_with_a_fault_is_not_used_again(fault: str, both_ways: None, gate: Any):
    """After a failed stream the upstream sees its connection closed, promptly."""
    left: list[float] = []
    said = {
        "stall": (chunk(sse("hello")), "idle_timeout"),
        "bad_json": (chunk(sse("hello") + b"data: {\n\n"), "upstream_bad_event"),
        "error_event": (chunk(sse("hello") + b'data: {"error":{"message":"no"}}\n\n'), "upstream_error"),
        "eof": (chunk(sse("hello")) + b"0\r\n\r\n", "upstream_truncated"),
    }[fault]

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.say(HEAD + said[0])
        left.append(await peer.left())

    async with scripted(script) as upstream:
        running = await gate(config(upstream.url, idle="400ms"))
        heard = await talk(running.url, PATHS["native"], {"stream": True})
        ended = asyncio.get_running_loop().time()
        if fault != "eof":  # its body was whole as far as HTTP can tell
            await until(lambda: left)
            assert left[0] - ended < 0.5

    error = read_native(heard.body).error
    assert error is not None
    assert error.code == said[1]


# Sizes


@pytest.mark.parametrize("output", ["native", "openai", "same-openai"])
async def test_an_event_without_end_is_bounded(output: str, both_ways: None, gate: Any):
    """A line that never ends is given up at ``max_event``, not when memory is full (C15)."""
    sent = []

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.say(HEAD + chunk(sse("hello")))
        await peer.say(chunk(b'data: {"id":"'))
        try:
            while True:
                await peer.say(chunk(b"a" * 16_384))
        finally:
            sent.append(peer.sent)

    async with scripted(script) as upstream:
        running = await gate(config(upstream.url))
        heard = await talk(running.url, PATHS[output], {"stream": True})
        await until(lambda: sent)

    said = read(heard.body, output)
    assert said.text == "hello"
    assert said.error is not None
    assert said.error.code == "event_too_large"


async def test_a_stream_without_end_is_bounded(both_ways: None, gate: Any, simulator: Any):
    """``max_stream`` ends it with ``stream_too_large``; what came before is delivered."""
    upstream = await simulator(Behaviour(fault="infinite"))
    running = await gate(config(upstream.url, more="max_stream: 50000"))

    heard = await talk(running.url, PATHS["native"], {"stream": True})

    said = read_native(heard.body)
    assert said.error is not None
    assert said.error.code == "stream_too_large"
    assert text(1000).startswith(said.text)
    assert len(said.text) > 100
    assert leaks.outcomes(await gate.metrics(running)) == {"too_large": 1}


async def test_a_bomb_is_counted_as_what_it_becomes(both_ways: None, gate: Any):
    """Limits hold for decoded bytes: 64 MiB in 65 kB are too many (C20)."""
    filler = sse("a" * 1000) * 66_000
    bomb = gzip.compress(filler, 9)
    assert len(bomb) < 1 << 20
    head = HEAD.replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n")

    heard, metrics = await ask_scripted(
        head + chunk(bomb) + b"0\r\n\r\n", gate, more="max_stream: 2MiB\n  batch: off"
    )

    said = read_native(heard.body)
    assert said.error is not None
    assert said.error.code == "stream_too_large"
    assert len(said.text) < 4 << 20
    assert leaks.outcomes(metrics) == {"too_large": 1}


async def test_a_compressed_event_is_bounded_too(both_ways: None, gate: Any):
    """One decoded event of 64 MiB is ``event_too_large``."""
    bomb = gzip.compress(sse("hello") + b"data: " + b"a" * (64 << 20), 9)
    head = HEAD.replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n")

    heard, metrics = await ask_scripted(head + chunk(bomb) + b"0\r\n\r\n", gate)

    said = read_native(heard.body)
    assert said.error is not None
    assert (said.text, said.error.code) == ("hello", "event_too_large")
    assert leaks.outcomes(metrics) == {"too_large": 1}


async def test_ten_thousand_events_in_one_read(both_ways: None, gate: Any):
    """A burst is delivered whole and in order (C16)."""
    body = b"".join(sse(f"{n} ") for n in range(10_000)) + DONE

    heard, _ = await ask_scripted(HEAD + chunk(body) + b"0\r\n\r\n", gate)

    assert read_native(heard.body) == Said("".join(f"{n} " for n in range(10_000)), "stop")


async def test_much_out_of_little(both_ways: None, gate: Any):
    """An answer that unfolds to twenty times what one read brings is delivered whole and in order."""
    body = b"".join(sse(f"{n} ") for n in range(10_000)) + DONE
    head = HEAD.replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n")

    heard, _ = await ask_scripted(head + chunk(gzip.compress(body)) + b"0\r\n\r\n", gate)

    assert read_native(heard.body) == Said("".join(f"{n} " for n in range(10_000)), "stop")


@pytest.mark.parametrize("noise", [b"\n" * 500_000, b":\n\n" * 200_000], ids=["blank lines", "comments"])
async def test_a_flood_of_nothing(noise: bytes, both_ways: None, gate: Any):
    """Blank lines and comments make no event and no delay (C16)."""
    said = HEAD + chunk(sse("hel")) + chunk(noise) + chunk(sse("lo") + DONE) + b"0\r\n\r\n"

    heard, _ = await ask_scripted(said, gate)

    assert read_native(heard.body) == Said("hello", "stop")


# The end mark


@pytest.mark.parametrize("output", ["native", "openai", "same-openai", "same-anthropic", "same-ollama"])
async def test_the_end_mark_ends_the_stream_at_once(output: str, both_ways: None, gate: Any, simulator: Any):
    """An upstream that stays open after its end mark holds nobody up, and is left (C12)."""
    upstream = await simulator(Behaviour(tokens=TOKENS, fault="hang_after_done"))
    running = await gate(config(upstream.url))
    async with calling(running.url) as client:
        client.ask(PATHS[output])

        await client.until(b"\r\n0\r\n\r\n")  # long before any time limit

        await until(lambda: upstream.gone == 1)
        client.ask(PATHS[output], X_Simulate="fault=none")  # and the client's connection stays usable
        await client.until(b"\r\n0\r\n\r\n")
    assert leaks.outcomes(await gate.metrics(running)) == {"completed": 2}


async def test_what_follows_the_end_mark_is_dropped(both_ways: None, gate: Any):
    """In the same read or later, an event after ``[DONE]`` reaches nobody (C13)."""
    error = b'data: {"error":{"message":"late"}}\n\n'

    heard, metrics = await ask_scripted(
        HEAD + chunk(sse("hello") + DONE + sse(" more") + error) + chunk(error) + b"0\r\n\r\n", gate
    )

    assert read_native(heard.body) == Said("hello", "stop")
    assert leaks.outcomes(metrics) == {"completed": 1}


# Errors as events, for clients that see no status


@pytest.mark.parametrize("fault", ["429", "close", "silence", "html_200"])
async def test_an_event_source_gets_its_error_as_an_event(fault: str, gate: Any, simulator: Any):
    """A GET that accepts an event stream gets a 200 with one error event (``errors: auto``)."""
    upstream = await simulator(Behaviour(fault=fault))
    running = await gate(
        f"""
        upstreams: {{up: {{url: "{upstream.url}"}}}}
        routes:
          - path: /chat
            upstream_path: /v1/chat/completions
            timeouts: {{first_token: 800ms}}
            from_prompt: {{body: {{messages: [{{role: user, content: "{{prompt}}"}}]}}}}
        """
    )
    async with calling(running.url) as client:
        client.ask("/chat?prompt=hello", method="GET", Accept="text/event-stream", Connection="close")
        heard = Heard(await client.rest(), "fin")

    told = TABLE[fault]
    assert heard.status == 200
    assert heard.header("content-type") == "text/event-stream; charset=utf-8"
    blocks = heard.body.decode().split("\n\n")
    assert sum("data:" in block for block in blocks) == 1
    event = next(block for block in blocks if "data:" in block).split("\n")
    assert "event: error" in event
    data = json.loads(next(line for line in event if line.startswith("data: ")).removeprefix("data: "))
    assert (data["code"], data["finished"]) == (told.code, True)
    assert leaks.outcomes(await gate.metrics(running)) == {told.outcome: 1}


async def test_other_streams_do_not_feel_a_fault(gate: Any, simulator: Any):
    """While every fault happens to others, a healthy stream arrives whole."""
    upstream = await simulator(Behaviour(tokens=40))
    running = await gate(config(upstream.url, total="4s", first_token="2s"))
    healthy = asyncio.create_task(
        talk(running.url, PATHS["native"], {"stream": True}, X_Simulate="rate=40; fault=none")
    )

    await asyncio.gather(
        *(
            talk(running.url, PATHS["native"], {"stream": True}, X_Simulate=f"fault={fault}; rate=500")
            for fault in FAULTS
        )
    )

    assert read_native((await healthy).body) == Said(text(40), "stop")


def test_loopback_only() -> None:
    """The name used for a host that does not resolve really does not, without asking the network."""
    with pytest.raises(socket.gaierror):
        socket.getaddrinfo("nobody.invalid", 80)
