"""
Stencils: what stands around text and metadata in the bytes that leave for a frame.

Nothing is taken for granted of a format either: a stencil is proven with events of other texts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from ssegate.wire.events import Carried, Delta, Event
from ssegate.wire.patterns import PROBES, Found, Pattern, body_of, with_text

__all__ = ["Cast", "Stencil", "cast_of", "stencil_of"]

Encode = Callable[[Event | Carried, bytes], list[bytes]]

_METADATA = (b'{"zq7":1}', b'{"zq7":22,"t":0.5}')


@dataclass(frozen=True, slots=True)
class Stencil:
    """What stands around text and metadata in the bytes that leave for a frame."""

    before: bytes
    between: bytes
    after: bytes
    has_metadata: bool

    def filled(self, body: bytes, metadata: bytes) -> bytes:
        """Return the event of a text, *body*, escaped."""
        metadata = metadata if self.has_metadata else b""
        return self.before + body + self.between + metadata + self.after


def stencil_of(encode: Encode, sent: Delta | Carried, *, has_metadata: bool) -> Stencil | None:
    """
    Return the stencil of what a format writes, proven; None if it has none.

    Args:
        encode: The format's; such events must leave no trace in it.
        sent: One of the events.
    """
    found: Stencil | None = None
    for probe, metadata in zip(PROBES, _METADATA, strict=True):
        metadata = metadata if has_metadata else b""
        blocks = encode(_like(sent, probe), metadata)
        if len(blocks) != 1:
            return None
        if found is None:
            before, body, rest = blocks[0].partition(body_of(probe))
            if not body:
                return None
            # Some have no room for it in such events.
            has_metadata = has_metadata and metadata in rest
            between, _, after = rest.partition(metadata) if has_metadata else (rest, b"", b"")
            found = Stencil(before, between, after, has_metadata)
        elif blocks[0] != found.filled(body_of(probe), metadata):
            return None
    return found


def _like(sent: Delta | Carried, text: str) -> Delta | Carried:
    return replace(sent, body=body_of(text), count=1) if isinstance(sent, Carried) else with_text(sent, text)


@dataclass(frozen=True, slots=True)
class Cast:
    """
    How a carried frame leaves that differs from its like in more than its text: all around it as it came.

    Attributes:
        skipped, dropped: Bytes of the frame before and behind its payload.
        prefix: What leaves before the payload.
        replaced: Bytes at the payload's end for which *suffix* leaves, the metadata behind it.
    """

    skipped: int
    dropped: int
    prefix: bytes
    replaced: int
    suffix: bytes

    def split(self, data: bytes, found: Found) -> tuple[bytes, bytes]:
        """Return the payload of a frame in *data*, before its text and behind it."""
        begin, start, stop, end = found
        return data[begin + self.skipped : start], data[stop : end - self.dropped]

    def around(self, head: bytes, tail: bytes) -> tuple[bytes, bytes]:
        """Return what leaves before the text and behind it, until the metadata."""
        return self.prefix + head, tail[: len(tail) - self.replaced] + self.suffix


def cast_of(encode: Encode, sent: Carried, raw: bytes, pattern: Pattern, stencil: Stencil) -> Cast | None:
    """
    Return the cast of a frame, proven; None if it has none.

    Args:
        sent: How the frame leaves.
        raw: How it came.
        stencil: That of *sent*.
    """
    assert pattern.shape is not None
    payload = sent.payload
    skipped = raw.find(payload)
    if skipped < 0 or not stencil.before.endswith(sent.head):
        return None
    kept = _common(stencil.between, sent.tail)
    cast = Cast(
        skipped,
        len(raw) - skipped - len(payload),
        stencil.before.removesuffix(sent.head),
        len(sent.tail) - kept,
        stencil.between[kept:],
    )
    for frame, metadata in zip(pattern.probes, _METADATA, strict=True):
        metadata = metadata if stencil.has_metadata else b""
        found = pattern.shape.find(frame)
        if found is None:
            return None
        head, tail = cast.split(frame, found)
        before, between = cast.around(head, tail)
        body = frame[found[1] : found[2]]
        blocks = encode(replace(sent, head=head, body=body, tail=tail, count=1), metadata)
        if blocks != [before + body + between + metadata + stencil.after]:
            return None
    return cast


def _common(one: bytes, other: bytes) -> int:
    """Return how many bytes both begin with."""
    length = min(len(one), len(other))
    return next((at for at in range(length) if one[at] != other[at]), length)
