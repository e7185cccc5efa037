"""
Every recording, in every output that can tell it, held against the profile of the wire byte by byte, and
added up: no batch setting, no cut and no pause changes what a client has in the end.
"""

import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wire import byte_profile
from wire.byte_profile import BEAT
from wire.driving import Drive
from wire.proving import OUTPUTS, check, fitting
from wire.recordings import recordings

BODIES = recordings()
PAIRS = [(body, output) for body in BODIES for output in fitting(body)]
SMALL = 24 << 10
NOOPS = {
    "openai": b'"delta":{},"logprobs":null,"finish_reason":null}]}\n\n',
    "anthropic": b'event: ping\ndata: {"type":"ping"}\n\n',
    "responses": b"event: response.in_progress\n",
}
"""What formats say in long silences after their first content."""


def driven(body, output, ends, pauses, **settings):
    """
    Drive *body*, cut at *ends*, to its end.

    Args:
        pauses: Before each piece, in turn. Where the answer may be over only short ones are kept: a finish
            waits for two seconds, and what comes later is not told.
    """
    choices = 1 + len(body.expected["other"].get("choices", {}))
    clocks = {"first_token": None, "idle": None, "total": None}
    drive = Drive(output, body.content_type, choices=choices, **clocks, **settings)
    data, now = body.body, 0.0
    for number, (start, end) in enumerate(pairwise([0, *ends, len(data)])):
        pause = pauses[number % len(pauses)] if pauses else 0.0
        now += pause if pause < 0.1 or drive.pipeline.finish is None else 0.0
        drive.feed(data[start:end], now)
    drive.close(now)
    drive.tell(now)
    return drive


def beats_of(drive):
    """Check the bytes that left; return the heartbeats among them."""
    form = drive.pipeline.format
    media = form.content_type.partition(";")[0]
    return byte_profile.check(form.name, media, [data for _, data in drive.writes])


def seeded(body, output):
    """Random cuts, pauses and batch settings for one recording in one output, the same each time."""
    chance = random.Random(f"{body} {output}")
    count = chance.choice([1, 5, 40, 200])
    ends = sorted(chance.sample(range(1, len(body.body)), min(count, len(body.body) - 1)))
    pauses = [chance.choice([0.0, 0.001, 0.02, 0.045]) for _ in range(17)]
    settings = {
        "batch_size": chance.choice([1, 2, 5, 50]),
        "batch_delay": chance.choice([None, 0.0, 0.01, 0.04, 1.0]),
        "metadata": chance.choice(["off", "final", "every"]),
        "numbered": chance.choice([False, False, True]),
    }
    return ends, pauses, settings


@pytest.mark.parametrize(("body", "output"), PAIRS, ids=str)
def test_every_byte_keeps_to_the_profile(body, output):
    """
    LF, one space, one-line JSON, data in each event, UTF-8 without BOM, whole events a write, one end.

    Once in one piece and unbatched, once cut and batched at random; what is added up is the recording's text.
    """
    ends, pauses, settings = seeded(body, output)
    whole = driven(body, output, [], [], batch_delay=None, metadata="final")
    parts = driven(body, output, ends, pauses, **settings)

    for drive in (whole, parts):
        assert beats_of(drive) == 0
        check(body, output, drive)


@pytest.mark.parametrize(("body", "output"), PAIRS, ids=str)
def test_signs_of_life_keep_to_the_profile(body, output):
    """
    An upstream that is silent for a minute, over and over: comments alone, or the format's own no-op.

    None stands inside an event, none comes where the format has no room, and none is part of the answer.
    """
    ends, _, settings = seeded(body, output)
    drive = driven(body, output, ends[:40], [0.0, 61.0], heartbeat=15.0, **settings | {"numbered": False})
    form = drive.pipeline.format

    beats = beats_of(drive)
    check(body, output, drive)
    assert beats == 0 or form.heartbeat == BEAT
    assert beats == 0 or form.name not in byte_profile.SILENT
    said = drive.pipeline.stats.heartbeats - beats
    assert said == 0 or drive.body.count(NOOPS[form.name]) >= said


def short(output):
    """The recordings that an output can tell, without the long ones."""
    return [body for body in BODIES if output in fitting(body) and len(body.body) < SMALL]


