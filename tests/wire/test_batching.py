from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssegate.wire.batching import AdaptivePace, Batcher, Load, Pace
from ssegate.wire.events import (
    Carried,
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


def begun(size=5, delay=0.04, at=10.0):
    """A batcher whose first delta left at *at*."""
    batcher = Batcher(Pace(size, delay))
    batcher.add(Text("first"), at)
    return batcher


def frame(body, key=b"k", count=1, event="", tail=b'"}'):
    return Carried(event, b'{"t":"', body, tail, key, count)


def test_the_first_delta_never_waits():
    """Time to first token is not paid for batching."""
    batcher = Batcher(Pace(size=5, delay=0.04))

    assert batcher.add(Text("Hel"), now=10.0) == [Text("Hel")]
    assert batcher.deadline is None


@pytest.mark.parametrize("early", [Start("id", "model"), Usage(1), frame(b"", None, 0), Citation("u")])
def test_what_precedes_the_first_delta_does_not_make_it_wait(early):
    """A role-only frame or the upstream's name just before the first delta is no reason to hold it."""
    batcher = Batcher(Pace(size=5, delay=0.04))

    assert batcher.add(early, now=10.0) == [early]
    assert batcher.add(Text("Hel"), now=10.001) == [Text("Hel")]


def test_held_text_leaves_joined_when_its_delay_ends():
    """Deltas soon after a write wait until `delay` has passed since it, and leave as one."""
    batcher = begun(at=10.0)

    assert batcher.add(Text("lo "), now=10.01) == []
    assert batcher.add(Text("you"), now=10.03) == []
    assert batcher.deadline == 10.04
    assert batcher.flush(10.04) == [Text("lo you", count=2)]
    assert batcher.deadline is None


def test_a_lone_held_delta_leaves_as_it_came():
    """Holding one delta changes nothing of it."""
    batcher = begun()
    delta = Text("lo")
    batcher.add(delta, now=10.01)

    assert batcher.flush(10.04)[0] is delta


def test_slow_streams_are_never_delayed():
    """A delta that comes `delay` or more after the last write goes at once."""
    batcher = begun(at=10.0)

    assert batcher.add(Text("a"), now=10.04) == [Text("a")]
    assert batcher.add(Text("b"), now=10.09) == [Text("b")]


def test_a_flush_is_a_write():
    """What comes within `delay` after a flush is held again."""
    batcher = begun(at=10.0)
    batcher.add(Text("a"), now=10.01)
    batcher.flush(10.05)

    assert batcher.add(Text("b"), now=10.08) == []
    assert batcher.deadline == pytest.approx(10.09)


def test_an_empty_flush_is_no_write():
    """A tick with nothing held neither writes nor delays what comes next."""
    batcher = begun(at=10.0)

    assert batcher.flush(10.03) == []
    assert batcher.add(Text("a"), now=10.04) == [Text("a")]


def test_size_deltas_leave_without_waiting():
    """`size` counts the upstream's deltas that are held, not those that were written."""
    batcher = begun(size=3)

    assert batcher.add(Text("a"), now=10.01) == []
    assert batcher.add(Text("b"), now=10.01) == []
    assert batcher.add(Text("c"), now=10.01) == [Text("abc", count=3)]
    assert batcher.add(Text("d"), now=10.01) == []


def test_size_sums_counts():
    """A delta that is several already counts as several."""
    batcher = begun(size=3)

    assert batcher.add(Text("abc", count=3), now=10.01) == [Text("abc", count=3)]
    assert batcher.add(Text("a"), now=10.01) == []
    assert batcher.add(Text("bc", count=2), now=10.01) == [Text("abc", count=3)]


@pytest.mark.parametrize(("size", "delay"), [(1, 0.04), (5, 0.0)])
def test_no_size_or_no_delay_means_no_batching(size, delay):
    """A size of 1 and a delay of 0 each let everything pass as it comes."""
    batcher = begun(size, delay)

    assert batcher.add(Text("a"), now=10.0) == [Text("a")]
    assert batcher.add(Text("b"), now=10.0) == [Text("b")]


def test_a_late_tick_does_not_hold_longer():
    """A delta that arrives after the deadline takes what is held along."""
    batcher = begun(at=10.0)
    batcher.add(Text("a"), now=10.01)

    assert batcher.add(Text("b"), now=10.05) == [Text("ab", count=2)]


def test_a_late_delta_of_another_kind_goes_at_once_too():
    """Past the deadline neither what is held nor what has come waits any longer."""
    batcher = begun(at=10.0)
    batcher.add(Text("a"), now=10.01)

    assert batcher.add(Reasoning("b"), now=10.05) == [Text("a"), Reasoning("b")]
    assert batcher.deadline is None


def loaded(share):
    load = Load()
    load.share = share
    return load


def test_with_time_for_each_token_none_waits():
    """An idle gate adds nothing: deltas of one moment leave one by one."""
    batcher = Batcher(AdaptivePace(5, 0.04, loaded(0.0)))

    for text in "abc":
        assert batcher.add(Text(text), now=10.0) == [Text(text)]
    assert batcher.deadline is None


def test_each_wait_is_as_long_as_the_load_asks_for():
    """The delay is taken anew with each write."""
    load = loaded(1.0)
    batcher = Batcher(AdaptivePace(5, 0.04, load))
    batcher.add(Text("first"), 10.0)
    load.share = 0.25
    batcher.add(Text("a"), now=10.001)
    assert batcher.deadline == 10.04

    assert batcher.add(Text("b"), now=10.04) == [Text("ab", count=2)]
    batcher.add(Text("c"), now=10.041)
    assert batcher.deadline == pytest.approx(10.05)


@given(st.lists(st.tuples(st.floats(0, 0.05), st.integers(1, 3)), max_size=40), st.integers(1, 6))
def test_under_full_load_it_is_the_fixed_pace(steps, size):
    """What adapts never waits longer than what does not, and just as long when there is no time left."""
    fixed, adaptive = Pace(size, 0.04), AdaptivePace(size, 0.04, loaded(1.0))
    now = 10.0
    for step, count in steps:
        now += step
        assert adaptive.add(now, count) == fixed.add(now, count)
        assert adaptive.due_at == fixed.due_at


@pytest.mark.parametrize(
    ("busy", "share"), [(0.0, 0.0), (0.5, 0.0), (0.6, 0.25), (0.7, 0.5), (0.9, 1.0), (1.0, 1.0), (1.7, 1.0)]
)
def test_the_share_follows_the_busy_time(busy, share):
    """Nothing up to one half, all at nine tenths, and there it stays."""
    load = Load()
    for _ in range(40):
        load.note(busy)
    assert load.share == pytest.approx(share, abs=1e-5)


def test_the_share_moves_smoothly():
    """One busy moment is not yet a busy gate, and one quiet one not yet an idle one."""
    load = Load()
    seen = [0.0]
    for busy in [1.0] * 30 + [0.0] * 30:
        load.note(busy)
        seen.append(load.share)
    assert all(abs(after - before) <= 0.3 for before, after in pairwise(seen))
    assert max(seen) > 0.99 and seen[-1] < 0.01


UNLIKE = [
    (Text("a"), Reasoning("b")),
    (Text("a"), Text("b", choice=1)),
    (Reasoning("a"), Refusal("b")),
    (ToolCall(0, "a"), ToolCall(1, "b")),
    (ToolCall(0, "a"), ToolCall(0, "b", choice=1)),
    (frame(b"a"), frame(b"b", key=b"other")),
    (frame(b"a"), frame(b"b", event="other")),
]


@pytest.mark.parametrize(("first", "second"), UNLIKE, ids=repr)
def test_a_change_flushes_and_holds_anew(first, second):
    """Deltas join only within one kind, choice, call or key; the change itself is a write."""
    batcher = begun(at=10.0)
    assert batcher.add(first, now=10.01) == []

    assert batcher.add(second, now=10.02) == [first]
    assert batcher.deadline == pytest.approx(10.06)
    assert batcher.flush(10.06) == [second]


@pytest.mark.parametrize("kind", [Text, Reasoning, Refusal])
def test_one_kind_joins(kind):
    """Text, reasoning and refusals join, and keep their choice."""
    batcher = begun()
    batcher.add(kind("a", 2), now=10.01)
    batcher.add(kind("b", 2), now=10.01)

    assert batcher.flush(10.04) == [kind("ab", 2, 2)]


def test_fragments_of_one_call_join():
    """Arguments of one call join, and keep its index and choice."""
    batcher = begun()
    batcher.add(ToolCall(1, '{"a"', choice=2), now=10.01)
    batcher.add(ToolCall(1, ":1}", choice=2), now=10.01)

    assert batcher.flush(10.04) == [ToolCall(1, '{"a":1}', choice=2, count=2)]


def test_an_opening_is_never_held():
    """A call's opening flushes what is held and goes at once; its arguments wait after it."""
    batcher = begun(at=10.0)
    batcher.add(ToolCall(0, "{}"), now=10.01)
    opening = ToolCall(1, id="call_1", name="f")

    assert batcher.add(opening, now=10.02) == [ToolCall(0, "{}"), opening]
    assert batcher.add(ToolCall(1, "{"), now=10.03) == []
    assert batcher.deadline == pytest.approx(10.06)


@pytest.mark.parametrize("first", [ToolCall(0, id="c", name="f"), frame(b"", None, 1)], ids=repr)
def test_an_opening_can_be_the_first_delta(first):
    """A stream that begins with a call has begun: what follows may wait."""
    batcher = Batcher(Pace(size=5, delay=0.04))

    assert batcher.add(first, now=10.0) == [first]
    assert batcher.add(ToolCall(0, "{"), now=10.01) == []


AT_ONCE = [Citation("u"), Finish("stop"), Failure("idle_timeout", "…"), End(), frame(b"", None, 0)]


@pytest.mark.parametrize("event", AT_ONCE, ids=repr)
def test_everything_else_flushes_and_goes_at_once(event):
    """Nothing overtakes a held delta, and no finish or error waits; each is a write."""
    batcher = begun(at=10.0)
    batcher.add(Text("a"), now=10.01)

    assert batcher.add(event, now=10.02) == [Text("a"), event]
    assert batcher.add(Text("b"), now=10.05) == []


def test_a_frame_without_content_never_joins():
    """A carried frame with a key but without deltas is not held."""
    batcher = begun()
    batcher.add(frame(b"a"), now=10.01)
    empty = frame(b"", count=0)

    assert batcher.add(empty, now=10.01) == [frame(b"a"), empty]


@pytest.mark.parametrize("event", [Start("id"), Usage(output_tokens=3)], ids=repr)
def test_what_no_bytes_leave_for_disturbs_nothing(event):
    """Usage with every token neither breaks a batch up nor counts as a write."""
    batcher = begun(at=10.0)
    batcher.add(Text("a"), now=10.01)

    assert batcher.add(event, now=10.02) == [event]
    assert batcher.deadline == 10.04
    assert batcher.add(Text("b"), now=10.03) == []
    assert batcher.flush(10.04) == [Text("ab", count=2)]


def test_carried_frames_join_their_bodies():
    """Frames alike but for body, numbers and padding become one: the last frame with all bodies."""
    batcher = begun()
    batcher.add(frame(b"a", tail=b'","number":4}'), now=10.01)
    batcher.add(frame(b"\\n", tail=b'","number":5}'), now=10.01)

    assert batcher.flush(10.04) == [frame(b"a\\n", tail=b'","number":5}', count=2)]


def test_unbatched_holds_nothing():
    """`batch: off` is a pace at which everything leaves as it comes."""
    batcher = Batcher(Pace(1, 0.0))

    assert batcher.add(Text("a"), now=10.0) == [Text("a")]
    assert batcher.deadline is None
    assert batcher.flush(10.0) == []


deltas = st.builds(
    lambda kind, text, choice: kind(text, choice),
    st.sampled_from([Text, Reasoning, Refusal]),
    st.text(min_size=1, max_size=3),
    st.integers(0, 1),
)
calls = st.builds(
    lambda index, arguments, name: ToolCall(index, arguments, id=name, name=name),
    st.integers(0, 1),
    st.text(min_size=1, max_size=3),
    st.sampled_from([None, None, "f"]),
)
frames = st.builds(
    frame, st.binary(min_size=1, max_size=3), st.sampled_from([b"k", b"l", None]), st.integers(0, 1)
)
streams = st.lists(
    st.tuples(st.floats(0, 0.1), st.one_of(deltas, deltas, calls, frames, st.just(Citation("u"))))
)


def played(stream, size, delay):
    """Feed a stream with gaps of time, honouring every deadline; return (moment, event) as they leave."""
    batcher, now, left = Batcher(Pace(size, delay)), 100.0, []
    for gap, event in stream:
        now += gap
        while batcher.deadline is not None and batcher.deadline <= now:
            due = batcher.deadline
            left += [(due, each) for each in batcher.flush(due)]
        left += [(now, each) for each in batcher.add(event, now)]
    left += [(now, each) for each in batcher.flush(now)]
    return left


def strand(event):
    """What must be equal for two events to be parts of one thing."""
    match event:
        case Carried():
            return Carried, event.event, event.key if event.count else None
        case ToolCall():
            return ToolCall, event.choice, event.index, event.name
        case Text() | Reasoning() | Refusal():
            return type(event), event.choice
    return type(event)


def content(event):
    match event:
        case Carried():
            return event.body
        case ToolCall():
            return event.arguments
        case Citation():
            return ""
    return event.text


def unrolled(events):
    """One (strand, unit) a character or byte, so that joined and unjoined streams can be compared."""
    return [(strand(event), unit) for event in events for unit in content(event) or ["(empty)"]]


@given(streams, st.integers(1, 6), st.floats(0, 0.08))
def test_batching_is_invisible_in_what_is_said(stream, size, delay):
    """For any size, delay and timing: same content, same order, nothing lost, nothing empty."""
    events = [event for _, event in stream]

    left = [event for _, event in played(stream, size, delay)]

    assert unrolled(left) == unrolled(events)
    assert sum(getattr(event, "count", 0) for event in left) == sum(
        getattr(event, "count", 0) for event in events
    )
    assert all(content(event) for event in left if type(event) is not Citation)


@given(streams, st.integers(1, 6), st.floats(0, 0.08))
def test_nothing_waits_longer_than_the_delay(stream, size, delay):
    """With deadlines honoured no delta leaves more than `delay` after it came, nor in bigger batches."""
    arrived = []
    now = 100.0
    for gap, event in stream:
        now += gap
        arrived += [now] * len(unrolled([event]))

    left = played(stream, size, delay)
    departed = [moment for moment, event in left for _ in unrolled([event])]

    assert all(gone - came <= delay + 1e-9 for came, gone in zip(arrived, departed, strict=True))
    assert all(getattr(event, "count", 0) <= size for _, event in left)
    assert all(earlier <= later for earlier, later in pairwise(departed))
