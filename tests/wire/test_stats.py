import json
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssegate.wire.events import Reasoning, Refusal, Start, Text, ToolCall, Usage
from ssegate.wire.stats import Price, Stats


def final(stats, now=110.0, price=None):
    return json.loads(stats.final(now, "st-1", price, stats.model))


def test_final_metadata_of_a_reported_stream():
    """All that the upstream told, under the documented names, in seconds since the request."""
    stats = Stats(started_at=100.0)
    stats.start(Start("chatcmpl-9", "gpt-4o"))
    stats.delta(Text("Hello"), 102.0)
    stats.report(Usage(80, 40, 12, 64))

    assert final(stats) == {
        "total_tokens": 40,
        "total_time": 10.0,
        "time_to_first_token": 2.0,
        "tokens_per_second": 5.0,
        "input_tokens": 80,
        "output_tokens": 40,
        "reasoning_tokens": 12,
        "cached_tokens": 64,
        "usage_source": "reported",
        "model": "gpt-4o",
        "stream_id": "st-1",
    }


def test_what_is_not_known_is_left_out():
    """No null, no invented number: a stream that failed at once has little to tell."""
    assert final(Stats(started_at=100.0), now=100.25) == {
        "total_tokens": 0,
        "total_time": 0.25,
        "output_tokens": 0,
        "usage_source": "estimated",
        "stream_id": "st-1",
    }


def test_an_estimate_knows_nothing_of_the_input():
    """Input without output is half a report: the stream counts as estimated, and its input as unknown."""
    stats = Stats(started_at=100.0)
    stats.report(Usage(input_tokens=450, cached_tokens=400))
    stats.delta(Text("Hello"), 101.0)
    told = final(stats)

    assert (told["usage_source"], told["total_tokens"], told["output_tokens"]) == ("estimated", 2, 2)
    assert not {"input_tokens", "cached_tokens", "reasoning_tokens"} & set(told)


@given(st.lists(st.text(min_size=1, max_size=9), max_size=20))
def test_the_estimate_is_deltas_or_a_quarter_of_the_bytes(pieces):
    """The larger of both, whatever kind the deltas are."""
    stats = Stats(started_at=0.0)
    kinds = [Text, Reasoning, Refusal, lambda text: ToolCall(0, text)]
    for at, piece in enumerate(pieces):
        stats.delta(kinds[at % 4](piece), 1.0)
    size = sum(len(piece.encode()) for piece in pieces)

    assert stats.total_usage().output_tokens == max(len(pieces), ceil(size / 4))
    assert stats.generated_bytes == size


def test_a_joined_delta_counts_for_all_it_holds():
    """Half a character that waited for its other half was a delta too."""
    stats = Stats(started_at=0.0)
    stats.delta(Text("\U0001f600", count=2), 1.0)
    stats.delta(Text("\ud83d"), 1.0)

    assert (stats.deltas, stats.generated_bytes) == (3, 4 + 3)


def test_later_reports_replace_what_they_name_and_nothing_is_summed():
    """Vendors report running totals, and some report in parts."""
    stats = Stats(started_at=0.0)
    for report in (Usage(10, 1), Usage(output_tokens=5), Usage(reasoning_tokens=3), Usage(None, 7, None, 0)):
        stats.report(report)

    assert stats.usage == Usage(10, 7, 3, 0)


def test_zero_is_a_report():
    """An upstream that generated nothing and says so is not estimated."""
    stats = Stats(started_at=0.0)
    stats.report(Usage(10, 0))

    assert (stats.usage_source, stats.total_usage()) == ("reported", Usage(10, 0))


def test_the_first_name_is_kept():
    """Ids and models that change or vanish on the way are the upstream's disorder."""
    stats = Stats(started_at=0.0)
    for start in (Start("", ""), Start("a", None), Start("b", "m"), Start("c", "n")):
        stats.start(start)

    assert (stats.upstream_id, stats.model) == ("a", "m")


def test_the_rate_is_of_the_time_since_the_first_token():
    """`tokens_per_second` = tokens / (total_time - time_to_first_token); none where that time is nothing."""
    stats = Stats(started_at=100.0)
    assert stats.tokens_per_second(104.0) is None
    assert stats.time_to_first_token is None
    stats.delta(Text("a"), 102.0)
    stats.delta(Text("b"), 103.0)

    assert stats.time_to_first_token == 2.0
    assert stats.tokens_per_second(102.0) is None
    assert stats.tokens_per_second(106.0) == 0.5


@pytest.mark.parametrize(("stream_id", "more"), [(None, {}), ("st-1", {"stream_id": "st-1"})])
def test_running_metadata(stream_id, more):
    """Deltas that have left so far and seconds since the request; the first event tells the stream's id."""
    stats = Stats(started_at=100.0, sent_deltas=7)

    told = json.loads(stats.running(101.23456, stream_id))
    assert told == {"token_count": 7, "elapsed_time": 1.235, **more}


@pytest.mark.parametrize(
    ("usage", "price", "dollars"),
    [
        (Usage(1_000_000, 0), Price(input=2.5, output=10.0), 2.5),
        (Usage(0, 1_000_000), Price(input=2.5, output=10.0), 10.0),
        (
            Usage(1000, 500, 200, 800),
            Price(2.5, 10.0, cached=1.25),
            (200 * 2.5 + 800 * 1.25 + 500 * 10) / 1e6,
        ),
        (Usage(1000, 500, 200, 800), Price(2.5, 10.0), (1000 * 2.5 + 500 * 10) / 1e6),
        (Usage(1000, 500, None, 800), Price(2.5, 10.0, cached=0.0), (200 * 2.5 + 500 * 10) / 1e6),
        (Usage(output_tokens=8), Price(2.5, 10.0, cached=1.25), 80 / 1e6),
        (Usage(), Price(2.5, 10.0), 0.0),
    ],
)
def test_the_cost_is_by_the_million(usage, price, dollars):
    """Cached input has its own price if there is one; reasoning is output."""
    assert price.cost(usage) == pytest.approx(dollars)


def test_the_cost_is_told_when_a_price_is_known():
    """In dollars, fine enough for one cheap token."""
    stats = Stats(started_at=100.0)
    stats.report(Usage(3, 1))

    assert final(stats, price=Price(0.05, 0.4))["cost"] == pytest.approx(0.55e-6, abs=1e-9)
    assert "cost" not in final(stats)
