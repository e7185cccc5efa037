"""
Series of metrics in plain dicts, and how Prometheus's client library collects them.

A stream touches some twenty series. The library's own objects check and lock at each and take several times
as long as a dict does; here only the event loop counts.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from itertools import accumulate

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.utils import floatToGoString

__all__ = ["Amounts", "Collector", "Measures"]

Labels = tuple[str, ...]

_Kind = type[CounterMetricFamily | GaugeMetricFamily]


class Amounts(dict[Labels, float]):
    """A counter's or a gauge's series by their label values: ``amounts[labels] += 1``."""

    def __missing__(self, labels: Labels) -> float:
        return 0.0


class Measures(dict[Labels, list[float]]):
    """
    A histogram's series by their label values: how much fell into each bucket, and the sum at the end.

    Args:
        bounds: Of the buckets, each included in its own, ascending.
    """

    def __init__(self, bounds: tuple[float, ...]) -> None:
        super().__init__()
        self.bounds = bounds

    def __missing__(self, labels: Labels) -> list[float]:
        observed = self[labels] = [0.0] * (len(self.bounds) + 2)
        return observed

    def observe(self, labels: Labels, value: float) -> None:
        """Add an observation."""
        observed = self[labels]
        observed[bisect_left(self.bounds, value)] += 1
        observed[-1] += value

    def buckets(self, observed: list[float]) -> list[tuple[str, float]]:
        """Return upper bounds and what fell below each, as the text format wants them."""
        bounds = [*map(floatToGoString, self.bounds), "+Inf"]
        return list(zip(bounds, accumulate(observed[:-1]), strict=True))


class Collector:
    """
    Hands series to a registry of the library's, which calls ``collect()`` for each scrape.

    It may do so in another thread while the loop counts on: copying a dict or a list is one step of the
    interpreter's.
    """

    def __init__(self) -> None:
        self._amounts: list[tuple[_Kind, str, str, list[str], Amounts]] = []
        self._measures: list[tuple[str, str, list[str], Measures]] = []

    def counter(self, name: str, help: str, labels: str) -> Amounts:
        """Declare a counter with *labels*, their names set apart by blanks."""
        return self._declare(CounterMetricFamily, name, help, labels)

    def gauge(self, name: str, help: str, labels: str) -> Amounts:
        """Declare a gauge."""
        return self._declare(GaugeMetricFamily, name, help, labels)

    def histogram(self, name: str, help: str, labels: str, bounds: tuple[float, ...]) -> Measures:
        """Declare a histogram."""
        self._measures.append((name, help, labels.split(), measures := Measures(bounds)))
        return measures

    def _declare(self, kind: _Kind, name: str, help: str, labels: str) -> Amounts:
        self._amounts.append((kind, name, help, labels.split(), amounts := Amounts()))
        return amounts

    def collect(self) -> Iterator[Metric]:
        """Yield all series (the library's protocol of a collector)."""
        for kind, name, help, labels, amounts in self._amounts:
            family = kind(name, help, labels=labels)
            for values, amount in list(amounts.items()):
                family.add_metric(values, amount)
            yield family
        for name, help, labels, measures in self._measures:
            observed = HistogramMetricFamily(name, help, labels=labels)
            for values, counts in list(measures.items()):
                counts = counts.copy()  # the sum with the buckets it belongs to
                observed.add_metric(values, measures.buckets(counts), counts[-1])
            yield observed
