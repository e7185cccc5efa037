"""
Anthropic's Messages stream, its imitators (llama.cpp), and the legacy text completions.

Blocks are told apart by their type: text and thinking are deltas, ``tool_use`` is a call for the client to
make. What Anthropic runs itself (``server_tool_use``, ``mcp_tool_use`` and their results) is no event here;
same-shape clients still get it, because frames are carried as they came.

Source: https://docs.anthropic.com/en/docs/build-with-claude/streaming
"""

from __future__ import annotations

from typing import Any, ClassVar

from ssegate.wire.dialects.anthropic_data import DATA, Block, Data, Delta, Message
from ssegate.wire.dialects.base import JSONDialect
from ssegate.wire.dialects.carry import is_neutral
from ssegate.wire.dialects.failure import failure_in
from ssegate.wire.dialects.reasons import finish_reason
from ssegate.wire.dialects.tool_calls import KeyedCalls
from ssegate.wire.dialects.usage import UsageSoFar
from ssegate.wire.events import (
    Carried,
    End,
    Event,
    Finish,
    Frame,
    Reasoning,
    Text,
)
from ssegate.wire.payload import says

__all__ = ["Anthropic"]

GROWING = {"text_delta": "text", "thinking_delta": "thinking", "input_json_delta": "partial_json"}
"""The member of each delta that a client adds up."""


class Anthropic(JSONDialect[Data]):
    """Reads Messages events, legacy ``completion`` events, and complete messages."""

    name: ClassVar[str] = "anthropic"
    may_miss_deltas = True
    pads = True
    decoder = DATA
    carries_end_mark = False

    def __init__(self) -> None:
        super().__init__()
        self._calls = KeyedCalls()
        self._usage = UsageSoFar()
        self._finished = False

    def _events(self, data: Data, frame: Frame) -> list[Event]:
        match data.type:
            case "content_block_delta" if data.delta is not None:
                return self._delta(data.index or 0, data.delta)
            case "content_block_start" if data.content_block is not None:
                return self._block(data.index or 0, data.content_block)
            case "content_block_stop":
                return [*self._calls.close(data.index or 0)]
            case "message_start" if data.message is not None:
                return self._message(data.message)
            case "message_delta":
                stop_reason = data.delta.stop_reason if data.delta else None
                return [*self._usage.add(data.usage), *self._finish(stop_reason)]
            case "message_stop":
                return [End()]
            case "message":
                return self._answer(data)
            case "completion":
                return self._completion(data)
        if data.type == "error" or says(data.error):
            return [failure_in(frame.data)]
        return []

    def _message(self, message: Message) -> list[Event]:
        """
        Read the message's start; proxies repeat it.

        Its count of output tokens is a placeholder (1 to 8), so only the input is told yet.
        """
        counts = {**(message.usage or {}), "output_tokens": None}
        return [*self._start(message.id, message.model), *self._usage.add(counts)]

    def _block(self, at: int, block: Block) -> list[Event]:
        said: list[Event] = [*self._calls.close(at)]  # its end was lost
        match block.type:
            case "tool_use":
                said.append(self._calls.open(at, block.id, block.name, block.input))
            case "text":
                if block.text:
                    said.append(Text(block.text))
                said += [source.read() for source in block.citations or ()]
            case "thinking" if block.thinking:
                said.append(Reasoning(block.thinking))
        return said

    def _delta(self, at: int, delta: Delta) -> list[Event]:
        match delta.type:
            case "text_delta" if delta.text:
                return [Text(delta.text)]
            case "thinking_delta" if delta.thinking:
                return [Reasoning(delta.thinking)]
            case "input_json_delta":
                return [*self._calls.add(at, delta.partial_json)]
            case "citations_delta" if delta.citation is not None:
                return [delta.citation.read()]
        return []

    def _finish(self, stop_reason: str | None) -> list[Event]:
        if not stop_reason or self._finished:
            return []
        self._finished = True
        return [Finish(finish_reason(stop_reason), stop_reason)]

    def _answer(self, data: Data) -> list[Event]:
        said = self._start(data.id, data.model)
        for at, block in enumerate(data.content or ()):
            said += self._block(at, block)
            said += self._calls.close(at)
        return [*said, *self._usage.add(data.usage), *self._finish(data.stop_reason), End()]

    def _completion(self, data: Data) -> list[Event]:
        said = self._start(data.id, data.model)
        if data.completion:
            said.append(Text(data.completion))
        return [*said, *self._finish(data.stop_reason)]

    def _is_complete(self, data: Data) -> bool:
        return data.type == "message"

    def _event_name(self, data: Data, frame: Frame) -> str:
        return frame.event or data.type or ""

    def _mark(self, carried: Carried, data: Data) -> None:
        carried.last = data.type in ("message_delta", "message_stop") or bool(data.stop_reason)

    def _growing(self, data: Data, event: Event) -> str | None:
        if data.type != "content_block_delta" or data.delta is None:
            return None
        return GROWING.get(data.delta.type or "")

    @staticmethod
    def _joinable(data: dict[str, Any], growing: str, grown: str) -> bool:
        """Say whether the delta holds nothing but the string that grows."""
        delta = data["delta"]
        return (
            delta[growing] == grown
            and all(is_neutral(value) for name, value in delta.items() if name not in ("type", growing))
            and all(
                is_neutral(value) for name, value in data.items() if name not in ("type", "index", "delta")
            )
        )
