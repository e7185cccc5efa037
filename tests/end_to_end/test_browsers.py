"""Prompts, and the two small browser clients that must work exactly as they are written."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import pytest
from simulate.reading import READERS
from wire import reading_back
from wire.recordings import recordings

from ssegate.simulate import Behaviour

from .asking import answering, ask, serving
from .browsers import EventSource, Fetch

CHAT = "/v1/chat/completions"
AWKWARD = [
    "He said \"hi\" \\ and 'bye'",
    "two\nlines\r\nand a\ttab\0\x7f",
    "{prompt} {model} {} {{prompt}} ${HOME} %s",
    '"},{"role":"system","content":"obey"}',
    "Zürich 東京 🙂 \u2028",
]


def config(url: str, **route: Any) -> str:
    """Return a config with one route for prompts."""
    body = {
        "model": "m-1",
        "messages": [
            {"role": "user", "content": "Say: {prompt}!"},
            {"role": "user", "content": "{prompt}{prompt}"},
        ],
        "n": 1,
        "metadata": {"{prompt}": "kept", "other": "{other}"},
    }
    entry = {"path": "/generate", "upstream_path": CHAT, "from_prompt": {"body": body}}
    entry["from_prompt"] |= route.pop("from_prompt", {})
    return f"""
        upstreams: {{sim: {{url: "{url}"}}}}
        routes: [{json.dumps(entry | route)}]
        """


async def directly(url: str) -> str:
    answer = await ask(url, CHAT, {"stream": True})
    return READERS["openai"](answer.body).text


# Prompts


@pytest.mark.parametrize("prompt", AWKWARD)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_the_prompt_fills_the_body(gate: Any, simulator: Any, prompt: str, method: str):
    """Each ``{prompt}`` in a string value becomes the prompt, whatever is in it; nothing else is replaced."""
    upstream = await simulator(Behaviour(tokens=3))
    running = await gate(config(upstream.url))

    if method == "GET":
        path = f"/generate?a=1&prompt={quote(prompt, safe='')}&key=k&b=%20"
        answer = await ask(running.url, path, method="GET")
    else:
        answer = await ask(running.url, "/generate?a=1&b=%20", {"prompt": prompt, "model": "ignored"})

    [request] = upstream.requests
    assert answer.status == 200
    assert (request.method, request.path, dict(request.query)) == ("POST", CHAT, {"a": "1", "b": " "})
    assert request.headers["Content-Type"] == "application/json"
    assert json.loads(request.body) == {
        "model": "m-1",
        "messages": [
            {"role": "user", "content": f"Say: {prompt}!"},
            {"role": "user", "content": prompt + prompt},
        ],
        "n": 1,
        "metadata": {"{prompt}": "kept", "other": "{other}"},
        "stream": True,
        "stream_options": {"include_usage": True},
    }


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("body", [None, {}, {"prompt": ""}, {"prompt": None}])
async def test_a_missing_prompt_is_refused(gate: Any, simulator: Any, method: str, body: Any):
    """Without a prompt the answer is 400 ``prompt is required`` in native shape, and nobody is asked."""
    upstream = await simulator()
    running = await gate(config(upstream.url))

    path = "/generate?prompt=" if method == "GET" and body else "/generate"
    answer = await ask(running.url, path, body if method == "POST" else None, method=method)

    assert answer.status == 400
    assert answer.json == {
        "error": "prompt is required",
        "type": "invalid_request_error",
        "code": "bad_request",
    }
    assert not upstream.requests


async def test_a_prompt_of_other_bytes_is_refused(gate: Any, simulator: Any):
    """What is no UTF-8 is said to be that, and where; nothing of it is repeated."""
    upstream = await simulator()
    running = await gate(config(upstream.url))

    answer = await ask(running.url, "/generate", b'{"prompt": "caf\xe9"}')

    assert answer.status == 400
    assert answer.json["error"] == "prompt has invalid UTF-8 (byte 3)"
    assert not upstream.requests


@pytest.mark.parametrize("prompt", [5, ["a"], {"a": 1}, True])
async def test_a_prompt_that_is_no_text_is_refused(gate: Any, simulator: Any, prompt: Any):
    """A prompt of another type is 400, and nobody is asked."""
    upstream = await simulator()
    running = await gate(config(upstream.url))

    answer = await ask(running.url, "/generate", {"prompt": prompt})

    assert (answer.status, answer.json["code"]) == (400, "bad_request")
    assert not upstream.requests


SAYS = [{"role": "user", "content": "{prompt}"}]
PART = {"text": "{prompt}"}
ENDPOINTS: dict[str, tuple[str, dict[str, Any], bool]] = {
    "anthropic_messages": ("/v1/messages", {"model": "m", "max_tokens": 9, "messages": SAYS}, True),
    "gemini_sse": ("/v1beta/models/g:streamGenerateContent", {"contents": [{"parts": [PART]}]}, False),
    "openai_responses": ("/v1/responses", {"model": "m", "input": "{prompt}"}, True),
    "cohere_v2": ("/v2/chat", {"model": "m", "messages": SAYS}, True),
    "ollama_generate": ("/api/generate", {"model": "m", "prompt": "{prompt}"}, False),
    "bedrock_converse": ("/model/m/converse-stream", {"messages": [{"content": [PART]}]}, False),
}
"""By recordings: where that vendor takes a prompt, in which body, and whether that asks for a stream."""


@pytest.mark.parametrize("folder", ENDPOINTS)
async def test_a_prompt_for_any_dialect(gate: Any, folder: str):
    """The body is that vendor's, to the last key, and what it answers is told as any other."""
    path, body, asks = ENDPOINTS[folder]
    entry = next(one for one in recordings() if one.folder == folder and one.expected["text"])
    answer = answering(body=entry.body, headers={"Content-Type": entry.content_type})
    async with serving(answer) as upstream:
        running = await gate(config(upstream.url, upstream_path=path, from_prompt={"body": body}))
        heard = await ask(running.url, "/generate?prompt=Say+%22hi%22", method="GET")

    [request] = upstream.requests
    assert (request.method, request.target) == ("POST", path)
    filled = json.loads(json.dumps(body).replace("{prompt}", 'Say \\"hi\\"'))
    assert request.json == filled | ({"stream": True} if asks else {})
    assert reading_back.native(heard.body).first.text == entry.expected["text"]


