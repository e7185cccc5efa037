"""
The unmodified OpenAI SDK before the gate: nothing it can see is lost, and every failure is one of its own.

Each recorded OpenAI-shaped body is sent to it straight from the upstream and through the gate.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any
from zlib import crc32

import openai
import pytest
from aiohttp import web
from wire.recordings import STREAMS, Recording, recording, recordings

from ssegate.simulate import Behaviour, Simulator

from .asking import Upstream, everything_to, serving
from .sdk_reading import Reading, read

MESSAGES: Any = [{"role": "user", "content": "What is said here?"}]
WITH_USAGE: Any = {"stream_options": {"include_usage": True}}

RECORDINGS = [entry for entry in recordings() if entry.dialect == "openai"]

ROUTES = """
upstreams:
  simulated: {{url: "{url}"}}
defaults: {{upstream: simulated, upstream_path: "/*", output: openai}}
routes:
  - {{path: "/plain/*"}}
  - {{path: "/every/*", metadata: every}}
  - {{path: "/joined/*", batch: {{size: 50, delay: 500ms}}}}
  - {{path: "/joined-every/*", batch: {{size: 50, delay: 500ms}}, metadata: every}}
"""
NAMES = ("plain", "joined-every", "every", "joined")
LONG = 60_000
"""Bytes from which a recording takes only the first two routes: the SDK reads some 1000 chunks a second."""


@dataclass
class Caller:
    """The SDK, aimed anew for each call."""

    sdk: openai.AsyncOpenAI

    def at(self, url: str, **options: Any) -> openai.AsyncOpenAI:
        """Aim it at *url*, the part before ``/v1``; the connections are shared."""
        return self.sdk.with_options(base_url=f"{url}/v1", **options)

    async def chat(self, url: str, **asking: Any) -> Reading:
        """Read a chat completion; what is raised before the stream is raised here."""
        asked = self.at(url).chat.completions.create(model="any", messages=MESSAGES, stream=True, **asking)
        return await read(await asked, snapshot=True)

    async def replayed(self, url: str, entry: Recording, **asking: Any) -> Reading:
        """Read *entry* by the endpoint it was recorded from."""
        if "completions" not in entry.folder:
            return await self.chat(url, **asking)
        return await read(
            await self.at(url).completions.create(model="any", prompt="?", stream=True, **asking)
        )


@pytest.fixture
async def caller(simulator: Any, gate: Any) -> AsyncIterator[Caller]:
    """The unmodified SDK, without retries of its own unless a test asks for them."""
    async with openai.AsyncOpenAI(base_url="http://127.0.0.1:9", api_key="sk-mine", max_retries=0) as sdk:
        yield Caller(sdk)


def replay(entry: Recording, *, cut: bool) -> Behaviour:
    """Return what sends *entry*; cut at random places, the same ones in every run."""
    seed = crc32(entry.file.encode()) if cut else None
    return Behaviour(replay=STREAMS / entry.file, replay_type=entry.content_type, recut=seed)


async def call_through(gate: Any, upstream: Simulator | Upstream, keys: str = "") -> str:
    """Start a gate before *upstream*; *keys* are more of its route's, in YAML. Return its URL."""
    running = await gate(f"""
        upstreams: {{up: {{url: "{upstream.url}"}}}}
        routes: [{{path: /v1/*, upstream: up, output: openai{keys and ", " + keys}}}]
    """)
    return str(running.url)


# ---- nothing is lost -----------------------------------------------------------------------------


# Mistral's content is a list where the SDK's types have a string.
@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")
@pytest.mark.parametrize("entry", RECORDINGS, ids=str)
async def test_nothing_the_sdk_can_see_is_lost(simulator, gate, caller: Caller, entry: Recording):
    """A recorded stream accumulates to the same message, extras included, with the gate and without it."""
    upstream = await simulator(replay(entry, cut=False))
    direct = await caller.replayed(upstream.url, entry)
    upstream.behaviour = replay(entry, cut=True)
    running = await gate(ROUTES.format(url=upstream.url))
    names = NAMES[:2] if len(entry.body) > LONG else NAMES

    readings = await asyncio.gather(
        *(caller.replayed(f"{running.url}/{name}", entry, **WITH_USAGE) for name in names)
    )

    assert direct.text == entry.expected["text"]
    assert isinstance(direct.error, openai.APIError) == bool(entry.expected["error"])
    for name, reading in zip(names, readings, strict=True):
        assert type(reading.error) is type(direct.error), name
        assert reading.members == direct.members, name
        assert reading.messages == direct.messages, name
        assert reading.snapshot == direct.snapshot, name
        assert len(reading.chunks) <= len(direct.chunks), name
        if not reading.error:
            assert told_usage(reading.metadata[-1]) == entry.usage, name


