"""What an answer says of limits."""

from __future__ import annotations

import pytest

from ssegate.limits import Bucket, Hold, RateLimit, StreamLimit, Verdict, WindowLimit
from ssegate.limits.headers import go_duration, rate_headers, refusal_words, refused

MINUTE = RateLimit("requests", 60, "minute", 10)


def hold(limit, remaining, reset_ms):
    return Hold(Bucket("k", limit, 1), "k", 1, 0, remaining, reset_ms)


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (0, "0s"),
        (12, "12ms"),
        (999, "999ms"),
        (1000, "1s"),
        (1500, "1.5s"),
        (59_001, "59.001s"),
        (60_000, "1m0s"),
        (360_000, "6m0s"),
        (90_500, "1m30.5s"),
        (3_600_000, "1h0m0s"),
        (90_061_007, "25h1m1.007s"),
    ],
)
def test_durations_are_written_as_go_does(ms: int, text: str):
    """Clients parse them with Go's own words."""
    assert go_duration(ms) == text


def test_of_several_buckets_the_one_with_least_left_is_told():
    """Limit is the burst; the reset is the time to a full bucket."""
    holds = [
        hold(MINUTE, 4, 6000),
        hold(WindowLimit("requests", 1000, "hour"), 3, 1_800_000),
        hold(RateLimit("tokens", 5000, "minute", 5000), 1234, 45_200),
        hold(StreamLimit(5), 2, 1000),
    ]

    assert rate_headers(holds, anthropic=False, now=0.0) == {
        "x-ratelimit-limit-requests": "1000",
        "x-ratelimit-remaining-requests": "3",
        "x-ratelimit-reset-requests": "30m0s",
        "x-ratelimit-limit-tokens": "5000",
        "x-ratelimit-remaining-tokens": "1234",
        "x-ratelimit-reset-tokens": "45.2s",
        "RateLimit-Policy": '"requests";q=1000;w=3600, "tokens";q=5000;w=60',
        "RateLimit": '"requests";r=3;t=1800, "tokens";r=1234;t=46',
    }


def test_anthropics_names_and_times():
    """RFC 3339, never too early."""
    holds = [hold(MINUTE, 4, 6001), hold(WindowLimit("output_tokens", 9, "day"), 1, 1)]

    assert rate_headers(holds, anthropic=True, now=1_800_000_000.0) == {
        "anthropic-ratelimit-requests-limit": "10",
        "anthropic-ratelimit-requests-remaining": "4",
        "anthropic-ratelimit-requests-reset": "2027-01-15T08:00:07Z",
        "anthropic-ratelimit-output-tokens-limit": "9",
        "anthropic-ratelimit-output-tokens-remaining": "1",
        "anthropic-ratelimit-output-tokens-reset": "2027-01-15T08:00:01Z",
        "RateLimit-Policy": '"requests";q=10;w=60',
        "RateLimit": '"requests";r=4;t=7',
    }


@pytest.mark.parametrize(
    ("limit", "wait_ms", "words", "headers"),
    [
        (MINUTE, 1234, "limit reached: 60 requests per minute; try again in 1.234s", {}),
        (WindowLimit("cost", 5_250_000_000, "day"), 60_001,
         "limit reached: 5.25 dollars per day; try again in 1m0.001s", {"x-should-retry": "false"}),
        (WindowLimit("output_tokens", 9, "month"), 60_000,
         "limit reached: 9 output tokens per month; try again in 1m0s", {}),
        (StreamLimit(5), 1000, "limit reached: 5 streams at the same time; try again in 1s", {}),
    ],
)  # fmt: skip
def test_a_refusal_says_what_and_when(limit, wait_ms: int, words: str, headers: dict[str, str]):
    """For people and for SDKs, which are told when asking again is vain."""
    bucket = Bucket("k", limit, 1)
    verdict = Verdict([], wait_ms, bucket)

    assert refusal_words(verdict) == words
    error = refused(verdict, "no")
    assert error.failure.retry_after == str(-(-wait_ms // 1000))
    assert error.headers == {"retry-after-ms": str(wait_ms)} | headers
