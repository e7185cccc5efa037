"""The Anthropic SDK: the raw events, and its helper that accumulates them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import anthropic

from ..checking import Client, Part, installed

__all__ = ["CLIENTS"]

ASKED: dict[str, Any] = {
    "model": "any",
    "max_tokens": 999,
    "messages": [{"role": "user", "content": "?"}],
}


@contextmanager
def _sdk(base: str, patience: float) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=base, api_key="sk-mine", timeout=patience) as sdk:
        yield sdk


def events(base: str, patience: float) -> Iterator[Part]:
    call: list[str] = []
    with _sdk(base, patience) as sdk, sdk.messages.create(**ASKED, stream=True) as stream:
        for event in stream:
            match event.type:
                case "content_block_start" if event.content_block.type == "tool_use":
                    call = [event.content_block.name, ""]
                case "content_block_delta" if event.delta.type == "text_delta":
                    yield "text", event.delta.text
                case "content_block_delta" if event.delta.type == "thinking_delta":
                    yield "reasoning", event.delta.thinking
                case "content_block_delta" if event.delta.type == "input_json_delta":
                    call[1] += event.delta.partial_json
                case "content_block_stop" if call:
                    yield "call", (call[0], call[1])
                    call = []


def helper(base: str, patience: float) -> Iterator[Part]:
    """Its own accumulation of the stream."""
    with _sdk(base, patience) as sdk, sdk.messages.stream(**ASKED) as stream:
        for event in stream:
            if event.type == "text":
                yield "text", event.text
            elif event.type == "thinking":
                yield "reasoning", event.thinking
        for block in stream.get_final_message().content:
            if block.type == "tool_use":
                yield "call", (block.name, json.dumps(block.input))


_VERSION = installed("anthropic")
CLIENTS = [
    Client("anthropic messages", _VERSION, events, anthropic.APIError, ("anthropic",)),
    Client("anthropic messages, stream helper", _VERSION, helper, anthropic.APIError, ("anthropic",)),
]
