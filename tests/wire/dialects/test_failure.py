import json

import pytest

from ssegate.wire.dialects.failure import failure_in, read_failure
from ssegate.wire.events import Failure


def failure(message, status=None, type=None, code=None, param=None, retry_after=None):
    return Failure("upstream_error", message, status, type, code, param, retry_after)


@pytest.mark.parametrize(
    ("document", "said"),
    [
        pytest.param(
            {"error": {"message": "m", "type": "t", "param": "p", "code": "c"}},
            failure("m", None, "t", "c", "p"),
            id="OpenAI",
        ),
        pytest.param(
            {"error": {"code": "429", "message": "m", "innererror": {"code": "x"}}},
            failure("m", 429, None, "429"),
            id="Azure",
        ),
        pytest.param({"statusCode": 401, "message": "m"}, failure("m", 401), id="Azure's gateway"),
        pytest.param(
            {"type": "error", "code": "c", "message": "m", "param": None, "sequence_number": 2},
            failure("m", None, None, "c"),
            id="Responses, flat",
        ),
        pytest.param(
            {"type": "error", "sequence_number": 2, "error": {"type": "t", "code": "c", "message": "m"}},
            failure("m", None, "t", "c"),
            id="Responses, nested",
        ),
        pytest.param(
            {
                "type": "response.failed",
                "response": {"status": "failed", "error": {"code": "c", "message": "m"}},
            },
            failure("m", None, None, "c"),
            id="a failed response",
        ),
        pytest.param(
            {"id": "run_1", "status": "failed", "last_error": {"code": "c", "message": "m"}},
            failure("m", None, None, "c"),
            id="Assistants",
        ),
        pytest.param(
            {"type": "error", "error": {"type": "overloaded_error", "message": "m"}, "request_id": "r"},
            failure("m", None, "overloaded_error"),
            id="Anthropic",
        ),
        pytest.param(
            [
                {
                    "error": {
                        "code": 429,
                        "message": "m",
                        "status": "RESOURCE_EXHAUSTED",
                        "details": [{"@type": "t"}, {"retryDelay": "12.5s"}],
                    }
                }
            ],
            failure("m", 429, "RESOURCE_EXHAUSTED", 429, None, "12.5"),
            id="Gemini",
        ),
        pytest.param(
            {"event_type": "interaction.completed", "interaction": {"error": {"message": "m", "code": 3}}},
            failure("m", None, None, 3),
            id="Interactions",
        ),
        pytest.param(
            {"message": "m", "originalStatusCode": 424, "originalMessage": "o"},
            failure("m", 424),
            id="Bedrock",
        ),
        pytest.param(
            {"__type": "ThrottlingException", "message": "m"},
            failure("m", None, "ThrottlingException"),
            id="AWS",
        ),
        pytest.param({"error": "m"}, failure("m"), id="Ollama"),
        pytest.param({"id": "i", "message": "m"}, failure("m"), id="Cohere"),
        pytest.param(
            {"type": "message-end", "delta": {"error": "m", "finish_reason": "ERROR"}},
            failure("m"),
            id="Cohere, in the stream",
        ),
        pytest.param(
            {"object": "error", "message": {"detail": [{"loc": ["body", "n"], "msg": "bad"}]}},
            failure("body.n: bad"),
            id="Mistral",
        ),
        pytest.param(
            {"errors": [{"code": "c", "message": "m"}], "trace": "t", "status_code": 404},
            failure("m", 404, None, "c"),
            id="watsonx",
        ),
        pytest.param({"error": "m", "error_type": "validation"}, failure("m", None, "validation"), id="TGI"),
        pytest.param({"error": "m", "estimated_time": 20.0}, failure("m"), id="Hugging Face"),
        pytest.param({"title": "t", "detail": "m", "status": 422}, failure("m", 422), id="Replicate"),
        pytest.param(
            {"error": {"code": 503, "message": "m", "type": "unavailable_error"}},
            failure("m", 503, "unavailable_error", 503),
            id="llama.cpp",
        ),
        pytest.param(
            {"error": {"object": "error", "message": "m", "code": 400}},
            failure("m", 400, None, 400),
            id="SGLang",
        ),
        pytest.param({"error_code": "c", "message": "m"}, failure("m", None, None, "c"), id="a gateway"),
    ],
)
def test_every_vendor_s_error_is_read(document, said):
    """Message, status, type, code, parameter and wait, by their names and never by the vendor's."""
    assert read_failure(document) == said
    assert failure_in(json.dumps(document).encode()) == said


@pytest.mark.parametrize("delay", ["soon", "-1s", "12", "1e9s", "9" * 40 + "s", 12, None, "\u0661s"])
def test_a_wait_that_is_none_is_not_told(delay):
    """Only a duration as protobuf writes it counts."""
    assert read_failure({"error": {"message": "m", "details": [{"retryDelay": delay}, "x"]}}) == failure("m")


@pytest.mark.parametrize(
    "document", [{}, [], None, 7, {"error": {}}, {"error": []}, {"errors": [None]}, {"response": {}}]
)
def test_there_is_always_a_message(document):
    """Where the upstream has none, ours says so."""
    assert read_failure(document, "HTTP 500").message == "HTTP 500"


LONG = "a" * 100_000
UNTOLD = "the upstream reported an error"


@pytest.mark.parametrize(
    ("document", "said"),
    [
        pytest.param(
            {"error": {"message": LONG, "type": "t", "code": 7}}, (LONG[:2048], "t", 7), id="nested"
        ),
        pytest.param({"error": LONG}, (LONG[:2048], None, None), id="a text"),
        pytest.param({"message": LONG, "code": "c"}, (LONG[:2048], None, "c"), id="flat"),
        pytest.param(
            {"response": {"status": "failed", "error": {"message": "m", "code": "c"}}, "x": LONG},
            ("m", None, "c"),
            id="inside what failed",
        ),
        pytest.param({"x": LONG}, (UNTOLD, None, None), id="of no known name"),
    ],
)
def test_a_long_error_is_read_by_its_usual_members(document, said):
    """A server that repeats a long prompt still says what it says."""
    read = failure_in(json.dumps(document).encode())

    assert (read.message, read.upstream_type, read.upstream_code) == said


@pytest.mark.parametrize("error", [[{"a": 1}] * 20_000, {"message": [{}] * 50_000}])
def test_a_long_error_of_another_shape_is_quoted(error):
    """As it was written, as far as messages go."""
    data = json.dumps({"error": error}).encode()

    assert failure_in(data).message == data[:2048].decode()


@pytest.mark.parametrize(
    "data",
    [
        b'{"error":"' + b'\\"' * 500_000,
        b'{"error":"' + b'\\"' * 500_000 + b"\\",
        b'{"error":[' + b'"",' * 350_000,
        b'"' + b"\\" * 1_000_001,
    ],
    ids=["no end", "no end but a backslash", "strings", "backslashes"],
)
def test_a_long_error_without_an_end_is_looked_at_once(data):
    """From each of its quotes anew it would take minutes, and this test its time-out."""
    assert failure_in(data).message == data[:2048].decode()
