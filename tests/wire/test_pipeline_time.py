"""What a pipeline does as time passes: heartbeats and timeouts."""

import pytest
from wire import reading_back
from wire.driving import ROLE, Drive, chunk, frame, line, message, usage, word

from ssegate.wire.errors import http_status

KEEPALIVES = [
    b": keepalive\n\n",
    ROLE,
    chunk({}),
    chunk({"content": ""}),
    usage(9, 0),
    b"data: \n\n",
    b"event: ping\ndata: {}\n\n",
]
"""What an upstream may send for ever without having said a word."""

DELTA = message(type="content_block_delta", index=0, delta={"type": "text_delta", "text": "Hi"})
LINE = line(message={"content": "Hi"}, done=False)


def opening(arguments=""):
    return chunk({"tool_calls": [{"index": 0, "id": "c", "function": {"name": "f", "arguments": arguments}}]})


# ---- before the upstream has said in which dialect it speaks -------------------------------------


def test_same_lives_before_the_upstream_does():
    """Who asked in a dialect gets a head and signs of life though the upstream has sent nothing."""
    drive = Drive("same", begun=False, expected="anthropic", heartbeat=15.0, hold=10.0)
    drive.wait(26.0)
    assert drive.pipeline.is_open
    assert drive.pipeline.format.content_type == "text/event-stream; charset=utf-8"
    assert drive.writes == [(15.0, b":\n")]

    drive.pipeline.begin("text/event-stream")
    drive.feed(DELTA, 27.0)
    assert drive.writes[1:] == [(27.0, DELTA)]


def test_same_does_not_guess():
    """Where the path tells no dialect, or the upstream calls its body something else, nothing is begun."""
    silent = Drive("same", begun=False, heartbeat=15.0)
    silent.wait(60.0)
    lines = Drive("same", "application/x-ndjson", expected="openai", heartbeat=15.0)
    lines.wait(60.0)

    assert (silent.writes, lines.writes) == ([], [])
    assert silent.pipeline.format is None and lines.pipeline.format is None
    lines.feed(LINE, 61.0)
    assert b"Hi" in lines.body


def test_an_upstream_of_another_dialect_is_refused_after_a_begin():
    """What was begun in one dialect does not go on in another: an error in the first says so."""
    drive = Drive("same", begun=False, expected="anthropic", heartbeat=15.0)
    drive.wait(20.0)
    drive.pipeline.begin("text/event-stream")
    drive.feed(word("Hi"), 21.0)

    assert drive.pipeline.failure.code == "upstream_content_type"
    assert drive.body.startswith(b':\nevent: error\ndata: {"type":"error"')
    assert b"the upstream answered in the openai dialect" in drive.body


# ---- heartbeats ----------------------------------------------------------------------------------


def beats(drive):
    """When something left that is no event of the answer, and what."""
    return [(at, data) for at, data in drive.writes if b"Hi" not in data and b"[DONE]" not in data]


def test_a_silent_stream_is_kept_alive():
    """Exactly `:` and a newline, each time nothing has been written for `heartbeat` seconds."""
    drive = Drive(heartbeat=15.0)
    drive.feed(word("Hi"), 2.0)
    drive.wait(40.0)
    drive.feed(word("Hi"), 45.0)
    drive.wait(61.0)

    assert beats(drive) == [(17.0, b":\n"), (32.0, b":\n"), (60.0, b":\n")]
    assert drive.pipeline.stats.heartbeats == 3


def test_openai_s_sign_of_life_is_a_chunk_that_says_nothing():
    """Under the stream's own id and model; a comment before the first content."""
    drive = Drive("openai", heartbeat=5.0, hold=1.0)
    drive.wait(6.0)
    drive.feed(word("Hi"), 7.0)
    drive.wait(12.0)

    (early, comment), (late, noop) = beats(drive)
    assert (early, comment, late) == (5.0, b":\n", 12.0)
    (block,) = reading_back.blocks(noop)
    said = reading_back.loads(block["data"])
    assert (said["id"], said["model"], said["object"]) == (
        "chatcmpl-9",
        "gpt-4o-mini",
        "chat.completion.chunk",
    )
    assert [choice["delta"] for choice in said["choices"]] == [{}]
    assert said["choices"][0]["finish_reason"] is None


def test_anthropic_s_sign_of_life_is_its_ping():
    """After the first content; a comment before."""
    drive = Drive("same", heartbeat=5.0, hold=1.0)
    drive.feed(message(type="message_start", message={"id": "Hi"}), 0.5)
    drive.wait(6.0)
    drive.feed(DELTA, 7.0)
    drive.wait(12.0)

    assert beats(drive) == [(6.0, b":\n"), (12.0, b'event: ping\ndata: {"type":"ping"}\n\n')]


