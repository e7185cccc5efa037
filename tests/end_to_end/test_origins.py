"""The Origin rule and CORS: which web pages may use the gate, and what they may read."""

from __future__ import annotations

from textwrap import dedent
from typing import Any

import pytest
from aiohttp import web

from ssegate.simulate import Behaviour

from .asking import Answer, ask, connected, serving

CHAT = "/v1/chat/completions"
PAGE = "https://app.example.com"
FOREIGN = "https://evil.example"
EXPOSED = {
    "x-stream-id",
    "retry-after",
    *(
        f"x-ratelimit-{part}-{what}"
        for part in ("limit", "remaining", "reset")
        for what in ("requests", "tokens")
    ),
}


def config(url: str, origins: str = f"[{PAGE}, 'http://localhost:3000']") -> str:
    return f"""
        cors: {{origins: {origins}}}
        upstreams: {{up: {{url: "{url}"}}}}
        routes:
          - {{path: {CHAT}}}
          - {{path: /mixed, methods: [GET, PUT]}}
          - {{path: /v1/*}}
        """


def words(answer: Answer, name: str) -> set[str]:
    """Return the words of a header that is a list."""
    return {word.strip().lower() for word in (answer.header(name) or "").split(",")}


def is_readable(answer: Answer, origin: str = PAGE) -> bool:
    """Tell whether a browser would show *answer* to a page of *origin*, with all that it may need."""
    allowed = answer.header("Access-Control-Allow-Origin") in (origin, "*")
    return allowed and words(answer, "Access-Control-Expose-Headers") >= EXPOSED


@pytest.mark.parametrize(
    ("host", "headers", "status"),
    [
        ("gate.test", {}, 200),
        ("localhost", {"Origin": "http://localhost"}, 200),
        ("localhost", {"Origin": "https://localhost"}, 200),  # a proxy in front may have taken TLS off
        ("localhost:80", {"Origin": "http://localhost"}, 200),
        ("app.example.com", {"User-Agent": "Mozilla/5.0"}, 200),
        ("localhost:8080", {"Origin": "http://localhost:8080"}, 200),
        ("[::1]:8080", {"Origin": "http://[::1]:8080"}, 200),
        ("gate.test", {"Origin": PAGE}, 200),
        ("gate.test", {"Origin": "http://localhost:3000"}, 200),
        ("gate.test", {"Origin": PAGE, "Sec-Fetch-Site": "cross-site"}, 200),
        ("localhost", {"Sec-Fetch-Site": "same-origin"}, 200),
        ("localhost", {"Sec-Fetch-Site": "same-site"}, 200),
        ("localhost", {"Sec-Fetch-Site": "none"}, 200),
        ("gate.test", {"Origin": FOREIGN}, 403),
        ("gate.test", {"Origin": "null"}, 403),
        ("gate.test", {"Origin": "http://gate.test:81"}, 403),
        ("gate.test", {"Origin": "http://gate.test.evil.example"}, 403),
        ("gate.test", {"Origin": "http://sub.gate.test"}, 403),
        ("gate.test", {"Origin": "http://app.example.com"}, 403),  # not https
        ("gate.test", {"Origin": PAGE + ".evil.example"}, 403),
        ("gate.test", {"Origin": PAGE + "/"}, 403),
        ("gate.test", {"Origin": ""}, 403),
        ("gate.test", {"Origin": "http://[bad"}, 403),
        ("localhost:8080", {"Origin": "http://localhost:9090"}, 403),
        ("127.0.0.1:8080", {"Origin": "http://localhost:8080"}, 403),
        ("gate.test", {"Sec-Fetch-Site": "cross-site"}, 403),
        ("gate.test", {"Sec-Fetch-Site": "cross-site", "Origin": FOREIGN}, 403),
        ("gate.test", {"Origin": "http://gate.test"}, 403),  # its name may have been led here (DNS rebinding)
        ("gate.test", {"User-Agent": "Mozilla/5.0"}, 403),
    ],
)
async def test_who_may_ask(gate: Any, simulator: Any, host: str, headers: dict[str, str], status: int):
    """Programs, our own pages and those of ``cors.origins`` may; a page from elsewhere asks no upstream."""
    upstream = await simulator(Behaviour(tokens=2))
    running = await gate(config(upstream.url))

    answer = await ask(running.url, CHAT, {"stream": True}, headers={"Host": host} | headers)

    assert answer.status == status
    assert len(upstream.requests) == (status == 200)
    if status == 403:
        assert answer.json["error"]["code"] == "forbidden_origin"
        assert answer.json["error"]["type"] == "permission_error"


