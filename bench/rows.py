"""What is measured, of whom, and what is to be reached."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

Load = dict[str, int | float | str | bool]
"""Options of the load generator."""


@dataclass(frozen=True)
class Row:
    """
    One load, put on each contender in turn.

    Attributes:
        name: What ``--only`` calls it.
        load: None: the proxy is only started.
        shows: Names of ``METRICS`` that say something here.
        tls: The upstream speaks TLS.
        quick: What a quick round changes of the load; None: it leaves the row out.
    """

    name: str
    title: str
    contenders: tuple[str, ...]
    load: Load | None
    shows: tuple[str, ...] = ("cpu", "tokens", "p50", "p99", "last_p50", "last_p99")
    tls: bool = False
    quick: Load | None = field(default_factory=dict)

    @property
    def group(self) -> str:
        """What selects all points of the curve at once."""
        return "curve" if self.name.startswith("curve-") else self.name


ALL = ("nginx", "ssegate", "ssegate-wide", "ssegate-off")
PLAIN = ("nginx", "ssegate")

ROWS = (
    Row("start", "start, no request", ("nginx", "relay", "ssegate"), None, ("ready", "rest")),
    Row("paced-400", "400 streams × 50 tok/s", (*ALL, "envoy"), {"clients": 400, "rate": 50}),
    Row("paced-800", "800 streams × 50 tok/s", (*ALL, "envoy"), {"clients": 800, "rate": 50}, quick=None),
    Row(
        "fast",
        "50 streams, as fast as it goes",
        ("nginx", "relay", "ssegate", "envoy", "litellm"),
        {"clients": 50, "tokens": 200},
        ("cpu", "tokens"),
    ),
    Row("latency", "100 streams × 50 tok/s", ("direct", *ALL, "envoy"), {"clients": 100, "rate": 50}),
    Row(
        "first-token",
        "10 streams of 20 tokens, the first after 100 ms",
        ("direct", "nginx", "relay", "ssegate", "envoy", "litellm"),
        {"clients": 10, "rate": 100, "tokens": 20, "delay": 0.1},
        ("first_p50", "first_p99"),
    ),
    Row(
        "starts",
        "streams of 2 tokens, on connections that stay",
        ("direct", "nginx", "relay", "ssegate", "envoy", "litellm"),
        {"clients": 50, "tokens": 2},
        ("streams", "stream_cpu"),
    ),
    Row(
        "starts-close",
        "streams of 2 tokens, a connection for each",
        ("nginx", "relay", "ssegate"),
        {"clients": 50, "tokens": 2, "close": True},
        ("streams", "stream_cpu"),
        quick=None,
    ),
    Row("few", "50 streams × 400 tok/s", ("nginx", "ssegate-off"), {"clients": 50, "rate": 400}),
    Row(
        "many",
        "5000 streams × 4 tok/s",
        ("nginx", "relay", "ssegate", "ssegate-off"),
        {"clients": 5000, "rate": 4, "warm": 10},
        ("cpu", "per_client", "p50", "p99"),
        quick={"warm": 5},
    ),
    Row(
        "stalled",
        "1000 clients that stopped reading",
        ("nginx", "relay", "ssegate"),
        # Large tokens, so that all buffers on the way are full before the end.
        {"clients": 1000, "tokens": 0, "padding": 16_000, "stall": True, "warm": 2, "seconds": 4},
        ("per_client",),
        quick={"warm": 2, "seconds": 2},
    ),
    Row(
        "cancel",
        "400 streams × 50 tok/s, 50 clients a second leave",
        ("direct", "nginx", "relay", "ssegate"),
        {"clients": 400, "rate": 50, "tokens": 0, "cancel-every": 0.02},
        ("cancel_p50", "cancel_p99", "cpu"),
        quick={"seconds": 1.5},
    ),
    Row("anthropic", "Anthropic upstream", PLAIN, {"clients": 400, "rate": 50, "dialect": "anthropic"}),
    Row("ollama", "Ollama upstream", PLAIN, {"clients": 400, "rate": 50, "dialect": "ollama"}),
    Row("tls", "upstream with TLS", PLAIN, {"clients": 400, "rate": 50}, tls=True),
    Row(
        "body",
        "request bodies of 100 KB, 20 tokens",
        ("nginx", "relay", "ssegate"),
        {"clients": 50, "tokens": 20, "body": 100_000},
        ("streams", "stream_cpu"),
    ),
)


def quick_contenders(row: Row) -> tuple[str, ...]:
    """Return those of *row* that a goal speaks of; all if none does."""
    about = [goal for goal in GOALS if row.name in (goal.row, goal.versus_row)]
    named = {name for goal in about for name in (goal.contender, goal.versus)}
    return tuple(name for name in row.contenders if name in named) or row.contenders


LOADS = (1_000, 5_000, 10_000, 20_000, 30_000, 40_000)
"""Tokens a second in all, of streams with 50 each: points of the curve."""


def curve(loads: Iterable[int] = LOADS) -> list[Row]:
    """Return one row for each of *loads*."""
    return [
        Row(
            f"curve-{load}",
            f"{load // 50} streams × 50 tok/s",
            ("nginx", "ssegate", "ssegate-off", "ssegate-adaptive"),
            {"clients": max(1, load // 50), "rate": 50},
            ("share", "cpu", "p50", "p99", "last_p50", "last_p99"),
            quick=None,
        )
        for load in loads
    ]


@dataclass(frozen=True)
class Goal:
    """
    What is to be reached in one row.

    Attributes:
        row: Name of the row; what is compared with is in the same one unless *versus_row* says another.
        metric: A name of ``METRICS``.
        limit: Of the number itself, or of its ratio to that of *versus*.
    """

    row: str
    contender: str
    metric: str
    limit: float
    versus: str = ""
    versus_row: str = ""
    at_least: bool = False


@dataclass(frozen=True)
class Metric:
    """A number of a run: where it is in the result, and how it is shown."""

    path: str
    label: str
    scale: float = 1.0
    unit: str = ""

    def of(self, result: dict) -> float | None:
        """Look the number up in a run's *result*; None if that run has none (nothing costs nothing)."""
        found: object = result
        for key in self.path.split("."):
            found = found.get(key) if isinstance(found, dict) else None
        return found * self.scale if isinstance(found, int | float) and found else None


