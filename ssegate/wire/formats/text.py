"""
Bare text as Server-Sent Events, for ``curl`` and devices without a JSON parser.

The data of an unnamed event is a piece of the answer, as many ``data:`` lines as it has; there is no room for
anything else. An event ``done`` with the finish reason ends it, or an event ``error`` with code and message.
"""

from __future__ import annotations

from typing import ClassVar

from ssegate.wire.events import Carried, Event, Failure, Finish, Refusal, Text, Usage
from ssegate.wire.formats.encoding import SSE, sse_event, utf8
from ssegate.wire.seams import Context

__all__ = ["BareText"]


class BareText:
    """Writes the text of choice 0; a refusal is what there is to read in place of it."""

    name: ClassVar[str] = "text"
    may_miss_deltas: ClassVar[bool] = False  # what a line end becomes depends on the text before
    content_type = SSE
    heartbeat = b":\n"
    noop = b""

    def __init__(self, context: Context) -> None:
        self._is_after_cr = False

    def encode(self, event: Event | Carried, metadata: bytes) -> list[bytes]:
        """Return the event that says the text of *event*."""
        match event:
            case Text(choice=0) | Refusal(choice=0):
                text = self._with_lf(event.text)
                return [sse_event(utf8(text))] if text else []
        return []

    def finish(self, finish: Finish, usage: Usage | None, metadata: bytes) -> list[bytes]:
        """Return the event that ends the stream."""
        return [sse_event(finish.reason.encode(), "done")]

    def fail(self, failure: Failure, metadata: bytes) -> list[bytes]:
        """Return the error event, which is the last one."""
        return [sse_event(utf8(_lf(f"{failure.code}: {failure.message}")), "error")]

    def _with_lf(self, text: str) -> str:
        """Return *text* with LF for CRLF and CR, between two pieces of the answer too."""
        if self._is_after_cr and text.startswith("\n"):
            text = text[1:]  # the CR before it has become one already
        self._is_after_cr = text.endswith("\r")
        return _lf(text) if "\r" in text else text


def _lf(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")
