"""
The streams that are running: found by id, counted for the drain, listed for the operator.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Iterator
from typing import Any, Protocol

from ssegate.wire.errors import ClientError
from ssegate.wire.events import Failure

__all__ = ["LiveStream", "Streams", "chosen_id", "new_id"]

_ID = re.compile(r"[A-Za-z0-9_-]{8,64}")
_CAPABILITY = 22
"""So many characters of that alphabet hold 128 random bits: without keys the id itself is the capability."""


class LiveStream(Protocol):
    """What the registry needs of a running stream."""

    @property
    def stream_id(self) -> str:
        """The stream's id."""

    def end(self, failure: Failure) -> None:
        """End the stream now, telling its reader *failure*."""

    def row(self) -> dict[str, Any]:
        """Return the stream as ``/-/streams`` shows it."""


def new_id() -> str:
    """Return a new stream id of 144 random bits."""
    return secrets.token_urlsafe(18)


def chosen_id(chosen: str | None, *, has_key: bool = False) -> str:
    """
    Return the id the client chose, or a new one.

    Args:
        has_key: The client's key says whose the stream is, so the id may be short.

    Raises:
        ClientError: ``bad_request``, the id has another form.
    """
    if chosen is None:
        return new_id()
    shortest = 8 if has_key else _CAPABILITY
    if len(chosen) < shortest or not _ID.fullmatch(chosen):
        said = f"the stream id must be {shortest} to 64 characters of A-Z, a-z, 0-9, '_' and '-'"
        raise ClientError("bad_request", said)
    return chosen


class Streams:
    """
    Every stream between its request and its outcome.

    Attributes:
        started: How many there have been.
    """

    def __init__(self) -> None:
        self.started = 0
        self._live: dict[str, LiveStream] = {}
        self._idle = asyncio.Event()
        self._idle.set()

    def __len__(self) -> int:
        return len(self._live)

    def __iter__(self) -> Iterator[LiveStream]:
        return iter(list(self._live.values()))

    def add(self, stream: LiveStream) -> None:
        """
        Take *stream* in.

        Raises:
            ClientError: ``stream_exists``, its id is in use.
        """
        self.check_free(stream.stream_id)
        self._live[stream.stream_id] = stream
        self.started += 1
        self._idle.clear()

    def check_free(self, stream_id: str) -> None:
        """
        Let pass an id that no running stream has.

        Raises:
            ClientError: ``stream_exists``.
        """
        if stream_id in self._live:
            raise ClientError("stream_exists", "a stream of this id is running")

    def remove(self, stream: LiveStream) -> None:
        """Forget *stream*; its id is free again at once."""
        if self._live.get(stream.stream_id) is stream:
            del self._live[stream.stream_id]
        if not self._live:
            self._idle.set()

    def find(self, stream_id: str) -> LiveStream | None:
        """Return the running stream of that id."""
        return self._live.get(stream_id)

    def end_all(self, failure: Failure) -> None:
        """End what still runs, telling every reader *failure*."""
        for stream in self:
            stream.end(Failure(failure.code, failure.message))

    async def drained(self) -> None:
        """Wait until no stream runs."""
        await self._idle.wait()
