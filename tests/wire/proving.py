"""Recorded bodies driven through whole pipelines, in all the ways in which they may arrive."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Iterator, Sequence
from itertools import cycle, product
from typing import NamedTuple

from wire import reading_back
from wire.driving import STREAM_ID, Drive
from wire.recordings import Recording

from ssegate.wire.events import Failure
from ssegate.wire.formats import FORMATS
from ssegate.wire.pipeline import Pipeline

OUTPUTS = [*FORMATS, "same"]
OF_OWN_DIALECT = ("anthropic", "responses")
"""Outputs that are refused to upstreams of another dialect."""

ONE_CHOICE = ("anthropic", "responses", "vercel", "text")
"""Outputs that have no room for a second choice."""

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


def check(body: Recording, output: str, driven: Drive) -> reading_back.Answer | None:
    """Compare what is read back of *driven* with what *body* is known to say; return it."""
    dialect = driven.pipeline.format.name if output == "same" else output
    found = answer(output, dialect, driven.body)
    if found is None:
        return None
    expected, message = body.expected, found.first
    if output == "text":
        said = expected["text"] + expected.get("refusal", "")
        assert message.text == said.replace("\r\n", "\n").replace("\r", "\n")
        check_end(body, found, driven.pipeline)
        return found
    is_mended = output != "same" and output != body.dialect
    empty = "{}" if is_mended else ""

    def made_up(index: int) -> str | None:
        return f"call_{STREAM_ID}_{index}" if is_mended else None

    assert message.text == expected["text"]
    assert message.reasoning == expected["reasoning"]
    assert message.refusal == expected.get("refusal", "")
    assert message.calls == [
        call | {"arguments": call["arguments"] or empty, "id": call["id"] or made_up(index)}
        for index, call in enumerate(body.calls)
    ]
    others = {} if output in ONE_CHOICE else expected.get("other", {}).get("choices", {})
    for choice, other in others.items():
        assert found.of(int(choice)).text == other["text"]
        assert found.of(int(choice)).finish_reason == other["finish_reason"]
    check_end(body, found, driven.pipeline)
    return found


def check_end(body: Recording, found: reading_back.Answer, pipeline: Pipeline) -> None:
    """It failed with the upstream's words, or it is complete; cut recordings are told as cut."""
    if body.expected.get("error"):
        assert pipeline.outcome == "upstream_error"
        # Some upstreams put their own words into the generic message; none may be lost.
        assert body.error_message in json.dumps(found.error, ensure_ascii=False)
        return
    if body.expected.get("terminator", "") is None and body.is_cut:
        assert pipeline.outcome == "truncated"
        return
    assert found.error is None
    assert (pipeline.outcome, pipeline.failure) == ("completed", None)
