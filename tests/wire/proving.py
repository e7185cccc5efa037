"""Recorded bodies driven through whole pipelines, in all the ways in which they may arrive."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from itertools import cycle, product
from typing import NamedTuple

from wire import reading_back
from wire.driving import Drive
from wire.recordings import Recording

from ssegate.wire.events import Failure
from ssegate.wire.formats import FORMATS

OUTPUTS = [*FORMATS, "same"]
OF_OWN_DIALECT = ("anthropic", "responses")
"""Outputs that are refused to upstreams of another dialect."""

OCTETS = "application/octet-stream"


class Way(NamedTuple):
    """How a body is labelled, and whether its dialect is named."""

    content_type: str | None
    dialect: str


def ways(body: Recording) -> list[Way]:
    """Return every way *body* may arrive: its own content type, none, a wrong one; named or found."""
    return [Way(*way) for way in product((body.content_type, None, OCTETS), ("auto", body.dialect))]


def fitting(body: Recording) -> list[str]:
    """Return the outputs that can tell *body*."""
    return [output for output in OUTPUTS if output not in OF_OWN_DIALECT or output == body.dialect]


def turns(body: Recording, more: Sequence[str] = ()) -> Iterator[tuple[str, Way]]:
    """Return every output and every way in turn, over and over, from a different one for each body."""
    both = list(product([*fitting(body), *more], ways(body)))
    start = random.Random(str(body)).randrange(len(both))
    return cycle(both[start:] + both[:start])


class Told(NamedTuple):
    """What the client of a stream got, and how it ended."""

    data: bytes
    outcome: str | None
    failure: Failure | None


def drive(
    body: Recording, pieces: Iterable[bytes], output: str, way: Way | None = None, **settings: object
) -> Drive:
    """Drive *pieces* of a body to its end, all at one moment and without batches: no cut may show."""
    content_type, dialect = way or (body.content_type, "auto")
    choices = 1 + len(body.expected.get("other", {}).get("choices", {}))
    given = {"choices": choices, "batch_delay": None, "metadata": "final", "total": None, **settings}
    driven = Drive(output, content_type, dialect=dialect, **given)
    for piece in pieces:
        driven.feed(piece, 0.5)
    driven.close(0.5)
    driven.tell(0.5)  # a failure before any content; else this says nothing
    return driven


def tell(body: Recording, pieces: Iterable[bytes], output: str, way: Way | None = None) -> Told:
    """Return what *pieces* of a body, driven to its end, told the client."""
    driven = drive(body, pieces, output, way)
    return Told(driven.body, driven.pipeline.outcome, driven.pipeline.failure)


def answer(output: str, dialect: str, data: bytes) -> reading_back.Answer | None:
    """Return what a client reads in *data*; None where ``reading_back`` has no reader for its format."""
    if output == "same" and dialect == "text":
        return None  # the body itself, without events
    read = getattr(reading_back, dialect if output == "same" else output, None)
    return None if read is None else read(data)
