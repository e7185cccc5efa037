import json

import pytest
from wire.blocks import apart, message
from wire.reading_back import bedrock
from wire.recordings import recordings

from ssegate.wire.events import (
    Carried,
    Citation,
    Failure,
    Finish,
    Reasoning,
    Text,
    ToolCall,
    Usage,
)
from ssegate.wire.formats.bedrock import SameBedrock
from ssegate.wire.seams import Context

CONTEXT = Context("s1", 1700000000)
FAILURE = Failure("upstream_truncated", "cut")


def told(*events, finish=None, usage=None, metadata=b""):
    form = SameBedrock(CONTEXT)
    written = [piece for event in events for piece in form.encode(event, b"")]
    return [*written, *form.finish(finish or Finish("stop"), usage, metadata)]


def kinds(pieces):
    return [message(piece)[0][":event-type"] for piece in pieces]


def test_frames_leave_as_messages():
    """Name, content type and checksums around the payload as it came."""
    form = SameBedrock(CONTEXT)
    (piece,) = form.encode(Carried("contentBlockDelta", b'{"delta":{"text":"', b"hi", b'"}}'), b"")

    headers, payload = message(piece)
    assert list(headers.items()) == [
        (":event-type", "contentBlockDelta"),
        (":content-type", "application/json"),
        (":message-type", "event"),
    ]
    assert payload == b'{"delta":{"text":"hi"}}'
    assert form.finish(Finish("stop"), Usage(1, 1), b"{}") == []


@pytest.mark.parametrize("body", [body for body in recordings() if body.dialect == "bedrock"], ids=str)
def test_messages_are_aws_s_own_byte_for_byte(body):
    """What is written of a recorded message's name and payload is that message."""
    form = SameBedrock(CONTEXT)
    for piece in apart("eventstream", body.body):
        headers, payload = message(piece)
        written = form.encode(Carried(headers[":event-type"], payload), b"")
        if list(headers) == [":event-type", ":content-type", ":message-type"]:
            assert written == [piece]
        else:
            assert [message(one) for one in written] == [(headers, payload)]


def test_metadata_is_a_key_of_the_last_payload():
    """SDKs pass over members they do not know."""
    carried = Carried("metadata", b'{"usage":{}}', last=True)
    (piece,) = SameBedrock(CONTEXT).encode(carried, b'{"t":1}')

    assert json.loads(message(piece)[1]) == {"usage": {}, "ssegate": {"t": 1}}


def test_a_complete_answer_becomes_a_stream():
    """Block by block, as Converse streams it; what it has no room for is left out."""
    pieces = told(
        Reasoning("hm"),
        Text("a"),
        Text("b"),
        Citation("u"),
        Text("other", 1),
        ToolCall(0, "", "c", "f"),
        ToolCall(0, '{"x":1}'),
        ToolCall(1, "{}", "d", "g"),
        finish=Finish("tool_calls", "stop"),
        usage=Usage(10, 5, None, 4),
        metadata=b'{"t":1}',
    )
    answer = bedrock(b"".join(pieces))

    assert (answer.first.text, answer.first.reasoning) == ("ab", "hm")
    assert answer.first.calls == [
        {"id": "c", "name": "f", "arguments": '{"x":1}'},
        {"id": "d", "name": "g", "arguments": "{}"},
    ]
    assert answer.first.finish_reason == "tool_use"
    counts = {"inputTokens": 6, "outputTokens": 5, "totalTokens": 15, "cacheReadInputTokens": 4}
    assert (answer.usage, answer.final) == (counts, {"t": 1})
    block = ["contentBlockDelta", "contentBlockStop"]
    call = ["contentBlockStart", *block]
    assert kinds(pieces) == [
        *("messageStart", *block),
        *("contentBlockDelta", *block),
        *(*call, *call, "messageStop", "metadata"),
    ]
    indexes = [json.loads(message(piece)[1]).get("contentBlockIndex") for piece in pieces]
    assert indexes == [None, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3, None, None]


@pytest.mark.parametrize(
    ("finish", "reason"),
    [
        (Finish("stop", "guardrail_intervened"), "guardrail_intervened"),
        (Finish("length", "length"), "max_tokens"),
        (Finish("other"), "end_turn"),
    ],
)
def test_an_answer_without_content(finish, reason):
    """It begins and stops, for a reason that Converse knows."""
    pieces = told(finish=finish)

    assert kinds(pieces) == ["messageStart", "messageStop", "metadata"]
    assert bedrock(b"".join(pieces)).first.finish_reason == reason


@pytest.mark.parametrize(
    ("failure", "exception"),
    [
        (FAILURE, "modelStreamErrorException"),
        (Failure("upstream_error", "m", 500, "internalServerException"), "internalServerException"),
        (Failure("upstream_rate_limited", "m", 429), "throttlingException"),
        (Failure("idle_timeout", "m"), "modelStreamErrorException"),
        (Failure("cancelled", "m"), "validationException"),
        (Failure("internal", "m"), "internalServerException"),
        (Failure("shutting_down", "m"), "serviceUnavailableException"),
        (Failure("lost_producer", "m"), "internalServerException"),
    ],
)
def test_an_error_is_an_exception(failure, exception):
    """One that the SDKs know, the upstream's own if it gave one."""
    pieces = apart("eventstream", b"".join(SameBedrock(CONTEXT).fail(failure, b"{}")))
    ((headers, payload),) = map(message, pieces)

    assert (headers[":message-type"], headers[":exception-type"]) == ("exception", exception)
    assert json.loads(payload)["message"] == failure.message


def test_there_is_no_room_for_heartbeats():
    """Every byte belongs to a message."""
    form = SameBedrock(CONTEXT)

    assert (form.heartbeat, form.noop) == (b"", b"")
    assert form.content_type == "application/vnd.amazon.eventstream"
