"""Bodies read to their end, and what they said gathered in one place."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from ssegate.wire.dialects import DIALECTS, detect
from ssegate.wire.events import (
    Citation,
    End,
    Event,
    Failure,
    Finish,
    Frame,
    Reasoning,
    Refusal,
    Start,
    Text,
    ToolCall,
    Usage,
)
from ssegate.wire.framing import FRAMINGS, recognise

PLENTY = 1 << 25


@dataclass
class Told:
    """What a stream has said, choice by choice."""

    id: str | None = None
    model: str | None = None
    text: dict[int, str] = field(default_factory=dict)
    reasoning: dict[int, str] = field(default_factory=dict)
    refusal: dict[int, str] = field(default_factory=dict)
    calls: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    finish: dict[int, Finish] = field(default_factory=dict)
    usage: dict[str, int | None] | None = None
    citations: list[Citation] = field(default_factory=list)
    failure: Failure | None = None
    ended: bool = False
    deltas: int = 0


def frames_of(framing: str, pieces: Iterable[bytes]) -> list[Frame]:
    framer = FRAMINGS[framing](PLENTY)
    frames = [frame for piece in pieces for frame in framer.feed(piece)]
    return [*frames, *framer.close()]


def read(dialect: str, frames: Iterable[Frame]) -> list[Event]:
    """Decode *frames* up to the failure or the end mark, behind which nothing is read."""
    decoder = DIALECTS[dialect]()
    events: list[Event] = []
    for frame in frames:
        events += decoder.decode(frame)
        if any(isinstance(event, (Failure, End)) for event in events):
            return events
    return events + decoder.close()


def recognised(content_type: str, body: bytes) -> tuple[str, str]:
    """Find out framing and dialect as a gate does that was told neither."""
    framing = recognise(content_type, body, at_end=True)
    assert framing in FRAMINGS
    names = (detect(frame) for frame in frames_of(framing, [body]))
    return framing, next(name for name in names if name is not None)


def gather(events: Iterable[Event]) -> Told:
    """Add *events* up, and check what holds for every stream."""
    told = Told()
    for event in events:
        assert told.failure is None and not told.ended, f"{event} follows the end"
        match event:
            case Start():
                told.id = told.id or event.id
                told.model = told.model or event.model
            case Text() | Reasoning() | Refusal():
                assert event.text
                texts = {Text: told.text, Reasoning: told.reasoning, Refusal: told.refusal}[type(event)]
                texts[event.choice] = texts.get(event.choice, "") + event.text
                told.deltas += 1
            case ToolCall():
                _add_call(told.calls.setdefault(event.choice, []), event)
                told.deltas += 1
            case Citation():
                told.citations.append(event)
            case Usage():
                told.usage = asdict(event)
            case Finish():
                before = told.finish.get(event.choice)
                assert before is None or (
                    event.choice == 0 and before.upstream_reason != event.upstream_reason
                )
                told.finish[event.choice] = event
            case Failure():
                told.failure = event
            case End():
                told.ended = True
    return told


def _add_call(calls: list[dict[str, Any]], event: ToolCall) -> None:
    if event.name is not None:
        assert event.index == len(calls), "an opening takes the next index"
        calls.append({"id": event.id, "name": event.name, "arguments": event.arguments})
    else:
        assert event.arguments and event.id is None
        calls[event.index]["arguments"] += event.arguments
