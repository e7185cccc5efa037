"""The metrics as Prometheus reads them: every expectation here goes through its own text parser."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from ssegate.metrics import MAX_OTHER_MODELS, Metrics
from ssegate.report import RequestReport, StreamReport
from ssegate.wire.errors import CODES, OUTCOMES

STREAM = StreamReport(
    stream_id="s-1",
    request_id="r-1",
    route="chat",
    method="POST",
    upstream="openai",
    outcome="completed",
    status=200,
    duration=2.5,
    key="web",
    model="gpt-4o",
    usage_source="reported",
    ttft=0.5,
    input_tokens=100,
    output_tokens=41,
    reasoning_tokens=7,
    cached_tokens=64,
    cost=0.0125,
    events_in=42,
    events_out=21,
    heartbeats=3,
    malformed=2,
    head_sent=True,
    overhead=0.00002,
)
REQUEST = RequestReport(request_id="r-2", route="chat", method="POST", status=200, duration=0.1)

LABELS = {
    "ssegate_requests_total": {"route", "method", "code"},
    "ssegate_streams_active": {"route"},
    "ssegate_streams_total": {"route", "model", "outcome"},
    "ssegate_time_to_first_token_seconds_count": {"route", "model"},
    "ssegate_time_per_output_token_seconds_count": {"route", "model"},
    "ssegate_stream_duration_seconds_count": {"route", "model"},
    "ssegate_tokens_total": {"route", "model", "key", "type", "source"},
    "ssegate_reasoning_tokens_total": {"route", "model"},
    "ssegate_cached_tokens_total": {"route", "model"},
    "ssegate_cost_dollars_total": {"route", "model", "key"},
    "ssegate_upstream_events_total": {"route"},
    "ssegate_client_events_total": {"route"},
    "ssegate_batch_tokens_count": {"route"},
    "ssegate_overhead_seconds_count": {"route"},
    "ssegate_client_disconnects_total": {"route", "phase"},
    "ssegate_timeouts_total": {"route", "kind"},
    "ssegate_upstream_errors_total": {"route", "upstream", "kind"},
    "ssegate_malformed_events_total": {"route", "kind"},
    "ssegate_rate_limit_decisions_total": {"route", "key", "limit", "decision"},
    "ssegate_store_errors_total": {"op"},
    "ssegate_heartbeats_total": {"route"},
    "ssegate_cancels_total": {"route"},
    "ssegate_config_last_reload_successful": set(),
    "ssegate_config_reloads_total": {"result"},
    "ssegate_build_info": {"version", "python"},
    "ssegate_loop_lag_seconds_count": set(),
}
"""As promised to those who write dashboards; a histogram stands for itself by its count."""


def samples(metrics: Metrics) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    body, _ = metrics.render(None)
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in parse_text(body.decode())
        for sample in family.samples
    }


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return samples(metrics).get((name, frozenset(labels.items())))


def values(metrics: Metrics, name: str, label: str) -> dict[str, float]:
    """Return the sums of a metric by one of its labels."""
    sums: dict[str, float] = {}
    for (sample, labels), number in samples(metrics).items():
        if sample == name:
            key = dict(labels)[label]
            sums[key] = sums.get(key, 0.0) + number
    return sums


def run(metrics: Metrics, *reports: StreamReport) -> None:
    for report in reports:
        metrics.stream_started(report.route)
        metrics.stream_ended(report)


def failed(code: str) -> StreamReport:
    outcome = CODES[code].outcome
    assert outcome is not None
    return replace(STREAM, outcome=outcome, code=code)


def test_every_metric_has_exactly_its_labels():
    """Names and labels are those of the reference, and there are no others of ours."""
    metrics = Metrics()
    run(metrics, STREAM, failed("client_gone"), failed("cancelled"), failed("upstream_connect_timeout"))
    metrics.limit_decided("chat", "web", "requests", False)
    metrics.store_failed("take")
    metrics.reloaded(True)
    metrics.loop_lag(0.002)

    seen: dict[str, set[str]] = {}
    for name, labels in samples(metrics):
        if name.startswith("ssegate_") and not name.endswith(("_bucket", "_sum")):
            seen.setdefault(name, set()).update(label for label, _ in labels)
    assert seen == LABELS


def test_readme_lists_every_metric():
    """The table in README holds each metric of the gate with its labels, and no other."""
    readme = (Path(__file__).parents[1] / "README.md").read_text("utf-8")
    rows = re.findall(r"^\| `(ssegate_\w+)` \| ([^|]*) \|", readme, re.MULTILINE)

    assert dict((name, set(re.findall(r"\w+", labels))) for name, labels in rows) == {
        name.removesuffix("_count"): labels for name, labels in LABELS.items()
    }


def test_a_stream_fills_every_number_it_knows():
    """What the report says arrives unchanged."""
    metrics = Metrics()
    run(metrics, STREAM)

    by_model = {"route": "chat", "model": "gpt-4o"}
    tokens = {**by_model, "key": "web", "source": "reported"}
    assert value(metrics, "ssegate_requests_total", route="chat", method="POST", code="200") == 1
    assert value(metrics, "ssegate_streams_total", **by_model, outcome="completed") == 1
    assert value(metrics, "ssegate_tokens_total", **tokens, type="input") == 100
    assert value(metrics, "ssegate_tokens_total", **tokens, type="output") == 41
    assert value(metrics, "ssegate_reasoning_tokens_total", **by_model) == 7
    assert value(metrics, "ssegate_cached_tokens_total", **by_model) == 64
    assert value(metrics, "ssegate_cost_dollars_total", **by_model, key="web") == 0.0125
    assert value(metrics, "ssegate_upstream_events_total", route="chat") == 42
    assert value(metrics, "ssegate_client_events_total", route="chat") == 21
    assert value(metrics, "ssegate_heartbeats_total", route="chat") == 3
    assert value(metrics, "ssegate_malformed_events_total", route="chat", kind="unreadable") == 2
    assert value(metrics, "ssegate_time_to_first_token_seconds_sum", **by_model) == 0.5
    assert value(metrics, "ssegate_stream_duration_seconds_sum", **by_model) == 2.5
    assert value(metrics, "ssegate_batch_tokens_sum", route="chat") == 2.0
    assert value(metrics, "ssegate_overhead_seconds_sum", route="chat") == 0.00002


def test_time_per_output_token_leaves_the_first_token_out():
    """2.5 s with the first of 41 tokens at 0.5 s: 40 tokens in 2 s."""
    metrics = Metrics()
    run(metrics, STREAM)

    name = "ssegate_time_per_output_token_seconds"
    assert value(metrics, f"{name}_sum", route="chat", model="gpt-4o") == pytest.approx(0.05)


@pytest.mark.parametrize(
    "report",
    [
        replace(STREAM, output_tokens=1),
        replace(STREAM, output_tokens=None),
        replace(STREAM, ttft=None),
        replace(failed("idle_timeout"), duration=300.5),
    ],
)
def test_a_stream_without_a_pace_tells_none(report):
    """One token, no first token or a stall says nothing of the time a token takes."""
    metrics = Metrics()
    run(metrics, report)

    assert values(metrics, "ssegate_time_per_output_token_seconds_count", "route") == {}


def test_what_is_not_known_makes_no_series():
    """A report of Nones invents no tokens, no cost and no first token."""
    metrics = Metrics()
    run(metrics, StreamReport("s", "r", "chat", "POST", "openai", "completed", 200, 1.0))

    names = {name for name, labels in samples(metrics) if labels}
    assert not any("token" in name or "cost" in name or "overhead" in name for name in names)
    assert value(metrics, "ssegate_streams_total", route="chat", model="-", outcome="completed") == 1


def test_the_sum_over_outcomes_is_the_streams_started():
    """Each stream has one outcome, and none stays active."""
    metrics = Metrics()
    reports = [replace(STREAM, outcome=outcome) for outcome in OUTCOMES for _ in range(3)]
    run(metrics, *reports)

    assert values(metrics, "ssegate_streams_total", "outcome") == dict.fromkeys(OUTCOMES, 3)
    assert values(metrics, "ssegate_streams_active", "route") == {"chat": 0}


def test_active_streams_are_counted_by_route():
    """The gauge rises with a start and falls with an end."""
    metrics = Metrics()
    for route in ("chat", "chat", "prompt"):
        metrics.stream_started(route)
    metrics.stream_ended(STREAM)

    assert values(metrics, "ssegate_streams_active", "route") == {"chat": 1, "prompt": 1}


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("first_token_timeout", "first_token"),
        ("idle_timeout", "idle"),
        ("total_timeout", "total"),
        ("upstream_connect_timeout", "connect"),
        ("slow_client", "write"),
    ],
)
def test_a_deadline_is_counted_by_its_kind(code, kind):
    """Every timeout of the config has a word in the metric."""
    metrics = Metrics()
    run(metrics, failed(code))

    assert values(metrics, "ssegate_timeouts_total", "kind") == {kind: 1}


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("upstream_connect", "connect"),
        ("upstream_dns", "dns"),
        ("upstream_tls", "tls"),
        ("upstream_disconnected", "disconnected"),
        ("upstream_protocol", "protocol"),
        ("upstream_auth", "auth"),
        ("upstream_redirect", "redirect"),
        ("upstream_content_encoding", "content_encoding"),
        ("upstream_content_type", "content_type"),
        ("upstream_empty", "empty"),
        ("upstream_error", "error"),
        ("upstream_rate_limited", "rate_limited"),
        ("upstream_connect_timeout", "connect_timeout"),
        ("upstream_truncated", "truncated"),
        ("upstream_bad_event", "bad_event"),
        ("event_too_large", "too_large"),
        ("stream_too_large", "too_large"),
    ],
)
def test_an_upstream_failure_is_counted_by_its_kind(code, kind):
    """Upstreams' failures are told apart, for streams and for other requests alike."""
    metrics = Metrics()
    run(metrics, failed(code))
    metrics.request_ended(replace(REQUEST, code=code, upstream="openai", status=502))

    assert values(metrics, "ssegate_upstream_errors_total", "kind") == {kind: 2}
    assert values(metrics, "ssegate_upstream_errors_total", "upstream") == {"openai": 2}


