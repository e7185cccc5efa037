"""
The unmodified OpenAI SDK in front of the gate: nothing it can see is lost, and every failure is one of its own.

Each recorded OpenAI-shaped body is sent to it twice, straight from the upstream and through the gate.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from zlib import crc32

import openai
import pytest
from wire.recordings import STREAMS, Recording, recordings

from ssegate.simulate import Behaviour

from .sdk_reading import Reading, read

MESSAGES = [{"role": "user", "content": "What is said here?"}]

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
  - {{path: "/single/*", batch: off, metadata: off}}
"""

NAMES = ("plain", "every", "joined", "joined-every", "single")


@pytest.fixture
async def client() -> AsyncIterator[openai.AsyncOpenAI]:
    """The SDK; each test aims it by ``with_options(base_url=…)``."""
    async with openai.AsyncOpenAI(base_url="http://127.0.0.1:9", api_key="sk-mine", max_retries=0) as client:
        yield client


async def replayed(client: openai.AsyncOpenAI, base_url: str, recording: Recording, **asking: object) -> Reading:
    aimed = client.with_options(base_url=base_url)
    if "completions" in recording.folder:
        stream = await aimed.completions.create(model="any", prompt="?", stream=True, **asking)
    else:
        stream = await aimed.chat.completions.create(model="any", messages=MESSAGES, stream=True, **asking)
    return await read(stream)


# Mistral's content is a list where the SDK's types have a string.
@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")
@pytest.mark.parametrize("recording", RECORDINGS, ids=str)
async def test_nothing_the_sdk_can_see_is_lost(gate, simulator, client, recording: Recording):
    """A recorded stream accumulates to the same message, extras included, with the gate and without it."""
    path = STREAMS / recording.file
    upstream = await simulator(Behaviour(replay=path, replay_type=recording.content_type))
    direct = await replayed(client, f"{upstream.url}/v1", recording)
    upstream.behaviour = Behaviour(
        replay=path, replay_type=recording.content_type, recut=crc32(recording.file.encode())
    )
    running = await gate(ROUTES.format(url=upstream.url))

    usage = {"stream_options": {"include_usage": True}}
    urls = [f"{running.url}/{name}/v1" for name in NAMES]
    readings = await asyncio.gather(*(replayed(client, url, recording, **usage) for url in urls))

    for name, reading in zip(NAMES, readings, strict=True):
        assert type(reading.error) is type(direct.error), name
        assert reading.members == direct.members, name
        assert reading.messages == direct.messages, name
        assert reading.snapshot == direct.snapshot, name
