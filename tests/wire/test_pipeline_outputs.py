"""What each output does in a pipeline beyond its bytes: refusals, signs of life, ends of every kind."""

import pytest
from wire import reading_back
from wire.driving import DONE, ROLE, SSE, STOP, Drive, chunk, frame, line, message, word

from ssegate.wire.errors import http_status

HI = message(type="content_block_delta", index=0, delta={"type": "text_delta", "text": "Hi"})
OPENING = message(type="message_start", message={"id": "msg_1", "model": "claude", "usage": {}})
CALL = chunk({"tool_calls": [{"index": 0, "id": "c0", "function": {"name": "f", "arguments": '{"a":'}}]})
CREATED = frame({"type": "response.created", "response": {"id": "r", "model": "m"}}, "response.created")
STREAMS = {
    "openai": (SSE, [ROLE, word("Hi"), STOP, DONE]),
    "anthropic": (SSE, [OPENING, HI]),
    "responses": (SSE, [CREATED]),
    "ollama": ("application/x-ndjson", [line(message={"content": "Hi"}, done=False)]),
    "text": ("text/plain", [b"Hello, "]),
}


@pytest.mark.parametrize(
    ("output", "seen"),
    [(output, seen) for output in ("anthropic", "responses") for seen in STREAMS if seen != output],
)
@pytest.mark.parametrize("is_named", [False, True])
def test_a_stream_of_another_dialect_is_refused_at_its_first_event(output, seen, is_named):
    """Nothing of it leaves, so that HTTP can tell it; `tell` gives it in the output's own words."""
    label, came = STREAMS[seen]
    drive = Drive(output, label, dialect=seen if is_named else "auto")
    for piece in came:
        drive.feed(piece, 1.0)
    drive.close(1.1)
    pipeline = drive.pipeline

    assert (pipeline.failure.code, http_status(pipeline.failure)) == ("upstream_content_type", 502)
    assert pipeline.failure.message == (
        f"the upstream answered in the {seen} dialect, the output {output} needs its own"
    )
    assert drive.body == b""
    answer = getattr(reading_back, output)(drive.tell(1.2))
    assert answer.error["message"] == pipeline.failure.message


@pytest.mark.parametrize("output", ["anthropic", "responses"])
def test_a_refusal_after_the_hold_is_an_event(output):
    """The head has been sent: the client reads the same words in the stream."""
    drive = Drive(output, hold=1.0)
    drive.feed(b": waiting\n\n", 0.5)
    drive.feed(ROLE, 2.0)

    answer = getattr(reading_back, output)(drive.body.removeprefix(b":\n"))
    assert answer.error["message"].startswith("the upstream answered in the openai dialect")
    assert drive.pipeline.is_told


@pytest.mark.parametrize("output", ["anthropic", "responses"])
def test_an_upstreams_own_error_says_more_than_a_refusal(output):
    """Whatever dialect it is in, the reason why there is no answer arrives."""
    drive = Drive(output)
    drive.feed(frame({"error": {"message": "no luck", "type": "oops", "code": 429}}), 1.0)

    assert (drive.pipeline.failure.code, drive.pipeline.failure.message) == (
        "upstream_rate_limited",
        "no luck",
    )


@pytest.mark.parametrize("output", ["vercel", "text"])
def test_silence_brings_comments_and_nothing_else(output):
    """Before and after the first content, as often as the route says; none of them changes the answer."""
    drive = Drive(output, heartbeat=5.0, hold=1.0, metadata="final")
    drive.feed(ROLE, 0.5)
    drive.wait(11.5)
    drive.feed(word("Hi"), 12.0)
    drive.wait(28.0)
    drive.feed(STOP + DONE, 29.0)

    assert drive.body.count(b":\n:\n") + drive.body.count(b"\n\n:\n") >= 2
    silence = [data for at, data in drive.writes if at not in (1.0, 12.0, 29.0)]
    assert silence and set(silence) == {b":\n"}
    answer = getattr(reading_back, output)(drive.body)
    assert (answer.first.text, answer.first.finish_reason) == ("Hi", "stop")


@pytest.mark.parametrize("code", ["upstream_truncated", "idle_timeout", "cancelled", "internal"])
def test_whatever_ends_a_message_closes_it(code):
    """An open text and an open call, its arguments held for a batch, are closed before the last chunk."""
    drive = Drive("vercel", batch_size=9, batch_delay=5.0)
    drive.feed(ROLE + word("Hel") + CALL, 1.0)
    drive.feed(chunk({"tool_calls": [{"index": 0, "function": {"arguments": '"b'}}]}), 1.1)
    drive.feed(word("lo"), 1.2)
    drive.fail(code, 1.3)

    answer = reading_back.vercel(drive.body)
    assert answer.first.text == "Hello"
    assert answer.first.calls == [{"id": "c0", "name": "f", "arguments": '{"a":"b'}]
    assert answer.error["message"] == "it broke"
    assert drive.body.count(b'"type":"abort"') == (code == "cancelled")
    assert drive.body.count(b'"tool-input-available"') == 0


def test_metadata_of_every_delta_is_transient():
    """Deltas of all kinds bring theirs; the final one stands before the end."""
    drive = Drive("vercel", metadata="every", batch_delay=None)
    drive.feed(ROLE + word("Hel") + word("lo") + STOP + DONE, 1.0)

    answer = reading_back.vercel(drive.body)
    assert [running["token_count"] for running in answer.running] == [1, 2]
    assert answer.running[0]["stream_id"] == answer.final["stream_id"] == "st-1"
    assert answer.final["total_tokens"] == 2


@pytest.mark.parametrize("output", ["vercel", "text"])
def test_events_are_numbered_one_by_one(output):
    """Chunks that leave together have an id each, without holes."""
    drive = Drive(output, numbered=True)
    drive.feed(ROLE + word("Hel") + CALL + STOP + DONE, 1.0)

    ids = [row[4:] for row in drive.body.decode().split("\n") if row.startswith("id: ")]
    assert ids == [f"st-1-{number}" for number in range(1, drive.body.count(b"\n\n") + 1)]
    assert getattr(reading_back, output)(drive.body).first.text == "Hel"


def test_text_has_no_room_for_thinking_and_calls():
    """Bare text is the answer and its end."""
    drive = Drive("text", batch_delay=None)
    drive.feed(ROLE + chunk({"reasoning_content": "hm"}) + word("a\r") + word("\nb") + CALL, 1.0)
    drive.feed(chunk(finish="length") + DONE, 1.1)

    assert drive.body == b"data: a\ndata: \n\ndata: b\n\nevent: done\ndata: length\n\n"