@pytest.mark.parametrize(("output", "body"), [("same", LINE), ("raw", word("Hi"))])
def test_some_formats_have_no_room_for_a_heartbeat(output, body):
    """Lines of JSON and raw bytes stay silent."""
    drive = Drive(output, heartbeat=5.0)
    drive.feed(body, 1.0)
    drive.wait(100.0)

    assert beats(drive) == []


def test_heartbeats_may_be_off():
    """`heartbeat: off`."""
    drive = Drive(heartbeat=None)
    drive.feed(word("Hi"), 1.0)
    drive.wait(290.0)

    assert beats(drive) == []


def test_there_is_no_heartbeat_inside_the_hold():
    """The 200 waits, so nothing may be written; the first one comes with the head that has no content."""
    drive = Drive(heartbeat=2.0, hold=7.0)
    drive.feed(ROLE, 1.0)
    assert drive.wait(6.999) == b""
    drive.wait(10.0)

    assert beats(drive) == [(7.0, b":\n"), (9.0, b":\n")]


def test_there_is_no_heartbeat_while_the_client_does_not_read():
    """It would only pile up; after that the silence counts anew."""
    drive = Drive(heartbeat=5.0)
    drive.feed(word("Hi"), 1.0)
    drive.pipeline.pause(3.0)
    assert drive.wait(50.0) == b""
    drive.pipeline.resume(50.0)
    drive.wait(56.0)

    assert beats(drive) == [(55.0, b":\n")]


# ---- timeouts ------------------------------------------------------------------------------------


@pytest.mark.parametrize("keepalive", [b"", *KEEPALIVES])
@pytest.mark.parametrize("hold", [3.0, 60.0])
def test_only_content_stops_the_clock_of_the_first_token(keepalive, hold):
    """Whatever else the upstream sends: a status inside the hold, an event after it, at the very moment."""
    drive = Drive(first_token=8.0, hold=hold, heartbeat=None, dialect="openai")
    for at in range(1, 8):
        drive.feed(keepalive, float(at))
    drive.wait(20.0)
    pipeline = drive.pipeline

    assert (pipeline.outcome, pipeline.failure.code) == ("first_token_timeout", "first_token_timeout")
    assert http_status(pipeline.failure) == 504
    if hold < 8.0:
        assert drive.writes[-1][0] == 8.0
        assert reading_back.native(drive.body).error["code"] == "first_token_timeout"
    else:
        assert drive.body == b""


@pytest.mark.parametrize("keepalive", [b"", *KEEPALIVES])
def test_only_content_stops_the_clock_of_silence(keepalive):
    """The same between tokens."""
    drive = Drive(idle=2.0)
    drive.feed(word("Hi"), 1.0)
    drive.feed(word("Hi"), 2.5)
    for at in range(8):
        drive.feed(keepalive, 2.6 + at / 10)
    drive.wait(20.0)

    assert drive.writes[-1][0] == 4.5
    assert drive.pipeline.outcome == "idle_timeout"
    error = reading_back.native(drive.body).error
    assert (error["code"], error["error"]) == ("idle_timeout", "upstream was silent for 2 s")


@pytest.mark.parametrize(
    "content",
    [
        chunk({"reasoning_content": "hm"}),
        chunk({"refusal": "no"}),
        opening("1"),
        chunk({"annotations": [{"type": "url_citation", "url_citation": {"url": "https://a"}}]}),
    ],
    ids=["reasoning", "refusal", "call", "citation"],
)
def test_all_content_counts_as_such(content):
    """Thinking, refusing, calling and citing are work."""
    drive = Drive(idle=2.0, first_token=2.0)
    for at in (1.0, 2.5, 4.0):
        drive.feed(content, at)
    drive.wait(5.9)
    assert drive.pipeline.outcome is None
    drive.wait(6.0)

    assert drive.pipeline.outcome == "idle_timeout"


SEARCHING = message(type="response.web_search_call.searching", output_index=0)
SPOKEN = message(type="response.output_text.delta", output_index=1, delta="Hi")


@pytest.mark.parametrize("output", ["native", "same"])
def test_work_that_the_upstream_tells_of_is_no_silence(output):
    """A search may take its time; an event that says nothing of work does not count."""
    drive = Drive(output, idle=2.0, heartbeat=None)
    drive.feed(SPOKEN, 1.0)
    for at in (2.5, 4.0, 5.5):
        drive.feed(SEARCHING, at)
    drive.feed(message(type="response.in_progress", response={}), 7.0)
    drive.wait(7.4)
    assert drive.pipeline.outcome is None
    drive.wait(7.5)

    assert drive.pipeline.outcome == "idle_timeout"


