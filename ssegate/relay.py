"""
Carries one stream between one upstream answer and one pipeline, with flow control both ways.

The upstream's bytes run through the pipeline in the callback that brings them, and out to the client in the
same turn of the loop. The stream's one task sleeps meanwhile; it is woken for the slow things only: to send
the head, to end the body, to pass on what turned out to be no stream. One timer a stream, moved lazily, does
what time demands. A second task lives in one case: the hold ends while the first waits for the upstream.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Any, ClassVar

from aiohttp.web import BaseRequest, StreamResponse
from multidict import CIMultiDict

from ssegate import passing, tap
from ssegate.alarm import Alarm, Soon
from ssegate.booking import Identity, row, stream_report
from ssegate.copying import Copy
from ssegate.inlet import Inlet
from ssegate.outlet import Outlet
from ssegate.pacing import Pacing
from ssegate.quota import Quota
from ssegate.report import StreamReport
from ssegate.upstream import Call, Upstreams, broken_body
from ssegate.wire.errors import UpstreamError
from ssegate.wire.events import Failure
from ssegate.wire.formats import HEADERS
from ssegate.wire.pipeline import Pipeline

__all__ = ["Relay", "Terms"]

_SAMPLED = 16
"""
Of so many reads one is timed, as taking the time costs half of what it measures; the second is the first:
before it the pipeline learns what the body is, once.
"""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Terms:
    """What the relay must know of the request besides the pipeline's settings. Seconds; None: off."""

    identity: Identity
    write_timeout: float | None
    idle_timeout: float | None
    errors_as_events: bool
    """A failure before the stream is told as a 200 with one error event."""

    forward_client: bool
    head: CIMultiDict[str]
    """Headers of ours that every answer carries (CORS, limits)."""


