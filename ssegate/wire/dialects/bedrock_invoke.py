"""
What models say for themselves, inside the messages of InvokeModelWithResponseStream.

Each family has its own shape. Those that are dialects elsewhere are read by them; the rest is read here:
Nova (Converse's events as objects of one key), Titan, Llama, Mistral, DeepSeek, Cohere's Command, Claude 2.
Bedrock adds its own counts to the last event of any of them, which thereby is the end mark.

Source: https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters.html and recorded bodies.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import astuple
from typing import Any

from ssegate.wire.dialects.anthropic import Anthropic
from ssegate.wire.dialects.auto import detect
from ssegate.wire.dialects.bedrock_converse import Converse
from ssegate.wire.dialects.bedrock_data import INVOKED, Choice, Invoked
from ssegate.wire.dialects.bounds import Bounds
from ssegate.wire.dialects.cohere import Cohere
from ssegate.wire.dialects.openai import OpenAI
from ssegate.wire.dialects.reasons import finish_reason
from ssegate.wire.dialects.tool_calls import ToolCalls
from ssegate.wire.dialects.usage import UsageSoFar, read_usage
from ssegate.wire.events import End, Event, Failure, Finish, Frame, Text, Usage
from ssegate.wire.payload import UNREADABLE, loads, repair
from ssegate.wire.seams import Dialect

__all__ = ["Invocation"]

INNER: dict[str, Callable[[], Dialect]] = {"anthropic": Anthropic, "openai": OpenAI, "cohere": Cohere}
"""Dialects that models speak here, too."""

CONVERSE = ("messageStart", "contentBlockStart", "contentBlockDelta", "contentBlockStop", "messageStop")
COUNTS = (
    "inputTextTokenCount",
    "totalOutputTextTokenCount",
    "prompt_token_count",
    "generation_token_count",
)


class Invocation:
    """The events of one answer."""

    def __init__(self) -> None:
        self._inner: Dialect | None = None
        self._is_known = False  # what there is to know of the model's dialect
        self._converse = Converse()
        self._bounds = Bounds()
        self._calls: dict[int, ToolCalls] = {}
        self._counts = UsageSoFar()
        self._usage: Usage | None = None

    def read(self, data: bytes) -> list[Event]:
        """Return what one event of the model says."""
        if not self._is_known:
            self._learn(data)
        if self._inner is None:
            said = _decoded(data)
            events = self._events(said)
            self._is_known = bool(events)
        else:
            said = _decoded(data) if b'"amazon-bedrock-' in data else Invoked()
            events = self._inner.decode(Frame("", data))
        return self._with_metrics(events, said)

    def _learn(self, data: bytes) -> None:
        name = detect(Frame("", data))
        if name in INNER and not _is_nearly_openai(loads(data)):
            self._inner = INNER[name]()
            self._is_known = True

    def _with_metrics(self, events: list[Event], said: Invoked) -> list[Event]:
        """Add Bedrock's counts where the model has given none, and the end that they mean."""
        has_ended = said.metrics is not None or any(isinstance(event, End) for event in events)
        events = [event for event in events if not isinstance(event, End)]
        for event in events:
            if isinstance(event, Usage):
                self._usage = event
        if any(isinstance(event, Failure) for event in events):
            return events
        usage = None if said.metrics is None else _completed(self._usage, read_usage(said.metrics))
        if usage is not None and usage != self._usage:
            self._usage = usage
            at = next((at for at, event in enumerate(events) if isinstance(event, Finish)), len(events))
            events.insert(at, usage)
        return [*events, End()] if has_ended else events

    def _events(self, said: Invoked) -> list[Event]:
        events: list[Event] = []
        for kind in CONVERSE:
            if (body := getattr(said, kind)) is not None:
                events += self._converse.read(kind, body)
        if said.metadata is not None:
            return [*events, *self._converse.read("metadata", said.metadata), End()]
        if said.output is not None and said.output.message is not None:
            blocks = said.output.message.content or []
            return [*events, *self._converse.answer(blocks, said.usage, said.stopReason), End()]
        for choice in said.choices or ():
            events += self._choice(choice)
        events += [Text(text) for text in _texts(said) if text]
        events += self._counts.add(_counts(said))
        for choice in said.choices or ():
            events += _finish(choice.stop_reason, choice.index or 0)
        return [*events, *_finish(_reason(said))]

    def _choice(self, choice: Choice) -> list[Event]:
        at = choice.index or 0
        message = choice.message
        text = choice.text or (message and message.content)
        events: list[Event] = [Text(text, at)] if text else []
        if message is not None and message.tool_calls:
            if at not in self._calls:
                self._calls[at] = ToolCalls(at, self._bounds)
            events += self._calls[at].read(message.tool_calls)
        return events


def _decoded(data: bytes) -> Invoked:
    try:
        return INVOKED.decode(data)
    except UNREADABLE:
        return repair(data, Invoked)


def _is_nearly_openai(document: Any) -> bool:
    """Whether choices have another name for their reason: what they call a message is a delta."""
    choices = document.get("choices")
    return isinstance(choices, list) and any(
        isinstance(choice, dict) and "stop_reason" in choice and "finish_reason" not in choice
        for choice in choices
    )


def _finish(reason: str | None, choice: int = 0) -> list[Event]:
    return [Finish(finish_reason(reason), reason, choice)] if reason else []


def _texts(said: Invoked) -> list[str | None]:
    pieces = [piece.text for piece in said.outputs or ()]
    results = [result.outputText for result in said.results or ()]
    return [said.outputText, said.generation, said.text, said.completion, *pieces, *results]


def _counts(said: Invoked) -> dict[str, Any]:
    counts = {name: getattr(said, name) for name in COUNTS}
    if said.results:
        counts["totalOutputTextTokenCount"] = sum(result.tokenCount or 0 for result in said.results)
    return counts


def _reason(said: Invoked) -> str | None:
    reasons = [piece.stop_reason for piece in said.outputs or ()]
    reasons += [result.completionReason for result in said.results or ()]
    reasons += [said.completionReason, said.stop_reason, said.finish_reason]
    if said.guardrail == "INTERVENED" and said.totalOutputTextTokenCount is not None:
        reasons.append(said.guardrail)  # a blocked prompt: Titan's last event, and no reason in it
    return next((reason for reason in reasons if reason), None)


def _completed(usage: Usage | None, metrics: Usage | None) -> Usage | None:
    """Return *usage* with what only *metrics* tell."""
    if usage is None or metrics is None:
        return usage or metrics
    told, more = astuple(usage), astuple(metrics)
    return Usage(*(other if count is None else count for count, other in zip(told, more, strict=True)))
