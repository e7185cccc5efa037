"""How a pipeline joins deltas as time passes, and what it says of them."""

import pytest
from wire import reading_back
from wire.driving import DONE, STOP, STREAM_ID, Drive, chunk, line, message, usage, word

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
