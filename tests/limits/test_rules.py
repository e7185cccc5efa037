"""Which limit wins where; each row is one of docs/limits.md."""

from __future__ import annotations

import pytest

from ssegate.config import parse
from ssegate.limits import Rules

UNITS = {"requests": 1, "tokens": 100, "input_tokens": 60, "output_tokens": 40, "cost": 5, "streams": 1}


def buckets(limits="", key="", route="", units=UNITS):
    """The buckets of a request of the key ``k`` on the route ``r``, as `bucket = capacity`."""
    text = f"limits: {{{limits}}}\nprices: {{m: {{input: 1, output: 1}}}}\n"
    text += f"keys: [{{name: k, value: v, limits: {{{key}}}}}]\nupstreams: {{a: {{url: 'http://h'}}}}\n"
    config = parse(text + f"routes: [{{path: /*, name: r, limits: {{{route}}}}}]", "f", {})
    found = Rules(config.limits).buckets("key:k", config.keys[0], config.routes[0], units)
    return {bucket.key: (bucket.limit.capacity, bucket.units) for bucket in found}


@pytest.mark.parametrize(
    ("limits", "key", "route", "expected"),
    [
        ("", "", "", {}),
        ("requests: 60/minute", "", "", {"each:key:k:requests/minute": (60, 1)}),
        ("requests: 60/minute burst 10", "", "", {"each:key:k:requests/minute": (10, 1)}),
        ("requests: 60/minute", "requests: 9/day", "", {"key:k:all:requests/day": (9, 1)}),
        ("requests: 60/minute", "requests: off", "", {}),
        (
            "requests: 60/minute, tokens: 500/hour",
            "requests: 9/day",
            "",
            {"key:k:all:requests/day": (9, 1), "each:key:k:tokens/hour": (500, 100)},
        ),
        (
            "requests: [10/second, 1000/hour]",
            "",
            "",
            {"each:key:k:requests/second": (10, 1), "each:key:k:requests/hour": (1000, 1)},
        ),
        (
            "requests: 60/minute",
            "requests: 600/minute",
            "requests: 5/minute",
            {"key:k:all:requests/minute": (600, 1), "route:r:key:k:requests/minute": (5, 1)},
        ),
        (
            "global: {streams: 9}",
            "",
            "streams: 2, global: {streams: 5}",
            {"route:r:key:k:streams": (2, 1), "route:r:all:streams": (5, 1), "all:streams": (9, 1)},
        ),
        (
            "input_tokens: 70/minute, output_tokens: 80/minute, cost: 0.000001/minute",
            "",
            "",
            {
                "each:key:k:input_tokens/minute": (70, 60),
                "each:key:k:output_tokens/minute": (80, 40),
                "each:key:k:cost/minute": (1000, 5),
            },
        ),
    ],
)
def test_which_buckets_a_request_has(limits: str, key: str, route: str, expected: dict[str, tuple[int, int]]):
    """A key's limits replace the top-level ones, a route's come on top, global ones count everybody."""
    assert buckets(limits, key, route) == expected


def test_what_a_request_takes_nothing_of_is_not_asked():
    """A plain request needs no stream, one without a body no tokens."""
    assert buckets("requests: 1/second, tokens: 1/second, streams: 1", units={"requests": 1}) == {
        "each:key:k:requests/second": (1, 1)
    }
