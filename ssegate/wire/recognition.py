"""
Finds out what a body is: its framing from content type and first bytes, its dialect from the first frames.

The choice is made once a stream; afterwards framer and dialect are called directly and nothing here runs.
"""

from __future__ import annotations

from dataclasses import dataclass

from ssegate.wire.description import Description
from ssegate.wire.dialects import DIALECTS
from ssegate.wire.dialects.auto import detect
from ssegate.wire.dialects.custom import Custom
from ssegate.wire.errors import NotAStream, WireError
from ssegate.wire.events import Frame
from ssegate.wire.framing import FRAMINGS
from ssegate.wire.framing.recognise import recognise
from ssegate.wire.payload import loads
from ssegate.wire.seams import Dialect, Framer

__all__ = ["Recognised", "Recogniser"]

_UNDECIDED_FRAMES = 64
"""Frames without a word of any dialect (pings, comments, blank objects) after which auto gives up."""


_SAMPLE = 200
"""Bytes of a body that are kept for the log, should nobody know what it is."""

_UNCOUNTED = 16
"""Bytes that framers do not count as part of an event: a BOM, a newline."""

_NO_EVENTS = (None, "html", "empty", "pass", "text")
"""What a body is that no described framing fits, or not yet known to be."""


@dataclass(slots=True)
class Recognised:
    """What a body turned out to be, and the frames found on the way."""

    framing: str
    framer: Framer
    dialect: Dialect
    frames: list[Frame]
    fault: WireError | None = None
    """Broken framing right behind *frames*."""


