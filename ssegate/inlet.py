"""
The upstream's side of one stream: asked once, read where its bytes arrive, held back, and always let go.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import ClientResponse

from ssegate import tap
from ssegate.upstream import Call, Upstreams, check_coding, read, refusal
from ssegate.wire.errors import UpstreamError
from ssegate.wire.events import Failure

__all__ = ["Inlet"]

_REUSE_SECONDS = 0.05
"""How long an upstream may take to end its body after its end mark, for its connection to be reused."""


class Inlet:
    """
    Asks one upstream for one stream.

    Attributes:
        response: The upstream's answer, once its head is here.
        is_opening: The task waits for that head.
        is_pulling: The task reads the body, because the tap did not fit.
    """

    def __init__(self, upstreams: Upstreams, call: Call) -> None:
        self.response: ClientResponse | None = None
        self.is_pulling = False
        self._upstreams = upstreams
        self._call: Call | None = call
        self._task: asyncio.Task[Any] | None = None
        self._is_interrupted = False

    @property
    def is_opening(self) -> bool:
        """The task waits for the head; ``interrupt`` wakes it."""
        return self._task is not None

    @property
    def content_type(self) -> str | None:
        """The answer's content type, as it came."""
        return None if self.response is None else self.response.headers.get("Content-Type")

    async def open(self) -> Failure | None:
        """Send the request and wait for a head; return what went wrong, None also after ``interrupt``."""
        self._task = asyncio.current_task()
        assert self._task is not None
        try:
            call, self._call = self._call, None  # a prompt may be large, and its answer long
            assert call is not None, "it is opened once"
            self.response = await self._upstreams.open(call)
            del call
            if not 200 <= self.response.status < 300:
                return await refusal(self.response)
            check_coding(self.response)
        except UpstreamError as error:
            return error.failure
        except asyncio.CancelledError:
            # Our own interruption is taken back; the client's leaving is not ours to swallow.
            if not self._is_interrupted or self._task.uncancel() > 0:
                raise
        finally:
            self._task = None
        return None

    def interrupt(self) -> None:
        """End the waiting in ``open``: the stream is over."""
        if self._task is not None and not self._is_interrupted:
            self._is_interrupted = True
            self._task.cancel()

    @property
    def line(self) -> tap.Line | None:
        """The connection that brings the body by itself."""
        return None if self.response is None else tap.line_of(self.response)

    async def flow(self, sink: tap.Sink, *, push: bool, may_read: Callable[[], Awaitable[bool]]) -> None:
        """
        Let the body run into *sink*: with *push* from now on by itself, else until it ends.

        Args:
            may_read: Waits until more may be read; false: nothing more is wanted.
        """
        assert self.response is not None
        if push and tap.attach(self.response, sink):
            return
        self.is_pulling = True
        try:
            while await may_read():
                if not await self._pull(self.response, sink):
                    return
        finally:
            self.is_pulling = False

    async def _pull(self, response: ClientResponse, sink: tap.Sink) -> bool:
        """Read once, the ordinary way; tell whether there may be more."""
        try:
            data = await read(response)
        except UpstreamError as error:
            if rest := tap.left_in(response.content):
                sink.on_data(rest)
            sink.on_error(error)
            return False
        if not data:
            sink.on_end()
            return False
        sink.on_data(data)
        # Reading returns at once while there is data: without this nobody else would have a turn.
        await asyncio.sleep(0)
        return True

    def pause(self) -> None:
        """Read no more for now."""
        if self.response is not None:
            tap.pause(self.response)

    def resume(self) -> None:
        """Read again."""
        if self.response is not None:
            tap.resume(self.response)

    def forget(self) -> None:
        """Have nothing more be said to the sink: the stream is over."""
        if self.response is not None:
            tap.forget(self.response)

    def release(self, *, is_complete: bool) -> None:
        """Close the connection; after a good end it may come back to the pool first."""
        if self.response is None or self.response.closed:
            return
        if is_complete:
            self._upstreams.end_within(_REUSE_SECONDS, self.response)
        else:
            self.response.close()
