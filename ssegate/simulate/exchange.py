"""
One request being answered: paced writing, and the ways to misbehave that need the bare socket.

Cancelling it is how a client's leaving is told; nothing here catches that.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Iterable, Iterator
from typing import NoReturn

import msgspec
from aiohttp import web

from ssegate.simulate.answer import Answer, Endpoint, Step
from ssegate.simulate.behaviour import Behaviour
from ssegate.simulate.problems import Problem
from ssegate.simulate.replay import Cutter, body_of, replayed, type_of

__all__ = ["Exchange"]

_BREATH = 16
"""Unpaced tokens between two looks at the rest of the world."""

_JSON_BLOCK = 64
"""Bytes of a JSON document that count as one token, for faults inside one."""


class Exchange:
    """What a fault, or a healthy answer, can do with one request."""

    def __init__(
        self, request: web.Request, behaviour: Behaviour, endpoint: Endpoint, answer: Answer
    ) -> None:
        self.behaviour = behaviour
        self.endpoint = endpoint
        self.answer = answer
        self.response: web.StreamResponse = web.StreamResponse()
        self._request = request
        self._loop = asyncio.get_running_loop()
        self._tokens = 0
        recut = behaviour.recut
        on = recut is not None and recut is not False
        self._cutter = Cutter(behaviour.seed if recut is True else int(recut or 0)) if on else None
        # A document has its whole generation before its first byte, a stream between its bytes.
        speaking = answer.output_tokens / behaviour.rate if behaviour.rate and not self.is_stream else 0.0
        self._first_at = self._loop.time() + behaviour.first_token_delay + speaking
        self._period = 1 / behaviour.rate if behaviour.rate and self.is_stream else 0.0

    @property
    def is_stream(self) -> bool:
        """Events go out one by one: a stream was asked for, or a recording is replayed."""
        return self.answer.ask.stream or self.behaviour.replay is not None

    @property
    def content_type(self) -> str:
        """Of a body in good order."""
        recording = self.behaviour.replay
        if recording is not None:
            return self.behaviour.replay_type or type_of(recording)
        return self.endpoint.content_type if self.is_stream else "application/json"

    # What is said

    def steps(self) -> Iterator[Step]:
        """Return the body in good order, event by event; a document in blocks of 64 bytes."""
        if self.behaviour.replay is not None:
            return replayed(body_of(self.behaviour.replay), self.content_type)
        if self.is_stream:
            return self.endpoint.steps(self.answer)
        body = self.document()
        return (Step("token", body[i : i + _JSON_BLOCK]) for i in range(0, len(body), _JSON_BLOCK))

    def document(self) -> bytes:
        """Return the complete answer as one JSON document."""
        return msgspec.json.encode(self.endpoint.whole(self.answer))

    # How it is said

    async def begin(self, **headers: str) -> None:
        """Send the head of a 200. Names of *headers* are written with ``_`` for ``-``."""
        head = {
            "Content-Type": self.content_type,
            "Cache-Control": "no-cache",
            **self.endpoint.headers(self.answer),
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        self.response = web.StreamResponse(headers=head)
        await self.response.prepare(self._request)

    async def play(self, steps: Iterable[Step]) -> None:
        """Write *steps*, each token when its time has come, all else at once."""
        for kind, data in steps:
            if kind == "token":
                await self.due()
            await self.write(data)

    async def due(self) -> None:
        """
        Wait for the next token's time.

        Times are counted from the first one, so that a late wake-up delays one token and not all that follow.
        """
        wait = self._first_at + self._tokens * self._period - self._loop.time()
        self._tokens += 1
        if wait > 0:
            await asyncio.sleep(wait)
        elif self._tokens % _BREATH == 0:
            await asyncio.sleep(0)

    async def write(self, data: bytes) -> None:
        """Write body bytes; cut anew if the behaviour says so."""
        if self._cutter is None:
            await self.response.write(data)
            return
        for piece in self._cutter.feed(data):
            await self.response.write(piece)
            await asyncio.sleep(self._cutter.pause())

    async def end(self) -> None:
        """End the body as HTTP wants it ended."""
        await self._write_rest()
        await self.response.write_eof()

    async def reply(self, status: int, body: bytes, content_type: str, **headers: str) -> None:
        """Answer with one whole body, its length announced."""
        head = {name.replace("_", "-"): value for name, value in headers.items()}
        self.response = web.Response(
            status=status,
            body=body,
            headers={"Content-Type": content_type, **self.endpoint.headers(self.answer), **head},
        )
        await self.response.prepare(self._request)
        await self.response.write_eof()

    async def problem(self, problem: Problem, **headers: str) -> None:
        """Answer with an error in the vendor's own words."""
        await self.reply(problem.status, self.endpoint.error(problem), "application/json", **headers)

    # How it goes wrong

    async def hold(self) -> NoReturn:
        """Say nothing more until the client leaves."""
        await self._write_rest()
        await self._loop.create_future()
        raise AssertionError("nobody sets that future")

    async def hang_up(self) -> None:
        """Close the connection in the middle of the body (FIN)."""
        await self._write_rest()
        if (transport := self._request.transport) is not None:
            transport.close()

    async def reset(self) -> None:
        """Break the connection (RST), once what was written before has left."""
        await self._write_rest()
        transport = self._request.transport
        if transport is None:
            return
        while transport.get_write_buffer_size():
            await asyncio.sleep(0.005)
        # Closing with a linger time of 0 is how a socket is told to send RST instead of FIN: socket(7).
        linger = struct.pack("ii", 1, 0)
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        transport.abort()

    async def write_raw(self, data: bytes) -> None:
        """Write bytes past HTTP: no chunk framing, no head."""
        await self._write_rest()
        if (transport := self._request.transport) is not None:
            transport.write(data)

    async def _write_rest(self) -> None:
        if self._cutter is not None and (rest := self._cutter.rest()):
            await self.response.write(rest)
