"""
OpenAI's chat and legacy completion streams, and every vendor of that shape.

What differs between vendors is read from the bytes, never from a name: the delta first, whatever else the
chunk carries; the last usage, wherever it stands; one of several spellings of reasoning; a finish reason
once, though it may come twice or never.

Source: https://platform.openai.com/docs/api-reference/chat-streaming and recorded bodies.
"""

from __future__ import annotations

from typing import Any, ClassVar

from ssegate.wire.dialects.base import JSONDialect
from ssegate.wire.dialects.bounds import Bounds, Seen
from ssegate.wire.dialects.carry import is_neutral
from ssegate.wire.dialects.failure import failure_in, failure_of
from ssegate.wire.dialects.openai_chunk import CHUNK, Annotation, Call, Choice, Chunk, Delta, Part
from ssegate.wire.dialects.reasons import finish_reason
from ssegate.wire.dialects.tool_calls import ToolCalls
from ssegate.wire.dialects.usage import read_usage
from ssegate.wire.events import (
    EMPTY,
    Carried,
    Citation,
    End,
    Event,
    Failure,
    Finish,
    Frame,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
    Usage,
)
from ssegate.wire.payload import says

__all__ = ["OpenAI"]

CHUNK_OBJECT = "chat.completion.chunk"


class OpenAI(JSONDialect[Chunk]):
    """Reads ``chat.completion.chunk``, ``text_completion``, and complete answers of both."""

    name: ClassVar[str] = "openai"
    may_miss_deltas = True
    decoder = CHUNK
    volatile: ClassVar[tuple[str, ...]] = ("created", "obfuscation", "p")
    carries_end_mark = False

    def __init__(self) -> None:
        super().__init__()
        self._bounds = Bounds()
        self._calls: dict[int, ToolCalls] = {}
        self._finished = EMPTY
        self._cited = Seen()
        self._has_deltas = False  # a message that comes after them repeats them (Perplexity)

    def _events(self, chunk: Chunk, frame: Frame) -> list[Event]:
        said: list[Event] = []
        if self._id is None or self._model is None:
            said += self._start(chunk.id, chunk.model)
        has_error = chunk.error and says(chunk.error)
        is_plain = chunk.usage is None and chunk.object == CHUNK_OBJECT and not has_error
        for choice in chunk.choices or ():
            delta = choice.delta
            if delta is not None:
                self._has_deltas = True
            else:
                delta = None if self._has_deltas else choice.message
                is_plain = False
            if delta is not None:
                self._delta(delta, choice.index or 0, said)
            elif choice.text:
                said.append(Text(choice.text, choice.index or 0))
            if choice.finish_reason or choice.error:
                is_plain = False
        if not is_plain or chunk.citations is not None or chunk.x_groq is not None or chunk.search_results:
            self._rest(chunk, frame, said)
        return said

    def _rest(self, chunk: Chunk, frame: Frame, said: list[Event]) -> None:
        """Add what comes after the deltas, in the order in which it must be acted on."""
        if chunk.citations or chunk.search_results:
            self._cite(chunk, said)
        if (usage := _usage(chunk)) is not None:
            said.append(usage)
        if (error := _error(chunk, frame)) is not None:
            said.append(error)
            return  # a failure is the last event: what the finish says no longer counts
        for choice in chunk.choices or ():
            if choice.finish_reason:
                self._finish(choice, said)
        if self._is_complete(chunk):
            said.append(End())

    def _delta(self, delta: Delta, choice: int, said: list[Event]) -> None:
        # `reasoning` and `reasoning_details` often repeat each other, so only the first that speaks is read.
        if reasoning := delta.reasoning_content or delta.reasoning:
            said.append(Reasoning(reasoning, choice))
        elif delta.reasoning_details:
            texts = (detail.text or detail.summary for detail in delta.reasoning_details)
            said.extend(Reasoning(text, choice) for text in texts if text)
        content = delta.content
        if content:
            if isinstance(content, str):
                said.append(Text(content, choice))
            else:
                _parts(content, choice, said)
        if delta.refusal:
            said.append(Refusal(delta.refusal, choice))
        if delta.tool_calls:
            said += self._calls_of(choice).read(delta.tool_calls)
        if delta.function_call is not None:
            said += self._calls_of(choice).read([Call(index=0, function=delta.function_call)])
        if delta.annotations:
            said += [_citation(annotation, choice) for annotation in delta.annotations]

    def _calls_of(self, choice: int) -> ToolCalls:
        if choice not in self._calls:
            self._calls[choice] = ToolCalls(choice, self._bounds)
        return self._calls[choice]

    def _cite(self, chunk: Chunk, said: list[Event]) -> None:
        """Perplexity repeats all its sources in every chunk, in two lists: each is told once."""
        results = chunk.search_results or []
        titles = {result.url: result.title for result in results}
        for source in (*(chunk.citations or ()), *results):
            url, title = (source, None) if isinstance(source, str) else (source.url, source.title)
            if url and self._cited.add(url):
                said.append(Citation(url, title or titles.get(url)))

    def _finish(self, choice: Choice, said: list[Event]) -> None:
        index = choice.index or 0
        if index in self._finished:
            return
        self._finished |= {index}
        if index in self._calls:
            said += self._calls[index].flush()
        upstream_reason = str(choice.finish_reason)
        said.append(Finish(finish_reason(upstream_reason), upstream_reason, index))

    def _is_complete(self, chunk: Chunk) -> bool:
        if chunk.object == "chat.completion":
            return True
        choices = () if self._has_deltas else chunk.choices or ()
        return any(choice.delta is None and choice.message is not None for choice in choices)

    def _mark(self, carried: Carried, chunk: Chunk) -> None:
        choices = chunk.choices or ()
        reports_usage = any(isinstance(event, Usage) for event in self._said)
        is_finish = any(choice.finish_reason for choice in choices)  # told before or not
        carried.last = is_finish or (reports_usage and not carried.count)
        carried.usage_only = reports_usage and not choices

    def _growing(self, chunk: Chunk, event: Event) -> str | None:
        """Return the name of the string that *event*, all that the frame says, was read from."""
        choices = chunk.choices or ()
        if len(choices) != 1 or choices[0].finish_reason:
            return None  # told before, but a frame that may be the last one
        choice = choices[0]
        match event:
            case Text():
                return "content" if choice.delta is not None else "text"
            case Reasoning() if choice.delta is not None:
                return "reasoning_content" if choice.delta.reasoning_content else "reasoning"
            case Refusal():
                return "refusal"
            case ToolCall(name=None):
                return "arguments"
        return None

    @staticmethod
    def _joinable(chunk: dict[str, Any], growing: str, grown: str) -> bool:
        """
        Say whether an SDK's accumulated message is the same with one such chunk for two.

        The OpenAI SDK concatenates every string, adds every number and extends every list of a delta, except
        ``index`` and ``type``; from the choice it adds up ``logprobs``, other SDKs more.
        Source: openai-python, lib/streaming/_deltas.py and lib/streaming/chat/_completions.py.
        """
        (choice,) = chunk["choices"]
        others = {name: value for name, value in choice.items() if name not in ("index", "delta", "logprobs")}
        adding = choice.get("delta") or {}
        if growing == "text":
            adding = {"text": others.pop("text")}
        if growing == "arguments":
            (call,) = adding["tool_calls"]
            adding = {**adding, **call, **call["function"], "tool_calls": None, "function": None}
        quiet = [value for name, value in adding.items() if name not in (growing, "index", "type")]
        quiet += [
            value for name, value in others.items() if name in ("text", "message") or isinstance(value, list)
        ]
        return (
            adding[growing] == grown and all(map(is_neutral, quiet)) and not _adds_up(choice.get("logprobs"))
        )


