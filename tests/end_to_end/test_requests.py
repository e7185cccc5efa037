"""What a request becomes on its way to the upstream: which body, which path, which route."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from ssegate.simulate import Behaviour

from . import leaks
from .asking import CHAT, JSON, STREAM, answering, ask, everything_to, serving
from .scripted import Peer, chunk, scripted

HI = {"messages": []}
STREAMING = answering(body=STREAM, headers={"Content-Type": "text/event-stream"})
"""Answers everything with a stream, wanted or not."""


async def test_stream_true_is_added_where_it_is_wanted(gate: Any, simulator: Any):
    """A native client need not say ``stream``; the upstream is told all the same."""
    upstream = await simulator(Behaviour(tokens=2))
    running = await gate(everything_to(upstream.url, output="native"))

    for path in (CHAT, "/v1/messages"):
        await ask(running.url, path, HI)
        assert json.loads(upstream.requests[-1].body)["stream"] is True


async def test_stream_true_is_not_added_where_the_path_says_it(gate: Any):
    """Dialects whose path asks for the stream do not know ``stream``, and some refuse unknown keys."""
    paths = [
        "/v1beta/models/g:streamGenerateContent",
        "/model/m/converse-stream",
        "/generate_stream",
        "/api/chat",
    ]
    async with serving(STREAMING) as upstream:
        running = await gate(everything_to(upstream.url))
        for path in paths:
            await ask(running.url, path, HI)

    assert [request.json for request in upstream.requests] == [HI] * len(paths)


async def test_what_the_body_needs_is_decided_by_the_path_it_goes_to(gate: Any):
    """With ``upstream_path`` it is the upstream's path that says whether it knows ``stream`` and usage."""
    async with serving(STREAMING) as upstream:
        running = await gate(
            f"""
            upstreams: {{up: {{url: "{upstream.url}"}}}}
            routes:
              - {{path: /gemini, upstream_path: "/v1beta/models/g:streamGenerateContent", output: native}}
              - {{path: /chat, upstream_path: {CHAT}, output: native}}
            """
        )
        await ask(running.url, "/gemini", HI)
        await ask(running.url, "/chat", HI)

    assert upstream.requests[0].json == HI
    assert upstream.requests[1].json == HI | {"stream": True, "stream_options": {"include_usage": True}}


@pytest.mark.parametrize("path", [CHAT, "/v1/completions"])
@pytest.mark.parametrize("output", ["auto", "same", "native", "openai"])
async def test_usage_is_asked_for_and_told_to_those_who_asked(
    gate: Any, simulator: Any, path: str, output: str
):
    """OpenAI-shaped upstreams are always asked for usage; its chunk goes only to clients that asked."""
    upstream = await simulator(Behaviour(tokens=4))
    running = await gate(everything_to(upstream.url, output=output))

    silent = await ask(running.url, path, {"stream": True})
    asking = await ask(running.url, path, {"stream": True, "stream_options": {"include_usage": True, "x": 1}})
    refusing = await ask(running.url, path, {"stream": True, "stream_options": {"include_usage": False}})

    options = [json.loads(request.body)["stream_options"] for request in upstream.requests]
    assert options == [{"include_usage": True}, {"include_usage": True, "x": 1}, {"include_usage": True}]
    if output != "native":
        assert usage_chunks(silent.body) == usage_chunks(refusing.body) == []
        [usage] = usage_chunks(asking.body)
        assert usage["completion_tokens"] == 4
        # Final metadata rides on a chunk that exists anyway: not on the one that was left out.
        assert [answer.body.count(b'"ssegate":{') for answer in (silent, asking, refusing)] == [1, 1, 1]


def usage_chunks(body: bytes) -> list[Any]:
    """Return the usage of each chunk without choices."""
    events = [json.loads(line[6:]) for line in body.decode().split("\n") if line.startswith("data: {")]
    return [event["usage"] for event in events if not event["choices"]]


async def test_usage_is_not_asked_of_others(gate: Any, simulator: Any):
    """No other dialect knows ``stream_options``."""
    upstream = await simulator(Behaviour(tokens=2))
    running = await gate(everything_to(upstream.url, output="native"))

    for path in ("/v1/messages", "/api/chat"):
        await ask(running.url, path, {"stream": True})

    assert [json.loads(request.body) for request in upstream.requests] == [{"stream": True}] * 2


