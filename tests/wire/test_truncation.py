"""A stream that was cut off is told as an error, never as an end; a whole one is never called cut."""

import pytest
from wire import reading_back
from wire.driving import DONE, ROLE, SSE, STOP, Drive, chunk, line, message, usage, word
from wire.proving import Way, drive, fitting, tell, turns
from wire.recordings import recordings
from wire.taking_apart import blocks, is_error, over_at, places, without_ends

BODIES = recordings()
CUT = "upstream_truncated"


def check_cut(drive, read):
    """The outcome says so, and so does the last event if there were any."""
    pipeline = drive.pipeline
    assert (pipeline.outcome, pipeline.failure.code) == ("truncated", CUT)
    assert pipeline.is_told is pipeline.is_open
    if not pipeline.is_open:
        assert drive.body == b""
        drive.tell(1.0)
    if drive.body:
        assert read(drive.body).error is not None


@pytest.mark.parametrize(
    ("body", "output"),
    [(body, output) for body in BODIES for output in [*fitting(body), "raw"]],
    ids=str,
)
def test_a_body_without_its_end_is_truncated(body, output):
    """All finish, end and error frames taken out: everything else arrives, then an error."""
    rest = without_ends(body)
    if not rest:
        pytest.skip("it has nothing but its end")

    pipeline = drive(body, [rest], output).pipeline

    assert (pipeline.outcome, pipeline.failure.code) == ("truncated", CUT)


@pytest.mark.parametrize("body", BODIES, ids=str)
def test_a_cut_is_told_exactly_where_there_is_one(body, cuts):
    """
    Cut before its answer is over a body is truncated, cut after it is whole: at each place, in every output.

    The places just before and just behind the last byte of the answer are among them.
    """
    over, whole = over_at(body), body.body
    near = [] if over is None else [at for at in (over - 1, over, over + 1) if 0 < at < len(whole)]
    chosen = near + places(whole, cuts - len(near), f"{body} truncated")

    first, errors = blocks(body)[0], [block for block in blocks(body) if is_error(block)]
    for at, (output, way) in zip(chosen, turns(body, ["raw"]), strict=False):
        if whole[:at] == b"[":
            continue  # the beginning of any JSON document
        if at < first.end:  # what it is can be told by its label alone
            way = Way(body.content_type, way.dialect)
        told = drive(body, [whole[:at]], output, way).pipeline
        assert told.outcome in ends(over, errors, at), f"{at} of {over}, {output} {way}: {told.failure}"
        assert told.outcome != "truncated" or told.failure.code == CUT


def ends(over, errors, at):
    """How a body may end, cut at a place, the answer of which is over after so many bytes."""
    if any(block.end <= at for block in errors):
        return ["upstream_error"]
    if over is not None and over <= at:
        return ["completed"]
    # An event that is named "error" is one as soon as it has said anything.
    is_named = any(block.event == "error" and block.start < at for block in errors)
    return ["truncated", "upstream_error"] if is_named else ["truncated"]


@pytest.mark.parametrize("body", recordings("documents"), ids=str)
def test_a_cut_document_is_never_complete(body, cuts):
    """Half a JSON document is no answer, whatever it is taken for."""
    for at, (output, way) in zip(places(body.body.rstrip(), cuts, body), turns(body), strict=False):
        assert drive(body, [body.body[:at]], output, way).pipeline.outcome != "completed", f"{at} {way}"


@pytest.mark.parametrize("body", BODIES, ids=str)
def test_what_arrived_before_the_cut_has_left(body):
    """What whole events have said is a beginning of the answer, and not a letter of it is missing."""
    for at in places(body.body, 3, f"{body} arrived"):
        arrived = max((block.end for block in blocks(body) if block.end <= at), default=0)
        one, other = (
            reading_back.native(tell(body, [body.body[:end]], "native").data) for end in (arrived, at)
        )

        assert one.choices == other.choices
        assert body.expected["text"].startswith(one.first.text)
        assert body.expected["reasoning"].startswith(one.first.reasoning)


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
        ("openai", SSE, ROLE[:-1]),
        ("openai", SSE, ROLE[:-2]),
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