class Recogniser:
    """
    Gathers the first bytes of a body until it can be told what they are.

    Attributes:
        head: Every byte seen so far, for a body that must be passed on untouched; empty once it is known to
            be an event stream, which never is.
        sample: The first bytes of the body, whatever it is.
    """

    def __init__(self, dialect: str | Description, content_type: str | None, max_event: int) -> None:
        self.head = bytearray()
        self.sample = b""
        self._dialect = dialect
        self._content_type = content_type
        self._max_event = max_event
        self._seen = 0
        self._framing = "text" if dialect == "text" else None
        self._framer: Framer | None = None
        self._is_blank = True
        self._look_at = 0  # bytes of the head
        self._looks_at_newlines = 256
        self._read_size = 0  # bytes of the head that the framer has got
        self._frames: list[Frame] = []
        self._undecided = 0  # frames that have been looked at in vain
        self._undecided_bytes = 0
        self._fault: WireError | None = None

    @property
    def may_be_events(self) -> bool:
        """The body is called an event stream, or is not called anything."""
        return (self._content_type or "text/event-stream").lower().startswith("text/event-stream")

    def feed(self, data: bytes, *, at_end: bool = False) -> Recognised | None:
        """
        Take more of the body; return what it is, or None while that is open.

        Raises:
            WireError: The framing broke before any dialect showed.
            NotAStream: HTML, nothing at all, another kind of content, or no dialect known to us.
        """
        self._seen += len(data)
        if len(self.sample) < _SAMPLE:
            self.sample += data[: _SAMPLE - len(self.sample)]
        if self._framing != "sse":
            self.head += data
        if self._framer is None:
            self._is_blank = self._is_blank and not data.strip()
            if self._is_blank and not at_end and len(self.head) <= self._max_event:
                return None  # a flood of blank lines is not looked at again with each read
            if not self._is_due(data, at_end):
                return None
            framing = self._framing or self._recognise(at_end)
            if framing is None and len(self.head) <= self._max_event:
                return None
            self._framing, self._framer = framing, self._make_framer(framing)
            data = bytes(self.head)
            if framing == "sse":
                self.head.clear()
        if self._framing != "sse":
            if not self._may_complete(data, at_end):
                return None
            data, self._read_size = bytes(self.head[self._read_size :]), len(self.head)
        self._read(data, at_end)
        name = self._name(at_end)
        if name is None:
            return None
        assert self._framing is not None
        return Recognised(self._framing, self._framer, self._make_dialect(name), self._frames, self._fault)

    def _recognise(self, at_end: bool) -> str | None:
        """Return the framing; a described one is believed of all that may be a stream."""
        framing = recognise(self._content_type, bytes(self.head), at_end)
        if not isinstance(self._dialect, Description) or framing in _NO_EVENTS:
            return framing
        described = self._dialect.framing
        if framing == "json" and (described != "ndjson" or b"\n" in self.head.strip()):
            return framing  # a document in place of a stream
        return described

    def _make_dialect(self, name: str) -> Dialect:
        if isinstance(self._dialect, Description):
            return Custom(self._dialect, is_document=self._framing == "json")
        return DIALECTS[name]()

    def _is_due(self, data: bytes, at_end: bool) -> bool:
        """
        Whether to look at all of the head again.

        Not with each of a flood of small reads: what is open waits for its first bytes, a newline or much
        more, so a look is due at each byte at first, at newlines for a while, else when an eighth has come.
        """
        size = len(self.head)
        if size < self._look_at and not at_end:
            if b"\n" not in data or not self._looks_at_newlines:
                return False
            self._looks_at_newlines -= 1
        self._look_at = size + max(1, (size - 64) // 8)
        return True

    def _may_complete(self, data: bytes, at_end: bool) -> bool:
        """Whether *data* may complete a frame; what does not stays in the head alone, not held twice."""
        assert self._framer is not None
        if at_end or len(self.head) > self._max_event + _UNCOUNTED:
            return True
        if self._framing == "json":
            return False
        ends = (b"}", b"]") if self._framing == "json-array" else self._framer.ends
        return not ends or any(end[-1:] in data for end in ends)

    def _make_framer(self, framing: str | None) -> Framer:
        if framing == "html":
            raise NotAStream("upstream_content_type", "the upstream answered with an HTML page")
        if framing == "empty":
            raise NotAStream("upstream_empty", "the upstream answered without a body")
        if framing in ("pass", None):
            raise NotAStream("", "the body is not an LLM answer")
        assert framing is not None
        return FRAMINGS[framing](self._max_event)

    def _read(self, data: bytes, at_end: bool) -> None:
        assert self._framer is not None
        try:
            for frame in self._framer.feed(data):
                self._frames.append(frame)
            if at_end:
                self._frames.extend(self._framer.close())
        except WireError as fault:
            self._fault = fault

    def _name(self, at_end: bool) -> str | None:
        """Return the dialect's name; None while the frames so far could be anybody's."""
        if self._framing == "text":
            return self._plain_text()
        if self._dialect != "auto":
            # Until a document has ended it may be foreign, and is to be passed on then.
            is_open = self._framing == "json" and not at_end and self._fault is None
            return None if is_open else str(self._dialect)
        for frame in self._frames[self._undecided :]:
            if (name := detect(frame)) is not None:
                return name
            self._undecided += 1
            self._undecided_bytes += len(frame.data)
        if self._fault is not None:
            is_list = self._framing == "json-array" and self._fault.code == "upstream_bad_event"
            raise self.stranger() if is_list else self._fault  # a list of anything is other JSON
        is_much = self._undecided > _UNDECIDED_FRAMES or self._undecided_bytes > self._max_event
        is_much = is_much or len(self.head) > self._max_event + _UNCOUNTED
        if not (at_end or is_much):
            return None
        if at_end and self._is_cut():
            raise NotAStream("upstream_truncated", "the upstream's stream ended inside its first event")
        raise self.stranger()

    def stranger(self) -> NotAStream:
        """Return the verdict on a body whose framing is known and whose dialect is not."""
        if self._framing != "sse":
            return NotAStream("", "the JSON is not an LLM answer")
        seen = f"{len(self._frames)} events, {self._seen} bytes"
        return NotAStream("upstream_content_type", f"the stream is in no known dialect ({seen} looked at)")

    def _is_cut(self) -> bool:
        """Whether a body of events ended before one of them was whole: nobody can tell whose it was."""
        match self._frames:
            case []:
                return True
            case [Frame(irregular="unfinished") as frame]:
                try:
                    loads(frame.data)
                except WireError:
                    return True
        return False

    def _plain_text(self) -> str:
        if self._dialect not in ("auto", "text"):
            raise NotAStream(
                "upstream_content_type",
                f"the upstream answered with plain text, expected the {self._dialect} dialect",
            )
        return "text"
