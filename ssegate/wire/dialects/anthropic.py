"""
Anthropic's Messages stream, its imitators (llama.cpp), and the legacy text completions.

Blocks are told apart by their type: text and thinking are deltas, ``tool_use`` is a call for the client to
make. What Anthropic runs itself (``server_tool_use``, ``mcp_tool_use`` and their results) is no event here;
same-shape clients still get it, because frames are carried as they came.

Source: https://docs.anthropic.com/en/docs/build-with-claude/streaming
"""

from __future__ import annotations

from typing import Any, ClassVar

from ssegate.wire.dialects.anthropic_data import DATA, Block, Counts, Data, Delta, Message
from ssegate.wire.dialects.carry import Carrier, is_neutral, payload
from ssegate.wire.dialects.failure import failure_in
from ssegate.wire.dialects.payload import UNREADABLE, compact, repair
from ssegate.wire.dialects.reasons import finish_reason
from ssegate.wire.dialects.surrogates import without_halves
from ssegate.wire.events import (
    Carried,
    End,
    Event,
    Failure,
    Finish,
    Frame,
    Reasoning,
    Start,
    Text,
    ToolCall,
    Usage,
)

__all__ = ["Anthropic"]

DONE = b"[DONE]"
GROWING = {"text_delta": "text", "thinking_delta": "thinking", "input_json_delta": "partial_json"}
"""The member of each delta that a client adds up."""


