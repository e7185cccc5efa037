"""
Bodies taken apart into the pieces that hold one frame each, and put together again without some of them.

Done by hand here, without the framers, so that tests of framers and dialects can build on it.
"""

from __future__ import annotations

import json
import struct


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


def together(framing: str, pieces: list[bytes]) -> bytes:
    """Return a body of *pieces*."""
    match framing:
        case "sse":
            return b"".join(piece + b"\n\n" for piece in pieces)
        case "ndjson":
            return b"".join(piece + b"\n" for piece in pieces)
        case "json-array":
            return b"[" + b"\n,\r\n".join(pieces) + b"\n]"
        case "eventstream":
            return b"".join(pieces)
    raise ValueError(framing)


def beginning(framing: str, pieces: list[bytes]) -> bytes:
    """Return the beginning of a body that goes on behind *pieces*."""
    if framing == "json-array":
        return b"".join([b"[", *(piece + b"\n,\r\n" for piece in pieces)])
    return together(framing, pieces)


def _messages(body: bytes) -> list[bytes]:
    messages = []
    while body:
        (length,) = struct.unpack_from(">I", body)
        messages.append(body[:length])
        body = body[length:]
    return messages
