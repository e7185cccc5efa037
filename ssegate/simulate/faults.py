"""
The faults the simulated upstream can commit: one function each, one table.

A fault's docstring is what users read of it. Faults that strike in mid-stream let ``fault_after`` tokens pass
first. Where a document was asked for instead of a stream, 64 bytes of it count as a token.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Awaitable, Callable, Iterator
from itertools import islice, takewhile
from typing import TYPE_CHECKING

from ssegate.simulate.answer import Kind, Step
from ssegate.simulate.problems import PROBLEMS

if TYPE_CHECKING:
    from ssegate.simulate.exchange import Exchange

__all__ = ["FAULTS", "Fault", "healthy"]

Fault = Callable[["Exchange"], Awaitable[None]]

_BLANKS = b" " * 65_536
_PING_PERIOD = 0.05
_HTML = b"<!doctype html>\n<html><head><title>%b</title></head>\n<body><h1>%b</h1></body></html>\n"


async def healthy(x: Exchange) -> None:
    """No fault: the stream or the document that was asked for."""
    if not x.is_stream:
        await x.due()
        await x.reply(200, x.document(), x.content_type)
        return
    await x.begin()
    await x.play(x.steps())
    await x.end()


# Before any byte


async def refuse(x: Exchange) -> None:
    """Reset before any byte; a simulator started with this fault refuses connections altogether."""
    await x.reset()


async def close(x: Exchange) -> None:
    """Close the connection before any byte."""
    await x.hang_up()


async def silence(x: Exchange) -> None:
    """Accept the request and never answer."""
    await x.hold()


async def garbage(x: Exchange) -> None:
    """Bytes that are no HTTP, then close."""
    await x.write_raw(b"SSH-2.0-not_an_http_server\r\n\x00\xff\xfe\r\n")
    await x.hang_up()


# The wrong answer


def _status(status: int, says: str, *, retry: bool = False) -> Fault:
    async def fault(x: Exchange) -> None:
        headers = {"Retry_After": str(x.behaviour.retry_after)} if retry else {}
        await x.problem(PROBLEMS[status], **headers)

    fault.__doc__ = says
    return fault


async def html_500(x: Exchange) -> None:
    """500 with an HTML page, as proxies send it."""
    await x.reply(500, _HTML % ((b"500 Internal Server Error",) * 2), "text/html")


async def html_200(x: Exchange) -> None:
    """200 with an HTML page, as captive portals send it."""
    await x.reply(200, _HTML % ((b"Welcome, please log in",) * 2), "text/html; charset=utf-8")


async def error_200(x: Exchange) -> None:
    """200 with a JSON error instead of a stream."""
    await x.reply(200, x.endpoint.error(PROBLEMS[500]), "application/json")


async def json_200(x: Exchange) -> None:
    """The complete JSON answer, although a stream was asked for."""
    await x.due()
    await x.reply(200, x.document(), "application/json")


async def empty(x: Exchange) -> None:
    """200 and no body at all."""
    await x.reply(200, b"", x.content_type)


async def redirect(x: Exchange) -> None:
    """307 to another path of the same host."""
    await x.reply(307, b"", "text/plain", Location="/redirected")


# Trouble in mid-stream


async def headers_then_silence(x: Exchange) -> None:
    """The head of a 200, then nothing."""
    await x.begin()
    await x.hold()


async def stall(x: Exchange) -> None:
    """Silence in mid-stream, the connection stays open."""
    await _start(x)
    await x.hold()


async def cut(x: Exchange) -> None:
    """Close inside an event, without the last chunk."""
    event, _ = await _start(x)
    await x.write(event[: len(event) // 2])
    await x.hang_up()


async def eof(x: Exchange) -> None:
    """A clean end of the body in mid-answer."""
    await _start(x)
    await x.end()


async def reset(x: Exchange) -> None:
    """Reset the connection in mid-stream."""
    await _start(x)
    await x.reset()


async def bad_chunk(x: Exchange) -> None:
    """Broken chunked framing in mid-stream."""
    await _start(x)
    await x.write_raw(b"this is no chunk size\r\n")
    await x.hang_up()


async def short_length(x: Exchange) -> None:
    """A Content-Length that promises more than comes."""
    body = b"".join(step.data for step in x.steps())
    await x.begin(Content_Length=str(len(body)))
    await x.write(body[: len(body) * 2 // 3])
    await x.hang_up()


async def bad_json(x: Exchange) -> None:
    """One event of broken JSON; the others are fine."""
    event, rest = await _start(x)
    body = event.rstrip(b"\n")
    await x.write(body[:-2] + event[len(body) :])
    await x.play(rest)
    await x.end()


async def giant_event(x: Exchange) -> None:
    """One event of ``giant_bytes`` bytes without a line end, padded with blanks; the others are fine."""
    event, rest = await _start(x)
    body = event.rstrip(b"\n")
    await x.write(body[:-1])
    for at in range(len(body), x.behaviour.giant_bytes, len(_BLANKS)):
        await x.write(_BLANKS[: x.behaviour.giant_bytes - at])
    await x.write(body[-1:] + event[len(body) :])
    await x.play(rest)
    await x.end()


async def error_event(x: Exchange) -> None:
    """The vendor's own error event in mid-stream, then the end."""
    await _start(x)
    await x.write(x.endpoint.error_event(PROBLEMS[529]))
    await x.end()


