import json

import pytest
from wire import reading_back

from ssegate.wire.batching import Pace
from ssegate.wire.events import Carried, Citation, Failure, Finish, Start, Text, ToolCall, Usage
from ssegate.wire.formats import make
from ssegate.wire.formats.same import SameEvents
from ssegate.wire.outflow import Outflow
from ssegate.wire.seams import Context
from ssegate.wire.stats import Stats

CONTEXT = Context("st-1", created=1_700_000_000)


def outflow(output="native", dialect="auto", *, pace=None, every=True, numbered=False):
    out = Outflow(
        CONTEXT, Stats(started_at=0.0), pace or Pace(1, 0.0), every_metadata=every, numbered=numbered
    )
    if output != "raw":
        out.format = make(output, dialect, CONTEXT)
    return out


def stats_of(out):
    return out._stats


def payloads(data):
    return [json.loads(line[6:]) for line in data.decode().splitlines() if line.startswith("data: {")]


def chunk(body=b"", *, key=None, count=0, last=False):
    return Carried("", b'{"choices":["', body, b'"]}', key, count, last)


def test_a_delta_leaves_with_its_count_and_the_first_with_the_stream_s_id():
    """`token_count` says how many deltas have left, this one included; the id is told once."""
    out = outflow()
    out.add(Text("Hel"), 0.5)
    out.add(Text("lo", count=2), 0.75)

    first, second = (said["metadata"] for said in payloads(out.take()))
    assert first == {"token_count": 1, "elapsed_time": 0.5, "stream_id": "st-1"}
    assert second == {"token_count": 3, "elapsed_time": 0.75}


def test_only_deltas_carry_running_metadata():
    """A citation and a finish say nothing of tokens; the empty object of a call is an event of that call."""
    out = outflow()
    out.add(Citation("https://a"), 0.5)
    out.add(Finish("stop", choice=1), 0.5)
    out.add(ToolCall(0, "{}", count=0), 0.5)

    citation, finish, call = payloads(out.take())
    assert "metadata" not in citation and "metadata" not in finish
    assert call["metadata"]["token_count"] == 0


def test_without_every_nothing_is_told_on_the_way():
    """`final` and `off` leave running events bare."""
    out = outflow(every=False)
    out.add(Text("Hel"), 0.5)

    assert payloads(out.take()) == [{"token": "Hel", "finished": False}]


def test_what_is_held_is_written_by_flush():
    """The batcher's deadline is the outflow's, and what it holds leaves as one event."""
    out = outflow(pace=Pace(5, 0.04))
    out.add(Text("a"), 1.0)
    assert out.take() != b"" and out.deadline is None
    out.add(Text("b"), 1.01)
    out.add(Text("c"), 1.02)

    assert (out.take(), out.deadline) == (b"", 1.04)
    out.flush(1.04)
    (said,) = payloads(out.take())
    assert (said["token"], said["metadata"]["token_count"]) == ("bc", 3)
    assert out.deadline is None


def test_events_are_numbered_without_holes_and_heartbeats_are_not():
    """`id: <stream id>-<n>` in every block, n = 1, 2, 3, …; a sign of life is no event to resume from."""
    out = outflow("openai", numbered=True)
    out.add(Text("a"), 1.0)
    out.beat(has_content=True)
    out.beat(has_content=False)
    out.add(Text("b"), 2.0)
    out.finish(Finish("stop"), b"")

    body = out.take()
    ids = [block.get("id") for block in reading_back.blocks(body)]
    assert ids == ["st-1-1", None, "st-1-2", "st-1-3", "st-1-4"]
    assert reading_back.heartbeats(body) == 1


def test_a_number_takes_the_place_of_the_upstream_s_id():
    """A client can resume from one ID only, and it resumes here."""
    kept, numbered = outflow(every=False), outflow(every=False, numbered=True)
    for out in (kept, numbered):
        out.format = SameEvents(CONTEXT)
        out.add(Carried("output", b"a\nid: b", count=1, id="9:1"), 1.0)

    assert kept.take() == b"id: 9:1\nevent: output\ndata: a\ndata: id: b\n\n"
    assert numbered.take() == b"id: st-1-1\nevent: output\ndata: a\ndata: id: b\n\n"


def test_lines_of_json_have_no_room_for_numbers():
    """NDJSON is not SSE: a number there would be a broken line."""
    out = outflow("same", "ollama", numbered=True)
    out.add(Carried("", b'{"done":false}', count=1), 1.0)

    assert [json.loads(line)["done"] for line in out.take().splitlines()] == [False]


