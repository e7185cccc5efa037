"""Ollama's own client."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing

import ollama

from ..checking import Client, Part, installed

__all__ = ["CLIENTS"]


def chat(base: str, patience: float) -> Iterator[Part]:
    with (
        closing(ollama.Client(host=base, timeout=patience)) as sdk,
        closing(sdk.chat("any", [{"role": "user", "content": "?"}], stream=True)) as stream,
    ):
        for chunk in stream:
            if chunk.message.content:
                yield "text", chunk.message.content
            if chunk.message.thinking:
                yield "reasoning", chunk.message.thinking
            for call in chunk.message.tool_calls or ():
                yield "call", (call.function.name, json.dumps(dict(call.function.arguments)))


CLIENTS = [
    Client(
        "ollama chat",
        installed("ollama"),
        chat,
        ollama.ResponseError,
        ("ollama",),
        limit=ollama.ResponseError,
    )
]
