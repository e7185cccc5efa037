"""
OpenAI's Responses stream: events under their own names, ended by ``response.completed``, ``.incomplete`` or
``.failed``.

From a Responses upstream the frames come carried and leave as they are, under the upstream's own numbers, by
which a client may resume there. A complete response in place of a stream comes as neutral events and is told
as a stream would have been, item by item; what those do not hold (encrypted reasoning, the server's own
tools) is lost there.

Source: https://platform.openai.com/docs/api-reference/responses-streaming
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any, ClassVar

import msgspec

from ssegate.wire.events import Carried, Event, Failure, Finish, FinishReason, Start, Usage
from ssegate.wire.formats.encoding import SSE, encoded, read_back, sse_event, with_key
from ssegate.wire.formats.error_bodies import stream_error
from ssegate.wire.formats.responses_open import OpenItems
from ssegate.wire.formats.responses_output import Output
from ssegate.wire.payload import UNREADABLE
from ssegate.wire.seams import Context

__all__ = ["Responses"]

_STATES = ("response.created", "response.queued", "response.in_progress")
_ENDS = ("response.completed", "response.incomplete", "response.failed", "response.cancelled")

_LARGE = 64 << 10
"""Bytes; an event that is larger is not kept to be looked into later."""

_INCOMPLETE: dict[FinishReason, str] = {"length": "max_output_tokens", "content_filter": "content_filter"}
"""Any other reason is a response that is complete."""


_ENDLESS = 1 << 53
"""No event has a number as large: JavaScript could not tell it from the next."""


class _Numbered(msgspec.Struct):
    sequence_number: int | None = None


_decode = msgspec.json.Decoder(_Numbered).decode


class Responses:
    """
    Writes Responses events.

    States of a stream of neutral events: not begun · begun (the output knows what is open) · ended.
    """

    name: ClassVar[str] = "responses"
    may_miss_deltas: ClassVar[bool] = False  # every event has a number
    content_type = SSE
    heartbeat = b":\n"

    def __init__(self, context: Context) -> None:
        self._start = Start(f"resp_{context.stream_id}", "")
        self._created_at = context.created
        self._output = Output(context.stream_id)
        self._carried = OpenItems()
        self._number = 0  # of the next event
        self._unread: Carried | None = None  # the last one, as long as nobody asks its number
        self._state: Carried | None = None  # the last one that shows the response as it stood
        self._has_begun = self._has_carried = self._has_ended = False

    @property
    def noop(self) -> bytes:
        """
        The response as it stood, once more.

        It has the number of the event before it: a client that goes on behind a number must not miss what
        the upstream says under the next one.
        """
        if not self._has_begun or (self._has_carried and self._state is None):
            return b""
        return _event("response.in_progress", {"response": self._response("in_progress")}, self._next() - 1)

    def encode(self, event: Event | Carried, metadata: bytes) -> list[bytes]:
        """Return the events that say *event*, with those that open and close its item."""
        match event:
            case Carried():
                return [self._carry(event, metadata)]
            case Start():
                self._learn(event)
                return []
        told = self._output.add(event)
        out = self._begin() if told else []
        out += [self._own(kind, members) for kind, members in told[:-1]]
        return out + [self._own(kind, members, metadata) for kind, members in told[-1:]]

    def finish(self, finish: Finish, usage: Usage | None, metadata: bytes) -> list[bytes]:
        """Return what ends the response, if the upstream's own end has not been carried."""
        if self._has_ended:
            return []
        out = self._begin()
        out += [self._own(kind, members) for kind, members in self._output.close()]
        reason = _INCOMPLETE.get(finish.reason)
        status = "completed" if reason is None else "incomplete"
        members = {
            "incomplete_details": None if reason is None else {"reason": reason},
            "output": self._output.items,
            "usage": None if usage is None else _usage(usage),
        }
        return [
            *out,
            self._own(f"response.{status}", {"response": self._response(status, members)}, metadata),
        ]

    def fail(self, failure: Failure, metadata: bytes) -> list[bytes]:
        """
        Return what closes the texts that are open, the error, and the response as failed by it.

        What clients could act upon is closed after the error: SDKs stop there, and hand on no half of it.
        Some clients know one of the last two, some the other. The error's members stand twice in it, because
        half of the clients read them where the documentation puts them, half where OpenAI does.
        """
        error = stream_error("openai", failure)["error"]
        error["code"] = str(error["code"])
        flat = {name: error[name] for name in ("code", "message", "param")}
        failed = {"error": {"code": error["code"], "message": error["message"]}}
        before, after = self._carried.close()
        (after if self._output.has_open_calls else before).extend(self._output.close("incomplete"))
        return [
            *(self._own(kind, members) for kind, members in before),
            self._own("error", {**flat, "error": error}),
            *(self._own(kind, members) for kind, members in after),
            self._own("response.failed", {"response": self._response("failed", failed)}, metadata),
        ]

    def _carry(self, carried: Carried, metadata: bytes) -> bytes:
        self._has_begun = self._has_carried = True
        self._number += 1
        self._unread = carried
        self._carried.note(carried)
        size = len(carried.head) + len(carried.body)
        if carried.event in _STATES:
            self._state = carried if size <= _LARGE else None
        if size > _LARGE:
            self._next()
        self._has_ended = self._has_ended or carried.event in _ENDS
        return sse_event(with_key(carried.payload, b"ssegate", metadata), carried.event)

    def _begin(self) -> list[bytes]:
        if self._has_begun:
            return []
        self._has_begun = True
        response = {"response": self._response("in_progress")}
        return [self._own("response.created", response), self._own("response.in_progress", response)]

    def _learn(self, start: Start) -> None:
        """Keep what the upstream says of itself; an id that comes after the first event comes too late."""
        id = None if self._has_begun else start.id
        self._start = Start(id or self._start.id, start.model or self._start.model)

    def _own(self, kind: str, members: dict[str, Any], metadata: bytes = b"") -> bytes:
        """Return an event that no upstream has written, under the next number."""
        number = self._next()
        self._number = number + 1
        return _event(kind, members, number, metadata)

    def _next(self) -> int:
        """Return the number after the upstream's last one; where it has none, events are counted."""
        carried, self._unread = self._unread, None
        if carried is not None:
            with suppress(*UNREADABLE):
                last = _decode(carried.payload).sequence_number
                self._number = last + 1 if last is not None and abs(last) < _ENDLESS else self._number
        return self._number

    def _response(self, status: str, members: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the response object in *status*: the upstream's if it is known, with *members* replaced."""
        known = None if self._state is None else read_back(self._state).get("response")
        if not isinstance(known, dict):
            known = {
                "id": self._start.id,
                "object": "response",
                "created_at": self._created_at,
                "error": None,
                "incomplete_details": None,
                "instructions": None,
                "metadata": {},
                "model": self._start.model,
                "output": [],
                "parallel_tool_calls": True,
                "temperature": None,
                "tool_choice": "auto",
                "tools": [],
                "top_p": None,
                "usage": None,
            }
        return {**known, "status": status, **(members or {})}


def _event(kind: str, members: dict[str, Any], number: int, metadata: bytes = b"") -> bytes:
    data = encoded({"type": kind, "sequence_number": number, **members})
    return sse_event(with_key(data, b"ssegate", metadata), kind)


def _usage(usage: Usage) -> dict[str, Any]:
    """Return the usage object, whose clients want every number in it."""
    read, written = usage.input_tokens or 0, usage.output_tokens or 0
    return {
        "input_tokens": read,
        "input_tokens_details": {"cached_tokens": usage.cached_tokens or 0},
        "output_tokens": written,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens or 0},
        "total_tokens": read + written,
    }
