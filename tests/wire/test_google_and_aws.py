"""Gemini's arrays and events and Bedrock's messages through the whole pipeline, above all where they fail."""

from __future__ import annotations

import json

import pytest
from wire import reading_back
from wire.driving import SSE, Drive, frame

from ssegate.wire.errors import http_status
from ssegate.wire.formats.bedrock import message

ARRAY = "application/json; charset=UTF-8"
BINARY = "application/vnd.amazon.eventstream"
QUOTA = {
    "error": {
        "code": 429,
        "message": "Quota exceeded",
        "status": "RESOURCE_EXHAUSTED",
        "details": [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "12s"}],
    }
}


def chunk(text, **more):
    return {"candidates": [{"content": {"parts": [{"text": text}], "role": "model"}, **more}]}


def event(kind, data):
    return message({"event-type": kind}, json.dumps(data).encode())


def delta(text):
    return event("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": text}})


THROTTLED = message({"exception-type": "throttlingException"}, b'{"message":"Too many tokens"}')


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        (ARRAY, json.dumps([QUOTA], indent=2).encode()),
        (ARRAY, json.dumps(QUOTA).encode()),
        (SSE, frame(QUOTA)),
        (SSE, json.dumps(QUOTA, indent=2).encode()),
        (BINARY, THROTTLED),
    ],
    ids=["array", "document", "event", "bare", "exception"],
)
@pytest.mark.parametrize("output", ["native", "same"])
def test_an_error_in_place_of_an_answer_is_a_status(output, content_type, body):
    """However it is wrapped: inside the hold a client sees 429, and how long to wait."""
    drive = Drive(output, content_type)
    drive.feed(body, 0.1)
    drive.close(0.2)

    failure = drive.pipeline.failure
    assert not drive.pipeline.is_open
    assert (failure.code, http_status(failure)) == ("upstream_rate_limited", 429)
    assert failure.retry_after == (None if content_type == BINARY else "12")


def test_an_array_without_its_end_is_whole():
    """The finish has come: what lacks is a bracket, and the client gets it."""
    drive = Drive("same", ARRAY)
    drive.feed(json.dumps([chunk("Hi"), chunk("!", finishReason="STOP")]).encode().removesuffix(b"]"), 0.1)
    drive.close(0.2)

    assert drive.pipeline.outcome == "completed"
    assert reading_back.gemini(drive.body).first.text == "Hi!"


def test_elements_of_an_array_leave_as_they_come():
    """The first is not held for the second, nor for the end."""
    drive = Drive("same", ARRAY, metadata="off")
    drive.feed(b"[" + json.dumps(chunk("Hi"), indent=2).encode(), 0.1)

    assert json.loads(drive.body + b"]") == [chunk("Hi")]


@pytest.mark.parametrize(
    ("content_type", "rest"),
    [
        (ARRAY, b",\r\n" + json.dumps(QUOTA, indent=2).encode() + b"\n]"),
        (SSE, json.dumps(QUOTA, indent=2).encode()),
    ],
    ids=["array", "bare"],
)
def test_google_s_errors_in_mid_stream(content_type, rest):
    """As the last chunk, under the name that its clients look for, and the stream is whole."""
    first = frame(chunk("Hi")) if content_type == SSE else b"[" + json.dumps(chunk("Hi")).encode()
    drive = Drive("same", content_type)
    drive.feed(first + rest, 0.1)
    drive.close(0.2)

    answer = reading_back.gemini(drive.body)
    assert answer.first.text == "Hi"
    assert (answer.error["code"], answer.error["status"]) == (429, "RESOURCE_EXHAUSTED")
    assert answer.error["message"] == "Quota exceeded"


def test_aws_s_exceptions_in_mid_stream():
    """Under their own name."""
    drive = Drive("same", BINARY)
    drive.feed(delta("Hi") + THROTTLED, 0.1)

    answer = reading_back.bedrock(drive.body)
    assert (answer.first.text, drive.pipeline.outcome) == ("Hi", "upstream_error")
    assert (answer.error["type"], answer.error["message"]) == ("throttlingException", "Too many tokens")


def test_a_broken_message_ends_the_stream():
    """What came before it arrives, and nothing of what it said."""
    broken = bytearray(delta("lies"))
    broken[-1] ^= 1
    drive = Drive("same", BINARY)
    drive.feed(delta("Hi") + broken, 0.1)

    answer = reading_back.bedrock(drive.body)
    assert answer.first.text == "Hi"
    assert drive.pipeline.failure.code == "upstream_bad_event"
    assert answer.error["type"] == "modelStreamErrorException"


@pytest.mark.parametrize("output", ["native", "openai", "same"])
def test_a_complete_answer_of_converse_is_streamed(output):
    """A client that asked for a stream gets one, in its own language."""
    document = {
        "output": {"message": {"role": "assistant", "content": [{"text": "Hi"}]}},
        "stopReason": "end_turn",
        "usage": {"inputTokens": 3, "outputTokens": 2},
    }
    drive = Drive(output, "application/json")
    drive.feed(json.dumps(document).encode(), 0.1)
    drive.close(0.2)

    answer = getattr(reading_back, "bedrock" if output == "same" else output)(drive.body)
    assert answer.first.text == "Hi"
    assert answer.first.finish_reason == ("end_turn" if output == "same" else "stop")


@pytest.mark.parametrize(
    ("content_type", "first"), [(SSE, frame(chunk("Hi"))), (ARRAY, b"[" + json.dumps(chunk("Hi")).encode())]
)
def test_a_silent_gemini_gets_no_heartbeats(content_type, first):
    """Its client would take one for an error; the idle clock runs all the same."""
    drive = Drive("same", content_type, heartbeat=1.0, idle=60.0)
    drive.feed(first, 0.1)
    drive.wait(70.0)

    answer = reading_back.gemini(drive.body)
    assert (answer.first.text, answer.error["status"]) == ("Hi", "DEADLINE_EXCEEDED")
    assert drive.pipeline.stats.heartbeats == 0


def test_gemini_s_events_have_no_ids():
    """Nor has an array; its SDK reads a line that is not data as an error."""
    drive = Drive("same", SSE, numbered=True)
    drive.feed(frame(chunk("Hi")) + frame(chunk("!", finishReason="STOP")), 0.1)
    drive.close(0.2)

    assert b"id:" not in drive.body
    assert reading_back.gemini(drive.body).first.text == "Hi!"
