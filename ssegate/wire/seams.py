"""
The seams of the wire: what a framer, a dialect and a format must offer to be a line in their table.

    bytes ─► Framer ─► Frame ─► Dialect ─► Event ─► batching ─► Event ─► Format ─► bytes

Each is made anew for every stream and holds that stream's state. None of them does I/O or looks at a clock.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Protocol

from ssegate.wire.events import Carried, Event, Failure, Finish, Frame, Usage

__all__ = ["Context", "Dialect", "Format", "Framer"]


class Framer(Protocol):
    """
    Cuts a body into frames. How the network cut the bytes never changes the frames.

    Never holds more of the body than ``max_event`` bytes and one read.
    """

    ends: ClassVar[tuple[bytes, ...]]
    """What frames end with, and nothing inside a frame holds; empty where there is no such mark."""

    @property
    def is_between(self) -> bool:
        """Nothing is unfinished: the next byte begins a frame (or is a blank, a separator, a comment)."""

    @property
    def has_ended(self) -> bool | None:
        """
        Whether the framing's own end has come (the closing bracket of a JSON array); None: it has none.

        False too once ``close`` has found half a frame that makes none.

        It is no end mark of a dialect: an answer that has its finish is complete without it.
        """

    def anew(self) -> Framer:
        """Return a framer of the same kind and bounds that has read nothing."""

    def feed(self, data: bytes) -> Iterator[Frame]:
        """
        Yield the frames that *data* completes.

        Raises:
            WireError: After all whole frames have been yielded: ``event_too_large``, or broken framing.
        """

    def close(self) -> Iterator[Frame]:
        """Yield what the body's end completes."""


class Dialect(Protocol):
    """Reads one vendor's frames as events."""

    name: ClassVar[str]
    may_miss_deltas: ClassVar[bool]
    """
    Frames that differ from the one before in a piece of text alone change nothing in the dialect's state, so
    it need not be shown them.
    """

    pads: ClassVar[bool]
    """Payloads are padded with blanks before the last brace."""

    volatile: ClassVar[tuple[str, ...]]
    """Members that differ from frame to frame and say nothing (a time, padding)."""

    carries: bool
    """``carry`` will be asked for; where it will not, nothing of a frame need be kept for it."""

    def decode(self, frame: Frame) -> list[Event]:
        """
        Return what *frame* says, in the order in which a reader must act on it.

        Content comes before ``Usage``, ``Usage`` before ``Finish``, ``Finish`` before ``End``.

        Raises:
            WireError: ``upstream_bad_event``, the frame is not what the dialect allows.
        """

    def close(self) -> list[Event]:
        """Return what a clean end of the body means where the dialect has no finish mark (``text``)."""

    def carry(self, frame: Frame) -> Carried | None:
        """
        Return *frame* (just decoded) as it goes to a client of the same dialect, or None.

        None: nothing to write (a comment, a terminator the format writes itself), or a complete JSON
        answer, which leaves as neutral events instead.
        """


@dataclass(frozen=True, slots=True)
class Context:
    """What a format must know of the request it answers."""

    stream_id: str
    created: int
    """Unix seconds, for formats whose events carry a time."""

    wants_usage: bool = True
    """The client asked for a usage chunk (OpenAI's ``stream_options.include_usage``)."""

    completions: bool = False
    """The client asked for OpenAI's legacy completions, whose chunks have another shape."""


class Format(Protocol):
    """
    Writes events in one client's language.

    ``metadata`` is a JSON object, encoded, or empty for none. Each ``bytes`` in a returned list is one
    whole event of the output, so that ids can be given to them one by one.
    """

    name: ClassVar[str]

    @property
    def may_miss_deltas(self) -> bool:
        """
        Events that differ from the one before in a piece of text alone are written alike and change nothing
        in the format's state, so it need not write each of them.

        That is tried on a shallow copy of the format.
        """

    content_type: str
    heartbeat: bytes
    """Keeps a silent connection alive: ``:\\n``, or empty where the format has no room for it."""

    @property
    def noop(self) -> bytes:
        """The format's own event that says nothing, for long silences after the first content; or empty."""

    def encode(self, event: Event | Carried, metadata: bytes) -> list[bytes]:
        """Return *event* as it is sent while the stream runs; empty if the format has no room for it."""

    def finish(self, finish: Finish, usage: Usage | None, metadata: bytes) -> list[bytes]:
        """Return the last events of a stream that ended well, terminator included."""

    def fail(self, failure: Failure, metadata: bytes) -> list[bytes]:
        """Return the last events of a stream that failed, terminator included."""
