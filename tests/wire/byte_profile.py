"""
The profile of the wire, held against bytes: what each write of a stream must look like, by its format.

Written from the formats' descriptions and from what clients are known to stumble over, with nothing of the
gate's in it. What events say is added up elsewhere (``reading_back``).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from wire.blocks import apart, message

BEAT = b":\n"
"""The one comment there is: no blank line, no word."""


@dataclass
class Event:
    """One event, in bytes."""

    name: bytes = b""
    id: bytes = b""
    data: list[bytes] = field(default_factory=list)

    @property
    def said(self) -> Any:
        """Its JSON; None for ``[DONE]``."""
        return None if self.data == [b"[DONE]"] else strict(self.data[0])


def strict(document: bytes) -> Any:
    """Read JSON that every parser reads: one line, an object, no NaN, no control character."""
    assert document[:1] == b"{" and document[-1:] in b"} ", document[:60]
    return json.loads(document.decode("utf-8"), parse_constant=_refuse)


def _refuse(constant: str) -> Any:
    raise AssertionError(f"{constant} is no JSON")


# ---- framings --------------------------------------------------------------------------------------


def sse(writes: Iterable[bytes]) -> tuple[list[Event], int]:
    """Return the events and how many heartbeats stand between them; each write holds whole ones of both."""
    events: list[Event] = []
    beats = 0
    for write in writes:
        assert write, "an empty write"
        rest = write
        while rest:
            if rest.startswith(BEAT):
                rest = rest[len(BEAT) :]
                beats += 1
                continue
            block, end, rest = rest.partition(b"\n\n")
            assert end, f"a write that ends inside an event: {block[-60:]!r}"
            events.append(_event(block))
    return events, beats


def _event(block: bytes) -> Event:
    event = Event()
    assert block, "a blank line where an event should be"
    for line in block.split(b"\n"):
        key, space, value = line.partition(b": ")
        assert space, f"no colon and space: {line[:60]!r}"
        match key:
            case b"data":
                event.data.append(value)
            case b"event" | b"id":
                assert not event.data, f"{key!r} behind the data"
                name = "name" if key == b"event" else "id"
                assert not getattr(event, name) and value.isascii() and value == value.strip() != b""
                setattr(event, name, value)
            case _:
                raise AssertionError(f"a field {key[:60]!r}")
    assert event.data, "an event without data"
    return event


def plain(body: bytes) -> None:
    """UTF-8 to the last byte, no BOM, no CR."""
    body.decode("utf-8", errors="strict")
    assert not body.startswith(b"\xef\xbb\xbf") and b"\r" not in body


# ---- formats ---------------------------------------------------------------------------------------

SILENT = frozenset({"gemini", "ollama", "bedrock"})
"""Formats without room for a heartbeat."""

NAMES: dict[str, Callable[[Event], bytes]] = {
    "native": lambda event: b"error" if "error" in event.said else b"",
    "openai": lambda event: b"",
    "vercel": lambda event: b"",
    "anthropic": lambda event: event.said["type"].encode(),
    "responses": lambda event: event.said["type"].encode(),
    "gemini": lambda event: b"done" if event.said is None else event.said.get("event_type", "").encode(),
}
"""What an event is called; the others keep their vendors' names."""

ENDS: dict[str, Callable[[Event], bool]] = {
    "native": lambda event: event.said["finished"],
    "openai": lambda event: event.said is None,
    "vercel": lambda event: event.said is None,
    "text": lambda event: event.name in (b"done", b"error"),
    "anthropic": lambda event: event.name in (b"message_stop", b"error"),
    "responses": lambda event: (
        event.name in (b"response.completed", b"response.incomplete", b"response.failed")
    ),
    "assistants": lambda event: event.said is None,
    "tgi": lambda event: event.said.get("generated_text") is not None or "error" in event.said,
    "llamacpp": lambda event: event.said.get("stop") is True or "error" in event.said,
    "watsonx": lambda event: (
        "errors" in event.said or event.said["results"][0]["stop_reason"] != "not_finished"
    ),
}
"""Whether an event is the one that ends its stream; Gemini has none, Cohere may have a mark behind it."""


def check(form: str, media: str, writes: list[bytes]) -> int:
    """
    Check all that left in a format; return the heartbeats in it.

    Args:
        form: The format's name.
        media: Its content type, without parameters.
        writes: What was written at a time.
    """
    if media == "application/vnd.amazon.eventstream":
        for write in writes:
            for piece in apart("eventstream", write):
                strict(message(piece)[1])
        return 0
    plain(b"".join(writes))
    match media:
        case "text/event-stream":
            return _check_sse(form, writes)
        case "application/x-ndjson" | "application/stream+json":
            _check_lines(writes)
        case "application/json":
            assert all(write.endswith(b"\n") for write in writes)
            assert isinstance(json.loads(b"".join(writes)), list)
        case _:
            raise AssertionError(f"nobody knows how {media} must look")
    return 0


def _check_lines(writes: list[bytes]) -> None:
    ends = []
    for write in writes:
        assert write.endswith(b"\n"), "a write that ends inside a line"
        for line in write.split(b"\n")[:-1]:
            said = strict(line)
            kind = said.get("event_type", "")
            ends.append(said.get("done") is True or "error" in said or kind == "stream-end")
    assert ends == [False] * (len(ends) - 1) + [True], "one end, at the end"


def _check_sse(form: str, writes: list[bytes]) -> int:
    events, beats = sse(writes)
    assert beats == 0 or form not in SILENT
    if form != "text":
        for event in events:
            _check_json(form, event)
        marks = [event.said is None for event in events]
        assert True not in marks[:-1], "nothing follows the end mark"
    if (is_end := ENDS.get(form)) is not None:
        assert [is_end(event) for event in events] == [False] * (len(events) - 1) + [True], "one end"
    elif form == "cohere":
        *_, last = [event for event in events if event.said is not None]
        assert last.said["type"] == "message-end"
    return beats


def _check_json(form: str, event: Event) -> None:
    assert len(event.data) == 1, "JSON of several lines"
    said = event.said
    assert said is None or said.get("error", "absent") is not None, "the AI SDK drops a chunk that says so"
    if (name := NAMES.get(form)) is not None:
        assert event.name == name(event)
