"""How a pipeline fails: inside the hold as a status, after it as an event."""

import json

import pytest
from wire import reading_back
from wire.driving import DONE, ROLE, SSE, STOP, Drive, frame, line, message, word

from ssegate.wire.errors import http_status
from ssegate.wire.events import Failure

START = message(
    type="message_start", message={"id": "msg_1", "model": "claude-3", "usage": {"input_tokens": 9}}
)
BLOCK = message(type="content_block_start", index=0, content_block={"type": "text", "text": ""})
DELTA = message(type="content_block_delta", index=0, delta={"type": "text_delta", "text": "Hi"})


def native(drive):
    return reading_back.native(drive.body)


def error(code=None, **more):
    return frame({"error": {"message": "no luck", "type": "oops", "code": code, **more}})


@pytest.mark.parametrize("output", ["native", "openai", "same"])
@pytest.mark.parametrize(
    ("sent", "code", "status"),
    [
        (error(429), "upstream_rate_limited", 429),
        (error(400), "upstream_error", 400),
        (error(401), "upstream_error", 401),
        (error(500), "upstream_error", 502),
        (error(503), "upstream_error", 503),
        (error(529), "upstream_error", 503),
        (error("context_length_exceeded"), "upstream_error", 502),
        (error(status_code=404), "upstream_error", 404),
        (b"data: not json\n\n", "upstream_bad_event", 502),
        (b'data: {"id": "' + b"x" * 5000, "event_too_large", 502),
        (b"", "upstream_truncated", 502),
    ],
)
def test_a_failure_inside_the_hold_is_a_status(output, sent, code, status):
    """Not a byte leaves, so that HTTP can tell it; `tell` gives it as an event to who cannot read that."""
    drive = Drive(output, max_event=2000)
    drive.feed(ROLE + sent, 1.0)
    drive.close(1.1)
    failure = drive.pipeline.failure

    assert (failure.code, http_status(failure)) == (code, status)
    assert (drive.body, drive.pipeline.is_open, drive.pipeline.is_told) == (b"", False, False)

    told = drive.tell(1.2)
    answer = reading_back.native(told) if output == "native" else reading_back.openai(told)
    assert answer.error is not None
    assert drive.pipeline.is_told and drive.pipeline.is_open
    assert drive.tell(1.3) == b""


@pytest.mark.parametrize(
    ("content_type", "body", "code"),
    [
        ("text/html", b"<html><body>Sign in</body></html>", "upstream_content_type"),
        (SSE, b"", "upstream_empty"),
        (SSE, b"data: tokens, but whose?\n\n", "upstream_content_type"),
        (
            "application/json",
            json.dumps({"error": {"message": "full", "code": 503}}).encode(),
            "upstream_error",
        ),
        (
            "application/json",
            b'{"type":"error","error":{"type":"overloaded_error","message":"m"}}',
            "upstream_error",
        ),
        ("application/json", b'{"error":"model not found"}', "upstream_error"),
    ],
)
def test_a_body_that_is_no_answer_is_a_failure(content_type, body, code):
    """Pages, nothing at all, events in no known dialect, errors under a 200."""
    drive = Drive(content_type=content_type)
    drive.feed(body, 1.0)
    drive.close(1.1)

    assert drive.pipeline.failure.code == code
    assert (drive.pipeline.outcome, drive.body) == ("upstream_error", b"")


@pytest.mark.parametrize("size", [300, 7, 1])
@pytest.mark.parametrize(
    ("content_type", "start", "settings"),
    [
        (SSE, b"data: tokens, but whose? \xff\n\n", {}),
        (SSE, b"event: ping\ndata: {}\n\n" * 12, {}),
        ("text/html", b"<html><body>Sign in</body></html>", {}),
        ("text/plain", b"Bad gateway\n", {"dialect": "openai"}),
        ("application/json", b'{"object": "list"}', {"hold": 0.5}),
    ],
)
def test_of_a_stream_that_cannot_be_told_the_beginning_is_kept(content_type, start, settings, size):
    """The first 200 bytes, or as many as it took; the client gets none, inside the hold or behind it."""
    drive = Drive("native", content_type, **settings)
    body = start.ljust(300, b"\n")
    for at in range(0, 300, size):
        drive.feed(body[at : at + size], 1.0)
    drive.close(1.1)
    drive.tell(1.2)

    failure = drive.pipeline.failure
    assert failure.code == "upstream_content_type"
    assert failure.seen == body[: 200 if size == 300 else len(failure.seen)] != b""
    told = native(drive).error["error"]
    assert not any(said in told for said in ("whose", "Sign", "gateway", "object", "{}"))


