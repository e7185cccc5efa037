"""
Cohere's chat: v2 as Server-Sent Events, v1 as lines of JSON (or as events too), and complete answers of both.

What the model says of the tools it is about to call (``tool_plan``; v1's text beside its calls) is no part of
the answer and no event here; same-shape clients still get it, because frames are carried as they came.

v2 ends with ``message-end`` and, in newer versions, ``[DONE]``; so the former is a finish only.

Source: https://docs.cohere.com/v2/docs/streaming
"""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec

from ssegate.wire.dialects.base import JSONDialect
from ssegate.wire.dialects.bounds import PIECE, Bounds
from ssegate.wire.dialects.carry import is_neutral
from ssegate.wire.dialects.cohere_data import (
    DATA,
    Call,
    Cited,
    Content,
    Data,
    Function,
    Message,
    listed,
    source_of,
)
from ssegate.wire.dialects.failure import failure_in, read_failure
from ssegate.wire.dialects.reasons import Finishes
from ssegate.wire.dialects.tool_calls import KeyedCalls
from ssegate.wire.dialects.usage import read_usage
from ssegate.wire.events import End, Event, Frame, Reasoning, Text, ToolCall
from ssegate.wire.payload import NOTHING, argument_text, says

__all__ = ["Cohere"]

NAMES = ("type", "event_type", "index", "is_finished")
"""Members that are the same in all deltas of one kind, and add up to nothing."""


