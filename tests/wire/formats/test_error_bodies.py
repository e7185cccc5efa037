import json

import pytest

from ssegate.wire.errors import CODES, http_status
from ssegate.wire.events import Failure
from ssegate.wire.formats.error_bodies import ERRORS, error_body, stream_error

FULL = Failure("upstream_error", "m", 400, "invalid_request_error", "context_length_exceeded", "messages")


@pytest.mark.parametrize(
    ("shape", "body"),
    [
        ("native", '{"error":"m","type":"upstream_error","code":"upstream_connect"}'),
        (
            "openai",
            '{"error":{"message":"m","type":"upstream_error","param":null,"code":"upstream_connect"}}',
        ),
        ("anthropic", '{"type":"error","error":{"type":"api_error","message":"m"},"request_id":"req_1"}'),
        ("ollama", '{"error":"m"}'),
        ("cohere", '{"id":"req_1","message":"m"}'),
        ("tgi", '{"error":"m","error_type":"generation"}'),
        ("llamacpp", '{"error":{"code":502,"message":"m","type":"server_error"}}'),
        ("replicate", '{"detail":"m","status":502}'),
        (
            "watsonx",
            '{"errors":[{"code":"upstream_connect","message":"m"}],"trace":"req_1","status_code":502}',
        ),
    ],
)
def test_each_shape_byte_for_byte(shape, body):
    """What a client of each vendor looks for."""
    assert error_body(shape, Failure("upstream_connect", "m"), 502, "req_1").decode() == body


def test_anthropic_has_a_request_id_only_if_there_is_one():
    """An absent id is left out."""
    assert "request_id" not in json.loads(error_body("anthropic", Failure("internal", "m"), 500))


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        (
            "native",
            {
                "error": "m",
                "type": "invalid_request_error",
                "code": "upstream_error",
                "upstream_code": "context_length_exceeded",
                "upstream_type": "invalid_request_error",
            },
        ),
        (
            "openai",
            {
                "error": {
                    "message": "m",
                    "type": "invalid_request_error",
                    "param": "messages",
                    "code": "context_length_exceeded",
                }
            },
        ),
        ("anthropic", {"type": "error", "error": {"type": "invalid_request_error", "message": "m"}}),
    ],
)
def test_the_upstreams_own_words_stay(shape, expected):
    """An agent that reacts to `context_length_exceeded` finds it where it was."""
    assert json.loads(error_body(shape, FULL, 400)) == expected


def test_a_code_stays_a_number_where_it_was_one():
    """Zero too is a code that the upstream gave."""
    failure = Failure("upstream_error", "m", upstream_code=0)

    assert json.loads(error_body("openai", failure, 502))["error"]["code"] == 0


@pytest.mark.parametrize(
    ("status", "openai", "anthropic"),
    [
        (400, "invalid_request_error", "invalid_request_error"),
        (401, "authentication_error", "authentication_error"),
        (403, "permission_error", "permission_error"),
        (404, "invalid_request_error", "not_found_error"),
        (405, "invalid_request_error", "invalid_request_error"),
        (409, "invalid_request_error", "invalid_request_error"),
        (413, "invalid_request_error", "request_too_large"),
        (422, "invalid_request_error", "invalid_request_error"),
        (429, "rate_limit_error", "rate_limit_error"),
        (500, "server_error", "api_error"),
        (502, "upstream_error", "api_error"),
        (503, "overloaded_error", "overloaded_error"),
        (504, "upstream_error", "timeout_error"),
        (529, "upstream_error", "overloaded_error"),
        (599, "upstream_error", "api_error"),
    ],
)
def test_types_follow_the_status(status, openai, anthropic):
    """Each vendor's own word for the same."""
    failure = Failure("upstream_error", "m")

    assert json.loads(error_body("native", failure, status))["type"] == openai
    assert json.loads(error_body("openai", failure, status))["error"]["type"] == openai
    assert json.loads(error_body("anthropic", failure, status))["error"]["type"] == anthropic


@pytest.mark.parametrize(
    ("failure", "type_"),
    [
        (Failure("rate_limit_exceeded", "m", limit="streams"), "streams"),
        (Failure("rate_limit_exceeded", "m"), "requests"),
        (Failure("quota_exceeded", "m"), "tokens"),
        (Failure("upstream_rate_limited", "m"), "rate_limit_error"),
    ],
)
def test_a_limit_of_ours_says_which(failure, type_):
    """The type of a 429 tells what ran out; the upstream's own limits have the vendor's word."""
    assert json.loads(error_body("openai", failure, 429))["error"]["type"] == type_
    assert json.loads(error_body("native", failure, 429))["type"] == type_


@pytest.mark.parametrize(
    ("failure", "type_"),
    [
        (Failure("bad_request", "m"), "validation"),
        (Failure("upstream_error", "m", upstream_status=422), "validation"),
        (Failure("overloaded", "m"), "overloaded"),
        (Failure("upstream_truncated", "m"), "incomplete_generation"),
        (Failure("idle_timeout", "m"), "generation"),
        (Failure("upstream_error", "m", upstream_type="validation"), "validation"),
    ],
)
def test_a_type_of_tgi_says_whose_fault_it_was(failure, type_):
    """Its clients raise an exception of that name; the upstream's own word stays."""
    assert stream_error("tgi", failure) == {"error": "m", "error_type": type_}


@pytest.mark.parametrize(
    ("status", "type_"),
    [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (404, "not_found_error"),
        (503, "unavailable_error"),
        (504, "server_error"),
    ],
)
def test_a_type_of_llama_cpp_follows_the_status(status, type_):
    """Its code is that status; the upstream's own type stays."""
    for failure, expected in (
        (Failure("upstream_error", "m"), type_),
        (
            Failure("upstream_error", "m", upstream_type="exceed_context_size_error"),
            "exceed_context_size_error",
        ),
    ):
        error = json.loads(error_body("llamacpp", failure, status))["error"]
        assert error == {"code": status, "message": "m", "type": expected}


@pytest.mark.parametrize("shape", ERRORS)
@pytest.mark.parametrize("code", [*CODES, "superseded", "lost_producer"])
def test_every_code_can_be_said_in_every_shape(shape, code):
    """No failure is without words, before the stream or in it."""
    failure = Failure(code, "what happened")
    status = http_status(failure) if code in CODES else 500

    for error in (json.loads(error_body(shape, failure, status)), stream_error(shape, failure)):
        assert "what happened" in json.dumps(error)
        if shape == "native":
            assert error["code"] == code


def test_a_message_with_half_a_character_is_mended():
    """An upstream's message may hold anything; an error about it must not be another error."""
    failure = Failure("upstream_error", "caf\ud83d", upstream_code="\udc00", upstream_param="é")

    assert json.loads(error_body("openai", failure, 502))["error"] == {
        "message": "caf\ufffd",
        "type": "upstream_error",
        "param": "é",
        "code": "\ufffd",
    }