async def test_a_trusted_proxy_may_pass_its_own_name_on(gate: Any, simulator: Any):
    """Behind a proxy on this machine the pages of its host are ours, once the operator trusts it."""
    upstream = await simulator(Behaviour(tokens=2))
    running = await gate("trusted_proxies: [127.0.0.0/8]\n" + dedent(config(upstream.url)))

    page = {"Host": "gate.test", "Origin": "http://gate.test"}
    answer = await ask(running.url, CHAT, {"stream": True}, headers=page)

    assert answer.status == 200


async def test_a_refused_page_sees_the_status(gate: Any, simulator: Any):
    """EventSource is told nothing in a stream: the page is not to be served at all."""
    upstream = await simulator(Behaviour(tokens=2))
    running = await gate(
        f"""
        upstreams: {{up: {{url: "{upstream.url}"}}}}
        routes: [{{path: /chat, errors: stream, from_prompt: {{body: {{model: m, prompt: "{{prompt}}"}}}}}}]
        """
    )
    page = {"Origin": FOREIGN, "Accept": "text/event-stream"}

    answer = await ask(running.url, "/chat?prompt=x", method="GET", headers=page)

    assert answer.status == 403
    assert answer.json["code"] == "forbidden_origin"
    assert not upstream.requests


async def test_nobody_is_allowed_unless_named(gate: Any, simulator: Any):
    """Without ``cors.origins`` no page but the gate's own may ask, and none is told that it may."""
    upstream = await simulator()
    running = await gate(config(upstream.url, "[]"))

    answer = await ask(running.url, CHAT, {"stream": True}, headers={"Origin": PAGE})

    assert answer.status == 403
    assert not [name for name in answer.headers if name.lower().startswith("access-control-allow")]
    assert not upstream.requests


async def test_everybody_may_be_allowed(gate: Any, simulator: Any):
    """``*`` allows every page."""
    upstream = await simulator(Behaviour(tokens=2))
    running = await gate(config(upstream.url, "['*']"))

    answer = await ask(running.url, CHAT, {"stream": True}, headers={"Origin": FOREIGN})

    assert answer.status == 200
    assert is_readable(answer, FOREIGN)


async def test_an_allowed_page_can_read_every_answer(gate: Any, simulator: Any):
    """Streams, passed answers, refusals of ours and errors of the upstream: the page may read them all."""
    upstream = await simulator(Behaviour(tokens=2))
    running = await gate(config(upstream.url))
    page = {"Origin": PAGE}

    async def asked(path: str, body: Any, method: str = "POST", **headers: str) -> Answer:
        fields = page | {name.replace("_", "-"): value for name, value in headers.items()}
        return await ask(running.url, path, body, method=method, headers=fields)

    answers = {
        "stream": await asked(CHAT, {"stream": True}),
        "passed": await asked(CHAT, {"stream": False}),
        "models": await asked("/v1/models", None, "GET"),
        "bad json": await asked(CHAT, b"{", Content_Type="application/json"),
        "bad id": await asked(CHAT, {"stream": True}, X_Stream_ID="short"),
        "no method": await asked(CHAT, None, "GET"),
        "no route": await asked("/nowhere", {}),
        "429": await asked(CHAT, {"stream": True}, X_Simulate="fault=429"),
        "502": await asked(CHAT, {"stream": True}, X_Simulate="fault=close"),
        "502 passed": await asked(CHAT, {}, X_Simulate="fault=close"),
    }

    assert {name: answer.status for name, answer in answers.items()} == {
        "stream": 200,
        "passed": 200,
        "models": 200,
        "bad json": 400,
        "bad id": 400,
        "no method": 405,
        "no route": 404,
        "429": 429,
        "502": 502,
        "502 passed": 502,
    }
    assert [name for name, answer in answers.items() if not is_readable(answer)] == []
    assert all("origin" in words(answer, "Vary") for answer in answers.values())


async def test_an_upstreams_own_cors_does_not_double_ours(gate: Any):
    """A browser refuses two ``Access-Control-Allow-Origin``: where the gate decides, the upstream's go."""

    async def generous(request: web.BaseRequest) -> web.Response:
        headers = {
            "Access-Control-Allow-Origin": "*",
            "Access-Control-Expose-Headers": "X-Theirs",
            "Access-Control-Allow-Credentials": "true",
            "Vary": "Accept",
        }
        return web.Response(text="ok", headers=headers)

    async with serving(generous) as upstream:
        running = await gate(config(upstream.url))
        ours = await ask(running.url, "/v1/models", method="GET", headers={"Origin": PAGE})
        theirs = await ask(running.url, "/v1/models", method="GET")

    assert is_readable(ours)
    assert ours.header("Access-Control-Allow-Origin") == PAGE
    assert "Access-Control-Allow-Credentials" not in ours.headers
    assert {"accept", "origin"} <= {
        word for line in ours.headers.getall("Vary") for word in line.lower().split(", ")
    }
    assert theirs.header("Access-Control-Allow-Origin") == "*"


