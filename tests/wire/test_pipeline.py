"""What a pipeline holds, lets go, ends and refuses; time is in test_pipeline_time.py."""

import json

import pytest
from wire import reading_back
from wire.driving import (
    DONE,
    ROLE,
    SSE,
    STOP,
    STREAM_ID,
    Drive,
    chunk,
    frame,
    line,
    message,
    usage,
    word,
)
from wire.recordings import recordings

from ssegate.wire.errors import http_status
from ssegate.wire.events import Failure, Finish
from ssegate.wire.seams import Context
from ssegate.wire.stats import Price

START = message(type="message_start", message={"id": "msg_1", "model": "claude-3", "usage": {"input_tokens": 9}})
BLOCK = message(type="content_block_start", index=0, content_block={"type": "text", "text": ""})
DELTA = message(type="content_block_delta", index=0, delta={"type": "text_delta", "text": "Hi"})
BLOCK_STOP = message(type="content_block_stop", index=0)
END_TURN = message(type="message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 4})
MESSAGE_STOP = message(type="message_stop")
PING = b'event: ping\ndata: {"type": "ping"}\n\n'


def opening(index, id, name, arguments=""):
    return chunk(
        {"tool_calls": [{"index": index, "id": id, "function": {"name": name, "arguments": arguments}}]}
    )


def fragment(index, arguments):
    return chunk({"tool_calls": [{"index": index, "function": {"arguments": arguments}}]})


def native(drive):
    return reading_back.native(drive.body)


# ---- the hold ------------------------------------------------------------------------------------


def test_what_precedes_the_first_content_leaves_with_it():
    """A role-only chunk is no reason to send the 200, and it is not lost."""
    drive = Drive("openai", batch_delay=None, metadata="off")

    assert drive.feed(ROLE, 1.0) == b""
    assert not drive.pipeline.is_open
    assert drive.feed(word("Hi"), 2.0) == ROLE + word("Hi")
    assert drive.pipeline.is_open


def test_a_message_s_start_and_pings_wait_for_the_first_content():
    """The same for Anthropic, in the order in which they came."""
    drive = Drive("same", batch_delay=None, metadata="off")

    assert drive.feed(START + PING + BLOCK, 1.0) == b""
    assert drive.feed(DELTA, 2.0) == START + PING + BLOCK + DELTA


@pytest.mark.parametrize(
    "first",
    [
        word("Hi"),
        chunk({"reasoning_content": "Hm"}),
        chunk({"refusal": "No"}),
        opening(0, "call_1", "f"),
        chunk({"annotations": [{"type": "url_citation", "url_citation": {"url": "https://a"}}]}),
        STOP,
    ],
    ids=["text", "reasoning", "refusal", "tool call", "citation", "finish"],
)
def test_content_or_a_finish_ends_the_hold(first):
    """Each kind of content, and a finish without any."""
    drive = Drive()
    drive.feed(first, 1.0)

    assert drive.pipeline.is_open


@pytest.mark.parametrize(
    "nothing",
    [ROLE, chunk({"content": ""}), chunk({}), usage(9, 0), b": ping\n\n", b"data:\n\n", b'data: {"error":null}\n\n'],
)
def test_what_says_nothing_does_not_end_the_hold(nothing):
    """Roles, empty deltas, usage and comments are not the answer yet."""
    drive = Drive(dialect="openai")
    drive.feed(nothing, 1.0)

    assert not drive.pipeline.is_open


def test_the_hold_ends_by_itself():
    """After `hold` the head may leave, and what was kept leaves then."""
    drive = Drive("openai", hold=3.0, metadata="off")
    drive.feed(ROLE, 1.0)

    assert drive.wait(2.999) == b""
    assert drive.wait(3.0) == ROLE
    assert drive.pipeline.is_open
    assert drive.writes == [(3.0, ROLE)]


def test_the_hold_ends_even_before_the_upstream_answers():
    """A slow upstream does not keep the client waiting for its head."""
    drive = Drive(begun=False, hold=3.0)
    drive.wait(3.0)

    assert drive.pipeline.is_open


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
    """Not a byte leaves, so that it can be told by HTTP; `tell` gives it as an event to who cannot read that."""
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
        ("application/json", json.dumps({"error": {"message": "full", "code": 503}}).encode(), "upstream_error"),
        ("application/json", b'{"type":"error","error":{"type":"overloaded_error","message":"m"}}', "upstream_error"),
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


def test_the_gate_s_credential_is_not_spoken_of():
    """A 401 inside the stream, while the gate holds the credential: 502 without a word of the upstream's."""
    drive = Drive(own_credential=True)
    drive.feed(error(401, param="sk-123"), 1.0)
    failure = drive.pipeline.failure

    assert (failure.code, http_status(failure)) == ("upstream_auth", 502)
    assert not {"no luck", "oops", "sk-123"} & {failure.message, failure.upstream_type, failure.upstream_param}


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


# ---- failures in the stream ----------------------------------------------------------------------


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


# ---- the finish ----------------------------------------------------------------------------------


def test_late_usage_is_in_the_finish():
    """The finish waits for the end mark, and usage that came after it counts."""
    drive = Drive()
    drive.feed(word("Hi"), 1.0)
    assert drive.feed(STOP, 1.5) == b""
    assert drive.feed(usage(80, 40), 2.0) == b""
    assert drive.feed(DONE, 2.5) != b""

    answer = native(drive)
    assert answer.finish["finish_reason"] == "stop"
    assert "upstream_finish_reason" not in answer.finish
    assert (answer.final["input_tokens"], answer.final["output_tokens"]) == (80, 40)
    assert (drive.pipeline.outcome, drive.pipeline.failure) == ("completed", None)


def test_the_end_of_the_body_ends_a_finished_stream():
    """Not everybody sends an end mark."""
    drive = Drive()
    drive.feed(word("Hi") + STOP, 1.0)
    drive.close(1.2)

    assert native(drive).final["total_time"] == 1.2
    assert drive.pipeline.outcome == "completed"


@pytest.mark.parametrize("output", ["native", "openai"])
def test_a_finish_waits_two_seconds_and_no_longer(output):
    """An upstream that keeps its connection open after the finish does not keep the client waiting."""
    drive = Drive(output)
    drive.feed(word("Hi") + STOP, 1.0)
    drive.feed(usage(80, 40), 2.9)

    assert drive.pipeline.near_deadline == 3.0
    drive.wait(60.0)
    assert [at for at, _ in drive.writes] == [1.0, 3.0]
    assert getattr(reading_back, output)(drive.body).final["input_tokens"] == 80
    assert drive.pipeline.outcome == "completed"


@pytest.mark.parametrize("clock", ["idle", "total", "first_token"])
def test_no_clock_fails_an_answer_that_is_complete(clock):
    """Silence after the finish is what a finished stream sounds like."""
    drive = Drive(**{clock: 1.5})
    drive.feed((b"" if clock == "first_token" else word("Hi")) + STOP, 1.0)
    drive.wait(60.0)

    assert (drive.pipeline.outcome, drive.pipeline.failure) == ("completed", None)
    assert native(drive).finish["finish_reason"] == "stop"
    assert drive.writes[-1][0] <= 3.0


def test_the_end_mark_ends_the_stream_at_once():
    """What comes behind it is dropped, in the same read or later."""
    drive = Drive()
    drive.feed(word("Hi") + STOP + DONE + word("late") + b"\xff\n\n", 1.0)
    drive.feed(word("later"), 1.1)

    assert native(drive).first.text == "Hi"
    assert drive.pipeline.outcome == "completed"
    assert [at for at, _ in drive.writes] == [1.0]


@pytest.mark.parametrize("content", [b"", ROLE, word("Hi")])
def test_an_end_mark_without_a_reason_is_other(content):
    """It did end, but nobody said why; even an empty answer is one."""
    drive = Drive(dialect="openai")
    drive.feed(content + DONE, 1.0)

    assert native(drive).finish["finish_reason"] == "other"
    assert drive.pipeline.outcome == "completed"
    assert drive.pipeline.finish == Finish("other")


def test_the_upstream_s_own_word_is_told_where_it_differs():
    """`end_turn` is `stop`; both are there."""
    drive = Drive()
    drive.feed(START + BLOCK + DELTA + BLOCK_STOP + END_TURN + MESSAGE_STOP, 1.0)

    answer = native(drive)
    assert (answer.finish["finish_reason"], answer.finish["upstream_finish_reason"]) == ("stop", "end_turn")
    assert (answer.final["input_tokens"], answer.final["output_tokens"]) == (9, 4)
    assert answer.final["model"] == "claude-3"


def test_content_after_the_finish_is_not_lost():
    """Some upstreams say with every chunk that they have stopped: the finish waits for silence."""
    drive = Drive()
    for at in range(1, 6):
        drive.feed(chunk({"content": "x"}, finish="stop"), at * 1.5)
    drive.wait(20.0)

    assert native(drive).first.text == "xxxxx"
    assert (drive.pipeline.outcome, drive.writes[-1][0]) == ("completed", 9.5)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_each_choice_has_its_finish_and_the_stream_has_one(order):
    """A choice that ends early says so; the last event carries choice 0's reason, whoever came last."""
    drive = Drive(choices=2)
    drive.feed(word("a") + word("b", 1), 1.0)
    first, second = order
    reasons = {0: "length", 1: "stop"}
    drive.feed(chunk(finish=reasons[first], choice=first), 1.1)
    drive.feed(word("more", second), 1.2)
    drive.wait(10.0)
    assert drive.pipeline.outcome is None, "one choice still speaks"
    drive.feed(chunk(finish=reasons[second], choice=second), 11.0)
    drive.wait(20.0)

    answer = native(drive)
    assert (answer.first.text, answer.of(1).text) == (("a", "bmore") if second else ("amore", "b"))
    assert (answer.finish["finish_reason"], answer.of(1).finish_reason) == ("length", "stop")
    assert "choice" not in answer.finish
    assert drive.writes[-1][0] == 13.0


def test_a_choice_that_has_not_begun_is_waited_for():
    """Two were asked for: the first one's finish is not the stream's."""
    drive = Drive(choices=2)
    drive.feed(word("a") + STOP, 1.0)
    drive.wait(4.0)
    drive.feed(word("b", 1) + chunk(finish="stop", choice=1), 5.0)
    drive.wait(8.0)

    assert native(drive).of(1).text == "b"
    assert drive.writes[-1][0] == 7.0


# ---- tool calls ----------------------------------------------------------------------------------


def test_tool_calls_in_native():
    """Index, id and name come first, fragments after; a call without arguments says `{}`."""
    drive = Drive(batch_delay=None)
    drive.feed(opening(0, "call_a", "get_weather") + fragment(0, '{"city":') + fragment(0, '"Rome"}'), 1.0)
    drive.feed(opening(1, "call_b", "now") + chunk(finish="tool_calls") + DONE, 1.1)

    calls = [
        said["tool_call"]
        for said in (reading_back.loads(block["data"]) for block in reading_back.blocks(drive.body))
        if "tool_call" in said
    ]
    assert calls == [
        {"index": 0, "id": "call_a", "name": "get_weather", "arguments": ""},
        {"index": 0, "arguments": '{"city":'},
        {"index": 0, "arguments": '"Rome"}'},
        {"index": 1, "id": "call_b", "name": "now", "arguments": ""},
        {"index": 1, "arguments": "{}"},
    ]
    assert native(drive).finish["finish_reason"] == "tool_calls"
    assert all("token_count" in metadata for metadata in native(drive).running)


@pytest.mark.parametrize("output", ["native", "openai"])
def test_a_call_that_lacks_an_id_gets_one_and_its_finish_its_name(output):
    """Ollama gives arguments as an object, no id, and says it stopped."""
    call = {"function": {"name": "f", "arguments": {"a": 1, "b": "ü"}}}
    drive = Drive(output, "application/x-ndjson")
    drive.feed(line(message={"content": "", "tool_calls": [call, call]}, done=False), 1.0)
    drive.feed(line(message={"content": ""}, done=True, done_reason="stop"), 1.1)

    answer = getattr(reading_back, output)(drive.body)
    assert answer.first.calls == [
        {"id": f"call_{STREAM_ID}_{index}", "name": "f", "arguments": '{"a":1,"b":"ü"}'} for index in (0, 1)
    ]
    assert answer.first.finish_reason == "tool_calls"
    if output == "native":
        assert answer.finish["upstream_finish_reason"] == "stop"


def test_a_cut_call_gets_no_arguments():
    """A stream that broke off has not said that there are none."""
    drive = Drive()
    drive.feed(opening(0, "call_a", "f"), 1.0)
    drive.close(1.1)

    assert native(drive).first.calls == [{"id": "call_a", "name": "f", "arguments": ""}]


# ---- usage and prices ----------------------------------------------------------------------------


@pytest.mark.parametrize("wants_usage", [False, True])
@pytest.mark.parametrize("is_late", [False, True])
def test_an_openai_client_gets_the_usage_chunk_if_it_asked_for_it(wants_usage, is_late):
    """The gate may ask the upstream for its own sake; the client sees only what it wanted."""
    drive = Drive("openai", context=Context(STREAM_ID, 0, wants_usage=wants_usage))
    drive.feed(word("Hi") + (STOP + usage(8, 4) if is_late else usage(8, 4) + STOP) + DONE, 1.0)

    answer = reading_back.openai(drive.body)
    assert (answer.usage is not None) is wants_usage
    assert answer.final["input_tokens"] == 8


@pytest.mark.parametrize(
    ("model", "dollars"),
    [
        ("gpt-4o-mini-2024-07-18", 1.0),
        ("gpt-4o-mini", 1.0),
        ("gpt-4o", 2.0),
        ("gpt-4o-2024", 2.0),
        ("o3", None),
        (None, None),
    ],
)
def test_the_price_is_that_of_the_longest_name_that_fits(model, dollars):
    """Vendors append dates to the names that prices are known by."""
    prices = (("gpt-4o", Price(0.0, 2.0)), ("gpt-4o-mini", Price(0.0, 1.0)))
    drive = Drive(prices=prices)
    said = {"object": "chat.completion.chunk", "model": model}
    drive.feed(frame({**said, "choices": [{"index": 0, "delta": {"content": "Hi"}}]}), 1.0)
    drive.feed(frame({**said, "choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 1_000_000}}), 1.1)
    drive.feed(DONE, 1.2)

    assert native(drive).final.get("cost") == dollars


# ---- numbers -------------------------------------------------------------------------------------


@pytest.mark.parametrize("output", ["native", "openai"])
@pytest.mark.parametrize("is_whole", [False, True])
def test_every_block_of_a_numbered_stream_has_its_number(output, is_whole):
    """n = 1, 2, 3, … in each block, the last one too; heartbeats have none."""
    drive = Drive(output, numbered=True, heartbeat=1.0)
    drive.feed(ROLE, 0.1)
    for at in range(1, 30):
        drive.feed(word("a") + word("b"), at * 1.5)
    drive.feed(STOP + usage(1, 2) + DONE if is_whole else error(500), 50.0)

    blocks = reading_back.blocks(drive.body)
    beats = [block for block in blocks if "id" not in block]
    ids = [block["id"] for block in blocks if "id" in block]
    assert ids == [f"{STREAM_ID}-{n}" for n in range(1, len(ids) + 1)]
    assert len(ids) == drive.pipeline.stats.events_out
    # OpenAI's heartbeat is a chunk that says nothing, native's a comment.
    assert all(reading_back.loads(beat["data"])["choices"][0]["delta"] == {} for beat in beats)
    assert len(beats) + reading_back.heartbeats(drive.body) == drive.pipeline.stats.heartbeats >= 30


# ---- raw -----------------------------------------------------------------------------------------


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


def test_raw_cannot_tell_a_failure():
    """The bytes so far leave; that there are no more only a cut can say."""
    drive = Drive("raw")
    drive.feed(word("Hi") + word("cut")[:9], 1.0)
    drive.fail("idle_timeout", 2.0)

    assert drive.body == word("Hi") + word("cut")[:9]
    assert (drive.pipeline.outcome, drive.pipeline.is_told) == ("idle_timeout", False)
    assert drive.tell(3.0) == b""
    assert drive.pipeline.format is None


# ---- bodies that are no streams ------------------------------------------------------------------


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


@pytest.mark.parametrize("dialect", ["openai", "anthropic", "ollama"])
def test_json_that_a_named_dialect_cannot_use_is_foreign(dialect):
    """A list of models is no answer, whatever the route expects."""
    body = b'{"object": "list", "data": []}'
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
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hé"}, "finish_reason": "length"}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
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
    reasons = ("length", "max_tokens") if output == "same" else ("length",)
    assert answer.first.finish_reason in reasons
    assert (drive.pipeline.stats.usage.input_tokens, drive.pipeline.stats.usage.output_tokens) == (3, 2)
    assert drive.pipeline.outcome == "completed"


@pytest.mark.parametrize(
    "body", [body for body in recordings("documents") if "openai" in str(body) or "anthropic" in str(body)], ids=str
)
def test_recorded_answers_become_streams(body):
    """What servers that cannot stream sent in place of a stream."""
    drive = Drive("native", body.content_type)
    drive.feed(body.body, 1.0)
    drive.close(1.1)

    answer = native(drive)
    assert answer.first.text == body.expected["text"]
    assert answer.first.reasoning == body.expected["reasoning"]
    assert answer.finish["finish_reason"] == body.reason


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


def test_the_finish_is_reported_for_the_log():
    """Whoever writes the log line finds reason and counters on the pipeline."""
    drive = Drive()
    sent = ROLE + word("a") + word("b") + STOP + DONE
    drive.feed(sent, 1.0)
    stats = drive.pipeline.stats

    assert drive.pipeline.finish == Finish("stop", "stop")
    assert (stats.events_in, stats.bytes_in, stats.bytes_out) == (5, len(sent), len(drive.body))
    assert (stats.events_out, stats.deltas, stats.sent_deltas, stats.upstream_id) == (3, 2, 2, "chatcmpl-9")


def test_a_failure_from_outside_is_kept_as_it_is():
    """The caller's failure is the one that is told."""
    drive = Drive(begun=False)
    failure = Failure("upstream_dns", "no such host")
    drive.pipeline.fail(failure, 1.0)

    assert drive.pipeline.failure is failure
