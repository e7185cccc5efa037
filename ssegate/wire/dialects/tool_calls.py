"""Tool calls: ``ToolCalls`` as OpenAI-shaped servers send them, ``KeyedCalls`` as all others do."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

import msgspec

from ssegate.wire.dialects.bounds import PIECE, Bounds
from ssegate.wire.dialects.openai_chunk import Call, Function
from ssegate.wire.events import ToolCall
from ssegate.wire.payload import NOTHING, argument_text, says

__all__ = ["KeyedCalls", "ToolCalls"]


@dataclass(slots=True)
class _Open:
    """A call that has begun; without ``named`` its opening waits for a name, and ``waiting`` with it."""

    index: int
    id: str | None
    named: bool = False
    waiting: list[str] | None = None
    held: int = 0
    """Characters of ``id`` and ``waiting``."""

    mark: int | None = None
    """The hash of its id, which itself is kept no longer than until it has been told."""


class ToolCalls:
    """
    The calls of one choice: in fragments, by index, by id, or by neither.

    A fragment belongs to the call at its ``index``; without one, to the call of its id, else to the one at
    the same place in the list. A new id with a name on a used index opens a new call; an id or a name that
    is null, empty or repeated says nothing. A name that is long in coming is not waited for.

    Args:
        bounds: Of the stream.
    """

    __slots__ = ("_at", "_bounds", "_by_id", "_choice", "_count")

    def __init__(self, choice: int, bounds: Bounds) -> None:
        bounds.take()
        self._choice, self._bounds = choice, bounds
        self._at: dict[int, _Open] = {}  # by the upstream's index, or by place
        self._by_id: dict[int, _Open] = {}  # by the id's hash
        self._count = 0

    def read(self, calls: list[Call]) -> list[ToolCall]:
        """Return the openings and fragments that one delta's *calls* bring."""
        found = []
        for place, call in enumerate(calls):
            function = call.function or call.custom
            name = function.name if function else None
            arguments = _arguments(function) if function else ""
            entry = self._entry(place, call, name)
            if entry.named:
                if arguments:
                    found.append(ToolCall(entry.index, arguments, choice=self._choice))
                continue
            entry.id = entry.id or call.id or None
            if name or not self._wait(entry, arguments):
                found.append(self._open(entry, name or "", arguments))
        return found

    def flush(self) -> list[ToolCall]:
        """Return the openings of calls whose name never came, so that their arguments are not lost."""
        nameless = [entry for entry in self._at.values() if not entry.named and entry.waiting]
        return [self._open(entry, "") for entry in nameless]

    def _wait(self, entry: _Open, arguments: str) -> bool:
        """Keep *arguments* until there is a name, if there is room for them."""
        held = entry.held + (PIECE + len(arguments) if arguments else 0)
        if not entry.held:
            held += PIECE + len(entry.id or "")
        if not self._bounds.hold(held - entry.held):
            return False
        entry.held = held
        if arguments:
            entry.waiting = entry.waiting or []
            entry.waiting.append(arguments)
        return True

    def _open(self, entry: _Open, name: str, arguments: str = "") -> ToolCall:
        arguments = "".join([*(entry.waiting or ()), arguments])
        id = entry.id
        self._bounds.release(entry.held)
        entry.held = 0
        entry.named, entry.waiting, entry.id = True, None, None
        entry.mark = hash(id) if id else None
        return ToolCall(entry.index, arguments, id, name, self._choice)

    def _entry(self, place: int, call: Call, name: str | None) -> _Open:
        at = call.index
        entry = self._at.get(place if at is None else at)
        if at is None and call.id:
            entry = self._by_id.get(hash(call.id), entry)
        if entry is not None and name and entry.named:
            another = bool(call.id and entry.mark is not None and hash(call.id) != entry.mark)
            if another or (at is None and not call.id):
                entry = None
        if entry is None:
            self._bounds.take()
            entry = self._at[place if at is None else at] = _Open(self._count, call.id or None)
            self._count += 1
            if call.id:
                self._by_id[hash(call.id)] = entry
        return entry


@dataclass(slots=True)
class _Keyed:
    """A call under an upstream's key; ``given`` are arguments that nobody has told."""

    index: int
    given: str = ""
    is_open: bool = True
    has_fragments: bool = False


class KeyedCalls:
    """
    Calls that an upstream opens, adds to and closes under a key of its own (a block's index, an item's id),
    or sends whole.

    Many vendors give a call's arguments more than once: in fragments, and with its end, or only with its
    beginning. They are told in fragments if there are any, else with the end.

    Args:
        bounds: Of the stream; none: these are all its calls.
    """

    def __init__(self, choice: int = 0, bounds: Bounds | None = None) -> None:
        self._choice, self._bounds = choice, bounds or Bounds()
        self._at: dict[Hashable, _Keyed] = {}
        self._count = 0

    def __contains__(self, key: Hashable) -> bool:
        """Whether a call has been opened at *key*, closed or not."""
        return key in self._at

    def __len__(self) -> int:
        """How many calls there have been."""
        return self._count

    def whole(self, id: str | None, name: str | None, arguments: msgspec.Raw) -> ToolCall:
        """Return a call that comes in one piece; arguments that are an object become JSON text."""
        return self._opening(id, name, argument_text(arguments))

    def open(self, key: Hashable, id: str | None, name: str | None, given: msgspec.Raw = NOTHING) -> ToolCall:
        """
        Return the opening of the call at *key*, another one if there was one.

        Args:
            given: Arguments that came along; they count if no fragment follows. Where there is no room to
                keep them, none is waited for.
        """
        self._bounds.take()
        text = _given(given)
        call = self._at[key] = _Keyed(self._count)
        if not self._bounds.hold(len(text)):
            call.is_open = False
            return self._opening(id, name, text)
        call.given = text
        return self._opening(id, name, "")

    def add(self, key: Hashable, fragment: str | None) -> list[ToolCall]:
        """Return a fragment of the arguments; nothing if it is empty or no call is open at *key*."""
        call = self._at.get(key)
        if not fragment or call is None or not call.is_open:
            return []
        call.has_fragments = True
        self._forget(call)
        return [ToolCall(call.index, fragment, choice=self._choice)]

    def close(self, key: Hashable, given: msgspec.Raw = NOTHING) -> list[ToolCall]:
        """Return the arguments, *given* here or at the opening, if no fragment has brought any."""
        call = self._at.get(key)
        if call is None or not call.is_open:
            return []
        call.is_open = False
        arguments = "" if call.has_fragments else _given(given) or call.given
        self._forget(call)
        return [ToolCall(call.index, arguments, choice=self._choice)] if arguments else []

    def _opening(self, id: str | None, name: str | None, arguments: str) -> ToolCall:
        self._count += 1
        return ToolCall(self._count - 1, arguments, id or None, name or "", self._choice)

    def _forget(self, call: _Keyed) -> None:
        if call.given:
            self._bounds.release(len(call.given))
            call.given = ""

    def close_all(self) -> list[ToolCall]:
        """Return the arguments given at the opening of calls whose end never came."""
        return [said for key in self._at for said in self.close(key)]


def _arguments(function: Function) -> str:
    return argument_text(function.arguments) if function.input is None else function.input


def _given(arguments: msgspec.Raw) -> str:
    """Return arguments that stand at a call's opening or end; an empty object is only their place."""
    return argument_text(arguments) if says(arguments) else ""
