"""
The fields of OpenAI's Responses events that are read.

Everything is optional and may be null. The same structs read complete responses.

Source: https://platform.openai.com/docs/api-reference/responses-streaming and recorded bodies.
"""

from __future__ import annotations

from typing import Any

import msgspec

from ssegate.wire.events import Citation
from ssegate.wire.payload import NOTHING

__all__ = ["DATA", "Data", "Item", "Part", "Response"]


class Source(msgspec.Struct, gc=False):
    """An annotation: a page on the web, or a file."""

    url: str | None = None
    title: str | None = None
    filename: str | None = None
    file_id: str | None = None
    start_index: int | None = None
    end_index: int | None = None
    index: int | None = None

    def read(self) -> list[Citation]:
        """Return it in our words; a file is cited at one place of the answer, and has no address."""
        title = self.title or self.filename or self.file_id
        start = self.index if self.start_index is None else self.start_index
        return [Citation(self.url, title, None, start, self.end_index)] if self.url or title else []


class Part(msgspec.Struct, gc=False):
    """A piece of an item's content or summary, whole."""

    type: str | None = None
    text: str | None = None
    refusal: str | None = None
    annotations: list[Source] | None = None


class Item(msgspec.Struct, gc=False):
    """What the model puts out, as it begins or whole; ``input`` is what a custom tool has for arguments."""

    type: str | None = None
    id: str | None = None
    call_id: str | None = None
    name: str | None = None
    arguments: msgspec.Raw = NOTHING
    input: msgspec.Raw = NOTHING
    content: list[Part] | None = None
    summary: list[Part] | None = None


class Details(msgspec.Struct, gc=False):
    """Why a response is incomplete."""

    reason: str | None = None


class Response(msgspec.Struct, gc=False):
    """The response as it stands, or whole."""

    id: str | None = None
    model: str | None = None
    status: str | None = None
    output: list[Item] | None = None
    usage: dict[str, Any] | None = None
    error: msgspec.Raw = NOTHING
    incomplete_details: Details | None = None


class Data(Response, gc=False):
    """Any event's data, or a complete response (``object: response``)."""

    type: str | None = None
    sequence_number: int | None = None
    output_index: int | None = None
    item_id: str | None = None
    content_index: int | None = None
    summary_index: int | None = None
    delta: str | None = None
    text: str | None = None
    refusal: str | None = None
    arguments: msgspec.Raw = NOTHING
    input: msgspec.Raw = NOTHING
    part: Part | None = None
    annotation: Source | None = None
    item: Item | None = None
    response: Response | None = None
    object: str | None = None


DATA = msgspec.json.Decoder(Data)