@pytest.mark.parametrize("code", ["client_gone", "cancelled", "quota_exceeded", "shutting_down", "internal"])
def test_what_is_not_the_upstreams_fault_is_not_counted_as_such(code):
    """Neither an upstream error nor a timeout."""
    metrics = Metrics()
    run(metrics, failed(code))

    assert values(metrics, "ssegate_upstream_errors_total", "kind") == {}
    assert values(metrics, "ssegate_timeouts_total", "kind") == {}


def test_a_client_that_leaves_is_counted_by_phase():
    """Before the head and after it are two things, for streams and for other requests."""
    metrics = Metrics()
    gone = failed("client_gone")
    run(metrics, gone, gone, replace(gone, head_sent=False, status=499))
    metrics.request_ended(replace(REQUEST, code="client_gone", status=499))

    assert values(metrics, "ssegate_client_disconnects_total", "phase") == {
        "streaming": 2,
        "before_headers": 2,
    }


def test_an_upstreams_own_499_is_no_client_that_left():
    """Its 4xx pass as they are."""
    metrics = Metrics()
    metrics.request_ended(replace(REQUEST, status=499, upstream_status=499))

    assert values(metrics, "ssegate_client_disconnects_total", "phase") == {}
    assert values(metrics, "ssegate_requests_total", "code") == {"499": 1}