async def test_usage_can_be_left_alone(gate: Any, simulator: Any):
    """``set: {stream_options: null}`` is for upstreams that do not know the option."""
    upstream = await simulator(Behaviour(tokens=2))
    running = await gate(everything_to(upstream.url, set={"stream_options": None}))

    await ask(running.url, CHAT, {"stream": True})
    await ask(running.url, CHAT, {"stream": True, "stream_options": {"include_usage": True}})

    assert not any(json.loads(request.body).get("stream_options") for request in upstream.requests)


async def test_usage_is_not_asked_where_no_stream_is_wanted(gate: Any, simulator: Any):
    """``stream_options`` without a stream is an error at OpenAI."""
    upstream = await simulator(Behaviour(tokens=2))
    running = await gate(everything_to(upstream.url))

    body = b'{ "messages": [],  "x": 1.0 }'
    await ask(running.url, CHAT, body, headers={"Content-Type": "application/json"})

    assert upstream.requests[0].body == body


async def test_set_default_unset_and_models(gate: Any, simulator: Any):
    """``set`` wins over the client, ``default`` loses to it, ``unset`` removes, ``models`` renames."""
    upstream = await simulator(Behaviour(tokens=2))
    running = await gate(
        everything_to(
            upstream.url,
            set={"temperature": 0, "user": {"id": [1, None]}},
            default={"max_tokens": 7, "top_p": 0.5},
            unset=["seed", "logit_bias"],
            models={"fast": "gpt-4o-mini"},
        )
    )

    client = {"model": "fast", "temperature": 2, "top_p": 1, "seed": 5, "stream": True, "user": "me"}
    await ask(running.url, CHAT, client)
    await ask(running.url, CHAT, {"model": "slow", "stream": False})

    usage = {"stream_options": {"include_usage": True}}
    ours = {"temperature": 0, "user": {"id": [1, None]}, "max_tokens": 7}
    first, second = (json.loads(request.body) for request in upstream.requests)
    assert first == {"model": "gpt-4o-mini", "top_p": 1, "stream": True} | usage | ours
    assert second == {"model": "slow", "top_p": 0.5, "stream": False} | ours


@pytest.mark.parametrize("output", ["native", "openai"])
async def test_choices_that_the_route_sets(gate: Any, output: str):
    """As many choices are waited for as the upstream was asked for, not as the client said."""

    def said(index: int, text: str, finish: str | None = None) -> bytes:
        choice = {"index": index, "delta": {"content": text} if text else {}, "finish_reason": finish}
        return b"data: %b\n\n" % json.dumps({"id": "c1", "choices": [choice]}).encode()

    async def script(peer: Peer) -> None:
        asked.append(await peer.request())
        await peer.stream(said(0, "A"), said(0, "", "stop"), end=False)
        await asyncio.sleep(2.2)  # longer than the gate waits for a usage after the last finish
        await peer.say(chunk(said(1, "B") + said(1, "", "length") + b"data: [DONE]\n\n") + b"0\r\n\r\n")

    asked: list[bytes] = []
    async with scripted(script) as upstream:
        running = await gate(everything_to(upstream.url, output=output, set={"n": 2}))
        answer = await ask(running.url, CHAT, {"stream": True, "n": 1})

    assert b'"n":2' in asked[0]
    assert answer.is_whole
    payloads = [line[6:] for line in answer.body.decode().split("\n") if line.startswith("data: {")]
    events = [json.loads(payload) for payload in payloads]
    if output == "native":
        tokens = [(event.get("choice", 0), event["token"]) for event in events if event.get("token")]
        assert [event.get("finish_reason") for event in events][-2:] == ["length", "stop"]
        assert [event["finished"] for event in events] == [False] * (len(events) - 1) + [True]
    else:
        choices = [choice for event in events for choice in event["choices"]]
        tokens = [(one["index"], one["delta"]["content"]) for one in choices if one["delta"].get("content")]
        assert {one["index"]: one["finish_reason"] for one in choices} == {0: "stop", 1: "length"}
        assert answer.body.endswith(b"data: [DONE]\n\n")
    assert tokens == [(0, "A"), (1, "B")]
    assert leaks.outcomes(await gate.metrics(running)) == {"completed": 1}


async def test_what_the_gate_does_not_know_is_not_harmed(gate: Any, simulator: Any):
    """Unknown keys, big and odd numbers and escapes reach the upstream as the client wrote them."""
    upstream = await simulator(Behaviour(tokens=2))
    running = await gate(everything_to(upstream.url, set={"temperature": 0}))
    parts = [
        b'"seed":123456789012345678901234567890',
        b'"x":0.1000000000000000055511151231257827',
        b'"y":1E400',
        b'"z":-0.0',
        b'"vendor":{"deep":[{"a":null,"a2":1.0}], "b":"\\u00e9\\ud83d\\ude42\\/"}',
        '"ü":"日本"'.encode(),
    ]

    await ask(running.url, CHAT, b'{"stream":true,' + b",".join(parts) + b"}", headers=JSON)

    for part in parts:
        assert part in upstream.requests[0].body


