"""
What ``same`` is for an upstream that the configuration describes: its own payloads in its own framing.

Frames leave one by one, as they came. A failure is told where the description looks for one, so that the
upstream's own clients find it there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from ssegate.wire.description import Description
from ssegate.wire.events import Carried, Event, Failure, Finish, Usage
from ssegate.wire.formats.bedrock import message
from ssegate.wire.formats.encoding import encoded, sse_event, with_key
from ssegate.wire.formats.error_bodies import bedrock_exception
from ssegate.wire.formats.same import END, SameArray, SameEvents, SameLines
from ssegate.wire.seams import Context, Format

__all__ = ["CUSTOM"]

_LAST = 9
"""The number of an element up to which an error's path is followed into a list."""


class CustomEvents(SameEvents):
    """Writes one event a payload."""

    name: ClassVar[str] = "custom"

    def __init__(self, context: Context, description: Description) -> None:
        super().__init__(context)
        self._described = description

    def encode(self, event: Event | Carried, metadata: bytes) -> list[bytes]:
        """Return a carried event as it goes out."""
        return super().encode(event, _beside(event, metadata, self._described))

    def fail(self, failure: Failure, metadata: bytes) -> list[bytes]:
        """Return the error as an event, which has a name where no path tells it from others."""
        name = "" if self._described.error else "error"
        return [sse_event(_error(failure, self._described), name)]


class CustomLines(SameLines):
    """Writes one line a payload."""

    name: ClassVar[str] = "custom"

    def __init__(self, context: Context, description: Description) -> None:
        super().__init__(context)
        self._described = description

    def encode(self, event: Event | Carried, metadata: bytes) -> list[bytes]:
        """Return a carried line as it goes out."""
        return super().encode(event, _beside(event, metadata, self._described))

    def fail(self, failure: Failure, metadata: bytes) -> list[bytes]:
        """Return the error as a line."""
        return [_error(failure, self._described) + b"\n"]


class CustomArray(SameArray):
    """Writes one element a payload."""

    name: ClassVar[str] = "custom"

    def __init__(self, context: Context, description: Description) -> None:
        super().__init__(context)
        self._described = description

    def encode(self, event: Event | Carried, metadata: bytes) -> list[bytes]:
        """Return a carried element as it goes out."""
        return super().encode(event, _beside(event, metadata, self._described))

    def fail(self, failure: Failure, metadata: bytes) -> list[bytes]:
        """Return the error as the last element."""
        return [self._element(_error(failure, self._described)), END]


class CustomMessages:
    """Writes one message of an AWS event stream a payload, with a header that says which kind it is."""

    name: ClassVar[str] = "custom"
    may_miss_deltas: ClassVar[bool] = False
    content_type = "application/vnd.amazon.eventstream"
    heartbeat = b""
    noop = b""

    def __init__(self, context: Context, description: Description) -> None:
        self._described = description

    def encode(self, event: Event | Carried, metadata: bytes) -> list[bytes]:
        """Return a carried payload as it goes out."""
        if not isinstance(event, Carried):
            return []
        metadata = _beside(event, metadata, self._described)
        payload = with_key(event.head + event.body + event.tail, b"ssegate", metadata)
        return [message({"event-type": event.event}, payload)]

    def finish(self, finish: Finish, usage: Usage | None, metadata: bytes) -> list[bytes]:
        """Return nothing: the last message has been carried."""
        return []

    def fail(self, failure: Failure, metadata: bytes) -> list[bytes]:
        """Return the error as an exception."""
        return [message({"exception-type": bedrock_exception(failure)}, _error(failure, self._described))]


CUSTOM: dict[str, Callable[[Context, Description], Format]] = {
    "sse": CustomEvents,
    "ndjson": CustomLines,
    "json-array": CustomArray,
    "eventstream": CustomMessages,
}
"""By the described framing."""


def _beside(event: Event | Carried, metadata: bytes, described: Description) -> bytes:
    """Return *metadata* where there is room for it: a client compares the end mark as a whole."""
    return b"" if isinstance(event, Carried) and event.head == described.done else metadata


def _error(failure: Failure, described: Description) -> bytes:
    """Return a payload with the message at the first of the error's paths."""
    path = described.error[0] if described.error else ("error",)
    said: Any = failure.message
    for part in reversed(path):
        is_number = part.isascii() and part.isdecimal() and int(part) <= _LAST
        said = [*[None] * int(part), said] if is_number else {part: said}
    return encoded(said if isinstance(said, dict) else {"error": failure.message})
