from typing import get_args

import pytest

from ssegate.wire.errors import (
    CODES,
    OUTCOMES,
    ClientError,
    ConfigError,
    Outcome,
    SSEGateError,
    UpstreamError,
    WireError,
    classified,
    http_status,
)
from ssegate.wire.events import Failure

STATUSES = {
    400: "bad_request",
    401: "unauthorized",
    403: "forbidden forbidden_origin",
    404: "not_found",
    405: "method_not_allowed",
    408: "request_timeout",
    409: "stream_exists",
    413: "body_too_large",
    417: "expectation_failed",
    429: "rate_limit_exceeded upstream_rate_limited quota_exceeded",
    500: "internal",
    502: "upstream_connect upstream_dns upstream_tls upstream_disconnected upstream_protocol upstream_auth"
    " upstream_redirect upstream_content_encoding upstream_content_type upstream_empty upstream_error"
    " upstream_truncated upstream_bad_event event_too_large stream_too_large",
    503: "draining overloaded shutting_down",
    504: "upstream_connect_timeout first_token_timeout idle_timeout total_timeout",
    499: "cancelled client_gone slow_client",
}
"""Which status each code has while nothing has been sent, as the documentation lists them."""

COUNTED = [
    *("completed", "client_gone", "cancelled", "truncated", "upstream_error", "idle_timeout"),
    *("first_token_timeout", "total_timeout", "too_large", "slow_client", "quota_exceeded"),
    *("shutting_down", "internal"),
]
"""How a stream can end, as the documentation lists it."""

UNCOUNTED = {
    *("bad_request", "unauthorized", "forbidden", "forbidden_origin", "not_found", "method_not_allowed"),
    *("request_timeout", "stream_exists", "body_too_large", "rate_limit_exceeded", "draining", "overloaded"),
    "expectation_failed",
}
"""Refusals: there was no stream."""

SPECIAL = {
    "upstream_truncated": "truncated",
    "event_too_large": "too_large",
    "stream_too_large": "too_large",
}


@pytest.mark.parametrize(
    ("code", "status"), [(code, status) for status, codes in STATUSES.items() for code in codes.split()]
)
def test_each_code_has_its_status(code, status):
    """A failure while nothing has been sent is the documented HTTP status."""
    assert http_status(Failure(code, "why")) == status


def test_the_table_of_codes_is_complete():
    """No code is missing, none is there that nobody knows of."""
    assert set(CODES) == {code for codes in STATUSES.values() for code in codes.split()}


@pytest.mark.parametrize("code", sorted(CODES))
def test_an_outcome_is_the_code_or_its_group(code):
    """Outcome = code, but for truncation, sizes and everything else that the upstream did."""
    if code in UNCOUNTED:
        expected = None
    elif code in SPECIAL:
        expected = SPECIAL[code]
    else:
        expected = "upstream_error" if code.startswith("upstream_") else code

    assert CODES[code].outcome == expected


def test_the_outcomes_are_those_that_are_documented():
    """A dashboard that lists them all misses none."""
    assert sorted(OUTCOMES) == sorted(COUNTED) == sorted(get_args(Outcome))


def test_a_retry_that_would_only_pay_again_is_discouraged():
    """``x-should-retry: false`` goes with these codes and no others."""
    assert {code for code, meaning in CODES.items() if not meaning.retry} == {
        *("upstream_auth", "upstream_redirect", "upstream_content_type", "upstream_protocol"),
        *("first_token_timeout", "stream_exists"),
    }


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (400, 400),
        (401, 401),
        (403, 403),
        (404, 404),
        (409, 409),
        (422, 422),
        (499, 499),
        (500, 502),
        (501, 502),
        (502, 502),
        (503, 503),
        (504, 502),
        (529, 503),
        (599, 502),
        (200, 502),
        (302, 502),
        (None, 502),
    ],
)
def test_an_upstream_s_status_becomes_ours(status, expected):
    """Its 4xx stays, its 503 and 529 are 503, everything else is a bad gateway."""
    failure = classified(Failure("upstream_error", "why", upstream_status=status), own_credential=False)

    assert failure.code == "upstream_error"
    assert http_status(failure) == expected


def test_only_an_upstream_s_own_error_keeps_its_status():
    """What we say of an answer does not borrow that answer's status."""
    failure = Failure("upstream_content_type", "a page", upstream_status=404)

    assert classified(failure, own_credential=True) is failure
    assert http_status(failure) == 502


@pytest.mark.parametrize("own_credential", [False, True])
def test_an_upstream_s_limit_is_told_from_ours(own_credential):
    """429 stays 429, under a code of its own, with the upstream's words and its waiting time."""
    said = Failure(
        "upstream_error", "slow down", upstream_status=429, upstream_type="tokens", retry_after="7"
    )
    failure = classified(said, own_credential=own_credential)

    assert (failure.code, http_status(failure)) == ("upstream_rate_limited", 429)
    assert (failure.message, failure.upstream_type, failure.retry_after) == ("slow down", "tokens", "7")


@pytest.mark.parametrize("status", [401, 403])
def test_the_gate_s_own_credential_is_nobody_else_s_business(status):
    """An upstream that refuses our key is 502 for the caller, and its words stay with us."""
    said = Failure(
        "upstream_error",
        "Incorrect API key provided: sk-ab***yz",
        upstream_status=status,
        upstream_type="sk-type",
        upstream_code="sk-code",
        upstream_param="sk-param",
    )
    failure = classified(said, own_credential=True)

    assert (failure.code, http_status(failure)) == ("upstream_auth", 502)
    assert "sk-" not in repr(failure)
    assert str(status) in failure.message


@pytest.mark.parametrize("status", [401, 403])
def test_the_caller_s_own_credential_is_the_caller_s(status):
    """Where the caller's key went through, the caller learns what is wrong with it."""
    failure = classified(Failure("upstream_error", "bad key", upstream_status=status), own_credential=False)

    assert (failure.code, failure.message, http_status(failure)) == ("upstream_error", "bad key", status)


def test_all_exceptions_are_of_one_family():
    """One ``except SSEGateError`` catches what the gate reports, and each carries what its reader needs."""
    client = ClientError("not_found", "no route", {"Allow": "GET"})
    upstream = UpstreamError(Failure("upstream_dns", "no such host"))
    wire = WireError("no JSON")

    assert all(isinstance(error, SSEGateError) for error in (client, upstream, wire, ConfigError("bad")))
    assert (client.failure, client.headers) == (Failure("not_found", "no route"), {"Allow": "GET"})
    assert ClientError("not_found", "no route").headers == {}
    assert (upstream.failure.code, str(upstream)) == ("upstream_dns", "no such host")
    assert (wire.code, WireError("big", "event_too_large").code) == ("upstream_bad_event", "event_too_large")
