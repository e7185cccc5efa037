import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssegate.wire.events import (
    Citation,
    End,
    Failure,
    Finish,
    Reasoning,
    Refusal,
    Start,
    Text,
    ToolCall,
    Usage,
)
from ssegate.wire.mending import Mender

HIGH, LOW, WHOLE = "\ud83d", "\ude00", "\U0001f600"
OPENING = ToolCall(0, id="call_a", name="f")


def mended(*reads, stream_id="s"):
    """Everything that comes out of the given lists of events and the close after them."""
    mender = Mender(stream_id)
    return [event for events in reads for event in mender.mend(events)] + mender.close()


@pytest.mark.parametrize(
    "event", [Text("plain"), Text("Grüße 😀"), ToolCall(0, '{"a"'), Usage(1), Start("i")]
)
def test_good_order_is_left_alone(event):
    """Nothing is rewritten that needs no repair."""
    assert mended([event], [event]) == [event, event]


def test_ascii_text_costs_nothing():
    """The common read, one piece of ASCII, comes back as the very same list."""
    events = [Text("token")]

    assert Mender("s").mend(events) is events


@pytest.mark.parametrize("kind", [Text, Reasoning, Refusal])
def test_the_halves_of_a_character_find_each_other(kind):
    """A high half waits for the next delta of its kind, and no delta is miscounted for it."""
    assert mended([kind("a" + HIGH)], [kind(LOW + "b")]) == [kind("a"), kind(WHOLE + "b")]


def test_a_delta_that_is_only_a_half_is_swallowed():
    """No empty event is made; the delta counts where its character leaves."""
    assert mended([Text("a")], [Text(HIGH)], [Text(LOW)]) == [Text("a"), Text(WHOLE, count=2)]


def test_halves_wait_through_other_deltas():
    """A delta of another kind, choice or call neither completes nor spends a waiting half."""
    others = [Reasoning(LOW), Text("x", choice=1), ToolCall(0, "y")]

    assert mended([Text("a" + HIGH), *others, Text(LOW)]) == [
        Text("a"),
        Reasoning("\ufffd"),
        Text("x", choice=1),
        ToolCall(0, "y"),
        Text(WHOLE),
    ]


def test_arguments_of_each_call_are_mended_apart():
    """Two calls that interleave keep their halves apart; an opening with half a character is sent."""
    opening = ToolCall(0, HIGH, id="a", name="f")

    assert mended([opening], [ToolCall(1, HIGH)], [ToolCall(0, LOW)], [ToolCall(1, LOW)]) == [
        ToolCall(0, "", id="a", name="f"),
        ToolCall(0, WHOLE),
        ToolCall(1, WHOLE, count=2),
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (HIGH + "b", "\ufffdb"),
        (LOW, "\ufffd"),
        ("a" + LOW + "b", "a\ufffdb"),
        (HIGH + HIGH + LOW, "\ufffd" + WHOLE),
        (HIGH + LOW, WHOLE),
        (HIGH + WHOLE, "\ufffd" + WHOLE),
    ],
)
def test_a_lonely_half_becomes_a_replacement_character(text, expected):
    """Inside a delta pairs are joined and lonely halves replaced."""
    assert mended([Text(text)]) == [Text(expected)]


def test_a_half_that_nothing_completes_is_replaced():
    """ASCII after a waiting half shows that its other half never comes."""
    assert mended([Text("a" + HIGH)], [Text("b")]) == [Text("a"), Text("\ufffdb")]


def test_close_gives_up_waiting():
    """What waits at the end leaves as U+FFFD, and its delta is counted once."""
    assert mended([Text("a" + HIGH), Reasoning(HIGH), ToolCall(2, HIGH, choice=1)]) == [
        Text("a"),
        Text("\ufffd", count=0),
        Reasoning("\ufffd"),
        ToolCall(2, "\ufffd", choice=1),
    ]


def test_a_finish_ends_the_waiting_of_its_choice():
    """A choice's finish is the last thing said of it; others may go on."""
    reads = [Text(HIGH), Text(HIGH, choice=1)], [Finish("stop")], [Text(LOW, choice=1)]

    assert mended(*reads) == [Text("\ufffd"), Finish("stop"), Text(WHOLE, 1, 2)]


@pytest.mark.parametrize("last", [End(), Failure("idle_timeout", "…")])
def test_the_end_ends_all_waiting(last):
    """Neither the end mark nor an error overtakes text."""
    assert mended([Text(HIGH, choice=1)], [last]) == [Text("\ufffd", choice=1), last]


