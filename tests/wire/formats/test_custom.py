import json

import pytest
from wire import blocks
from wire.framing.bodies import message

from ssegate.wire.description import Description
from ssegate.wire.events import Carried, Failure, Finish, Text
from ssegate.wire.formats import CUSTOM, make
from ssegate.wire.seams import Context

CONTEXT = Context("s1", 1700000000)
FAILURE = Failure("upstream_truncated", "cut")


def made(framing, **described):
    return make("same", Description(framing, **described), CONTEXT)


@pytest.mark.parametrize(
    ("framing", "written"),
    [
        ("sse", b'id: 7\nevent: update\ndata: {"t":"a","ssegate":{"n":1}}\n\n'),
        ("ndjson", b'{"t":"a","ssegate":{"n":1}}\n'),
        ("json-array", b'[{"t":"a","ssegate":{"n":1}}\n'),
        (
            "eventstream",
            message(
                b'{"t":"a","ssegate":{"n":1}}',
                event_type="update",
                content_type="application/json",
                message_type="event",
            ),
        ),
    ],
)
def test_a_payload_leaves_in_its_framing(framing, written):
    """As it came, with the metadata as one more key."""
    form = made(framing)

    assert form.encode(Carried("update", b'{"t":"a"}', count=1, id="7"), b'{"n":1}') == [written]
    assert form.encode(Text("a"), b"") == []


@pytest.mark.parametrize("framing", sorted(CUSTOM))
def test_the_end_mark_stays_as_it_is(framing):
    """Clients compare it as a whole."""
    form = made(framing, done=b'{"end":true}')

    (block,) = form.encode(Carried("", b'{"end":true}', last=True), b'{"n":1}')
    assert b"ssegate" not in block


@pytest.mark.parametrize("framing", ["sse", "ndjson", "eventstream"])
def test_nothing_is_added_to_a_good_end(framing):
    """The upstream's last payload is the last."""
    assert made(framing).finish(Finish("stop"), None, b"{}") == []


def test_an_array_is_one_document():
    """Elements on lines of their own, closed at either end; an empty one is an array too."""
    good, bad, empty = made("json-array"), made("json-array", error=(("error",),)), made("json-array")
    payloads = [Carried("", b'{"t":"%d"}' % number, count=1) for number in range(3)]
    body = b"".join(block for one in payloads for block in good.encode(one, b""))
    body += b"".join(good.finish(Finish("stop"), None, b""))
    broken = b"".join([*bad.encode(payloads[0], b""), *bad.fail(FAILURE, b"")])

    assert json.loads(body) == [{"t": "0"}, {"t": "1"}, {"t": "2"}]
    assert json.loads(broken) == [{"t": "0"}, {"error": "cut"}]
    assert json.loads(b"".join(empty.finish(Finish("stop"), None, b""))) == []
    assert body.count(b"\n") == 4


@pytest.mark.parametrize(
    ("path", "payload"),
    [
        (("error", "message"), {"error": {"message": "cut"}}),
        (("errors", "1", "text"), {"errors": [None, {"text": "cut"}]}),
        (("error", "404"), {"error": {"404": "cut"}}),
        (("0", "error"), {"error": "cut"}),
    ],
)
def test_a_failure_stands_where_clients_look_for_it(path, payload):
    """At the first path of the description."""
    (line,) = made("ndjson", error=(path, ("other",))).fail(FAILURE, b"{}")
    (event,) = made("sse", error=(path, ("other",))).fail(FAILURE, b"{}")

    assert json.loads(line) == payload
    assert event == b"data: %b\n" % line


def test_a_failure_without_a_place_has_a_name():
    """So that it is not taken for a payload like the others."""
    assert made("sse").fail(FAILURE, b"{}") == [b'event: error\ndata: {"error":"cut"}\n\n']
    assert made("ndjson").fail(FAILURE, b"{}") == [b'{"error":"cut"}\n']


def test_a_failure_of_an_event_stream_is_an_exception():
    """Clients of that framing raise on it whatever it holds."""
    (piece,) = made("eventstream", error=(("error", "message"),)).fail(FAILURE, b"{}")

    headers, payload = blocks.message(piece)
    assert headers[":message-type"] == "exception"
    assert json.loads(payload) == {"error": {"message": "cut"}}


@pytest.mark.parametrize(
    ("framing", "content_type", "heartbeat"),
    [
        ("sse", "text/event-stream; charset=utf-8", b":\n"),
        ("ndjson", "application/x-ndjson", b""),
        ("json-array", "application/json; charset=UTF-8", b""),
        ("eventstream", "application/vnd.amazon.eventstream", b""),
    ],
)
def test_only_events_have_room_for_heartbeats(framing, content_type, heartbeat):
    """A blank line or a comment would be read as content."""
    form = made(framing)

    assert (form.name, form.content_type, form.heartbeat) == ("custom", content_type, heartbeat)