@pytest.mark.parametrize("output", OUTPUTS)
@given(
    data=st.data(),
    size=st.integers(1, 60),
    delay=st.sampled_from([None, 0.0, 0.001, 0.04, 0.3, 10.0]),
    cuts=st.lists(st.floats(0, 1, exclude_max=True), max_size=30),
    pauses=st.lists(st.sampled_from([0.0, 0.001, 0.03, 0.041, 0.5, 3.0, 70.0]), max_size=8),
    metadata=st.sampled_from(["off", "final", "every"]),
)
def test_no_batch_setting_changes_an_answer(output, data, size, delay, cuts, pauses, metadata):
    """Text, reasoning, refusal and arguments are the recording's, and every byte keeps to the profile."""
    body = data.draw(st.sampled_from(short(output)), label="body")
    ends = sorted({1 + int(cut * (len(body.body) - 1)) for cut in cuts})
    drive = driven(body, output, ends, pauses, batch_size=size, batch_delay=delay, metadata=metadata)

    beats_of(drive)
    check(body, output, drive)


# ---- the checker itself --------------------------------------------------------------------------

TOKEN, LAST = b'data: {"token":"a","finished":false}\n\n', b'data: {"finished":true}\n\n'
CHUNK, DONE = b'data: {"choices":[]}\n\n', b"data: [DONE]\n\n"


@pytest.mark.parametrize(
    ("form", "writes"),
    [
        ("native", [TOKEN.replace(b"\n", b"\r\n"), LAST]),
        ("native", [b"\xef\xbb\xbf" + TOKEN, LAST]),
        ("native", [TOKEN.replace(b"a", b"\xed\xa0\xbd"), LAST]),
        ("native", [TOKEN.replace(b": {", b":{"), LAST]),
        ("native", [TOKEN.replace(b": {", b":  {"), LAST]),
        ("native", [TOKEN.replace(b",", b",\ndata: "), LAST]),
        ("native", [TOKEN.replace(b'"a"', b"NaN"), LAST]),
        ("native", [TOKEN[:9], TOKEN[9:], LAST]),
        ("native", [TOKEN[:-1], b"\n", LAST]),
        ("native", [TOKEN, b":\n\n", LAST]),
        ("native", [TOKEN, b": ping\n", LAST]),
        ("native", [b"event: token\n" + TOKEN, LAST]),
        ("native", [b"retry: 3\n\n", LAST]),
        ("native", [b"event: ping\n\n", LAST]),
        ("native", [TOKEN, LAST, TOKEN]),
        ("native", [TOKEN, LAST, LAST]),
        ("native", [TOKEN]),
        ("openai", [CHUNK]),
        ("openai", [DONE, CHUNK]),
        ("openai", [CHUNK, DONE, DONE]),
        ("openai", [b'data: {"choices":[],"error":null}\n\n', DONE]),
        ("openai", [b"data: \n\n", DONE]),
        ("gemini", [b'data: {"candidates":[]}\n\n:\n']),
        ("text", [b"data: a\n\n"]),
        ("text", [b"a\n\nevent: done\ndata: stop\n\n"]),
    ],
)
def test_the_profile_refuses_what_breaks_a_client(form, writes):
    """A checker that let these pass would prove nothing."""
    with pytest.raises((AssertionError, ValueError, KeyError)):
        byte_profile.check(form, "text/event-stream", writes)


@pytest.mark.parametrize(
    ("form", "writes", "beats"),
    [
        ("native", [BEAT, TOKEN + LAST], 1),
        ("native", [b"id: s-1\n" + TOKEN, BEAT + BEAT + LAST], 2),
        ("native", [b'event: error\ndata: {"error":"m","finished":true}\n\n'], 0),
        ("openai", [CHUNK, DONE], 0),
        ("text", [b"data: \ndata: \n\n", b"data: [DONE]\n\n", b"event: done\ndata: stop\n\n"], 0),
    ],
)
def test_the_profile_takes_what_every_client_reads(form, writes, beats):
    """Heartbeats between events, ids, a named error, text of blank lines."""
    assert byte_profile.check(form, "text/event-stream", writes) == beats
