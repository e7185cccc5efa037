import base64
import hashlib
import json
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wire.recordings import STREAMS

from ssegate.wire.errors import WireError
from ssegate.wire.events import Frame
from ssegate.wire.framing import FRAMINGS

from .bodies import PLENTY, bytewise, cut_in_two, framed

CASES = json.loads((STREAMS / "sse_cases.json").read_text(encoding="utf-8"))["cases"]
RESPLIT = [case for case in CASES if case["resplit"]]


def pieces(case):
    """The exact chunks of a case: base64, or generated bulk."""
    for piece in case["upstream_bytes_chunks"]:
        if isinstance(piece, str):
            yield base64.b64decode(piece)
        else:
            bulk = base64.b64decode(piece["unit"]) * piece["count"]
            size = piece.get("split") or len(bulk)
            yield from (bulk[at : at + size] for at in range(0, len(bulk), size))


def strictly(frames):
    """What a strict reader would have dispatched, in the words of the cases."""
    return [
        {"event": frame.event or "message", "data": frame.data.decode(errors="replace"), "id": frame.id}
        for frame in frames
        if not frame.irregular
    ]


def expected(case, found):
    events = []
    for event, ours in zip(case["expected_events"], found, strict=True):
        data = event["data"]
        if isinstance(data, dict):
            assert len(ours["data"]) == data["len"]
            assert hashlib.sha256(ours["data"].encode()).hexdigest() == data["sha256"]
            data = ours["data"]
        events.append({"event": event["event"], "data": data, "id": event["id"]})
    return events


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_what_a_strict_reader_sees_is_what_the_standard_says(case):
    """110 cases of the standard and of real servers, cut as they were."""
    found = strictly(framed("sse", pieces(case)))

    assert found == expected(case, found)


@pytest.mark.parametrize("case", RESPLIT, ids=lambda case: case["name"])
def test_no_cut_changes_a_case(case):
    """The same frames whole, byte by byte, and cut in two at every byte."""
    body = b"".join(pieces(case))
    whole = framed("sse", [body])

    assert framed("sse", bytewise(body)) == whole
    assert all(framed("sse", cut) == whole for cut in cut_in_two(body))


def test_there_are_110_cases():
    """No case got lost."""
    assert len(CASES) == 110


@pytest.mark.parametrize(
    ("body", "frames"),
    [
        (b"data: a\n\ndata: b", [Frame("", b"a"), Frame("", b"b", irregular="unfinished")]),
        (b"event: x\nid: 7\ndata: b\n", [Frame("x", b"b", "7", "unfinished")]),
        (b"event: x\n", []),
        (b'error: {"code":500}\n\n', [Frame("error", b'{"code":500}', irregular="error_field")]),
        (b'error: {"code":500}', [Frame("error", b'{"code":500}', irregular="error_field")]),
        (
            b"data: a\nerror: {}\ndata: b\n\n",
            [Frame("error", b"{}", irregular="error_field"), Frame("", b"a\nb")],
        ),
        (b"error: not json\n\n", []),
        (b'data: a\n\n{"error":1}\n', [Frame("", b"a"), Frame("", b'{"error":1}', irregular="bare")]),
        (
            b'data: a\n\n{\n  "error": {\n    "code": 499\n  }\n}\ndata: b\n\n',
            [
                Frame("", b"a"),
                Frame("", b'{\n  "error": {\n    "code": 499\n  }\n}', irregular="bare"),
                Frame("", b"b"),
            ],
        ),
        (b'{ "cut\n', [Frame("", b'{ "cut', irregular="bare")]),
        (b'{ "cut\ndata: a\n\n', [Frame("", b'{ "cut', irregular="bare"), Frame("", b"a")]),
        (b'data: a\n{"in":"an event"}\n\n', [Frame("", b"a")]),
        (b'{\n: ping\n"a": 1\n}\n', [Frame("", b'{\n"a": 1\n}', irregular="bare")]),
        (b' data: a\n {"a":1}\n\n', []),
    ],
)
def test_what_a_strict_reader_drops_is_marked(body, frames):
    """Unfinished events, bare objects and error fields become frames that say so."""
    assert framed("sse", [body]) == frames
    assert framed("sse", bytewise(body)) == frames


def test_a_bare_object_does_not_wait_for_what_follows():
    """An error between events is told at once, though the connection stays open."""
    framer = FRAMINGS["sse"](PLENTY)

    assert list(framer.feed(b'data: a\n\n{"error":{"message":"}{"}}\n'))[1].irregular == "bare"
    (frame,) = framer.feed(b'{\n "error": 1\n}\n')
    assert frame.irregular == "bare"


