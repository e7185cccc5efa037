"""Durations, sizes and rates."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssegate.config.units import Rate, duration, rate, size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("250ms", 0.25),
        ("9ms", 0.009),
        ("30s", 30.0),
        ("2m", 120.0),
        ("1h30m", 5400.0),
        ("1.5s", 1.5),
        ("7d", 604800.0),
        ("1m500ms", 60.5),
        (" 3s ", 3.0),
        ("30", 30.0),
        ("0.5", 0.5),
        (30, 30.0),
        (0.25, 0.25),
        (0, 0.0),
        ("0s", 0.0),
    ],
)
def test_a_duration_is_seconds_or_text_with_units(text, seconds):
    """Both spellings give seconds."""
    assert duration(text) == seconds


@pytest.mark.parametrize(
    "value",
    [
        "",
        "30x",
        "s",
        "1m30",
        "-1s",
        "1 h",
        "1e3",
        "٣s",
        "inf",
        "30 s",
        "400d",
        None,
        True,
        False,
        [],
        -1,
        math.inf,
        1e12,
    ],
)
def test_what_is_no_duration_is_refused(value):
    """Anything else is an error."""
    with pytest.raises(ValueError, match="duration"):
        duration(value)


@given(st.integers(0, 300), st.integers(0, 23), st.integers(0, 59), st.integers(0, 59), st.integers(0, 999))
def test_a_duration_is_the_sum_of_its_parts(days, hours, minutes, seconds, millis):
    """Parts add up exactly, to the millisecond."""
    text = f"{days}d{hours}h{minutes}m{seconds}s{millis}ms"

    exact = ((days * 24 + hours) * 60 + minutes) * 60_000 + seconds * 1000 + millis
    assert duration(text) == exact / 1000


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("64KiB", 65536),
        ("1MiB", 1048576),
        ("4 MiB", 4194304),
        ("1GiB", 1 << 30),
        ("1TiB", 1 << 40),
        ("1KB", 1000),
        ("1MB", 1_000_000),
        ("1.5KiB", 1536),
        ("10b", 10),
        ("64kib", 65536),
        ("512", 512),
        (512, 512),
        (512.0, 512),
    ],
)
def test_a_size_is_bytes_or_text_with_units(text, count):
    """Both spellings give bytes: KiB counts in 1024, KB in 1000."""
    assert size(text) == count


@pytest.mark.parametrize(
    "value", ["", "KiB", "1XiB", "64k", "-1", -1, 1.5, "0.3B", None, True, "1e3", math.inf, math.nan, "1KiBB"]
)
def test_what_is_no_size_is_refused(value):
    """Anything else is an error; nginx's `64k` too, because it does not say which k."""
    with pytest.raises(ValueError, match="size"):
        size(value)


@given(st.integers(0, 1 << 50), st.sampled_from([("KiB", 10), ("MiB", 20), ("GiB", 30), ("TiB", 40)]))
def test_a_binary_size_is_a_shift(number, unit):
    """Sizes are exact, however large."""
    assert size(f"{number}{unit[0]}") == number << unit[1]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10/second", Rate(10, "second")),
        ("60/minute", Rate(60, "minute")),
        ("60/minute burst 10", Rate(60, "minute", 10)),
        ("1000/hour", Rate(1000, "hour")),
        ("1000000/day", Rate(1_000_000, "day")),
        ("5/month", Rate(5, "month")),
        ("100 per minute", Rate(100, "minute")),
        ("100 per minute burst 7", Rate(100, "minute", 7)),
        ("10 / second", Rate(10, "second")),
    ],
)
def test_a_rate_is_a_number_a_period_and_maybe_a_burst(text, expected):
    """Each spelling is read."""
    assert rate(text) == expected


@pytest.mark.parametrize(
    "value",
    [
        *("", "10", 10, None, True, "0/second", "10/fortnight", "-1/second", "1.5/second"),
        *("10/second burst 0", "10/hour burst 5", "10/day burst 5", "10/second burst"),
        *("10per minute", "10/second;500/hour"),
    ],
)
def test_what_is_no_rate_is_refused(value):
    """Anything else is an error; windows of the calendar have no burst."""
    with pytest.raises(ValueError, match="rate"):
        rate(value)


@given(st.one_of(st.text(), st.integers(), st.floats(), st.none(), st.booleans()))
def test_any_value_is_read_or_refused(value):
    """No value makes another error than ValueError, and what is read is finite and not negative."""
    for read in (duration, size, rate):
        try:
            result = read(value)
        except ValueError as exc:
            assert str(exc).startswith(("expected a", "a duration", "a size", "a rate"))
        else:
            assert isinstance(result, Rate) or 0 <= result < math.inf


@given(st.text(alphabet=st.characters(categories=["L", "N"]), min_size=6).map("é{}".format))
def test_an_error_never_repeats_the_value(value):
    """What is wrong may be a secret in the wrong place; with its é it is no word of a message either."""
    for read in (duration, size, rate):
        try:
            read(value)
        except ValueError as exc:
            assert value not in str(exc)
