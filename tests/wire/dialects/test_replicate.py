import json

import pytest
from wire import reading_back
from wire.driving import SSE, Drive

from ssegate.wire.dialects import DIALECTS
from ssegate.wire.events import End, Failure, Finish, Frame, Text

from .reading import frames_of, gather, read, recognised

# As https://replicate.com/docs/topics/predictions/streaming and the vendor's clients have it.
BODY = b"""\
: hi

event: logs
id: 1690212292:0
data: Loading weights

event: output
id: 1690212293:0
data:  A haiku:

event: output
id: 1690212293:1
data:
data:
data: Old

event: output
id: 1690212293:2
data:

event: output
id: 1690212294:0
data:   pond "\xc3\xa9", {}

event: done
id: 1690212295:0
data: {}

:408: 408 Request Timeout
"""
TEXT = ' A haiku:\n\nOld  pond "é", {}'


def frame(data, event="output"):
    return Frame(event, data if isinstance(data, bytes) else json.dumps(data).encode(), "1690212292:0")


def decode(*frames):
    dialect = DIALECTS["replicate"]()
    return [said for one in frames for said in dialect.decode(one)]


@pytest.mark.parametrize("newline", [b"\n", b"\r\n"])
def test_a_stream_reads_the_same_however_it_is_cut(newline):
    """Leading blanks and newlines are text; logs and comments are not."""
    body = BODY.replace(b"\n", newline)
    whole = read("replicate", frames_of("sse", [body]))

    told = gather(whole)
    assert told.text == {0: TEXT}
    assert told.ended and not told.finish
    assert read("replicate", frames_of("sse", [body[at : at + 1] for at in range(len(body))])) == whole
    assert [recognised(label, body) for label in (SSE, None)] == [("sse", "replicate")] * 2


@pytest.mark.parametrize(
    ("one", "said"),
    [
        (frame(b"[DONE]"), [Text("[DONE]")]),
        (frame(b"\xff"), [Text("\ufffd")]),
        (frame(b""), []),
        (frame(b"a", "logs"), []),
        (frame(b"a", "something"), []),
        (frame({}, "done"), [End()]),
        (frame(b"", "done"), [End()]),
        (frame({"reason": "canceled"}, "done"), [Finish("other", "canceled"), End()]),
        (frame({"reason": "error"}, "done"), [Failure("upstream_error", "the upstream reported an error")]),
        (frame(b"CUDA out of memory", "error"), [Failure("upstream_error", "CUDA out of memory")]),
        (frame({"detail": "no GPU"}, "error"), [Failure("upstream_error", "no GPU")]),
        (frame({"title": "t", "detail": "d", "status": 404}, ""), [Failure("upstream_error", "d", 404)]),
        (frame({"status": "failed", "error": "OOM"}, ""), [Failure("upstream_error", "OOM", None, "failed")]),
        (frame({"status": "succeeded", "error": None, "output": ["a"]}, ""), []),
        (frame(b"a", ""), []),
        (frame([1], ""), []),
    ],
)
def test_what_an_event_says(one, said):
    """Its name tells what its data is."""
    assert decode(one) == said


def driven(output, body, **settings):
    drive = Drive(output, SSE, **settings)
    drive.feed(body, 0.5)
    drive.close(1.0)
    return drive


def test_same_repeats_every_event():
    """Names, IDs and lines of text as they came; metadata is a key of the last event."""
    drive = driven("same", BODY, metadata="every")

    *events, done = drive.body.decode().split("\n\n")[:-1]
    came = BODY.decode().split("\n\n")
    came = [block.replace("data:\n", "data: \n") for block in came[1:-2] if not block.endswith("data:")]
    assert [sorted(event.split("\n")) for event in events] == [sorted(event.split("\n")) for event in came]
    assert done.startswith("id: 1690212295:0\nevent: done\ndata: {")
    assert json.loads(done.partition("data: ")[2])["ssegate"]["total_tokens"] > 0
    assert drive.pipeline.outcome == "completed"


def test_native_and_openai_have_the_text():
    """Nothing of the vendor's framing is left in it."""
    for output in ("native", "openai"):
        answer = getattr(reading_back, output)(driven(output, BODY).body)

        assert answer.first.text == TEXT
    assert answer.first.finish_reason == "stop"


@pytest.mark.parametrize("cut", [*range(120, len(BODY) - 40, 7), BODY.index(b"}\n\n:408")])
def test_a_body_that_breaks_off_is_truncated(cut):
    """Without its ``done`` no end of the body is the end of the answer."""
    drive = driven("same", BODY[:cut])
    drive.tell(1.0)

    assert drive.pipeline.outcome == "truncated"
    *_, error, done = drive.body.decode().split("\n\n")[:-1]
    assert error.split("\n")[1] == "event: error" and "ended before its finish" in error
    assert done.split("\n")[1:] == ["event: done", 'data: {"reason":"error"}']
    assert error.split("\n")[0] == done.split("\n")[0] != "id: "


def test_a_prediction_is_passed_on():
    """What creates a stream is no stream."""
    body = json.dumps(
        {"id": "p", "status": "starting", "error": None, "urls": {"stream": "https://s"}}
    ).encode()
    for dialect in ("auto", "replicate"):
        drive = Drive("native", "application/json", dialect=dialect)
        drive.feed(body, 0.5)
        drive.close(1.0)

        assert drive.pipeline.unclaimed == body
