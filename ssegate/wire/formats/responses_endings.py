"""
What ends an item that broke off: the events that its upstream would have sent, with what there is of it.

Messages, thoughts and calls of functions repeat what they said; what the server does itself is ended as it
was opened. Items of all other kinds are ended bare, with nothing that could be acted upon: half of a custom
tool's input, which is free text, or of a shell command looks like the whole, and clients run what is done in
whatever status.

Source: https://platform.openai.com/docs/api-reference/responses-streaming
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ssegate.wire.formats.encoding import BRACE
from ssegate.wire.formats.responses_kinds import ARGUMENTS, KINDS, Kind, Told
from ssegate.wire.surrogates import whole

__all__ = ["ITEM", "REPEATED", "Key", "Part", "endings", "place_of"]

ITEM = "response.output_item"

REPEATED = {"message": "content", "reasoning": "summary"}
"""The kinds of items that say something to be read and nothing to be done, each with where it does."""

_OF_THE_SERVER: dict[str, str | None] = {
    "code_interpreter_call": "incomplete",
    "file_search_call": "incomplete",
    "image_generation_call": "failed",
    "mcp_call": "incomplete",
    "mcp_list_tools": None,  # it has no status
    "web_search_call": "failed",
}
"""What clients only look on at, and the status in which it breaks off: each kind has its own."""

_BARE = ("id", "type", "call_id", "name")
"""The members of an item that tell which it is."""

Key = int | str | None
"""Of an item: its place in the output, else its id."""


@dataclass(slots=True)
class Part:
    """A string that grows, and the part it is in."""

    place: dict[str, Any]
    """The members that every event of it has."""

    key: bytes = b""
    """What its last delta had in common with the one before."""

    text: bytearray = field(default_factory=bytearray)
    """What it has said, as the inside of a JSON string."""

    annotations: list[bytes] = field(default_factory=list)
    is_told: bool = False
    """The event that repeats the text has come."""

    has_part: bool = False
    """The part around it has been opened, and not closed."""

    whole: bytes | None = None
    """The part as it was closed."""


def endings(key: Key, item: dict[str, Any], parts: list[tuple[str, Part]]) -> Iterator[Told]:
    """
    Yield what ends *item*.

    Args:
        item: As it was opened.
        parts: In their order, each with the name of the events that bring it.
    """
    kind = item.get("type")
    status: str | None = "incomplete"
    if not isinstance(kind, str):
        return  # no client can read it either
    if kind == "function_call":
        nothing = Part({"item_id": item.get("id"), **place_of(key)})
        yield from _end_call(next((part for name, part in parts if name == ARGUMENTS), nothing), item)
    elif kind in REPEATED:
        item.setdefault(REPEATED[kind], [])
        for name, part in parts:
            if name in KINDS:
                yield from _end_part(KINDS[name], part, item)
    elif kind in _OF_THE_SERVER:
        status = _OF_THE_SERVER[kind]
    else:
        item = {name: item[name] for name in _BARE if name in item}
    ended = item if status is None else {**item, "status": status}
    yield f"{ITEM}.done", {**place_of(key), "item": ended}


def _end_call(said: Part, item: dict[str, Any]) -> Iterator[Told]:
    item["arguments"] = arguments = _text(said) + ("" if said.is_told else BRACE)
    if not said.is_told:
        yield f"{ARGUMENTS}.delta", {**said.place, "delta": BRACE}
        yield f"{ARGUMENTS}.done", {**said.place, "arguments": arguments}


def _end_part(kind: Kind, part: Part, item: dict[str, Any]) -> Iterator[Told]:
    text = _text(part)
    if part.whole is None:
        said = kind.whole(text, [json.loads(one) for one in part.annotations])
        if not part.is_told:
            yield kind.text_done(part.place, text)
    else:
        said = json.loads(part.whole)
    if part.has_part:
        yield f"{kind.part_event}.done", {**part.place, "part": said}
    before = item.get(kind.parts)
    item[kind.parts] = [*(before if isinstance(before, list) else ()), said]


def _text(part: Part) -> str:
    return whole(json.loads(b'"%b"' % bytes(part.text)))


def place_of(key: Key) -> dict[str, Any]:
    """Return the member that tells an item's place, if it has one."""
    return {"output_index": key} if isinstance(key, int) else {}
