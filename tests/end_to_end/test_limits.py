"""Limits on the wire: who is refused, in which words, what comes back, and what it is settled by."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest

from .asking import CHAT, ask, connected, error_of
from .leaks import outcomes
from .limited import BODY, Worker, chat, config, left, usage

MESSAGES = "/v1/messages"


@pytest.fixture
async def worker(nothing_left_open: None) -> AsyncIterator[Worker]:
    async with Worker() as worker:
        yield worker


async def test_a_refusal_says_when_to_come_again(gate: Any, worker: Worker):
    """429 in OpenAI's body, with every header that a client may look at; the upstream is not asked."""
    running = await gate(config(worker, "{requests: 2/minute}"))
    first = await chat(running)
    await chat(running)
    answer = await chat(running)

    assert (first.status, answer.status, len(worker.requests)) == (200, 429, 2)
    assert error_of(answer)["code"] == "rate_limit_exceeded" and error_of(answer)["type"] == "requests"
    assert error_of(answer)["message"].startswith("limit reached: 2 requests per minute; try again in ")
    wait = int(answer.headers["retry-after-ms"])
    assert 25_000 < wait <= 30_000
    assert answer.header("Retry-After") == str(-(-wait // 1000))
    assert "x-should-retry" not in answer.headers
    assert answer.headers["x-ratelimit-limit-requests"] == "2"
    assert left(first, "requests") == 1 and left(answer, "requests") == 0
    assert re.fullmatch(r"(1m0|59(\.\d+)?|5\d(\.\d+)?)s", answer.headers["x-ratelimit-reset-requests"])
    assert answer.headers["RateLimit-Policy"] == '"requests";q=2;w=60'
    assert re.fullmatch(r'"requests";r=0;t=\d+', answer.headers["RateLimit"])


async def test_a_long_wait_tells_sdks_not_to_try(gate: Any, worker: Worker):
    """More than a minute: they would hammer, or sleep without a word."""
    running = await gate(config(worker, "{requests: 1/day}"))
    await chat(running)
    answer = await chat(running)

    assert answer.status == 429
    # Nobody runs this test in the very last minute of a day twice.
    if int(answer.headers["retry-after-ms"]) > 60_000:
        assert answer.headers["x-should-retry"] == "false"


async def test_anthropic_clients_get_their_own_headers_and_body(gate: Any, worker: Worker):
    """Names, RFC 3339, and the error type that their SDK knows."""
    running = await gate(config(worker, "{requests: 1/minute, output_tokens: 1000/minute}"))
    worker.status = 500
    first = await chat(running, path=MESSAGES)
    answer = await chat(running, path=MESSAGES)

    assert answer.status == 429
    assert answer.json["type"] == "error" and answer.json["error"]["type"] == "rate_limit_error"
    assert answer.headers["anthropic-ratelimit-requests-limit"] == "1"
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", answer.headers["anthropic-ratelimit-requests-reset"]
    )
    assert first.headers["anthropic-ratelimit-output-tokens-remaining"] == "950"
    assert not [name for name in answer.headers if name.lower().startswith("x-ratelimit")]


OURS = {"type": "requests", "code": "rate_limit_exceeded"}


@pytest.mark.parametrize(
    ("route", "path", "where", "expected"),
    [
        (", output: native", "/x", [], OURS),
        (", output: openai", "/x", ["error"], OURS | {"param": None}),
        (", output: responses", "/x", ["error"], OURS),
        (", output: vercel", "/x", ["error"], OURS),
        (", output: text", "/x", ["error"], OURS),
        (", output: raw", "/x", ["error"], OURS),
        (", output: anthropic", "/x", ["error"], {"type": "rate_limit_error"}),
        ("", "/v1/responses", ["error"], OURS),
        ("", "/v1beta/models/m:generateContent", ["error"], {"code": 429, "status": "RESOURCE_EXHAUSTED"}),
        ("", "/api/chat", [], {}),
        ("", "/v2/chat", [], {}),
    ],
)
async def test_a_refusal_has_the_body_that_its_clients_read(
    gate: Any, worker: Worker, route: str, path: str, where: list[str], expected: dict[str, Any]
):
    """The route's format, or that of the vendor's path; the sentence is in each of them."""
    running = await gate(config(worker, "{requests: 1/minute}", route=route))
    await chat(running, path=path)
    answer = await chat(running, path=path)

    said = answer.json
    for name in where:
        said = said[name]
    assert (answer.status, {name: said[name] for name in expected}) == (429, expected)
    assert b"limit reached: 1 requests per minute" in answer.body
    assert 0 < int(answer.headers["retry-after-ms"]) <= 60_000


async def test_an_event_source_gets_the_refusal_as_an_event(gate: Any, worker: Worker):
    """It cannot see a status."""
    prompt = ", from_prompt: {body: {model: m, messages: [{role: user, content: '{prompt}'}]}}"
    running = await gate(config(worker, "{requests: 1/minute}", route=prompt))
    listens = {"Accept": "text/event-stream"}
    await ask(running.url, "/chat?prompt=a", method="GET", headers=listens)
    answer = await ask(running.url, "/chat?prompt=a", method="GET", headers=listens)

    assert answer.status == 200
    name, data = answer.body.split(b"\n")[:2]
    assert name == b"event: error"
    said = json.loads(data.removeprefix(b"data: "))
    assert (said["code"], said["type"], said["finished"]) == ("rate_limit_exceeded", "requests", True)


@pytest.mark.parametrize("stream", [True, False])
async def test_tokens_are_settled_by_what_was_reported(gate: Any, worker: Worker, stream: bool):
    """Reserved at the beginning, put right by the end: for streams and for plain answers."""
    running = await gate(config(worker, "{tokens: 1000/hour}"))
    body = BODY | {"stream": stream}
    first = await chat(running, body)
    assert left(first) == 1000 - 50 - -(-len(worker.requests[0].body) // 4)

    worker.usage = usage(100, 200)
    await chat(running, body)

    assert left(await chat(running, body)) == 1000 - 15 - 300 - 50 - -(-len(worker.requests[0].body) // 4)


async def test_input_and_output_may_be_limited_apart(gate: Any, worker: Worker):
    """Each by its own part of the usage."""
    running = await gate(config(worker, "{output_tokens: 100/hour, input_tokens: 100000/hour}"))
    worker.usage = usage(5000, 60)
    assert (await chat(running)).status == 200

    answer = await chat(running)

    assert answer.status == 429
    assert "100 output tokens per hour" in error_of(answer)["message"]
    assert error_of(answer)["type"] == "tokens"


async def test_without_a_report_what_was_seen_counts(gate: Any, worker: Worker):
    """The estimated input, and a token a delta."""
    running = await gate(config(worker, "{tokens: 1000/hour}"))
    worker.usage = None
    await chat(running)

    seen = -(-len(worker.requests[0].body) // 4)
    assert left(await chat(running)) == 1000 - (seen + 2) - (seen + 50)


async def test_an_upstream_that_refused_costs_no_tokens(gate: Any, worker: Worker):
    """An error before the stream gives all of them back; the request stays counted."""
    running = await gate(config(worker, "{tokens: 1000/hour, requests: 10/hour}"))
    worker.status = 503
    for _ in range(3):
        assert (await chat(running)).status == 503
    worker.status = 200

    answer = await chat(running)

    assert left(answer) > 900
    assert left(answer, "requests") == 6


async def settled(gate: Any, running: Any) -> None:
    """Wait until a stream has ended."""
    async with asyncio.timeout(5):
        while not outcomes(await gate.metrics(running)):
            await asyncio.sleep(0.01)


async def test_a_client_that_leaves_gives_its_stream_and_tokens_back(gate: Any, worker: Worker):
    """Whatever way a stream ends, nothing of it stays reserved."""
    running = await gate(config(worker, "{streams: 1, tokens: 1000/hour}"))
    worker.go.clear()
    async with connected(running.url) as connection:
        connection.send(CHAT, BODY)
        assert (await connection.head()).status == 200
        refused = await chat(running)
    assert refused.status == 429
    assert (refused.header("Retry-After"), error_of(refused)["type"]) == ("1", "streams")
    await settled(gate, running)
    worker.go.set()

    answer = await chat(running)
    assert answer.status == 200
    reserved = 1000 - left(refused)
    generated = 1000 - left(answer) - reserved - (reserved - BODY["max_tokens"])
    assert 1 <= generated <= 2 * worker.words


async def test_streams_count_only_where_one_was_wanted(gate: Any, worker: Worker):
    """A plain request needs no place."""
    running = await gate(config(worker, "{streams: 1}"))
    worker.go.clear()
    async with connected(running.url) as connection:
        connection.send(CHAT, BODY)
        await connection.head()
        assert (await chat(running, BODY | {"stream": False})).status == 200
        assert (await chat(running)).status == 429
        worker.go.set()


@pytest.mark.parametrize("spoilt", [b"{", b'{"stream": true, "n": NaN}'])
async def test_a_refused_request_takes_nothing(gate: Any, worker: Worker, spoilt: bytes):
    """Bad bodies and refusals by one limit leave all others as they were."""
    running = await gate(config(worker, "{requests: 100/hour, tokens: 1000/hour, streams: 1}"))
    headers = {"Content-Type": "application/json"}
    for _ in range(3):
        assert (await chat(running, spoilt, headers=headers)).status == 400
    worker.go.clear()
    running_on = asyncio.create_task(chat(running))
    while not worker.requests:
        await asyncio.sleep(0.01)
    refused = [(await chat(running)).status for _ in range(5)]
    worker.go.set()
    first = await running_on
    await settled(gate, running)
    second = await chat(running)

    assert (first.status, refused, second.status) == (200, [429] * 5, 200)
    assert (left(first, "requests"), left(second, "requests")) == (99, 98)
    reserved, used = 1000 - left(first), 10 + 5
    assert left(second) == 1000 - used - reserved


async def test_a_stream_id_in_use_takes_nothing(gate: Any, worker: Worker):
    """409 comes before the limits."""
    running = await gate(config(worker, "{requests: 10/hour}"))
    worker.go.clear()
    headers = {"X-Stream-ID": "a" * 22}
    async with connected(running.url) as connection:
        connection.send(CHAT, BODY, headers=headers)
        await connection.head()
        for _ in range(5):
            assert (await chat(running, headers=headers)).status == 409
        worker.go.set()
    worker.go.set()

    assert left(await chat(running), "requests") == 8


async def test_a_budget_counts_dollars_by_prices(gate: Any, worker: Worker):
    """Cached input at its own price; a model without a price is refused, as nobody could count it."""
    prices = "prices: {gpt-4o: {input: 1000, cached: 100, output: 2000}}"
    running = await gate(config(worker, "{cost: 1.00/day}", prices))
    worker.usage = usage(400, 100, cached=200)  # 0.2 + 0.02 + 0.2 dollars
    # Reserved are 0.1 for the output and a little for the input: that fits into what two of them leave.
    assert [(await chat(running)).status for _ in range(4)] == [200, 200, 200, 429]

    refused = await chat(running)
    unknown = await chat(running, BODY | {"model": "gpt-4o-mini"})

    assert "1 dollars per day" in error_of(refused)["message"]
    assert (unknown.status, error_of(unknown)["code"]) == (403, "forbidden")


async def test_what_the_upstream_says_of_limits_of_ours_stays_there(gate: Any, worker: Worker):
    """Its headers pass for the dimensions that the gate does not limit."""
    running = await gate(config(worker, "{requests: 10/hour}"))
    worker.headers = {
        "x-ratelimit-remaining-requests": "777",
        "x-ratelimit-remaining-tokens": "888",
        "ratelimit": '"x";r=1',
    }
    for stream in (True, False):
        answer = await chat(running, BODY | {"stream": stream})
        assert answer.headers.getall("x-ratelimit-remaining-requests") == [str(9 - (not stream))]
        assert answer.headers["x-ratelimit-remaining-tokens"] == "888"
        assert answer.headers.getall("RateLimit")[0].startswith('"requests";r=')


KEYS = """keys:
          - {name: a, value: aaaaaaaa}
          - {name: b, value: bbbbbbbb, limits: {requests: 3/hour}}
          - {name: c, value: cccccccc, limits: {requests: off}}"""


TWO_KEYS = "keys: [{name: a, value: aaaaaaaa}, {name: c, value: cccccccc}]"


async def counts(running: Any, path: str = CHAT, of: int = 6, **headers: str) -> int:
    answers = [await chat(running, path=path, headers=headers) for _ in range(of)]
    return sum(answer.status == 200 for answer in answers)


async def test_each_key_has_its_own_and_its_own_limits_replace(gate: Any, worker: Worker):
    """Dimension by dimension; ``off`` takes a limit away."""
    running = await gate(config(worker, "{requests: 2/hour}", KEYS))

    assert await counts(running, **{"x-api-key": "aaaaaaaa"}) == 2
    assert await counts(running, **{"x-api-key": "bbbbbbbb"}) == 3
    assert await counts(running, **{"x-api-key": "cccccccc"}) == 6


async def test_a_routes_limits_are_one_more_bucket_for_each_key(gate: Any, worker: Worker):
    """And a global one is for all keys together."""
    text = f"""
        limits: {{requests: 100/hour, global: {{requests: 7/hour}}}}
        {KEYS}
        upstreams: {{up: {{url: "{worker.upstream.url}"}}}}
        routes:
          - {{path: /small/*, limits: {{requests: 2/hour}}}}
          - {{path: /*}}
        """
    running = await gate(text)

    assert await counts(running, "/small/v1/chat/completions", **{"x-api-key": "aaaaaaaa"}) == 2
    assert await counts(running, "/small/v1/chat/completions", **{"x-api-key": "cccccccc"}) == 2
    assert await counts(running, **{"x-api-key": "aaaaaaaa"}) == 3


@pytest.mark.parametrize(
    ("by", "proxies", "headers", "admitted"),
    [
        ("ip", "[]", [{"X-Forwarded-For": f"10.0.0.{n}"} for n in range(3)], 2),
        ("ip", "[127.0.0.1/32]", [{"X-Forwarded-For": f"10.0.0.{n}"} for n in range(3)], 6),
        ("ip", "[127.0.0.1/32]", [{"X-Forwarded-For": f"{n}.1.1.1, 10.0.0.1"} for n in range(3)], 2),
        ("ip", "[127.0.0.1/32]", [{"X-Forwarded-For": f"2001:db8:1:2::{n}"} for n in range(3)], 2),
        ("ip", "[127.0.0.1/32]", [{"X-Forwarded-For": f"2001:db8:1:{n}::1"} for n in range(3)], 6),
        ("header:X-User", "[]", [{"X-User": f"user{n}"} for n in range(3)], 6),
        ("header:X-User", "[]", [{"X-Other": f"user{n}"} for n in range(3)], 2),
    ],
)
async def test_who_is_counted(gate: Any, worker: Worker, by: str, proxies: str, headers: Any, admitted: int):
    """Without keys the address; behind a trusted proxy that of the client, IPv6 by its /64; or a header."""
    running = await gate(config(worker, f"{{by: '{by}', requests: 2/hour}}", f"trusted_proxies: {proxies}"))
    assert sum([await counts(running, of=2, **one) for one in headers]) == admitted


@pytest.mark.parametrize(("by", "admitted"), [("key", 4), ("ip", 2), ("header:X-User", 4)])
async def test_who_is_counted_where_there_are_keys(gate: Any, worker: Worker, by: str, admitted: int):
    """Each key; all that come from an address together; each user of each key."""
    running = await gate(config(worker, f"{{by: '{by}', requests: 2/hour}}", TWO_KEYS))
    both = [{"x-api-key": key, "X-User": "u"} for key in ("aaaaaaaa", "cccccccc")]

    assert sum([await counts(running, of=3, **one) for one in both]) == admitted


async def test_a_routes_global_limit_is_for_all_keys_there(gate: Any, worker: Worker):
    """And for nobody elsewhere."""
    running = await gate(f"""
        {TWO_KEYS}
        upstreams: {{up: {{url: "{worker.upstream.url}"}}}}
        routes: [{{path: /small/*, limits: {{global: {{requests: 3/hour}}}}}}, {{path: /*}}]
        """)

    small = "/small/v1/chat/completions"
    assert await counts(running, small, of=2, **{"x-api-key": "aaaaaaaa"}) == 2
    assert await counts(running, small, of=2, **{"x-api-key": "cccccccc"}) == 1
    assert await counts(running, of=4, **{"x-api-key": "cccccccc"}) == 4


async def test_decisions_are_counted(gate: Any, worker: Worker):
    """By route, key, what refused, and how it was decided."""
    running = await gate(config(worker, "{requests: 2/hour}", KEYS))
    await counts(running, of=5, **{"x-api-key": "aaaaaaaa"})

    text = await gate.metrics(running)
    series = 'ssegate_rate_limit_decisions_total{decision="%s",key="a",limit="%s",route="/*"}'
    assert f"{series % ('allowed', '-')} 2.0" in text
    assert f"{series % ('denied', 'requests')} 3.0" in text
    assert 'ssegate_tokens_total{key="a"' in text


async def test_a_reload_changes_limits_and_keeps_what_was_used(gate: Any, worker: Worker):
    """Lowered or raised, the hour that is running goes on."""
    running = await gate(config(worker, "{requests: 2/hour}"))
    assert await counts(running, of=3) == 2
    from textwrap import dedent

    from ssegate.config import parse

    more = dedent(config(worker, "{requests: 3/hour}"))
    running._read_config = lambda: parse("listen: 127.0.0.1:0\nadmin: 127.0.0.1:0\n" + more, "f", {})
    assert running.reload()[0]
    assert await counts(running, of=3) == 1
