"""
Same in, same out, batching on: the message that a vendor's client adds up behind the gate is the one that it
adds up without it. Logprobs, annotations, signatures, encrypted reasoning, cache usage, ids, vendors' extras.
"""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wire import accumulating
from wire.accumulating import RULES
from wire.driving import Drive
from wire.recordings import recordings

BODIES = [body for body in recordings() if body.dialect in RULES]
BATCHES = [(5, 0.04), (60, 10.0)]


def direct(body):
    """What a client adds up of the recording itself."""
    said = accumulating.events(body.framing, body.body)
    for event in said:
        if event.get("error", "absent") is None:
            del event["error"]  # the one thing taken out: some clients take its mere presence for an error
    return RULES[body.dialect](said)


def through(body, output, pieces, **settings):
    """What it adds up behind the gate, and how many events that took."""
    choices = 1 + len(body.expected["other"].get("choices", {}))
    drive = Drive(output, body.content_type, choices=choices, total=None, **settings)
    for at, piece in enumerate(pieces):
        drive.feed(piece, 0.5 + at / 1000)
    drive.close(100.0)
    drive.tell(100.0)
    said = accumulating.events(body.framing, drive.body)
    return RULES[body.dialect](said), len(said)


def cut(body, count):
    chance = random.Random(f"{body} {count}")
    size = len(body.body)
    ends = sorted(chance.sample(range(1, size), min(count, size - 1)))
    return [body.body[start:end] for start, end in zip([0, *ends], [*ends, size], strict=True)]


def outputs(body):
    return ["same", body.dialect] if body.dialect in ("openai", "anthropic", "responses") else ["same"]


HEALTHY = [body for body in BODIES if not (body.expected["error"] or body.is_cut)]


@pytest.mark.parametrize(
    ("body", "output"), [(body, output) for body in HEALTHY for output in outputs(body)], ids=str
)
def test_the_accumulated_message_is_the_direct_one(body, output):
    """Every member of every object, in whatever batches, with metadata on each event or none."""
    known = direct(body)

    for size, delay in BATCHES:
        for pieces in ([body.body], cut(body, 20)):
            for metadata in ("off", "every"):
                batch = {"batch_size": size, "batch_delay": delay, "metadata": metadata}
                assert through(body, output, pieces, **batch)[0] == known, batch


@pytest.mark.parametrize("dialect", RULES)
@given(
    data=st.data(),
    size=st.integers(1, 40),
    delay=st.sampled_from([None, 0.001, 0.04, 10.0]),
    count=st.integers(0, 40),
)
def test_no_batch_changes_it(dialect, data, size, delay, count):
    """Whatever is joined with whatever."""
    bodies = [body for body in HEALTHY if body.dialect == dialect and len(body.body) < 20_000]
    body = data.draw(st.sampled_from(bodies), label="body")

    message, _ = through(body, "same", cut(body, count), batch_size=size, batch_delay=delay, metadata="off")

    assert message == direct(body)


@pytest.mark.parametrize("dialect", RULES)
def test_deltas_are_joined_at_all(dialect):
    """Else all of this would prove nothing."""
    bodies = [body for body in HEALTHY if body.dialect == dialect]
    came = sum(len(accumulating.events(body.framing, body.body)) for body in bodies)
    left = sum(
        through(body, "same", [body.body], batch_size=60, batch_delay=10.0, metadata="off")[1]
        for body in bodies
    )

    assert left < came * 0.9


@pytest.mark.parametrize("body", [body for body in BODIES if body.expected["error"]], ids=str)
def test_what_came_before_an_error_is_the_same(body):
    """All but the error itself, which has the upstream's own words in it."""
    drive = Drive("same", body.content_type, total=None, metadata="off")
    drive.feed(body.body, 0.5)
    drive.close(0.6)
    drive.tell(0.6)

    said, came = (accumulating.events(body.framing, data) for data in (drive.body, body.body))
    assert body.error_message in str(said[-1])
    told, known = ([event for event in one if not is_error(event)] for one in (said, came))
    assert RULES[body.dialect](told) == RULES[body.dialect](known)


def is_error(event):
    return "error" in event or event.get("type") == "response.failed"


# ---- the rules themselves ------------------------------------------------------------------------


@pytest.mark.parametrize("body", [body for body in HEALTHY if len(body.body) < 12_000], ids=str)
def test_no_event_can_get_lost_unseen(body):
    """Taking out any one event with a piece of an answer changes what is added up."""
    said = accumulating.events(body.framing, body.body)
    rule = RULES[body.dialect]
    known = rule(accumulating.events(body.framing, body.body))

    for at, event in enumerate(said):
        rest = accumulating.events(body.framing, body.body)
        del rest[at]
        try:
            is_seen = rule(rest) != known
        except (KeyError, IndexError):
            is_seen = True
        assert is_seen or not says_anything(event), event


GROWING = {"content", "text", "thinking", "reasoning", "partial_json", "arguments", "response", "delta"}


def says_anything(value, name=""):
    """Whether a piece of an answer, of thinking or of a call stands anywhere in it."""
    if isinstance(value, dict):
        return any(says_anything(item, key) for key, item in value.items())
    if isinstance(value, list):
        return any(says_anything(item, name) for item in value)
    return name in GROWING and isinstance(value, str) and value != ""
