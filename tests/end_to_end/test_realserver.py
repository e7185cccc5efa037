"""
A real llama.cpp server behind the gate, read by real clients: what it says is the same with and without it.

Two generations differ in ids, times and what was cached; all else is compared.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from typing import Any

import aiohttp
import openai
import pytest

from ssegate.wire.dialects import DIALECTS

from .realserver import SCRIPTS, Call, Llama, Script
from .sdk_reading import Reading, read

pytestmark = pytest.mark.xdist_group("realserver")  # one server is enough

PROPERTIES = {
    "get_weather": {"city": {"type": "string"}, "days": {"type": "integer"}},
    "look_up": {"query": {"type": "string"}},
}
TOOLS: list[Any] = [
    {
        "type": "function",
        "function": {
            "name": name,
            "strict": True,
            "parameters": {
                "type": "object",
                "properties": properties,
                "required": [*properties],
                "additionalProperties": False,
            },
        },
    }
    for name, properties in PROPERTIES.items()
]
ANTHROPIC_TOOLS = [
    {"name": name, "input_schema": {"type": "object", "properties": properties}}
    for name, properties in PROPERTIES.items()
]
WITH_USAGE: Any = {"stream_options": {"include_usage": True}}

BATCHES = {"default": "{size: 5, delay: 40ms}", "large": "{size: 50, delay: 1s}", "off": "off"}
TELLING = ["plain", "unicode", "long", "json"]
"""Scripts that are text alone: what endpoints without marks say as it is."""

CONFIG = """
upstreams:
  llama: {{url: "{url}"}}
defaults: {{upstream: llama, upstream_path: "/*"}}
routes:
  - {{path: "/default/*", batch: {default}}}
  - {{path: "/large/*", batch: {large}, metadata: every}}
  - {{path: "/off/*", batch: {off}, metadata: off}}
  - {{path: "/unasked/*", set: {{stream_options: null}}}}
  - {{path: /translated/v1/chat/completions, upstream_path: /v1/messages, output: openai}}
  - {{path: /own, upstream_path: /completion, output: native}}
  - {{path: /own/v1/completions, upstream_path: /completion, output: openai}}
  - {{path: /respond, upstream_path: /v1/responses, output: native}}
  - {{path: /talk, upstream_path: /v1/chat/completions, output: native}}
  - path: /ask
    upstream_path: /v1/chat/completions
    from_prompt:
      body:
        model: scripted
        messages: [{{role: user, content: "{{prompt}}"}}]