class Anthropic:
    """Reads Messages events, legacy ``completion`` events, and complete messages."""

    name: ClassVar[str] = "anthropic"
    may_miss_deltas: ClassVar[bool] = True

    def __init__(self) -> None:
        self._started = False
        self._calls: dict[int, tuple[int, Any]] = {}  # block → our index, and arguments given at its start
        self._count = 0
        self._counts = Counts()
        self._finished = False
        self._carrier = Carrier((), _joinable)
        self._data: Data | None = None  # what the last frame held, and said, for carry
        self._said: list[Event] = []
        self._repaired = False

    def decode(self, frame: Frame) -> list[Event]:
        """Return what one event says; ``message_stop`` is the end mark."""
        self._data = None
        try:
            data = DATA.decode(frame.data)
            self._repaired = False
        except UNREADABLE:
            text = frame.data.strip()
            if not text:
                return []
            if text.startswith(DONE):
                return [End()]
            if frame.event == "error":
                return [failure_in(frame.data)]
            data = repair(text, Data)
            self._repaired = True
        said = self._events(data, frame)
        if self._repaired:
            said = without_halves(said)
        self._data = data
        self._said = said
        return said

    def close(self) -> list[Event]:
        """Return nothing: without an end mark the stream is cut."""
        return []

    def carry(self, frame: Frame) -> Carried | None:
        """Return the event as it came, pings too, unless it is a complete answer or an error."""
        data = self._data
        if data is None:
            return None
        if not self._repaired and (carried := self._carrier.repeat(frame)) is not None:
            return carried
        if data.type == "message" or any(isinstance(event, Failure) for event in self._said):
            return None
        said = self._said
        growing = None
        if data.type == "content_block_delta" and data.delta is not None and len(said) == 1:
            growing = GROWING.get(data.delta.type or "")
        count = sum(isinstance(event, (Text, Reasoning, ToolCall)) for event in said)
        carried = self._carrier.carry(
            frame.event or data.type or "", payload(frame, null_error=data.error is None), growing, count
        )
        carried.last = data.type in ("message_delta", "message_stop") or bool(data.stop_reason)
        return carried

    def _events(self, data: Data, frame: Frame) -> list[Event]:
        match data.type:
            case "content_block_delta" if data.delta is not None:
                return self._delta(data.index or 0, data.delta)
            case "content_block_start" if data.content_block is not None:
                return self._block(data.index or 0, data.content_block)
            case "content_block_stop":
                return self._end_block(data.index or 0)
            case "message_start" if data.message is not None:
                return self._start(data.message)
            case "message_delta":
                return [
                    *self._usage(data.usage),
                    *self._finish(data.delta.stop_reason if data.delta else None),
                ]
            case "message_stop":
                return [End()]
            case "message":
                return self._answer(data)
            case "completion":
                return self._completion(data)
        if data.type == "error" or data.error or frame.event == "error":
            return [failure_in(frame.data)]
        return []

    def _start(self, message: Message) -> list[Event]:
        """
        Read the message's start; proxies repeat it.

        Its count of output tokens is a placeholder (1 to 8), so only the input is told yet.
        """
        said: list[Event] = []
        if not self._started and (message.id or message.model):
            self._started = True
            said.append(Start(message.id or None, message.model or None))
        if message.usage is not None:
            message.usage.output_tokens = None
        return said + self._usage(message.usage)

    def _block(self, at: int, block: Block) -> list[Event]:
        self._calls.pop(at, None)
        match block.type:
            case "tool_use":
                self._calls[at] = (self._count, block.input)
                self._count += 1
                return [ToolCall(self._count - 1, "", block.id or None, block.name or "")]
            case "text":
                cited: list[Event] = [source.read() for source in block.citations or ()]
                return [Text(block.text), *cited] if block.text else cited
            case "thinking" if block.thinking:
                return [Reasoning(block.thinking)]
        return []

    def _delta(self, at: int, delta: Delta) -> list[Event]:
        match delta.type:
            case "text_delta" if delta.text:
                return [Text(delta.text)]
            case "thinking_delta" if delta.thinking:
                return [Reasoning(delta.thinking)]
            case "input_json_delta" if delta.partial_json and at in self._calls:
                index, _ = self._calls[at]
                self._calls[at] = (index, None)
                return [ToolCall(index, delta.partial_json)]
            case "citations_delta" if delta.citation is not None:
                return [delta.citation.read()]
        return []

    def _end_block(self, at: int) -> list[Event]:
        """Give the arguments that stood in the block's start, if no delta has brought any since."""
        index, given = self._calls.pop(at, (0, None))
        return [ToolCall(index, compact(given))] if given else []

    def _usage(self, counts: Counts | None) -> list[Event]:
        """
        Lay *counts* over those before.

        Anthropic counts cache reads and writes beside ``input_tokens``; ours include them.
        """
        if counts is None:
            return []
        held = self._counts
        for name in counts.__struct_fields__:
            if (value := getattr(counts, name)) is not None:
                setattr(held, name, value)
        parts = (held.input_tokens, held.cache_creation_input_tokens, held.cache_read_input_tokens)
        known = [part for part in parts if part is not None]
        details = held.output_tokens_details
        reasoning = None
        if details is not None:
            reasoning = (
                details.reasoning_tokens if details.thinking_tokens is None else details.thinking_tokens
            )
        usage = Usage(
            sum(known) if known else None, held.output_tokens, reasoning, held.cache_read_input_tokens
        )
        return [usage] if usage != Usage() else []

    def _finish(self, stop_reason: str | None) -> list[Event]:
        if not stop_reason or self._finished:
            return []
        self._finished = True
        return [Finish(finish_reason(stop_reason), stop_reason)]

    def _answer(self, data: Data) -> list[Event]:
        said: list[Event] = [Start(data.id or None, data.model or None)]
        for at, block in enumerate(data.content or ()):
            said += self._block(at, block)
            said += self._end_block(at)
        return [*said, *self._usage(data.usage), *self._finish(data.stop_reason), End()]

    def _completion(self, data: Data) -> list[Event]:
        said: list[Event] = []
        if not self._started and (data.id or data.model):
            self._started = True
            said.append(Start(data.id or None, data.model or None))
        if data.completion:
            said.append(Text(data.completion))
        return [*said, *self._finish(data.stop_reason)]


def _joinable(data: dict[str, Any], growing: str, grown: str) -> bool:
    """Say whether the delta holds nothing but the string that grows."""
    delta = data["delta"]
    return (
        delta[growing] == grown
        and all(is_neutral(value) for name, value in delta.items() if name not in ("type", growing))
        and all(is_neutral(value) for name, value in data.items() if name not in ("type", "index", "delta"))
    )
