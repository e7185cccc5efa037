"""Headers on their way up and back: what passes, what does not, and whose credential goes out."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiohttp import web
from multidict import CIMultiDict

from .asking import Answer, Served, answering, ask, everything_to, serving

CHAT = "/v1/chat/completions"
STREAM = (
    b'data: {"choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
)
KEY = "sk-of-the-gate-0123456789"
THEIRS = "sk-of-the-caller-987654321"


class Asker:
    """Sends one request through a gate to an upstream of its own, wanting a stream or not."""

    def __init__(self, gate: Any, wanted: bool) -> None:
        self._gate, self._wanted = gate, wanted

    async def __call__(
        self, headers: Any = (), *, settings: str = "", path: str = CHAT, **reply: str
    ) -> tuple[Served, Answer]:
        """
        Return the request as the upstream saw it, and the answer as the client did.

        Args:
            settings: YAML of the upstream, after its url.
            reply: Headers of the upstream's answer, ``_`` for ``-``.
        """
        fields = {name.replace("_", "-"): value for name, value in reply.items()}

        async def handler(request: web.BaseRequest) -> web.Response:
            return web.Response(body=STREAM, headers={"Content-Type": "text/event-stream"} | fields)

        async with serving(handler) as upstream:
            gate = await self._gate(
                f"""
                upstreams: {{up: {{url: "{upstream.url}"{settings}}}}}
                routes: [{{path: /*, output: native}}]
                """
            )
            answer = await ask(gate.url, path, {"stream": self._wanted}, headers=headers)
        assert answer.status == 200
        assert ("X-Stream-ID" in answer.headers) is self._wanted
        return upstream.requests[0], answer


@pytest.fixture(params=[True, False], ids=["stream", "passed"])
def through(request: pytest.FixtureRequest, gate: Any) -> Asker:
    return Asker(gate, request.param)


# Up


async def test_end_to_end_headers_pass(through: Asker):
    """What the gate does not know passes, repeated headers in their order, traces and versions too."""
    sent = [
        ("X-Own", "one"),
        ("X-Own", "two, three"),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ("tracestate", "a=b"),
        ("anthropic-version", "2023-06-01"),
        ("OpenAI-Beta", "assistants=v2"),
        ("User-Agent", "curl/8"),
        ("Accept", "text/event-stream"),
        ("Accept-Language", "de"),
        ("Idempotency-Key", "k"),
        ("X-Request-ID", "mine"),
    ]

    seen, _ = await through(sent)

    passed = CIMultiDict(sent)
    for name in passed:
        assert seen.headers.getall(name) == passed.getall(name)


async def test_nothing_is_invented(through: Asker):
    """A bare request stays one: no user agent, no accepted types of ours."""
    seen, _ = await through({}, settings=", forward_client: false")

    assert set(map(str.lower, seen.headers)) == {"host", "content-type", "content-length", "accept-encoding"}


async def test_the_host_is_the_upstreams(through: Asker):
    """The upstream is asked under its own name, not under the gate's."""
    seen, _ = await through({"Host": "gate.example"})

    assert seen.headers["Host"].startswith("127.0.0.1:")


@pytest.mark.parametrize(
    "name",
    [
        "Keep-Alive",
        "Proxy-Authorization",
        "Proxy-Connection",
        "TE",
        "Trailer",
        "Upgrade",
        "Proxy-Authenticate",
    ],
)
async def test_hop_by_hop_headers_stay(through: Asker, name: str):
    """Headers about this connection do not go over the next one."""
    seen, _ = await through({name: "x"})

    assert name not in seen.headers


async def test_headers_named_in_connection_stay(through: Asker):
    """What ``Connection`` names is about this connection; a key that it names is not taken away by it."""
    sent = [("Connection", "keep-alive, X-Foo"), ("X-Foo", "1"), ("X-Bar", "2"), ("x-api-key", THEIRS)]

    seen, _ = await through([*sent, ("Connection", "x-BAR,x-api-key")])

    assert not {"X-Foo", "X-Bar"} & set(seen.headers)
    assert "x-foo" not in seen.headers.get("Connection", "").lower()
    assert seen.headers["x-api-key"] == THEIRS


async def test_names_with_underscores_stay(through: Asker):
    """``X_Api_Key`` becomes ``X-Api-Key`` in many a server: such names do not pass."""
    seen, _ = await through({"X_Forwarded_For": "1.2.3.4", "x_api_key": "k", "X-Fine": "1"})

    assert not [name for name in seen.headers if "_" in name]
    assert seen.headers["X-Fine"] == "1"


async def test_codings_are_not_asked_for(through: Asker):
    """The upstream is asked for plain bytes, whatever the client can read."""
    seen, _ = await through({"Accept-Encoding": "gzip, br, zstd"})

    assert seen.headers.getall("Accept-Encoding") == ["identity"]


@pytest.mark.parametrize("wanted", [True, False])
async def test_headers_of_a_stream_stay_where_there_is_one(gate: Any, wanted: bool):
    """The stream's id and the last event's are between client and gate; without a stream they pass."""
    sent = {"X-Stream-ID": "0123456789abcdef012345", "Last-Event-ID": "7"}

    seen, _ = await Asker(gate, wanted)(sent)

    assert {name: seen.headers[name] for name in sent if name in seen.headers} == ({} if wanted else sent)


async def test_a_feed_that_is_resumed_elsewhere(gate: Any):
    """An upstream's own event stream, asked for without ``stream=true``, hears where its reader was."""
    body = b"id: 8\ndata: next\n\n"
    async with serving(answering(body=body, headers={"Content-Type": "text/event-stream"})) as upstream:
        running = await gate(everything_to(upstream.url))
        answer = await ask(
            running.url, "/feed?stream_id=f&last=7", method="GET", headers={"Last-Event-ID": "7"}
        )

    [request] = upstream.requests
    assert (answer.status, answer.body) == (200, body)
    assert (request.headers["Last-Event-ID"], request.target) == ("7", "/feed?stream_id=f&last=7")


FIVE = [
    ("Authorization", "Bearer " + THEIRS),
    ("x-api-key", THEIRS),
    ("x-goog-api-key", THEIRS),
    ("api-key", THEIRS),
]


@pytest.mark.parametrize("header", ["Authorization", "x-api-key", "api-key", "x-goog-api-key"])
async def test_the_callers_credential_does_not_meet_the_gates(through: Asker, header: str):
    """Where the gate holds a credential, the caller's is removed from all five places."""
    seen, _ = await through(
        FIVE, settings=f', headers: {{{header}: "{KEY}"}}', path=f"{CHAT}?a=1&key={THEIRS}&b=2"
    )

    assert seen.headers.getall(header) == [KEY]
    assert THEIRS not in str(seen.headers) + seen.target
    assert seen.target == f"{CHAT}?a=1&b=2"


async def test_the_callers_credential_passes_otherwise(through: Asker):
    """A gate without a credential passes the caller's, wherever it stands."""
    seen, _ = await through(FIVE, settings=", headers: {X-Team: a}", path=f"{CHAT}?key={THEIRS}")

    assert {name: seen.headers[name] for name, _ in FIVE} == dict(FIVE)
    assert seen.target == f"{CHAT}?key={THEIRS}"
    assert seen.headers["X-Team"] == "a"


async def test_the_upstreams_own_headers_win(through: Asker):
    """A header of the config replaces the client's of that name, however it is written."""
    seen, _ = await through([("x-team", "theirs"), ("X-TEAM", "again")], settings=", headers: {X-Team: ours}")

    assert seen.headers.getall("X-Team") == ["ours"]


OF_THE_CLIENT = {"Cookie": "session=1", "Origin": "http://localhost", "Referer": "http://localhost/page"}
OUR_HOST = {"Host": "localhost"}
OFF = [", forward_client: false", f', headers: {{Authorization: "Bearer {KEY}"}}']
ON = ["", ", forward_client: true", f', forward_client: true, headers: {{Authorization: "Bearer {KEY}"}}']


@pytest.mark.parametrize("settings", OFF)
async def test_the_clients_own_affairs_stay(through: Asker, settings: str):
    """Where the gate holds a credential, upstream and browser learn nothing of each other."""
    sent = OF_THE_CLIENT | {
        "X-Forwarded-For": "1.1.1.1",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "h",
    }

    seen, answer = await through(
        sent | OUR_HOST | {"Forwarded": "for=1.1.1.1", "X-Real-IP": "1.1.1.1"},
        settings=settings,
        Set_Cookie="a=b",
        Strict_Transport_Security="max-age=9",
        Alt_Svc="h3",
        Content_Security_Policy="default-src",
    )

    assert not set(map(str.lower, seen.headers)) & set(map(str.lower, [*sent, "Forwarded", "X-Real-IP"]))
    gone = ("Set-Cookie", "Strict-Transport-Security", "Alt-Svc", "Content-Security-Policy")
    assert not [name for name in gone if name in answer.headers]


@pytest.mark.parametrize("settings", ON)
async def test_the_clients_own_affairs_pass(through: Asker, settings: str):
    """Without a credential of its own the gate is a plain proxy, and says who asked."""
    seen, answer = await through(
        OF_THE_CLIENT | OUR_HOST, settings=settings, Set_Cookie="a=b", Strict_Transport_Security="max-age=9"
    )

    assert {name: seen.headers[name] for name in OF_THE_CLIENT} == OF_THE_CLIENT
    assert seen.headers["X-Forwarded-For"] == "127.0.0.1"
    assert seen.headers["X-Forwarded-Proto"] == "http"
    assert seen.headers["X-Forwarded-Host"] == "localhost"
    if "X-Stream-ID" not in answer.headers:  # a stream gets nothing of the upstream's but id and limits
        assert (answer.header("Set-Cookie"), answer.header("Strict-Transport-Security")) == (
            "a=b",
            "max-age=9",
        )


async def test_bytes_beyond_ascii_in_a_header(through: Asker):
    """A header value in Latin-1 is no reason to fail."""
    seen, _ = await through({"X-Fine": "1", "X-Name": "caf\xe9"})

    assert seen.headers["X-Fine"] == "1"


# Back


async def raw_upstream(reply: bytes) -> tuple[asyncio.Server, str]:
    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(reply)
        await writer.drain()
        await reader.read()
        writer.close()

    server = await asyncio.start_server(say, "127.0.0.1", 0)
    return server, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_hop_by_hop_headers_do_not_come_back(gate: Any):
    """What the upstream says of its own connection is not said to the client."""
    reply = (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\nKeep-Alive: timeout=9\r\n"
        b"Connection: keep-alive, X-Foo\r\nX-Foo: 1\r\nX-Bar: 2\r\nProxy-Authenticate: Basic\r\n"
        b"Set-Cookie: a=b\r\nSet-Cookie: c=d\r\nUpgrade: h2c\r\n\r\nok"
    )
    server, url = await raw_upstream(reply)
    async with server:
        running = await gate(f'upstreams: {{up: {{url: "{url}"}}}}\nroutes: [{{path: /*}}]')
        answer = await ask(running.url, "/x", method="GET")

    assert answer.body == b"ok"
    assert not {"Keep-Alive", "X-Foo", "Proxy-Authenticate", "Upgrade"} & set(answer.headers)
    assert "x-foo" not in answer.headers.get("Connection", "").lower()
    assert answer.header("X-Bar") == "2"
    assert answer.headers.getall("Set-Cookie") == ["a=b", "c=d"]
    assert len(answer.headers.getall("Content-Length")) == 1


async def test_the_request_id_of_an_answer_that_passes(gate: Any):
    """The upstream's id is kept; without one the answer gets ours, for the log."""
    for given in ("req_1", None):
        line = f"X-Request-ID: {given}\r\n" if given else ""
        server, url = await raw_upstream(f"HTTP/1.1 200 OK\r\n{line}Content-Length: 2\r\n\r\nok".encode())
        async with server:
            running = await gate(f'upstreams: {{up: {{url: "{url}"}}}}\nroutes: [{{path: /*}}]')
            answer = await ask(running.url, "/x", method="GET")

        assert answer.header("X-Request-ID") == given if given else answer.header("X-Request-ID")