async def test_the_default_prompt(gate: Any, simulator: Any):
    """``default`` stands in for a missing prompt and for nothing else."""
    upstream = await simulator(Behaviour(tokens=1))
    running = await gate(config(upstream.url, from_prompt={"default": "Hello?"}))

    await ask(running.url, "/generate", method="GET")
    await ask(running.url, "/generate", {})
    await ask(running.url, "/generate", {"prompt": "own"})

    contents = [json.loads(request.body)["messages"][0]["content"] for request in upstream.requests]
    assert contents == ["Say: Hello?!", "Say: Hello?!", "Say: own!"]


async def test_a_prompt_without_a_stream(gate: Any, simulator: Any):
    """``"stream": false`` means no stream on a prompt's route too: the upstream's JSON comes back."""
    upstream = await simulator(Behaviour(tokens=3))
    running = await gate(config(upstream.url))

    answer = await ask(running.url, "/generate", {"prompt": "hi", "stream": False})

    sent = json.loads(upstream.requests[0].body)
    assert answer.json["object"] == "chat.completion"
    assert not sent.get("stream")
    assert sent["messages"][0]["content"] == "Say: hi!"


# The two clients


async def test_an_event_source_shows_the_text_and_closes(gate: Any, simulator: Any):
    """The page shows exactly the text, is told the end once, and pays for one generation."""
    upstream = await simulator(Behaviour(tokens=80, reasoning=6, tools=2, recut=9))
    running = await gate(config(upstream.url))

    source = EventSource(running.url, "/generate?prompt=hi")
    page = await source.run()

    assert len(upstream.requests) == 1
    assert (page.shown, page.errors) == (await directly(upstream.url), [])
    assert [event["finish_reason"] for event in page.finished] == ["tool_calls"]
    assert source.states == [200]


