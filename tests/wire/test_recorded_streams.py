"""
Every recorded body through the whole pipeline, and read back from what left.

All of it is driven by tables: a new dialect, format or recording is under proof here by its line there.
"""

import hashlib
import json
import random
from itertools import cycle, pairwise
from pathlib import Path

import pytest
from wire import reading_back
from wire.driving import Drive
from wire.proving import check, drive, fitting, tell, turns, ways
from wire.recordings import REASONS, STREAMS, recordings
from wire.taking_apart import bytewise, in_crlf, places

from ssegate.wire.dialects import DIALECTS

BODIES = [*recordings(), *recordings("documents")]
ALL_STREAMS = Path(__file__).parents[3] / "shared" / "streams"
SMALL = 12 << 10


# ---- what must be there --------------------------------------------------------------------------


@pytest.mark.skipif(not ALL_STREAMS.is_dir(), reason="the whole collection is not beside this repository")
def test_no_recording_of_the_collection_is_missing():
    """Each of its 208 bodies is here, unchanged, with the entry that says where it comes from."""
    theirs = json.loads((ALL_STREAMS / "manifest.json").read_text("utf-8"))
    ours = {e["file"]: e for e in json.loads((STREAMS / "manifest.json").read_text("utf-8"))}

    assert len(theirs) == 208
    assert [e["file"] for e in theirs if e["file"] not in ours] == []
    for entry in theirs:
        known = ours[entry["file"]]
        assert (known["sha256"], known["licence"]) == (entry["sha256"], entry["licence"])
        assert known["expected"] == entry["expected"], entry["file"]


def test_every_recording_is_what_its_entry_says():
    """Size and hash of each body are those of its entry, and no file is without one, in order."""
    entries = json.loads((STREAMS / "manifest.json").read_text("utf-8"))
    files = [str(path.relative_to(STREAMS)) for path in STREAMS.glob("*/*")]

    assert [e["file"] for e in entries] == sorted(files)
    for entry in entries:
        body = (STREAMS / entry["file"]).read_bytes()
        assert (len(body), hashlib.sha256(body).hexdigest()) == (entry["size"], entry["sha256"])


def test_every_dialect_has_a_recording():
    """But the two that none was found of."""
    assert set(DIALECTS) - {body.dialect for body in BODIES} <= {"text", "replicate"}


# ---- what they say -------------------------------------------------------------------------------


def check_native(body, found):
    """Compare what only native tells: our word for the finish, counts and model."""
    if found.finish is None or found.error is not None:
        return
    reason = body.reason or "other"
    is_call = reason == "stop" and body.calls
    assert found.finish["finish_reason"] == ("tool_calls" if is_call else reason)
    word = body.upstream_reason
    if word is not None and word != found.finish["finish_reason"]:
        assert found.finish["upstream_finish_reason"] == word
    assert found.final.get("model") == body.expected["model"]
    counts = body.usage
    if counts is None or counts["output_tokens"] is None:
        assert found.final["usage_source"] == "estimated"
        assert "input_tokens" not in found.final
        return
    assert found.final["usage_source"] == "reported"
    assert found.final["total_tokens"] == counts["output_tokens"]
    assert {name: found.final.get(name) for name in counts} == counts


@pytest.mark.parametrize("body", BODIES, ids=str)
def test_a_recorded_body_is_told_in_full(body):
    """
    Text, reasoning, refusal, calls, finish, usage, model and error are what the recording is known to say.

    In every output, under its own content type, under none and under a wrong one, its dialect named or found.
    """
    for output in fitting(body):
        whole = drive(body, [body.body], output)
        found = check(body, output, whole)
        if output == "native":
            check_native(body, found)
        told = tell(body, [body.body], output)
        for way in ways(body):
            assert tell(body, [body.body], output, way) == told, f"{output} {way}"


@pytest.mark.parametrize("body", BODIES, ids=str)
def test_what_same_writes_says_the_same(body):
    """Read as an upstream's, the output is told as the recording is: same words, same end."""
    first = drive(body, [body.body], "same")
    again = Drive("native", first.pipeline.format.content_type, dialect=body.dialect, total=None)
    again.feed(first.body, 0.5)
    again.close(0.5)
    again.tell(0.5)
    once = drive(body, [body.body], "native")

    one, other = (reading_back.native(driven.body) for driven in (once, again))
    assert one.choices == other.choices
    outcomes = {"truncated": "upstream_error"}  # a cut has been told as an error
    assert again.pipeline.outcome == outcomes.get(once.pipeline.outcome, once.pipeline.outcome)
    if not body.expected.get("error"):  # none is written after an error
        assert again.pipeline.stats.usage == once.pipeline.stats.usage


