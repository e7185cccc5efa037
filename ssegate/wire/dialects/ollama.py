"""
Ollama's chat and generate streams: one JSON object a line, tool calls whole, no id.

Source: https://github.com/ollama/ollama/blob/main/docs/api.md
"""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec

from ssegate.wire.dialects.carry import Carrier, is_neutral, payload
from ssegate.wire.dialects.failure import failure_in
from ssegate.wire.dialects.payload import UNREADABLE, compact, repair
from ssegate.wire.dialects.reasons import finish_reason
from ssegate.wire.dialects.surrogates import without_halves
from ssegate.wire.events import Carried, End, Event, Finish, Frame, Reasoning, Start, Text, ToolCall, Usage

__all__ = ["Ollama"]


class Function(msgspec.Struct, gc=False):
    """The function of a call; its arguments are an object."""

    name: str | None = None
    arguments: Any = None


class Call(msgspec.Struct, gc=False):
    """A whole tool call."""

    id: str | None = None
    function: Function | None = None


class Message(msgspec.Struct, gc=False):
    """What a chat line adds."""

    content: str | None = None
    thinking: str | None = None
    tool_calls: list[Call] | None = None


class Line(msgspec.Struct, gc=False):
    """A line of either stream; ``response`` and ``thinking`` are those of generate."""

    model: str | None = None
    message: Message | None = None
    response: str | None = None
    thinking: str | None = None
    done: bool | None = None
    done_reason: str | None = None
    prompt_eval_count: int | None = None
    eval_count: int | None = None
    error: Any = msgspec.UNSET


LINE = msgspec.json.Decoder(Line)


class Ollama:
    """Reads ``/api/chat`` and ``/api/generate``, streamed or whole."""

    name: ClassVar[str] = "ollama"
    may_miss_deltas: ClassVar[bool] = True

    def __init__(self) -> None:
        self._started = False
        self._calls = 0
        self._carrier = Carrier(("created_at",), _joinable)
        self._line: Line | None = None  # what the last frame held, and said, for carry
        self._said: list[Event] = []
        self._repaired = False

    def decode(self, frame: Frame) -> list[Event]:
        """Return what one line says; ``done: true`` is finish and end mark."""
        self._line = None
        try:
            line = LINE.decode(frame.data)
            self._repaired = False
        except UNREADABLE:
            if not (data := frame.data.strip()):
                return []
            line = repair(data, Line)
            self._repaired = True
        if line.error:
            return [failure_in(frame.data)]
        said = self._events(line)
        if self._repaired:
            said = without_halves(said)
        self._line = line
        self._said = said
        return said

    def close(self) -> list[Event]:
        """Return nothing: without an end mark the stream is cut."""
        return []

    def carry(self, frame: Frame) -> Carried | None:
        """Return the line as it came, unless it is an error."""
        line = self._line
        if line is None:
            return None
        if not self._repaired and (carried := self._carrier.repeat(frame)) is not None:
            return carried
        count = sum(isinstance(event, (Text, Reasoning, ToolCall)) for event in self._said)
        growing = _growing(line, self._said[0]) if len(self._said) == 1 else None
        carried = self._carrier.carry(
            frame.event, payload(frame, null_error=line.error is None), growing, count
        )
        carried.last = bool(line.done)
        return carried

    def _events(self, line: Line) -> list[Event]:
        said: list[Event] = []
        if not self._started and line.model:
            self._started = True
            said.append(Start(model=line.model))
        message = line.message
        thinking = message.thinking if message is not None else line.thinking
        content = message.content if message is not None else line.response
        if thinking:
            said.append(Reasoning(thinking))
        if content:
            said.append(Text(content))
        if message is not None and message.tool_calls:
            said += [self._call(call) for call in message.tool_calls]
        if line.done:
            said += self._done(line)
        return said

    def _call(self, call: Call) -> ToolCall:
        function = call.function or Function()
        self._calls += 1
        return ToolCall(self._calls - 1, compact(function.arguments), call.id or None, function.name or "")

    def _done(self, line: Line) -> list[Event]:
        said: list[Event] = []
        if line.prompt_eval_count is not None or line.eval_count is not None:
            said.append(Usage(line.prompt_eval_count, line.eval_count))
        if line.done_reason:
            said.append(Finish(finish_reason(line.done_reason), line.done_reason))
        return [*said, End()]


def _growing(line: Line, event: Event) -> str | None:
    match event:
        case Text():
            return "content" if line.message is not None else "response"
        case Reasoning():
            return "thinking"
    return None


def _joinable(line: dict[str, Any], growing: str, grown: str) -> bool:
    """Say whether the line holds nothing but the string that grows, and what is the same in every line."""
    known = {"model", "remote_model", "remote_host", "created_at", "done", "message", growing}
    holder = line.get("message", line)
    return (
        holder[growing] == grown
        and all(is_neutral(value) for name, value in line.items() if name not in known)
        and all(
            is_neutral(value)
            for name, value in (line.get("message") or {}).items()
            if name not in ("role", growing)
        )
    )