"""


@pytest.fixture
async def url(gate: Any, llama: Llama) -> str:
    """A gate before the real server."""
    running = await gate(CONFIG.format(url=llama.url, **BATCHES))
    return str(running.url)


@pytest.fixture
async def sdk(gate: Any, llama: Llama) -> AsyncIterator[openai.AsyncOpenAI]:
    """The unmodified SDK, aimed at the server itself."""
    async with openai.AsyncOpenAI(base_url=f"{llama.url}/v1", api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture
async def http(gate: Any) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


def asked(name: str) -> dict[str, Any]:
    """Return what makes the model say script *name* in a chat."""
    asking: dict[str, Any] = {"model": "scripted", "messages": [{"role": "user", "content": name}]}
    return {**asking, "tools": TOOLS} if SCRIPTS[name].calls else asking


async def chat(sdk: openai.AsyncOpenAI, name: str, **more: Any) -> Reading:
    return await read(await sdk.chat.completions.create(**asked(name), stream=True, **more))


async def complete(sdk: openai.AsyncOpenAI, prompt: str | list[str], **more: Any) -> Reading:
    return await read(await sdk.completions.create(model="scripted", prompt=prompt, stream=True, **more))


def lasting(reading: Reading) -> dict[str, Any]:
    """Return the members that two generations have in common."""
    passing = (".id", "created", ".timings", ".usage.prompt_tokens_details")
    return {
        path: said
        for path, said in reading.members.items()
        if not path.startswith(passing) and not path.endswith("].id")
    }


def spoken(reading: Reading, choice: int = 0) -> Script:
    """Return the parts of an answer as the script has them."""
    calls = tuple(Call(*call) for call in reading.calls(choice))
    return Script(reading.joined("content", choice), reading.joined("reasoning_content", choice), calls)


# ---- by the SDK ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SCRIPTS)
async def test_a_chat_is_the_same(sdk: openai.AsyncOpenAI, url: str, name: str):
    """Text, reasoning, calls, finish, and usage if it was asked for, are what the server says without us."""
    gated = [sdk.with_options(base_url=f"{url}/{batch}/v1") for batch in BATCHES]
    direct = await chat(sdk, name, **WITH_USAGE)

    readings = await asyncio.gather(*(chat(client, name, **WITH_USAGE) for client in gated))

    for reading in readings:
        assert spoken(reading) == SCRIPTS[name]
        assert lasting(reading) == lasting(direct)
        assert reading.reasons == {0: "tool_calls" if SCRIPTS[name].calls else "stop"}
        assert reading.usage and reading.usage["completion_tokens"] > 0
        assert {chunk["id"] for chunk in reading.chunks} == {reading.chunks[0]["id"]}


@pytest.mark.parametrize("batch", BATCHES)
async def test_usage_nobody_asked_for_stays_away(sdk: openai.AsyncOpenAI, url: str, batch: str):
    """The gate asks the server for usage; a client that did not sees none, and no chunk without choices."""
    direct = await chat(sdk, "reasoning")
    reading = await chat(sdk.with_options(base_url=f"{url}/{batch}/v1"), "reasoning")

    assert reading.usage is None and all(chunk["choices"] for chunk in reading.chunks)
    assert lasting(reading) == lasting(direct)


async def test_a_server_need_not_be_asked_for_usage(sdk: openai.AsyncOpenAI, url: str):
    """With ``set: {stream_options: null}`` the server writes its timings on the finish, as if unasked."""
    direct = await chat(sdk, "plain")
    reading = await chat(sdk.with_options(base_url=f"{url}/unasked/v1"), "plain")

    assert reading.members.keys() == direct.members.keys()
    assert any(path.startswith(".timings") for path in direct.members)


async def test_batching_makes_fewer_chunks(sdk: openai.AsyncOpenAI, url: str):
    """The larger the batch, the fewer chunks; with batching off there are as many as without the gate."""
    counts = {
        batch: len((await chat(sdk.with_options(base_url=f"{url}/{batch}/v1"), "long")).chunks)
        for batch in BATCHES
    }

    assert counts["large"] < counts["default"] < counts["off"] == len((await chat(sdk, "long")).chunks)


async def test_many_at_once_do_not_mix(sdk: openai.AsyncOpenAI, url: str):
    """Twice as many streams as the server has slots, over one gate, each get their own answer."""
    gated = sdk.with_options(base_url=f"{url}/default/v1")

    readings = await asyncio.gather(*(chat(gated, name) for name in SCRIPTS))

    assert [spoken(reading) for reading in readings] == list(SCRIPTS.values())


@pytest.mark.parametrize("batch", BATCHES)
async def test_two_choices_are_kept_apart(sdk: openai.AsyncOpenAI, url: str, batch: str):
    """Of ``n=2`` both choices come whole, each with its finish."""
    gated = sdk.with_options(base_url=f"{url}/{batch}/v1")

    direct = await chat(sdk, "reasoning", n=2, **WITH_USAGE)
    reading = await chat(gated, "reasoning", n=2, **WITH_USAGE)

    assert spoken(reading, 0) == spoken(reading, 1) == SCRIPTS["reasoning"]
    assert reading.reasons == direct.reasons == {0: "stop", 1: "stop"}
    assert lasting(reading) == lasting(direct)


@pytest.mark.parametrize("name", SCRIPTS)
async def test_the_stream_helper_builds_the_same_message(sdk: openai.AsyncOpenAI, url: str, name: str):
    """``.stream()`` fires its events and ends in the message that the script is."""
    text = ""
    gated = sdk.with_options(base_url=f"{url}/default/v1")

    async with gated.chat.completions.stream(**asked(name)) as stream:
        async for event in stream:
            if event.type == "content.delta":
                text += event.delta
        completion = await stream.get_final_completion()

    assert text == SCRIPTS[name].text
    assert of_message(completion.choices[0].message) == SCRIPTS[name]


@pytest.mark.parametrize("name", ["unicode", "reasoning", "parallel", "unicode_tool"])
async def test_the_synchronous_sdk_reads_the_same(url: str, name: str):
    """``OpenAI``, without async, gets the script by its own accumulation and by its helper."""

    def both_ways() -> tuple[str, object]:
        with openai.OpenAI(base_url=f"{url}/default/v1", api_key="none", max_retries=0) as client:
            chunks = client.chat.completions.create(**asked(name), stream=True)
            text = "".join(c.delta.content or "" for chunk in chunks for c in chunk.choices)
            with client.chat.completions.stream(**asked(name)) as stream:
                return text, stream.get_final_completion().choices[0].message

    text, message = await asyncio.to_thread(both_ways)

    assert text == SCRIPTS[name].text
    assert of_message(message) == SCRIPTS[name]


def of_message(message: Any) -> Script:
    calls = tuple(Call(call.function.name, call.function.arguments) for call in message.tool_calls or ())
    return Script(message.content or "", getattr(message, "reasoning_content", None) or "", calls)


@pytest.mark.parametrize("usage", [{}, WITH_USAGE], ids=["unasked", "asked"])
@pytest.mark.parametrize("name", [*TELLING, "reasoning"])
async def test_a_legacy_completion_is_the_same(
    sdk: openai.AsyncOpenAI, url: str, name: str, usage: dict[str, Any]
):
    """``/v1/completions`` streams the model's own words, marks and all."""
    gated = [sdk.with_options(base_url=f"{url}/{batch}/v1") for batch in BATCHES]
    direct = await complete(sdk, f"<|say:{name}|>", **usage)

    readings = await asyncio.gather(*(complete(client, f"<|say:{name}|>", **usage) for client in gated))

    for reading in readings:
        assert reading.text == SCRIPTS[name].raw
        assert lasting(reading) == lasting(direct)
        assert reading.reasons == {0: "stop"}


