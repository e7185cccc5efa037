"""
What a framer may cost: ``max_event`` and a little while an event is unfinished, twice that when it is whole.

Whole events are handed over as bytes of their own, so for a moment there are two copies of the largest.
"""

import struct
import tracemalloc
import zlib

import pytest

from ssegate.wire.errors import WireError
from ssegate.wire.framing import FRAMINGS

MAX_EVENT = 1 << 20
SLACK = 512 << 10
READ = 16 << 10

LARGE = b'{"a":"' + b"a" * (MAX_EVENT - 64) + b'"}'
LINES = b'{"a":[\n' + b"1,\n" * (MAX_EVENT // 3 - 64) + b"1]\n}"
MULTI = b"".join(b"data: %b\n" % line for line in LINES[: MAX_EVENT // 2].split(b"\n"))
ENDLESS = b'{"a":"' + b"a" * (3 * MAX_EVENT)


def message(payload, length=None, headers=b""):
    """One message of an AWS event stream, which may say that it is longer than it is."""
    prelude = struct.pack(">II", length or 16 + len(headers) + len(payload), len(headers))
    whole = prelude + struct.pack(">I", zlib.crc32(prelude)) + headers + payload
    return whole + struct.pack(">I", zlib.crc32(whole))


def header(size):
    """A header that takes *size* bytes and more, of pieces that are no longer than headers may be."""
    value = b"v" * 60_000
    one = b"\x01n\x07" + struct.pack(">H", len(value)) + value
    return one * (size // len(one))


UNFINISHED = {
    "an endless event": ("sse", b"data: " + ENDLESS),
    "an endless line that is no field": ("sse", b"x" * (3 * MAX_EVENT)),
    "endless data lines": ("sse", b"data: 123456789\n" * (MAX_EVENT // 5)),
    "an endless error": ("sse", b"error: " + ENDLESS),
    "an endless bare object": ("sse", b"{\n" + b'"a": 1,\n' * (MAX_EVENT // 3)),
    "an endless comment": ("sse", b":" + ENDLESS),
    "endless ids": ("sse", (b"id: " + b"a" * 60_000 + b"\n\n") * 50),
    "an endless line": ("ndjson", ENDLESS),
    "endless blanks": ("ndjson", b" " * (3 * MAX_EVENT)),
    "an endless document": ("json", ENDLESS),
    "an endless element": ("json-array", b"[" + ENDLESS),
    "endless depth": ("json-array", b"[" + b'{"a":' * MAX_EVENT),
    "endless quotes": ("json-array", b'[{"' + b'\\"' * (2 * MAX_EVENT)),
    "an endless text": ("json-seq", b"\x1e" + ENDLESS),
    "a message that never ends": ("eventstream", message(LARGE, MAX_EVENT)[:-200]),
    "a message that is too long": ("eventstream", message(LARGE, 3 * MAX_EVENT)),
    "messages whose headers are long": (
        "eventstream",
        message(b"{}", headers=header(MAX_EVENT - 100_000)) + message(LARGE, MAX_EVENT)[:-200],
    ),
    "text": ("text", "h\u00e9llo ".encode() * (MAX_EVENT // 3)),
}
WHOLE = {
    "an event": ("sse", b"data: " + LARGE + b"\n\n"),
    "an event of crlf": ("sse", b"event: a\r\ndata:" + LARGE + b"\r\n\r\n"),
    "an event without its end": ("sse", b"data: " + LARGE),
    "an event of many lines": ("sse", MULTI + b"\n"),
    "a bare object": ("sse", LARGE + b"\n\n"),
    "a bare object of many lines": ("sse", LINES + b"\n\n"),
    "an error field": ("sse", b"error: " + LARGE + b"\n\n"),
    "an error field without its end": ("sse", b"error: " + LARGE),
    "a line": ("ndjson", LARGE + b"\r\n"),
    "a line without its end": ("ndjson", LARGE),
    "a document": ("json", LARGE + b"\n"),
    "a document behind a mark": ("json", b"\xef\xbb\xbf" + LARGE),
    "an element": ("json-array", b"[" + LARGE + b"]"),
    "half an element": ("json-array", b"[" + LARGE[:-1]),
    "a text": ("json-seq", b"\x1e" + LARGE),
    "a message": ("eventstream", message(LARGE)),
    "a broken message": ("eventstream", message(LARGE)[:-1] + b"x"),
}


def peak_of(framing, body, *, ends):
    """
    Return the most bytes that a framer took while *body* came, read by read.

    Args:
        ends: The body ends, and what its whole frames have taken counts.
    """
    framer = FRAMINGS[framing](MAX_EVENT)
    tracemalloc.start()
    try:
        base = tracemalloc.get_traced_memory()[0]
        for at in range(0, len(body), READ):
            for _ in framer.feed(body[at : at + READ]):
                if not ends:
                    tracemalloc.reset_peak()
        for _ in framer.close() if ends else ():
            pass
    except WireError:
        pass
    finally:
        peak = tracemalloc.get_traced_memory()[1] - base
        tracemalloc.stop()
    return peak


@pytest.mark.parametrize(("framing", "body"), UNFINISHED.values(), ids=UNFINISHED)
def test_what_is_unfinished_takes_no_more_than_an_event(framing, body):
    """However long it goes on: ``max_event`` and what a read takes."""
    assert peak_of(framing, body, ends=False) < MAX_EVENT + SLACK


@pytest.mark.parametrize(("framing", "body"), WHOLE.values(), ids=WHOLE)
def test_what_is_whole_is_copied_once(framing, body):
    """The largest event there may be, and the frame that it becomes."""
    assert MAX_EVENT // 2 < peak_of(framing, body, ends=True) < 2 * MAX_EVENT + SLACK
