"""Recorded bodies of Google and AWS, sent by a real upstream through a real gate to a client of their own."""

from __future__ import annotations

import json
from typing import Any

import pytest
from wire import reading_back
from wire.recordings import recording

from ssegate.simulate import Behaviour

from .asking import ask

MODELS = "/v1beta/models/gemini-2.5-pro"
CASES = {
    f"{MODELS}:streamGenerateContent?alt=sse": (
        "gemini_sse/11-test-google-model-thinking-part-iter.sse",
        "text/event-stream",
        "gemini",
    ),
    f"{MODELS}:streamGenerateContent": (
        "gemini_json_array/01-test-nested-model-deep-composition.json",
        "application/json; charset=UTF-8",
        "gemini",
    ),
    "/model/amazon.nova-lite-v1:0/converse-stream": (
        "bedrock_converse/02-test-thinking-v1-gz.bin",
        "application/vnd.amazon.eventstream",
        "bedrock",
    ),
    "/model/amazon.nova-lite-v1:0/invoke-with-response-stream": (
        "bedrock_invoke/07-test-nova-invoke-stream.bin",
        "application/vnd.amazon.eventstream",
        "bedrock",
    ),
}


async def replayed(gate: Any, simulator: Any, path: str, **route: str) -> Any:
    """Return the gate's answer on *path* to a client that names no stream in its body."""
    body = recording(CASES[path][0])
    upstream = await simulator(Behaviour(replay=body.body, replay_type=body.content_type, recut=3))
    extra = "".join(f", {name}: {value}" for name, value in route.items())
    running = await gate(
        f"""
        upstreams: {{sim: {{url: "{upstream.url}"}}}}
        routes: [{{path: /*{extra}}}]
        """
    )
    return await ask(running.url, path, {"contents": []})


@pytest.mark.parametrize("path", list(CASES))
async def test_a_client_reads_its_own_vendor_s_stream(gate: Any, simulator: Any, path: str):
    """The path alone asks for a stream, and it comes in the upstream's framing, metadata and all."""
    file, content_type, reader = CASES[path]
    expected = recording(file).expected

    answer = await replayed(gate, simulator, path)

    assert (answer.status, answer.header("Content-Type")) == (200, content_type)
    assert answer.is_whole
    said = getattr(reading_back, reader)(answer.body)
    assert (said.first.text, said.first.reasoning) == (expected["text"], expected["reasoning"])
    assert said.first.finish_reason == expected["finish_reason"]
    assert said.final["stream_id"] == answer.header("X-Stream-ID")
    if path.startswith("/model"):  # such streams do not name their model
        assert said.final["model"] == "amazon.nova-lite-v1:0"


@pytest.mark.parametrize("path", list(CASES))
async def test_without_batching_every_payload_arrives(gate: Any, simulator: Any, path: str):
    """Nothing that the gate does not understand is lost."""
    body = recording(CASES[path][0])

    answer = await replayed(gate, simulator, path, batch="off", metadata="off")

    if path.startswith("/model"):
        assert answer.body == body.body
    elif body.framing == "json-array":
        assert json.loads(answer.body) == json.loads(body.body)
    else:
        assert answer.body == body.body.replace(b"\r\n", b"\n")
