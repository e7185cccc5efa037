"""
What Prometheus is told: every metric of the gate, counted once a stream or request, never once a token.

Labels are bounded, whatever clients and upstreams say: a raw key, a stream id or a path never is one, model
names beyond the first hundred unknown ones are ``other``, and so are methods HTTP does not know.

Source of the bucket bounds: OpenTelemetry GenAI semantic conventions, widened for long streams.
"""

from __future__ import annotations

import platform
from collections.abc import Iterable

import prometheus_client
from prometheus_client import CollectorRegistry, Gauge, Histogram, Info
from prometheus_client.exposition import choose_encoder

from ssegate import __version__
from ssegate.report import RequestReport, StreamReport
from ssegate.series import Amounts, Collector, Measures
from ssegate.wire.errors import CODES

__all__ = ["MAX_OTHER_MODELS", "TIMEOUT_KINDS", "UPSTREAM_ERROR_KINDS", "Metrics"]

MAX_OTHER_MODELS = 100
"""Model names not of the config that get a series of their own; any client may invent one."""

MAX_MODEL_LENGTH = 200
"""Characters; a longer name is ``other``."""

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

TIMEOUT_KINDS = {
    "first_token_timeout": "first_token",
    "idle_timeout": "idle",
    "total_timeout": "total",
    "upstream_connect_timeout": "connect",
    "slow_client": "write",
}

UPSTREAM_ERROR_KINDS = {
    code: code.removeprefix("upstream_") for code in CODES if code.startswith("upstream_")
} | {"event_too_large": "too_large", "stream_too_large": "too_large"}
"""Code → kind: ``connect``, ``dns``, ``tls`` …; a code new in the table is a kind by itself."""

