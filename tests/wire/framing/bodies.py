"""How bodies are cut and framed in these tests."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator

from ssegate.wire.events import Frame
from ssegate.wire.framing import FRAMINGS

PLENTY = 1 << 25
"""A cap that no body here reaches."""


def framed(framing: str, pieces: Iterable[bytes], max_event: int = PLENTY) -> list[Frame]:
    framer = FRAMINGS[framing](max_event)
    frames = [frame for piece in pieces for frame in framer.feed(piece)]
    return [*frames, *framer.close()]


def bytewise(body: bytes) -> Iterator[bytes]:
    return (body[at : at + 1] for at in range(len(body)))


def cut_in_two(body: bytes, most: int = 500) -> Iterator[list[bytes]]:
    """Cut at every byte of a short body, at *most* random bytes of a long one."""
    cuts: Iterable[int] = range(1, len(body))
    if len(body) > 16 * 1024:
        cuts = random.Random(7).sample(range(1, len(body)), most)
    return ([body[:at], body[at:]] for at in cuts)
