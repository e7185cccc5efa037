"""Cohere's SDK, version 2 of its chat."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import cohere

from ..checking import Client, Part, Told, installed

__all__ = ["CLIENTS"]


def chat(base: str, patience: float) -> Iterator[Part]:
    call = ["", ""]
    with (
        cohere.ClientV2("mine", base_url=base, timeout=patience) as sdk,
        closing(sdk.chat_stream(model="any", messages=[{"role": "user", "content": "?"}])) as stream,
    ):
        for event in stream:
            match event.type:
                case "content-delta":
                    said = event.delta.message.content
                    if said.text:
                        yield "text", said.text
                    if said.thinking:
                        yield "reasoning", said.thinking
                case "tool-call-start":
                    function = event.delta.message.tool_calls.function
                    call = [function.name, function.arguments or ""]
                case "tool-call-delta":
                    call[1] += event.delta.message.tool_calls.function.arguments
                case "tool-call-end":
                    yield "call", (call[0], call[1])
                case "message-end" if event.delta.finish_reason == "ERROR":
                    raise Told(event.delta.error)


CLIENTS = [
    Client(
        "cohere v2 chat",
        installed("cohere"),
        chat,
        Told,
        ("cohere",),
        limit=cohere.TooManyRequestsError,
        told="told by `finish_reason` `ERROR`: this SDK raises nothing within a stream",
    )
]
