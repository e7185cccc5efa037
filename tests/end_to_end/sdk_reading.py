"""
What the unmodified OpenAI SDK makes of a stream, in a form that two streams can be compared by.

A gate may join deltas, so chunks are not compared one by one but by all that can be accumulated from them:
by the SDK's own accumulation, and member by member, vendors' extra members included.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import openai
from openai.lib.streaming._deltas import accumulate_delta
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types import Completion
from openai.types.chat import ChatCompletionChunk

__all__ = ["Reading", "read"]

GROWING = frozenset(
    {"content", "text", "reasoning_content", "reasoning", "thinking", "refusal", "arguments", "input"}
)
"""Members whose strings are pieces of one; of any other, a client may use each value."""

UNSTEADY = frozenset({"created", "obfuscation", "p"})
"""Members that differ from chunk to chunk and say nothing by it: padding, and a time; the first is kept."""

Chunk = ChatCompletionChunk | Completion


@dataclass
class Reading:
    """One stream, read to its end."""

    chunks: list[dict[str, Any]] = field(default_factory=list)
    """As the SDK's models hold them, without what the gate added."""

    metadata: list[dict[str, Any]] = field(default_factory=list)
    """What the gate added, in order."""

    error: openai.OpenAIError | None = None
    """What the SDK raised while it iterated."""

    snapshot: object = None
    """What ``ChatCompletionStreamState`` made of the chunks: a completion, or the class of what it raised."""

    @property
    def text(self) -> str:
        """The answer of choice 0."""
        return self.joined("content") or self.joined("text")

    def joined(self, member: str, choice: int = 0) -> str:
        """Return the pieces of a string member of *choice*, joined."""
        choices = (said for chunk in self.chunks for said in chunk["choices"] if _index(said) == choice)
        pieces = (said.get("delta", said).get(member) for said in choices)
        return "".join(piece for piece in pieces if isinstance(piece, str))  # Mistral's may be lists

    def calls(self, choice: int = 0) -> list[tuple[str, str]]:
        """Return name and arguments of the tool calls of *choice*."""
        message: dict[object, object] = {}
        for chunk in self.chunks:
            for said in chunk["choices"]:
                if _index(said) == choice and (calls := said["delta"].get("tool_calls")):
                    message = accumulate_delta(message, {"tool_calls": _copy(calls)})
        calls = message.get("tool_calls", [])
        return [(call["function"]["name"], call["function"]["arguments"]) for call in calls]  # type: ignore[attr-defined]

    @property
    def reasons(self) -> dict[int, str]:
        """The finish reason of each choice."""
        choices = (choice for chunk in self.chunks for choice in chunk["choices"])
        return {_index(choice): choice["finish_reason"] for choice in choices if choice.get("finish_reason")}

    @property
    def usage(self) -> dict[str, Any] | None:
        """The last usage told."""
        told = [chunk["usage"] for chunk in self.chunks if chunk.get("usage")]
        return told[-1] if told else None

    @property
    def members(self) -> dict[str, Any]:
        """
        Every member of every chunk by its path: strings that grow, joined; of others each new value.
        """
        values: dict[str, list[Any]] = {}
        for chunk in self.chunks:
            _walk("", chunk, values)
        first = {name: values.pop(f".{name}", [None])[0] for name in ("created",)}
        return first | {
            path: "".join(filter(None, said)) if path.rpartition(".")[2] in GROWING else _changes(said)
            for path, said in values.items()
        }

    @property
    def messages(self) -> object:
        """Choice by choice what ``accumulate_delta`` adds up, or the class of what it raises."""
        messages: dict[int, dict[object, object]] = {}
        try:
            for chunk in self.chunks:
                for choice in chunk["choices"]:
                    message = messages.setdefault(_index(choice), {})
                    messages[_index(choice)] = accumulate_delta(message, _copy(choice.get("delta", {})))
        except (TypeError, RuntimeError) as exc:
            return type(exc)
        return messages


async def read(stream: AsyncIterable[Chunk], *, snapshot: bool = False) -> Reading:
    """
    Read *stream* to its end, or to what the SDK raises on the way.

    Args:
        snapshot: Let the SDK's own helper accumulate too; it takes a millisecond a chunk.
    """
    reading = Reading()
    state = ChatCompletionStreamState[None]() if snapshot else None
    try:
        async for chunk in stream:
            _take(reading, state, chunk)
    except openai.OpenAIError as exc:
        reading.error = exc
    if state is not None and reading.snapshot is None and reading.chunks:
        reading.snapshot = state.current_completion_snapshot.to_dict()
        reading.snapshot.pop("ssegate", None)
    return reading


def _take(reading: Reading, state: ChatCompletionStreamState[None] | None, chunk: Chunk) -> None:
    said = _copy(chunk.to_dict())
    if "ssegate" in said:
        reading.metadata.append(said.pop("ssegate"))
    if "error" in said and said["error"] is None:
        del said["error"]  # some clients take its mere presence for an error
    reading.chunks.append(said)
    if state is not None and reading.snapshot is None:
        assert isinstance(chunk, ChatCompletionChunk)
        try:
            state.handle_chunk(chunk)
        except (TypeError, RuntimeError, AttributeError, IndexError, AssertionError) as exc:
            reading.snapshot = type(exc)  # a vendor's shape that the SDK's helper does not know


def _index(choice: dict[str, Any]) -> int:
    return choice.get("index", 0)  # OpenAI's own legacy completions leave it out at times


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copy(item) for key, item in value.items()}
    return [_copy(item) for item in value] if isinstance(value, list) else value


def _walk(path: str, value: Any, values: dict[str, list[Any]]) -> None:
    if isinstance(value, dict) and value:
        for name, item in value.items():
            if name not in UNSTEADY or (path == "" and name == "created"):
                _walk(f"{path}.{name}", item, values)
    elif isinstance(value, list) and value:
        for position, item in enumerate(value):
            index = item.get("index", position) if isinstance(item, dict) else position
            _walk(f"{path}[{index}]", item, values)
    else:
        values.setdefault(path, []).append(value)


def _changes(values: Iterable[Any]) -> list[Any]:
    return [value for value, _ in groupby(values)]
