"""
The fields of Bedrock's events that are read: Converse's own, and those of models that speak for themselves.

Everything is optional and may be null. ``p`` is padding.

Source: botocore, data/bedrock-runtime/2023-09-30/service-2.json;
https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters.html
"""

from __future__ import annotations

from typing import Any

import msgspec

from ssegate.wire.dialects.openai_chunk import Call
from ssegate.wire.payload import NOTHING

__all__ = [
    "INVOKED",
    "PAYLOAD",
    "Block",
    "Body",
    "Choice",
    "Invoked",
    "Payload",
    "Quote",
    "Reasoned",
    "ToolUse",
]


class ToolUse(msgspec.Struct, gc=False):
    """A call as it starts, a fragment of its input, or a whole one; the type tells who makes it."""

    toolUseId: str | None = None
    name: str | None = None
    type: str | None = None
    input: msgspec.Raw = NOTHING


class Reasoned(msgspec.Struct, gc=False):
    """A piece of thinking, or all of it under another name; signatures are no text."""

    text: str | None = None
    reasoningText: Reasoned | None = None


class Web(msgspec.Struct, gc=False):
    """A page."""

    url: str | None = None


class Location(msgspec.Struct, gc=False):
    """Where a source is; of documents it is only told where in them."""

    web: Web | None = None


class Quoted(msgspec.Struct, gc=False):
    """A piece of a source."""

    text: str | None = None


class Quote(msgspec.Struct, gc=False):
    """A source that the answer rests on."""

    title: str | None = None
    source: str | None = None
    sourceContent: list[Quoted] | None = None
    location: Location | None = None


class Quotes(msgspec.Struct, gc=False):
    """A piece of a whole answer that rests on sources."""

    content: list[Quoted] | None = None
    citations: list[Quote] | None = None


class Block(msgspec.Struct, gc=False):
    """What is added to a block, what it starts with, or the whole of it."""

    text: str | None = None
    reasoningContent: Reasoned | None = None
    toolUse: ToolUse | None = None
    citation: Quote | None = None
    citationsContent: Quotes | None = None


class Message(msgspec.Struct, gc=False):
    """A whole answer."""

    content: list[Block] | None = None


class Output(msgspec.Struct, gc=False):
    """Where a whole answer stands."""

    message: Message | None = None


class Body(msgspec.Struct, gc=False):
    """What any of Converse's events says, or its complete answer."""

    contentBlockIndex: int | None = None
    start: Block | None = None
    delta: Block | None = None
    stopReason: str | None = None
    usage: dict[str, Any] | None = None
    output: Output | None = None


class Payload(Body, gc=False):
    """The payload of a message, or what a model says for itself in it: its own JSON, in base64."""

    chunk: bytes | None = msgspec.field(default=None, name="bytes")


class Piece(msgspec.Struct, gc=False):
    """One of Mistral's outputs."""

    text: str | None = None
    stop_reason: str | None = None


class Said(msgspec.Struct, gc=False):
    """What a choice adds."""

    content: str | None = None
    tool_calls: list[Call] | None = None


class Choice(msgspec.Struct, gc=False):
    """One of several answers of Mistral's and DeepSeek's models: OpenAI's shape but for the reason's name."""

    index: int | None = None
    text: str | None = None
    message: Said | None = None
    stop_reason: str | None = None


class Result(msgspec.Struct, gc=False):
    """Titan's complete answer."""

    outputText: str | None = None
    completionReason: str | None = None
    tokenCount: int | float | None = None


class Invoked(msgspec.Struct, gc=False):
    """What a model says that has no dialect of its own elsewhere, and what Bedrock adds to any."""

    metrics: dict[str, Any] | None = msgspec.field(default=None, name="amazon-bedrock-invocationMetrics")
    guardrail: str | None = msgspec.field(default=None, name="amazon-bedrock-guardrailAction")
    error: msgspec.Raw = NOTHING
    # Nova: Converse's events, each under its name
    messageStart: Body | None = None
    contentBlockStart: Body | None = None
    contentBlockDelta: Body | None = None
    contentBlockStop: Body | None = None
    messageStop: Body | None = None
    metadata: Body | None = None
    output: Output | None = None
    stopReason: str | None = None
    usage: dict[str, Any] | None = None
    # Titan
    outputText: str | None = None
    completionReason: str | None = None
    inputTextTokenCount: int | float | None = None
    totalOutputTextTokenCount: int | float | None = None
    results: list[Result] | None = None
    # Llama
    generation: str | None = None
    prompt_token_count: int | None = None
    generation_token_count: int | None = None
    # Mistral, DeepSeek
    outputs: list[Piece] | None = None
    choices: list[Choice] | None = None
    # Cohere's Command, Claude 2
    text: str | None = None
    completion: str | None = None
    # why it stopped, of those
    stop_reason: str | None = None
    finish_reason: str | None = None


PAYLOAD = msgspec.json.Decoder(Payload)
INVOKED = msgspec.json.Decoder(Invoked)
