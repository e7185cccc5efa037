"""
OpenAI's Responses stream, and every server of that shape.

Events say the same thing over and over: in deltas, when the part is done, when the item is done, and in the
response at the end. Each thing is told once, from the first event that has it: some servers send no deltas,
some no more than the response. ``output_index`` tells items apart, because ids may change from event to event
(GitHub Copilot); where it is missing (llama.cpp), the id does.

Only calls with a name are calls for the client to make. What the server runs itself (searches, code, MCP) is
no event here but shows that it is at work; same-shape clients still get it, because frames are carried.

Source: https://platform.openai.com/docs/api-reference/responses-streaming and recorded bodies.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import msgspec

from ssegate.wire.dialects.base import JSONDialect
from ssegate.wire.dialects.bounds import Bounds
from ssegate.wire.dialects.carry import is_neutral
from ssegate.wire.dialects.failure import failure_in, failure_of
from ssegate.wire.dialects.reasons import finish_reason
from ssegate.wire.dialects.responses_data import DATA, Data, Item, Part, Response
from ssegate.wire.dialects.tool_calls import KeyedCalls
from ssegate.wire.dialects.usage import read_usage
from ssegate.wire.events import (
    Carried,
    End,
    Event,
    Finish,
    Frame,
    Progress,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
)
from ssegate.wire.payload import says

__all__ = ["Responses"]

Key = int | None
"""Of an item: its place in the output, else the hash of its id."""

Where = tuple[Key, str, int]
"""Of a part: its item's key, ``content`` or ``summary``, and its place there."""

TEXTS: dict[str, type[Text | Reasoning | Refusal]] = {
    "response.output_text": Text,
    "response.refusal": Refusal,
    "response.reasoning_text": Reasoning,
    "response.reasoning_summary_text": Reasoning,
}
ARGUMENTS = ("response.function_call_arguments", "response.custom_tool_call_input")
ITEM = "response.output_item"
PARTS = ("response.content_part", "response.reasoning_summary_part")
ANNOTATION = "response.output_text.annotation"

CALLS = ("function_call", "custom_tool_call")
SAYING = ("message", "reasoning")
"""Types of items that say something; those that are no calls either are work of the server's own."""

REASONING_PARTS = ("summary_text", "reasoning_text")
ENDS = {f"response.{status}": status for status in ("completed", "incomplete", "failed", "cancelled")}
STEADY = ("type", "item_id", "output_index", "content_index", "summary_index", "sequence_number")
"""Members of a delta that clients do not add up."""


MOST = 2048
"""Items and parts that are told apart: research runs have hundreds."""


