"""Pydantic AI's chat model for OpenAI's endpoints."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from openai import AsyncOpenAI
from pydantic_ai.direct import model_request_stream_sync
from pydantic_ai.exceptions import ModelAPIError
from pydantic_ai.messages import (
    ModelRequest,
    PartDeltaEvent,
    PartEndEvent,
    PartStartEvent,
    TextPart,
    TextPartDelta,
    ThinkingPart,
    ThinkingPartDelta,
    ToolCallPart,
)
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

from ..checking import Client, Part, installed

__all__ = ["CLIENTS"]


@contextmanager
def _model(base: str, patience: float) -> Iterator[OpenAIChatModel]:
    """A model with connections, and the loop they belong to, that are closed at the end."""
    with asyncio.Runner() as runner:
        asyncio.set_event_loop(runner.get_loop())
        sdk = AsyncOpenAI(base_url=f"{base}/v1", api_key="sk-mine", timeout=patience)
        try:
            yield OpenAIChatModel("any", provider=OpenAIProvider(openai_client=sdk))
        finally:
            runner.run(sdk.close())


def chat(base: str, patience: float) -> Iterator[Part]:
    prompt = [ModelRequest.user_text_prompt("?")]
    with _model(base, patience) as model, model_request_stream_sync(model, prompt) as stream:
        for event in stream:
            match event:
                case (
                    PartStartEvent(part=TextPart(content=said))
                    | PartDeltaEvent(delta=TextPartDelta(content_delta=said))
                ) if said:
                    yield "text", said
                case (
                    PartStartEvent(part=ThinkingPart(content=said))
                    | PartDeltaEvent(delta=ThinkingPartDelta(content_delta=said))
                ) if said:
                    yield "reasoning", said
                case PartEndEvent(part=ToolCallPart() as call):
                    yield "call", (call.tool_name, call.args_as_json_str())


CLIENTS = [
    Client(
        "pydantic-ai",
        installed("pydantic-ai-slim"),
        chat,
        ModelAPIError,
        ("openai", "openai-from-anthropic"),
    )
]
