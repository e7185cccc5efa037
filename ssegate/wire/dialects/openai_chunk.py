"""
The fields of OpenAI's chat and completion chunks that are read, in all vendors' spellings.

Everything is optional and may be null. The same structs read complete answers, where ``message`` stands in
the place of ``delta``.

Source: https://platform.openai.com/docs/api-reference/chat-streaming and recorded bodies of its imitators.
"""

from __future__ import annotations

from typing import Any

import msgspec

from ssegate.wire.payload import NOTHING

__all__ = ["CHUNK", "Annotation", "Call", "Choice", "Chunk", "Delta", "Part"]


class Part(msgspec.Struct, gc=False):
    """A piece of ``content`` where that is a list (Mistral)."""

    type: str | None = None
    text: str | None = None
    thinking: list[Part] | str | None = None
    refusal: str | None = None


class Function(msgspec.Struct, gc=False):
    """The function of a call; ``input`` is what a custom tool has for arguments."""

    name: str | None = None
    arguments: msgspec.Raw = NOTHING
    input: str | None = None


class Call(msgspec.Struct, gc=False):
    """A fragment of a tool call, or a whole one."""

    index: int | None = None
    id: str | None = None
    function: Function | None = None
    custom: Function | None = None


class Detail(msgspec.Struct, gc=False):
    """A piece of ``reasoning_details`` (OpenRouter, Snowflake)."""

    text: str | None = None
    summary: str | None = None


class Source(msgspec.Struct, gc=False):
    """What a citation points to."""

    url: str | None = None
    title: str | None = None
    content: str | None = None
    start_index: int | None = None
    end_index: int | None = None


class Annotation(Source, gc=False):
    """An annotation of the answer: a source, under its own key (OpenAI) or flat."""

    url_citation: Source | None = None


class Delta(msgspec.Struct, gc=False):
    """What a chunk adds to the message, or the whole message."""

    content: str | list[Part] | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    reasoning_details: list[Detail] | None = None
    refusal: str | None = None
    tool_calls: list[Call] | None = None
    function_call: Function | None = None
    annotations: list[Annotation] | None = None


class Choice(msgspec.Struct, gc=False):
    """One of several answers; ``text`` is the legacy completion's."""

    index: int | None = None
    delta: Delta | None = None
    message: Delta | None = None
    text: str | None = None
    finish_reason: str | int | None = None
    usage: dict[str, Any] | None = None
    error: msgspec.Raw = NOTHING


class Groq(msgspec.Struct, gc=False):
    """Groq's extra object."""

    usage: dict[str, Any] | None = None
    error: msgspec.Raw = NOTHING


class Chunk(msgspec.Struct, gc=False):
    """One event of a stream, or a complete answer."""

    id: str | None = None
    model: str | None = None
    object: str | None = None
    choices: list[Choice] | None = None
    usage: dict[str, Any] | None = None
    x_groq: Groq | None = None
    error: msgspec.Raw = NOTHING
    citations: list[str | Source] | None = None
    search_results: list[Source] | None = None


CHUNK = msgspec.json.Decoder(Chunk)
