"""
What dialects share: how a frame is read, what is kept of it, and how it goes out again.

``FrameDialect`` carries every frame as it came, whatever its payload is. ``JSONDialect`` stands on it, reads
payloads as typed JSON, forgivingly, and joins neighbours where the dialect says which string grows.
docs/dialects.md shows a whole dialect built on it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar, Generic, TypeVar

import msgspec

from ssegate.wire.dialects.bounds import LONGEST_NAME
from ssegate.wire.dialects.carry import Carrier, payload
from ssegate.wire.dialects.failure import failure_in
from ssegate.wire.events import (
    Carried,
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
from ssegate.wire.payload import UNREADABLE, repair, sound
from ssegate.wire.surrogates import without_halves

__all__ = ["FrameDialect", "JSONDialect"]

Model = TypeVar("Model")


class FrameDialect:
    """
    Reads frames of any kind and carries each by itself.

    A dialect declares ``name`` and ``_read``.
    """

    name: ClassVar[str]
    may_miss_deltas: ClassVar[bool] = False
    pads: ClassVar[bool] = False
    volatile: ClassVar[tuple[str, ...]] = ()
    carries = True

    def __init__(self) -> None:
        self._said: list[Event] = []  # by the last frame, for carry

    def decode(self, frame: Frame) -> list[Event]:
        """Return what the frame says."""
        said = self._read(frame)
        if self.carries:
            self._said = said
        return said

    def close(self) -> list[Event]:
        """Return nothing: without an end mark the stream is cut."""
        return []

    def carry(self, frame: Frame) -> Carried | None:
        """Return the frame as it came, in valid UTF-8, unless it is empty or an error."""
        said, self._said = self._said, []
        if not frame.data or _has_failed(said):
            return None
        data = frame.data.decode(errors="replace").encode()
        count = _count(said)
        return Carried(frame.event, data, count=count, last=_ends(said, count), id=frame.id)

    def _read(self, frame: Frame) -> list[Event]:
        """Return what *frame* says; its data may be empty."""
        raise NotImplementedError


class JSONDialect(FrameDialect, Generic[Model]):
    """
    Reads frames whose payload is a JSON object.

    A dialect declares ``name``, ``decoder`` and ``_events``. An event named ``error`` is a failure, whatever
    it holds; empty data and ``null`` say nothing; the end mark is read here. To have its neighbours joined,
    a dialect also declares ``volatile``, ``_growing`` and ``_joinable``.
    """

    decoder: ClassVar[msgspec.json.Decoder[Any]]
    """Decodes the model: a ``msgspec`` struct without required fields, or ``dict``."""

    end_mark: bytes = b"[DONE]"
    """Never empty; what follows it in the same frame does not matter."""

    carries_end_mark: ClassVar[bool] = True
    """False where the format that writes ``same`` writes an end mark of its own, or has no room for one."""

    def __init__(self) -> None:
        super().__init__()
        self._decode = self.decoder.decode
        self._carrier = Carrier(self.volatile, self._joinable)
        self._held: Model | None = None  # by the last frame; None: there is nothing to carry
        self._repaired = False
        self._id: str | None = None
        self._model: str | None = None

    def decode(self, frame: Frame) -> list[Event]:
        """Return what the frame says."""
        self._held = None
        if frame.event == "error":
            return [failure_in(frame.data)]
        try:
            model = self._decode(frame.data)
            self._repaired = False
        except UNREADABLE:
            data = frame.data.strip()
            if not data or data == b"null":  # llama.cpp opens the answers to several prompts with a null
                return []
            if data.startswith(self.end_mark):
                return self._at_mark()
            fields: Any = self.decoder.type  # a struct, where msgspec's own types promise any form of a type
            model = repair(data, fields)
            self._repaired = True
        said = self._events(model, frame)
        if self._repaired:
            said = without_halves(said)
        if self.carries:
            self._held, self._said = model, said
        return said

    def carry(self, frame: Frame) -> Carried | None:
        """Return the frame as it came, on one line, unless it is empty, an error or a complete answer."""
        model, self._held = self._held, None  # what a frame has said may be large, and the next one far
        carried = self._carry_mark(frame) if model is None else self._carry(model, frame)
        self._said = []
        return carried

    def _carry(self, model: Model, frame: Frame) -> Carried | None:
        if self._repaired:
            frame = replace(frame, data=sound(frame.data))
        elif (carried := self._carrier.repeat(frame)) is not None:
            return carried
        said = self._said
        event = self._event_name(model, frame)
        alone = self._alone()
        if alone is not None and (growing := self._growing(model, alone)) is not None:
            return self._carrier.carry(event, payload(frame), growing, 1)
        if _has_failed(said) or self._is_complete(model):
            return None
        carried = self._carrier.carry(event, payload(frame), None, _count(said))
        carried.id = frame.id
        self._mark(carried, model)
        return carried

    def _carry_mark(self, frame: Frame) -> Carried | None:
        data = frame.data.strip()
        is_mark = frame.event != "error" and data.startswith(self.end_mark)
        if not (is_mark and self.carries_end_mark):
            return None
        return Carried(frame.event, payload(frame), last=True, id=frame.id)

    def _at_mark(self) -> list[Event]:
        """Return what the end mark says."""
        return [End()]

    def _events(self, model: Model, frame: Frame) -> list[Event]:
        """Return what *model*, read from *frame*, says."""
        raise NotImplementedError

    def _start(self, id: str | None, model: str | None) -> list[Event]:
        """Return the start, if *id* or *model* is the first that is not empty."""
        known = self._id, self._model
        self._id = self._id or _name(id)
        self._model = self._model or _name(model)
        return [Start(self._id, self._model)] if known != (self._id, self._model) else []

    def _alone(self) -> Event | None:
        """Return the one event that the last frame said, if it said no more."""
        return self._said[0] if len(self._said) == 1 else None

    def _growing(self, model: Model, event: Event) -> str | None:
        """Return the name of the string that *event*, all the frame says, was read from, if it may grow."""
        return None

    @staticmethod  # so that the carrier does not hold the dialect: a cycle would outlive its stream
    def _joinable(document: dict[str, Any], growing: str, grown: str) -> bool:
        """Say whether joining *document* with its like changes nothing but the member *growing*."""
        return False

    def _is_complete(self, model: Model) -> bool:
        """Say whether this is a whole answer that a client which asked for a stream cannot read."""
        return False

    def _event_name(self, model: Model, frame: Frame) -> str:
        """Return the name under which the frame is carried."""
        return frame.event

    def _mark(self, carried: Carried, model: Model) -> None:
        """Set ``last`` and ``usage_only`` of a frame that does not grow."""
        carried.last = _ends(self._said, carried.count)


def _name(name: str | None) -> str | None:
    """Return an id or a model; None for one that is empty, or too long to be kept."""
    return name if name and len(name) <= LONGEST_NAME else None


def _has_failed(said: list[Event]) -> bool:
    return any(isinstance(event, Failure) for event in said)


def _count(said: list[Event]) -> int:
    return sum(isinstance(event, (Text, Reasoning, Refusal, ToolCall)) for event in said)


def _ends(said: list[Event], count: int) -> bool:
    """Whether a frame may be the last one: it says so, or has nothing but counts."""
    return any(isinstance(event, (Finish, End)) or (isinstance(event, Usage) and not count) for event in said)
