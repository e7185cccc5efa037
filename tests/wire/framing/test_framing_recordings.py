import json
import random

import pytest
from wire.recordings import recordings

from ssegate.wire.framing import FRAMINGS

from .bodies import PLENTY, bytewise, cut_in_two, flipped, framed, outcome

BODIES = [*recordings("bodies"), *recordings("documents")]
TEXTS = [body for body in BODIES if body.framing != "eventstream"]


@pytest.mark.parametrize("recording", BODIES, ids=str)
def test_every_cut_gives_the_same_frames(recording):
    """Network chunking is invisible: no cut of a recorded body changes its frames."""
    whole = framed(recording.framing, [recording.body])

    assert framed(recording.framing, bytewise(recording.body)) == whole
    for at, cut in enumerate(cut_in_two(recording.body)):
        assert framed(recording.framing, cut) == whole, f"cut {at}: …{cut[0][-20:]!r}"


@pytest.mark.parametrize("recording", TEXTS, ids=str)
def test_crlf_gives_the_same_frames(recording):
    """With CRLF for LF, whole, byte by byte and cut between CR and LF, the frames stay the same."""
    frames = framed(recording.framing, [recording.body])
    body = recording.body.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    between = body.find(b"\r\n") + 1

    for cut in ([body], bytewise(body), [body[:between], body[between:]]):
        found = framed(recording.framing, cut)
        if recording.framing in ("json", "json-array"):  # line ends inside a document are its own
            assert [json.loads(frame.data) for frame in found] == [json.loads(frame.data) for frame in frames]
        else:
            assert found == frames


@pytest.mark.parametrize("recording", recordings("bodies"), ids=str)
def test_no_event_is_lost(recording):
    """As many frames as the recording has events, comments not counted, the end mark on top."""
    frames = framed(recording.framing, [recording.body])
    ends = [frame for frame in frames if frame.data.strip() == b"[DONE]"]

    assert len(frames) - len(ends) == recording.expected["events"]


@pytest.mark.parametrize("recording", BODIES, ids=str)
def test_a_whole_body_leaves_nothing_behind(recording):
    """At its end a framer is between two frames, or the last one lacked its end and is marked."""
    framer = FRAMINGS[recording.framing](PLENTY)
    list(framer.feed(recording.body))
    is_between = framer.is_between
    last = list(framer.close())

    assert is_between is (last == [])
    assert recording.framing == "json" or all(frame.irregular == "unfinished" for frame in last)
    assert framer.has_ended is (True if recording.framing == "json-array" else None)


@pytest.mark.parametrize("recording", BODIES, ids=str)
def test_no_flipped_bit_breaks_a_framer(recording):
    """Of 200 damaged bodies none does anything but yield frames and, at the worst, raise a WireError."""
    body = recording.body
    for bit in random.Random(7).sample(range(len(body) * 8), 200):
        _, fault = outcome(recording.framing, [flipped(body, bit)])

        assert fault in (None, "upstream_bad_event", "event_too_large")
