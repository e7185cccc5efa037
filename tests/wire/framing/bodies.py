"""How bodies are made, cut, broken and framed in these tests."""

from __future__ import annotations

import random
import struct
import sys
import tracemalloc
import zlib
from collections.abc import Iterable, Iterator

from ssegate.wire.errors import WireError
from ssegate.wire.events import Frame
from ssegate.wire.framing import FRAMINGS

PLENTY = 1 << 25
"""A cap that no body here reaches."""


def framed(framing: str, pieces: Iterable[bytes], max_event: int = PLENTY) -> list[Frame]:
    framer = FRAMINGS[framing](max_event)
    frames = [frame for piece in pieces for frame in framer.feed(piece)]
    return [*frames, *framer.close()]


def outcome(framing: str, pieces: Iterable[bytes], max_event: int = PLENTY) -> tuple[list[Frame], str | None]:
    """The frames, and the code of the fault behind them; any other exception is let through."""
    framer = FRAMINGS[framing](max_event)
    frames: list[Frame] = []
    try:
        for piece in pieces:
            for frame in framer.feed(piece):
                frames.append(frame)
        frames.extend(framer.close())
    except WireError as fault:
        return frames, fault.code
    return frames, None


def bytewise(body: bytes) -> Iterator[bytes]:
    return (body[at : at + 1] for at in range(len(body)))


def cut_in_two(body: bytes, most: int = 500) -> Iterator[list[bytes]]:
    """Cut at every byte of a short body, at *most* random bytes of a long one."""
    cuts: Iterable[int] = range(1, len(body))
    if len(body) > 16 * 1024:
        cuts = random.Random(7).sample(range(1, len(body)), most)
    return ([body[:at], body[at:]] for at in cuts)


def cut_at(body: bytes, cuts: Iterable[int]) -> list[bytes]:
    """Cut at each of *cuts*."""
    places = sorted(cuts)
    return [body[start:end] for start, end in zip([0, *places], [*places, len(body)], strict=True)]


def flipped(body: bytes, bit: int) -> bytes:
    """*body* with one bit turned over."""
    broken = bytearray(body)
    broken[bit // 8] ^= 1 << bit % 8
    return bytes(broken)


def message(payload: bytes = b"", headers: bytes = b"", **named: str) -> bytes:
    """
    One message of an AWS event stream.

    Args:
        headers: As they stand on the wire; *named* ones (``message_type="event"``) come before them.
    """
    strings = (
        bytes([len(name) + 1]) + b":" + name.replace("_", "-").encode() + b"\7" + sized(value.encode())
        for name, value in named.items()
    )
    block = b"".join(strings) + headers
    prelude = struct.pack(">II", len(block) + len(payload) + 16, len(block))
    body = prelude + struct.pack(">I", zlib.crc32(prelude)) + block + payload
    return body + struct.pack(">I", zlib.crc32(body))


def sized(value: bytes) -> bytes:
    return struct.pack(">H", len(value)) + value


def event(payload: bytes, kind: str = "chunk") -> bytes:
    return message(payload, message_type="event", event_type=kind)


SAMPLES = {
    "sse": b': hi\n\nevent: a\ndata: {"x": 1}\n\ndata:2\r\ndata: 3\r\n\r\n\n{"error": 1}\nid\n\ndata: 4\r\r',
    "ndjson": b'{"a": "b"}\n\n {"c": 1}\r\n\n[]\n',
    "json-seq": b'\x1e{"a": "\\"}"}\n\x1e{\n  "b": {}\n}\n',
    "json-array": b'\xef\xbb\xbf[{"a": "]}\\\\\\""}\n,\r\n{\n "b": [{}, "{"]\n}\n]\n',
    "json": b'\n\n{"a": [1]}\n',
    "eventstream": event(b'{"p":"ab"}') + event(b"{}") + message(b"", event_type="end"),
    "text": "a ü € 𝄞\n".encode(),
}
"""A small body of each framing."""

UNITS = {
    "sse": b"data: {}\n\n",
    "ndjson": b'{"a":1}\n',
    "json-seq": b'\x1e{"a":1}\n',
    "json-array": b'{"a":[{}]},\n',
    "json": b"[1],\n",
    "eventstream": event(b"{}"),
    "text": b"word ",
}
"""What a long body of each framing is made of."""

UNFINISHED = {
    "sse": (
        b"data: ",
        b"event: x\ndata: 1\ndata: ",
        b": ",
        b"{",
        b'{\n"a": 1,\n',
        b"id: ",
        b"event: ",
        b'error: {"a": "',
    ),
    "ndjson": (b'{"a": "',),
    "json-seq": (b'{"a": "', b'{"a": '),
    "json-array": (b'[{"a": "', b'[{"a": '),
    "json": (b'{"a": "',),
    "eventstream": (event(b" " * 200_000)[:40],),
    "text": (b"",),
}
"""How an event of each framing may begin whose end never comes."""


def work(framing: str, pieces: list[bytes]) -> tuple[int, int]:
    """Return how many calls framing *pieces* takes, and how many bytes it newly puts into memory."""
    calls = 0

    def count(*_: object) -> None:
        nonlocal calls
        calls += 1

    previous = sys.getprofile()
    sys.setprofile(count)
    try:
        framed(framing, pieces)
    finally:
        sys.setprofile(previous)
    return calls, _memory(framing, pieces)


def _memory(framing: str, pieces: list[bytes]) -> int:
    framer = FRAMINGS[framing](PLENTY)
    total = 0
    tracemalloc.start()
    try:
        for piece in pieces:
            before, _ = tracemalloc.get_traced_memory()
            tracemalloc.reset_peak()
            for _ in framer.feed(piece):
                pass
            total += tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    return total
