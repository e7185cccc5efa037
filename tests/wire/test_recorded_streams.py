"""Every recorded body through the whole pipeline, and read back from what left."""

import json
import random
from itertools import pairwise

import pytest
from wire import reading_back
from wire.driving import Drive
from wire.recordings import recordings

BODIES = recordings()
OUTPUTS = ["native", "openai", "same"]


def reader(body, output):
    """What reads *output* back."""
    return getattr(reading_back, body.dialect if output == "same" else output)


def driven(body, output, pieces, **settings):
    """Drive *pieces* of a body, each with the time since the one before, to its end."""
    choices = 1 + len(body.expected["other"].get("choices", {}))
    drive = Drive(output, body.content_type, choices=choices, total=None, **settings)
    now = 0.0
    for piece, pause in pieces:
        now += pause
        drive.feed(piece, now)
    drive.close(now + 0.5)
    if output != "raw":
        drive.tell(now + 0.5)  # an error before any content; else this says nothing
    return drive


def cuts(body, seed):
    """Cut a body at random places, with a few pauses that last less than a finish waits."""
    chance = random.Random(seed)
    longest = max(2, len(body) // chance.choice([40, 400, 2000]))
    places = [0]
    while places[-1] < len(body):
        places.append(places[-1] + chance.randint(1, longest))
    pauses = {chance.choice(places): pause for pause in [0.001, 0.04, 0.045] * 5 + [0.9]}
    for start, end in pairwise(places):
        yield body[start:end], pauses.get(start, 0.0)


def check(body, output, drive):
    """Compare what was read back with what the recording is known to say."""
    answer = reader(body, output)(drive.body)
    expected, message = body.expected, answer.first
    is_mended = output == "native" or (output == "openai" and body.dialect != "openai")
    empty = "{}" if is_mended else ""

    assert message.text == expected["text"]
    assert message.reasoning == expected["reasoning"]
    assert message.refusal == expected["refusal"]
    assert message.calls == [call | {"arguments": call["arguments"] or empty} for call in body.calls]
    for choice, other in expected["other"].get("choices", {}).items():
        assert answer.of(int(choice)).text == other["text"]
        assert answer.of(int(choice)).finish_reason == other["finish_reason"]
    if expected["error"]:
        assert drive.pipeline.outcome == "upstream_error"
        # Some upstreams put their own words into the generic message; none may be lost.
        assert body.error_message in json.dumps(answer.error, ensure_ascii=False)
        return answer
    assert answer.error is None
    assert (drive.pipeline.outcome, drive.pipeline.failure) == ("completed", None)
    if output == "native":
        called = body.reason == "stop" and body.calls
        assert message.finish_reason == ("tool_calls" if called else body.reason or "other")
    return answer


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("body", BODIES, ids=str)
def test_nothing_of_a_recorded_body_is_lost(body, output):
    """In one piece at one moment: text, reasoning, refusal, calls and finish arrive as they were sent."""
    check(body, output, driven(body, output, [(body.body, 0.5)]))


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("body", BODIES, ids=str)
def test_cuts_and_pauses_change_nothing(body, output):
    """Cut anywhere, with pauses anywhere: the same message; the dialect named or found."""
    seed = f"{body} {output}"
    for dialect in ("auto", body.dialect):
        check(body, output, driven(body, output, cuts(body.body, seed + dialect), dialect=dialect))


@pytest.mark.parametrize("body", BODIES, ids=str)
def test_reported_usage_is_told_as_it_was_reported(body):
    """Usage of the last report, wherever it stood; without one it is estimated, and said so."""
    drive = driven(body, "native", cuts(body.body, str(body)))
    final = reading_back.native(drive.body).final
    counts = body.usage

    if counts is None or counts["output_tokens"] is None:
        assert final["usage_source"] == "estimated"
        assert "input_tokens" not in final
        return
    assert final["usage_source"] == "reported"
    assert final["total_tokens"] == counts["output_tokens"]
    assert {name: final.get(name) for name in counts} == counts


@pytest.mark.parametrize("body", BODIES, ids=str)
def test_raw_bytes_are_untouched(body):
    """Up to the upstream's own end mark not one byte is changed, and none is added."""
    drive = driven(body, "raw", cuts(body.body, str(body)))

    if not drive.pipeline.is_open:  # an error before any content is an HTTP status
        assert body.expected["error"] and drive.body == b""
        return
    assert body.body.startswith(drive.body)
    assert not body.body[len(drive.body) :].strip()


@pytest.mark.parametrize(
    "body", [body for body in BODIES if body.dialect == "openai" and not body.expected["error"]], ids=str
)
def test_no_field_of_an_openai_shaped_chunk_is_lost(body):
    """Every key a chunk had is still there: ids, fingerprints, logprobs, vendors' own."""
    drive = driven(body, "openai", [(body.body, 0.5)], batch_delay=None, metadata="off")
    sent = [block["data"] for block in reading_back.blocks(drive.body)]
    came = [line[5:].strip() for line in body.body.decode().splitlines() if line.startswith("data:")]
    came = [json.loads(data) for data in came if data and data != "[DONE]"]
    for said in came:
        if said.get("error", "absent") is None:
            del said["error"]

    assert [json.loads(data) for data in sent[:-1]] == came
