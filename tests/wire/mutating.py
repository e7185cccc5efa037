"""
Recorded bodies spoiled: bits flipped, pieces lost and doubled, JSON of the wrong type, depth and size.

A change is three numbers, so that Hypothesis can shrink a list of them and a fuzzer can make one of bytes.
"""

from __future__ import annotations

import base64
import json
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import Any

from wire.recordings import Recording
from wire.taking_apart import Block, blocks, in_crlf

Change = tuple[int, int, int]
"""Which kind of change, where, and how; any numbers, taken modulo what there is."""

PLAIN: list[Any] = [
    *(None, True, False, 0, 1, -1, 7, 2**63, 1.5, "", "a", "0", "[DONE]", "stop", "error"),
    *([], {}, [1], [None], ["a"], {"a": 1}, {"text": "t"}, [{"text": "t"}], {"message": "m", "code": 429}),
]
RAW = {
    "deep list": b"[" * 6000 + b"]" * 6000,
    "deep object": b'{"a":' * 3000 + b"1" + b"}" * 3000,
    "deep enough to read": b"[" * 400 + b"]" * 400,
    "deep enough for some": b'{"a":' * 900 + b"1" + b"}" * 900,
    "huge integer": b"9" * 5000,
    "large integer": b"9" * 40,
    "huge float": b"1e999",
    "not a number": b"NaN",
    "infinity": b"-Infinity",
    "first half": b'"\\ud83d"',
    "second half": b'"\\ude00 b"',
    "no utf-8": b'"\xff\xc3"',
    "nul": b'"\\u0000\x00"',
    "controls": b'"\t\x01\r"',
    "separators": '"\u2028\u0085\ufeff"'.encode(),
    "long text": b'"' + b"x" * 9000 + b'"',
    "twice": b'1,"text":"t","text":2',
    "unfinished": b'"',
}
"""Tokens that ``json`` would not write."""

LEAVES = [*PLAIN, *(f"\0{name}\0" for name in RAW)]
BYTES = [
    *(
        b"\n",
        b"\r",
        b"\n\n",
        b"\r\n\r\n",
        b"\x00",
        b"\xef\xbb\xbf",
        b"\xff",
        b"\xf0\x9f",
        b":",
        b": ping\n\n",
    ),
    *(b"data", b"data:", b"data: ", b"data: [DONE]\n\n", b"event: error\n", b"id: 1\n", b"retry: 1\n"),
    *(b"error: {}\n", b"{", b"}", b"[", b"]", b",", b'"', b"\\", b"null", b"\x1e", b"\x00\x00\x00\x10"),
]


# ---- framing -------------------------------------------------------------------------------------


def _sse(block: Block, data: bytes) -> bytes:
    name = f"event: {block.event}\n".encode() if block.event else b""
    return name + b"".join(b"data: " + line + b"\n" for line in data.split(b"\n")) + b"\n"


def _line(block: Block, data: bytes) -> bytes:
    return data.replace(b"\n", b" ") + b"\n"


def _element(block: Block, data: bytes) -> bytes:
    return data + b"\n,\r\n"


def message(headers: bytes, payload: bytes) -> bytes:
    """Return one message of AWS's event stream, with its checksums."""
    prelude = struct.pack(">II", len(headers) + len(payload) + 16, len(headers))
    whole = prelude + struct.pack(">I", zlib.crc32(prelude)) + headers + payload
    return whole + struct.pack(">I", zlib.crc32(whole))


def _message(block: Block, data: bytes) -> bytes:
    return message(block.headers, data)


WRITERS: dict[str, Callable[[Block, bytes], bytes]] = {
    "sse": _sse,
    "ndjson": _line,
    "json": _line,
    "json-array": _element,
    "jsonarray": _element,
    "eventstream": _message,
}


def framed(framing: str, said: list[tuple[Block, bytes]]) -> bytes:
    """Return a body of these payloads in the framing of their blocks."""
    body = b"".join(WRITERS[framing](block, data) for block, data in said)
    return b"[" + body.rstrip(b"\n\r,") + b"]" if WRITERS[framing] is _element else body


# ---- changes -------------------------------------------------------------------------------------


def changed(body: Recording, changes: list[Change]) -> bytes:
    """Return *body* with all of *changes*: those of its JSON first, then those of its bytes."""
    said = [(block, block.data.encode()) for block in blocks(body)]
    is_framed = False
    for kind, where, how in changes:
        if kind % 3 != 2 and said:
            said = _of_blocks(said, kind, where, how)
            is_framed = True
    data = framed(body.framing, said) if is_framed else body.body
    for kind, where, how in changes:
        if kind % 3 == 2:
            data = _of_bytes(data, kind // 3, where, how)
    return data


def _of_blocks(said: list[tuple[Block, bytes]], kind: int, where: int, how: int) -> list[tuple[Block, bytes]]:
    at = where % len(said)
    block, data = said[at]
    match (kind // 3) % 6:
        case 0:
            return [*said[: at + 1], *said[at:]]  # doubled
        case 1:
            return said[:at] + said[at + 1 :]
        case 2:
            other = how % len(said)
            said[at], said[other] = said[other], said[at]
            return said
        case _:
            said[at] = (block, of_json(data, where // len(said), how))
            return said


def of_json(data: bytes, where: int, how: int) -> bytes:
    """Return the JSON in *data* with one value replaced, dropped, wrapped or renamed."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):  # spoiled before
        return data
    if isinstance(document, dict) and isinstance(document.get("bytes"), str):
        inner = of_json(base64.b64decode(document["bytes"]), where, how)
        return json.dumps(document | {"bytes": base64.b64encode(inner).decode()}).encode()
    places = list(_places(document))
    if not places:
        return data
    holder, key = places[where % len(places)]
    leaf = LEAVES[how // 4 % len(LEAVES)]
    match how % 4:
        case 0 | 1:
            holder[key] = leaf
        case 2:
            del holder[key]
        case _:
            holder[key] = [holder[key], leaf] if how // 4 % 2 else {"text": holder[key], "value": leaf}
    return _written(document, ascii=bool(how % 3))


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    members = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    for key, member in members:
        yield value, key
        yield from _places(member)


def _written(document: Any, *, ascii: bool) -> bytes:
    text = json.dumps(document, ensure_ascii=ascii).encode(errors="surrogatepass")
    for name, token in RAW.items():
        text = text.replace(b'"\\u0000' + name.encode() + b'\\u0000"', token)
    return text


def _of_bytes(data: bytes, kind: int, where: int, how: int) -> bytes:
    at = where % (len(data) + 1)
    match kind % 6:
        case 0:
            return data[:at] + bytes([data[at] ^ 1 << how % 8]) + data[at + 1 :] if at < len(data) else data
        case 1:
            return data[:at]
        case 2:
            return data[:at] + data[at + 1 + how % 40 :]
        case 3:
            return data[:at] + data[at : at + 1 + how % 40] + data[at:]
        case 4:
            return in_crlf(data)
        case _:
            return data[:at] + BYTES[how % len(BYTES)] + data[at:]
