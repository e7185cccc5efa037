"""
What a stream says, in words of no vendor: the ground everything in ``wire/`` stands on.

A framer cuts bytes into frames, a dialect reads frames as events, the batcher joins events, a format
writes them. ``None`` always means "the upstream did not say"; nothing here is ever invented.

Events are plain slotted dataclasses that nobody changes after they are built: one is made per token, and
``frozen=True`` would cost three times as much.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = [
    "EMPTY",
    "Carried",
    "Citation",
    "Delta",
    "End",
    "Event",
    "Failure",
    "Finish",
    "FinishReason",
    "Frame",
    "Progress",
    "Reasoning",
    "Refusal",
    "Start",
    "Text",
    "ToolCall",
    "Usage",
]

EMPTY: frozenset[int] = frozenset()
"""One for all streams: Python makes 216 bytes anew each time it is asked for an empty one."""

FinishReason = Literal["stop", "length", "tool_calls", "content_filter", "refusal", "other", "cancelled"]


@dataclass(slots=True)
class Frame:
    """One message of the upstream's framing, before anybody has read its payload."""

    event: str
    """
    The name of an SSE event, or the kind of an AWS message as ``framing.eventstream`` tells it; empty where
    there is none (``message`` is never written out).
    """

    data: bytes
    """The payload, without its framing. For SSE: the data lines, joined by ``\\n``."""

    id: str = ""
    """SSE's last event ID as it stood when the frame was dispatched."""

    irregular: Literal["", "unfinished", "bare", "error_field"] = ""
    """
    Why a strict reader would not have seen this frame: the stream ended before its end, it is a JSON block
    without ``data:``, or it is an ``error:`` field. Empty for a frame in good order.
    """


@dataclass(slots=True)
class Start:
    """What the upstream says of itself, once or more; the first value of each field is kept."""

    id: str | None = None
    model: str | None = None


@dataclass(slots=True)
class Text:
    """A piece of the answer, as it arrived: never empty."""

    text: str
    choice: int = 0
    count: int = 1
    """How many upstream deltas are joined in it."""


@dataclass(slots=True)
class Reasoning:
    """A piece of the model's thinking: never empty."""

    text: str
    choice: int = 0
    count: int = 1


@dataclass(slots=True)
class Refusal:
    """A piece of a refusal that the upstream keeps apart from the answer: never empty."""

    text: str
    choice: int = 0
    count: int = 1


@dataclass(slots=True)
class ToolCall:
    """
    The opening of a tool call (``name`` is set) or a fragment of its arguments (``name`` is None).

    The opening comes first, exactly once a call, with whatever arguments came along; a fragment is
    never empty.
    """

    index: int
    """0, 1, 2, … in order of appearance within its choice, whatever the upstream counts."""

    arguments: str = ""
    id: str | None = None
    name: str | None = None
    choice: int = 0
    count: int = 1


@dataclass(slots=True)
class Citation:
    """A source the answer rests on; ``start`` and ``end`` are character offsets into the answer."""

    url: str | None = None
    title: str | None = None
    text: str | None = None
    start: int | None = None
    end: int | None = None
    choice: int = 0
    place: int | None = None
    """How many characters of its choice's text had come before it; known once it leaves the pipeline."""


@dataclass(slots=True)
class Progress:
    """
    The upstream is at work on something that is no content: it searches, it runs code.

    Nothing leaves for it; it only shows that the upstream's silence is none.
    """


@dataclass(slots=True)
class Usage:
    """
    Token counts of the whole stream so far; each report replaces what it names, nothing is summed.

    ``input_tokens`` includes cache reads and writes, ``output_tokens`` includes reasoning;
    ``cached_tokens`` and ``reasoning_tokens`` are parts of them.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    reasoning_tokens: int | None = None
    cached_tokens: int | None = None


@dataclass(slots=True)
class Finish:
    """
    One choice has ended, and why.

    Told once a choice; that of choice 0 again if the upstream changes its mind (older Vertex), and then the
    later one counts.
    """

    reason: FinishReason
    upstream_reason: str | None = None
    """The upstream's own word."""

    choice: int = 0


@dataclass(slots=True)
class Failure:
    """The stream has failed, by anybody's fault; always the last event."""

    code: str
    """A key of ``errors.CODES``."""

    message: str
    upstream_status: int | None = None
    """The HTTP status of the upstream's answer, or the integer status inside its error object."""

    upstream_type: str | None = None
    upstream_code: str | int | None = None
    upstream_param: str | None = None
    retry_after: str | None = None
    """The upstream's ``Retry-After``, as it wrote it."""

    seen: bytes = b""
    """How the upstream's body begins, where nobody can tell what it is: for the log, never for a client."""

    limit: str | None = None
    """Which limit of ours refused: ``requests``, ``tokens`` or ``streams``."""


@dataclass(slots=True)
class End:
    """The upstream's end mark (``[DONE]``, ``message_stop``, ``done: true``): nothing follows it."""


@dataclass(slots=True)
class Carried:
    """
    A frame on its way to a client of the same dialect, to be written back byte for byte.

    ``body`` is the inside of the one JSON string that grows from
    frame to frame, still escaped, so that two frames alike but for it are joined without decoding:
    what the gate does not understand cannot get lost that way.
    """

    event: str
    head: bytes
    body: bytes = b""
    tail: bytes = b""
    key: bytes | None = None
    """Frames with equal keys may be joined; None: never held, never joined."""

    count: int = 0
    """How many deltas are joined in it; 0 for a frame without content."""

    last: bool = False
    """A finish or usage frame: may be the last one, so it waits for the final metadata."""

    usage_only: bool = False
    """A frame with nothing but usage, for clients that asked for one."""

    id: str = ""
    """The frame's SSE event ID, where it stands for itself; joined frames have none."""

    @property
    def payload(self) -> bytes:
        """The whole of it."""
        return self.head + self.body + self.tail


Delta = Text | Reasoning | Refusal | ToolCall
Event = Start | Delta | Citation | Progress | Usage | Finish | Failure | End
