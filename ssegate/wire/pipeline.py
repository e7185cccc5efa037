"""
One stream: upstream bytes in, client bytes out, told the time, ending in exactly one outcome.

    bytes ─► framer ─► frame ─► dialect ─► events ─► mender ─► outflow (batcher, format) ─► bytes
                                   └─ a frame of the client's own dialect ─► carried ─┘

States, each a step to the next:

    held        output is kept back; a failure now is still a real HTTP status (``is_open`` is False)
    open        output flows
    finishing   every choice has finished; late usage is awaited for ``FINISH_HOLD``
    ended       ``outcome`` is set; nothing comes out any more

``feed``, ``tick``, ``close`` and ``fail`` return what is to be written now and never raise for anything a
peer can do. What had arrived before a fault leaves before the fault is told.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Set
from dataclasses import replace

from ssegate.wire.batching import AdaptivePace, Pace
from ssegate.wire.clocks import Clocks
from ssegate.wire.description import Description
from ssegate.wire.errors import CODES, NotAStream, Outcome, WireError, classified, redact
from ssegate.wire.events import (
    EMPTY,
    Carried,
    Citation,
    End,
    Event,
    Failure,
    Finish,
    Frame,
    Progress,
    Reasoning,
    Refusal,
    Start,
    Text,
    ToolCall,
    Usage,
)
from ssegate.wire.formats import CARRYING, OF_OWN_DIALECT, SPEAKS_FIRST, make
from ssegate.wire.learning import Learner
from ssegate.wire.mending import Mender
from ssegate.wire.outflow import Outflow
from ssegate.wire.recognition import Recognised, Recogniser
from ssegate.wire.runs import Run
from ssegate.wire.seams import Context, Dialect, Format, Framer
from ssegate.wire.settings import Settings
from ssegate.wire.stats import Price, Stats

__all__ = ["FINISH_HOLD", "Pipeline", "Settings"]

FINISH_HOLD = 2.0
"""Seconds that a finish waits for usage that comes after it."""

_MAX_HELD = 128 << 10
"""Bytes of events without content (pings, role-only chunks) that the hold keeps; more of them end it."""

_MOST_CHOICES = 1024
"""Choices that are told apart, where no more were asked for: each costs memory as long as the stream runs."""

_LOST = frozenset({"upstream_truncated", "upstream_disconnected", "upstream_protocol"})
"""Failures of the connection: harmless once the answer is complete."""

_NEVER = float("inf")

_BATCHES = 3
"""Batches of several deltas that must have left, for what comes to lie unread until there is another."""

_LULLS = 4
"""Delays that the idle clock must outlast for that, as it runs meanwhile."""

_MUCH = 4 << 10
"""Bytes of which it pays to find a run among them: that takes as long as to read some ten frames without."""

_SLICE, _LARGEST_SLICE = 1 << 10, 64 << 10
"""Bytes of much data that are read in one go: the first, and the most."""

_ENDS = (b"\n\n", b"\r\n\r\n", b"\n")
"""How frames end in nearly all framings."""

_LARGE = 16 << 10
"""Bytes of an event that is no token: nothing is gained by having it wait for others, or by its pattern."""


class Pipeline:
    """
    Carries one stream through framing, dialect, batching and format.

    Attributes:
        outcome: How the stream ended; None while it runs.
        failure: Why, if it failed.
        finish: Why choice 0 ended, as far as the upstream said.
        is_open: The response's head may be sent: content, a finish or the end of the hold has come.
        is_told: The failure has been written in the client's format; else only a cut can tell it.
        unclaimed: The bytes so far, when the body turned out to be none of ours and is to be passed on
            untouched; None otherwise.
    """

    __slots__ = (  # as a dictionary they would take 1.3 KiB more
        "_begun_choices",
        "_carries",
        "_characters",
        "_cited_choices",
        "_clocks",
        "_context",
        "_dialect",
        "_finish_until",
        "_finished_choices",
        "_framer",
        "_has_begun",
        "_has_content",
        "_has_ended",
        "_hold_until",
        "_is_paused",
        "_is_raw",
        "_learner",
        "_mender",
        "_outflow",
        "_recogniser",
        "_refusal",
        "_run",
        "_settings",
        "_stats",
        "_written_at",
        "failure",
        "finish",
        "is_open",
        "is_told",
        "outcome",
        "unclaimed",
    )

    def __init__(self, settings: Settings, context: Context, started_at: float) -> None:
        self.outcome: Outcome | None = None
        self.failure: Failure | None = None
        self.finish: Finish | None = None
        self.is_open = False
        self.is_told = False
        self.unclaimed: bytes | None = None
        self._stats = Stats(started_at)
        self._settings, self._context = settings, context
        self._is_raw = settings.output == "raw"
        self._recogniser: Recogniser | None = None
        self._framer: Framer | None = None
        self._dialect: Dialect | None = None
        self._carries = False
        self._refusal: Failure | None = None  # of a dialect that the output has no words for
        self._mender = Mender(context.stream_id)
        every_metadata = settings.metadata == "every"
        self._outflow = Outflow(
            context,
            self._stats,
            _pace(settings),
            every_metadata=every_metadata,
            numbered=settings.numbered,
        )
        self._run: Run | None = None
        self._learner = Learner(self._stats, has_metadata=every_metadata, max_event=settings.max_event)
        if settings.output not in ("same", "raw"):
            self._outflow.format = make(settings.output, settings.dialect, context)
        self._clocks = Clocks(
            started_at, first_token=settings.first_token, idle=settings.idle, total=settings.total
        )
        self._hold_until = started_at + settings.hold
        self._written_at = started_at
        self._is_paused = False
        self._characters: defaultdict[int, int] = defaultdict(int)  # of text, by choice
        self._begun_choices: set[int] = set()
        self._finished_choices = self._cited_choices = EMPTY
        self._finish_until: float | None = None
        self._has_begun = False
        self._has_ended = False
        self._has_content = False

    # ---- what the shell calls ------------------------------------------------------------------

    @property
    def format(self) -> Format | None:
        """What writes the client's bytes; None for raw, and while the upstream's dialect must decide it."""
        return self._outflow.format

    def begin(self, content_type: str | None) -> None:
        """The upstream has answered 2xx with a body of *content_type*."""
        self._has_begun = True
        self._recogniser = Recogniser(self._settings.dialect, content_type, self._settings.max_event)

    def feed(self, data: bytes, now: float) -> bytes:
        """Take bytes of the upstream's body; return bytes for the client."""
        run = self._run
        if run is not None and (out := run.feed(data, now)) is not None:
            if out:
                self._written_at = now
                self._stats.bytes_out += len(out)
            return out
        if len(data) > _MUCH and not self._is_raw:
            return self._feed_sliced(data, now)
        return self._feed_ordinary(data, now)

    def _feed_sliced(self, data: bytes, now: float) -> bytes:
        """
        Take much data in slices, behind frames if it can be, as if the network had cut it so.

        They grow, so that a run is found behind the first of them. One with which a run does not go on is cut
        again, and later ones stay smaller: what is no part of a run has little read with it the ordinary way,
        and more and more where that happens again and again.
        """
        out, at, size, most, odd = [], 0, _SLICE, _LARGEST_SLICE, _SLICE
        while at < len(data):
            part, run = _slice(data, at, size), self._run
            carried = None if run is None else run.feed(part, now)
            if carried is not None:
                out.append(self._left(carried, now))
                odd = _SLICE
            elif run is not None and len(part) > _SLICE:
                size, most = _SLICE, max(_SLICE, len(part) // 2)
                continue
            else:
                if run is not None:
                    part, odd = _slice(data, at, odd), min(2 * odd, _LARGEST_SLICE)
                out.append(self._feed_ordinary(part, now))
            at += len(part)
            size = min(2 * size, most)
        return b"".join(out)

    def _feed_ordinary(self, data: bytes, now: float) -> bytes:
        """Take *data*, with which no run goes on."""
        if self.outcome is not None:
            return b""
        if self.unclaimed is not None:
            self.unclaimed += data
            return b""
        self._settle()
        self._stats.bytes_in += len(data)
        if self._is_raw:
            self._outflow.raw(data)
        self._read_frames(data if self._run is None else self._run.take_rest() + data, now)
        if self._stats.bytes_in > self._settings.max_stream and not self._is_over:
            limit = self._settings.max_stream
            self._fail(Failure("stream_too_large", f"the upstream sent more than {limit} bytes"), now)
        return self._take(now)

    def _left(self, out: bytes, now: float) -> bytes:
        """Note that *out* leaves of the run; return it."""
        if out:
            self._written_at = now
            self._stats.bytes_out += len(out)
        return out

    def close(self, now: float) -> bytes:
        """The upstream's body has ended cleanly, as far as the transport can tell."""
        self._settle()
        if self._run is not None:
            self._read(self._run.take_rest(), now)
        if not self._is_over:
            self._read(b"", now, at_end=True)
        if not self._is_over:
            assert self._dialect is not None and self._framer is not None
            if self._framer.has_ended is not False:
                self._take_events(self._dialect.close(), now)
            if self.outcome is None:
                self._end(now)
        return self._take(now)

    def fail(self, failure: Failure, now: float) -> bytes:
        """The stream has failed outside the wire: the connection broke, a timer or an operator ended it."""
        self._settle()
        if self.outcome is None:
            if failure.code in _LOST and self._is_complete:
                self._complete(now)
            else:
                self._fail(failure, now)
        return self._take(now)

    def tick(self, now: float) -> bytes:
        """Do what is due: a held batch, a held finish, the end of the hold, a heartbeat, a timeout."""
        if self._is_over:
            return b""
        self._settle()
        if now >= self._opens_at:
            self._open_early()
        batch_until = self._outflow.deadline
        failure = self._clocks.expired(now)
        if self._finish_until is not None and (failure is not None or now >= self._finish_until):
            self._complete(now)  # a clock that runs out now finds the answer complete
        elif failure is not None:
            self._fail(failure, now)
        elif batch_until is not None and now >= batch_until:
            self._outflow.flush(now)
        elif now >= self._heartbeat_at:
            self._outflow.beat(has_content=self._has_content)
        return self._take(now)

    def flush(self, now: float) -> bytes:
        """Send the batch that is held: its time has come (``near_deadline``)."""
        run = self._run
        if run is None:
            return self.tick(now)
        return self._left(run.flush(now), now)

    def gather(self, data: bytes, now: float) -> bytes:
        """As ``feed``, for bytes that have lain unread as ``patience`` allowed."""
        run = self._run
        if run is None:
            return self.feed(data, now)
        out = run.gather(data, now)
        if out is None:
            out = self.feed(data, now)
            return out if self._is_over else out + self.flush(now)  # none of it has to wait once more
        return self._left(out, now)

    @property
    def may_join(self) -> bool:
        """Deltas may wait for others, to leave with them."""
        return self._settings.batch_size > 1

    def patience(self, now: float, overhead: int = 0) -> tuple[int, float] | None:
        """
        Return for how many bytes, and until when, nothing need be read; None: each is read as it comes.

        Args:
            overhead: Bytes that come with each frame and are none of it, as the system counts them too.
        """
        run = self._run
        if run is None or run.joined < _BATCHES:
            return None
        idle, delay = self._settings.idle, self._settings.batch_delay
        is_risky = idle is not None and delay is not None and idle < _LULLS * delay
        return None if is_risky else run.patience(now, overhead)

    def tell(self, now: float) -> bytes:
        """Return a failure that came inside the hold as events, for a client that sees no HTTP status."""
        if self.failure is not None and not self.is_open and self.format is not None:
            self.is_open = True
            self._tell(now)
        return self._take(now)

    def pause(self, now: float) -> None:
        """The client does not read fast enough, the upstream is no longer read."""
        self._settle()
        self._is_paused = True
        self._clocks.pause(now)

    def resume(self, now: float) -> None:
        """The client reads again, and so do we."""
        self._is_paused = False
        self._written_at = now
        self._clocks.resume(now)

    @property
    def deadline(self) -> float | None:
        """The moment by which ``tick`` must be called; None: never."""
        if self._is_over:
            return None
        self._settle()
        due = min(
            _or_never(self._clocks.deadline),
            _or_never(self._outflow.deadline),
            _or_never(self._finish_until),
            self._opens_at,
            self._heartbeat_at,
        )
        return None if due == _NEVER else due

    @property
    def near_deadline(self) -> float | None:
        """The part of ``deadline`` that each read can bring nearer: that of a held batch."""
        run = self._run
        if run is not None:
            return run.deadline
        return None if self._is_over else self._outflow.deadline

    @property
    def stats(self) -> Stats:
        """The stream's counters."""
        self._settle()
        return self._stats

    @property
    def model(self) -> str | None:
        """The model: what the upstream says it is, else the one that was asked for."""
        return self._stats.model or self._settings.model

    @property
    def price(self) -> Price | None:
        """What the stream's model costs, if that is known."""
        return self._settings.price_of(self.model)

    # ---- runs ----------------------------------------------------------------------------------

    def _read_frames(self, data: bytes, now: float) -> None:
        """Read *data* the ordinary way, but for the beginning of a frame with which a run may go on."""
        end = self._learner.split(data, self._framer)
        self._read(data[:end], now)
        self._go_on(data[:end])
        rest = data[end:]
        if rest and not self._is_over and (self._run is None or not self._run.keep(rest)):
            self._read(rest, now)
            self._go_on(rest)

    def _go_on(self, data: bytes) -> None:
        """Find the run that *data*, just read, was part of, if nothing is under way that it must not skip."""
        form = self.format
        self._run = None
        if self._framer is None or self._dialect is None or form is None or self._is_over:
            return
        if self._finished_choices or self._mender.is_waiting:
            return
        self._run = self._learner.learn(data, self._framer, self._dialect, form)
        if self._run is not None:
            self._run.room = self._settings.max_stream - self._stats.bytes_in
            self._outflow.go_on_with(self._run)

    def _settle(self) -> None:
        """Book what a run has carried, which it does not do for each frame."""
        run = self._run
        if run is None or not run.settle():
            return
        self._clocks.content(run.content_at)
        if isinstance(run.event, Text):
            self._characters[run.event.choice] += run.characters
        run.characters = 0

    # ---- reading -------------------------------------------------------------------------------

    def _read(self, data: bytes, now: float, *, at_end: bool = False) -> None:
        try:
            if self._framer is None:
                self._recognise(data, now, at_end)
                return
            for frame in self._framer.close() if at_end else self._framer.feed(data):
                self._take_frame(frame, now)
                if self.outcome is not None:
                    return
        except WireError as fault:
            self._stats.malformed += fault.code == "upstream_bad_event"
            self._fail(Failure(fault.code, str(fault)), now)

    def _recognise(self, data: bytes, now: float, at_end: bool) -> None:
        recogniser = self._recogniser
        assert recogniser is not None, "begin() comes before feed()"
        try:
            found = recogniser.feed(data, at_end=at_end)
        except NotAStream as verdict:
            self._reject(verdict, recogniser, now)
            return
        if found is None:
            return
        self._bind(found)
        for frame in found.frames:
            self._take_frame(frame, now)
            if self.outcome is not None:
                return
        if found.fault is not None:
            raise found.fault
        if at_end and recogniser.head and not (self._has_content or self._finished_choices):
            # JSON that a named dialect could not use; events are never passed on.
            self._reject(recogniser.stranger(), recogniser, now)

    def _bind(self, found: Recognised) -> None:
        self._recogniser = None  # its work is done; the bytes that it gathered need not live on
        self._framer, self._dialect = found.framer, found.dialect
        name, output = found.dialect.name, self._settings.output
        if output == "same" and self._outflow.format is None:
            said = self._settings.dialect
            spoken = said if isinstance(said, Description) else name
            self._outflow.format = make("same", spoken, self._context, found.framing)
        elif output == "same" and name != self._settings.expected:
            message = f"the upstream answered in the {name} dialect, asked in {self._settings.expected}'s"
            self._refusal = Failure("upstream_content_type", message)
        self._carries = self._refusal is None and (
            output == "same" or (output == name and output in CARRYING)
        )
        self._dialect.carries = self._carries
        if output in OF_OWN_DIALECT and output != name:
            message = f"the upstream answered in the {name} dialect, the output {output} needs its own"
            self._refusal = Failure("upstream_content_type", message)

    def _reject(self, verdict: NotAStream, recogniser: Recogniser, now: float) -> None:
        if verdict.code or self.is_open:
            failure = Failure(verdict.code or "upstream_content_type", str(verdict))
            if failure.code == "upstream_content_type":
                failure.seen = recogniser.sample
            self._fail(failure, now)
        else:
            self.unclaimed = bytes(recogniser.head)
            self._outflow.clear()

    def _take_frame(self, frame: Frame, now: float) -> None:
        assert self._dialect is not None
        self._stats.events_in += 1
        try:
            events = self._dialect.decode(frame)
        except WireError:
            if frame.irregular != "unfinished":
                raise
            self._end(now)  # the cut went through this very frame
            return
        if self._refusal is not None:  # the upstream's own error says more
            events = [next((event for event in events if isinstance(event, Failure)), self._refusal)]
        carried = self._dialect.carry(frame) if self._carries else None
        is_large = len(frame.data) > _LARGE
        self._learner.note([] if is_large else events, carried)
        if carried is None:
            self._take_events(events, now)
        else:
            self._account(events, now)
            self._carry(carried, now)
            self._conclude(events, now)
        if is_large and self.outcome is None:
            self._outflow.flush(now)

    def _take_events(self, events: list[Event], now: float) -> None:
        events = self._mender.mend(events)
        self._account(events, now)
        for event in events:
            match event:
                case Usage() | Failure() | End() | Progress():
                    pass
                case Finish() if event.choice == 0:
                    self._outflow.flush(now)
                case Text():
                    self._characters[event.choice] += len(event.text)
                    self._outflow.add(event, now)
                case Citation():
                    self._outflow.add(replace(event, place=self._characters.get(event.choice, 0)), now)
                case _:
                    self._outflow.add(event, now)
        self._conclude(events, now)

    def _carry(self, carried: Carried, now: float) -> None:
        if carried.usage_only and not self._context.wants_usage:
            return
        if carried.last and (self._finished_choices or not carried.count):
            self._outflow.wait_for_end(carried, now)
        else:
            self._outflow.add(carried, now)

    def _account(self, events: list[Event], now: float) -> None:
        for event in events:
            match event:
                case Text() | Reasoning() | Refusal() | ToolCall():
                    if event.choice not in self._begun_choices:
                        self._begin_choice(event.choice)
                    if event.count:
                        self._stats.delta(event, now)
                    self._content(now)
                case Start():
                    self._stats.start(event)
                case Usage():
                    self._stats.report(event)
                case Finish():
                    self._note_finish(event, now)
                case Citation():
                    self._cited_choices |= {event.choice}
                    self._check_choices(self._cited_choices)
                    self._content(now)
                case Progress():
                    self._clocks.progress(now)

    def _begin_choice(self, choice: int) -> None:
        self._begun_choices.add(choice)
        self._check_choices(self._begun_choices)

    def _check_choices(self, choices: Set[int]) -> None:
        most = max(_MOST_CHOICES, self._settings.choices)
        if len(choices) > most:
            raise WireError(f"the upstream sent more than {most} choices")

    def _content(self, now: float) -> None:
        self._has_content = self.is_open = True
        self._clocks.content(now)
        if self._finish_until is not None:
            self._finish_until = now + FINISH_HOLD  # some say with every chunk that they have stopped

    def _note_finish(self, finish: Finish, now: float) -> None:
        self.is_open = True
        self._finished_choices |= {finish.choice}
        self._check_choices(self._finished_choices)
        if self.finish is None or finish.choice == 0:
            self.finish = finish
        if self._is_complete and len(self._finished_choices) >= self._settings.choices:
            self._finish_until = now + FINISH_HOLD

    def _conclude(self, events: list[Event], now: float) -> None:
        """Act on what ends a stream, once all that came with it has been written."""
        for event in events:
            if isinstance(event, Failure):
                self._fail(event, now)
                return
            if isinstance(event, End):
                self._ended(now)
                return

    def _ended(self, now: float) -> None:
        """The end mark has come."""
        self._has_ended = True
        if self._is_raw:
            self._finish_until = now + FINISH_HOLD  # the last bytes of the body may be on their way
        else:
            self._complete(now)

    # ---- writing -------------------------------------------------------------------------------

    def _take(self, now: float) -> bytes:
        if not self.is_open:
            if self._outflow.waiting_bytes <= _MAX_HELD:
                return b""
            self.is_open = True  # a flood of events without content is not kept for the end of the hold
        if out := self._outflow.take():
            self._written_at = now
        return out

    @property
    def _opens_at(self) -> float:
        """When the hold ends; without a format of ours the head waits for the upstream's content type."""
        is_known = self.format is not None or self._has_begun or self._expected is not None
        return self._hold_until if is_known and not self.is_open else _NEVER

    @property
    def _expected(self) -> str | None:
        """The dialect that may speak before the upstream has said in which it does."""
        expected = self._settings.expected
        may_be = self._recogniser is None or self._recogniser.may_be_events
        return expected if expected in SPEAKS_FIRST and may_be else None

    def _open_early(self) -> None:
        """The hold has ended and nothing is to be told yet; only a body begun gives a sign of life."""
        self.is_open = True
        if self.format is None and self._settings.output == "same" and self._expected is not None:
            self._outflow.format = make("same", self._expected, self._context)

    @property
    def _heartbeat_at(self) -> float:
        form = self.format
        if not self.is_open or self._is_paused or form is None or not form.heartbeat:
            return _NEVER
        return _NEVER if self._settings.heartbeat is None else self._written_at + self._settings.heartbeat

    # ---- ending --------------------------------------------------------------------------------

    @property
    def _is_over(self) -> bool:
        """There is nothing left to do: the stream has ended, or the body is somebody else's to pass on."""
        return self.outcome is not None or self.unclaimed is not None

    @property
    def _is_complete(self) -> bool:
        """The end mark was seen, or every choice that has begun has finished."""
        if self._has_ended:
            return True
        return bool(self._finished_choices) and self._begun_choices <= self._finished_choices

    def _end(self, now: float) -> None:
        """The body is over: complete if the dialect's own mark was seen, else cut off."""
        if self._is_complete:
            self._complete(now)
        else:
            self._fail(Failure("upstream_truncated", "the upstream's stream ended before its finish"), now)

    def _complete(self, now: float) -> None:
        self.is_open = True
        self._run = None
        self._flush_all(now)
        self.outcome = "completed"
        self.finish = self.finish or Finish("other")
        self._outflow.finish(self.finish, self._final(now))

    def _fail(self, failure: Failure, now: float) -> None:
        self._run = self._recogniser = None
        self._flush_all(now)
        self._outflow.release(b"")
        redact(failure, self._settings.secrets)
        self.failure = classified(failure, own_credential=self._settings.own_credential)
        self.outcome = CODES[self.failure.code].outcome or "internal"
        if self.is_open:
            self._tell(now)

    def _tell(self, now: float) -> None:
        assert self.failure is not None
        self.is_told = self._outflow.fail(self.failure, self._final(now))

    def _flush_all(self, now: float) -> None:
        """Nothing that had arrived is lost: what waits in mender and batcher leaves."""
        for event in self._mender.close():
            self._outflow.add(event, now)
        self._outflow.flush(now)

    def _final(self, now: float) -> bytes:
        if self._settings.metadata == "off":
            return b""
        return self._stats.final(now, self._context.stream_id, self.price, self.model)


def _pace(settings: Settings) -> Pace:
    if settings.batch_delay is None:
        return Pace(1, 0.0)
    if settings.load is None:
        return Pace(settings.batch_size, settings.batch_delay)
    return AdaptivePace(settings.batch_size, settings.batch_delay, settings.load)


def _slice(data: bytes, at: int, size: int) -> bytes:
    """Return *size* bytes of *data*, or as many of them as are whole frames."""
    part = data[at : at + size]
    return part[: _last_end(part)] if at + size < len(data) else part


def _last_end(data: bytes) -> int:
    """Return where the last whole frame of *data* ends; its length, if that cannot be told."""
    for mark in _ENDS:
        if (found := data.rfind(mark)) >= 0:
            return found + len(mark)
    return len(data)


def _or_never(moment: float | None) -> float:
    return _NEVER if moment is None else moment
