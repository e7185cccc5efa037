"""
The fields of Cohere's events that are read, those of v2 and of v1 in one struct.

Everything is optional and may be null. What a delta holds one of (content, tool call, citation), a complete
message holds a list of.

Source: the types of https://github.com/cohere-ai/cohere-python
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from ssegate.wire.events import Citation
from ssegate.wire.payload import NOTHING

__all__ = ["DATA", "Call", "Cited", "Content", "Data", "Delta", "Function", "Message", "listed", "source_of"]

T = TypeVar("T")


class Source(msgspec.Struct, gc=False):
    """What a citation rests on: a document, or what a tool has said."""

    document: dict[str, Any] | None = None
    tool_output: dict[str, Any] | None = None


class Cited(msgspec.Struct, gc=False):
    """A piece of the answer and its sources; v1 names documents that came before it."""

    start: int | None = None
    end: int | None = None
    text: str | None = None
    sources: list[Source] | None = None
    document_ids: list[str] | None = None

    def read(self, documents: dict[str, dict[str, Any]]) -> list[Citation]:
        """Return one citation a source; one without a source if there is none."""
        found = [source.document or source.tool_output or {} for source in self.sources or ()]
        found += [documents.get(id, {}) for id in self.document_ids or ()]
        return [
            Citation(_text(source, "url"), _text(source, "title"), self.text, self.start, self.end)
            for source in found or [{}]
        ]


class Function(msgspec.Struct, gc=False):
    """The function of a call, or a piece of its arguments."""

    name: str | None = None
    arguments: msgspec.Raw = NOTHING


class Call(msgspec.Struct, gc=False):
    """A tool call or a piece of one; v1 has it flat and without an id."""

    id: str | None = None
    function: Function | None = None
    index: int | None = None
    name: str | None = None
    parameters: msgspec.Raw = NOTHING


class Content(msgspec.Struct, gc=False):
    """A piece of the answer or of the thinking before it."""

    text: str | None = None
    thinking: str | None = None


class Message(msgspec.Struct, gc=False):
    """What is added to the message, or all of it."""

    content: list[Content] | Content | str | None = None
    tool_calls: list[Call] | Call | None = None
    citations: list[Cited] | Cited | None = None


class Delta(msgspec.Struct, gc=False):
    """What an event adds; the last one has reason and counts."""

    message: Message | None = None
    finish_reason: str | None = None
    usage: dict[str, Any] | None = None
    error: msgspec.Raw = NOTHING


class Response(msgspec.Struct, gc=False):
    """What v1's last event repeats, and the counts."""

    meta: dict[str, Any] | None = None


class Data(msgspec.Struct, gc=False):
    """Any event, or a complete answer; ``event_type`` is v1's type."""

    type: str | None = None
    event_type: str | None = None
    index: int | None = None
    id: str | None = None
    delta: Delta | None = None
    finish_reason: str | None = None
    error: msgspec.Raw = NOTHING
    # v2's complete answer; a string is an error's
    message: Message | str | None = None
    usage: dict[str, Any] | None = None
    # v1, event by event or complete
    text: str | None = None
    generation_id: str | None = None
    citations: list[Cited] | None = None
    documents: list[dict[str, Any]] | None = None
    tool_call_delta: Call | None = None
    tool_calls: list[Call] | None = None
    response: Response | None = None
    meta: dict[str, Any] | None = None


DATA = msgspec.json.Decoder(Data)


def listed(items: list[T] | T | None) -> list[T]:
    """Return one item, several or none as a list."""
    if items is None:
        return []
    return items if isinstance(items, list) else [items]


def source_of(document: dict[str, Any]) -> dict[str, str]:
    """Return what citations tell of *document*."""
    told = {name: _text(document, name) for name in ("url", "title")}
    return {name: text for name, text in told.items() if text is not None}


def _text(source: dict[str, Any], name: str) -> str | None:
    value = source.get(name)
    return value if isinstance(value, str) else None
