"""
Halves of characters: JSON can say one (``"\\ud83d"``), UTF-8 cannot.

Text and arguments may end in a half whose other half comes with the next delta, so those are left alone here;
in every other string a half is only an accident.
"""

from __future__ import annotations

from dataclasses import fields

from ssegate.wire.events import Event, Reasoning, Refusal, Text

__all__ = ["whole", "without_halves"]


def whole(text: str) -> str:
    """Return *text* with pairs of surrogates joined and single ones replaced by U+FFFD."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def without_halves(events: list[Event]) -> list[Event]:
    """Return *events*, read from a repaired payload, with whole characters in all that does not grow."""
    for event in events:
        if isinstance(event, (Text, Reasoning, Refusal)):
            continue
        for field in fields(event):
            value = getattr(event, field.name)
            if isinstance(value, str) and field.name != "arguments":
                setattr(event, field.name, whole(value))
    return events
