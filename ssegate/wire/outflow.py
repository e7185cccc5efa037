"""
The way out of a pipeline: events are batched, given their metadata, written by the format and numbered.

Whoever calls decides when a stream ends; this half only knows how its events leave.
"""

from __future__ import annotations

from collections.abc import Iterable

from ssegate.wire.batching import Batcher, Pace
from ssegate.wire.events import (
    Carried,
    Event,
    Failure,
    Finish,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
)
from ssegate.wire.formats.encoding import SSE
from ssegate.wire.runs import Run
from ssegate.wire.seams import Context, Format
from ssegate.wire.stats import Stats

__all__ = ["Outflow"]

_MOST_WAITING = 16 << 10
"""Bytes of frames that wait for the end; it is one or two of them, unless somebody floods."""


class Outflow:
    """
    Writes one stream's events.

    Attributes:
        format: None while the upstream's dialect must decide it, and for raw output; nothing is written then.
    """

    def __init__(
        self,
        context: Context,
        stats: Stats,
        pace: Pace,
        *,
        every_metadata: bool,
        numbered: bool,
    ) -> None:
        self.format: Format | None = None
        self._context, self._stats = context, stats
        self._batcher = Batcher(pace)
        self._run: Run | None = None  # holds in the batcher's place
        self._every_metadata, self._numbered = every_metadata, numbered
        self._blocks = 0
        self._first = True
        self._out: list[bytes] = []
        self._last: list[Carried] = []

    @property
    def deadline(self) -> float | None:
        """The moment by which ``flush`` must be called; None: nothing is held."""
        return self._batcher.deadline if self._run is None else self._run.deadline

    @property
    def waiting_bytes(self) -> int:
        """Size of what has not been taken."""
        return sum(map(len, self._out))

    def add(self, event: Event | Carried, now: float) -> None:
        """Send *event*, or hold it for its batch; what waited for the end goes first."""
        if self._last:
            self.release(b"")
        if self._run is not None:
            self._end_run(self._run)
        self._write(self._batcher.add(event, now), now)

    def go_on_with(self, run: Run) -> None:
        """Have *run* hold in the batcher's place, until anything else is added."""
        if self._run is run:
            return
        if self._run is not None:
            self._end_run(self._run)
        self._run = run
        run.begin(self._batcher, self._number if self._is_numbered else None)

    def flush(self, now: float) -> None:
        """Send what is held for a batch."""
        if self._run is None:
            self._write(self._batcher.flush(now), now)
        elif block := self._run.flush(now):
            self._out.append(block)

    def wait_for_end(self, carried: Carried, now: float) -> None:
        """Keep a frame that may be the last one, so that the final metadata can ride on it."""
        self.flush(now)
        if sum(len(frame.head) + len(frame.body) for frame in self._last) > _MOST_WAITING:
            self.release(b"")
        self._last.append(carried)

    def release(self, metadata: bytes) -> bool:
        """Send the frames that waited for the end, *metadata* on the first; tell whether there were any."""
        waiting, self._last = self._last, []
        for carried in waiting:
            self._stats.sent_deltas += carried.count
            self._append(self._encoded(carried, metadata))
            metadata = b""
        return bool(waiting)

    def finish(self, finish: Finish, metadata: bytes) -> None:
        """Send the last events of a stream that ended well."""
        metadata = b"" if self.release(metadata) else metadata
        if self.format is not None:
            usage = self._stats.usage if self._stats.usage_source == "reported" else None
            self._append(self.format.finish(finish, usage, metadata))

    def fail(self, failure: Failure, metadata: bytes) -> bool:
        """Send the last events of a stream that failed; tell whether the format has words for it."""
        blocks = [] if self.format is None else self.format.fail(failure, metadata)
        self._append(blocks)
        return bool(blocks)

    def beat(self, *, has_content: bool) -> None:
        """Send a sign of life: the format's own, once clients expect events of it."""
        assert self.format is not None
        self._stats.heartbeats += 1
        self._out.append((self.format.noop if has_content else b"") or self.format.heartbeat)

    def raw(self, data: bytes) -> None:
        """Send bytes as they came."""
        self._out.append(data)

    def take(self) -> bytes:
        """Return what is to be written now: whole events, joined for one write."""
        out = b"".join(self._out)
        self.clear()
        if out:
            self._stats.bytes_out += len(out)
        return out

    def clear(self) -> None:
        """Drop what has not been taken."""
        self._out.clear()

    def _write(self, events: Iterable[Event | Carried], now: float) -> None:
        for event in events:
            match event:
                case Text() | Reasoning() | Refusal() | ToolCall():
                    self._stats.sent_deltas += event.count
                    self._append(self._encoded(event, self._running(now)))
                case Carried():
                    self._stats.sent_deltas += event.count
                    self._append(self._encoded(event, self._running(now) if event.count else b""))
                case _:
                    self._append(self._encoded(event, b""))

    def _end_run(self, run: Run) -> None:
        self._run = None
        run.end(self._batcher)

    def _encoded(self, event: Event | Carried, metadata: bytes) -> list[bytes]:
        return [] if self.format is None else self.format.encode(event, metadata)

    def _running(self, now: float) -> bytes:
        if not self._every_metadata:
            return b""
        first, self._first = self._first, False
        return self._stats.running(now, self._context.stream_id if first else None)

    def _append(self, blocks: list[bytes]) -> None:
        self._stats.events_out += len(blocks)
        if self._is_numbered:
            blocks = [self._number(block) for block in blocks]
        self._out += blocks

    @property
    def _is_numbered(self) -> bool:
        return self._numbered and self.format is not None and self.format.content_type == SSE

    def _number(self, block: bytes) -> bytes:
        self._blocks += 1
        if block.startswith(b"id: "):
            block = block[block.index(b"\n") + 1 :]  # the upstream's own: a client resumes here, not there
        return b"id: %b-%d\n%b" % (self._context.stream_id.encode(), self._blocks, block)
