"""
AWS event streams: binary messages with headers and two checksums (Bedrock, SageMaker).

    length of all u32 · length of the headers u32 · CRC-32 of these two        the prelude
    name's length u8 · name · type u8 · value                                  each header
    payload
    CRC-32 of everything before it                                             all numbers are big-endian

A message becomes a frame; its ``event`` tells which kind it is, its ``data`` what it says:

    :message-type    event                            data
    event            the :event-type, or empty        the payload
    exception        exception:<:exception-type>      the payload, JSON with a "message"
    error            error:<:error-code>              the payload; if empty, {"message": <:error-message>}

No event's type has a colon, so ``frame.event.partition(":")`` tells failures apart. A length is believed
only after the prelude's checksum, a payload only after the message's. Of a message that the end cuts off no
frame is made: nobody could tell whether it is whole.

Source: https://docs.aws.amazon.com/transcribe/latest/dg/event-stream.html and Smithy's test vectors.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator
from typing import ClassVar

from ssegate.wire.errors import WireError
from ssegate.wire.events import Frame
from ssegate.wire.framing.faults import then_raise, too_large

__all__ = ["PRELUDE", "EventStream", "is_prelude", "read_headers"]

PRELUDE = struct.Struct(">III")
CRC = struct.Struct(">I")
LONGEST_KEPT = 4096
"""Bytes of headers."""

SHORTEST = PRELUDE.size + CRC.size
"""Bytes of a message without headers and payload."""

Value = bool | int | bytes | str
"""Of a header. A timestamp is in milliseconds, a UUID its 16 bytes."""

TRUE, FALSE, BYTES, STRING, UUID = 0, 1, 6, 7, 9
INTEGERS = {
    2: struct.Struct(">b"),
    3: struct.Struct(">h"),
    4: struct.Struct(">i"),
    5: struct.Struct(">q"),
    8: struct.Struct(">q"),  # a timestamp
}
SIZE = struct.Struct(">H")


class EventStream:
    """
    Cut an AWS event stream into one frame a message.

    ``max_event`` bounds a message's headers and payload together.
    """

    ends: ClassVar[tuple[bytes, ...]] = ()
    has_ended: bool | None = None

    def __init__(self, max_event: int) -> None:
        self._longest = max_event + SHORTEST
        self._max = max_event
        self._message = bytearray()  # an unfinished one
        self._needed = 0  # how much of it allows the next step
        self._headers: bytes | None = None  # of the last event; they repeat from message to message
        self._event = ""  # what they say

    @property
    def is_between(self) -> bool:
        """Nothing is unfinished: the next byte begins a message."""
        return not self._message

    def anew(self) -> EventStream:
        """Return one that has read nothing."""
        return EventStream(self._max)

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Yield the messages that *data* completes, then raise if the next is broken or too large."""
        if self._message:
            self._message += data
            if len(self._message) < self._needed:
                return iter(())
            data = bytes(self._message)
            self._message.clear()
        frames: list[Frame] = []
        at = 0
        try:
            while at + (needed := self._length(data, at)) <= len(data):
                frames.append(self._read(data[at : at + needed]))
                at += needed
        except WireError as fault:
            return then_raise(frames, fault)
        self._message += data[at:]
        self._needed = needed
        return iter(frames)

    def close(self) -> Iterator[Frame]:
        """Yield nothing: a cut message cannot be checked."""
        if self._message:
            self.has_ended = False
            self._message.clear()
        return iter(())

    def _length(self, data: bytes, at: int) -> int:
        """Return the length of the message at *at*; that of its prelude while this is not whole."""
        if len(data) - at < PRELUDE.size:
            return PRELUDE.size
        length, headers_length, _ = PRELUDE.unpack_from(data, at)
        if not is_prelude(data[at : at + PRELUDE.size]):
            raise WireError("the upstream sent a message whose prelude has a wrong checksum")
        if length < SHORTEST or headers_length > length - SHORTEST:
            raise WireError("the upstream sent a message whose lengths cannot be")
        if length > self._longest:
            raise too_large("a message", self._max)
        return int(length)

    def _read(self, message: bytes) -> Frame:
        if zlib.crc32(message[: -CRC.size]) != CRC.unpack(message[-CRC.size :])[0]:
            raise WireError("the upstream sent a message with a wrong checksum")
        end = PRELUDE.size + PRELUDE.unpack_from(message)[1]
        headers, payload = message[PRELUDE.size : end], message[end : -CRC.size]
        if headers == self._headers:
            return Frame(self._event, payload)
        return self._frame(headers, payload)

    def _frame(self, block: bytes, payload: bytes) -> Frame:
        headers = {name: value for name, value in read_headers(block).items() if isinstance(value, str)}
        kind = headers.get(":message-type")
        if kind == "exception":
            return Frame("exception:" + headers.get(":exception-type", ""), payload)
        if kind == "error":
            said = {"message": headers.get(":error-message", "")}
            return Frame("error:" + headers.get(":error-code", ""), payload or json.dumps(said).encode())
        # Long ones, which are nobody's, are not kept beside the next message.
        self._headers, self._event = (
            block if len(block) <= LONGEST_KEPT else None,
            headers.get(":event-type", ""),
        )
        return Frame(self._event, payload)


def is_prelude(data: bytes) -> bool:
    """Return whether *data* begins with a prelude, which its checksum makes all but certain."""
    return (
        len(data) >= PRELUDE.size
        and zlib.crc32(data[:8]) == CRC.unpack_from(data, PRELUDE.size - CRC.size)[0]
    )


def read_headers(block: bytes) -> dict[str, Value]:
    """
    Return the headers in *block* by name.

    Raises:
        WireError: They do not fill the block, or one is of an unknown type.
    """
    headers: dict[str, Value] = {}
    at = 0
    try:
        while at < len(block):
            end = at + 1 + block[at]
            name = block[at + 1 : end].decode(errors="replace")
            headers[name], at = _read_value(block, end + 1, kind=block[end])
    except (IndexError, struct.error):
        at = -1
    if at != len(block):
        raise WireError("the upstream sent a message with headers that cannot be read")
    return headers


def _read_value(block: bytes, at: int, *, kind: int) -> tuple[Value, int]:
    """Return a header's value and where it ends."""
    if kind in (TRUE, FALSE):
        return kind == TRUE, at
    if kind in INTEGERS:
        integer = INTEGERS[kind]
        return integer.unpack_from(block, at)[0], at + integer.size
    if kind == UUID:
        return block[at : at + 16], at + 16
    if kind not in (BYTES, STRING):
        raise WireError("the upstream sent a message with a header of an unknown type")
    start = at + SIZE.size
    end = start + SIZE.unpack_from(block, at)[0]
    value = block[start:end]
    return (value if kind == BYTES else value.decode(errors="replace")), end