METRICS = {
    "cpu": Metric("cpu_us_per_token", "CPU per token", unit="µs"),
    "stream_cpu": Metric("cpu_us_per_stream", "CPU per stream", unit="µs"),
    "share": Metric("cpu_share", "CPU", 100, "%"),
    "tokens": Metric("tokens_per_s", "tokens a second"),
    "streams": Metric("streams_per_s", "streams a second"),
    "p50": Metric("latency_us.p50", "latency p50", 1e-3, "ms"),
    "p99": Metric("latency_us.p99", "latency p99", 1e-3, "ms"),
    "last_p50": Metric("last_latency_us.p50", "of an event's last token p50", 1e-3, "ms"),
    "last_p99": Metric("last_latency_us.p99", "p99", 1e-3, "ms"),
    "first_p50": Metric("first_token_us.p50", "added to the first token p50", 1e-3, "ms"),
    "first_p99": Metric("first_token_us.p99", "p99", 1e-3, "ms"),
    "cancel_p50": Metric("cancel_us.p50", "client gone → upstream closed p50", 1e-3, "ms"),
    "cancel_p99": Metric("cancel_us.p99", "client gone → upstream closed p99", 1e-3, "ms"),
    "rest": Metric("rest_mib", "memory at rest", unit="MiB"),
    "per_client": Metric("rss_kib_per_client", "memory a client", unit="KiB"),
    "ready": Metric("ready_s", "start to ready", unit="s"),
}

GOALS = (
    Goal("paced-400", "ssegate-wide", "cpu", 1.0, "nginx"),
    Goal("paced-400", "ssegate-wide", "cpu", 0.6, "envoy"),
    Goal("paced-400", "ssegate", "cpu", 1.25, "nginx"),
    Goal("paced-400", "ssegate-off", "cpu", 1.6, "nginx"),
    Goal("paced-400", "ssegate-off", "cpu", 1.0, "envoy"),
    Goal("paced-800", "ssegate-wide", "cpu", 1.0, "nginx"),
    Goal("paced-800", "ssegate-wide", "cpu", 0.6, "envoy"),
    Goal("paced-800", "ssegate", "cpu", 1.25, "nginx"),
    Goal("paced-800", "ssegate-off", "cpu", 1.6, "nginx"),
    Goal("paced-800", "ssegate-off", "cpu", 1.0, "envoy"),
    Goal("fast", "ssegate", "tokens", 0.7, "nginx", at_least=True),
    Goal("fast", "ssegate", "tokens", 60, "litellm", at_least=True),
    Goal("latency", "ssegate-off", "p50", 0.3),
    Goal("latency", "ssegate-off", "p99", 3.0),
    Goal("first-token", "ssegate", "first_p50", 1.5),
    Goal("starts", "ssegate", "streams", 0.65, "relay", at_least=True),
    Goal("start", "ssegate", "rest", 70),
    Goal("many", "ssegate", "per_client", 36),
    Goal("stalled", "ssegate", "per_client", 256),
    Goal("cancel", "ssegate", "cancel_p99", 20),
    Goal("start", "ssegate", "ready", 1.0),
    Goal("many", "ssegate-off", "cpu", 1.5, "ssegate-off", versus_row="few"),
)
