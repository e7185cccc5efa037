"""A stream that was cut off is told as an error, never as an end; a whole one is never called cut."""

import json
import random

import pytest
from wire import reading_back
from wire.driving import DONE, ROLE, SSE, STOP, Drive, chunk, line, message, usage, word
from wire.recordings import recordings

BODIES = [body for body in recordings() if not body.expected["error"]]
OUTPUTS = ["native", "openai", "same"]


def reader(body, output):
    """What reads *output* back."""
    return getattr(reading_back, body.dialect if output == "same" else output)


ENDS = {"message_delta", "message_stop", "message-end", "stream-end", "response.completed"}
"""Types of events that end something."""


def is_an_end(block):
    """Whether a block of the upstream holds a finish or an end, by its bare JSON."""
    text = block.decode().strip()
    data = "\n".join(
        line.removeprefix("data:").strip() for line in text.splitlines() if line.startswith(("data:", "{"))
    )
    if not data:
        return False
    if data == "[DONE]":
        return True
    said = json.loads(data)
    reasons = [choice.get("finish_reason") for choice in said.get("choices") or ()]
    is_last = said.get("done") is True or not ENDS.isdisjoint((said.get("type"), said.get("event_type")))
    is_last = is_last or said.get("generated_text") is not None or said.get("stop") is True
    is_last = is_last or (said.get("object") == "thread.run" and said["status"] == "completed")
    reasons += [result["stop_reason"] != "not_finished" for result in said.get("results") or ()]
    return is_last or any(reasons)


def parted(body):
    """Return a body up to its first finish or end, and the whole of it without any of those."""
    separator = b"\n" if body.framing == "ndjson" else b"\n\n"
    blocks = body.body.split(separator)
    marks = [at for at, block in enumerate(blocks) if is_an_end(block)]
    before = separator.join(blocks[: marks[0]]) + separator
    without = separator.join(block for at, block in enumerate(blocks) if at not in marks)
    return before, without


def ended(body, output, data, **settings):
    """Drive *data* in one piece to a clean end of the body."""
    drive = Drive(output, body.content_type, **settings)
    drive.feed(data, 0.5)
    drive.close(1.0)
    return drive


def check_cut(drive, read):
    """The outcome says so, and so does the last event if there were any."""
    pipeline = drive.pipeline
    assert (pipeline.outcome, pipeline.failure.code) == ("truncated", "upstream_truncated")
    assert pipeline.is_told is pipeline.is_open
    if not pipeline.is_open:
        assert drive.body == b""
        drive.tell(1.0)
    if drive.body:
        assert read(drive.body).error is not None


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("body", BODIES, ids=str)
def test_a_body_without_its_end_is_truncated(body, output):
    """All finish and end frames taken out: everything else arrives, then an error."""
    _, without = parted(body)

    drive = ended(body, output, without)

    check_cut(drive, reader(body, output))


@pytest.mark.parametrize("body", BODIES, ids=str)
def test_a_body_cut_before_its_end_is_truncated(body):
    """Cut at ten random places before the first finish: truncated each time, by whatever way it is read."""
    before, _ = parted(body)
    chance = random.Random(str(body))

    for at in chance.sample(range(1, len(before)), min(10, len(before) - 1)):
        output, dialect = chance.choice(OUTPUTS), chance.choice(["auto", body.dialect])
        drive = ended(body, output, before[:at], dialect=dialect)
        check_cut(drive, reader(body, output))


