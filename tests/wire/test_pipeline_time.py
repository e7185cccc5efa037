"""What a pipeline does as time passes: batches, metadata, heartbeats and timeouts."""

import pytest
from wire import reading_back
from wire.driving import DONE, ROLE, STOP, STREAM_ID, Drive, chunk, frame, line, message, usage, word

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


def tokens(drive):
    """When which text left."""
    said = []
    for at, data in drive.writes:
        for block in reading_back.blocks(data):
            token = reading_back.loads(block["data"]).get("token")
            if token:
                said.append((at, token))
    return said


# ---- batches -------------------------------------------------------------------------------------


def test_a_fast_stream_is_joined_and_the_first_delta_is_not_held():
    """Held until `delay` has passed since the last write."""
    drive = Drive(batch_size=5, batch_delay=0.04)
    for at, text in [(1.0, "a"), (1.01, "b"), (1.03, "c"), (1.05, "d"), (1.06, "e")]:
        drive.feed(word(text), at)
    drive.wait(2.0)

    assert tokens(drive) == [(1.0, "a"), (1.04, "bc"), (pytest.approx(1.08), "de")]


def test_a_slow_stream_is_never_delayed():
    """A delta that comes `delay` or more after the last write goes at once."""
    drive = Drive(batch_size=5, batch_delay=0.04)
    moments = [1.0, 1.04, 1.5, 2.0, 2.0625]
    for at in moments:
        drive.feed(word("x"), at)
        assert drive.pipeline.near_deadline is None

    assert tokens(drive) == [(at, "x") for at in moments]


def test_a_full_batch_leaves_before_its_delay():
    """`size` upstream deltas are held at most."""
    drive = Drive(batch_size=3, batch_delay=10.0)
    for at in range(8):
        drive.feed(word(str(at)), 1.0 + at / 100)
    drive.wait(20.0)

    assert tokens(drive) == [(1.0, "0"), (1.03, "123"), (1.06, "456"), (pytest.approx(11.06), "7")]


def test_one_read_of_many_deltas_is_one_write_of_whole_events():
    """Each event holds at most `size` of them."""
    drive = Drive(batch_size=3, batch_delay=10.0)
    drive.feed(b"".join(map(word, "abcdefgh")) + STOP + DONE, 1.0)

    assert tokens(drive) == [(1.0, "a"), (1.0, "bcd"), (1.0, "efg"), (1.0, "h")]
    assert len(drive.writes) == 1


def test_without_batching_each_delta_is_an_event():
    """`batch: off`."""
    drive = Drive(batch_delay=None)
    drive.feed(word("a") + word("b"), 1.0)

    assert tokens(drive) == [(1.0, "a"), (1.0, "b")]


def opening(arguments=""):
    return chunk({"tool_calls": [{"index": 0, "id": "c", "function": {"name": "f", "arguments": arguments}}]})


@pytest.mark.parametrize(
    ("other", "shows"),
    [
        (chunk({"reasoning_content": "r"}), False),
        (chunk({"refusal": "r"}), False),
        (word("r", choice=1), False),
        (opening(), True),
        (chunk(finish="stop", choice=1), True),
    ],
    ids=["reasoning", "refusal", "choice", "call", "another's finish"],
)
def test_a_change_flushes_what_is_held(other, shows):
    """Only deltas of one kind and choice are joined; a call's opening and a finish are never held."""
    drive = Drive(batch_size=9, batch_delay=10.0, choices=2)
    drive.feed(word("a") + word("b") + word("c"), 1.0)
    drive.feed(other, 1.5)

    assert tokens(drive) == [(1.0, "a"), (1.5, "bc")]
    events = [block for at, data in drive.writes if at == 1.5 for block in reading_back.blocks(data)]
    assert len(events) == 1 + shows


def test_a_finish_never_overtakes_text():
    """What is held leaves when the finish comes, not when the finish leaves."""
    drive = Drive(batch_size=9, batch_delay=10.0)
    drive.feed(word("a") + word("b"), 1.0)
    drive.feed(STOP, 1.5)
    drive.wait(9.0)

    assert tokens(drive) == [(1.0, "a"), (1.5, "b")]
    assert [at for at, _ in drive.writes] == [1.0, 1.5, 3.5]