# Preflights


def preflight(origin: str = PAGE, method: str = "POST") -> dict[str, str]:
    return {
        "Origin": origin,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": "authorization,content-type,last-event-id,x-stream-id",
        "Sec-Fetch-Site": "cross-site",
    }


@pytest.mark.parametrize(
    ("path", "methods"),
    [(CHAT, {"POST"}), ("/mixed", {"GET", "PUT"}), ("/v1/files", {"GET", "POST", "PUT", "PATCH"})],
)
async def test_a_preflight_is_answered_by_the_gate(gate: Any, simulator: Any, path: str, methods: set[str]):
    """The browser learns what the route takes and which headers may come; no upstream is asked."""
    upstream = await simulator()
    running = await gate(config(upstream.url))

    answer = await ask(running.url, path, method="OPTIONS", headers=preflight())

    assert (answer.status, answer.body) == (204, b"")
    assert answer.header("Access-Control-Allow-Origin") == PAGE
    assert words(answer, "Access-Control-Allow-Methods") >= {
        method.lower() for method in methods | {"DELETE"}
    }
    wanted = {"authorization", "content-type", "last-event-id", "x-stream-id"}
    assert words(answer, "Access-Control-Allow-Headers") >= wanted
    assert not upstream.requests


async def test_a_preflight_from_elsewhere_is_refused(gate: Any, simulator: Any):
    """A page that may not ask is not told that it may."""
    upstream = await simulator()
    running = await gate(config(upstream.url))

    answer = await ask(running.url, CHAT, method="OPTIONS", headers=preflight(FOREIGN))

    assert answer.status == 403
    assert "Access-Control-Allow-Origin" not in answer.headers
    assert not upstream.requests


async def test_a_preflight_comes_before_everything(gate: Any, simulator: Any):
    """Even a gate that drains answers preflights: the page must be able to read the 503 that follows."""
    upstream = await simulator()
    running = await gate(config(upstream.url))
    running.begin_drain()

    first = await ask(running.url, CHAT, method="OPTIONS", headers=preflight())
    then = await ask(running.url, CHAT, {"stream": True}, headers={"Origin": PAGE})

    assert first.status == 204
    assert (then.status, then.json["error"]["code"]) == (503, "draining")
    assert (then.header("Retry-After"), then.header("Connection")) == ("1", "close")
    assert is_readable(then)


async def test_options_and_head_have_no_body(gate: Any, simulator: Any):
    """Whatever they are answered with, no byte of a body follows, and the connection stays usable."""
    upstream = await simulator(Behaviour(tokens=3))
    running = await gate(config(upstream.url))

    async with connected(running.url) as connection:
        answers = []
        for method in ("OPTIONS", "HEAD"):
            for path in (CHAT, "/nowhere", "/v1/models", "/health", "/mixed"):
                connection.send(path, method=method)
                # Read as if no body could follow: a byte too many would garble the next answer.
                answers.append((method, path, await connection.answer("HEAD")))
        after = await connection.ask("/v1/models", method="GET")

    assert {(method, path): answer.status for method, path, answer in answers} == {
        ("OPTIONS", CHAT): 204,
        ("OPTIONS", "/nowhere"): 404,
        ("OPTIONS", "/v1/models"): 204,
        ("OPTIONS", "/health"): 404,
        ("OPTIONS", "/mixed"): 204,
        ("HEAD", CHAT): 405,
        ("HEAD", "/nowhere"): 404,
        ("HEAD", "/v1/models"): 200,
        ("HEAD", "/health"): 200,
        ("HEAD", "/mixed"): 405,
    }
    assert after.json["object"] == "list"


async def test_options_tells_the_methods(gate: Any, simulator: Any):
    """A plain OPTIONS says in ``Allow`` what the route takes."""
    upstream = await simulator()
    running = await gate(config(upstream.url))

    answer = await ask(running.url, "/mixed", method="OPTIONS")

    assert (answer.status, answer.body) == (204, b"")
    assert words(answer, "Allow") >= {"get", "put"}
    assert not upstream.requests