@pytest.mark.parametrize("body", BODIES, ids=str)
def test_what_arrived_before_the_cut_has_left(body):
    """The text of whole events is a beginning of the answer, and not a letter of it is missing."""
    before, _ = parted(body)
    at = random.Random(str(body)).randrange(len(before) // 2, len(before))

    whole, cut = ended(body, "native", before), ended(body, "native", before[:at])
    for drive in (whole, cut):
        drive.tell(1.0)

    texts = [reading_back.native(drive.body).first for drive in (whole, cut)]
    assert texts[0].text.startswith(texts[1].text)
    assert texts[0].reasoning.startswith(texts[1].reasoning)
    assert body.expected["text"].startswith(texts[0].text)


@pytest.mark.parametrize("code", ["upstream_truncated", "upstream_disconnected", "upstream_protocol"])
@pytest.mark.parametrize("end", [STOP, STOP + usage(9, 1), DONE])
def test_a_connection_that_breaks_after_the_answer_is_no_failure(code, end):
    """Once every choice has finished, how the connection ends is of no interest."""
    drive = Drive()
    drive.feed(ROLE + word("Hi") + end, 1.0)
    drive.fail(code, 1.1)

    assert (drive.pipeline.outcome, drive.pipeline.failure) == ("completed", None)
    assert reading_back.native(drive.body).finish["finish_reason"] in ("stop", "other")


@pytest.mark.parametrize("code", ["upstream_truncated", "upstream_disconnected", "upstream_protocol"])
def test_a_connection_that_breaks_before_the_finish_fails_with_its_own_code(code):
    """What has arrived leaves first, held or not."""
    drive = Drive(batch_size=100, batch_delay=60.0)
    drive.feed(word("Hel") + word("lo"), 1.0)
    drive.fail(code, 1.1)

    answer = reading_back.native(drive.body)
    assert answer.first.text == "Hello"
    assert answer.error["code"] == code
    assert drive.pipeline.outcome == ("truncated" if code == "upstream_truncated" else "upstream_error")


@pytest.mark.parametrize("is_clean", [True, False])
def test_a_choice_that_has_not_finished_is_cut_off(is_clean):
    """One of two choices has finished: the end of the body is no end of the answer."""
    drive = Drive(choices=2)
    drive.feed(word("a") + word("b", 1) + chunk(finish="stop"), 1.0)
    drive.close(1.1) if is_clean else drive.fail("upstream_truncated", 1.1)

    answer = reading_back.native(drive.body)
    assert drive.pipeline.outcome == "truncated"
    assert (answer.first.text, answer.of(1).text) == ("a", "b")
    assert answer.error["code"] == "upstream_truncated"


@pytest.mark.parametrize(
    ("dialect", "content_type", "cut"),
    [
        (
            "anthropic",
            SSE,
            message(type="message_start", message={"id": "m", "model": "c", "usage": {}})[:-30],
        ),
        ("openai", SSE, word("Hel")[:-30]),
        ("openai", SSE, b": keepalive\n\n"),
        ("openai", SSE, b"data: {"),
        ("openai", SSE, b"dat"),
        ("openai", SSE, ROLE),
        ("ollama", "application/x-ndjson", line(message={"content": "Hi"}, done=False)[:-9]),
    ],
)
@pytest.mark.parametrize("is_named", [False, True])
def test_a_cut_inside_the_first_event_is_a_cut(dialect, content_type, cut, is_named):
    """Nothing has been said yet, not even in which dialect; still it broke off, and a retry may help."""
    drive = Drive("native", content_type, dialect=dialect if is_named else "auto")
    drive.feed(cut, 1.0)
    drive.close(1.1)

    check_cut(drive, reading_back.native)


def test_a_last_line_of_json_without_its_newline_is_whole():
    """NDJSON needs no newline at its end; half a line is a cut."""
    first = line(message={"content": "Hi"}, done=False)
    last = line(message={"content": ""}, done=True, done_reason="stop").rstrip()
    drives = []
    for end in (last, last[:-1]):
        drives.append(Drive("same", "application/x-ndjson"))
        drives[-1].feed(first + end, 1.0)
        drives[-1].close(1.1)

    whole, cut = drives
    assert whole.pipeline.outcome == "completed"
    assert reading_back.ollama(whole.body).first.text == "Hi"
    check_cut(cut, reading_back.ollama)


def test_a_cut_of_raw_bytes_can_only_be_cut():
    """Raw has no words for a failure: the caller must cut the connection."""
    drive = Drive("raw")
    drive.feed(word("Hel") + word("lo")[:20], 1.0)
    drive.close(1.1)

    assert drive.body == word("Hel") + word("lo")[:20]
    assert (drive.pipeline.outcome, drive.pipeline.is_told) == ("truncated", False)
