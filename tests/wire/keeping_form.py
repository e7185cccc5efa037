"""
What holds for the bytes of every stream that leaves, whatever came in.

Nothing here adds up what they say (``reading_back`` does): a hostile upstream may say anything.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from wire.driving import Drive

Fields = list[tuple[str, str]]
"""The lines of one event: name and value."""

UNFRAMED = frozenset({"text", "replicate"})
"""Formats whose events hold bare text, in as many ``data:`` lines as it has."""

TERMINATORS: dict[str, Callable[[str, str], bool]] = {
    "native": lambda event, data: loads(data)["finished"] is True and "choice" not in loads(data),
    "openai": lambda event, data: data == "[DONE]",
    "vercel": lambda event, data: data == "[DONE]",
    "text": lambda event, data: event in ("done", "error"),
}
"""Whether an event, by its name and data, is the one that ends a stream of a format of our own."""


def loads(text: str) -> Any:
    """Read JSON as strictly as a browser does; integers of any length, as it reads those too."""

    def refuse(constant: str) -> Any:
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(text, parse_constant=refuse, parse_int=float)


def events(body: bytes, *, is_bare: bool) -> list[Fields]:
    """
    Return the fields of each SSE event, after checking them byte by byte.

    LF only, no BOM, strict UTF-8; ``field: value`` with one space; ``data`` in each event, once unless it
    *is_bare* text; heartbeats between events alone; the last event whole.
    """
    text = body.decode("utf-8", errors="strict")
    assert "\r" not in text and not text.startswith("\ufeff")
    assert not text or text.endswith("\n")
    found: list[Fields] = []
    fields: Fields = []
    for line in text.split("\n")[:-1]:
        if line == "":
            names = [name for name, _ in fields]
            assert "data" in names, f"an event without data: {fields}"
            assert is_bare or names.count("data") == 1, f"an event of several lines: {fields}"
            found.append(fields)
            fields = []
        elif line == ":":
            assert not fields, "a heartbeat inside an event"
        else:
            name, colon, value = line.partition(": ")
            assert colon and name in ("id", "event", "data"), f"bad line {line[:60]!r}"
            assert name == "data" or name not in dict(fields), f"{name} twice"
            fields.append((name, value))
    assert not fields, "the last event is not whole"
    return found


def is_json(text: str) -> bool:
    """Whether *text* is a JSON object or array, as strictly as a browser reads it."""
    return isinstance(loads(text), (dict, list))


def check(drive: Drive, came: bytes, output: str) -> None:
    """Check all that left *drive*, which got *came* and has ended."""
    pipeline, body = drive.pipeline, drive.body
    assert (pipeline.outcome is None) == (pipeline.unclaimed is not None)
    assert (pipeline.outcome == "completed") == (pipeline.outcome is not None and pipeline.failure is None)
    if pipeline.unclaimed is not None:
        assert not body and (pipeline.unclaimed in came or came.startswith(pipeline.unclaimed))
        return
    if output == "raw":
        assert came.startswith(body)
        return
    form = pipeline.format
    if form is None or not body:
        assert pipeline.outcome != "completed" or form is None or form.name in UNFRAMED
        return
    _check_form(form, body)


def _check_form(form: Any, body: bytes) -> None:
    media = form.content_type.partition(";")[0]
    if media == "text/event-stream":
        _check_events(form, body)
    elif media == "application/x-ndjson":
        assert body.endswith(b"\n") and b"\r" not in body
        assert all(is_json(line) for line in body.decode().split("\n")[:-1])
    elif media == "text/plain":
        body.decode("utf-8", errors="strict")
    elif media == "application/json":
        assert isinstance(loads(body.decode()), list)


def _check_events(form: Any, body: bytes) -> None:
    is_bare = form.name in UNFRAMED
    found = events(body, is_bare=is_bare)
    said = [(dict(fields).get("event", ""), dict(fields)["data"]) for fields in found]
    assert is_bare or all(data == "[DONE]" or is_json(data) for _, data in said)
    marks = [] if is_bare else [at for at, (_, data) in enumerate(said) if data == "[DONE]"]
    assert marks in ([], [len(said) - 1]), "one end mark, at the end"
    if is_end := TERMINATORS.get(form.name):
        assert [at for at, one in enumerate(said) if at in marks or is_end(*one)] == [len(said) - 1]
