"""
What ``same`` is for an upstream that the configuration describes: its own payloads in its own framing.

Frames leave one by one, as they came. A failure is told where the description looks for one, so that the
upstream's own clients find it there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from ssegate.wire.description import Description
from ssegate.wire.events import Carried, Failure
from ssegate.wire.formats.bedrock import message
from ssegate.wire.formats.encoding import encoded, sse_event
from ssegate.wire.formats.error_bodies import bedrock_exception
from ssegate.wire.formats.same import SameArray, SameEvents, SameFrames, SameLines
from ssegate.wire.seams import Context, Format

__all__ = ["CUSTOM"]

_LAST = 9
"""The number of an element up to which an error's path is followed into a list."""


class _Described(SameFrames):
    """What an upstream's description changes in any framing: where an error stands, and its end mark."""

    name: ClassVar[str] = "custom"

    def __init__(self, context: Context, description: Description) -> None:
        super().__init__(context)
        self._described = description

    def _payload(self, carried: Carried, metadata: bytes) -> bytes:
        # A client compares the end mark as a whole: there is no room beside it.
        return super()._payload(carried, b"" if carried.head == self._described.done else metadata)

    def _error(self, failure: Failure) -> bytes:
        return _error(failure, self._described)


class CustomEvents(_Described, SameEvents):
    """Writes one event a payload."""

    def fail(self, failure: Failure, metadata: bytes) -> list[bytes]:
        """Return the error as an event, which has a name where no path tells it from others."""
        return [sse_event(self._error(failure), "" if self._described.error else "error")]


class CustomLines(_Described, SameLines):
    """Writes one line a payload."""


class CustomArray(_Described, SameArray):
    """Writes one element a payload."""


class CustomMessages(_Described):
    """Writes one message of an AWS event stream a payload, with a header that says which kind it is."""

    may_miss_deltas: ClassVar[bool] = False
    content_type = "application/vnd.amazon.eventstream"

    def fail(self, failure: Failure, metadata: bytes) -> list[bytes]:
        """Return the error as an exception."""
        return [message({"exception-type": bedrock_exception(failure)}, self._error(failure))]

    def _frame(self, payload: bytes, carried: Carried | None = None) -> bytes:
        return message({"event-type": carried.event if carried is not None else ""}, payload)


CUSTOM: dict[str, Callable[[Context, Description], Format]] = {
    "sse": CustomEvents,
    "ndjson": CustomLines,
    "json-array": CustomArray,
    "eventstream": CustomMessages,
}
"""By the described framing."""


def _error(failure: Failure, described: Description) -> bytes:
    """Return a payload with the message at the first of the error's paths."""
    path = described.error[0] if described.error else ("error",)
    said: Any = failure.message
    for part in reversed(path):
        is_number = part.isascii() and part.isdecimal() and int(part) <= _LAST
        said = [*[None] * int(part), said] if is_number else {part: said}
    return encoded(said if isinstance(said, dict) else {"error": failure.message})
