"""
Bodies taken apart into the pieces that hold one frame each.

Done by hand here, without the framers, so that tests of framers and dialects can build on it.
"""

from __future__ import annotations

import json
import struct
import zlib


def apart(framing: str, body: bytes) -> list[bytes]:
    """Return the pieces of *body*, without what stands between them."""
    match framing:
        case "sse":
            return body.replace(b"\r\n", b"\n").strip(b"\n").split(b"\n\n")
        case "ndjson":
            return body.strip(b"\n").split(b"\n")
        case "json-array":
            return [json.dumps(element).encode() for element in json.loads(body)]
        case "eventstream":
            return _messages(body)
    raise ValueError(framing)


def message(piece: bytes) -> tuple[dict[str, str], bytes]:
    """Return the headers and the payload of an AWS event stream's message, whose checksums must be right."""
    length, size, crc = struct.unpack_from(">III", piece)
    assert (length, crc) == (len(piece), zlib.crc32(piece[:8]))
    assert struct.unpack(">I", piece[-4:])[0] == zlib.crc32(piece[:-4])
    headers, block = {}, piece[12 : 12 + size]
    while block:
        name, block = block[1 : 1 + block[0]].decode(), block[1 + block[0] :]
        kind, value_size = struct.unpack_from(">BH", block)
        assert kind == 7, "all headers of Bedrock are strings"
        headers[name], block = block[3 : 3 + value_size].decode(), block[3 + value_size :]
    return headers, piece[12 + size : -4]


def _messages(body: bytes) -> list[bytes]:
    messages = []
    while body:
        (length,) = struct.unpack_from(">I", body)
        messages.append(body[:length])
        body = body[length:]
    return messages
