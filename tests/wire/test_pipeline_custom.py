"""Streams of an upstream that only the configuration knows: read, passed on, judged whole or cut."""

import json

import pytest
from wire import blocks, reading_back
from wire.driving import SSE, Drive
from wire.framing.bodies import message

from ssegate.wire.description import Description
from ssegate.wire.errors import NotAStream
from ssegate.wire.recognition import Recogniser

DONE = b'{"end":true}'
PAYLOADS = [
    b'{"output":{"thought":"hm"}}',
    b'{"output":{"token":"H\xc3\xa9l"}, "stats":{"in":3}}',
    b'{"output":{"token":"lo \\"you\\""}}',
    b'{"output":{"stop":"max_tokens"},"stats":{"out":2}}',
    DONE,
]
TEXT = 'Héllo "you"'


def message_of(payload):
    """One message of an AWS event stream."""
    return message(payload, event_type="update", content_type="application/json", message_type="event")


FRAMINGS = {
    "sse": (SSE, lambda payload: b"event: update\ndata: %b\n\n" % payload),
    "ndjson": ("application/x-ndjson", lambda payload: payload + b"\n"),
    "json-array": ("application/json", lambda payload: payload + b"\n"),
    "eventstream": ("application/vnd.amazon.eventstream", message_of),
}
MARKS = {
    "both": {"finish_reason": (("output", "stop"),), "done": DONE},
    "done": {"done": DONE},
    "finish": {"finish_reason": (("output", "stop"),)},
    "neither": {},
}


def described(framing="sse", marks="both"):
    return Description(
        framing,
        text=(("output", "token"),),
        reasoning=(("output", "thought"),),
        input_tokens=(("stats", "in"),),
        output_tokens=(("stats", "out"),),
        error=(("error", "message"),),
        **MARKS[marks],
    )


@pytest.mark.parametrize(
    ("description", "payloads"),
    [
        (
            Description(
                "sse",
                text=(("response",),),
                input_tokens=(("usage", "prompt_tokens"),),
                output_tokens=(("usage", "completion_tokens"),),
                done=b"[DONE]",
            ),
            [
                b'{"response":"Hel","p":"abc"}',
                b'{"response":"lo"}',
                b'{"response":"","usage":{"prompt_tokens":3,"completion_tokens":2}}',
                b"[DONE]",
            ],
        ),
        (Description("sse", text=(("value",),)), [b'{"value":"Hel"}', b'{"value":"lo"}']),
    ],
    ids=["Cloudflare's older form", "Writer's completions"],
)
def test_vendors_without_a_dialect_can_be_described(description, payloads):
    """Too little in them tells whose they are; the documentation says how to describe them."""
    drive = Drive("native", SSE, dialect=description)
    drive.feed(b"".join(b"data: %b\n\n" % payload for payload in payloads), 1.0)
    drive.close(1.1)

    answer = reading_back.native(drive.body)
    assert drive.pipeline.outcome == "completed"
    assert answer.first.text == "Hello"
    assert answer.final.get("output_tokens") == answer.final["total_tokens"]
    assert answer.final["usage_source"] == ("reported" if description.output_tokens else "estimated")


def payloads_of(marks):
    return PAYLOADS if "done" in MARKS[marks] else PAYLOADS[:-1]


def framed(framing, payloads):
    """A body of *payloads*."""
    pieces = [FRAMINGS[framing][1](payload) for payload in payloads]
    return b"[" + b",".join(pieces) + b"]\n" if framing == "json-array" else b"".join(pieces)


def body_of(framing, marks="both"):
    return framed(framing, payloads_of(marks))


def errors_in(framing, body):
    """The payloads of a body that hold an error."""
    match framing:
        case "sse":
            found = [block.partition(b"data: ")[2] for block in body.split(b"\n\n") if block]
        case "ndjson":
            found = body.splitlines()
        case "json-array":
            found = [json.dumps(element) for element in json.loads(body)]
        case "eventstream":
            found = [blocks.message(piece)[1] for piece in blocks.apart(framing, body)]
    return [said["error"] for said in map(json.loads, found) if "error" in said]


