"""
Repairs what dialects hand over broken, so that no format has to know of it: halves of characters, and tool
calls that lack an id, arguments or a finish reason of their own.

All of it is rare: an event in good order passes by with a comparison or two.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import cast

from ssegate.wire.errors import WireError
from ssegate.wire.events import (
    EMPTY,
    Delta,
    End,
    Event,
    Failure,
    Finish,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
)

__all__ = ["Mender"]

_MOST_WAITING = 1024
"""Halves of characters that wait, each in a choice or a call of its own."""


class Mender:
    """
    Mends the events of one stream on their way from the dialect to the batcher.

    Args:
        stream_id: Makes up the ids of calls that the upstream left without one.
    """

    def __init__(self, stream_id: str) -> None:
        self._halves = _Halves()
        self._calls = _Calls(stream_id)

    @property
    def is_waiting(self) -> bool:
        """Half a character waits for its other half."""
        return bool(self._halves.waiting)

    def mend(self, events: list[Event]) -> list[Event]:
        """Return *events* in good order: the same list where nothing is amiss."""
        # Nine of ten calls end here, after 0.1 µs: one piece of ASCII.
        if len(events) == 1 and not self._halves.waiting:
            event = events[0]
            if type(event) is Text and event.text.isascii():
                return events
        mended: list[Event] = []
        for event in events:
            mended += self._mended(event)
        return mended

    def close(self) -> list[Event]:
        """
        Return what is still held back, as U+FFFD.

        No call gets arguments here: a stream that broke off has not said that there are none.
        """
        return list(self._halves.release())

    def _mended(self, event: Event) -> list[Event]:
        match event:
            case Text() | Reasoning() | Refusal():
                return self._halves.mend(event)
            case ToolCall():
                return self._halves.mend(self._calls.noted(event))
            case Finish():
                held = [*self._halves.release(event.choice), *self._calls.empty(event.choice)]
                return [*held, self._calls.reasoned(event)]
            case End():
                return [*self._halves.release(), *self._calls.empty(), event]
            case Failure():
                return [*self._halves.release(), event]
        return [event]


class _Halves:
    """
    Puts characters together that an upstream cut between the halves of a surrogate pair.

    JSON can say half a character (``"\\ud83d"``), UTF-8 cannot. A high half at the end of a delta waits for
    the next delta of its kind, choice and call; a half that stays alone becomes U+FFFD.
    """

    def __init__(self) -> None:
        self.waiting: dict[tuple[type[Delta], int, int], tuple[str, int]] = {}
        """By kind, choice and call: the half, and how many deltas it has swallowed whole."""

    def mend(self, event: Delta) -> list[Event]:
        """Return *event* in whole characters; nothing if half a character is all there is."""
        if isinstance(event, ToolCall):
            text, index, is_opening = event.arguments, event.index, event.name is not None
        else:
            text, index, is_opening = event.text, 0, False
        key = (type(event), event.choice, index)
        half, swallowed = self.waiting.pop(key, ("", 0))
        if not half and _is_whole(text):
            return [event]
        text, half = _split(half + text)
        count = event.count + swallowed
        is_sent = is_opening or text != ""
        if half:
            if len(self.waiting) == _MOST_WAITING:
                raise WireError(f"the upstream left more than {_MOST_WAITING} characters in halves")
            self.waiting[key] = (half, 0 if is_sent else count)
        return [_with(event, text, count)] if is_sent else []

    def release(self, choice: int | None = None) -> Iterator[Event]:
        """Give up waiting in *choice*, or in all of them."""
        for key in [key for key in self.waiting if choice in (None, key[1])]:
            kind, its_choice, index = key
            _, swallowed = self.waiting.pop(key)
            if kind is ToolCall:
                yield ToolCall(index, "\ufffd", choice=its_choice, count=swallowed)
            else:
                yield cast("type[Text | Reasoning | Refusal]", kind)("\ufffd", its_choice, swallowed)


class _Calls:
    """Gives every tool call an id, arguments and a finish reason that tells of it."""

    def __init__(self, stream_id: str) -> None:
        self._stream_id = stream_id
        self._choices = EMPTY
        """The choices that made a call."""

        self._empty: dict[tuple[int, int], None] = {}
        """Choice and index of the calls without arguments so far, in order of appearance."""

    def noted(self, event: ToolCall) -> ToolCall:
        """Take note of *event*; return it with an id if it is an opening."""
        if event.name is None:
            self._empty.pop((event.choice, event.index), None)
            return event
        self._choices |= {event.choice}
        if not event.arguments:
            self._empty[event.choice, event.index] = None
        return event if event.id else replace(event, id=self._id(event))

    def empty(self, choice: int | None = None) -> Iterator[Event]:
        """Give the calls of *choice*, or of all, that have no arguments the empty object."""
        for key in [key for key in self._empty if choice in (None, key[0])]:
            del self._empty[key]
            yield ToolCall(key[1], "{}", choice=key[0], count=0)

    def reasoned(self, finish: Finish) -> Finish:
        """Gemini and Ollama say they stopped when they called a tool; clients look for the call."""
        if finish.reason == "stop" and finish.choice in self._choices:
            return replace(finish, reason="tool_calls")
        return finish

    def _id(self, event: ToolCall) -> str:
        choice = f"{event.choice}_" if event.choice else ""
        return f"call_{self._stream_id}_{choice}{event.index}"


def _with(event: Delta, text: str, count: int) -> Delta:
    if isinstance(event, ToolCall):
        return replace(event, arguments=text, count=count)
    return replace(event, text=text, count=count)


def _is_whole(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _split(text: str) -> tuple[str, str]:
    """Return *text* in whole characters and the high half at its end, if there is one."""
    end = len(text) - (text != "" and 0xD800 <= ord(text[-1]) <= 0xDBFF)
    # Through UTF-16 the halves of a pair find each other, and those without their other half are replaced.
    whole = text[:end].encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return whole, text[end:]
