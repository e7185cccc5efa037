"""
Outputs that exist only as ``same``: the upstream's own language, passed on in its own framing.

Frames leave as the dialect hands them over, one by one unless it joined them. Only truncation is added, as an
error in the dialect's own shape, the ``error_bodies.ERRORS`` of the format's name.
"""

from __future__ import annotations

from typing import ClassVar

from ssegate.wire.events import Carried, Event, Failure, Finish, Text, Usage
from ssegate.wire.formats.encoding import SSE, encoded, sse_event, with_key
from ssegate.wire.formats.error_bodies import stream_error
from ssegate.wire.seams import Context

__all__ = [
    "END",
    "SameArray",
    "SameEvents",
    "SameFrames",
    "SameLines",
    "SameLlamaCpp",
    "SameOllama",
    "SameText",
    "SameWatsonX",
]


END = b"]\n"
"""Of a JSON array."""


class SameFrames:
    """What these outputs share; each says how a payload is framed."""

    name: ClassVar[str]
    may_miss_deltas: ClassVar[bool] = True
    content_type: str
    heartbeat = b""
    noop = b""

    def __init__(self, context: Context) -> None:
        pass

    def encode(self, event: Event | Carried, metadata: bytes) -> list[bytes]:
        """Return a carried frame as it goes out."""
        if not isinstance(event, Carried):
            return []
        return [self._frame(self._payload(event, metadata), event)]

    def finish(self, finish: Finish, usage: Usage | None, metadata: bytes) -> list[bytes]:
        """Return nothing: the last frame has been carried."""
        return []

    def fail(self, failure: Failure, metadata: bytes) -> list[bytes]:
        """Return the error as a frame."""
        return [self._frame(self._error(failure))]

    def _frame(self, payload: bytes, carried: Carried | None = None) -> bytes:
        """Return *payload* as it is framed; *carried* is where it comes from, None for one of ours."""
        raise NotImplementedError

    def _payload(self, carried: Carried, metadata: bytes) -> bytes:
        return with_key(carried.payload, b"ssegate", metadata)

    def _error(self, failure: Failure) -> bytes:
        return encoded(stream_error(self.name, failure))


class SameEvents(SameFrames):
    """Server-Sent Events, each under its own name and ID; the upstream's last one is the last."""

    content_type = SSE
    heartbeat = b":\n"

    def _frame(self, payload: bytes, carried: Carried | None = None) -> bytes:
        return sse_event(payload) if carried is None else sse_event(payload, carried.event, carried.id)


class SameLlamaCpp(SameEvents):
    """llama.cpp's own events; the one with ``stop: true`` is the last."""

    name: ClassVar[str] = "llamacpp"


class SameWatsonX(SameEvents):
    """watsonx.ai's events; the one that has a reason to stop is the last."""

    name: ClassVar[str] = "watsonx"


class SameLines(SameFrames):
    """One JSON object a line; the upstream's last one is the last."""

    content_type = "application/x-ndjson"

    def _frame(self, payload: bytes, carried: Carried | None = None) -> bytes:
        return payload + b"\n"


class SameOllama(SameLines):
    """Ollama's lines; the one with ``done: true`` is the last."""

    name: ClassVar[str] = "ollama"


class SameArray(SameFrames):
    """One JSON array, an element a frame, each on a line of its own."""

    content_type = "application/json; charset=UTF-8"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._has_begun = False

    def finish(self, finish: Finish, usage: Usage | None, metadata: bytes) -> list[bytes]:
        """Return the end of the array."""
        return [END if self._has_begun else b"[]\n"]

    def fail(self, failure: Failure, metadata: bytes) -> list[bytes]:
        """Return the error as the last element."""
        return [*super().fail(failure, metadata), END]

    def _frame(self, payload: bytes, carried: Carried | None = None) -> bytes:
        opening = b"," if self._has_begun else b"["
        self._has_begun = True
        return b"%b%b\n" % (opening, payload)


class SameText:
    """Bare text, without framing: nothing can be said beside it, neither an end nor an error."""

    name: ClassVar[str] = "text"
    may_miss_deltas: ClassVar[bool] = False
    content_type = "text/plain; charset=utf-8"
    heartbeat = b""
    noop = b""

    def __init__(self, context: Context) -> None:
        pass

    def encode(self, event: Event | Carried, metadata: bytes) -> list[bytes]:
        """Return the text, carried or not."""
        match event:
            case Carried():
                return [event.payload]
            case Text():
                return [event.text.encode(errors="replace")]
        return []

    def finish(self, finish: Finish, usage: Usage | None, metadata: bytes) -> list[bytes]:
        """Return nothing: the end of the body is the end."""
        return []

    def fail(self, failure: Failure, metadata: bytes) -> list[bytes]:
        """Return nothing: the body has to be cut instead."""
        return []
