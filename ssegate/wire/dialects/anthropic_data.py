"""
The fields of Anthropic's events that are read.

Everything is optional and may be null. Data are padded with blanks, which JSON allows.

Source: https://docs.anthropic.com/en/docs/build-with-claude/streaming
"""

from __future__ import annotations

from typing import Any

import msgspec

from ssegate.wire.events import Citation
from ssegate.wire.payload import NOTHING

__all__ = ["DATA", "Block", "Data", "Delta", "Message"]


class Source(msgspec.Struct, gc=False):
    """A citation, from the web or from a document."""

    cited_text: str | None = None
    url: str | None = None
    source: str | None = None
    title: str | None = None
    document_title: str | None = None

    def read(self) -> Citation:
        """Return it in our words; its offsets are into the source, not into the answer."""
        return Citation(self.url or self.source, self.title or self.document_title, self.cited_text)


class Block(msgspec.Struct, gc=False):
    """A content block, as it starts or whole."""

    type: str | None = None
    id: str | None = None
    name: str | None = None
    text: str | None = None
    thinking: str | None = None
    input: msgspec.Raw = NOTHING
    citations: list[Source] | None = None


class Delta(msgspec.Struct, gc=False):
    """What is added to a block, or (without a type) to the message."""

    type: str | None = None
    text: str | None = None
    thinking: str | None = None
    partial_json: str | None = None
    citation: Source | None = None
    stop_reason: str | None = None


class Message(msgspec.Struct, gc=False):
    """The message as it starts."""

    id: str | None = None
    model: str | None = None
    usage: dict[str, Any] | None = None


class Data(msgspec.Struct, gc=False):
    """Any event's data, or a complete answer (``type: message``)."""

    type: str | None = None
    index: int | None = None
    delta: Delta | None = None
    content_block: Block | None = None
    message: Message | None = None
    usage: dict[str, Any] | None = None
    error: msgspec.Raw = NOTHING
    # a complete answer, a legacy completion
    id: str | None = None
    model: str | None = None
    content: list[Block] | None = None
    stop_reason: str | None = None
    completion: str | None = None


DATA = msgspec.json.Decoder(Data)