def driven(output, body, framing="sse", marks="both", *, cut=None, content_type=None, **settings):
    drive = Drive(output, content_type or FRAMINGS[framing][0], dialect=described(framing, marks), **settings)
    step = cut or len(body) or 1
    for at in range(0, len(body), step):
        drive.feed(body[at : at + step], 0.5)
    drive.close(1.0)
    drive.tell(1.0)
    return drive


@pytest.mark.parametrize("cut", [None, 1, 7])
@pytest.mark.parametrize("marks", MARKS)
@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("output", ["native", "openai"])
def test_all_that_is_described_arrives(output, framing, marks, cut):
    """Text, thinking, counts and reason, however the network cut the body."""
    drive = driven(output, body_of(framing, marks), framing, marks, cut=cut)

    answer = getattr(reading_back, output)(drive.body)
    assert (answer.first.text, answer.first.reasoning) == (TEXT, "hm")
    has_reason = "finish_reason" in MARKS[marks]
    assert drive.pipeline.finish.upstream_reason == ("max_tokens" if has_reason else None)
    assert drive.pipeline.finish.reason == ("length" if has_reason else "other")
    assert (drive.pipeline.stats.usage.input_tokens, drive.pipeline.stats.usage.output_tokens) == (3, 2)
    assert drive.pipeline.outcome == "completed"


@pytest.mark.parametrize("marks", MARKS)
@pytest.mark.parametrize("framing", FRAMINGS)
def test_same_repeats_it_frame_by_frame(framing, marks):
    """Every payload as it came, none joined, ended once."""
    body = body_of(framing, marks)

    drive = driven("same", body, framing, marks, metadata="off", batch_delay=60.0, batch_size=100)

    assert drive.body == body
    assert drive.pipeline.outcome == "completed"


def test_same_tells_the_metadata_beside_the_finish():
    """As a key of a payload that exists anyway; the end mark stays as it is."""
    *_, finish, done = driven("same", body_of("ndjson"), "ndjson").body.splitlines()

    assert json.loads(finish)["ssegate"]["total_tokens"] == 2
    assert done == DONE


@pytest.mark.parametrize("output", ["native", "openai", "same"])
@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize(
    ("marks", "missing", "outcome"),
    [
        ("both", 1, "completed"),  # the finish is there
        ("both", 2, "truncated"),
        ("done", 1, "truncated"),
        ("finish", 1, "truncated"),
        ("neither", 1, "completed"),  # nobody can know
    ],
)
def test_an_end_is_judged_by_what_is_described(output, framing, marks, missing, outcome):
    """A finish reason or the end mark; where neither is described, the body's end."""
    body = framed(framing, payloads_of(marks)[:-missing])

    drive = driven(output, body, framing, marks)

    assert drive.pipeline.outcome == outcome
    assert (drive.pipeline.failure is None) is (outcome == "completed")
    if output == "same" and outcome == "truncated":
        (error,) = errors_in(framing, drive.body)
        assert "ended before its finish" in error["message"]


@pytest.mark.parametrize("marks", MARKS)
@pytest.mark.parametrize("framing", FRAMINGS)
def test_half_a_payload_is_a_cut(framing, marks):
    """Even where the body's end is the end."""
    body = body_of(framing, marks)
    body = body[: body.rindex(b"output") + 9]

    assert driven("native", body, framing, marks).pipeline.outcome == "truncated"


@pytest.mark.parametrize(("marks", "outcome"), [("neither", "truncated"), ("finish", "completed")])
def test_an_array_without_its_end_is_a_cut(marks, outcome):
    """The bracket is the body's own end; who has a finish needs none."""
    body = body_of("json-array", marks).removesuffix(b"]\n")

    assert driven("native", body, "json-array", marks).pipeline.outcome == outcome


