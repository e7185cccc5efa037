"""
What is open in a carried Responses stream, so that a failure can close it.

The events that end an item repeat the whole of it, so what an item has said is kept while it is open: the
bytes of its deltas as they are carried, which nobody decodes unless the stream fails. Of an item that has
said too much only the head stays, enough to end it without repeating it.
"""

from __future__ import annotations

import json
from contextlib import suppress

import msgspec

from ssegate.wire.errors import WireError
from ssegate.wire.events import Carried
from ssegate.wire.formats.responses_endings import ITEM, REPEATED, Key, Part, endings, place_of
from ssegate.wire.formats.responses_kinds import ARGUMENTS, KINDS, Told
from ssegate.wire.payload import NOTHING, UNREADABLE, is_given, repair

__all__ = ["OpenItems"]

_MOST = 128 << 10
"""Bytes that are kept of open items; where there is more, only their heads are."""

_LONGEST_KEY = 1024

_OBJECT = 1024
"""Bytes that Python takes beside those of an item, a part or an annotation."""

_HEAD = 256
"""The same, of a head."""

_ITEMS = (f"{ITEM}.added", f"{ITEM}.done")
_ANNOTATION = "response.output_text.annotation.added"

Place = tuple[Key, str, int]
"""Of a string that grows: its item, the name of its events, its part's place."""


class _Said(msgspec.Struct, gc=False):
    """What is read of an event."""

    output_index: int | None = None
    item_id: str | None = None
    content_index: int | None = None
    summary_index: int | None = None
    delta: str | None = None
    text: str | None = None
    refusal: str | None = None
    arguments: str | None = None
    item: msgspec.Raw = NOTHING
    part: msgspec.Raw = NOTHING
    annotation: msgspec.Raw = NOTHING

    @property
    def key(self) -> Key:
        return self.item_id if self.output_index is None else self.output_index


class _Named(msgspec.Struct, gc=False):
    """What is read of an item or a part."""

    id: str | None = None
    type: str | None = None


class _Head(msgspec.Struct, gc=False, omit_defaults=True):
    """What is kept of an item that has said too much."""

    id: str | None = None
    type: str | None = None
    role: str | None = None
    call_id: str | None = None
    name: str | None = None


_decode = msgspec.json.Decoder(_Said).decode


