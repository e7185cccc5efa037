"""The OpenAI SDK: chat, legacy completions, Responses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import openai

from ..checking import NO_CALLS, NO_THOUGHTS, Client, Part, installed

__all__ = ["CLIENTS"]

ASKED = {"model": "any", "messages": [{"role": "user", "content": "?"}], "stream": True}


@contextmanager
def _sdk(base: str, patience: float) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{base}/v1", api_key="sk-mine", timeout=patience) as sdk:
        yield sdk


def chat(base: str, patience: float) -> Iterator[Part]:
    calls: dict[int, list[str]] = {}
    with _sdk(base, patience) as sdk, sdk.chat.completions.create(**ASKED) as stream:
        for chunk in stream:
            for choice in chunk.choices:
                if choice.delta.content:
                    yield "text", choice.delta.content
                if thought := getattr(choice.delta, "reasoning_content", None):
                    yield "reasoning", thought
                for call in choice.delta.tool_calls or ():
                    pieces = calls.setdefault(call.index, ["", ""])
                    pieces[0] += call.function.name or ""
                    pieces[1] += call.function.arguments or ""
    for name, arguments in calls.values():
        yield "call", (name, arguments)


def helper(base: str, patience: float) -> Iterator[Part]:
    """Its own accumulation of the stream, with events."""
    asked = {name: value for name, value in ASKED.items() if name != "stream"}
    with _sdk(base, patience) as sdk, sdk.chat.completions.stream(**asked) as stream:
        for event in stream:
            if event.type == "content.delta":
                yield "text", event.delta
            elif event.type == "chunk":
                for choice in event.chunk.choices:
                    if thought := getattr(choice.delta, "reasoning_content", None):
                        yield "reasoning", thought
        for call in stream.get_final_completion().choices[0].message.tool_calls or ():
            yield "call", (call.function.name, call.function.arguments)


def completions(base: str, patience: float) -> Iterator[Part]:
    with (
        _sdk(base, patience) as sdk,
        sdk.completions.create(model="any", prompt="?", stream=True) as stream,
    ):
        for chunk in stream:
            for choice in chunk.choices:
                yield "text", choice.text


def responses(base: str, patience: float) -> Iterator[Part]:
    with _sdk(base, patience) as sdk, sdk.responses.create(model="any", input="?", stream=True) as stream:
        for event in stream:
            if event.type == "response.output_text.delta":
                yield "text", event.delta
            elif event.type in ("response.reasoning_text.delta", "response.reasoning_summary_text.delta"):
                yield "reasoning", event.delta
            elif event.type == "response.completed":
                for item in event.response.output:
                    if item.type == "function_call":
                        yield "call", (item.name, item.arguments)


_VERSION = installed("openai")
CLIENTS = [
    Client("openai chat", _VERSION, chat, openai.APIError, ("openai", "openai-from-anthropic")),
    Client(
        "openai chat, stream helper", _VERSION, helper, openai.APIError, ("openai", "openai-from-anthropic")
    ),
    Client(
        "openai completions",
        _VERSION,
        completions,
        openai.APIError,
        ("completions",),
        cannot={"tool": NO_CALLS, "reasoning": NO_THOUGHTS},
    ),
    Client("openai responses", _VERSION, responses, openai.APIError, ("responses",)),
]
