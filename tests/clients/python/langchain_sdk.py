"""LangChain's chat model for OpenAI's endpoints."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import openai
from langchain_openai import ChatOpenAI

from ..checking import Client, Part, installed

__all__ = ["CLIENTS"]


def chat(base: str, patience: float) -> Iterator[Part]:
    model = ChatOpenAI(model="any", base_url=f"{base}/v1", api_key="sk-mine", timeout=patience)
    whole = None
    with closing(model.root_client), closing(model.stream("?")) as stream:
        for chunk in stream:
            whole = chunk if whole is None else whole + chunk
            if chunk.content:
                yield "text", chunk.content
    for call in whole.tool_call_chunks if whole else ():
        yield "call", (call["name"], call["args"])


CLIENTS = [
    Client(
        "langchain-openai",
        installed("langchain-openai"),
        chat,
        openai.APIError,
        ("openai", "openai-from-anthropic"),
        cannot={"reasoning": "it drops reasoning that is not OpenAI's own, and says so"},
    )
]
