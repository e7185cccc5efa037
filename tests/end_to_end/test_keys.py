"""Keys: who is let in, by which of five places, to which paths, and what becomes of the key."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from aiohttp import web
from click.testing import CliRunner

from ssegate.cli import main

from .asking import CHAT, STREAM, answering, ask, code_of, error_of, serving
from .logbook import Log

KEY, OPS = "ssk_0123456789abcdefghijklmnopqrstuvwxyz", "ssk_operators_key_operators_key_oper"
BODY = {"model": "m", "stream": True, "messages": []}
TEXT = {"content_type": "text/event-stream", "body": STREAM}


def digest(key: str) -> str:
    return "sha256:" + hashlib.sha256(key.encode()).hexdigest()


def config(url: str, more: str = "", headers: str = "") -> str:
    return f"""
        keys:
          - {{name: web, hash: "{digest(KEY)}"}}
          - {{name: ops, value: "${{OPS_KEY}}", routes: [/v1/models, /v1/chat/*]}}
        {more}
        upstreams: {{up: {{url: "{url}"{headers}}}}}
        routes: [{{path: /*}}]
        """


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


@pytest.mark.parametrize(
    ("headers", "query"),
    [
        (bearer(KEY), ""),
        ({"authorization": f"bearer {KEY}"}, ""),
        ({"x-api-key": KEY}, ""),
        ({"x-goog-api-key": KEY}, ""),
        ({"api-key": KEY}, ""),
        ({}, f"?key={KEY}"),
        (bearer("of-something-else") | {"x-api-key": KEY}, ""),
    ],
)
@pytest.mark.parametrize("own", ["", ", headers: {x-team: a}", ', headers: {Authorization: "Bearer own"}'])
async def test_a_key_is_read_from_five_places_and_stays_here(gate: Any, headers: Any, query: str, own: str):
    """The upstream gets none of them, whether or not the gate has a credential of its own."""
    async with serving(answering(**TEXT)) as upstream:
        running = await gate(config(upstream.url, headers=own), {"OPS_KEY": OPS})
        answer = await ask(running.url, CHAT + query, BODY, headers=headers)

    assert answer.status == 200
    (seen,) = upstream.requests
    assert KEY not in seen.target and KEY not in str(seen.headers)
    shown = {"x-api-key", "x-goog-api-key", "api-key", "authorization"} & {n.lower() for n in seen.headers}
    assert shown == ({"authorization"} if "own" in own.lower() and "Bearer" in own else set())


@pytest.mark.parametrize(
    "headers",
    [
        {},
        bearer(""),
        bearer("wrong"),
        bearer(KEY[:-1]),
        bearer(KEY + "x"),
        bearer("k" * 8000),
        {"Authorization": KEY},
        {"Authorization": f"Basic {KEY}"},
        {"x-api-key": "ü" * 100},
    ],
)
async def test_whatever_is_no_key_is_told_the_same(gate: Any, headers: dict[str, str]):
    """Missing, wrong, over-long: one body, one status, and nothing asked of the upstream."""
    async with serving(answering(**TEXT)) as upstream:
        running = await gate(config(upstream.url), {"OPS_KEY": OPS})
        answer = await ask(running.url, CHAT, BODY, headers=headers)

    assert answer.status == 401
    assert error_of(answer) == {
        "message": "a valid key is needed",
        "type": "authentication_error",
        "param": None,
        "code": "unauthorized",
    }
    assert upstream.requests == []


async def test_a_key_is_for_its_paths(gate: Any):
    """Elsewhere it is 403, however the path is written; paths without a route stay 404 or 400."""
    async with serving(answering(**TEXT)) as upstream:
        running = await gate(config(upstream.url), {"OPS_KEY": OPS})
        for path, status in [
            (CHAT, 200),
            ("/v1/models", 200),
            ("/v1/embeddings", 403),
            ("/v1/models/x", 403),
            ("/v1//chat/completions", 403),
            ("/v1/chat/../embeddings", 400),
        ]:
            answer = await ask(running.url, path, BODY, headers=bearer(OPS))
            assert answer.status == status, path


async def test_wrong_keys_are_limited_and_right_ones_are_not(gate: Any):
    """20 a minute from one address; then 429, with the time to wait, for wrong keys alone."""
    async with serving(answering(**TEXT)) as upstream:
        running = await gate(config(upstream.url), {"OPS_KEY": OPS})
        wrong = [await ask(running.url, CHAT, BODY, headers=bearer(f"wrong{n}")) for n in range(22)]
        right = await ask(running.url, CHAT, BODY, headers=bearer(KEY))

    assert [answer.status for answer in wrong[:20]] == [401] * 20
    assert (wrong[-1].status, code_of(wrong[-1])) == (429, "rate_limit_exceeded")
    assert wrong[-1].header("Retry-After") == "3"
    assert right.status == 200


async def test_a_preflight_and_health_need_no_key(gate: Any):
    """A browser's preflight cannot carry one."""
    asks = {"Origin": "https://a.example", "Access-Control-Request-Method": "POST"}
    running = await gate(
        config("http://127.0.0.1:9", "cors: {origins: [https://a.example]}"), {"OPS_KEY": OPS}
    )

    assert (await ask(running.url, CHAT, method="OPTIONS", headers=asks)).status == 204
    assert (await ask(running.url, "/health", method="GET")).status == 200


async def test_a_reload_adds_and_revokes(gate: Any, tmp_path: Path):
    """Without a restart; what runs goes on."""
    async with serving(answering(**TEXT)) as upstream:
        running = await gate(config(upstream.url), {"OPS_KEY": OPS})
        from ssegate.config import parse

        other = config(upstream.url).replace(digest(KEY), digest("another key of 256 bits"))
        running._read_config = lambda: parse(
            "listen: 127.0.0.1:0\nadmin: 127.0.0.1:0\n" + dedented(other), "f", {"OPS_KEY": OPS}
        )
        assert running.reload()[0]
        assert (await ask(running.url, CHAT, BODY, headers=bearer(KEY))).status == 401
        assert (await ask(running.url, CHAT, BODY, headers=bearer("another key of 256 bits"))).status == 200


def dedented(text: str) -> str:
    from textwrap import dedent

    return dedent(text)


async def test_no_key_is_told_to_anybody(gate: Any, log: Log):
    """Names are in log and metrics, keys are nowhere, right or wrong."""
    wrong = "ssk_wrong_wrong_wrong_wrong_wrong_wrong"

    async def quoting(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(status=400, body=str(request.rel_url) + str(request.headers))

    async with serving(quoting) as upstream:
        running = await gate(config(upstream.url), {"OPS_KEY": OPS})
        answers = [
            await ask(running.url, f"{CHAT}?key={KEY}", BODY),
            await ask(running.url, f"{CHAT}?key={wrong}", BODY),
            await ask(running.url, "/v1/embeddings", BODY, headers=bearer(OPS)),
        ]
        async with aiohttp.ClientSession() as session:
            shown = b""
            for path in ("/metrics", "/-/streams", "/"):
                async with session.get(running.admin_url + path) as answer:
                    shown += await answer.read()
    said = log.whole() + shown + b"".join(str(a.headers).encode() + a.body for a in answers)

    for secret in (KEY, OPS, wrong, digest(KEY)[7:]):
        assert secret.encode() not in said
    assert b'"key":"web"' in said and b'"key":"ops"' in said


def test_a_new_key_fits_the_config_it_comes_with():
    """``ssegate key new`` prints the key once, and YAML with its hash."""
    result = CliRunner().invoke(main, ["key", "new", "web app"])

    lines = result.output.splitlines()
    (key,) = [line for line in lines if line.startswith("ssk_")]
    (entry,) = yaml.safe_load("\n".join(lines[lines.index("keys:") :]))["keys"]
    assert len(key) >= 4 + 43
    assert entry == {"name": "web app", "hash": digest(key)}
