"""
How the Responses stream tells each kind of text: an item, parts in it, and a string in the part that grows.

Source: https://platform.openai.com/docs/api-reference/responses-streaming
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ssegate.wire.events import Reasoning, Refusal, Text

__all__ = ["ARGUMENTS", "KINDS", "OF_EVENT", "Kind", "Told"]

Told = tuple[str, dict[str, Any]]
"""The type of an event, and its members."""

ARGUMENTS = "response.function_call_arguments"


@dataclass(frozen=True, slots=True)
class Kind:
    """How one kind of text is told."""

    prefix: str
    """Of the item's id."""

    item: dict[str, Any]
    parts: str
    """The member of the item that holds its parts."""

    index: str
    part: dict[str, Any]
    text: str
    """The member of the part that grows."""

    part_event: str
    text_event: str
    logprobs: dict[str, Any] = field(default_factory=dict)

    def whole(self, text: str, annotations: list[Any]) -> dict[str, Any]:
        """Return the part as it is in the end."""
        part = {**self.part, self.text: text}
        return {**part, "annotations": annotations} if annotations else part

    def text_done(self, place: dict[str, Any], text: str) -> Told:
        """Return the event that repeats the whole text."""
        return f"{self.text_event}.done", {**place, self.text: text, **self.logprobs}


_MESSAGE = {"type": "message", "role": "assistant"}
_CONTENT = ("content", "content_index")
_CONTENT_PART = "response.content_part"

_TEXT = Kind(
    "msg",
    _MESSAGE,
    *_CONTENT,
    {"type": "output_text", "annotations": [], "logprobs": []},
    "text",
    _CONTENT_PART,
    "response.output_text",
    {"logprobs": []},
)
_REFUSAL = Kind("msg", _MESSAGE, *_CONTENT, {"type": "refusal"}, "refusal", _CONTENT_PART, "response.refusal")
_SUMMARY = Kind(
    "rs",
    {"type": "reasoning"},
    "summary",
    "summary_index",
    {"type": "summary_text"},
    "text",
    "response.reasoning_summary_part",
    "response.reasoning_summary_text",
)
_THOUGHT = Kind(
    "rs",
    {"type": "reasoning"},
    *_CONTENT,
    {"type": "reasoning_text"},
    "text",
    _CONTENT_PART,
    "response.reasoning_text",
)

OF_EVENT = {Text: _TEXT, Refusal: _REFUSAL, Reasoning: _SUMMARY}
"""How the gate itself tells them."""

KINDS = {kind.text_event: kind for kind in (_TEXT, _REFUSAL, _SUMMARY, _THOUGHT)}
"""All, by the events that bring their text."""