async def pings_only(x: Exchange) -> None:
    """The opening, then comments, pings or blank lines for ever, at the rate (20 a second without one)."""
    await x.begin()
    await x.play(takewhile(lambda step: step.kind == "mark", x.steps()))
    while True:
        await x.write(x.endpoint.ping)
        await asyncio.sleep(1 / x.behaviour.rate if x.behaviour.rate else _PING_PERIOD)


async def infinite(x: Exchange) -> None:
    """Text without end; a document that was asked for never gets past its leading newlines."""
    await x.begin()
    if x.is_stream and x.behaviour.replay is None:
        x.answer = x.answer.endless()
        await x.play(x.steps())
    while True:
        await x.play(x.steps() if x.is_stream else [Step("token", b"\n")])


# Trouble at the end


async def no_finish(x: Exchange) -> None:
    """All the text, no finish mark, no end mark, a clean end of the body."""
    await x.begin()
    await x.play(_without(x.steps(), "finish", "end"))
    await x.end()


async def no_done(x: Exchange) -> None:
    """The finish mark, no end mark, a clean end of the body (Ollama's finish is its end mark)."""
    await x.begin()
    await x.play(_without(x.steps(), "end"))
    await x.end()


async def hang_after_done(x: Exchange) -> None:
    """Everything up to the end mark; the body is not ended and the connection stays open."""
    await x.begin()
    await x.play(x.steps())
    await x.hold()


async def after_done(x: Exchange) -> None:
    """Three tokens more after the end mark."""
    await x.begin()
    await x.play(x.steps())
    await x.play(islice((step for step in x.steps() if step.kind == "token"), 3))
    await x.end()


# Strange but sound


async def drip(x: Exchange) -> None:
    """One byte at a time; the rate counts bytes."""
    await x.begin()
    for step in x.steps():
        for byte in step.data:
            await x.due()
            await x.write(bytes([byte]))
            await asyncio.sleep(0)
    await x.end()


async def gzip(x: Exchange) -> None:
    """Compressed although nobody asked, flushed after each event."""
    await x.begin(Content_Encoding="gzip")
    press = zlib.compressobj(wbits=31)
    await x.play(
        step._replace(data=press.compress(step.data) + press.flush(zlib.Z_SYNC_FLUSH)) for step in x.steps()
    )
    await x.write(press.flush())
    await x.end()


async def crlf(x: Exchange) -> None:
    """Lines that end in CRLF."""
    await x.begin()
    await x.play(step._replace(data=step.data.replace(b"\n", b"\r\n")) for step in x.steps())
    await x.end()


FAULTS: dict[str, Fault] = {
    "refuse": refuse,
    "close": close,
    "silence": silence,
    "garbage": garbage,
    "400": _status(400, "400: the context is too long."),
    "401": _status(401, "401: the key is wrong."),
    "429": _status(429, "429 with Retry-After.", retry=True),
    "500_html": html_500,
    "503": _status(503, "503 with Retry-After.", retry=True),
    "529": _status(529, "529: overloaded, as Anthropic says it."),
    "html_200": html_200,
    "error_200": error_200,
    "json_200": json_200,
    "empty": empty,
    "redirect": redirect,
    "headers_then_silence": headers_then_silence,
    "stall": stall,
    "cut": cut,
    "eof": eof,
    "reset": reset,
    "bad_chunk": bad_chunk,
    "short_length": short_length,
    "bad_json": bad_json,
    "giant_event": giant_event,
    "error_event": error_event,
    "pings_only": pings_only,
    "infinite": infinite,
    "no_finish": no_finish,
    "no_done": no_done,
    "hang_after_done": hang_after_done,
    "after_done": after_done,
    "drip": drip,
    "gzip": gzip,
    "crlf": crlf,
}


async def _start(x: Exchange) -> tuple[bytes, Iterator[Step]]:
    """
    Send the head and ``fault_after`` tokens; return the event that is due next, and all after it.

    A fault strikes at the latest before the finish; a body that has none may be over by then.
    """
    await x.begin()
    steps = iter(x.steps())
    left = x.behaviour.fault_after
    for step in steps:
        if step.kind in ("finish", "end") or (step.kind == "token" and left == 0):
            await x.due()
            return step.data, steps
        left -= step.kind == "token"
        await x.play([step])
    return b"", steps


def _without(steps: Iterator[Step], *kinds: Kind) -> Iterator[Step]:
    return (step for step in steps if step.kind not in kinds)
