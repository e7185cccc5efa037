"""When a pipeline lets go of what it holds, and when it ends; other files have the rest."""

import pytest
from wire import reading_back
from wire.driving import DONE, ROLE, STOP, Drive, chunk, message, usage, word

from ssegate.wire.events import Finish

START = message(
    type="message_start", message={"id": "msg_1", "model": "claude-3", "usage": {"input_tokens": 9}}
)
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
    [
        ROLE,
        chunk({"content": ""}),
        chunk({}),
        usage(9, 0),
        b": ping\n\n",
        b"data:\n\n",
        b'data: {"error":null}\n\n',
    ],
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

    assert drive.pipeline.deadline == 3.0
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


def test_the_finish_is_reported_for_the_log():
    """Whoever writes the log line finds reason and counters on the pipeline."""
    drive = Drive()
    sent = ROLE + word("a") + word("b") + STOP + DONE
    drive.feed(sent, 1.0)
    stats = drive.pipeline.stats

    assert drive.pipeline.finish == Finish("stop", "stop")
    assert (stats.events_in, stats.bytes_in, stats.bytes_out) == (5, len(sent), len(drive.body))
    assert (stats.events_out, stats.deltas, stats.sent_deltas, stats.upstream_id) == (3, 2, 2, "chatcmpl-9")
