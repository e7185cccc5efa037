"""
Spoiled bodies of every dialect and framing through the whole pipeline, to every output.

The dialects are those of the table, the bodies are the recordings: what is added there is spoiled here.
"""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wire.driving import Drive
from wire.fuzzing import FOUND, run, seeds
from wire.keeping_form import check
from wire.mutating import RAW, changed, message, of_json
from wire.proving import OCTETS, OUTPUTS
from wire.recordings import recordings

from ssegate.wire.description import Description
from ssegate.wire.dialects import DIALECTS
from ssegate.wire.errors import CODES

SMALL = 6000
"""Bodies up to this size are spoiled; of a dialect that has none, its smallest."""

BODIES = [*recordings(), *recordings("documents")]

numbers = st.integers(0, 1 << 20)
changes = st.lists(st.tuples(numbers, numbers, numbers), max_size=5)
cuts = st.lists(st.floats(0, 1), max_size=6)
settings_of_a_stream = st.fixed_dictionaries(
    {
        "metadata": st.sampled_from(["off", "final", "every"]),
        "batch_delay": st.sampled_from([None, 0.04]),
        "max_event": st.sampled_from([300, 1 << 20]),
        "max_stream": st.sampled_from([3000, 1 << 24]),
        "choices": st.integers(1, 2),
        "numbered": st.booleans(),
    }
)


def bodies(dialect):
    """The small recordings of *dialect*, one folder after the other."""
    found = [body for body in BODIES if body.dialect == dialect]
    small = [body for body in found if len(body.body) < SMALL]
    return small or sorted(found, key=lambda body: len(body.body))[:1]


def pieces(data, places):
    """*data* cut at *places*, each a fraction of it."""
    ends = sorted({int(place * len(data)) for place in places} | {len(data)})
    return [data[start:end] for start, end in zip([0, *ends], ends, strict=False) if start < end]


def driven(parts, output, label, dialect, settings, pause=0.0):
    """Drive *parts* to a clean end of the body; return the drive."""
    drive = Drive(output, label, dialect=dialect, total=None, **settings)
    now = 1.0
    for part in parts:
        now += pause
        drive.feed(part, now)
    drive.close(now)
    drive.tell(now)
    return drive


@pytest.mark.parametrize("dialect", [name for name in DIALECTS if bodies(name)])
@given(
    data=st.data(),
    changes=changes,
    cuts=cuts,
    output=st.sampled_from([*OUTPUTS, "raw"]),
    is_named=st.booleans(),
    label=st.sampled_from(["its own", "its own", None, OCTETS, "application/json", "text/plain"]),
    settings=settings_of_a_stream,
)
def test_no_spoiled_body_breaks_a_stream(dialect, data, changes, cuts, output, is_named, label, settings):
    """No exception, one outcome with a known code, and all that leaves keeps its form."""
    body = data.draw(st.sampled_from(bodies(dialect)))
    spoiled = changed(body, changes)
    label = body.content_type if label == "its own" else label
    name = dialect if is_named else "auto"

    drive = driven(pieces(spoiled, cuts), output, label, name, settings, pause=0.013)

    check(drive, spoiled, output)
    assert drive.pipeline.failure is None or drive.pipeline.failure.code in CODES


@pytest.mark.parametrize("dialect", [name for name in DIALECTS if bodies(name)])
@given(data=st.data(), changes=changes, cuts=cuts, output=st.sampled_from(OUTPUTS), is_named=st.booleans())
def test_no_cut_of_a_spoiled_body_is_seen(dialect, data, changes, cuts, output, is_named):
    """Broken or not: how the network cut the bytes never shows in what leaves."""
    body = data.draw(st.sampled_from(bodies(dialect)))
    spoiled = changed(body, changes)
    name, settings = dialect if is_named else "auto", {"batch_delay": None, "metadata": "final"}

    whole, cut = (
        driven(parts, output, body.content_type, name, settings)
        for parts in (pieces(spoiled, []), pieces(spoiled, cuts))
    )

    assert cut.body == whole.body
    assert (cut.pipeline.outcome, cut.pipeline.failure) == (whole.pipeline.outcome, whole.pipeline.failure)
    assert cut.pipeline.unclaimed == whole.pipeline.unclaimed


DESCRIBED = {
    "sse": {
        "text": (("choices", "0", "delta", "content"), ("choices", "0", "text"), ("token", "text")),
        "reasoning": (("choices", "0", "delta", "reasoning"),),
        "finish_reason": (("choices", "0", "finish_reason"),),
        "input_tokens": (("usage", "prompt_tokens"),),
        "output_tokens": (("usage", "completion_tokens"),),
        "error": (("error", "message"), ("error",)),
        "done": b"[DONE]",
    },
    "ndjson": {"text": (("message", "content"), ("response",)), "finish_reason": (("done_reason",),)},
    "json-array": {"text": (("candidates", "0", "content", "parts", "0", "text"),)},
    "eventstream": {"text": (("delta", "text"),), "finish_reason": (("stopReason",),)},
}
"""Dialects described for the recordings of each framing."""


@pytest.mark.parametrize("framing", DESCRIBED)
@given(data=st.data(), changes=changes, cuts=cuts, output=st.sampled_from([*OUTPUTS, "raw"]))
def test_no_spoiled_body_breaks_a_described_dialect(framing, data, changes, cuts, output):
    """Whatever stands where the configuration says the text is."""
    small = [body for body in recordings() if body.framing == framing and len(body.body) < SMALL]
    body = data.draw(st.sampled_from(small))
    described, spoiled = Description(framing, **DESCRIBED[framing]), changed(body, changes)

    whole, cut = (
        driven(parts, output, body.content_type, described, {"batch_delay": None})
        for parts in (pieces(spoiled, []), pieces(spoiled, cuts))
    )

    check(whole, spoiled, output)
    assert output == "raw" or cut.body == whole.body
    assert cut.pipeline.outcome == whole.pipeline.outcome


@pytest.mark.parametrize("name", [path.name for path in sorted(FOUND.iterdir())])
def test_what_once_broke_a_stream_does_so_no_more(name):
    """Inputs that a fuzzer has found."""
    run((FOUND / name).read_bytes())


def test_every_seed_of_the_fuzzer_runs():
    """An input is a few bytes of settings and a body; those made of recordings hold all that is checked."""
    for data in seeds().values():
        run(data)


# ---- the spoiling itself -------------------------------------------------------------------------


def test_json_is_spoiled_as_meant():
    """A value is replaced, dropped or wrapped, and tokens that are no JSON get in."""
    document = b'{"a": 1, "b": [2]}'

    assert json.loads(of_json(document, 0, 4)) == {"a": True, "b": [2]}
    assert json.loads(of_json(document, 0, 2)) == {"b": [2]}
    assert json.loads(of_json(document, 2, 7)) == {"a": 1, "b": [[2, True]]}
    found = {of_json(document, 0, how) for how in range(400)}
    assert all(any(token in text for text in found) for token in RAW.values())


def test_a_message_is_an_event_stream_s():
    """An event stream's message as AWS's own test vector has it: no headers, a payload, two checksums."""
    vector = bytes.fromhex("0000001d00000000fd528c5a7b27666f6f273a27626172277dc3653936")

    assert message(b"", b"{'foo':'bar'}") == vector
