"""
The fields of Gemini's chunks that are read, those of the Interactions API among them.

Everything is optional and may be null. A complete answer has the shape of a chunk. Enums are words, or
numbers where the client asked for numbers.

Source: https://ai.google.dev/api/generate-content, https://ai.google.dev/api/interactions-api
"""

from __future__ import annotations

from typing import Any

import msgspec

from ssegate.wire.payload import NOTHING

__all__ = [
    "CHUNK",
    "Annotation",
    "Candidate",
    "Chunk",
    "Delta",
    "FunctionCall",
    "Interaction",
    "PartialArg",
    "Source",
    "Step",
]


class PartialArg(msgspec.Struct, gc=False):
    """A piece of a call's arguments: a value, or the next piece of a string, and where it belongs."""

    jsonPath: str | None = None
    stringValue: str | None = None
    numberValue: int | float | None = None
    boolValue: bool | None = None
    nullValue: msgspec.Raw = NOTHING
    """There or not: what it holds says nothing."""

    willContinue: bool | None = None


class FunctionCall(msgspec.Struct, gc=False):
    """A whole call, or a part of one; empty at the end of one that came in parts."""

    id: str | None = None
    name: str | None = None
    args: msgspec.Raw = NOTHING
    partialArgs: list[PartialArg] | None = None
    willContinue: bool | None = None


class Part(msgspec.Struct, gc=False):
    """A part of the answer, or of the thinking that leads to it."""

    text: str | None = None
    thought: bool | None = None
    functionCall: FunctionCall | None = None


class Content(msgspec.Struct, gc=False):
    """The parts that a chunk adds."""

    parts: list[Part] | None = None


class Source(msgspec.Struct, gc=False):
    """A page, a document or a place."""

    uri: str | None = None
    title: str | None = None
    text: str | None = None


class GroundingChunk(msgspec.Struct, gc=False):
    """A source of one kind or another."""

    web: Source | None = None
    retrievedContext: Source | None = None
    maps: Source | None = None


class Segment(msgspec.Struct, gc=False):
    """A stretch of the answer, in bytes."""

    startIndex: int | None = None
    endIndex: int | None = None


class Support(msgspec.Struct, gc=False):
    """Which sources a stretch of the answer rests on."""

    segment: Segment | None = None
    groundingChunkIndices: list[int] | None = None


class Grounding(msgspec.Struct, gc=False):
    """What the answer rests on."""

    groundingChunks: list[GroundingChunk] | None = None
    groundingSupports: list[Support] | None = None


class Recitation(Source, gc=False):
    """What the answer repeats, and where it does, in bytes."""

    startIndex: int | None = None
    endIndex: int | None = None


class Recitations(msgspec.Struct, gc=False):
    """What the answer repeats; the older name is the Developer API's."""

    citations: list[Recitation] | None = None
    citationSources: list[Recitation] | None = None


class Candidate(msgspec.Struct, gc=False):
    """One of several answers."""

    index: int | None = None
    content: Content | None = None
    finishReason: str | int | None = None
    citationMetadata: Recitations | None = None
    groundingMetadata: Grounding | None = None


class Feedback(msgspec.Struct, gc=False):
    """Why a prompt was refused."""

    blockReason: str | int | None = None


class Annotation(msgspec.Struct, gc=False):
    """A source of an interaction's text, in any of the spellings there have been."""

    url: str | None = None
    source: str | None = None
    document_uri: str | None = None
    title: str | None = None
    start_index: int | None = None
    end_index: int | None = None


class Piece(msgspec.Struct, gc=False):
    """A piece of a step's content."""

    text: str | None = None
    annotations: list[Annotation] | None = None


class Delta(msgspec.Struct, gc=False):
    """What is added to a step."""

    type: str | None = None
    text: str | None = None
    content: Piece | None = None
    arguments: str | None = None
    annotations: list[Annotation] | None = None


class Step(msgspec.Struct, gc=False):
    """A step as it starts, or whole: a thought, a piece of the answer, a call."""

    type: str | None = None
    content: list[Piece] | None = None
    summary: list[Piece] | None = None
    id: str | None = None
    name: str | None = None
    arguments: msgspec.Raw = NOTHING


class Interaction(msgspec.Struct, gc=False):
    """The whole of it, as it begins and as it ends."""

    id: str | None = None
    model: str | None = None
    status: str | None = None
    usage: dict[str, Any] | None = None
    error: msgspec.Raw = NOTHING


class Running(msgspec.Struct, gc=False):
    """What an event says beside its own matter."""

    usage: dict[str, Any] | None = None


class Chunk(msgspec.Struct, gc=False):
    """A chunk of an answer, a complete answer, or an event of an interaction."""

    candidates: list[Candidate] | None = None
    usageMetadata: dict[str, Any] | None = None
    promptFeedback: Feedback | None = None
    modelVersion: str | None = None
    responseId: str | None = None
    error: msgspec.Raw = NOTHING
    # of an interaction's event
    event_type: str | None = None
    index: int | None = None
    interaction: Interaction | None = None
    step: Step | None = None
    delta: Delta | None = None
    metadata: Running | None = None
    # of a complete interaction
    object: str | None = None
    id: str | None = None
    model: str | None = None
    status: str | None = None
    steps: list[Step] | None = None
    usage: dict[str, Any] | None = None


CHUNK = msgspec.json.Decoder(Chunk)