def test_of_a_stream_that_is_known_nothing_is_kept():
    """A broken event may quote the prompt."""
    drive = Drive()
    drive.feed(word("Hi") + b"data: {broken\n\n", 1.0)

    assert (drive.pipeline.failure.code, drive.pipeline.failure.seen) == ("upstream_bad_event", b"")


@pytest.mark.parametrize("before", [0, 20, 183, 190, 199, 250])
def test_credentials_do_not_stand_in_what_is_kept(before):
    """Not even the beginning of one that the 200 bytes cut in two."""
    secret = "sk-live-12345678-abcdef"
    drive = Drive(secrets=(secret,))
    drive.feed(b"data: " + b"x" * before + secret.encode() + b"\n\n", 1.0)
    drive.close(1.1)

    seen = drive.pipeline.failure.seen
    assert seen.startswith(b"data: " + b"x" * min(before, 194))
    assert b"sk-live-1" not in seen and len(seen) <= 200


def test_the_gate_s_credential_is_not_spoken_of():
    """A 401 inside the stream, while the gate holds the credential: 502 without a word of the upstream's."""
    drive = Drive(own_credential=True)
    drive.feed(error(401, param="sk-123"), 1.0)
    failure = drive.pipeline.failure

    assert (failure.code, http_status(failure)) == ("upstream_auth", 502)
    assert not {"no luck", "oops", "sk-123"} & {
        failure.message,
        failure.upstream_type,
        failure.upstream_param,
    }


def test_tell_has_nothing_to_say_of_a_stream_that_runs_or_was_told():
    """It is for failures inside the hold alone."""
    drive = Drive()
    assert drive.tell(0.5) == b""
    drive.feed(word("Hi"), 1.0)
    assert drive.tell(1.1) == b""
    drive.fail("idle_timeout", 1.2)

    assert drive.pipeline.is_told
    assert drive.tell(1.3) == b""


def test_without_a_dialect_same_has_no_words_for_a_failure():
    """Its format is the upstream's, which nobody has seen yet: an HTTP status must do."""
    drive = Drive("same", begun=False)
    drive.fail("upstream_connect", 1.0)

    assert drive.tell(1.0) == b""
    assert (drive.pipeline.is_open, drive.pipeline.is_told) == (False, False)
    assert http_status(drive.pipeline.failure) == 502


def test_credentials_do_not_stand_in_what_is_quoted_of_the_upstream():
    """Neither the gate's nor the caller's, in no part of an error."""
    drive = Drive(secrets=("sk-live-12345678", "caller-key"))
    quoted = {"message": "bad key sk-live-12345678 of caller-key", "type": "t caller-key"}
    drive.feed(frame({"error": {**quoted, "code": "c caller-key", "param": "sk-live-12345678"}}), 1.0)
    drive.tell(1.0)

    assert native(drive).error["error"] == "bad key *** of ***"
    assert b"caller-key" not in drive.body
    assert "caller-key" not in repr(drive.pipeline.failure) and "sk-live" not in repr(drive.pipeline.failure)


def test_a_failure_is_told_after_all_that_had_arrived():
    """What is held for a batch, or for its other half, leaves before the error; nothing leaves after it."""
    drive = Drive(batch_size=100, batch_delay=10.0)
    drive.feed(word("a") + word("b") + word("c") + word("\ud83d"), 1.0)
    drive.feed(error(500) + word("late") + STOP + DONE, 1.5)

    answer = native(drive)
    assert answer.first.text == "abc\ufffd"
    assert answer.error["code"] == "upstream_error" and answer.error["error"] == "no luck"
    assert answer.error["type"] == "stream_error"
    assert answer.final["total_tokens"] >= 3
    assert drive.feed(word("later"), 2.0) == drive.close(3.0) == drive.fail("internal", 4.0) == b""
    assert drive.pipeline.outcome == "upstream_error"
    assert drive.pipeline.deadline is None


def test_half_a_character_leaves_before_the_failure():
    """Its other half will never come."""
    drive = Drive()
    drive.feed(word("a") + word("b\ud83d"), 1.0)
    drive.close(1.5)

    assert native(drive).first.text == "ab\ufffd"
    assert native(drive).error["code"] == "upstream_truncated"


