"""Bodies that are passed on, or that are no streams: raw, foreign, complete answers, plain text."""

import json

import pytest
from wire import reading_back
from wire.driving import DONE, ROLE, STOP, Drive, line, word


def native(drive):
    return reading_back.native(drive.body)


@pytest.mark.parametrize("end", [STOP + DONE, STOP, DONE])
def test_raw_passes_every_byte_as_it_came(end):
    """Comments, CRLF, padding: nothing is added, nothing taken; the head waits for content all the same."""
    drive = Drive("raw")
    early = b": hi\r\n\r\nevent:  x\r\n" + ROLE
    assert drive.feed(early, 1.0) == b""
    body = word("Hi").replace(b"\n", b"\r\n") + end
    assert drive.feed(body, 2.0) == early + body
    drive.close(2.1)

    assert drive.body == early + body
    assert drive.pipeline.outcome == "completed"
    assert drive.pipeline.stats.deltas == 1


def test_a_body_to_pass_on_is_not_too_large():
    """The bounds of a stream are none of a picture's."""
    drive = Drive("native", None, max_stream=100)
    drive.feed(b"\x89PNG" + b"x" * 200, 1.0)

    assert drive.pipeline.unclaimed == b"\x89PNG" + b"x" * 200
    assert (drive.pipeline.outcome, drive.body) == (None, b"")


def test_raw_passes_what_comes_after_the_end_mark():
    """The mark is not the body's end: bytes behind it belong to the body, up to 2 s of them."""
    drive = Drive("raw")
    drive.feed(word("Hi") + STOP + DONE[:-1], 1.0)
    drive.feed(b"\n: bye\n", 1.5)
    drive.close(1.6)
    assert drive.body == word("Hi") + STOP + DONE + b": bye\n"
    assert drive.pipeline.outcome == "completed"

    endless = Drive("raw")
    endless.feed(word("Hi") + DONE, 1.0)
    endless.wait(10.0)
    assert endless.pipeline.outcome == "completed"


@pytest.mark.parametrize("output", ["raw", "same"])
def test_the_hold_ends_without_a_format_of_ours(output):
    """Once the upstream has told its content type, the head waits no longer than the hold."""
    unanswered = Drive(output, begun=False, hold=3.0)
    unanswered.wait(5.0)
    assert not unanswered.pipeline.is_open

    drive = Drive(output, hold=3.0)
    drive.wait(2.9)
    assert not drive.pipeline.is_open
    drive.wait(3.0)
    assert drive.pipeline.is_open
    drive.feed(word("Hi") + STOP + DONE, 4.0)
    drive.close(4.1)
    assert drive.pipeline.outcome == "completed"


def test_raw_cannot_tell_a_failure():
    """The bytes so far leave; that there are no more only a cut can say."""
    drive = Drive("raw")
    drive.feed(word("Hi") + word("cut")[:9], 1.0)
    drive.fail("idle_timeout", 2.0)

    assert drive.body == word("Hi") + word("cut")[:9]
    assert (drive.pipeline.outcome, drive.pipeline.is_told) == ("idle_timeout", False)
    assert drive.tell(3.0) == b""
    assert drive.pipeline.format is None


@pytest.mark.parametrize("output", ["native", "openai", "same", "raw"])
@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("image/png", b"\x89PNG\r\n\x1a\n" + bytes(range(256))),
        ("application/json", b'{"object": "list", "data": []}'),
        ("application/octet-stream", bytes(range(256))),
    ],
)
def test_a_foreign_body_is_handed_back_untouched(output, content_type, body):
    """Not a stream, not a failure: every byte of it is kept for who passes it on."""
    drive = Drive(output, content_type)
    for at in range(0, len(body), 7):
        drive.feed(body[at : at + 7], 1.0)
    drive.close(1.1)

    assert drive.pipeline.unclaimed == body
    assert (drive.pipeline.outcome, drive.body, drive.pipeline.is_open) == (None, b"", False)


def test_no_clock_runs_for_a_foreign_body():
    """A long download is no silent stream."""
    drive = Drive(content_type="image/png", hold=1.0, first_token=2.0, total=3.0)
    drive.feed(b"\x89PNG", 0.5)

    assert drive.pipeline.deadline is None
    assert drive.pipeline.tick(99.0) == b""
    assert (drive.pipeline.outcome, drive.pipeline.is_open) == (None, False)


def test_a_foreign_body_may_still_be_given_up():
    """It has no end of its own in here, but its client may leave."""
    drive = Drive(content_type="image/png")
    drive.feed(b"\x89PNG", 1.0)
    drive.fail("client_gone", 2.0)

    assert (drive.pipeline.outcome, drive.pipeline.unclaimed) == ("client_gone", b"\x89PNG")


@pytest.mark.parametrize("dialect", ["openai", "responses", "anthropic", "ollama"])
@pytest.mark.parametrize("indent", [None, 2])
def test_json_that_a_named_dialect_cannot_use_is_foreign(dialect, indent):
    """A list of models is no answer, whatever the route expects and however it is written."""
    body = json.dumps({"object": "list", "data": []}, indent=indent).encode()
    drive = Drive(content_type="application/json", dialect=dialect)
    drive.feed(body, 1.0)
    drive.close(1.1)

    assert drive.pipeline.unclaimed == body


