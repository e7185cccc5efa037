"""
The unmodified OpenAI SDK reads Responses and Assistants before the gate as it does without it.

Each recorded body is sent to it straight from the upstream and through the gate.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from zlib import crc32

import openai
import pytest
from wire.recordings import STREAMS, Recording, recording, recordings

from ssegate.simulate import Behaviour

RECORDINGS = [entry for entry in recordings() if entry.dialect in ("responses", "assistants")]
SEARCH = recording("azure_openai_responses/03-openai-file-search-tool-2.sse")
VOLATILE = {"sequence_number", "obfuscation"}


@pytest.fixture
async def sdk(simulator: Any, gate: Any) -> AsyncIterator[openai.AsyncOpenAI]:
    """The unmodified SDK, without retries."""
    async with openai.AsyncOpenAI(base_url="http://127.0.0.1:9", api_key="sk-mine", max_retries=0) as sdk:
        yield sdk


async def behind(gate: Any, upstream: Any, keys: str = "") -> str:
    """Start a gate before *upstream*; *keys* are more of its route's, in YAML. Return its URL."""
    running = await gate(f"""
        upstreams: {{up: {{url: "{upstream.url}"}}}}
        routes: [{{path: /v1/*, upstream: up{keys and ", " + keys}}}]
    """)
    return str(running.url)


async def told(sdk: openai.AsyncOpenAI, url: str, entry: Recording) -> tuple[list[Any], Any]:
    """Return what the SDK is told, deltas that follow each other added up, and what it raised at last."""
    aimed = sdk.with_options(base_url=f"{url}/v1")
    said: list[Any] = []
    try:
        if entry.dialect == "responses":
            stream: Any = await aimed.responses.create(model="any", input="?", stream=True)
        else:
            stream = await aimed.beta.threads.runs.create("thread_1", assistant_id="asst_1", stream=True)
        async for event in stream:
            _add(said, event.model_dump(mode="json", warnings=False))
    except openai.APIError as error:
        return said, error
    return said, None


def _add(said: list[Any], event: dict[str, Any]) -> None:
    event = {name: value for name, value in event.items() if name not in (*VOLATILE, "ssegate")}
    if isinstance(event.get("data"), dict):
        event["data"].pop("ssegate", None)
    last = said[-1] if said else {}
    if isinstance(event.get("delta"), str) and {**last, "delta": None} == {**event, "delta": None}:
        last["delta"] += event["delta"]
    else:
        said.append(event)


@pytest.mark.filterwarnings("ignore:The Assistants API is deprecated")
@pytest.mark.parametrize("entry", RECORDINGS, ids=str)
async def test_the_sdk_is_told_the_same(simulator, gate, sdk, entry: Recording):
    """Every event but for joined deltas, extras included, and the same exception."""
    behaviour = Behaviour(
        replay=STREAMS / entry.file, replay_type=entry.content_type, recut=crc32(entry.file.encode())
    )
    upstream = await simulator(behaviour)
    direct, raised = await told(sdk, upstream.url, entry)

    url = await behind(gate, upstream, "batch: {size: 50, delay: 500ms}, metadata: every, errors: status")
    through, raised_too = await told(sdk, url, entry)

    if entry.expected["error"]:
        # Nothing had been said before it: behind the gate it is a status.
        assert raised.body["message"] == raised_too.body["message"] == entry.expected["error"]["message"]
        assert raised.code == raised_too.code
        return
    assert raised is None and raised_too is None
    assert through == direct


async def test_the_stream_helper_builds_the_same_response(simulator, gate, sdk):
    """It puts items together by their places, and waits for the end."""
    upstream = await simulator(Behaviour(replay=STREAMS / SEARCH.file))
    url = await behind(gate, upstream, "batch: {size: 50, delay: 500ms}")
    responses = []
    for at in (upstream.url, url):
        async with sdk.with_options(base_url=f"{at}/v1").responses.stream(model="any", input="?") as stream:
            text = "".join(
                [event.delta async for event in stream if event.type == "response.output_text.delta"]
            )
            responses.append(await stream.get_final_response())

    assert text == responses[1].output_text == SEARCH.expected["text"]
    assert responses[0] == responses[1]


async def test_a_cut_response_is_raised(simulator, gate, sdk):
    """Without the gate the SDK takes it for whole."""
    body = SEARCH.body[: SEARCH.body.index(b"event: response.completed")]
    upstream = await simulator(Behaviour(replay=body))
    url = await behind(gate, upstream)

    _, without = await told(sdk, upstream.url, SEARCH)
    said, raised = await told(sdk, url, SEARCH)

    assert without is None
    assert raised.code == "upstream_truncated"
    assert (
        "".join(event["delta"] for event in said if event["type"].endswith("text.delta"))
        == (SEARCH.expected["text"])
    )


async def test_a_complete_response_is_read_as_a_stream(simulator, gate, sdk):
    """From a server that cannot stream."""
    entry = next(entry for entry in recordings("documents") if entry.dialect == "responses")
    upstream = await simulator(Behaviour(replay=entry.body, replay_type="application/json"))
    url = await behind(gate, upstream)
    async with sdk.with_options(base_url=f"{url}/v1").responses.stream(model="any", input="?") as stream:
        response = await stream.get_final_response()

    assert (response.id, response.model) == (entry.expected["id"], entry.expected["model"])
    assert response.output_text == entry.expected["text"]
    assert response.usage.input_tokens == entry.usage["input_tokens"]