class Relay:
    """One stream on its way. Implements ``tap.Sink``, ``connection.Reader`` and ``streams.LiveStream``."""

    push: ClassVar[bool] = True
    """For all relays: False reads bodies the ordinary way, slower and just as correct."""

    def __init__(
        self,
        request: BaseRequest,
        terms: Terms,
        pipeline: Pipeline,
        upstreams: Upstreams,
        call: Call,
        soon: Soon,
        book: Callable[[StreamReport], None],
        quota: Quota | None = None,
    ) -> None:
        self._request, self._terms, self._pipeline = request, terms, pipeline
        self._book, self._quota = book, quota
        if quota is not None:
            quota.watch(lambda: pipeline.stats.total_usage().output_tokens or 0, self.end)
        loop = asyncio.get_running_loop()
        self._loop, self._now = loop, loop.time
        self._inlet, self._outlet = Inlet(upstreams, call), Outlet(request)
        self._fate: Failure | None = None
        self._is_booked = False
        self._write_by: float | None = None
        self._alarm = Alarm(self._on_time)
        self._pacing = Pacing(pipeline, soon, self._flush)
        self._waiter: asyncio.Future[None] | None = None
        self._commit: asyncio.Task[None] | None = None
        self._copy: Copy | None = None
        self._reads = self._sampled = 0
        self._busy = 0.0

    @property
    def stream_id(self) -> str:
        """The stream's id (``streams.LiveStream``)."""
        return self._terms.identity.stream_id

    @property
    def answer(self) -> StreamResponse | None:
        """What was sent to the client; None: nothing, and the caller must answer ``failure`` itself."""
        return self._outlet.answer

    @property
    def failure(self) -> Failure | None:
        """Why the stream failed, if it did."""
        return self._pipeline.failure

    @property
    def upstream_headers(self) -> CIMultiDict[str]:
        """What the client gets of the upstream's headers, in a stream and with an error before it."""
        return passing.stream_headers(self._inlet.response)

    def row(self) -> dict[str, Any]:
        """Return the stream as ``/-/streams`` shows it (``streams.LiveStream``)."""
        outlet = self._outlet
        state = "blocked" if outlet.paused else "streaming" if outlet.is_open else "waiting"
        return row(self._terms.identity, self._pipeline, state, self._now())

    # ---- the stream's task ---------------------------------------------------------------------

    async def run(self) -> None:
        """
        Carry the stream to its end.

        Afterwards either ``answer`` is set, or nothing has been sent and ``failure`` says why.

        Raises:
            asyncio.CancelledError: The client has gone; the upstream is closed and the outcome booked.
        """
        self._arm()
        try:
            await self._ask()
            await self._wait_for(lambda: self._is_over or self._pipeline.is_open or self._is_foreign)
            if self._is_foreign:
                await self._pass_on()
            elif self._pipeline.is_open or self._tells_failure():
                await self._send_stream()
        except (asyncio.CancelledError, ConnectionError):
            self._end_unheard(_gone())
            self._outlet.leave()
            raise
        except Exception as error:
            error.add_note(f"in the stream {self.stream_id}")
            self._end_unheard(Failure("internal", "the gate failed"))
            self._outlet.abort()
            raise
        finally:
            self._close()

    @property
    def _is_over(self) -> bool:
        return self._pipeline.outcome is not None

    @property
    def _is_foreign(self) -> bool:
        return self._pipeline.unclaimed is not None

    async def _ask(self) -> None:
        """Get the upstream's head and let its body flow; meanwhile time may end the hold or the stream."""
        failure = await self._inlet.open()
        if failure is not None:
            self._deliver(self._pipeline.fail(failure, self._now()))
        if self._is_over:
            return
        self._pipeline.begin(self._inlet.content_type)
        self._arm()
        if self._outlet.paused:
            self._inlet.pause()
        await self._inlet.flow(self, push=self.push, may_read=self._may_read)
        if not self._is_over:
            self._pacing.begin(self._inlet.line)

    async def _may_read(self) -> bool:
        await self._wait_for(lambda: not self._outlet.paused or self._is_over)
        return not (self._is_over or self._is_foreign)

    async def _send_stream(self) -> None:
        await self._send_head()
        await self._wait_for(lambda: self._is_over)
        # A client that has stopped reading gets no end, it gets its deadline.
        await self._wait_for(lambda: not self._outlet.paused or self._outlet.gone)
        self._report()
        is_untold = self._pipeline.failure is not None and not self._pipeline.is_told
        if is_untold or self._fate is not None:
            self._outlet.abort()
        else:
            await self._outlet.end()

    async def _send_head(self) -> None:
        """Send the head, once, whoever asks first."""
        if self._commit is not None and self._commit is not asyncio.current_task():
            await self._commit
        if not (self._outlet.is_open or self._outlet.gone):
            is_held = self._outlet.is_full
            await self._outlet.send_head(self._head())
            self._terms.head.clear()
            if is_held and not self._outlet.paused:
                self._inlet.resume()
            self._arm()

    def _head(self) -> CIMultiDict[str]:
        head = self.upstream_headers
        passing.lay_over(head, self._terms.head)
        form = self._pipeline.format
        theirs = self._inlet.content_type or "application/octet-stream"
        head["Content-Type"] = theirs if form is None else form.content_type
        head.extend({} if form is None else HEADERS.get(form.name, {}))
        head["Cache-Control"] = "no-cache, no-transform"
        head["X-Accel-Buffering"] = "no"
        head["X-Stream-ID"] = self.stream_id
        head.setdefault("X-Request-ID", self._terms.identity.request_id)
        return head

    def _tells_failure(self) -> bool:
        """Turn a failure inside the hold into an event, for clients that see no HTTP status."""
        if not self._terms.errors_as_events or self._outlet.gone:
            return False
        self._deliver(self._pipeline.tell(self._now()))
        return self._pipeline.is_open

    async def _pass_on(self) -> None:
        """Send a body that is none of ours to the client as it is."""
        response, outlet, terms = self._inlet.response, self._outlet, self._terms
        assert response is not None and self._pipeline.unclaimed is not None
        tap.detach(response)
        self._pacing.end()
        self._alarm.stop()
        self._inlet.resume()
        headers = passing.passed_headers(
            response, terms.head, forward_client=terms.forward_client, decoded=True
        )
        headers.setdefault("X-Request-ID", terms.identity.request_id)
        copy = self._copy = Copy(self._request, response, idle=terms.idle_timeout, write=terms.write_timeout)
        outlet.is_open = True
        outlet.answer = await passing.send_head(self._request, response.status, response.reason, headers)
        try:
            await copy.run(outlet.answer, self._pipeline.unclaimed)
        finally:
            self._pipeline.stats.bytes_out = copy.sent
            if copy.failure is not None:
                self._end_unheard(copy.failure)
        self._report()
        if copy.failure is None:
            await outlet.end()

    # ---- the upstream's side (tap.Sink) --------------------------------------------------------

    def on_data(self, data: bytes) -> None:
        """Bytes of the upstream's body: through the pipeline and out."""
        reads = self._reads = self._reads + 1
        began = perf_counter() if reads % _SAMPLED == 2 else None
        now, pacing = self._now(), self._pacing
        may_have_lain = pacing.unread_until is not None
        try:
            out = self._pipeline.gather(data, now) if may_have_lain else self._pipeline.feed(data, now)
        except Exception:
            out = self._failed_inside()
        if began is not None:
            self._busy += perf_counter() - began
            self._sampled += 1
        self._send(out)
        if pacing.joins:
            if may_have_lain or out:
                pacing.leave_unread(now)
            if not pacing.is_told:
                pacing.tell(now)
        if self._pipeline.finish is not None:
            self._arm()  # how long a finish is held; that can be taken back

    def _send(self, out: bytes) -> None:
        """Have *out* leave: straight on in the middle of a stream, with all that is to be done else."""
        outlet = self._outlet
        if self._pipeline.outcome is None and outlet.answer is not None:
            if out:
                outlet.write(out)
                if self._quota is not None:
                    self._quota.wrote(len(out))
            return
        if self._is_foreign:
            self._inlet.pause()
        self._deliver(out)

    def _flush(self, now: float) -> None:
        """A batch has been held for long enough."""
        try:
            out = self._pipeline.flush(now)
        except Exception:
            out = self._failed_inside()
        self._send(out)

    def on_end(self) -> None:
        """The upstream's body is complete."""
        try:
            out = self._pipeline.close(self._now())
        except Exception:
            out = self._failed_inside()
        self._deliver(out)

    def on_error(self, error: BaseException) -> None:
        """The upstream's body broke off."""
        failure = error.failure if isinstance(error, UpstreamError) else broken_body(error)
        self._deliver(self._pipeline.fail(failure, self._now()))

    def _failed_inside(self) -> bytes:
        """A fault of ours ends this stream and no other; inside a callback it must not go further."""
        _log.exception("stream %s failed inside the gate", self.stream_id)
        return self._pipeline.fail(Failure("internal", "the gate failed"), self._now())

    # ---- the client's side (connection.Reader) -------------------------------------------------

    def client_pauses(self) -> None:
        """The client's connection has taken more than it can send."""
        now = self._now()
        self._outlet.paused = True
        if self._is_foreign:
            if self._copy is not None:
                self._copy.client_pauses()
            return
        self._pipeline.pause(now)
        self._inlet.pause()
        if self._terms.write_timeout is not None:
            self._write_by = now + self._terms.write_timeout
            self._arm()

    def client_resumes(self) -> None:
        """The client reads again."""
        self._outlet.paused = False
        if self._is_foreign:
            if self._copy is not None:
                self._copy.client_resumes()
            return
        self._write_by = None
        self._pipeline.resume(self._now())
        self._inlet.resume()
        self._arm()
        self._wake()

    def client_left(self) -> None:
        """The client has gone but the stream is to be read to its end, for its usage."""
        if self._copy is not None:
            self._copy.end(_gone())  # of a foreign body no usage can be learnt
            return
        self._fate = _gone()
        self._outlet.leave()
        if self._outlet.paused:
            self.client_resumes()
        self._wake()

    def end(self, failure: Failure) -> None:
        """End the stream now and tell its reader (``streams.LiveStream``)."""
        self._deliver(self._pipeline.fail(failure, self._now()))
        if self._copy is not None:
            self._copy.end(failure)

    def _deliver(self, out: bytes) -> None:
        """Write *out*, and wake the task for what only it can do."""
        if self._is_over:
            self._outlet.keep(out)
            self._release()
            self._wake()
            return
        if out:
            self._outlet.write(out)
            if self._quota is not None:
                self._quota.wrote(len(out))
        if self._is_foreign or (self._pipeline.is_open and not self._outlet.is_open):
            self._wake()
            if self._outlet.is_full:
                self._inlet.pause()

    # ---- time ----------------------------------------------------------------------------------

    def _arm(self) -> None:
        """Have the alarm ring in time for the next deadline."""
        if not self._is_over:
            self._alarm.set(self._pipeline.deadline)
        self._alarm.set(self._write_by)

    def _on_time(self) -> None:
        now = self._now()
        if self._write_by is not None and now >= self._write_by:
            self._give_up_on_client()
            return
        self._pacing.read_due(now)
        self._deliver(self._tick(now))
        self._arm()

    def _tick(self, now: float) -> bytes:
        try:
            return self._pipeline.tick(now)
        except Exception:
            return self._failed_inside()

    def _give_up_on_client(self) -> None:
        """The client has read nothing for too long; there is no room left to tell it so."""
        seconds = self._terms.write_timeout
        self._end_unheard(Failure("slow_client", f"the client read nothing for {seconds:g} s"))
        self._write_by = None
        self._release()
        self._report()
        self._outlet.paused = False
        self._outlet.abort()
        self._wake()

    def _wake(self) -> None:
        """Have the task look again, wherever it waits."""
        if self._waiter is not None:
            if not self._waiter.done():
                self._waiter.set_result(None)
        elif self._is_over:
            self._inlet.interrupt()
        elif self._needs_commit:
            self._commit = self._loop.create_task(self._send_head())

    @property
    def _needs_commit(self) -> bool:
        """The head is due while the task waits for the upstream and cannot send it."""
        is_due = self._pipeline.is_open and not (self._outlet.is_open or self._outlet.gone)
        return is_due and self._commit is None and (self._inlet.is_opening or self._inlet.is_pulling)

    async def _wait_for(self, done: Callable[[], bool]) -> None:
        while not done():
            self._waiter = self._loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None

    # ---- the end -------------------------------------------------------------------------------

    def _end_unheard(self, failure: Failure) -> None:
        """
        Fail the stream where nobody is left to tell, unless it has failed already.

        An answer that is complete but has not all been handed over has failed its client too.
        """
        if self._fate is None and self._pipeline.failure is None:
            self._fate = failure
            self._pipeline.fail(failure, self._now())

    def _release(self) -> None:
        self._pacing.end()  # before its body ends, which is five bytes
        self._inlet.release(is_complete=self._pipeline.outcome == "completed")

    def _close(self) -> None:
        """Give everything back; the outcome is booked if it is not yet."""
        # A circle is left to the garbage collector, which took a sixth of all work where streams are short.
        self._alarm.forget()
        self._inlet.forget()
        if self._commit is not None:
            self._commit.cancel()
        self._release()
        self._report()

    def _report(self) -> None:
        """Book the one outcome; metrics and log line are made here and nowhere else."""
        if self._is_booked:
            return
        self._is_booked = True
        outlet = self._outlet
        status = 200 if outlet.answer is None else outlet.answer.status
        report = stream_report(
            self._terms.identity,
            self._pipeline,
            failure=self._fate or self._pipeline.failure,
            status=status if outlet.is_open else None,
            upstream=self._inlet.response,
            overhead=self._busy / self._sampled if self._sampled else None,
            now=self._now(),
        )
        self._book(report)


def _gone() -> Failure:
    return Failure("client_gone", "the client closed the connection")