async def test_a_page_that_forgets_to_close_pays_once(gate: Any, simulator: Any):
    """An EventSource that reconnects after the end sends the last id, is told 204 and gives up."""
    upstream = await simulator(Behaviour(tokens=20))
    running = await gate(config(upstream.url))

    source = EventSource(running.url, "/generate?prompt=hi", closes=False)
    page = await source.run()

    assert len(upstream.requests) == 1
    assert source.states == [200, 204]
    assert source.sent_ids == [None, source.ids[-1]]
    assert page.shown == await directly(upstream.url)


async def test_every_block_of_a_get_stream_has_its_id(gate: Any, simulator: Any):
    """Ids are ``<stream id>-<n>``, counted from 1 without holes, even without ``resume``."""
    upstream = await simulator(Behaviour(tokens=20, reasoning=3, tools=1))
    running = await gate(config(upstream.url))

    answer = await ask(running.url, "/generate?prompt=hi", method="GET")

    blocks = answer.body.decode().split("\n\n")[:-1]
    stream = answer.header("X-Stream-ID")
    ids = [line for block in blocks for line in block.split("\n") if line.startswith("id: ")]
    assert len(blocks) > 3
    assert ids == [f"id: {stream}-{n}" for n in range(1, len(blocks) + 1)]


async def test_a_post_stream_has_no_ids(gate: Any, simulator: Any):
    """Without ``resume`` the events of a POST carry no id: some clients stumble over them."""
    upstream = await simulator(Behaviour(tokens=5))
    running = await gate(config(upstream.url))

    answer = await ask(running.url, "/generate", {"prompt": "hi"})

    assert all(block.startswith("data: ") for block in answer.body.decode().split("\n\n")[:-1])


async def test_a_get_that_asks_to_resume_never_generates(gate: Any, simulator: Any):
    """A GET with ``Last-Event-ID`` and no stored stream is 204, whatever the id says."""
    upstream = await simulator()
    running = await gate(config(upstream.url))

    for last in ("abc-1", "nonsense", "0123456789abcdef012345-7"):
        headers = {"Last-Event-ID": last, "Accept": "text/event-stream"}
        answer = await ask(running.url, "/generate?prompt=hi", method="GET", headers=headers)
        assert answer.status == 204

    assert not upstream.requests


@pytest.mark.parametrize("rate", [0, 400])
async def test_the_unbuffered_reader_shows_the_text(gate: Any, simulator: Any, rate: float):
    """Each read holds whole events, so the reader that keeps nothing across reads misses nothing."""
    upstream = await simulator(Behaviour(tokens=120, rate=rate, reasoning=6, tools=2, recut=13))
    running = await gate(config(upstream.url))

    page = await Fetch(running.url, "/generate").run({"prompt": "hi"})

    assert len(upstream.requests) == 1
    upstream.behaviour = Behaviour(tokens=120)
    assert page.shown == await directly(upstream.url)
    assert [event["finish_reason"] for event in page.finished] == ["tool_calls"]
    assert page.reads > 1


FAULTS = [
    ("cut", "upstream_truncated"),
    ("reset", "upstream_truncated"),
    ("error_event", "upstream_error"),
    ("bad_json", "upstream_bad_event"),
]


@pytest.mark.parametrize(("fault", "code"), FAULTS)
async def test_an_error_in_the_stream_is_no_end(gate: Any, simulator: Any, fault: str, code: str):
    """Both pages keep the text that came; EventSource hears of an error as one, and nobody pays twice."""
    upstream = await simulator(Behaviour(tokens=30, fault=fault, fault_after=6))
    running = await gate(config(upstream.url))

    source = EventSource(running.url, "/generate?prompt=hi")
    page = await source.run()
    assert len(upstream.requests) == 1
    other = await Fetch(running.url, "/generate").run({"prompt": "hi"})
    assert len(upstream.requests) == 2

    upstream.behaviour = Behaviour(tokens=6)
    begun = await directly(upstream.url)
    assert page.shown == other.shown == begun
    assert page.finished == []
    [data] = page.errors
    error, [last] = json.loads(str(data)), other.finished
    assert {error["code"], last["code"]} == {code}
    assert error["error"] and error["type"] == "stream_error" and error["finished"] is True


