"""
Durations, sizes, rates and budgets as people write them: ``1h30m``, ``64KiB``, ``60/minute burst 10``,
``5.00/day``.

Pure parsing. What is wrong is a ``ValueError`` that says what would be right and never repeats the
value: a value may come from a secret, and the reader sees it on the source line anyway.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal, cast

__all__ = [
    "BUDGET_PATTERN",
    "DOLLAR",
    "DURATION_PATTERN",
    "MAX_DURATION",
    "RATE_PATTERN",
    "SIZE_PATTERN",
    "Period",
    "Rate",
    "budgets",
    "duration",
    "rate",
    "rates",
    "size",
]

Period = Literal["second", "minute", "hour", "day", "month"]

MAX_DURATION = 366 * 86400.0
"""Seconds. Nothing here lasts longer than a year; more is a unit that was mixed up."""

_SECONDS = {
    "ms": Decimal("0.001"),
    "s": Decimal(1),
    "m": Decimal(60),
    "h": Decimal(3600),
    "d": Decimal(86400),
}
_BYTES = {"": 1, "b": 1} | {
    f"{prefix}{unit}": base**power
    for power, prefix in enumerate("kmgt", start=1)
    for unit, base in (("b", 1000), ("ib", 1024))
}

# The patterns are published in the JSON Schema too, so they keep to what ECMA-262 knows.
_NUMBER = r"[0-9]+(\.[0-9]+)?"
DURATION_PATTERN = rf"^({_NUMBER}|({_NUMBER}(ms|s|m|h|d))+)$"
SIZE_PATTERN = rf"^{_NUMBER} ?([kKmMgGtT]?[iI]?[bB])?$"
RATE_PATTERN = r"^([0-9]+)( *\/ *| +per +)(second|minute|hour|day|month)( +burst +([0-9]+))?$"

BUDGET_PATTERN = rf"^({_NUMBER})( *\/ *| +per +)(second|minute|hour|day|month)$"

DOLLAR = 10**9
"""Costs are counted in billionths of a dollar."""

_MAX_RATE = 500_000_000
_MAX_WINDOW = 10**15
"""What limits can count exactly, the larger one in a window of the calendar."""

_DURATION = re.compile(DURATION_PATTERN)
_DURATION_PART = re.compile(rf"({_NUMBER})(ms|s|m|h|d)")
_SIZE = re.compile(rf"^({_NUMBER}) ?([a-z]*)$")
_RATE = re.compile(RATE_PATTERN)
_BUDGET = re.compile(BUDGET_PATTERN)

_NO_DURATION = "expected a duration such as 250ms, 30s, 2m, 1h30m, or a number of seconds"
_NO_SIZE = "expected a size such as 64KiB, 1MiB, 1GB, or a whole number of bytes"
_NO_RATE = "expected a rate such as 10/second, 60/minute burst 10, 1000/hour, 100 per day"
_NO_BUDGET = "expected dollars a period, such as 5.00/day or 100/month"


@dataclass(frozen=True, slots=True)
class Rate:
    """So many units a period."""

    amount: int
    """> 0; of a cost, in billionths of a dollar."""

    period: Period
    burst: int | None = None
    """How many may come at once; None: as many as ``amount``. Only for second and minute."""


def duration(value: object) -> float:
    """
    Return *value* in seconds: a number of them, or text with units ``ms s m h d``.

    Raises:
        ValueError: No duration, negative, or longer than ``MAX_DURATION``.
    """
    seconds = _seconds(value.strip()) if isinstance(value, str) else _number(value, _NO_DURATION)
    if seconds < 0:
        raise ValueError("a duration must not be negative")
    if seconds > MAX_DURATION:
        raise ValueError("a duration must be at most 366d (a number without a unit is seconds)")
    return seconds


def size(value: object) -> int:
    """
    Return *value* in bytes: a number of them, or text with ``KiB MiB GiB TiB`` or ``KB MB GB TB``.

    Raises:
        ValueError: No size, or not a whole number of bytes.
    """
    if isinstance(value, str):
        found = _SIZE.match(value.strip().lower())
        if found is None or found[3] not in _BYTES:
            raise ValueError(_NO_SIZE)
        exact = Decimal(found[1]) * _BYTES[found[3]]
        if exact != exact.to_integral_value():
            raise ValueError("a size must be a whole number of bytes")
        return int(exact)
    number = _number(value, _NO_SIZE)
    if number < 0 or not number.is_integer():
        raise ValueError(_NO_SIZE)
    return int(number)


def rate(value: object) -> Rate:
    """
    Return *value* as a rate: ``N/period``, ``N per period``, either with ``burst N``.

    Raises:
        ValueError: No rate, zero, or a burst where windows follow the calendar.
    """
    found = _RATE.match(value.strip()) if isinstance(value, str) else None
    if found is None:
        raise ValueError(_NO_RATE)
    amount, period = int(found[1]), cast(Period, found[3])
    burst = int(found[5]) if found[5] else None
    if amount == 0 or burst == 0:
        raise ValueError("a rate and its burst must be at least 1")
    if burst is not None and period not in ("second", "minute"):
        raise ValueError(f"a rate per {period} has no burst: its window follows the calendar")
    most = _MAX_RATE if period in ("second", "minute") else _MAX_WINDOW
    if max(amount, burst or 0) > most:
        raise ValueError(f"a rate per {period} and its burst must be at most {most}")
    return Rate(amount, period, burst)


def rates(value: object) -> tuple[Rate, ...]:
    """
    Return *value* as rates: one, or a list of them that all hold.

    Raises:
        ValueError: As ``rate``; or a list that is empty or has a period twice.
    """
    return _all_of(value, rate, _NO_RATE)


def budgets(value: object) -> tuple[Rate, ...]:
    """
    Return *value* as dollars a period: one such text, or a list of them that all hold.

    Raises:
        ValueError: No budget, zero, or as ``rates``.
    """
    return _all_of(value, _budget, _NO_BUDGET)


def _budget(value: object) -> Rate:
    found = _BUDGET.match(value.strip()) if isinstance(value, str) else None
    if found is None:
        raise ValueError(_NO_BUDGET)
    amount = Decimal(found[1]) * DOLLAR
    if not 1 <= amount <= _MAX_WINDOW or amount != amount.to_integral_value():
        raise ValueError("a budget must be at least 0.000000001 and at most 1000000 dollars")
    return Rate(int(amount), cast(Period, found[4]))


def _all_of(value: object, read: Callable[[object], Rate], complaint: str) -> tuple[Rate, ...]:
    found = tuple(read(item) for item in (value if isinstance(value, list) else [value]))
    if not found:
        raise ValueError(complaint)
    if len({each.period for each in found}) < len(found):
        raise ValueError("a period may stand in the list only once")
    return found


def _seconds(text: str) -> float:
    if not _DURATION.match(text):
        spaced = _DURATION.match(text.replace(" ", ""))
        raise ValueError(_NO_DURATION + (" (without spaces)" if spaced else ""))
    parts = _DURATION_PART.findall(text)
    # Decimal: 9 * 0.001 is not 0.009 in floats, and 9ms must equal 0.009.
    return float(sum((Decimal(part[0]) * _SECONDS[part[2]] for part in parts), Decimal()) if parts else text)


def _number(value: object, complaint: str) -> float:
    # bool is an int to Python, but `idle: true` is no second.
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(complaint)
    return float(value)