def test_a_cancel_is_counted():
    """By whoever it was asked."""
    metrics = Metrics()
    run(metrics, failed("cancelled"))

    assert value(metrics, "ssegate_cancels_total", route="chat") == 1


def test_models_beyond_the_first_hundred_unknown_ones_are_other():
    """Clients may invent model names; those of the config keep their series all the same."""
    metrics = Metrics(known_models=["gpt-4o", "late"])
    run(metrics, *(replace(STREAM, model=f"made-up-{n}") for n in range(MAX_OTHER_MODELS + 50)))
    run(metrics, STREAM, replace(STREAM, model="late"), replace(STREAM, model="made-up-0"))

    seen = values(metrics, "ssegate_streams_total", "model")
    assert len(seen) == MAX_OTHER_MODELS + 3
    assert seen["other"] == 50
    assert seen["gpt-4o"] == seen["late"] == 1
    assert seen["made-up-0"] == 2


def test_a_reloaded_config_names_its_models():
    """A model the new config names gets its series even when strangers have filled theirs."""
    metrics = Metrics()
    run(metrics, *(replace(STREAM, model=f"made-up-{n}") for n in range(MAX_OTHER_MODELS)))
    metrics.know_models(["new"])
    run(metrics, replace(STREAM, model="new"))

    assert values(metrics, "ssegate_streams_total", "model")["new"] == 1