def test_work_is_no_first_token():
    """The answer has still not begun: neither the head nor the clock takes it for content."""
    drive = Drive(first_token=4.0, idle=2.0, hold=60.0)
    for at in (1.0, 2.5, 3.9):
        drive.feed(SEARCHING, at)
    assert not drive.pipeline.is_open
    drive.wait(4.0)

    assert drive.pipeline.outcome == "first_token_timeout"


def test_a_silent_response_is_kept_alive_by_itself():
    """Once more as it stood, under the number of the event before it; clients' idle timers miss comments."""
    drive = Drive("same", heartbeat=5.0)
    drive.feed(message(type="response.created", sequence_number=0, response={"id": "r"}), 1.0)
    drive.feed(message(type="response.output_text.delta", sequence_number=7, output_index=0, delta="a"), 2.0)
    drive.wait(7.0)

    at, noop = drive.writes[-1]
    (block,) = reading_back.blocks(noop)
    assert (at, block["event"]) == (7.0, "response.in_progress")
    assert reading_back.loads(block["data"]) == {
        "type": "response.in_progress",
        "sequence_number": 7,
        "response": {"id": "r", "status": "in_progress"},
    }


def test_a_stream_that_never_ends_is_ended():
    """`total` counts from the request, and what is held leaves first."""
    drive = Drive(total=5.0, batch_size=100, batch_delay=1.0, heartbeat=None)
    for at in range(1, 80):
        drive.feed(word("x"), at / 10)

    answer = reading_back.native(drive.body)
    assert drive.writes[-1][0] == 5.0
    assert answer.first.text == "x" * 49
    assert answer.error["code"] == drive.pipeline.outcome == "total_timeout"


@pytest.mark.parametrize("has_content", [False, True])
def test_clocks_stand_still_while_the_client_does_not_read(has_content):
    """The upstream's silence is ours then; afterwards they go on from where they stood."""
    drive = Drive(first_token=4.0, idle=4.0, heartbeat=None, hold=1.0)
    drive.feed(word("Hi") if has_content else ROLE, 0.5)
    drive.pipeline.pause(2.5)
    drive.wait(100.0)
    assert drive.pipeline.outcome is None
    drive.pipeline.resume(102.5)
    last = 104.5 if has_content else 104.0
    drive.wait(last - 0.001)
    assert drive.pipeline.outcome is None
    drive.wait(last)

    assert drive.pipeline.outcome == ("idle_timeout" if has_content else "first_token_timeout")


def test_the_total_does_not_stand_still():
    """A client that never reads cannot keep the stream."""
    drive = Drive(total=30.0)
    drive.feed(word("Hi"), 1.0)
    drive.pipeline.pause(2.0)
    drive.wait(100.0)

    assert drive.pipeline.outcome == "total_timeout"


def test_with_every_clock_off_nothing_is_due():
    """A caller need not wake up for nothing."""
    drive = Drive(first_token=None, idle=None, total=None, heartbeat=None)
    assert drive.pipeline.deadline == 10.0, "the hold"
    drive.feed(word("Hi"), 1.0)

    assert drive.pipeline.deadline is None


def test_a_tick_before_its_time_does_nothing():
    """Waking up too early is harmless, and after the end too."""
    drive = Drive()
    drive.feed(word("a") + word("b"), 1.0)
    assert drive.pipeline.tick(1.001) == b""
    drive.wait(1.1)
    drive.feed(frame({"error": {"message": "m"}}), 1.2)

    assert drive.pipeline.outcome == "upstream_error"
    assert drive.pipeline.tick(99.0) == b""


# ---- the hold ------------------------------------------------------------------------------------


def test_a_flood_of_events_without_content_ends_the_hold():
    """Pings leave with the first content, but no more than 128 KiB of them is kept for it."""
    drive = Drive("same", hold=10.0)
    ping = message(type="ping", padding="x" * 10_000)
    drive.feed(message(type="message_start", message={"id": "m", "model": "c"}), 0.1)

    for at in range(9):
        drive.feed(ping, 0.2 + at / 100)
        assert not drive.pipeline.is_open
    for at in range(30):
        drive.feed(ping, 2.0 + at / 100)

    assert drive.pipeline.is_open
    assert drive.body.count(b"event: ping") == 39