def test_a_sign_of_life_is_a_comment_until_clients_expect_events():
    """Exactly `:` and a newline; after the first content the format's own event that says nothing."""
    for output, dialect, noop in [
        ("native", "auto", b":\n"),
        ("openai", "auto", None),
        ("same", "anthropic", b'event: ping\ndata: {"type":"ping"}\n\n'),
    ]:
        out = outflow(output, dialect)
        out.beat(has_content=False)
        assert out.take() == b":\n"
        out.beat(has_content=True)
        beat = out.take()
        if noop is None:
            (said,) = payloads(beat)
            assert said["choices"][0]["delta"] == {} and said["choices"][0]["finish_reason"] is None
        else:
            assert beat == noop
        assert stats_of(out).heartbeats == 2


def test_the_frame_that_may_be_the_last_waits_for_the_final_metadata():
    """It rides on a chunk that exists anyway, the first of those that waited."""
    out = outflow("openai")
    out.add(chunk(b"a", key=b"k", count=1), 1.0)
    out.wait_for_end(chunk(b"finish", last=True), 1.0)
    out.wait_for_end(chunk(b"usage", last=True), 1.0)
    out.take()
    out.finish(Finish("stop"), b'{"total_tokens":1}')

    *said, done = out.take().split(b"\n\n")[:-1]
    assert done == b"data: [DONE]"
    finish, usage = (json.loads(data[6:]) for data in said)
    assert finish == {"choices": ["finish"], "ssegate": {"total_tokens": 1}}
    assert usage == {"choices": ["usage"]}


def test_what_waited_for_the_end_goes_first_if_more_comes():
    """Order never changes, even if the last frame was not the last."""
    out = outflow("openai", every=False)
    out.wait_for_end(chunk(b"finish", last=True), 1.0)
    assert out.take() == b""
    out.add(chunk(b"more", count=1), 1.1)

    assert [said["choices"] for said in payloads(out.take())] == [["finish"], ["more"]]


def test_what_is_held_leaves_before_a_frame_that_waits():
    """A finish never overtakes text."""
    out = outflow("openai", every=False, pace=Pace(5, 0.04))
    out.add(chunk(b"a", key=b"k", count=1), 1.0)
    out.add(chunk(b"b", key=b"k", count=1), 1.01)
    out.wait_for_end(chunk(b"finish", count=1, last=True), 1.02)
    out.finish(Finish("stop"), b"")

    assert [said["choices"] for said in payloads(out.take())] == [["a"], ["b"], ["finish"]]
    assert stats_of(out).sent_deltas == 3


@pytest.mark.parametrize(("counts", "has_usage"), [(Usage(3, 4), True), (Usage(3, None), False)])
def test_usage_is_told_only_if_it_was_reported(counts, has_usage):
    """An estimate never looks like the upstream's own count."""
    out = outflow("openai")
    stats_of(out).report(counts)
    out.add(Text("a"), 1.0)
    out.finish(Finish("stop"), b"")

    assert any("usage" in said for said in payloads(out.take())) is has_usage


@pytest.mark.parametrize(
    ("output", "dialect", "is_told"),
    [
        ("native", "auto", True),
        ("openai", "auto", True),
        ("same", "anthropic", True),
        ("same", "ollama", True),
        ("same", "text", False),
        ("raw", "auto", False),
    ],
)
def test_it_says_whether_a_failure_could_be_told(output, dialect, is_told):
    """Where the format has no words for it, only a cut can tell."""
    out = outflow(output, dialect)

    assert out.fail(Failure("idle_timeout", "silent"), b"") is is_told
    assert bool(out.take()) is is_told


def test_without_a_format_nothing_is_written():
    """Until the upstream's dialect has shown what `same` is, and in raw, events make no bytes."""
    out = outflow("raw")
    out.add(Start("id", "model"), 1.0)
    out.add(Text("a"), 1.0)
    out.finish(Finish("stop"), b"")

    assert out.take() == b""


def test_raw_bytes_leave_as_they_came():
    """Not one is added or changed."""
    out = outflow("raw")
    out.raw(b"\xff\r\n")
    out.raw(b"x")

    assert out.take() == b"\xff\r\nx"
    assert stats_of(out).bytes_out == 4


def test_what_is_taken_is_gone_and_counted():
    """Each event leaves once; what is dropped is not counted as sent bytes."""
    out = outflow()
    out.add(Text("a"), 1.0)
    first = out.take()

    assert out.take() == b""
    assert (stats_of(out).events_out, stats_of(out).bytes_out) == (1, len(first))
    out.add(Text("b"), 2.0)
    out.clear()
    assert out.take() == b""
    assert stats_of(out).bytes_out == len(first)