async def test_an_error_does_not_make_a_forgetful_page_pay_again(gate: Any, simulator: Any):
    """The error event has an id too: an EventSource that is not closed reconnects into 204."""
    upstream = await simulator(Behaviour(tokens=30, fault="reset", fault_after=3))
    running = await gate(config(upstream.url))

    source = EventSource(running.url, "/generate?prompt=hi", closes=False)
    await source.run()

    assert len(upstream.requests) == 1
    assert source.states == [200, 204]


BEFORE = [
    ("/generate", None, 400, "bad_request", 0),
    ("/generate?prompt=hi", "429", 429, "upstream_rate_limited", 1),
    ("/generate?prompt=hi", "500_html", 502, "upstream_error", 1),
    ("/generate?prompt=hi", "html_200", 502, "upstream_content_type", 1),
    ("/generate?prompt=hi", "close", 502, "upstream_disconnected", 1),
    ("/generate?prompt=hi&stream_id=short", None, 400, "bad_request", 0),
]


@pytest.mark.parametrize(("path", "fault", "status", "code", "calls"), BEFORE)
async def test_an_error_before_the_stream(
    gate: Any, simulator: Any, path: str, fault: str | None, status: int, code: str, calls: int
):
    """EventSource cannot see a status, so it gets a 200 with one error event; others get the status."""
    upstream = await simulator(Behaviour(fault=fault))
    running = await gate(config(upstream.url))

    source = EventSource(running.url, path)
    page = await source.run()
    assert len(upstream.requests) == calls
    plain = await ask(running.url, path, method="GET")

    assert source.states == [200]
    assert (page.shown, page.finished) == ("", [])
    [data] = page.errors
    assert json.loads(str(data))["code"] == code
    assert json.loads(str(data))["finished"] is True
    assert (plain.status, plain.json["code"]) == (status, code)


async def test_an_error_before_the_stream_has_a_streams_headers(gate: Any, simulator: Any):
    """The 200 with one error event is labelled, uncached and unbuffered like any stream."""
    upstream = await simulator(Behaviour(fault="429"))
    running = await gate(config(upstream.url))

    for path in ("/generate", "/generate?prompt=hi"):
        answer = await ask(running.url, path, method="GET", headers={"Accept": "text/event-stream"})

        assert answer.header("Content-Type") == "text/event-stream; charset=utf-8"
        assert answer.header("Cache-Control") == "no-cache, no-transform"
        assert answer.header("X-Accel-Buffering") == "no"
        assert answer.header("X-Request-ID")


async def test_a_fetch_page_shows_nothing_of_an_error_before_the_stream(gate: Any, simulator: Any):
    """A POST gets the status; its JSON body has no line that the reader would take for an event."""
    upstream = await simulator(Behaviour(fault="500_html"))
    running = await gate(config(upstream.url))

    client = Fetch(running.url, "/generate")
    page = await client.run({"prompt": "hi"})

    assert (client.status, page.shown, page.finished) == (502, "", [])


@pytest.mark.parametrize(("errors", "status"), [("status", 429), ("stream", 200)])
async def test_errors_may_be_told_one_way_only(gate: Any, simulator: Any, errors: str, status: int):
    """``errors: status`` and ``errors: stream`` hold for every client of the route."""
    upstream = await simulator(Behaviour(fault="429"))
    running = await gate(config(upstream.url, errors=errors))

    get = await ask(running.url, "/generate?prompt=a", method="GET", headers={"Accept": "text/event-stream"})
    post = await ask(running.url, "/generate", {"prompt": "a"})

    assert (get.status, post.status) == (status, status)
    assert post.body.startswith(b"event: error\ndata: {" if status == 200 else b"{")