def test_an_openai_client_gets_the_error_and_the_terminator():
    """The waiting finish leaves too: the upstream did send it."""
    drive = Drive("openai")
    drive.feed(word("a") + STOP, 1.0)
    drive.fail("total_timeout", 1.1, "took too long")

    answer = reading_back.openai(drive.body)
    assert (answer.first.text, answer.first.finish_reason) == ("a", "stop")
    assert answer.error == {
        "message": "took too long",
        "type": "upstream_error",
        "param": None,
        "code": "total_timeout",
    }


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        (START + BLOCK + DELTA, reading_back.anthropic),
        (line(message={"content": "Hi"}, done=False), reading_back.ollama),
    ],
)
def test_same_tells_a_failure_in_the_upstream_s_own_shape(sent, read):
    """One error event, or one line with an error, and it is the last."""
    drive = Drive("same")
    drive.feed(sent, 1.0)
    drive.fail("idle_timeout", 2.0, "upstream was silent")

    answer = read(drive.body)
    assert answer.first.text == "Hi"
    assert answer.error["message"] == "upstream was silent"
    assert (drive.pipeline.outcome, drive.pipeline.is_told) == ("idle_timeout", True)


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        ("cancelled", "cancelled"),
        ("shutting_down", "shutting_down"),
        ("quota_exceeded", "quota_exceeded"),
        ("client_gone", "client_gone"),
        ("slow_client", "slow_client"),
        ("upstream_protocol", "upstream_error"),
        ("rate_limit_exceeded", "internal"),
    ],
)
def test_the_outcome_follows_from_the_code(code, outcome):
    """One table; a code that ends no stream, ending one, is a fault of ours."""
    drive = Drive()
    drive.feed(word("Hi"), 1.0)
    drive.fail(code, 1.5)

    assert (drive.pipeline.outcome, drive.pipeline.failure.code) == (outcome, code)


def test_a_cancel_is_an_end_that_somebody_wanted():
    """Native finishes, other formats say `cancelled`."""
    drives = {output: Drive(output) for output in ("native", "openai")}
    for drive in drives.values():
        drive.feed(word("Hi"), 1.0)
        drive.fail("cancelled", 1.5)

    assert native(drives["native"]).finish["finish_reason"] == "cancelled"
    assert reading_back.openai(drives["openai"].body).error["code"] == "cancelled"
    assert {drive.pipeline.outcome for drive in drives.values()} == {"cancelled"}


def test_an_event_that_cannot_be_read_ends_the_stream():
    """It is not passed on as if it were valid, and it is counted."""
    drive = Drive()
    drive.feed(word("Hi") + b"data: {broken\n\n" + word("late"), 1.0)

    assert native(drive).first.text == "Hi"
    assert native(drive).error["code"] == "upstream_bad_event"
    assert drive.pipeline.stats.malformed == 1


@pytest.mark.parametrize("cut", [1, 7, 1 << 20])
def test_an_event_that_is_too_large_ends_the_stream(cut):
    """What was whole before it arrives, however the bytes were cut."""
    drive = Drive(max_event=1000)
    sent = word("Hel") + word("lo") + b"data: " + b"x" * 3000
    for at in range(0, len(sent), cut):
        drive.feed(sent[at : at + cut], 1.0)

    assert native(drive).first.text == "Hello"
    assert native(drive).error["code"] == "event_too_large"
    assert (drive.pipeline.outcome, drive.pipeline.stats.malformed) == ("too_large", 0)


@pytest.mark.parametrize("output", ["native", "openai", "same"])
def test_a_failure_is_told_once(output):
    """A read whose whole frames fail and whose last, unfinished one would fail again."""
    drive = Drive(output, max_event=300)
    for text in ("Hel", "lo", " you"):
        drive.feed(word(text), 1.0)
    drive.feed(word("x" * 300) + word("y" * 300)[:-2], 1.1)

    assert drive.pipeline.outcome == "too_large"
    assert drive.body.count(b"event_too_large") == 1
    assert drive.body.count(b"[DONE]") == (output != "native")


def test_a_stream_that_is_too_large_ends():
    """What arrived before the limit leaves first."""
    drive = Drive(max_stream=len(word("a")) * 10)
    for at in range(20):
        drive.feed(word("a"), 1.0 + at / 10)

    assert native(drive).first.text == "a" * 11
    assert native(drive).error["code"] == "stream_too_large"
    assert drive.pipeline.outcome == "too_large"


def test_an_answer_that_ends_with_the_last_byte_allowed_is_whole():
    """The limit is for what runs on, not for what is over."""
    body = word("a") + STOP + DONE
    drive = Drive(max_stream=len(body) - 1)
    drive.feed(body, 1.0)

    assert drive.pipeline.outcome == "completed"


def test_a_failure_from_outside_is_kept_as_it_is():
    """The caller's failure is the one that is told."""
    drive = Drive(begun=False)
    failure = Failure("upstream_dns", "no such host")
    drive.pipeline.fail(failure, 1.0)

    assert drive.pipeline.failure is failure