def test_a_call_without_id_gets_one():
    """The id is made of stream, choice and index, so it is unique and tells where it comes from."""
    calls = [
        ToolCall(0, "{}", name="f"),
        ToolCall(1, "{}", id="", name="f"),
        ToolCall(1, "{}", name="f", choice=2),
    ]

    assert [call.id for call in mended(calls, stream_id="xyz")] == [
        "call_xyz_0",
        "call_xyz_1",
        "call_xyz_2_1",
    ]


def test_a_call_keeps_its_own_id():
    """An id of the upstream is what the client must send back."""
    assert mended([OPENING]) == [OPENING]


def test_a_call_without_arguments_says_so_before_the_finish():
    """`{}` is what a call without arguments means; JSON readers choke on nothing at all."""
    assert mended([OPENING], [Finish("tool_calls")], [End()]) == [
        OPENING,
        ToolCall(0, "{}", count=0),
        Finish("tool_calls"),
        End(),
    ]


def test_only_the_calls_of_the_finished_choice_are_completed():
    """Another choice's call may still get its arguments."""
    other = ToolCall(0, id="b", name="f", choice=1)

    assert mended([OPENING, other], [Finish("tool_calls")], [ToolCall(0, '{"a":1}', choice=1)], [End()]) == [
        OPENING,
        other,
        ToolCall(0, "{}", count=0),
        Finish("tool_calls"),
        ToolCall(0, '{"a":1}', choice=1),
        End(),
    ]


def test_the_end_mark_completes_calls_where_no_finish_came():
    """A stream without finish reasons still ends its calls in order."""
    second = ToolCall(1, id="b", name="g")

    assert mended([OPENING, second], [End()]) == [
        OPENING,
        second,
        ToolCall(0, "{}", count=0),
        ToolCall(1, "{}", count=0),
        End(),
    ]


@pytest.mark.parametrize("reads", [[[OPENING]], [[OPENING], [Failure("upstream_truncated", "…")]]])
def test_a_call_that_was_cut_off_gets_no_arguments(reads):
    """A stream that broke off after an opening must not look like a call without arguments."""
    assert mended(*reads) == [event for events in reads for event in events]


@pytest.mark.parametrize("arguments", [[ToolCall(0, "{}")], [ToolCall(0, '{"a"'), ToolCall(0, ":1}")]])
def test_a_call_with_arguments_is_left_alone(arguments):
    """Arguments that came in fragments are arguments."""
    events = [OPENING, *arguments, Finish("tool_calls")]

    assert mended(events) == events


def test_a_stop_after_a_call_is_a_call():
    """Gemini and Ollama say `stop` for it; the upstream's own word stays beside ours."""
    call = ToolCall(0, "{}", id="a", name="f")

    assert mended([call], [Finish("stop", "STOP")])[-1] == Finish("tool_calls", "STOP")


@pytest.mark.parametrize("finish", [Finish("length"), Finish("stop", choice=1)])
def test_other_finishes_stay(finish):
    """A call cut off by length ended by length; a choice without a call just stopped."""
    assert mended([ToolCall(0, "{", id="a", name="f")], [finish])[-1] == finish


units = st.sampled_from(["a", "é", WHOLE, HIGH, LOW])
kinds = st.sampled_from([Text, Reasoning])


@given(
    st.lists(
        st.builds(lambda k, t, c: k(t, c), kinds, st.lists(units, min_size=1).map("".join), st.integers(0, 1))
    )
)
def test_mending_equals_replacing_in_the_whole_text(deltas):
    """However deltas were cut, the text of each kind and choice is what the whole would have given."""

    def whole(events, strand):
        return "".join(event.text for event in events if (type(event), event.choice) == strand)

    def replaced(text):
        """Pairs joined, lonely halves replaced, one code unit at a time."""
        out, i = "", 0
        while i < len(text):
            if text[i] == HIGH and text[i + 1 : i + 2] == LOW:
                out, i = out + WHOLE, i + 2
            else:
                out, i = out + ("\ufffd" if text[i] in (HIGH, LOW) else text[i]), i + 1
        return out

    out = mended(*([delta] for delta in deltas), [Citation("u")])

    said = [event for event in out if not isinstance(event, Citation)]
    for strand in [(Text, 0), (Text, 1), (Reasoning, 0), (Reasoning, 1)]:
        assert whole(said, strand) == replaced(whole(deltas, strand))
    assert all(event.text for event in said)
    assert sum(event.count for event in said) == len(deltas)
