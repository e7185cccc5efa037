"""The real server alone, without the gate: what its clients get is known before anything stands between."""

from __future__ import annotations

from typing import Any

import openai
import pytest

from .realserver import SCRIPTS, Call, Llama

TOOLS: list[Any] = [
    {
        "type": "function",
        "function": {"name": name, "parameters": {"type": "object", "properties": properties}},
    }
    for name, properties in {
        "get_weather": {"city": {"type": "string"}, "days": {"type": "integer"}},
        "look_up": {"query": {"type": "string"}},
    }.items()
]


@pytest.mark.parametrize("name", SCRIPTS)
async def test_the_model_says_its_script(llama: Llama, name: str):
    """The unmodified SDK gets text, reasoning and tool calls exactly as the script has them."""
    script = llama.scripts[name]
    text = reasoning = ""
    calls: list[list[str]] = []

    tools = TOOLS if script.calls else openai.NOT_GIVEN
    async with openai.AsyncOpenAI(base_url=f"{llama.url}/v1", api_key="none", max_retries=0) as client:
        async for chunk in await client.chat.completions.create(
            model="scripted", messages=[{"role": "user", "content": name}], stream=True, tools=tools
        ):
            delta = chunk.choices[0].delta
            text += delta.content or ""
            reasoning += getattr(delta, "reasoning_content", None) or ""
            for part in delta.tool_calls or ():
                assert part.function
                if part.function.name:
                    calls.append([part.function.name, ""])
                calls[part.index][1] += part.function.arguments or ""

    assert (text, reasoning) == (script.text, script.reasoning)
    assert tuple(Call(*call) for call in calls) == script.calls