@pytest.mark.parametrize(
    ("model", "label"),
    [
        (None, "-"),
        ("", "-"),
        ("x" * 10_000, "other"),
        ("half \ud83d pair", "other"),
        ("two\nlines", "other"),
        ('say "hi" \\ {}', 'say "hi" \\ {}'),
        ("模型", "模型"),
    ],
)
def test_no_model_name_breaks_the_scrape(model, label):
    """Whatever a stranger calls a model, Prometheus can read the next scrape."""
    metrics = Metrics()
    run(metrics, replace(STREAM, model=model))

    assert values(metrics, "ssegate_streams_total", "model") == {label: 1}


def test_methods_are_bounded():
    """A client may invent methods, too."""
    metrics = Metrics()
    for method in ("GET", "BREW", "PROPFIND"):
        metrics.request_ended(replace(REQUEST, method=method))

    assert values(metrics, "ssegate_requests_total", "method") == {"GET": 1, "other": 2}


@pytest.mark.parametrize("amount", [-5, 10**400, 0])
def test_no_number_of_an_upstream_breaks_a_counter(amount):
    """A negative or absurd count is left out, and the stream still ends."""
    metrics = Metrics()
    run(metrics, replace(STREAM, input_tokens=amount, output_tokens=amount, cached_tokens=amount))

    assert values(metrics, "ssegate_tokens_total", "type") == {}
    assert values(metrics, "ssegate_streams_active", "route") == {"chat": 0}


def test_a_reload_is_counted_and_remembered():
    """The gauge says whether the newest configuration is in force."""
    metrics = Metrics()
    name = "ssegate_config_last_reload_successful"
    told = [value(metrics, name)]
    for ok in (False, True, False):
        metrics.reloaded(ok)
        told.append(value(metrics, name))

    assert told == [1, 0, 1, 0]
    assert values(metrics, "ssegate_config_reloads_total", "result") == {"success": 1, "error": 2}


def test_loop_lag_is_a_histogram():
    """A stall of the loop falls into its bucket."""
    metrics = Metrics()
    metrics.loop_lag(0.3)

    assert value(metrics, "ssegate_loop_lag_seconds_bucket", le="0.25") == 0
    assert value(metrics, "ssegate_loop_lag_seconds_bucket", le="0.5") == 1


def test_a_bound_belongs_to_its_bucket():
    """What is observed just at a bucket's bound is in it, as Prometheus has it; the last bucket holds all."""
    metrics = Metrics()
    for duration in (0.04, 0.05, 10**6):
        run(metrics, replace(STREAM, duration=duration))

    found = [
        value(
            metrics, "ssegate_stream_duration_seconds_bucket", route=STREAM.route, model=STREAM.model, le=le
        )
        for le in ("0.02", "0.04", "0.08", "+Inf")
    ]
    assert found == [0, 1, 2, 3]
    assert value(
        metrics, "ssegate_stream_duration_seconds_sum", route=STREAM.route, model=STREAM.model
    ) == pytest.approx(10**6 + 0.09)


def test_no_created_series():
    """The library's ``_created`` series are off, in both text formats."""
    metrics = Metrics()
    run(metrics, STREAM)

    for accept in (None, "application/openmetrics-text; version=1.0.0"):
        assert b"_created" not in metrics.render(accept)[0]


def test_openmetrics_is_given_to_who_asks_for_it():
    """Prometheus asks by Accept, and its strict parser takes the answer."""
    metrics = Metrics()
    run(metrics, STREAM)
    body, content_type = metrics.render("application/openmetrics-text;version=1.0.0,text/plain;q=0.5")

    assert content_type.startswith("application/openmetrics-text; version=1.0.0")
    families = {family.name for family in parse_openmetrics(body.decode())}
    assert "ssegate_streams" in families


@pytest.mark.parametrize(
    "accept",
    [
        "",
        "*/*",
        "text/plain;version=x",
        "application/openmetrics-text;version=x",
        "application/openmetrics-text;version=1.\udce9",
        ";;;,,,=",
    ],
)
def test_an_odd_accept_gets_plain_text(accept):
    """No Accept header breaks the scrape."""
    body, content_type = Metrics().render(accept)

    assert content_type == "text/plain; version=0.0.4; charset=utf-8"
    assert b"ssegate_build_info" in body


def test_two_gates_share_nothing():
    """Each has a registry of its own."""
    one, other = Metrics(), Metrics()
    run(one, STREAM)

    assert values(other, "ssegate_streams_total", "outcome") == {}
