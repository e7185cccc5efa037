"""Mistral's SDK."""

from __future__ import annotations

from collections.abc import Iterator

from mistralai.client import Mistral, errors

from ..checking import Client, Part, installed

__all__ = ["CLIENTS"]


def chat(base: str, patience: float) -> Iterator[Part]:
    calls: dict[int, list[str]] = {}
    with (
        Mistral("mine", server_url=base, timeout_ms=round(patience * 1000)) as sdk,
        sdk.chat.stream(model="any", messages=[{"role": "user", "content": "?"}]) as stream,
    ):
        for event in stream:
            delta = event.data.choices[0].delta
            if isinstance(delta.content, str) and delta.content:
                yield "text", delta.content
            elif delta.content:
                for said in delta.content:
                    if said.type == "text":
                        yield "text", said.text
                    else:
                        yield "reasoning", "".join(thought.text for thought in said.thinking)
            for call in delta.tool_calls or ():
                pieces = calls.setdefault(call.index, ["", ""])
                pieces[0] += call.function.name
                pieces[1] += call.function.arguments
    for name, arguments in calls.values():
        yield "call", (name, arguments)


CLIENTS = [
    Client(
        "mistralai chat",
        installed("mistralai"),
        chat,
        errors.MistralError,
        ("mistral",),
        limit=errors.MistralError,
    )
]