# fmt: off
TTFT_BUCKETS = (
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
    20.0, 40.0, 80.0, 160.0,
)
TPOT_BUCKETS = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5,
)
# fmt: on
DURATION_BUCKETS = tuple(0.01 * 2**n for n in range(17))
BATCH_BUCKETS = (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 8.0, 16.0, 32.0, 64.0)
OVERHEAD_BUCKETS = (1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 0.1)
LAG_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class Metrics:
    """All series of one gate, in a registry of their own."""

    def __init__(self, known_models: Iterable[str] = ()) -> None:
        prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]  # read by nobody
        self._registry = CollectorRegistry()
        self._series = Collector()
        self._registry.register(self._series)
        self._known_models = frozenset(known_models)
        self._other_models: set[str] = set()
        self._declare_counts()
        self._declare_measures()
        self._declare_process()

    def know_models(self, models: Iterable[str]) -> None:
        """Take the model names of a reloaded config; each always is a label of its own."""
        self._known_models = frozenset(models)

    def stream_started(self, route: str) -> None:
        """Count a stream that was wanted and passed key and limits; ``stream_ended`` must follow."""
        self._active[(route,)] += 1

    def stream_ended(self, report: StreamReport) -> None:
        """Count how a started stream ended, and its request."""
        route, model = report.route, self._model(report.model)
        self._active[(route,)] -= 1
        self._streams[route, model, report.outcome] += 1
        self._count_request(report)
        self._count_tokens(report, model)
        self._count_traffic(report)
        self._measure(report, model)
        if report.outcome == "client_gone":
            self._disconnects[route, "streaming" if report.head_sent else "before_headers"] += 1
        elif report.outcome == "cancelled":
            self._cancels[(route,)] += 1

    def request_ended(self, report: RequestReport) -> None:
        """Count a request that was no stream: passed through, or refused."""
        self._count_request(report)
        if report.usage_source is not None:
            self._count_tokens(report, self._model(report.model))
        if report.code == "client_gone":
            phase = "before_headers" if report.status == 499 else "streaming"
            self._disconnects[report.route, phase] += 1

    def limit_decided(self, route: str, key: str, limit: str, is_admitted: bool) -> None:
        """Count one decision of the limits; *limit* is what refused, ``-`` if nothing did."""
        self._decisions[route, key, limit, "allowed" if is_admitted else "denied"] += 1

    def store_failed(self, op: str) -> None:
        """Count an operation that the shared store failed."""
        self._store_errors[(op,)] += 1

    def reloaded(self, ok: bool) -> None:
        """Count a reload of the configuration and remember whether it was taken."""
        self._reloads[("success" if ok else "error",)] += 1
        self._last_reload.set(1 if ok else 0)

    def loop_lag(self, seconds: float) -> None:
        """Record how late a timer of the event loop fired."""
        self._lag.observe(seconds)

    def render(self, accept: str | None) -> tuple[bytes, str]:
        """
        Return all series and their content type, in the text format that *accept* asks for.

        Safe to call from another thread, and worth it: it takes 0.4 s for 50 000 lines.
        """
        if accept is None or not accept.isascii() or not accept.isprintable():
            accept = ""  # the version asked for is repeated in the content type
        try:
            encode, content_type = choose_encoder(accept)
        except TypeError:  # a version that is no number
            encode, content_type = choose_encoder("")
        return encode(self._registry), content_type

    def _model(self, name: str | None) -> str:
        """Return the label for a model name, which anybody may have chosen."""
        if not name:
            return "-"
        if name in self._known_models or name in self._other_models:
            return name
        # JSON may hold half a surrogate pair; as a label it would make every later scrape fail.
        if (
            len(self._other_models) >= MAX_OTHER_MODELS
            or len(name) > MAX_MODEL_LENGTH
            or not name.isprintable()
        ):
            return "other"
        self._other_models.add(name)
        return name

    def _count_request(self, report: StreamReport | RequestReport) -> None:
        method = report.method if report.method in METHODS else "other"
        self._requests[report.route, method, str(report.status)] += 1
        code = report.code
        if code is None:
            return
        if timeout := TIMEOUT_KINDS.get(code):
            self._timeouts[report.route, timeout] += 1
        if error := UPSTREAM_ERROR_KINDS.get(code):
            self._upstream_errors[report.route, report.upstream, error] += 1

    def _count_tokens(self, report: StreamReport | RequestReport, model: str) -> None:
        route, key, source = report.route, report.key, report.usage_source or "estimated"
        if tokens := _countable(report.input_tokens):
            self._tokens[route, model, key, "input", source] += tokens
        if tokens := _countable(report.output_tokens):
            self._tokens[route, model, key, "output", source] += tokens
        if tokens := _countable(report.reasoning_tokens):
            self._reasoning[route, model] += tokens
        if tokens := _countable(report.cached_tokens):
            self._cached[route, model] += tokens
        if dollars := _countable(report.cost):
            self._cost[route, model, key] += dollars

    def _count_traffic(self, report: StreamReport) -> None:
        route = (report.route,)
        self._events_in[route] += report.events_in
        self._events_out[route] += report.events_out
        if report.heartbeats:
            self._heartbeats[route] += report.heartbeats
        if report.malformed:
            self._malformed[report.route, "unreadable"] += report.malformed

    def _measure(self, report: StreamReport, model: str) -> None:
        route, labels = (report.route,), (report.route, model)
        self._duration.observe(labels, report.duration)
        if report.ttft is not None:
            self._ttft.observe(labels, report.ttft)
            # The first token is not waited for here, and a stream that stalled says nothing of the speed.
            if report.outcome == "completed" and (later := (_countable(report.output_tokens) or 0) - 1) > 0:
                self._tpot.observe(labels, max(report.duration - report.ttft, 0.0) / later)
        if report.events_out:
            self._batch.observe(route, report.events_in / report.events_out)
        if report.overhead is not None:
            self._overhead.observe(route, report.overhead)

    def _declare_counts(self) -> None:
        count = self._counter
        self._requests = count("requests", "Requests answered.", "route method code")
        self._streams = count("streams", "Streams ended, each once, by how.", "route model outcome")
        self._tokens = count(
            "tokens",
            "Tokens; input includes cached ones, output includes reasoning.",
            "route model key type source",
        )
        self._reasoning = count("reasoning_tokens", "Output tokens spent on thinking.", "route model")
        self._cached = count("cached_tokens", "Input tokens read from the upstream's cache.", "route model")
        self._cost = count("cost_dollars", "Cost in US dollars, where a price is known.", "route model key")
        self._events_in = count("upstream_events", "Events read from upstreams.", "route")
        self._events_out = count("client_events", "Events written to clients.", "route")
        self._disconnects = count("client_disconnects", "Clients that left before the end.", "route phase")
        self._timeouts = count("timeouts", "Deadlines that passed.", "route kind")
        self._upstream_errors = count("upstream_errors", "Upstream failures.", "route upstream kind")
        self._malformed = count("malformed_events", "Upstream events that could not be read.", "route kind")
        self._heartbeats = count("heartbeats", "Heartbeats sent to clients.", "route")
        self._decisions = count(
            "rate_limit_decisions", "Decisions of the limits, by what refused.", "route key limit decision"
        )
        self._store_errors = count("store_errors", "Failures of the shared store.", "op")
        self._cancels = count("cancels", "Streams ended by a cancel.", "route")

    def _declare_measures(self) -> None:
        measure = self._histogram
        self._ttft = measure(
            "time_to_first_token_seconds",
            "From the request's arrival to its first token.",
            "route model",
            TTFT_BUCKETS,
        )
        self._tpot = measure(
            "time_per_output_token_seconds",
            "Time for each token after the first; one observation a completed stream, its mean.",
            "route model",
            TPOT_BUCKETS,
        )
        self._duration = measure(
            "stream_duration_seconds",
            "From the request's arrival to the stream's end.",
            "route model",
            DURATION_BUCKETS,
        )
        self._batch = measure(
            "batch_tokens",
            "Upstream events joined in a client event; one observation a stream, its mean.",
            "route",
            BATCH_BUCKETS,
        )
        self._overhead = measure(
            "overhead_seconds",
            "Time inside the gate for each read of the upstream; one observation a stream, its mean.",
            "route",
            OVERHEAD_BUCKETS,
        )

    def _declare_process(self) -> None:
        registry = self._registry
        self._active = self._series.gauge("ssegate_streams_active", "Streams open now.", "route")
        self._reloads = self._counter("config_reloads", "Reloads of the configuration.", "result")
        self._last_reload = Gauge(
            "ssegate_config_last_reload_successful",
            "1 if the newest configuration is in force.",
            registry=registry,
        )
        self._last_reload.set(1)
        self._lag = Histogram(
            "ssegate_loop_lag_seconds",
            "How late the event loop's timers fire.",
            buckets=LAG_BUCKETS,
            registry=registry,
        )
        build = Info("ssegate_build", "The running program.", registry=registry)
        build.info({"version": __version__, "python": platform.python_version()})
        prometheus_client.ProcessCollector(registry=registry)

    def _counter(self, name: str, help: str, labels: str) -> Amounts:
        return self._series.counter(f"ssegate_{name}_total", help, labels)

    def _histogram(self, name: str, help: str, labels: str, bounds: tuple[float, ...]) -> Measures:
        return self._series.histogram(f"ssegate_{name}", help, labels, bounds)


def _countable(amount: float | None) -> float | None:
    """
    Return *amount* if a counter may take it.

    Upstreams name the numbers: a negative one makes ``inc()`` raise, one beyond 2**53 would freeze the sum.
    """
    return amount if amount is not None and 0 < amount < 2**53 else None
