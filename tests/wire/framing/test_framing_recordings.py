import json

import pytest
from wire.recordings import recordings
from wire.taking_apart import places

from .bodies import bytewise, framed

BODIES = [*recordings(), *recordings("documents")]


@pytest.mark.parametrize("recording", BODIES, ids=str)
def test_no_cut_changes_the_frames(recording, cuts):
    """Network chunking is invisible: no cut of a recorded body changes its frames."""
    whole = framed(recording.framing, [recording.body])

    assert framed(recording.framing, bytewise(recording.body)) == whole
    for at in places(recording.body, cuts, recording):
        pieces = [recording.body[:at], recording.body[at:]]
        assert framed(recording.framing, pieces) == whole, f"cut {at}: …{pieces[0][-20:]!r}"


@pytest.mark.parametrize("recording", BODIES, ids=str)
def test_crlf_gives_the_same_frames(recording):
    """With CRLF for LF, whole, byte by byte and cut between CR and LF, the frames stay the same."""
    frames = framed(recording.framing, [recording.body])
    body = recording.body.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    between = body.find(b"\r\n") + 1

    for cut in ([body], bytewise(body), [body[:between], body[between:]]):
        found = framed(recording.framing, cut)
        if recording.framing == "json":  # line ends inside a document are its own
            assert [json.loads(frame.data) for frame in found] == [json.loads(frame.data) for frame in frames]
        else:
            assert found == frames


@pytest.mark.parametrize("recording", recordings(), ids=str)
def test_no_event_is_lost(recording):
    """As many frames as the recording has events, comments not counted, the end mark on top."""
    frames = framed(recording.framing, [recording.body])
    ends = [frame for frame in frames if frame.data.strip() == b"[DONE]"]

    assert len(frames) - len(ends) == recording.expected["events"]