@pytest.mark.parametrize(
    ("target", "kept"),
    [
        ("/a%2Fb/%E6%9D%B1?x=%20+%2B&y&z==&&q=a%26b", "/a%2Fb/%E6%9D%B1?x=%20+%2B&y&z==&&q=a%26b"),
        ("/p?", "/p"),
        ("/p?stream=false&key=abc", "/p?stream=false&key=abc"),
        ("/p;v=1/q:r@s,t?a=[1]&b={2}|", "/p;v=1/q:r@s,t?a=[1]&b={2}|"),
        ("//double//slash", "//double//slash"),
        ("/p?stream_id=mine&a=1", "/p?stream_id=mine&a=1"),
        ("/p?stream=true&stream_id=0123456789abcdef012345&a=1", "/p?stream=true&a=1"),
    ],
)
async def test_path_and_query_arrive_untouched(gate: Any, target: str, kept: str):
    """Path and query are the upstream's to read: not decoded, sorted or cleaned, but for a stream's id."""
    async with serving(STREAMING) as upstream:
        running = await gate(everything_to(upstream.url))
        answer = await ask(running.url, target, method="GET")

    assert answer.status == 200
    assert upstream.requests[0].target == kept


async def test_the_upstreams_path_and_its_star(gate: Any):
    """``upstream_path`` replaces the path, its ``*`` is what the prefix's matched; the query stays."""
    async with serving(STREAMING) as upstream:
        running = await gate(
            f"""
            upstreams: {{up: {{url: "{upstream.url}/base/v1"}}}}
            routes:
              - {{path: /team/*, upstream_path: /v1/x/*}}
              - {{path: /one, upstream_path: /other, methods: [GET]}}
              - {{path: /*}}
            """
        )
        for path in ("/team/a/b?q=1", "/one?q=2", "/v1/models", "/models"):
            await ask(running.url, path, method="GET")

    targets = [request.target for request in upstream.requests]
    assert targets == ["/base/v1/x/a/b?q=1", "/base/v1/other?q=2", "/base/v1/models", "/base/v1/models"]


# Which route


async def test_the_first_route_that_matches_wins(gate: Any, simulator: Any):
    """Routes are tried in their order, by path, method and the model that the body names."""
    ups = {name: await simulator(Behaviour(tokens=1)) for name in ("gpt", "exact", "rest", "get")}
    servers = "\n".join(f'              {name}: {{url: "{up.url}"}}' for name, up in ups.items())
    running = await gate(
        f"""
            upstreams:
{servers}
            routes:
              - {{name: a, path: {CHAT}, model: "gpt-*", upstream: gpt}}
              - {{name: b, path: {CHAT}, model: llama, upstream: exact}}
              - {{name: c, path: {CHAT}, methods: [GET], upstream: get}}
              - {{path: /v1/*, upstream: rest, methods: [POST]}}
            """
    )

    async def went_to(path: str, body: Any, method: str = "POST") -> str:
        before = {name: len(up.requests) for name, up in ups.items()}
        answer = await ask(running.url, path, body, method=method)
        found = [name for name, up in ups.items() if len(up.requests) > before[name]]
        return found[0] if found else str(answer.status)

    assert await went_to(CHAT, {"model": "gpt-4o"}) == "gpt"
    assert await went_to(CHAT, {"model": "llama"}) == "exact"
    assert await went_to(CHAT, {"model": "llama-2"}) == "rest"
    assert await went_to(CHAT, {"model": 5}) == "rest"
    assert await went_to(CHAT, {}) == "rest"
    assert await went_to(CHAT, None, "GET") == "get"
    assert await went_to("/v1/messages", {"model": "gpt-4o"}) == "rest"
    assert await went_to("/v1", {"model": "gpt-4o"}) == "404"
    assert await went_to("/v2/chat", {"model": "gpt-4o"}) == "404"


async def test_no_route_takes_the_model(gate: Any, simulator: Any):
    """Where every route asks for another model, the answer is 404 and no upstream is asked."""
    upstream = await simulator()
    running = await gate(everything_to(upstream.url, model="gpt-*"))

    answer = await ask(running.url, CHAT, {"model": "llama", "stream": True})

    assert (answer.status, answer.json["error"]["code"]) == (404, "not_found")
    assert not upstream.requests