class Cohere(JSONDialect[Data]):
    """Reads ``/v2/chat`` and ``/v1/chat``, streamed or whole."""

    name: ClassVar[str] = "cohere"
    may_miss_deltas = True
    decoder = DATA

    def __init__(self) -> None:
        super().__init__()
        self._bounds = Bounds()
        self._calls, self._finishes = KeyedCalls(bounds=self._bounds), Finishes()
        self._documents: dict[str, dict[str, Any]] = {}

    def _events(self, data: Data, frame: Frame) -> list[Event]:
        kind = data.type or data.event_type
        if isinstance(data.message, str) or (says(data.error) and kind != "stream-end"):
            return [failure_in(frame.data)]
        message = data.delta.message if data.delta is not None else None
        if message is not None:
            return self._delta(kind, data, message)
        match kind:
            case "message-end" if data.delta is not None:
                return self._end(data.delta.finish_reason, data.delta.usage, data.delta.error, frame)
            case "tool-call-end":
                return [*self._calls.close(data.index or 0)]
            case None if data.message is not None:
                return self._answer(data, data.message, frame)
            case None if data.generation_id is not None:
                return self._v1_answer(data, frame)
        return self._v1(kind, data, frame)

    def _delta(self, kind: str | None, data: Data, message: Message) -> list[Event]:
        match kind:
            case "content-delta" | "content-start":
                return _content(message)
            case "tool-call-start":
                return [self._open(data.index or 0, call) for call in listed(message.tool_calls)]
            case "tool-call-delta":
                fragments = [_arguments(call) for call in listed(message.tool_calls)]
                return [said for one in fragments for said in self._calls.add(data.index or 0, one)]
            case "citation-start":
                return self._cite(listed(message.citations))
            case "message-start":
                return self._start(data.id, None)
        return []

    def _open(self, at: int, call: Call) -> ToolCall:
        function = call.function or Function(call.name)
        return self._calls.open(at, call.id, function.name, function.arguments)

    def _end(
        self, reason: str | None, counts: dict[str, Any] | None, error: msgspec.Raw, frame: Frame, *mark: End
    ) -> list[Event]:
        said: list[Event] = []
        if counts is not None and (usage := read_usage(counts)):
            said.append(usage)
        if says(error):
            return [*said, failure_in(frame.data)]
        if reason == "ERROR":
            return [*said, read_failure({})]
        return [*said, *self._finishes.add(reason), *mark]

    def _cite(self, cited: list[Cited]) -> list[Event]:
        return [citation for one in cited for citation in one.read(self._documents)]

    def _answer(self, data: Data, message: Message, frame: Frame) -> list[Event]:
        said = [*self._start(data.id, None), *_content(message)]
        for call in listed(message.tool_calls):
            function = call.function or Function()
            said.append(self._calls.whole(call.id, function.name, function.arguments))
        said += self._cite(listed(message.citations))
        return [*said, *self._end(data.finish_reason, data.usage, NOTHING, frame, End())]

    def _v1(self, kind: str | None, data: Data, frame: Frame) -> list[Event]:
        match kind:
            case "text-generation" if data.text:
                return [Text(data.text)]
            case "tool-calls-chunk" if data.tool_call_delta is not None:
                return self._v1_fragment(data.tool_call_delta)
            case "tool-calls-generation":
                return self._v1_calls(data.tool_calls or [])
            case "citation-generation":
                return self._cite(data.citations or [])
            case "search-results":
                self._keep(data)
            case "stream-start":
                return self._start(data.generation_id, None)
            case "stream-end":
                counts = data.response.meta if data.response is not None else None
                return self._end(data.finish_reason, counts, data.error, frame, End())
        return []

    def _v1_fragment(self, call: Call) -> list[Event]:
        at = call.index or 0
        said: list[Event] = []
        if call.name and at not in self._calls:
            said.append(self._calls.open(at, call.id, call.name))
        return [*said, *self._calls.add(at, argument_text(call.parameters))]

    def _v1_calls(self, calls: list[Call]) -> list[Event]:
        """Read the calls whole; of those that came in fragments this is the end."""
        said: list[Event] = []
        for at, call in enumerate(calls):
            if at in self._calls:
                said += self._calls.close(at, call.parameters)
            else:
                said.append(self._calls.whole(call.id, call.name, call.parameters))
        return said

    def _v1_answer(self, data: Data, frame: Frame) -> list[Event]:
        self._keep(data)
        said = self._start(data.generation_id, None)
        if data.text and not data.tool_calls:
            said.append(Text(data.text))
        said += [*self._v1_calls(data.tool_calls or []), *self._cite(data.citations or [])]
        return [*said, *self._end(data.finish_reason, data.meta, NOTHING, frame, End())]

    def _keep(self, data: Data) -> None:
        """Keep of the documents what their citations will tell, as long as there is room for it."""
        for document in data.documents or ():
            id, source = str(document.get("id")), source_of(document)
            if self._bounds.hold(4 * PIECE + len(id) + sum(map(len, source.values()))):
                self._documents[id] = source

    def _is_complete(self, data: Data) -> bool:
        is_event = data.type is not None or data.event_type is not None
        return not is_event and (data.message is not None or data.generation_id is not None)

    def _growing(self, data: Data, event: Event) -> str | None:
        match data.type or data.event_type, event:
            case (("content-delta" | "text-generation"), Text()):
                return "text"
            case "content-delta", Reasoning():
                return "thinking"
            case "tool-call-delta", ToolCall(name=None):
                return "arguments"
            case "tool-calls-chunk", ToolCall(name=None):
                return "parameters"
        return None

    @staticmethod
    def _joinable(data: dict[str, Any], growing: str, grown: str) -> bool:
        """Say whether the event holds nothing but the string that grows, at any depth."""
        for name, value in data.items():
            if isinstance(value, dict) and value:
                if not Cohere._joinable(value, growing, grown):
                    return False
            elif name not in NAMES and value != (grown if name == growing else "") and not is_neutral(value):
                return False
        return True


def _content(message: Message) -> list[Event]:
    said: list[Event] = []
    parts = message.content
    for content in listed(Content(parts) if isinstance(parts, str) else parts):
        if content.thinking:
            said.append(Reasoning(content.thinking))
        if content.text:
            said.append(Text(content.text))
    return said


def _arguments(call: Call) -> str:
    return argument_text(call.function.arguments) if call.function is not None else ""