class OpenItems:
    """Knows what is open of one stream."""

    def __init__(self) -> None:
        self._items: dict[Key, bytes] = {}
        self._parts: dict[Place, Part] = {}
        self._growing: dict[bytes, bytearray] = {}  # by what carried deltas have in common
        self._size = 0
        self._has_heads_only = False

    def note(self, carried: Carried) -> None:
        """Take note of what a frame opens, adds and closes."""
        grown = self._growing.get(carried.key) if carried.key is not None else None
        if grown is not None:
            grown += carried.body
            self._keep(len(carried.body))
        elif carried.event in _ITEMS or (self._items and not self._has_heads_only):
            try:
                self._read(carried, _said(carried.payload))
            except (WireError, *UNREADABLE):
                # What is not known to the last letter is not repeated, nor what may have ended ended again.
                if carried.event == f"{ITEM}.done":
                    self._forget()
                else:
                    self._behead()

    def close(self) -> tuple[list[Told], list[Told]]:
        """
        Return what ends all that is open, in its order: what comes before the error, and what comes after.

        After it come calls, which nobody may make any more, and items that are ended without what they said.
        """
        before: list[Told] = []
        after: list[Told] = []
        for key, item in self._items.items():
            with suppress(ValueError, RecursionError):  # an item that no client can read either
                opened = json.loads(item)
                kind = opened.get("type")
                is_text = isinstance(kind, str) and kind in REPEATED
                told = before if is_text and not self._has_heads_only else after
                told += endings(key, opened, self._of(key))
        return before, after

    def _of(self, key: Key) -> list[tuple[str, Part]]:
        """Return the parts of an item in their order, each with the name of its events."""
        found = [(place[2], place[1], part) for place, part in self._parts.items() if place[0] == key]
        return [(name, part) for _, name, part in sorted(found, key=lambda one: one[0])]

    def _read(self, carried: Carried, said: _Said) -> None:
        name, _, step = carried.event.rpartition(".")
        if name == ITEM:
            self._item(step, said)
        elif said.key not in self._items:
            return
        elif step == "delta" and (name in KINDS or name == ARGUMENTS):
            self._grow(carried, said, self._part(name, said))
        elif step == "done" and (name in KINDS or name == ARGUMENTS):
            part = self._part(name, said)
            part.is_told = True
            if not part.text:
                self._add(part, _inside(said.text or said.refusal or said.arguments or ""))
        elif carried.event == _ANNOTATION and is_given(said.annotation):
            part = self._part("response.output_text", said)
            part.annotations.append(bytes(said.annotation))
            self._keep(_OBJECT + len(said.annotation))
        elif is_given(said.part):
            self._note_part(step, said)

    def _item(self, step: str, said: _Said) -> None:
        if not is_given(said.item):
            return
        id = _named(said.item).id
        key = id if said.key is None else said.key
        if step == "added":
            opened = _head(said.item) if self._has_heads_only else bytes(said.item)
            self._items[key] = opened
            self._keep(len(opened) + (_HEAD if self._has_heads_only else _OBJECT))
        else:
            self._items.pop(key, None)
            for place in [place for place in self._parts if place[0] == key]:
                self._growing.pop(self._parts.pop(place).key, None)
            if not self._items:
                self._forget()

    def _note_part(self, step: str, said: _Said) -> None:
        name = _name_of(said)
        if name is not None:
            part = self._part(name, said)
            part.has_part = step == "added"
            if step == "done":
                part.whole = bytes(said.part)
                self._keep(len(said.part))

    def _grow(self, carried: Carried, said: _Said, part: Part) -> None:
        key = carried.key
        if key is None or len(key) > _LONGEST_KEY:
            self._add(part, _inside(said.delta or ""))
            return
        # One a part: where every delta has other members, none of them comes again.
        self._growing.pop(part.key, None)
        part.key = key
        self._growing[key] = part.text
        self._add(part, carried.body)

    def _add(self, part: Part, piece: bytes) -> None:
        part.text += piece
        self._keep(len(piece))

    def _part(self, name: str, said: _Said) -> Part:
        kind = KINDS.get(name)
        index = (said.summary_index if kind and kind.parts == "summary" else said.content_index) or 0
        where = (said.key, name, index)
        if where not in self._parts:
            place = {"item_id": said.item_id, **place_of(said.key)} | ({kind.index: index} if kind else {})
            part = self._parts[where] = Part(place)
            self._keep(_OBJECT + len(said.item_id or ""))
            return part
        return self._parts[where]

    def _keep(self, size: int) -> None:
        self._size += size
        if self._size > _MOST:
            self._behead()

    def _behead(self) -> None:
        """Let go of all that open items have said, and of the items too where they are too many."""
        if self._has_heads_only and self._size <= _MOST:
            return
        items = {key: _head(item) for key, item in self._items.items()}
        size = sum(_HEAD + len(head) for head in items.values())
        self._forget()
        if items and size <= _MOST:
            self._items, self._size, self._has_heads_only = items, size, True

    def _forget(self) -> None:
        self._items.clear()
        self._parts.clear()
        self._growing.clear()
        self._size = 0
        self._has_heads_only = False


def _said(payload: bytes) -> _Said:
    try:
        return _decode(payload)
    except UNREADABLE:
        return repair(payload, _Said)  # half a character, most likely


def _inside(text: str) -> bytes:
    return json.dumps(text)[1:-1].encode()


def _head(item: bytes) -> bytes:
    with suppress(*UNREADABLE):
        return msgspec.json.encode(msgspec.json.decode(item, type=_Head))
    return b"{}"


def _named(value: msgspec.Raw) -> _Named:
    try:
        return msgspec.json.decode(value, type=_Named)
    except UNREADABLE:
        return repair(bytes(value), _Named)


def _name_of(said: _Said) -> str | None:
    """Return the events that bring the text of a part."""
    kind = _named(said.part).type
    return next((name for name, known in KINDS.items() if known.part["type"] == kind), None)
