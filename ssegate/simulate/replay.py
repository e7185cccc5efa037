"""Recorded bodies, sent again: event by event, or cut at random byte places as a bad network would."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from random import Random

from ssegate.simulate.answer import Step

__all__ = ["Cutter", "body_of", "replayed", "type_of"]

_TYPES = {
    ".sse": "text/event-stream; charset=utf-8",
    ".ndjson": "application/x-ndjson",
    ".json": "application/json",
    ".txt": "text/plain; charset=utf-8",
    ".bin": "application/vnd.amazon.eventstream",
}
_BLOCK = 4096
_AFTER_BLANK_LINE = re.compile(rb"(?<=\n\n)|(?<=\r\n\r\n)")
_AFTER_LINE = re.compile(rb"(?<=\n)")


def type_of(recording: Path | bytes) -> str:
    """Return the content type that a recording's file name tells; an event stream if it tells none."""
    suffix = recording.suffix if isinstance(recording, Path) else ""
    return _TYPES.get(suffix, _TYPES[".sse"])


def body_of(recording: Path | bytes) -> bytes:
    """Return the recorded bytes."""
    return recording.read_bytes() if isinstance(recording, Path) else recording


def replayed(body: bytes, content_type: str) -> Iterator[Step]:
    """
    Yield *body*, one step an event; each counts as a token.

    Events end with a blank line, lines of NDJSON with a newline, anything else is cut every 4 KiB.
    """
    if content_type.startswith("text/event-stream"):
        parts = _AFTER_BLANK_LINE.split(body)
    elif "ndjson" in content_type:
        parts = _AFTER_LINE.split(body)
    else:
        parts = [body[at : at + _BLOCK] for at in range(0, len(body), _BLOCK)]
    return (Step("token", part) for part in parts if part)


class Cutter:
    """
    Cuts the bytes it is fed anew, into pieces of 1 to 512 bytes, small ones as likely as large ones.

    Nothing is lost, added or reordered; what is left over waits for the next bytes or for ``rest``.
    """

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)
        self._buffer = bytearray()
        self._size = self._next_size()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield the pieces that *data* completes."""
        self._buffer += data
        while len(self._buffer) >= self._size:
            yield bytes(self._buffer[: self._size])
            del self._buffer[: self._size]
            self._size = self._next_size()

    def rest(self) -> bytes:
        """Return what waits, and forget it."""
        rest = bytes(self._buffer)
        self._buffer.clear()
        return rest

    def pause(self) -> float:
        """Return the seconds to wait before the next piece: mostly none."""
        return self._random.random() * 0.001 if self._random.random() < 0.125 else 0.0

    def _next_size(self) -> int:
        return int(2 ** self._random.uniform(0, 9))