@pytest.mark.parametrize("framing", FRAMINGS)
def test_a_connection_that_breaks_is_no_end(framing):
    """Not even where the body's end would be one."""
    drive = Drive("native", FRAMINGS[framing][0], dialect=described(framing, "neither"))
    drive.feed(body_of(framing, "neither"), 0.5)
    drive.fail("upstream_truncated", 1.0)

    assert drive.pipeline.outcome == "truncated"


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("output", ["native", "same"])
def test_an_error_is_told(output, framing):
    """What came with it and before it arrives first."""
    error = b'{"error":{"message":"no GPU","code":503}}'

    drive = driven(output, framed(framing, [PAYLOADS[1], error]), framing)

    assert (drive.pipeline.outcome, drive.pipeline.failure.message) == ("upstream_error", "no GPU")
    assert drive.body.index(b"l") < drive.body.index(b"no GPU")
    assert drive.body.count(b"no GPU") == 1


@pytest.mark.parametrize("output", ["native", "same"])
def test_an_exception_of_an_event_stream_is_told(output):
    """Its payload is another than that of events."""
    body = message_of(PAYLOADS[1]) + message(
        b'{"message":"slow down"}', exception_type="throttlingException", message_type="exception"
    )

    drive = driven(output, body, "eventstream")

    assert (drive.pipeline.outcome, drive.pipeline.failure.message) == ("upstream_error", "slow down")
    assert drive.body.count(b"slow down") == 1


@pytest.mark.parametrize("marks", MARKS)
@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("indent", [None, 2])
def test_a_document_in_place_of_a_stream_is_complete(framing, marks, indent):
    """It has no end mark, and needs none; a finish reason counts if it is there."""
    document = {"output": {"token": "Hi", "stop": "max_tokens"}, "stats": {"in": 3, "out": 2}}
    body = json.dumps(document, indent=indent).encode()

    drive = driven("native", body, framing, marks, content_type="application/json")

    is_line = (framing, marks, indent) == ("ndjson", "done", None)  # it may be a stream's first
    assert reading_back.native(drive.body).first.text == "Hi"
    assert drive.pipeline.outcome == ("truncated" if is_line else "completed")


@pytest.mark.parametrize("framing", FRAMINGS)
def test_a_document_of_another_kind_is_foreign(framing):
    """A list of models is no answer; it is passed on untouched."""
    body = json.dumps({"object": "list", "data": []}, indent=1).encode()
    drive = Drive("native", "application/json", dialect=described(framing))
    drive.feed(body, 0.5)
    drive.close(1.0)

    assert drive.pipeline.unclaimed == body


@pytest.mark.parametrize(
    ("content_type", "body", "code"),
    [
        ("text/html", b"<!doctype html><html></html>", "upstream_content_type"),
        ("text/plain", b"Hello", "upstream_content_type"),
        (SSE, b"", "upstream_empty"),
        ("image/png", b"\x89PNG", ""),
    ],
)
def test_what_is_no_stream_is_none(content_type, body, code):
    """A described framing is believed only of what may be in it."""
    one = Recogniser(described(), content_type, 1 << 20)
    with pytest.raises(NotAStream) as verdict:
        one.feed(body)
        one.feed(b"", at_end=True)

    assert verdict.value.code == code
    assert "auto" not in str(verdict.value)


@pytest.mark.parametrize("content_type", [SSE, "application/json", "application/octet-stream", None])
def test_the_described_framing_is_believed(content_type):
    """Lines of JSON whatever their label; a long line is no document."""
    body = PAYLOADS[1][:-1] + b',"pad":"' + b"x" * (70 << 10) + b'"}\n' + b"\n".join(PAYLOADS[2:])

    drive = driven("native", body, "ndjson", content_type=content_type, cut=4096)

    assert reading_back.native(drive.body).first.text == TEXT
    assert drive.pipeline.outcome == "completed"
