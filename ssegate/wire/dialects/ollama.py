"""
Ollama's chat and generate streams: one JSON object a line, tool calls whole, no id.

Source: https://github.com/ollama/ollama/blob/main/docs/api.md
"""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec

from ssegate.wire.dialects.base import JSONDialect
from ssegate.wire.dialects.carry import is_neutral
from ssegate.wire.dialects.failure import failure_in
from ssegate.wire.dialects.reasons import finish_reason
from ssegate.wire.dialects.tool_calls import KeyedCalls
from ssegate.wire.events import End, Event, Finish, Frame, Reasoning, Text, Usage
from ssegate.wire.payload import NOTHING, says

__all__ = ["Ollama"]


class Function(msgspec.Struct, gc=False):
    """The function of a call; its arguments are an object."""

    name: str | None = None
    arguments: msgspec.Raw = NOTHING


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
    error: msgspec.Raw = NOTHING


class Ollama(JSONDialect[Line]):
    """Reads ``/api/chat`` and ``/api/generate``, streamed or whole."""

    name: ClassVar[str] = "ollama"
    may_miss_deltas = True
    carries_end_mark = False  # of events, where a proxy has made its lines into such
    decoder = msgspec.json.Decoder(Line)
    volatile: ClassVar[tuple[str, ...]] = ("created_at",)

    def __init__(self) -> None:
        super().__init__()
        self._calls = KeyedCalls()
        self._has_lines = False

    def _events(self, line: Line, frame: Frame) -> list[Event]:
        self._has_lines = True
        if says(line.error):
            return [failure_in(frame.data)]
        said = self._start(None, line.model) if self._model is None else []
        message = line.message
        thinking = message.thinking if message is not None else line.thinking
        content = message.content if message is not None else line.response
        if thinking:
            said.append(Reasoning(thinking))
        if content:
            said.append(Text(content))
        if message is not None and message.tool_calls:
            for call in message.tool_calls:
                function = call.function or Function()
                said.append(self._calls.whole(call.id, function.name, function.arguments))
        if line.done:
            said += self._done(line)
        return said

    def _at_mark(self) -> list[Event]:
        # A proxy's: where no line came before it there was no answer.
        return super()._at_mark() if self._has_lines else []

    def _done(self, line: Line) -> list[Event]:
        said: list[Event] = []
        if line.prompt_eval_count is not None or line.eval_count is not None:
            said.append(Usage(line.prompt_eval_count, line.eval_count))
        if line.done_reason:
            said.append(Finish(finish_reason(line.done_reason), line.done_reason))
        return [*said, End()]

    def _growing(self, line: Line, event: Event) -> str | None:
        match event:
            case Text():
                return "content" if line.message is not None else "response"
            case Reasoning():
                return "thinking"
        return None

    @staticmethod
    def _joinable(line: dict[str, Any], growing: str, grown: str) -> bool:
        """Say whether the line holds only the string that grows, and what is the same in every line."""
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
