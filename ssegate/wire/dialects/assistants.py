"""
Runs of OpenAI's Assistants: events about the run, its steps and its messages.

The data have no type; their ``object`` tells what they are about, and the ``status`` of a run whether it has
ended. A function is for the client to call; what a step does besides (code, file search) is no event here but
shows that the run is at work.

Source: https://platform.openai.com/docs/api-reference/assistants-streaming
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import msgspec

from ssegate.wire.dialects.base import JSONDialect
from ssegate.wire.dialects.bounds import Bounds
from ssegate.wire.dialects.failure import failure_of
from ssegate.wire.dialects.reasons import finish_reason
from ssegate.wire.dialects.tool_calls import KeyedCalls
from ssegate.wire.dialects.usage import read_usage
from ssegate.wire.events import Citation, Event, Finish, Frame, Progress, Refusal, Text, ToolCall
from ssegate.wire.payload import NOTHING, argument_text, says

__all__ = ["Assistants"]

FAILED = ("failed", "expired")
ENDED = (*FAILED, "completed", "incomplete", "requires_action", "cancelled")


class File(msgspec.Struct, gc=False):
    """The file of an annotation."""

    file_id: str | None = None


class Annotation(msgspec.Struct, gc=False):
    """A source of a text; ``text`` is the mark that stands for it there."""

    text: str | None = None
    start_index: int | None = None
    end_index: int | None = None
    file_citation: File | None = None
    file_path: File | None = None


class Value(msgspec.Struct, gc=False):
    """A text, or what is added to it."""

    value: str | None = None
    annotations: list[Annotation] | None = None


class Part(msgspec.Struct, gc=False):
    """A piece of a message's content."""

    text: Value | None = None
    refusal: str | None = None


class Function(msgspec.Struct, gc=False):
    """The function of a call."""

    name: str | None = None
    arguments: msgspec.Raw = NOTHING


class Call(msgspec.Struct, gc=False):
    """A tool call, or what is added to one."""

    index: int | None = None
    id: str | None = None
    function: Function | None = None


class Calls(msgspec.Struct, gc=False):
    """The calls of a step, or those that a run waits for."""

    tool_calls: list[Call] | None = None


class Delta(msgspec.Struct, gc=False):
    """What is added to a message or a step."""

    content: list[Part] | None = None
    step_details: Calls | None = None


class Action(msgspec.Struct, gc=False):
    """What a run waits for."""

    submit_tool_outputs: Calls | None = None


class Details(msgspec.Struct, gc=False):
    """Why a run is incomplete."""

    reason: str | None = None


class Data(msgspec.Struct, gc=False):
    """Any event's data."""

    id: str | None = None
    object: str | None = None
    status: str | None = None
    delta: Delta | None = None
    # of a message
    content: list[Part] | None = None
    # of a run
    model: str | None = None
    usage: dict[str, Any] | None = None
    required_action: Action | None = None
    incomplete_details: Details | None = None
    last_error: msgspec.Raw = NOTHING
    error: msgspec.Raw = NOTHING


class Assistants(JSONDialect[Data]):
    """Reads the events of a run; ``[DONE]`` ends it."""

    name: ClassVar[str] = "assistants"
    may_miss_deltas = True
    decoder = msgspec.json.Decoder(Data)
    carries_end_mark = False

    def __init__(self) -> None:
        super().__init__()
        self._bounds = Bounds()
        self._calls = KeyedCalls(bounds=self._bounds)
        # Hashes of ids: of calls that have been told, of messages whose content has been told.
        self._ids: set[int] = set()
        self._told: set[int] = set()

    def _events(self, data: Data, frame: Frame) -> list[Event]:
        match data.object:
            case "thread.message.delta" if data.delta is not None:
                self._tell(data.id)
                return [*_content(data.delta.content)]
            case "thread.message" if data.status == "completed" and hash(data.id) not in self._told:
                return [*_content(data.content)]
            case "thread.run":
                return self._run(data)
            case "thread.run.step.delta" if data.delta is not None and data.delta.step_details is not None:
                return self._step(data.id, data.delta.step_details)
            case "thread.run.step":
                return [Progress()]
        return [failure_of(data.error)] if says(data.error) else []

    def _tell(self, message: str | None) -> None:
        if hash(message) not in self._told:
            self._bounds.take()
            self._told.add(hash(message))

    def _step(self, step: str | None, details: Calls) -> list[Event]:
        said: list[Event] = []
        for place, call in enumerate(details.tool_calls or ()):
            function = call.function
            if function is None:
                said.append(Progress())
                continue
            key = hash(step), place if call.index is None else call.index
            if function.name and key not in self._calls:
                said.append(self._open(key, call, function.name))
            said += self._calls.add(key, argument_text(function.arguments))
        return said

    def _open(self, key: tuple[int, int], call: Call, name: str) -> ToolCall:
        if call.id:
            self._ids.add(hash(call.id))
        return self._calls.open(key, call.id, name)

    def _run(self, run: Data) -> list[Event]:
        said = self._start(run.id, run.model)
        if run.status not in ENDED:
            return said
        if run.required_action is not None and run.required_action.submit_tool_outputs is not None:
            said += self._missed(run.required_action.submit_tool_outputs)
        if run.usage and (usage := read_usage(run.usage)) is not None:
            said.append(usage)
        if run.status in FAILED:
            return [*said, failure_of(run.last_error, f"the run has {run.status}")]
        details = run.incomplete_details
        reason = details.reason if details is not None and details.reason else run.status
        return [*said, Finish(finish_reason(reason), reason)]

    def _missed(self, calls: Calls) -> Iterator[Event]:
        """Tell the calls that a run waits for and no step has told."""
        for call in calls.tool_calls or ():
            function = call.function
            if function is not None and hash(call.id) not in self._ids:
                yield self._calls.whole(call.id, function.name, function.arguments)


def _content(parts: list[Part] | None) -> Iterator[Event]:
    for part in parts or ():
        if part.refusal:
            yield Refusal(part.refusal)
        if part.text is None:
            continue
        if part.text.value:
            yield Text(part.text.value)
        for source in part.text.annotations or ():
            file = source.file_citation or source.file_path or File()
            yield Citation(None, file.file_id, source.text, source.start_index, source.end_index)