def test_a_joined_chunk_of_openai_is_one_of_its_own():
    """Its bytes are the upstream's but for the longer text."""
    drive = Drive("openai", batch_size=9, batch_delay=0.5, metadata="off")
    drive.feed(word("a"), 1.0)
    drive.feed(word("b") + word('"\n') + word("ü"), 1.1)
    drive.wait(2.0)

    assert drive.writes == [(1.0, word("a")), (1.5, word('b"\nü'))]


# ---- metadata ------------------------------------------------------------------------------------

RUNNING = {"token_count", "elapsed_time"}
FINAL = {
    *("total_tokens", "total_time", "time_to_first_token", "tokens_per_second", "input_tokens"),
    *("output_tokens", "usage_source", "model", "stream_id"),
}


@pytest.mark.parametrize("metadata", ["off", "final", "every"])
@pytest.mark.parametrize(
    ("output", "reader", "body"),
    [
        ("native", "native", word("a") + word("b") + STOP + usage(8, 4) + DONE),
        ("openai", "openai", word("a") + word("b") + STOP + usage(8, 4) + DONE),
        ("same", "openai", word("a") + word("b") + usage(8, 4) + STOP),
        (
            "same",
            "anthropic",
            message(type="message_start", message={"id": "m", "model": "c", "usage": {"input_tokens": 8}})
            + DELTA
            + DELTA
            + message(type="message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 4})
            + message(type="message_stop"),
        ),
        (
            "same",
            "ollama",
            LINE
            + LINE
            + line(message={"content": ""}, done=True, done_reason="stop", prompt_eval_count=8, eval_count=4),
        ),
    ],
    ids=["native", "openai", "same openai", "same anthropic", "same ollama"],
)
def test_metadata_is_told_as_often_as_was_asked(output, reader, body, metadata):
    """Off: nothing; final: at the end; every: on each delta too, the first with the stream's id."""
    drive = Drive(output, metadata=metadata, batch_delay=None)
    drive.feed(body, 2.0)
    drive.close(6.0)

    answer = getattr(reading_back, reader)(drive.body)
    running = [] if reader == "anthropic" else [RUNNING | {"stream_id"}, RUNNING]
    assert [set(told) for told in answer.running] == (running if metadata == "every" else [])
    assert set(answer.final or {}) == (set() if metadata == "off" else FINAL - _instant(drive))
    if metadata == "every" and running:
        assert answer.running[0] == {"token_count": 1, "elapsed_time": 2.0, "stream_id": STREAM_ID}
        assert answer.running[1] == {"token_count": 2, "elapsed_time": 2.0}
    if metadata == "off":
        assert b"ssegate" not in drive.body and b"metadata" not in drive.body


def _instant(drive):
    """A stream that ended in the moment of its first token has no rate."""
    return {"tokens_per_second"} if drive.writes[-1][0] == 2.0 else set()


def test_counts_and_durations_are_of_what_has_left():
    """Joined deltas count each; time is counted from the request."""
    drive = Drive(batch_size=3, batch_delay=10.0)
    drive.feed(word("a"), 1.0)
    drive.feed(word("b") + word("c") + word("d"), 2.25)
    drive.feed(word("e") + STOP, 3.0)
    drive.feed(DONE, 5.0)

    answer = reading_back.native(drive.body)
    assert [(told["token_count"], told["elapsed_time"]) for told in answer.running] == [
        (1, 1.0),
        (4, 2.25),
        (5, 3.0),
    ]
    assert answer.final == {
        "total_tokens": 5,
        "total_time": 5.0,
        "time_to_first_token": 1.0,
        "tokens_per_second": 1.25,
        "output_tokens": 5,
        "usage_source": "estimated",
        "model": "gpt-4o-mini",
        "stream_id": STREAM_ID,
    }


def test_a_failure_carries_the_final_metadata():
    """What had been generated is known, and may cost something."""
    drive = Drive(metadata="final")
    drive.feed(word("Hello, world") + usage(8, 40), 1.0)
    drive.fail("cancelled", 2.0)

    assert reading_back.native(drive.body).final["total_tokens"] == 40


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