@pytest.mark.parametrize("batch", BATCHES)
async def test_several_prompts_get_an_answer_each(sdk: openai.AsyncOpenAI, url: str, batch: str):
    """A legacy completion of two prompts has two choices, one for each."""
    reading = await complete(
        sdk.with_options(base_url=f"{url}/{batch}/v1"), ["<|say:plain|>", "<|say:long|>"]
    )

    assert [reading.joined("text", choice) for choice in (0, 1)] == [
        SCRIPTS["plain"].raw,
        SCRIPTS["long"].raw,
    ]
    assert reading.reasons == {0: "stop", 1: "stop"}


@pytest.mark.parametrize("name", SCRIPTS)
async def test_messages_translated_for_the_sdk(sdk: openai.AsyncOpenAI, url: str, name: str):
    """The server's Anthropic-shaped endpoint, read by the OpenAI SDK, says what its own chat says."""
    asking = {**asked(name), "max_tokens": 4096, "extra_body": {}}
    if asking.pop("tools", None):
        asking["extra_body"] = {"tools": ANTHROPIC_TOOLS}

    direct = await chat(sdk, name, **WITH_USAGE)
    reading = await read(
        await sdk.with_options(base_url=f"{url}/translated/v1").chat.completions.create(
            **asking, stream=True, **WITH_USAGE
        )
    )

    assert reading.error is None
    assert spoken(reading) == spoken(direct)
    assert reading.reasons == direct.reasons
    assert reading.usage and direct.usage
    assert reading.usage["completion_tokens"] == direct.usage["completion_tokens"]


# ---- what is no stream ---------------------------------------------------------------------------


async def test_models_pass_as_they_are(sdk: openai.AsyncOpenAI, url: str, http: aiohttp.ClientSession):
    """``GET /v1/models`` is the server's own answer."""
    gated = sdk.with_options(base_url=f"{url}/default/v1")

    models, direct = await gated.models.list(), await sdk.models.list()

    assert [model.id for model in models.data] == [model.id for model in direct.data] != []
    assert untimed(models.to_dict()) == untimed(direct.to_dict())


