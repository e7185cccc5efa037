"""
The output of a response, built of neutral events: items that open, grow and close.

A text, a refusal, a thought and a call are an item each, and one of them at a time is open, but for calls:
their arguments may come by turns, so all of a row stay open until something else comes.

Source: https://platform.openai.com/docs/api-reference/responses-streaming
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ssegate.wire.events import Citation, Event, Reasoning, Refusal, Text, ToolCall
from ssegate.wire.formats.encoding import BRACE
from ssegate.wire.formats.responses_kinds import ARGUMENTS, OF_EVENT, Kind, Told

__all__ = ["Output"]


@dataclass(slots=True)
class _Open:
    """An item that grows."""

    place: dict[str, Any]
    """``item_id`` and ``output_index``."""

    item: dict[str, Any]
    kind: Kind | None
    """None: it is a call."""

    pieces: list[str] = field(default_factory=list)
    annotations: list[dict[str, Any]] = field(default_factory=list)


class Output:
    """
    Tells neutral events as events of items.

    Attributes:
        items: Those that are done, in order.
    """

    def __init__(self, stream_id: str) -> None:
        self.items: list[dict[str, Any]] = []
        self._stream_id = stream_id
        self._count = 0
        self._open: list[_Open] = []
        self._calls: dict[int, _Open] = {}

    def add(self, event: Event) -> list[Told]:
        """Return what tells of *event*; nothing if it has no room in an output, or is of another choice."""
        match event:
            case Text(choice=0) | Refusal(choice=0) | Reasoning(choice=0):
                told, at = self._at(type(event))
                at.pieces.append(event.text)
                kind = OF_EVENT[type(event)]
                delta = {**at.place, kind.index: 0, "delta": event.text, **kind.logprobs}
                return [*told, (f"{kind.text_event}.delta", delta)]
            case ToolCall(choice=0):
                return self._call(event)
            case Citation(choice=0) if event.url is not None:
                return self._cite(event)
        return []

    @property
    def has_open_calls(self) -> bool:
        """Whether what is open is a call."""
        return bool(self._open) and self._open[0].kind is None

    def close(self, status: str = "completed") -> list[Told]:
        """Return what ends the items that are open, in *status*: ``incomplete`` where they broke off."""
        told = [said for at in self._open for said in self._end(at, status)]
        self._open.clear()
        self._calls.clear()
        return told

    def _at(self, kind: type[Text | Refusal | Reasoning]) -> tuple[list[Told], _Open]:
        """Return the open item of *kind*, and what opens it."""
        how = OF_EVENT[kind]
        if self._open and self._open[0].kind is how:
            return [], self._open[0]
        told = self.close()
        at, begun = self._begin(how.prefix, {**how.item, how.parts: []}, how)
        part = {**at.place, how.index: 0, "part": {**how.part, how.text: ""}}
        return [*told, begun, (f"{how.part_event}.added", part)], at

    def _begin(self, prefix: str, item: dict[str, Any], kind: Kind | None) -> tuple[_Open, Told]:
        index = self._count
        self._count += 1
        id = f"{prefix}_{self._stream_id}_{index}"
        at = _Open({"item_id": id, "output_index": index}, {"id": id, **item}, kind)
        self._open.append(at)
        item = {**at.item, "status": "in_progress"}
        return at, ("response.output_item.added", {"output_index": index, "item": item})

    def _call(self, event: ToolCall) -> list[Told]:
        told: list[Told] = []
        if event.name is not None:
            if self._open and self._open[0].kind is not None:
                told = self.close()
            call = {"type": "function_call", "call_id": event.id, "name": event.name, "arguments": ""}
            self._calls[event.index], begun = self._begin("fc", call, None)
            told.append(begun)
        at = self._calls.get(event.index)
        if at is not None and event.arguments:
            at.pieces.append(event.arguments)
            told.append((f"{ARGUMENTS}.delta", {**at.place, "delta": event.arguments}))
        return told

    def _cite(self, event: Citation) -> list[Told]:
        """Return an annotation of the text; one without offsets points to where it came."""
        told, at = self._at(Text)
        here = event.place or 0
        annotation = {
            "type": "url_citation",
            "url": event.url,
            "title": event.title or event.url,
            "start_index": here if event.start is None else event.start,
            "end_index": here if event.end is None else event.end,
        }
        number = {"content_index": 0, "annotation_index": len(at.annotations)}
        at.annotations.append(annotation)
        added = {**at.place, **number, "annotation": annotation}
        return [*told, ("response.output_text.annotation.added", added)]

    def _end(self, at: _Open, status: str) -> list[Told]:
        whole = "".join(at.pieces)
        done: list[Told] = []
        if at.kind is None:
            if status == "incomplete":
                whole += BRACE
                done.append((f"{ARGUMENTS}.delta", {**at.place, "delta": BRACE}))
            at.item["arguments"] = whole
            done.append((f"{ARGUMENTS}.done", {**at.place, "arguments": whole}))
        else:
            part = at.kind.whole(whole, at.annotations)
            at.item[at.kind.parts] = [part]
            place = {**at.place, at.kind.index: 0}
            done.append(at.kind.text_done(place, whole))
            done.append((f"{at.kind.part_event}.done", {**place, "part": part}))
        at.item["status"] = status
        self.items.append(at.item)
        index = at.place["output_index"]
        return [*done, ("response.output_item.done", {"output_index": index, "item": at.item})]