class Parts:
    """Parts of items that have been told."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._parts: set[Where] = set()
        self._items: set[Key] = set()

    def __bool__(self) -> bool:
        return bool(self._parts)

    def __contains__(self, where: Where) -> bool:
        return where in self._parts

    def has_of(self, key: Key) -> bool:
        """Say whether any part of the item has been told."""
        return key in self._items

    def add(self, where: Where) -> None:
        """Take note of a part."""
        if where not in self._parts:
            self._bounds.take()
            self._parts.add(where)
            self._items.add(where[0])


class Responses(JSONDialect[Data]):
    """Reads Responses events, from the beginning or from the middle on, and complete responses."""

    name: ClassVar[str] = "responses"
    may_miss_deltas = True
    decoder = DATA
    volatile: ClassVar[tuple[str, ...]] = ("sequence_number", "obfuscation")
    carries_end_mark = False

    def __init__(self) -> None:
        super().__init__()
        self._bounds = Bounds(MOST)
        self._calls = KeyedCalls(bounds=self._bounds)
        self._at: dict[int, int] = {}  # the hash of an item's id → its place
        self._told = Parts(self._bounds)  # whose text has been told
        self._cited = Parts(self._bounds)  # whose sources have been told
        self._has_begun = False
        self._is_whole = True  # the stream was read from its beginning

    def _events(self, data: Data, frame: Frame) -> list[Event]:
        kind = data.type or frame.event
        if not self._has_begun:
            self._has_begun = True
            self._is_whole = kind == "response.created" or not data.sequence_number
        name, _, step = kind.rpartition(".")
        if name in TEXTS:
            return self._text(TEXTS[name], step, data)
        if name in ARGUMENTS:
            return self._arguments(step, data)
        if name == ITEM and data.item is not None:
            return self._item(step, data, data.item)
        if name in PARTS and data.part is not None:
            return [*self._part(self._where(data), data.part)] if step == "done" else []
        if name == ANNOTATION and data.annotation is not None:
            self._cited.add(self._where(data))
            return [*data.annotation.read()]
        return self._other(kind, name, data, frame)

    def _other(self, kind: str, name: str, data: Data, frame: Frame) -> list[Event]:
        """Read what is about the whole response, and what the server does itself."""
        if data.object == "response":
            return self._response(data, data.status or ("completed" if data.output else ""))
        if data.response is not None:
            return self._response(data.response, ENDS.get(kind, ""))
        if kind == "error" or says(data.error):
            return [failure_in(frame.data)]
        return [Progress()] if name.startswith("response.") and data.delta != "" else []

    def _key(self, data: Data) -> Key:
        if data.output_index is not None:
            return data.output_index
        if not data.item_id:
            return None
        mark = hash(data.item_id)
        return self._at.get(mark, mark)

    def _where(self, data: Data) -> Where:
        if data.summary_index is not None:
            return self._key(data), "summary", data.summary_index
        return self._key(data), "content", data.content_index or 0

    def _text(self, kind: type[Text | Reasoning | Refusal], step: str, data: Data) -> list[Event]:
        where = self._where(data)
        said = data.delta if step == "delta" else data.refusal or data.text
        if not said or (step != "delta" and not self._is_missed(where)):
            return []
        self._told.add(where)
        return [kind(said)]

    def _is_missed(self, where: Where) -> bool:
        """Whether the text of a part that is done has not been told, and should have been."""
        return self._is_whole and where not in self._told

    def _arguments(self, step: str, data: Data) -> list[Event]:
        key = self._key(data)
        if step == "delta":
            return [*self._calls.add(key, data.delta)]
        given = _given(data)
        return [*self._calls.close(key, given)] if says(given) else []  # they may yet come with the item

    def _item(self, step: str, data: Data, item: Item) -> list[Event]:
        mark = hash(item.id) if item.id else None
        key = mark if data.output_index is None else data.output_index
        if mark is not None and data.output_index is not None and mark not in self._at:
            self._bounds.take()
            self._at[mark] = data.output_index
        if item.type in CALLS:
            return [*self._call(key, step, item)]
        if item.type in SAYING:
            return [*self._content(key, item)] if step == "done" else []
        return [Progress()]

    def _call(self, key: Key, step: str, item: Item) -> Iterator[ToolCall]:
        given = _given(item)
        if key not in self._calls and (item.name or step == "done"):
            yield self._calls.open(key, item.call_id or item.id, item.name, given)
        if step == "done":
            yield from self._calls.close(key, given)

    def _content(self, key: Key, item: Item) -> Iterator[Event]:
        """Tell what an item that is done has, if no event before it had any of that."""
        if not self._is_whole:
            return
        is_told, is_cited = self._told.has_of(key), self._cited.has_of(key)
        for place, parts in (("summary", item.summary), ("content", item.content)):
            for index, part in enumerate(parts or ()):
                where = (key, place, index)
                if not is_told:
                    yield from self._text_of(where, part, is_reasoning=item.type == "reasoning")
                if not is_cited:
                    yield from self._sources_of(where, part)

    def _part(self, where: Where, part: Part) -> Iterator[Event]:
        """Tell what a part that is done has, if no event before it had it."""
        if self._is_missed(where):
            yield from self._text_of(where, part, is_reasoning=part.type in REASONING_PARTS)
        if self._is_whole and where not in self._cited:
            yield from self._sources_of(where, part)

    def _text_of(self, where: Where, part: Part, *, is_reasoning: bool) -> Iterator[Event]:
        if said := part.refusal or part.text:
            self._told.add(where)
            yield Refusal(said) if part.refusal else Reasoning(said) if is_reasoning else Text(said)

    def _sources_of(self, where: Where, part: Part) -> Iterator[Event]:
        for source in part.annotations or ():
            self._cited.add(where)
            yield from source.read()

    def _response(self, response: Response, status: str) -> list[Event]:
        """Read the response; *status* is one of ``ENDS`` if this is its end."""
        said = self._start(response.id, response.model)
        if status not in ENDS.values():
            return said
        said += self._rest(response)
        if response.usage and (usage := read_usage(response.usage)) is not None:
            said.append(usage)
        if status == "failed":
            return [*said, failure_of(response.error, "the response failed")]
        details = response.incomplete_details
        reason = details.reason if details is not None and details.reason else status
        return [*said, Finish(finish_reason(reason), reason), End()]

    def _rest(self, response: Response) -> Iterator[Event]:
        """Tell what the whole response has, if no event before it had any of that; its items have new ids."""
        yield from self._calls.close_all()
        if self._is_whole and not self._told and not self._calls:
            for index, item in enumerate(response.output or ()):
                if item.type in CALLS:
                    yield from self._call(index, "done", item)
                elif item.type in SAYING:
                    yield from self._content(index, item)

    def _is_complete(self, data: Data) -> bool:
        return data.object == "response"

    def _event_name(self, data: Data, frame: Frame) -> str:
        kind = data.type or ""
        return kind if kind.isprintable() and kind else frame.event

    def _mark(self, carried: Carried, data: Data) -> None:
        carried.last = carried.event in ENDS

    def _growing(self, data: Data, event: Event) -> str | None:
        return None if data.delta is None or isinstance(event, Progress) else "delta"

    @staticmethod
    def _joinable(data: dict[str, Any], growing: str, grown: str) -> bool:
        """Say whether the delta holds nothing else that adds up, as ``logprobs`` do."""
        others = (value for name, value in data.items() if name not in (*STEADY, "obfuscation", growing))
        return data[growing] == grown and all(map(is_neutral, others))


def _given(said: Data | Item) -> msgspec.Raw:
    """Return the arguments of a function's call, or the input of a custom tool's."""
    return said.arguments if says(said.arguments) else said.input
