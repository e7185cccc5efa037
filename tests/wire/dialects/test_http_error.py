import json

import pytest
from wire.recordings import recordings

from ssegate.wire.dialects import read_error
from ssegate.wire.events import Failure


@pytest.mark.parametrize("body", recordings("errors"), ids=str)
def test_a_recorded_error_is_read(body):
    """Message, type, code and parameter are the upstream's own; the status is the answer's."""
    error = body.expected["error"]
    failure = read_error(body.body, body.content_type, body.status)

    if isinstance(error, str):
        error = {"message": error}
    assert failure.code == "upstream_error"
    assert failure.message == error["message"]
    assert failure.upstream_status == body.status
    assert failure.upstream_type == error.get("type", error.get("status"))
    assert failure.upstream_code == error.get("code")
    assert failure.upstream_param == error.get("param")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"error": "model not found"}, "model not found"),
        ({"error": "Input validation error", "error_type": "validation"}, "Input validation error"),
        ({"detail": "Not Found"}, "Not Found"),
        ({"detail": [{"loc": ["body", "model"], "msg": "field required"}]}, "body.model: field required"),
        ({"detail": {"reason": "x"}}, '{"reason":"x"}'),
        ({"message": "m", "request_id": "r"}, "m"),
        ({"Message": "User is not authorized"}, "User is not authorized"),
        ({"statusCode": 401, "message": "Access denied"}, "Access denied"),
        ({"title": "Invalid", "status": 422}, "Invalid"),
        ([{"error": {"code": 429, "message": "quota", "status": "RESOURCE_EXHAUSTED"}}], "quota"),
        ({"errors": [{"code": "c", "message": "m"}], "trace": "t", "status_code": 404}, "m"),
        ({"type": "error", "error": {"type": "api_error", "message": "m"}}, "m"),
        ({"error": {"message": {"nested": 1}}}, '{"nested":1}'),
        ({"error": {}, "message": "beside"}, "beside"),
        ({"error": {"code": "x"}, "message": "beside"}, "beside"),
        ({"unknown": 1}, "HTTP 500"),
        ([], "HTTP 500"),
        ("just words", "just words"),
        (None, "HTTP 500"),
    ],
)
def test_every_shape_has_a_message(body, message):
    """Whatever a vendor or a gateway calls it."""
    failure = read_error(json.dumps(body).encode(), "application/json", 500)

    assert (failure.message, failure.upstream_status) == (message, 500)


def test_all_that_an_error_object_says():
    """Type, code and parameter are kept; an enum stands for a missing type."""
    error = {
        "message": "m",
        "code": "context_length_exceeded",
        "param": "messages",
        "type": "invalid_request_error",
    }
    google = {"code": 400, "message": "m", "status": "INVALID_ARGUMENT"}

    assert read_error(json.dumps({"error": error}).encode(), None, 400) == Failure(
        "upstream_error", "m", 400, "invalid_request_error", "context_length_exceeded", "messages"
    )
    assert read_error(json.dumps({"error": google}).encode(), None, 400) == Failure(
        "upstream_error", "m", 400, "INVALID_ARGUMENT", 400
    )


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"<!DOCTYPE html><html><body>secret path</body></html>", "text/html"),
        (b"\n <HTML><head>", None),
        (b"<h1>Bad gateway</h1>", "text/html; charset=utf-8"),
        (b'<?xml version="1.0"?>\n<html xmlns="x"/>', "application/xhtml+xml"),
    ],
)
def test_a_page_is_never_quoted(body, content_type):
    """Its markup is of no use to a client and may hold what is not for it."""
    assert read_error(body, content_type, 502).message == "HTTP 502 with an HTML body"


def test_an_empty_body():
    """There is always a message."""
    assert read_error(b" \r\n", None, 503).message == "HTTP 503 without a body"


@pytest.mark.parametrize(
    "body",
    [
        b'event: error\ndata: {"error":{"message":"m"}}\n\n',
        b'data: {"error":{"message":"m"}}\n\ndata: [DONE]\n\n',
        b'error: {"message":"m"}\n\n',
    ],
)
def test_an_event_stream_with_an_error_status(body):
    """Its first object is the error."""
    assert read_error(body, "text/event-stream", 500).message == "m"


def test_a_message_has_two_kibibytes_at_most():
    """Cut between characters, not within one."""
    message = read_error(("é" * 5000).encode(), "text/plain", 500).message

    assert message == "é" * 1024


def test_a_broken_body_is_still_quoted():
    """What is no JSON, or no UTF-8, is text."""
    assert (
        read_error(b'{"error": {"message": "cut', "application/json", 500).message
        == '{"error": {"message": "cut'
    )
    assert read_error(b"caf\xe9", None, 500).message == "caf\ufffd"
    assert read_error(b'{"error":{"message":"half \\ud83d"}}', None, 500).message == "half \ufffd"
