"""
The dialect that the configuration describes: what each payload says is looked up at the described paths.

Payloads are JSON of any kind, but for the one that ends the stream; a value of another kind than expected
counts as absent. An event named ``error``, or an AWS event stream's exception, is a failure even where no
path leads to its message.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, ClassVar

import msgspec

from ssegate.wire.description import Description, Path
from ssegate.wire.dialects.base import FrameDialect
from ssegate.wire.dialects.carry import payload
from ssegate.wire.dialects.failure import read_failure
from ssegate.wire.dialects.reasons import Finishes
from ssegate.wire.errors import WireError
from ssegate.wire.events import Carried, End, Event, Failure, Finish, Frame, Reasoning, Text, Usage
from ssegate.wire.payload import UNREADABLE, loads, sound
from ssegate.wire.surrogates import without_halves

__all__ = ["Custom"]

EXCEPTIONS = ("exception:", "error:")
"""How the framing ``eventstream`` names messages that are no events."""

_decode = msgspec.json.Decoder().decode


class Custom(FrameDialect):
    """
    Reads payloads by a description.

    Args:
        is_document: The body is one document in place of a stream, so it is complete when it can be read.
    """

    name: ClassVar[str] = "custom"

    def __init__(self, description: Description, *, is_document: bool = False) -> None:
        super().__init__()
        self._described = description
        has_mark = description.done is not None or description.finish_reason != ()
        self._ends_with_body = is_document or not has_mark
        self._usage = Usage()
        self._finishes = Finishes()
        self._has_finished = self._has_read = False
        self._is_repaired = False  # the last frame

    def close(self) -> list[Event]:
        """Return the end where only the body's end can be one, and there was a body."""
        if not (self._ends_with_body and self._has_read):
            return []
        return [End()] if self._has_finished else [Finish("other"), End()]

    def carry(self, frame: Frame) -> Carried | None:
        """Return the payload on one line, unless it is empty or an error."""
        if self._is_repaired:
            frame = replace(frame, data=sound(frame.data))
        carried = super().carry(frame)
        if carried is None or not (data := payload(frame)):
            return None
        carried.head = data
        return carried

    def _read(self, frame: Frame) -> list[Event]:
        self._is_repaired = False
        data = frame.data.strip()
        if not data:
            return []
        if data == self._described.done:
            return [End()]
        if frame.event == "error" or self._is_exception(frame):
            return [self._named_error(data)]
        try:
            document = _decode(data)
        except UNREADABLE:
            self._is_repaired = True
            return without_halves(self._events(loads(data)))
        return self._events(document)

    def _events(self, document: Any) -> list[Event]:
        self._has_read = True
        described = self._described
        said: list[Event] = []
        if reasoning := _string(document, described.reasoning):
            said.append(Reasoning(reasoning))
        if text := _string(document, described.text):
            said.append(Text(text))
        said += self._counts(document)
        if (failure := self._error(document)) is not None:
            return [*said, failure]
        finish = self._finishes.add(_reason(document, described.finish_reason))
        self._has_finished = self._has_finished or finish != []
        return [*said, *finish]

    def _counts(self, document: Any) -> list[Usage]:
        """Return the usage so far, if this payload counts anything."""
        described, known = self._described, self._usage
        counted = _number(document, described.input_tokens), _number(document, described.output_tokens)
        if counted == (None, None):
            return []
        so_far = known.input_tokens, known.output_tokens
        self._usage = Usage(*(old if new is None else new for new, old in zip(counted, so_far, strict=True)))
        return [self._usage]

    def _error(self, document: Any) -> Failure | None:
        """Return the failure that stands at the error's path: a message, or an object that holds one."""
        for error in _values(document, self._described.error):
            if isinstance(error, str) and error:
                failure = read_failure(document)
                failure.message = read_failure(error).message
                return failure
            if isinstance(error, dict) and error:
                return read_failure({"error": error})
        return None

    def _is_exception(self, frame: Frame) -> bool:
        return self._described.framing == "eventstream" and frame.event.startswith(EXCEPTIONS)

    def _named_error(self, data: bytes) -> Failure:
        try:
            document = loads(data)
        except WireError:
            document = data.decode(errors="replace")
        return self._error(document) or read_failure(document)


def _values(document: Any, paths: tuple[Path, ...]) -> Iterator[Any]:
    """Yield what stands at each of *paths*; None where nothing does."""
    for path in paths:
        value = document
        for part in path:
            if isinstance(value, dict):
                value = value.get(part)
            elif isinstance(value, list) and part.isascii() and part.isdecimal():
                value = value[int(part)] if int(part) < len(value) else None
            else:
                value = None
        yield value


def _string(document: Any, paths: tuple[Path, ...]) -> str | None:
    return next((value for value in _values(document, paths) if isinstance(value, str)), None)


def _reason(document: Any, paths: tuple[Path, ...]) -> str | int | None:
    return next((value for value in _values(document, paths) if isinstance(value, (str, int))), None)


def _number(document: Any, paths: tuple[Path, ...]) -> int | None:
    for value in _values(document, paths):
        if type(value) is int:  # no boolean
            return value
        if isinstance(value, float) and value.is_integer():
            return int(value)
    return None
