"""
Tells a client when to come again: ``Retry-After`` as whole seconds, whatever the upstream wrote.
"""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from math import ceil

from ssegate.wire.events import Failure

__all__ = ["retry_headers"]

_NONSENSE = 1e10
"""Seconds, three centuries: nobody means that, and a float may be infinite or no number at all."""


def retry_headers(failure: Failure, now: float) -> dict[str, str]:
    """
    Return the upstream's ``Retry-After`` in seconds; nothing where it gave none or nonsense.

    Args:
        now: Unix seconds, for an upstream that wrote a date (RFC 9110 section 10.2.3 allows both).
    """
    value = (failure.retry_after or "").strip()
    if not value:
        return {}
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - now
        except ValueError:
            return {}
    return {"Retry-After": str(max(0, ceil(seconds)))} if abs(seconds) < _NONSENSE else {}
