"""The OpenAI SDK: chat, legacy completions, Responses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

openai = pytest.importorskip("openai")

from ..checking import Client, Part, go_through  # noqa: E402
from ..scenarios import SCENARIOS  # noqa: E402


def sdk(base: str, patience: float) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{base}/v1", api_key="sk-mine", timeout=patience)


def chat(base: str, patience: float) -> Iterator[Part]:
    calls: dict[int, list[str]] = {}
    asked = {"model": "any", "messages": [{"role": "user", "content": "?"}], "stream": True}
    with sdk(base, patience) as client, closing(client.chat.completions.create(**asked)) as stream:
        for chunk in stream:
            for choice in chunk.choices:
                if text := choice.delta.content:
                    yield "text", text
                if thought := getattr(choice.delta, "reasoning_content", None):
                    yield "reasoning", thought
                for call in choice.delta.tool_calls or ():
                    name_and_arguments = calls.setdefault(call.index, ["", ""])
                    name_and_arguments[0] += call.function.name or ""
                    name_and_arguments[1] += call.function.arguments or ""
    for name, arguments in calls.values():
        yield "call", (name, arguments)


CLIENTS = [
    Client(
        "openai chat", Client.installed("openai"), chat, openai.APIError, ("openai", "openai-from-anthropic")
    ),
]


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize(("client", "wire"), [(c, w) for c in CLIENTS for w in c.wires], ids=str)
def test_client(client, wire, scenario, house):
    go_through(client, wire, scenario, house)
