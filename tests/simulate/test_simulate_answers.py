"""What healthy answers say, over a real connection."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest

from ssegate.simulate import Behaviour, Simulator

from .peer import PATHS, talk
from .reading import READERS

# By hand: the beginning of the passage, which the seed cuts but never changes.
BEGINNING = "A stream is a promise kept in small instalments. The first word arrives while the last one"
FINISHES = {
    "openai": "stop",
    "completions": "stop",
    "anthropic": "end_turn",
    "ollama": "stop",
    "generate": "stop",
}
LENGTHS = {name: "length" for name in FINISHES} | {"anthropic": "max_tokens"}
ARGUMENTS = [
    ("get_weather", {"city": "Zürich", "days": 3, "units": {"temperature": "°C", "wind": "km/h"}}),
    ("search_notes", {"query": 'trains to 東京, "express" only', "limit": 5, "tags": ["✈", "🚄"]}),
    ("list_timers", {}),
]


@pytest.mark.parametrize("name", list(PATHS))
@pytest.mark.parametrize("cutting", ["", "recut=3"])
async def test_streamed_text_is_the_passage(name: str, cutting: str):
    """Every dialect's deltas add up to the text, then say why it is over and that it is over."""
    async with Simulator(Behaviour(tokens=40)) as upstream:
        heard = await talk(upstream.url, PATHS[name], {"stream": True}, X_Simulate=cutting)

    said = READERS[name](heard.body)
    assert (heard.status, heard.end, heard.last_chunk) == (200, "fin", True)
    assert said.text.startswith(BEGINNING)
    assert len(said.text) <= 40 * 8
    assert (said.finish, said.ended) == (FINISHES[name], True)


@pytest.mark.parametrize("name", list(PATHS))
async def test_a_request_that_does_not_say(name: str):
    """Without ``stream``, Ollama streams and the others answer with one document."""
    async with Simulator(Behaviour(tokens=5)) as upstream:
        heard = await talk(upstream.url, PATHS[name], {})

    stream = name in ("ollama", "generate")
    assert heard.header("content-type") == ("application/x-ndjson" if stream else "application/json")


@pytest.mark.parametrize("name", ["openai", "anthropic", "ollama", "generate"])
async def test_reasoning_comes_before_the_text(name: str):
    """Thinking is told apart from the text, in the dialect's own place."""
    async with Simulator(Behaviour(tokens=20, reasoning=10)) as upstream:
        heard = await talk(
            upstream.url, PATHS[name], {"stream": True, "stream_options": {"include_usage": True}}
        )

    said = READERS[name](heard.body)
    assert said.reasoning.startswith("The question is short")
    assert BEGINNING.startswith(said.text[: len(BEGINNING)])
    assert said.output_tokens == 30


@pytest.mark.parametrize("name", ["openai", "anthropic", "ollama"])
async def test_parallel_calls_have_their_arguments(name: str):
    """Fragments of several calls, put together by index, are the arguments as JSON."""
    async with Simulator(Behaviour(tokens=2, tools=3)) as upstream:
        heard = await talk(upstream.url, PATHS[name], {"stream": True})

    said = READERS[name](heard.body)
    assert said.arguments() == ARGUMENTS
    assert said.finish == {"openai": "tool_calls", "anthropic": "tool_use", "ollama": "stop"}[name]


async def test_choices_are_interleaved():
    """With n, each choice has the whole text and its own finish."""
    async with Simulator(Behaviour(tokens=30)) as upstream:
        heard = await talk(upstream.url, PATHS["openai"], {"stream": True, "n": 3})
        legacy = await talk(
            upstream.url, PATHS["completions"], {"stream": True, "n": 2, "prompt": ["a", "b"]}
        )

    for choice in range(3):
        said = READERS["openai"](heard.body, choice)  # type: ignore[call-arg]
        assert said.text.startswith(BEGINNING[:30])
        assert said.finish == "stop"
    assert READERS["completions"](legacy.body, 3).text.startswith(BEGINNING[:30])  # type: ignore[call-arg]


@pytest.mark.parametrize("name", list(PATHS))
async def test_a_limit_of_the_request_cuts(name: str):
    """A request that asks for fewer tokens gets those, and the reason."""
    limit: dict[str, Any] = {"max_tokens": 3}
    if name in ("ollama", "generate"):
        limit = {"options": {"num_predict": 3}}

    async with Simulator(Behaviour(tokens=40, tools=2)) as upstream:
        heard = await talk(
            upstream.url, PATHS[name], {"stream": True, "stream_options": {"include_usage": True}, **limit}
        )

    said = READERS[name](heard.body)
    assert (said.output_tokens, said.finish, said.calls) == (3, LENGTHS[name], {})


async def test_documents_say_the_same():
    """A document and a stream of one dialect have the same text, reasoning and calls."""
    async with Simulator(Behaviour(tokens=20, reasoning=4, tools=3)) as upstream:
        chat = json.loads((await talk(upstream.url, PATHS["openai"], {})).body)
        legacy = json.loads((await talk(upstream.url, PATHS["completions"], {})).body)
        message = json.loads((await talk(upstream.url, PATHS["anthropic"], {})).body)
        local = json.loads((await talk(upstream.url, PATHS["ollama"], {"stream": False})).body)
        plain = json.loads((await talk(upstream.url, PATHS["generate"], {"stream": False})).body)

    text = chat["choices"][0]["message"]["content"]
    thinking, spoken, *tools = message["content"]
    assert len(text) > 20
    assert BEGINNING.startswith(text[: len(BEGINNING)])
    assert (
        text
        == legacy["choices"][0]["text"]
        == spoken["text"]
        == local["message"]["content"]
        == plain["response"]
    )
    assert chat["choices"][0]["message"]["reasoning_content"] == thinking["thinking"] == plain["thinking"]
    assert [(tool["name"], tool["input"]) for tool in tools] == ARGUMENTS
    calls = chat["choices"][0]["message"]["tool_calls"]
    assert [(c["function"]["name"], json.loads(c["function"]["arguments"])) for c in calls] == ARGUMENTS
    calls = local["message"]["tool_calls"]
    assert [(c["function"]["name"], c["function"]["arguments"]) for c in calls] == ARGUMENTS


async def test_the_openai_sdk_reads_it():
    """The vendor's own client streams text and usage, and lists the models."""
    async with Simulator(Behaviour(tokens=20)) as upstream:
        client = openai.AsyncOpenAI(base_url=f"{upstream.url}/v1", api_key="unused", max_retries=0)
        async with client:
            stream = await client.chat.completions.create(
                model="any",
                messages=[{"role": "user", "content": "Hello"}],
                stream=True,
                stream_options={"include_usage": True},
            )
            chunks = [chunk async for chunk in stream]
            models = await client.models.list()

    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert BEGINNING.startswith(text[: len(BEGINNING)])
    assert len(text) >= 20
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 20
    assert [model.id for model in models.data] == ["simulated-1"]
