import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssegate.wire.events import Citation, Failure, Finish, Reasoning, Refusal, Start, Text, ToolCall, Usage
from ssegate.wire.formats.text import BareText
from ssegate.wire.seams import Context

CONTEXT = Context("s1", 1700000000)


def told(*texts):
    form = BareText(CONTEXT)
    return b"".join(block for text in texts for block in form.encode(Text(text), b'{"token_count":1}'))


def read(body):
    """What a client joins: the data lines of an event by newlines, events by nothing."""
    events = body.decode().removesuffix("\n\n").split("\n\n") if body else []
    lines = [[line.removeprefix("data: ") for line in event.split("\n")] for event in events]
    assert all(line.startswith("data: ") for event in events for line in event.split("\n"))
    return "".join("\n".join(data) for data in lines)


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("Hello", "data: Hello\n\n"),
        ("a\nb", "data: a\ndata: b\n\n"),
        ("\n", "data: \ndata: \n\n"),
        ("a\n\n", "data: a\ndata: \ndata: \n\n"),
        (" : data: ", "data:  : data: \n\n"),
        ("a\r\nb\rc\n\r", "data: a\ndata: b\ndata: c\ndata: \ndata: \n\n"),
        ("é\u2028\ufeff", "data: é\u2028\ufeff\n\n"),
    ],
)
def test_each_line_is_a_data_line(text, lines):
    """No JSON, no metadata: what a shell can print and a tiny device can show."""
    assert told(text).decode() == lines


@pytest.mark.parametrize(
    ("texts", "whole"),
    [
        (["a\r", "\nb"], "a\nb"),
        (["a\r", "\n", "\n", "b"], "a\n\nb"),
        (["\r", "\r", "\n"], "\n\n"),
        (["\r", "x\n", "\n"], "\nx\n\n"),
    ],
)
def test_a_line_end_cut_in_two_is_one(texts, whole):
    """CRLF becomes LF wherever the upstream cut it, and what is nothing else makes no event."""
    assert read(told(*texts)) == whole


@given(st.lists(st.text(st.sampled_from("a\r\n :é\u2028"), min_size=1)))
def test_any_cut_of_a_text_is_joined_the_same(texts):
    """The joined text is the upstream's, with LF for its line ends."""
    whole = "".join(texts).replace("\r\n", "\n").replace("\r", "\n")

    assert read(told(*texts)) == whole
    assert b"\r" not in told(*texts)


@pytest.mark.parametrize(
    "event",
    [Start("id"), Usage(1), Reasoning("hm"), ToolCall(0, "{}", "c", "f"), Citation("u"), Text("b", 1)],
)
def test_there_is_room_for_the_answer_alone(event):
    """Thinking, calls, sources and other choices are for richer formats."""
    assert BareText(CONTEXT).encode(event, b"{}") == []


def test_a_refusal_is_what_there_is_to_read():
    """It stands where the answer would."""
    assert BareText(CONTEXT).encode(Refusal("No."), b"") == [b"data: No.\n\n"]


def test_the_end_has_a_name():
    """No text of a model's can be taken for it."""
    form = BareText(CONTEXT)

    assert form.finish(Finish("length", "max_tokens"), Usage(1, 2), b"{}") == [
        b"event: done\ndata: length\n\n"
    ]
    assert form.fail(Failure("upstream_error", "a\r\nb\r"), b"{}") == [
        b"event: error\ndata: upstream_error: a\ndata: b\ndata: \n\n"
    ]
    assert form.fail(Failure("cancelled", "m"), b"") == [b"event: error\ndata: cancelled: m\n\n"]


def test_half_a_character_never_raises():
    """A stray surrogate becomes U+FFFD."""
    assert told("a\ud83d") == "data: a\ufffd\n\n".encode()
    assert "\ufffd".encode() in BareText(CONTEXT).fail(Failure("upstream_error", "\ud83d"), b"")[0]


def test_silence_is_a_comment():
    """It is no line of the answer."""
    form = BareText(CONTEXT)

    assert (form.heartbeat, form.noop) == (b":\n", b"")
    assert form.content_type == "text/event-stream; charset=utf-8"
