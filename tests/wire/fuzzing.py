"""
One input of a fuzzer, a string of bytes, run as a stream: the first say how, the rest is the upstream's body.

Everything that must hold for a stream is checked; what does not is raised. ``fuzzer.py`` makes inputs, those
that once failed lie in ``found/``.
"""

from __future__ import annotations

from pathlib import Path

from wire.driving import Drive
from wire.keeping_form import check
from wire.proving import OCTETS, OUTPUTS
from wire.recordings import recordings

from ssegate.wire.dialects import DIALECTS
from ssegate.wire.errors import CODES

__all__ = ["FOUND", "run", "seeds"]

FOUND = Path(__file__).with_name("found")

CONTROLS = 4
"""Bytes before the body: output and bounds, dialect, content type, where to cut."""

FIRST = ("native", "openai", "same", "raw")
OUTPUT_NAMES = [*FIRST, *(output for output in OUTPUTS if output not in FIRST)]  # so that inputs keep theirs
NAMES = ["auto", *DIALECTS]
LABELS = [
    *("text/event-stream", "application/json", "application/x-ndjson", "application/vnd.amazon.eventstream"),
    *("application/json-seq", "text/plain", "text/html", OCTETS, None),
]
LARGEST = 20_000
"""Seeds are no larger: large ones make a fuzzer slow, and say nothing new."""


def run(data: bytes) -> None:
    """Run one input, whole and cut into small reads."""
    controls, body = data[:CONTROLS].ljust(CONTROLS, b"\0"), data[CONTROLS:]
    output = OUTPUT_NAMES[controls[0] % len(OUTPUT_NAMES)]
    bounds = {"max_event": 400, "max_stream": 5000} if controls[0] & 0x80 else {}
    dialect, label = NAMES[controls[1] % len(NAMES)], LABELS[controls[2] % len(LABELS)]
    size = 1 + controls[3] % 64

    cut = [body[at : at + size] for at in range(0, len(body), size)]
    drives = [_driven(pieces, output, label, dialect, bounds) for pieces in ([body], cut)]

    for drive in drives:
        check(drive, body, output)
        assert drive.pipeline.failure is None or drive.pipeline.failure.code in CODES
    if not bounds and output != "raw" and not _is_text(drives[0]):
        one, other = ((drive.body, drive.pipeline.outcome, drive.pipeline.failure) for drive in drives)
        assert one == other, "a cut is seen"


def _driven(
    pieces: list[bytes], output: str, label: str | None, dialect: str, bounds: dict[str, int]
) -> Drive:
    drive = Drive(output, label, dialect=dialect, batch_delay=None, metadata="final", total=None, **bounds)
    for piece in filter(None, pieces):
        drive.feed(piece, 1.0)
    drive.close(1.0)
    drive.tell(1.0)
    return drive


def _is_text(drive: Drive) -> bool:
    """Whether each read was an event of its own."""
    dialect = drive.pipeline._dialect
    return dialect is not None and dialect.name == "text"


def seeds() -> dict[str, bytes]:
    """Return an input for each small recording, named after it: to an output in turn, its dialect found."""
    found = {}
    for number, body in enumerate([*recordings(), *recordings("documents")]):
        label = body.content_type.partition(";")[0]
        if len(body.body) <= LARGEST and label in LABELS:
            controls = bytes([number % len(OUTPUT_NAMES), 0, LABELS.index(label), 17])
            found[body.file.replace("/", "-")] = controls + body.body
    return found
