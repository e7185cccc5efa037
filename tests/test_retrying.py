"""``Retry-After``, whatever the upstream wrote."""

from __future__ import annotations

import pytest

from ssegate.retrying import retry_headers
from ssegate.wire.events import Failure

NOON = 1_445_428_800.0
"""2015-10-21 12:00:00 UTC"""


@pytest.mark.parametrize(
    ("written", "told"),
    [
        (None, None),
        ("", None),
        ("  ", None),
        ("7", "7"),
        (" 7 ", "7"),
        ("0", "0"),
        ("0.2", "1"),
        ("1.0", "1"),
        ("-3", "0"),
        ("Wed, 21 Oct 2015 12:00:30 GMT", "30"),
        ("Wed, 21 Oct 2015 11:00:00 GMT", "0"),
        ("Wednesday, 21-Oct-15 12:00:30 GMT", "30"),
        ("soon", None),
        ("7s", None),
        ("inf", None),
        ("nan", None),
        ("-inf", None),
        ("1e300", None),
        ("Wed, 99 Oct 2015 12:00:00 GMT", None),
        ("Wed, 21 Oct 99999 12:00:00 GMT", None),
        ("7\r\nX-Evil: 1", None),
        ("x" * 10_000, None),
    ],
)
def test_retry_after_is_whole_seconds_or_nothing(written: str | None, told: str | None):
    """Seconds are rounded up, dates are counted from now, the past is 0, nonsense is left out."""
    failure = Failure("upstream_rate_limited", "wait", retry_after=written)

    assert retry_headers(failure, NOON) == ({} if told is None else {"Retry-After": told})