def test_a_lone_cr_at_the_end_of_a_read_ends_the_event():
    """Nothing waits for an LF that may never come; if it comes it says nothing."""
    framer = FRAMINGS["sse"](PLENTY)

    assert [frame.data for frame in framer.feed(b"data: a\r\r")] == [b"a"]
    assert list(framer.feed(b"\n")) == []
    assert [frame.data for frame in framer.feed(b"data: b\r\r")] == [b"b"]


def test_between_the_halves_of_a_crlf_nothing_is_said_to_begin():
    """What comes next may be its LF; if it is not, the event it begins is told as ever."""
    framer = FRAMINGS["sse"](PLENTY)
    between = [not list(framer.feed(piece)) and framer.is_between for piece in (b":\r", b"\n", b":\r")]

    assert between == [False, True, False]
    assert list(framer.feed(b"data: a\n\n")) == [Frame("", b"a")]
    assert framer.is_between


def test_a_bom_is_no_event_and_only_at_the_start():
    """A reader that has seen none of it, part of it, all of it."""
    framer = FRAMINGS["sse"](PLENTY)
    between = [framer.is_between]
    for piece in (b"\xef\xbb", b"\xbf"):
        assert list(framer.feed(piece)) == []
        between.append(framer.is_between)

    assert between == [True, False, True]
    assert list(framer.feed(b"\xef\xbb\xbfdata: a\n\ndata: b\n\n")) == [Frame("", b"b")]


def test_a_name_or_id_without_measure_is_not_kept():
    """It would take room beside the largest event; an id of 64 KiB is still one."""
    long, longer = "7" * (1 << 16), "7" * ((1 << 16) + 1)
    body = f"id: {long}\nevent: {longer}\ndata: a\n\nid: {longer}\nevent: x\ndata: b\n\n".encode()

    assert framed("sse", [body]) == [Frame("", b"a", long), Frame("x", b"b", long)]


def test_the_whole_comes_before_the_fault():
    """Events that were whole are yielded, then the one above the cap is an error."""
    framer = FRAMINGS["sse"](8)
    frames = framer.feed(b"data: 12345678\n\ndata: 123456789\n\ndata: 1\n\n")

    assert next(frames).data == b"12345678"
    with pytest.raises(WireError) as caught:
        next(frames)
    assert caught.value.code == "event_too_large"


@pytest.mark.parametrize(
    "body",
    [
        b"data: 123456789\n\n",
        b"data: 1234\ndata: 5678\n\n",
        b"data: 123456789",
        b"event: x\ndata: 123456789\n\n",
        b"data: 1234\ndata: 5678901",
        b": a comment without an end",
        b'{"bare":"object"}\n',
        b'error: {"too":"large"}\n',
    ],
)
@pytest.mark.parametrize("cut", [lambda body: [body], bytewise], ids=["whole", "bytewise"])
def test_no_event_is_larger_than_the_cap(body, cut):
    """The cap holds for one line and for many, for finished events and for those without an end."""
    with pytest.raises(WireError) as caught:
        framed("sse", cut(body), max_event=8)

    assert caught.value.code == "event_too_large"


@pytest.mark.parametrize("body", [b"data: 12345678\n\n", b"data: 123\ndata: 5678\n\n", b"data: 12345678"])
def test_an_event_as_large_as_the_cap_is_allowed(body):
    """The cap counts the payload, not its framing."""
    assert len(framed("sse", [body], max_event=8)) == 1
    assert len(framed("sse", bytewise(body), max_event=8)) == 1


def test_an_endless_line_is_not_kept():
    """Memory stays at the cap and what a growing buffer needs beside it."""
    framer = FRAMINGS["sse"](1 << 20)
    piece = b"x" * (1 << 16)
    tracemalloc.start()
    try:
        with pytest.raises(WireError):
            for _ in range(64):
                list(framer.feed(piece))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 3 << 20


FIELDS = (
    b"data: ",
    b"data:",
    b"data",
    b"event: x",
    b"id: 1",
    b"id: \0",
    b"retry: 1",
    b"error: {}",
    b":",
    b" ",
)
PARTS = (
    *FIELDS,
    b"a",
    b"\n",
    b"\r",
    b"\r\n",
    b"\n\n",
    b'{"a":1}',
    b"{",
    b"}",
    b"\xef\xbb\xbf",
    b"\xff",
    b"\xe2\x82",
)


@given(st.lists(st.sampled_from(PARTS), max_size=30), st.data())
def test_no_cuts_at_all_change_the_frames(parts, data):
    """However often and wherever a body is cut, its frames stay the same."""
    body = b"".join(parts)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(body)), max_size=6)))
    cut = [body[start:end] for start, end in zip([0, *cuts], [*cuts, len(body)], strict=True)]

    assert framed("sse", cut) == framed("sse", [body])
