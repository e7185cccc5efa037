"""What every framer promises, whatever its framing."""

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssegate.wire.errors import WireError
from ssegate.wire.framing import FRAMINGS

from .bodies import (
    PLENTY,
    SAMPLES,
    UNFINISHED,
    UNITS,
    bytewise,
    cut_at,
    cut_in_two,
    flipped,
    framed,
    outcome,
    work,
)

EVERY = pytest.mark.parametrize("framing", sorted(FRAMINGS))


def texts(framing, frames):
    """Frames, in a form that does not tell where plain text was cut."""
    return b"".join(frame.data for frame in frames) if framing == "text" else frames


def test_every_framing_has_its_samples():
    """No framing is left out of what follows."""
    assert set(SAMPLES) == set(UNITS) == set(UNFINISHED) == set(FRAMINGS)


@EVERY
def test_no_cut_changes_the_frames(framing):
    """Whole, byte by byte, cut in two at every byte: all the same."""
    body = SAMPLES[framing]
    whole = texts(framing, framed(framing, [body]))

    assert whole
    assert texts(framing, framed(framing, bytewise(body))) == whole
    assert all(texts(framing, framed(framing, cut)) == whole for cut in cut_in_two(body))


@given(st.sampled_from(sorted(FRAMINGS)), st.data())
def test_no_cuts_at_all_change_the_frames(framing, data):
    """However often and wherever a body is cut, broken bodies too, frames and fault stay the same."""
    parts = st.sampled_from(
        [SAMPLES[framing], UNITS[framing], *UNFINISHED[framing], b"{", b'"', b"\\", b"\n"]
    )
    body = b"".join(data.draw(st.lists(parts, max_size=6)))
    cuts = data.draw(st.sets(st.integers(0, len(body)), max_size=8))
    frames, fault = outcome(framing, cut_at(body, cuts))
    whole, its_fault = outcome(framing, [body])

    assert (texts(framing, frames), fault) == (texts(framing, whole), its_fault)


@EVERY
def test_what_was_whole_before_a_cut_is_there(framing):
    """A body cut off anywhere gives the frames that were whole, and at most what is left, marked."""
    whole = framed(framing, [SAMPLES[framing]])
    for size in range(len(SAMPLES[framing])):
        frames = framed(framing, [SAMPLES[framing][:size]])

        if framing not in ("text", "json"):
            assert frames[:-1] == whole[: len(frames[:-1])]
            assert frames[-1:] == whole[len(frames) - 1 : len(frames)] or frames[-1].irregular


@EVERY
def test_no_flipped_bit_breaks_a_framer(framing):
    """Frames or a WireError, whole or byte by byte, and the same both ways."""
    body = SAMPLES[framing]
    for bit in range(len(body) * 8):
        frames, fault = outcome(framing, [flipped(body, bit)])
        again, its_fault = outcome(framing, bytewise(flipped(body, bit)))

        assert (texts(framing, frames), fault) == (texts(framing, again), its_fault)


@given(st.sampled_from(sorted(FRAMINGS)), st.lists(st.binary(max_size=40), max_size=8))
def test_no_bytes_break_a_framer(framing, pieces):
    """Whatever comes, a framer yields frames or raises a WireError."""
    _, fault = outcome(framing, pieces, max_event=64)

    assert fault in (None, "event_too_large", "upstream_bad_event")


@EVERY
def test_between_frames_nothing_is_kept(framing):
    """Where a framer says so, a new one frames the rest of the body alike, and an end yields nothing."""
    body = SAMPLES[framing]
    whole = texts(framing, framed(framing, [body]))
    places = 0
    for size in range(len(body) + 1):
        framer = FRAMINGS[framing](1 << 20)
        frames = list(framer.feed(body[:size]))
        if framer.is_between:
            places += 1
            rest = framed(framing, [body[size:]])

            assert texts(framing, frames + rest) == whole
            assert list(framer.close()) == []
    assert places > {"json": 1, "text": len("a ü € 𝄞\n")}.get(framing, len(whole))


@EVERY
def test_inside_a_frame_a_framer_is_not_between(framing):
    """One byte of an unfinished event is enough."""
    for beginning in UNFINISHED[framing]:
        framer = FRAMINGS[framing](PLENTY)
        assert framer.is_between
        assert list(framer.feed(beginning or b"\xe2")) == []

        assert not framer.is_between


@EVERY
def test_work_grows_with_the_events(framing):
    """Twice the events in one read are twice the work, in calls and in memory."""
    start = b"[" if framing == "json-array" else b""
    calls, memory = work(framing, [start + UNITS[framing] * 1000])
    more_calls, more_memory = work(framing, [start + UNITS[framing] * 2000])

    assert more_calls < 2.5 * calls
    assert more_memory < 2.5 * memory


@pytest.mark.parametrize(
    ("framing", "beginning"),
    [(framing, start) for framing in sorted(FRAMINGS) for start in UNFINISHED[framing]],
)
@pytest.mark.parametrize("filling", [b"x", b"\\", b'"\\"', b"{}", b"x\nx"])
def test_work_grows_with_the_bytes_of_a_cut_event(framing, beginning, filling):
    """Byte by byte, twice the size is twice the work: what is kept is never gone through again."""
    size = 2048
    calls, memory = work(framing, list(bytewise(beginning + (filling * size)[:size])))
    more_calls, more_memory = work(framing, list(bytewise(beginning + (filling * size * 2)[: 2 * size])))

    assert more_calls < 2.5 * calls
    assert more_memory < 2.5 * memory + 4096


@pytest.mark.parametrize(
    ("framing", "beginning"),
    [(framing, start) for framing in sorted(FRAMINGS) for start in UNFINISHED[framing]],
)
@pytest.mark.parametrize("filling", [b"x", b"x\ndata: x\ndata: ", b'"\\"'])
def test_no_framer_keeps_more_than_its_cap(framing, beginning, filling):
    """However long the body goes on: the largest event, one read, and what a growing buffer needs beside."""
    cap, read = 1 << 18, 1 << 12
    framer = FRAMINGS[framing](cap)
    kept = 0
    pieces = [beginning, *[(filling * read)[:read]] * (4 * cap // read)]
    tracemalloc.start()
    try:
        for piece in pieces:
            list(framer.feed(piece))
            kept = max(kept, tracemalloc.get_traced_memory()[0])
    except WireError:
        pass  # most are refused at the cap; the others go on, and keep nothing
    finally:
        tracemalloc.stop()

    assert kept < 1.2 * cap + 4 * read