@pytest.mark.parametrize("body", recordings("documents"), ids=str)
def test_a_document_on_one_line_is_told_as_any(body):
    """With a newline behind it, it could have been the first of many lines."""
    line = json.dumps(json.loads(body.body)).encode() + b"\n"
    for output in fitting(body):
        assert tell(body, [line], output) == tell(body, [body.body], output), output


# ---- however it comes ----------------------------------------------------------------------------


def known(body):
    """What the whole of *body* tells, by output."""
    return {output: tell(body, [body.body], output) for output in fitting(body)}


@pytest.mark.parametrize("body", BODIES, ids=str)
def test_no_cut_is_seen(body, cuts):
    """Cut in two anywhere, inside a character and between CR and LF too: not a byte of the output differs."""
    whole, told = body.body, known(body)
    for at, (output, way) in zip(places(whole, cuts, body), turns(body), strict=False):
        assert tell(body, [whole[:at], whole[at:]], output, way) == told[output], f"{at} {output} {way}"


@pytest.mark.parametrize("body", [body for body in BODIES if len(body.body) < 64 << 10], ids=str)
def test_byte_by_byte_is_the_same(body, thorough):
    """A read a byte, under every name and label in turn; with CRLF for LF where line ends are framing."""
    if len(body.body) > SMALL and not thorough:
        pytest.skip("a long body: only in `make proof`")
    told, steps = known(body), turns(body)
    for output, way in zip(cycle(fitting(body)), ways(body), strict=False) if thorough else [next(steps)]:
        assert tell(body, bytewise(body.body), output, way) == told[output], f"{output} {way}"
    if body.framing in ("sse", "ndjson"):
        output, way = next(steps)
        assert tell(body, bytewise(in_crlf(body.body)), output, way) == told[output], f"{output} {way}"


def pieces(body, seed):
    """Cut a body at random places, with a few pauses that last less than a finish waits."""
    chance = random.Random(seed)
    longest = max(2, len(body) // chance.choice([40, 400, 2000]))
    ends = [0]
    while ends[-1] < len(body):
        ends.append(ends[-1] + chance.randint(1, longest))
    pauses = {chance.choice(ends): pause for pause in [0.001, 0.04, 0.045] * 5 + [0.9]}
    for start, end in pairwise(ends):
        yield body[start:end], pauses.get(start, 0.0)


@pytest.mark.parametrize(
    ("body", "output"),
    [(body, output) for body in recordings() for output in fitting(body)],
    ids=str,
)
def test_pauses_and_batches_change_nothing(body, output):
    """Cut into many pieces, with pauses between them and neighbours joined: the same message."""
    choices = 1 + len(body.expected["other"].get("choices", {}))
    dialect = random.Random(f"{body} {output}").choice(["auto", body.dialect])
    driven = Drive(output, body.content_type, choices=choices, total=None, dialect=dialect)
    now = 0.0
    for piece, pause in pieces(body.body, f"{body} {output}"):
        now += pause
        driven.feed(piece, now)
    driven.close(now + 0.5)
    driven.tell(now + 0.5)

    check(body, output, driven)


@pytest.mark.parametrize("body", recordings(), ids=str)
def test_raw_bytes_are_untouched(body):
    """Up to the upstream's own end mark not one byte is changed, and none is added."""
    driven = drive(body, (piece for piece, _ in pieces(body.body, str(body))), "raw")
    data = driven.body

    if not driven.pipeline.is_open:  # an error before any content is an HTTP status
        assert (body.expected["error"] or body.is_cut) and data == b""
        return
    assert body.body.startswith(data)
    assert body.is_cut or not body.body[len(data) :].strip()


@pytest.mark.parametrize(
    "body",
    [body for body in recordings() if body.dialect == "openai" and not body.expected["error"]],
    ids=str,
)
def test_no_field_of_an_openai_shaped_chunk_is_lost(body):
    """Every key a chunk had is still there: ids, fingerprints, logprobs, vendors' own."""
    data = drive(body, [body.body], "openai", metadata="off").body
    sent = [block["data"] for block in reading_back.blocks(data)]
    came = [line[5:].strip() for line in body.body.decode().splitlines() if line.startswith("data:")]
    came = [json.loads(said) for said in came if said and said != "[DONE]"]
    for said in came:
        if said.get("error", "absent") is None:
            del said["error"]

    assert [json.loads(said) for said in sent[:-1]] == came


def test_every_reason_is_known():
    """A recording with a finish reason that nobody has put into our words would prove nothing."""
    words = {str(body.expected["finish_reason"]).lower() for body in BODIES if not body.expected.get("error")}

    assert words - {"none"} <= set(REASONS)