def untimed(value: Any) -> Any:
    """Return *value* without its times."""
    if isinstance(value, dict):
        return {name: untimed(item) for name, item in value.items() if name != "created"}
    return [untimed(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize("name", SCRIPTS)
async def test_a_whole_answer_stays_whole(sdk: openai.AsyncOpenAI, url: str, name: str):
    """Without ``stream`` the SDK gets the server's one JSON document."""
    gated = sdk.with_options(base_url=f"{url}/default/v1")

    direct, whole = [await client.chat.completions.create(**asked(name)) for client in (sdk, gated)]

    assert of_message(whole.choices[0].message) == SCRIPTS[name]
    assert whole.choices[0].finish_reason == direct.choices[0].finish_reason
    assert whole.usage and direct.usage and whole.usage.total_tokens == direct.usage.total_tokens
    assert "ssegate" not in whole.to_dict()


async def test_a_bad_request_keeps_the_servers_words(sdk: openai.AsyncOpenAI, url: str):
    """What the server says against a request is what the SDK raises, stream or not."""
    gated = sdk.with_options(base_url=f"{url}/default/v1")

    for stream in (True, False):
        with pytest.raises(openai.BadRequestError, match="'messages' is required") as raised:
            await gated.chat.completions.create(
                model="scripted",
                messages=openai.omit,
                stream=stream,  # type: ignore[arg-type]
            )
        assert raised.value.type == "invalid_request_error"


# ---- Anthropic's shape ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", SCRIPTS)
async def test_messages_are_the_same(http: aiohttp.ClientSession, llama: Llama, url: str, name: str):
    """``/v1/messages`` streams the same content blocks, stop reason and usage as without the gate."""
    asking = {**asked(name), "max_tokens": 4096, "stream": True}
    if "tools" in asking:
        asking["tools"] = ANTHROPIC_TOOLS

    async def message(base: str) -> dict[str, Any]:
        async with http.post(f"{base}/v1/messages", json=asking) as answer:
            assert (answer.status, answer.content_type) == (200, "text/event-stream")
            return message_of(await answer.text())

    direct = await message(llama.url)
    messages = await asyncio.gather(*(message(f"{url}/{batch}") for batch in BATCHES))

    assert messages == [direct] * len(BATCHES)
    assert said_in(direct["content"].values()) == SCRIPTS[name]


def message_of(body: str) -> dict[str, Any]:
    """Accumulate a stream of Messages events as Anthropic's SDK does, but for ids and what was cached."""
    message: dict[str, Any] = {"content": {}, "ended": 0}
    for block in body.split("\n\n")[:-1]:
        event, data = (line.partition(": ")[2] for line in block.split("\n"))
        said = json.loads(data)
        assert said["type"] == event and not message["ended"]
        if event == "message_start":
            usage = said["message"]["usage"]
            message["model"] = said["message"]["model"]
            message["input_tokens"] = usage["input_tokens"] + usage["cache_read_input_tokens"]
        elif event == "content_block_start":
            block_said = {key: value for key, value in said["content_block"].items() if key != "id"}
            message["content"][said["index"]] = block_said
        elif event == "content_block_delta":
            content = message["content"][said["index"]]
            (name,) = said["delta"].keys() - {"type"}
            content[name] = content.get(name, "") + said["delta"][name]
        elif event == "message_delta":
            message |= said["delta"] | {"output_tokens": said["usage"]["output_tokens"]}
        elif event == "message_stop":
            message["ended"] += 1
    assert message["ended"] == 1
    return message


def said_in(content: Iterable[dict[str, Any]]) -> Script:
    """Return content blocks as the script has them."""
    text = reasoning = ""
    calls = []
    for block in content:
        text += block.get("text", "")
        reasoning += block.get("thinking", "")
        if block["type"] == "tool_use":
            calls.append(Call(block["name"], block.get("partial_json") or json.dumps(block["input"])))
    return Script(text, reasoning, tuple(calls))


async def test_a_whole_message_stays_whole(http: aiohttp.ClientSession, llama: Llama, url: str):
    """Without ``stream`` the Anthropic-shaped answer passes as the JSON it is."""
    asking = {**asked("reasoning"), "max_tokens": 4096}
    answers = []
    for base in (llama.url, f"{url}/default"):
        async with http.post(f"{base}/v1/messages", json=asking) as answer:
            assert answer.content_type == "application/json"
            answers.append(await answer.json())

    direct, whole = answers
    script = SCRIPTS["reasoning"]
    assert said_in(whole["content"]) == Script(script.text, script.reasoning)
    assert {**whole, "id": "", "usage": {}} == {**direct, "id": "", "usage": {}}


# ---- its own shape, and Responses ----------------------------------------------------------------


@pytest.mark.parametrize("name", SCRIPTS)
async def test_its_own_completion_is_the_same(http: aiohttp.ClientSession, llama: Llama, url: str, name: str):
    """``/completion`` streams the model's words in llama.cpp's own events; the last one has the counts."""
    asking = {"prompt": f"<|say:{name}|>", "stream": True, "n_predict": 4096}

    async def said(base: str) -> tuple[str, dict[str, Any]]:
        async with http.post(f"{base}/completion", json=asking) as answer:
            assert (answer.status, answer.content_type) == (200, "text/event-stream")
            events = [json.loads(line[6:]) for line in (await answer.text()).split("\n") if line]
        assert [event["stop"] for event in events] == [False] * (len(events) - 1) + [True]
        counts = ("tokens_predicted", "tokens_evaluated", "stop_type", "truncated", "model", "prompt")
        return "".join(event["content"] for event in events), {key: events[-1][key] for key in counts}

    direct = await said(llama.url)
    gated = await asyncio.gather(*(said(f"{url}/{batch}") for batch in BATCHES))

    assert direct[0] == SCRIPTS[name].raw
    assert gated == [direct] * len(BATCHES)


@pytest.mark.parametrize("name", SCRIPTS)
async def test_its_own_completion_translated(
    http: aiohttp.ClientSession, sdk: openai.AsyncOpenAI, url: str, name: str
):
    """``/completion`` read as native and by the OpenAI SDK."""
    asking: dict[str, Any] = {"prompt": f"<|say:{name}|>", "n_predict": 4096}

    async with http.post(f"{url}/own", json=asking) as answer:
        *told, last = await lines(answer)
    reading = await complete(
        sdk.with_options(base_url=f"{url}/own/v1"), asking.pop("prompt"), extra_body=asking
    )

    assert "".join(event["token"] for event in told) == reading.text == SCRIPTS[name].raw
    assert (last["finish_reason"], reading.reasons) == ("stop", {0: "stop"})
    assert last["metadata"]["usage_source"] == "reported"


@pytest.mark.skipif("responses" not in DIALECTS, reason="the dialect is not built yet")
@pytest.mark.parametrize("name", SCRIPTS)
async def test_a_response_is_the_same(http: aiohttp.ClientSession, llama: Llama, url: str, name: str):
    """``/v1/responses`` streams the same response, by every batch and as native."""
    asking: dict[str, Any] = {"model": "scripted", "input": name, "stream": True}
    if SCRIPTS[name].calls:
        asking["tools"] = [{"type": "function", **tool["function"]} for tool in TOOLS]

    async def response(base: str) -> dict[str, Any]:
        async with http.post(f"{base}/v1/responses", json=asking) as answer:
            assert (answer.status, answer.content_type) == (200, "text/event-stream")
            return response_of(await answer.text())

    direct = await response(llama.url)
    gated = await asyncio.gather(*(response(f"{url}/{batch}") for batch in BATCHES))
    async with http.post(f"{url}/respond", json=asking) as answer:
        *told, last = await lines(answer)

    assert gated == [direct] * len(BATCHES)
    assert direct["text"] == "".join(event["token"] for event in told) == SCRIPTS[name].text
    assert "".join(event.get("reasoning", "") for event in told) == direct["reasoning"]
    calls = [event["tool_call"] for event in told if "tool_call" in event]
    assert [call["name"] for call in calls if "name" in call] == [call[0] for call in direct["calls"]]
    assert last["finish_reason"] == ("tool_calls" if SCRIPTS[name].calls else "stop")
    assert last["metadata"]["output_tokens"] == direct["usage"]["output_tokens"]


def response_of(body: str) -> dict[str, Any]:
    """Add up a stream of Responses events, but for ids and times."""
    said: dict[str, Any] = {"text": "", "reasoning": "", "calls": [], "usage": None}
    for block in body.split("\n\n")[:-1]:
        event, data = (line.partition(": ")[2] for line in block.split("\n"))
        told = json.loads(data)
        assert told["type"] == event and said["usage"] is None
        match event:
            case "response.output_text.delta":
                said["text"] += told["delta"]
            case "response.reasoning_text.delta" | "response.reasoning_summary_text.delta":
                said["reasoning"] += told["delta"]
            case "response.output_item.done" if told["item"]["type"] == "function_call":
                said["calls"].append((told["item"]["name"], told["item"]["arguments"]))
            case "response.completed":
                usage = told["response"]["usage"]
                said["usage"] = {key: usage[key] for key in ("input_tokens", "output_tokens")}
    assert said["usage"] is not None
    return said


# ---- native --------------------------------------------------------------------------------------


async def lines(answer: aiohttp.ClientResponse) -> list[dict[str, Any]]:
    """Read as a page does: every line that begins with ``data: ``."""
    assert answer.status == 200, await answer.text()
    return [
        json.loads(line.removeprefix(b"data: "))
        async for line in answer.content
        if line.startswith(b"data: ")
    ]


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("name", [*TELLING, "reasoning"])
async def test_a_prompt_is_all_a_page_sends(
    http: aiohttp.ClientSession, sdk: openai.AsyncOpenAI, url: str, name: str, method: str
):
    """A reader of ``data: `` lines gets the text, then the counts that the server itself reports."""
    query, body = ({"prompt": name}, None) if method == "GET" else ({}, {"prompt": name})
    usage = (await chat(sdk, name, **WITH_USAGE)).usage

    async with http.request(method, f"{url}/ask", params=query, json=body) as answer:
        *told, last = await lines(answer)

    assert "".join(event["token"] for event in told) == SCRIPTS[name].text
    assert "".join(event.get("reasoning", "") for event in told) == SCRIPTS[name].reasoning
    assert not any(event["finished"] for event in told)
    assert (last["finished"], last["finish_reason"]) == (True, "stop")
    metadata = last["metadata"]
    assert usage and metadata["usage_source"] == "reported"
    assert metadata["input_tokens"] == usage["prompt_tokens"]
    assert metadata["total_tokens"] == metadata["output_tokens"] == usage["completion_tokens"]
    assert 0 < metadata["time_to_first_token"] <= metadata["total_time"] < 60
    assert metadata["model"].endswith("scripted.gguf")
    counts = [event["metadata"]["token_count"] for event in told]
    assert counts == sorted(set(counts)) and counts[-1] <= usage["completion_tokens"]


@pytest.mark.parametrize("name", [name for name, script in SCRIPTS.items() if script.calls])
async def test_native_tells_tool_calls(
    http: aiohttp.ClientSession, sdk: openai.AsyncOpenAI, url: str, name: str
):
    """A chat body on a native route: calls open with name and id, arguments follow, usage is reported."""
    usage = (await chat(sdk, name, **WITH_USAGE)).usage

    async with http.post(f"{url}/talk", json=asked(name)) as answer:
        *told, last = await lines(answer)

    calls: dict[int, list[str]] = {}
    for call in (event["tool_call"] for event in told if "tool_call" in event):
        if call["index"] not in calls:
            assert call["id"]
            calls[call["index"]] = [call["name"], ""]
        calls[call["index"]][1] += call["arguments"]
    assert tuple(Call(*calls[index]) for index in range(len(calls))) == SCRIPTS[name].calls
    assert "".join(event["token"] for event in told) == SCRIPTS[name].text
    assert last["finish_reason"] == "tool_calls"
    assert usage and last["metadata"]["usage_source"] == "reported"
    assert last["metadata"]["output_tokens"] == usage["completion_tokens"]


# ---- leaving -------------------------------------------------------------------------------------


async def busy(http: aiohttp.ClientSession, llama: Llama) -> int:
    """Return how many of the server's slots are generating."""
    async with http.get(f"{llama.url}/slots") as answer:
        return sum(slot["is_processing"] for slot in await answer.json())


@pytest.mark.parametrize("base", ["/default/v1", "/translated/v1"])
async def test_leaving_frees_the_slot(
    sdk: openai.AsyncOpenAI, http: aiohttp.ClientSession, llama: Llama, url: str, base: str
):
    """An SDK that leaves in mid-stream stops the generation: its slot is free long before it would end."""
    # Without an end mark the model goes on until its context is full, for seconds.
    stream = await sdk.with_options(base_url=f"{url}{base}").chat.completions.create(
        **asked("long"), stream=True, max_tokens=16_000, extra_body={"ignore_eos": True}
    )
    async for chunk in stream:
        if chunk.choices and chunk.choices[0].delta.content:
            break
    assert await busy(http, llama) == 1
    await stream.close()

    async with asyncio.timeout(1.5):
        while await busy(http, llama):
            await asyncio.sleep(0.02)
