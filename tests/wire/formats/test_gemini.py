import json

import pytest

from ssegate.wire.events import Carried, Failure, Finish, Text, Usage
from ssegate.wire.formats import make
from ssegate.wire.formats.gemini import SameGemini, SameGeminiArray
from ssegate.wire.seams import Context

CONTEXT = Context("s1", 1700000000)
CHUNK = Carried("", b'{"candidates":[{"content":{"parts":[{"text":"', b"hi", b'"}]}}]}', b"k", 1)
WRITTEN = b'{"candidates":[{"content":{"parts":[{"text":"hi"}]}}]}'
LAST = Carried("", b'{"usageMetadata":{}}', last=True)
FAILURE = Failure("upstream_truncated", "cut")


def test_chunks_are_bare_events():
    """Nothing but ``data:`` and a blank line: Google's SDK reads anything else as an error."""
    form = SameGemini(CONTEXT)

    assert form.encode(CHUNK, b"") == [b"data: " + WRITTEN + b"\n\n"]
    assert form.encode(LAST, b'{"t":1}') == [b'data: {"usageMetadata":{},"ssegate":{"t":1}}\n\n']
    assert form.finish(Finish("stop"), Usage(1, 1), b"{}") == []
    assert form.encode(Text("a"), b"") == []


def test_events_of_interactions_keep_their_names():
    """Up to the end mark, which is no JSON and has no room for metadata."""
    form = SameGemini(CONTEXT)

    assert form.encode(Carried("step.stop", b'{"index":0}'), b"") == [
        b'event: step.stop\ndata: {"index":0}\n\n'
    ]
    assert form.encode(Carried("done", b"[DONE]", last=True), b'{"t":1}') == [
        b"event: done\ndata: [DONE]\n\n"
    ]


def test_an_error_is_a_chunk():
    """The SDKs raise on it; an event named ``error`` they would not read."""
    (event,) = SameGemini(CONTEXT).fail(FAILURE, b"{}")

    assert event.startswith(b"data: {") and event.endswith(b"}\n\n")
    error = json.loads(event[6:])["error"]
    assert (error["code"], error["message"], error["status"]) == (502, "cut", "UNAVAILABLE")


@pytest.mark.parametrize("is_empty", [True, False])
def test_an_array_is_whole(is_empty):
    """Every element on a line of its own, and closed at the end, also where nothing came."""
    form = SameGeminiArray(CONTEXT)
    sent = [] if is_empty else [*form.encode(CHUNK, b""), *form.encode(LAST, b'{"t":1}')]
    sent += form.finish(Finish("stop"), None, b"{}")

    chunks = [] if is_empty else [json.loads(WRITTEN), {"usageMetadata": {}, "ssegate": {"t": 1}}]
    assert json.loads(b"".join(sent)) == chunks
    assert b"".join(sent).count(b"\n") == len(sent)
    assert form.encode(Text("a"), b"") == []


@pytest.mark.parametrize("is_empty", [True, False])
def test_an_array_ends_with_its_error(is_empty):
    """It is the last element, and the array is whole."""
    form = SameGeminiArray(CONTEXT)
    sent = [] if is_empty else form.encode(CHUNK, b"")
    sent += form.fail(FAILURE, b"{}")

    *chunks, last = json.loads(b"".join(sent))
    assert len(chunks) == (not is_empty)
    assert last["error"]["message"] == "cut"


def test_the_framing_decides():
    """An array is answered with an array, everything else with events."""
    assert isinstance(make("same", "gemini", CONTEXT, "json-array"), SameGeminiArray)
    assert isinstance(make("same", "gemini", CONTEXT, "sse"), SameGemini)
    assert isinstance(make("same", "gemini", CONTEXT, "json"), SameGemini)


@pytest.mark.parametrize(
    ("form", "content_type"),
    [(SameGemini, "text/event-stream"), (SameGeminiArray, "application/json; charset=UTF-8")],
)
def test_there_is_no_room_for_heartbeats(form, content_type):
    """A comment is an error to Google's SDK, and a blank line inside an array helps nobody."""
    assert (form.heartbeat, form.noop, form.content_type) == (b"", b"", content_type)