def test_a_foreign_body_after_the_head_is_a_failure():
    """The client has been promised a stream."""
    drive = Drive(content_type="application/json", hold=1.0)
    drive.wait(1.0)
    drive.feed(b'{"object": "list"}', 2.0)
    drive.close(2.1)

    assert native(drive).error["code"] == "upstream_content_type"
    assert drive.pipeline.unclaimed is None


ANSWERS = {
    "openai": {
        "id": "c",
        "object": "chat.completion",
        "created": 5,
        "model": "m",
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": "Hé"}, "finish_reason": "length"}
        ],
        "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
    },
    "responses": {
        "id": "c",
        "object": "response",
        "status": "incomplete",
        "model": "m",
        "output": [
            {"type": "message", "id": "m", "content": [{"type": "output_text", "text": "Hé"}]},
        ],
        "incomplete_details": {"reason": "max_output_tokens"},
        "usage": {"input_tokens": 3, "output_tokens": 2},
    },
    "anthropic": {
        "id": "c",
        "type": "message",
        "model": "m",
        "content": [{"type": "text", "text": "Hé"}],
        "stop_reason": "max_tokens",
        "usage": {"input_tokens": 3, "output_tokens": 2},
    },
    "ollama": {
        "model": "m",
        "message": {"content": "Hé"},
        "done": True,
        "done_reason": "length",
        "prompt_eval_count": 3,
        "eval_count": 2,
    },
    "cohere": {
        "id": "c",
        "message": {"role": "assistant", "content": [{"type": "text", "text": "Hé"}]},
        "finish_reason": "MAX_TOKENS",
        "usage": {"tokens": {"input_tokens": 3, "output_tokens": 2}},
    },
    "tgi": {
        "generated_text": "Hé",
        "details": {"finish_reason": "length", "input_length": 3, "generated_tokens": 2},
    },
    "llamacpp": {
        "content": "Hé",
        "stop": True,
        "stop_type": "limit",
        "tokens_evaluated": 3,
        "tokens_predicted": 2,
    },
    "watsonx": {
        "model_id": "m",
        "results": [
            {
                "generated_text": "Hé",
                "stop_reason": "max_tokens",
                "input_token_count": 3,
                "generated_token_count": 2,
            }
        ],
    },
}


@pytest.mark.parametrize("output", ["native", "openai", "same"])
@pytest.mark.parametrize("dialect", sorted(ANSWERS))
@pytest.mark.parametrize("indent", [None, 2])
def test_a_complete_answer_becomes_a_stream_of_one_delta(output, dialect, indent):
    """A stream was asked for, so a stream it is, with finish and usage."""
    drive = Drive(output, "application/json")
    drive.feed(json.dumps(ANSWERS[dialect], indent=indent).encode(), 1.0)
    drive.close(1.1)

    answer = getattr(reading_back, dialect if output == "same" else output)(drive.body)
    assert answer.first.text == "Hé"
    reasons = (
        ("length", "max_tokens", "MAX_TOKENS", "limit", "incomplete") if output == "same" else ("length",)
    )
    assert answer.first.finish_reason in reasons
    assert (drive.pipeline.stats.usage.input_tokens, drive.pipeline.stats.usage.output_tokens) == (3, 2)
    assert drive.pipeline.outcome == "completed"


def test_plain_text_is_an_answer():
    """Its end is the finish; nobody said why it ended."""
    drive = Drive("native", "text/plain; charset=utf-8")
    for at, piece in enumerate(["Grüße, ".encode()[:3], "Grüße, ".encode()[3:], b"Welt\n"]):
        drive.feed(piece, 1.0 + at)
    drive.close(5.0)

    assert native(drive).first.text == "Grüße, Welt\n"
    assert native(drive).finish["finish_reason"] == "other"
    assert drive.pipeline.outcome == "completed"


def test_same_learns_its_format_from_the_upstream():
    """Until then there is none; afterwards it says what the client's content type is."""
    drive = Drive("same", "application/x-ndjson")
    assert drive.pipeline.format is None
    drive.feed(line(message={"content": "Hi"}, done=False), 1.0)

    assert drive.pipeline.format.content_type == "application/x-ndjson"


def legacy(text, stop_reason=None):
    """One of Anthropic's legacy completions; their stream has CRLF, pings and no end mark."""
    said = {
        "type": "completion",
        "id": "c",
        "completion": text,
        "stop_reason": stop_reason,
        "model": "claude-2",
    }
    return b"event: completion\r\ndata: %b\r\n\r\n" % json.dumps(said).encode()


@pytest.mark.parametrize("reason", ["stop_sequence", None])
def test_legacy_completions_end_with_their_reason(reason):
    """Without one they were cut; same adds nothing to them."""
    body = b'event: ping\r\ndata: {"type": "ping"}\r\n\r\n' + legacy(" Hi") + legacy("", reason)
    drives = [Drive(output, metadata="off", batch_delay=None) for output in ("native", "same")]
    for drive in drives:
        drive.feed(body, 1.0)
        drive.close(1.1)

    assert native(drives[0]).first.text == " Hi"
    assert [drive.pipeline.outcome for drive in drives] == ["completed" if reason else "truncated"] * 2
    if reason:
        assert native(drives[0]).finish["finish_reason"] == "stop"
        assert drives[1].body == body.replace(b"\r", b"")