def _usage(chunk: Chunk) -> Usage | None:
    """Return the usage, from any of the places where vendors put it (the choice: older Moonshot)."""
    usage = chunk.usage
    if usage is None and chunk.x_groq is not None:
        usage = chunk.x_groq.usage
    if usage is None and chunk.choices:
        usage = chunk.choices[0].usage
    if usage is None:
        return None
    return read_usage(usage)


def _error(chunk: Chunk, frame: Frame) -> Failure | None:
    """Return the error inside a chunk; ``{"object": "error"}`` is one itself (older vLLM, Mistral)."""
    if says(chunk.error) or chunk.object == "error":
        return failure_in(frame.data)
    errors = [chunk.x_groq.error] if chunk.x_groq is not None else []
    errors += [choice.error for choice in chunk.choices or ()]
    return next((failure_of(error) for error in errors if says(error)), None)


def _parts(parts: list[Part], choice: int, said: list[Event]) -> None:
    """Read content that is a list: text and thinking, in their order (Mistral)."""
    for part in parts:
        if part.thinking:
            thinking = part.thinking
            text = thinking if isinstance(thinking, str) else "".join(piece.text or "" for piece in thinking)
            if text:
                said.append(Reasoning(text, choice))
        elif part.text:
            said.append(Text(part.text, choice))
        elif part.refusal:
            said.append(Refusal(part.refusal, choice))


def _citation(annotation: Annotation, choice: int) -> Citation:
    source = annotation.url_citation or annotation
    return Citation(source.url, source.title, source.content, source.start_index, source.end_index, choice)


def _adds_up(logprobs: object) -> bool:
    if isinstance(logprobs, dict):
        return not all(is_neutral(value) for value in logprobs.values())
    return not is_neutral(logprobs)