def told_usage(metadata: dict[str, Any]) -> dict[str, int | None] | None:
    """Return the counts in final metadata that the upstream reported; None if it reported none."""
    counts = ("input_tokens", "output_tokens", "reasoning_tokens", "cached_tokens")
    if metadata["usage_source"] == "estimated":
        assert not metadata.keys() & set(counts) - {"output_tokens"} and metadata["total_tokens"] >= 0
        return None
    return {name: metadata.get(name) for name in counts}


async def test_equal_chunks_count_as_often_as_they_come(simulator, gate, caller: Caller):
    """Deltas with log probabilities are not joined, be they ever so equal: the SDK adds those up as well."""
    logprobs = {"content": [{"token": "ha", "logprob": -0.5, "bytes": [104, 97], "top_logprobs": []}]}
    choice = {"index": 0, "delta": {"content": "ha"}, "logprobs": logprobs, "finish_reason": None}
    chunk = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
    last = {**chunk, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    body = b"".join(b"data: %b\n\n" % json.dumps(said).encode() for said in [chunk] * 9 + [last])
    upstream = await simulator(Behaviour(replay=body + b"data: [DONE]\n\n"))
    url = await call_through(gate, upstream, "batch: {size: 50, delay: 1s}")

    direct = await caller.chat(upstream.url)
    reading = await caller.chat(url)

    assert reading.text == direct.text == "ha" * 9
    assert reading.snapshot == direct.snapshot


@pytest.mark.parametrize("entry", [entry for entry in RECORDINGS if entry.expected["error"]], ids=str)
async def test_a_recorded_error_keeps_its_words(simulator, gate, caller: Caller, entry: Recording):
    """What the upstream said went wrong reaches the SDK's exception unchanged."""
    upstream = await simulator(replay(entry, cut=True))
    url = await call_through(gate, upstream)

    direct = (await caller.replayed(upstream.url, entry)).error
    error = (await caller.replayed(url, entry)).error

    assert isinstance(error, openai.APIError) and isinstance(direct, openai.APIError)
    assert error.message == direct.message == entry.expected["error"]["message"]
    assert error.code == direct.code
    assert direct.type in (None, error.type)


USAGE_CHUNKS = [
    "openai_chat/01-test-records-token-counts-for-streaming-openai-l.sse",
    "snowflake_chat/01-test-snowflake-model-streaming.sse",
    "openai_chat/07-a491adda08c3d4fde95f5b2ee3f60f7f745f1a56d82e62f5.sse",
]


@pytest.mark.parametrize("file", USAGE_CHUNKS)
async def test_usage_nobody_asked_for_stays_away(simulator, gate, caller: Caller, file: str):
    """Without include_usage there is no chunk of usage alone, and all else is as it was."""
    entry = recording(file)
    upstream = await simulator(replay(entry, cut=True))
    url = await call_through(gate, upstream)

    direct = await caller.replayed(upstream.url, entry)
    reading = await caller.replayed(url, entry)

    assert direct.chunks[-1]["choices"] == [] and direct.usage
    direct.chunks = [chunk for chunk in direct.chunks if chunk["choices"]]
    assert all(chunk["choices"] for chunk in reading.chunks)
    assert reading.members == direct.members


@pytest.mark.parametrize("usage", [{}, WITH_USAGE], ids=["unasked", "asked"])
@pytest.mark.parametrize("metadata", ["final", "every"])
async def test_metadata_rides_on_chunks_that_exist(
    simulator, gate, caller: Caller, metadata: str, usage: dict[str, Any]
):
    """The final metadata comes once, with the upstream's counts; running metadata with each delta."""
    upstream = await simulator(Behaviour(tokens=12, reasoning=3, rate=200))
    url = await call_through(gate, upstream, f"metadata: {metadata}, batch: off")

    direct = await caller.chat(upstream.url, **usage)
    reading = await caller.chat(url, **usage)
    *running, final = reading.metadata

    assert len(reading.chunks) == len(direct.chunks)
    assert [told["token_count"] for told in running] == (list(range(1, 16)) if metadata == "every" else [])
    assert (final["total_tokens"], final["output_tokens"], final["usage_source"]) == (15, 15, "reported")
    assert "token_count" not in final


async def test_signs_of_life_say_nothing_to_the_sdk(simulator, gate, caller: Caller):
    """Heartbeats before and between the deltas change nothing the SDK accumulates."""
    upstream = await simulator(Behaviour(tokens=5, reasoning=2, tools=1, rate=40, first_token_delay=0.1))
    url = await call_through(gate, upstream, "heartbeat: 10ms, hold: 20ms")

    direct = await caller.chat(upstream.url, **WITH_USAGE)
    reading = await caller.chat(url, **WITH_USAGE)

    assert len(reading.chunks) > len(direct.chunks)
    assert {chunk["id"] for chunk in reading.chunks} == {reading.chunks[0]["id"]}
    assert (reading.text, reading.joined("reasoning_content")) == (
        direct.text,
        direct.joined("reasoning_content"),
    )
    assert (reading.calls(), reading.reasons) == (direct.calls(), direct.reasons)


async def test_the_answer_to_a_second_prompt_may_begin_late(gate, caller: Caller):
    """Where two prompts are answered one after the other, a pause between them does not end the stream."""
    # Longer than usage is waited for after the last finish.
    pauses = {0: 0.0, 1: 2.2}

    async def one_by_one(request: web.BaseRequest) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await answer.prepare(request)
        for prompt, pause in pauses.items():
            await asyncio.sleep(pause)
            for text, reason in (("so ", None), (f"spoke {prompt}", "stop")):
                choice = {"index": prompt, "text": text, "logprobs": None, "finish_reason": reason}
                chunk = {"id": "c", "object": "text_completion", "model": "m", "choices": [choice]}
                await answer.write(b"data: %b\n\n" % json.dumps(chunk).encode())
        await answer.write(b"data: [DONE]\n\n")
        return answer

    async with serving(one_by_one) as upstream:
        url = await call_through(gate, upstream)
        completions = caller.at(url).completions
        reading = await read(await completions.create(model="any", prompt=["a", "b"], stream=True))

    assert [reading.joined("text", prompt) for prompt in pauses] == ["so spoke 0", "so spoke 1"]
    assert reading.reasons == {0: "stop", 1: "stop"}


# ---- failures before the stream ------------------------------------------------------------------

REFUSALS: dict[str, tuple[type[openai.APIStatusError], int, str | None]] = {
    # fault: what the SDK raises, the status, the code; an upstream's own code stays
    "400": (openai.BadRequestError, 400, "context_length_exceeded"),
    "401": (openai.AuthenticationError, 401, "invalid_api_key"),
    "500_html": (openai.InternalServerError, 502, "upstream_error"),
    "503": (openai.InternalServerError, 503, "upstream_error"),
    "529": (openai.InternalServerError, 503, "overloaded"),
    "error_200": (openai.InternalServerError, 502, "upstream_error"),
    "html_200": (openai.InternalServerError, 502, "upstream_content_type"),
    "empty": (openai.InternalServerError, 502, "upstream_empty"),
    "redirect": (openai.InternalServerError, 502, "upstream_redirect"),
    "close": (openai.InternalServerError, 502, "upstream_disconnected"),
    "refuse": (openai.InternalServerError, 502, "upstream_disconnected"),
    "garbage": (openai.InternalServerError, 502, "upstream_protocol"),
    "silence": (openai.InternalServerError, 504, "first_token_timeout"),
    "headers_then_silence": (openai.InternalServerError, 504, "first_token_timeout"),
    "pings_only": (openai.InternalServerError, 504, "first_token_timeout"),
}


@pytest.mark.parametrize("fault", REFUSALS)
async def test_failures_before_the_stream_are_statuses(simulator, gate, caller: Caller, fault: str):
    """What goes wrong before the first token is raised by ``create`` as the SDK's error of that status."""
    kind, status, code = REFUSALS[fault]
    upstream = await simulator()
    upstream.behaviour = Behaviour(fault=fault)
    # The others must not fail of a busy machine.
    patience = "timeouts: {first_token: 400ms}" if status == 504 else ""
    url = await call_through(gate, upstream, patience)

    with pytest.raises(kind) as raised:
        await caller.chat(url)

    assert (raised.value.status_code, raised.value.code) == (status, code)
    assert raised.value.request_id
    assert "<html" not in raised.value.message and len(upstream.requests) == 1


async def test_an_upstreams_own_words_reach_the_exception(simulator, gate, caller: Caller):
    """Message, type, param and code of an upstream's 400 are the exception's, as without the gate."""
    upstream = await simulator(Behaviour(fault="400"))
    url = await call_through(gate, upstream)

    with pytest.raises(openai.BadRequestError) as direct:
        await caller.chat(upstream.url)
    with pytest.raises(openai.BadRequestError) as through:
        await caller.chat(url)

    assert through.value.body == direct.value.body


async def test_a_path_nobody_knows_is_not_found(simulator, gate, caller: Caller):
    """Both a path without a route and one that the upstream refuses raise NotFoundError."""
    upstream = await simulator()
    url = await call_through(gate, upstream)

    with pytest.raises(openai.NotFoundError) as ours:
        await caller.chat(f"{url}/elsewhere")
    with pytest.raises(openai.NotFoundError, match="Nothing is simulated here"):
        await caller.at(url).embeddings.create(model="any", input="?")

    assert ours.value.code == "not_found"


async def test_nobody_listening_is_told_at_once(simulator, gate, caller: Caller):
    """An upstream that refuses connections raises a 502 of code upstream_connect."""
    upstream = await simulator(Behaviour(fault="refuse"))
    url = await call_through(gate, upstream)

    with pytest.raises(openai.InternalServerError) as raised:
        await caller.chat(url)

    assert (raised.value.status_code, raised.value.code) == (502, "upstream_connect")


async def test_the_list_of_models_fails_in_words(simulator, gate, caller: Caller):
    """Also where no stream is in play, the exception carries our code and message."""
    closed = await simulator(Behaviour(fault="refuse"))
    running = await gate(everything_to(closed.url))

    with pytest.raises(openai.APIStatusError) as caught:
        await caller.at(running.url).models.list()

    assert (caught.value.status_code, caught.value.code) == (502, "upstream_connect")
    assert "'up' refused the connection" in caught.value.message
    assert caught.value.body == {
        "message": "upstream 'up' refused the connection or cannot be reached",
        "type": "upstream_error",
        "param": None,
        "code": "upstream_connect",
    }


async def test_an_upstreams_429_keeps_its_retry_after(simulator, gate, caller: Caller):
    """The SDK raises RateLimitError with the upstream's Retry-After, after as many retries as it was told."""
    upstream = await simulator(Behaviour(fault="429", retry_after=0))
    url = await call_through(gate, upstream)

    with pytest.raises(openai.RateLimitError) as raised:
        await caller.at(url, max_retries=1).chat.completions.create(
            model="any", messages=MESSAGES, stream=True
        )

    assert raised.value.response.headers["Retry-After"] == "0"
    assert "x-should-retry" not in raised.value.response.headers
    assert [seen.headers["x-stainless-retry-count"] for seen in upstream.requests] == ["0", "1"]


@pytest.mark.parametrize("fault", ["html_200", "redirect", "garbage", "silence"])
async def test_what_would_only_cost_again_is_not_retried(simulator, gate, caller: Caller, fault: str):
    """``x-should-retry: false`` keeps the SDK from asking the upstream twice."""
    upstream = await simulator(Behaviour(fault=fault))
    url = await call_through(gate, upstream, "timeouts: {first_token: 1s}")

    with pytest.raises(openai.InternalServerError):
        await caller.at(url, max_retries=2).chat.completions.create(
            model="any", messages=MESSAGES, stream=True
        )

    assert len(upstream.requests) == 1


async def test_a_bad_credential_of_the_gate_is_not_the_callers(simulator, gate, caller: Caller):
    """The upstream's 401 for the gate's own key is one 502, not retried, and quotes nobody's key."""
    upstream = await simulator(Behaviour(fault="401"))
    running = await gate(f"""
        upstreams: {{up: {{url: "{upstream.url}", headers: {{Authorization: Bearer sk-of-the-gate}}}}}}
        routes: [{{path: /v1/*, upstream: up}}]
    """)

    with pytest.raises(openai.InternalServerError) as raised:
        await caller.at(running.url, max_retries=2).chat.completions.create(
            model="any", messages=MESSAGES, stream=True
        )

    assert (raised.value.status_code, raised.value.code) == (502, "upstream_auth")
    assert [seen.headers["Authorization"] for seen in upstream.requests] == ["Bearer sk-of-the-gate"]
    assert "sk-" not in raised.value.response.text


async def test_request_ids_are_the_upstreams(simulator, gate, caller: Caller):
    """``with_raw_response`` and every error show the x-request-id that the upstream gave."""
    upstream = await simulator(Behaviour(tokens=3, seed=7))
    url = await call_through(gate, upstream)
    ask = caller.at(url).chat.completions.with_raw_response.create

    streamed = await ask(model="any", messages=MESSAGES, stream=True)
    await read(streamed.parse())
    whole = await ask(model="any", messages=MESSAGES)

    # The simulator makes request ids and completion ids of one key.
    assert streamed.headers["x-request-id"].startswith("req_")
    assert whole.headers["x-request-id"].removeprefix("req_") == whole.parse().id.removeprefix("chatcmpl-")
    assert streamed.headers["x-request-id"] != whole.headers["x-request-id"]
    assert streamed.headers["X-Stream-ID"]


# ---- failures in the stream ----------------------------------------------------------------------

BREAKS: dict[str, str] = {
    "error_event": "overloaded",
    "eof": "upstream_truncated",
    "cut": "upstream_truncated",
    "reset": "upstream_truncated",
    "short_length": "upstream_truncated",
    "no_finish": "upstream_truncated",
    "bad_chunk": "upstream_protocol",
    "bad_json": "upstream_bad_event",
    "giant_event": "event_too_large",
    "stall": "idle_timeout",
}


@pytest.mark.parametrize("fault", BREAKS)
async def test_failures_in_the_stream_are_raised_after_the_text(simulator, gate, caller: Caller, fault: str):
    """Whatever breaks a stream raises APIError with its code, once all the text before it has been read."""
    # Paced, for what breaks in one read with the head is no stream yet.
    behaviour = Behaviour(tokens=20, fault_after=7, rate=200)
    upstream = await simulator(behaviour)
    whole = await caller.chat(upstream.url)
    upstream.behaviour = replace(behaviour, fault=fault)
    idle = "400ms" if fault == "stall" else "5m"
    url = await call_through(
        gate, upstream, f"timeouts: {{idle: {idle}}}, max_event: 64KiB, batch: {{size: 50, delay: 1s}}"
    )

    reading = await caller.chat(url)

    assert type(reading.error) is openai.APIError
    assert reading.error.code == BREAKS[fault]
    pieces = [chunk["choices"][0]["delta"].get("content") or "" for chunk in whole.chunks]
    spoken = [piece for piece in pieces if piece]
    if fault in ("short_length", "no_finish"):  # these strike elsewhere
        assert reading.text and whole.text.startswith(reading.text)
    else:
        assert reading.text == "".join(spoken[:7])
    assert reading.reasons == {}


async def test_without_the_gate_a_cut_answer_looks_whole(simulator, caller: Caller):
    """The reason for all this: the SDK alone takes a truncated stream for a complete one."""
    upstream = await simulator(Behaviour(tokens=20, fault="eof"))

    reading = await caller.chat(upstream.url)

    assert reading.error is None and reading.text and reading.reasons == {}


async def test_an_error_instead_of_the_first_token_is_a_status(simulator, gate, caller: Caller):
    """An error event that comes before any text is raised by ``create``, so that the SDK may retry."""
    upstream = await simulator(Behaviour(fault="error_event", fault_after=0))
    url = await call_through(gate, upstream)

    with pytest.raises(openai.InternalServerError, match="Overloaded") as raised:
        await caller.chat(url)

    assert raised.value.status_code == 502


async def test_leaving_closes_the_upstream(simulator, gate, caller: Caller):
    """A reader that stops iterating and closes is counted as gone, and so it is at the upstream."""
    upstream = await simulator(Behaviour(tokens=100_000, rate=500))
    url = await call_through(gate, upstream)

    stream = await caller.at(url).chat.completions.create(model="any", messages=MESSAGES, stream=True)
    async for _ in stream:
        break
    await stream.close()
    left_at = asyncio.get_running_loop().time()
    async with asyncio.timeout(2):
        while not upstream.gone:
            await asyncio.sleep(0.005)

    assert upstream.last_gone_at is not None and upstream.last_gone_at - left_at < 0.5


# ---- other dialects behind the same SDK ----------------------------------------------------------

OTHERS = {"anthropic": "/v1/messages", "ollama": "/api/chat"}


@pytest.mark.parametrize("tools", [0, 2], ids=["text", "tools"])
@pytest.mark.parametrize("dialect", OTHERS)
async def test_other_upstreams_read_like_openai(simulator, gate, caller: Caller, dialect: str, tools: int):
    """An Anthropic or Ollama upstream says to the SDK what the same model says on an OpenAI endpoint."""
    upstream = await simulator(Behaviour(tokens=60, reasoning=20, tools=tools, seed=3))
    running = await gate(f"""
        upstreams: {{up: {{url: "{upstream.url}"}}}}
        routes:
          - {{path: /v1/chat/completions, upstream: up, upstream_path: {OTHERS[dialect]}, output: openai}}
    """)

    native = await caller.chat(upstream.url)
    reading = await caller.chat(running.url, **WITH_USAGE)

    assert reading.error is None
    assert reading.text == native.text
    assert _values(reading.calls()) == _values(native.calls())
    assert reading.joined("reasoning_content") == native.joined("reasoning_content") != ""
    assert reading.reasons == native.reasons == {0: "tool_calls" if tools else "stop"}
    # The simulator counts a token for each four bytes asked, and for each piece said.
    assert reading.usage is not None
    assert reading.usage["prompt_tokens"] == -(-len(upstream.requests[-1].body) // 4)
    assert reading.usage["completion_tokens"] >= 80
    assert reading.usage["total_tokens"] == (
        reading.usage["prompt_tokens"] + reading.usage["completion_tokens"]
    )


def _values(calls: list[tuple[str, str]]) -> list[tuple[str, Any]]:
    """Ollama gives arguments as an object, so their blanks are not the model's."""
    return [(name, json.loads(arguments)) for name, arguments in calls]


@pytest.mark.parametrize("dialect", OTHERS)
async def test_other_upstreams_are_asked_in_their_own_words(simulator, gate, caller: Caller, dialect: str):
    """No OpenAI option is put into a body that goes to another vendor's endpoint."""
    upstream = await simulator(Behaviour(tokens=3))
    running = await gate(f"""
        upstreams: {{up: {{url: "{upstream.url}"}}}}
        routes:
          - {{path: /v1/chat/completions, upstream: up, upstream_path: {OTHERS[dialect]}, output: openai}}
    """)

    reading = await caller.chat(running.url)

    assert reading.usage is None and reading.reasons == {0: "stop"}
    assert b"stream_options" not in upstream.requests[0].body


@pytest.mark.parametrize("dialect", OTHERS)
async def test_a_cut_answer_of_another_dialect_is_raised(simulator, gate, caller: Caller, dialect: str):
    """Truncation upstream of a translation raises APIError too, after the text."""
    upstream = await simulator(Behaviour(tokens=20, fault="eof", fault_after=7))
    running = await gate(f"""
        upstreams: {{up: {{url: "{upstream.url}"}}}}
        routes:
          - {{path: /v1/chat/completions, upstream: up, upstream_path: {OTHERS[dialect]}, output: openai}}
    """)

    reading = await caller.chat(running.url)

    assert isinstance(reading.error, openai.APIError) and reading.error.code == "upstream_truncated"
    assert reading.text
