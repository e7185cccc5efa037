import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssegate.wire.events import (
    Carried,
    Citation,
    End,
    Failure,
    Finish,
    Reasoning,
    Refusal,
    Start,
    Text,
    ToolCall,
    Usage,
)
from ssegate.wire.formats.native import Native
from ssegate.wire.seams import Context

from .readers import blocks, documents, event_source, line_reader

CONTEXT = Context("s1", 1700000000)


def encoded(event, metadata=b""):
    (block,) = Native(CONTEXT).encode(event, metadata)
    return block.decode()


LINES = [
    (Text("Hel"), '{"token":"Hel","finished":false}'),
    (Text('"\n\\'), r'{"token":"\"\n\\","finished":false}'),
    (Text("b", choice=1), '{"token":"b","choice":1,"finished":false}'),
    (Reasoning("hm"), '{"token":"","reasoning":"hm","finished":false}'),
    (Reasoning("hm", choice=2), '{"token":"","choice":2,"reasoning":"hm","finished":false}'),
    (Refusal("no"), '{"token":"","refusal":"no","finished":false}'),
    (
        ToolCall(0, id="call_1", name="get_weather"),
        '{"token":"","tool_call":{"index":0,"id":"call_1","name":"get_weather","arguments":""},"finished":false}',
    ),
    (
        ToolCall(0, '{"city":'),
        r'{"token":"","tool_call":{"index":0,"arguments":"{\"city\":"},"finished":false}',
    ),
    (
        Citation("http://a", "A", "t", 0, 9),
        '{"token":"","citation":{"url":"http://a","title":"A","text":"t","start":0,"end":9},"finished":false}',
    ),
    (Citation(text="t"), '{"token":"","citation":{"text":"t"},"finished":false}'),
    (Finish("length", choice=1), '{"token":"","choice":1,"finish_reason":"length","finished":false}'),
]


@pytest.mark.parametrize(("event", "line"), LINES, ids=lambda value: repr(value)[:30])
def test_each_event_is_one_line(event, line):
    """The lines users have in their pages, byte for byte; metadata is the last member."""
    assert encoded(event) == f"data: {line}\n\n"
    assert encoded(event, b'{"token_count":1}') == f'data: {line[:-1]},"metadata":{{"token_count":1}}}}\n\n'


@pytest.mark.parametrize("event", [Start("id"), Usage(1), End(), Carried("", b"{}")], ids=repr)
def test_what_native_has_no_room_for_makes_no_event(event):
    """There is no event without something to say."""
    assert Native(CONTEXT).encode(event, b"") == []


@pytest.mark.parametrize(
    ("finish", "members"),
    [
        (Finish("stop"), '"finish_reason":"stop"'),
        (Finish("stop", "stop"), '"finish_reason":"stop"'),
        (Finish("tool_calls", "STOP"), '"finish_reason":"tool_calls","upstream_finish_reason":"STOP"'),
    ],
)
def test_the_finish_is_the_one_event_without_token(finish, members):
    """`finished: true` comes once, and the upstream's word is told where it differs from ours."""
    assert Native(CONTEXT).finish(finish, Usage(1, 2), b"") == [
        f'data: {{"finished":true,{members}}}\n\n'.encode()
    ]
    assert Native(CONTEXT).finish(finish, None, b'{"total_tokens":2}') == [
        f'data: {{"finished":true,{members},"metadata":{{"total_tokens":2}}}}\n\n'.encode()
    ]


def test_an_error_is_named_and_finished():
    """EventSource gets it in `onerror`, a line reader finds `finished` in it."""
    failure = Failure("idle_timeout", "upstream was silent for 300 s")

    assert Native(CONTEXT).fail(failure, b'{"total_tokens":2}') == [
        b"event: error\n"
        b'data: {"error":"upstream was silent for 300 s","type":"stream_error","code":"idle_timeout",'
        b'"finished":true,"metadata":{"total_tokens":2}}\n\n'
    ]


def test_an_upstreams_own_words_stay_beside_ours():
    """Native has one shape for all upstreams, so theirs have names of their own."""
    failure = Failure("upstream_error", "m", 400, "invalid_request_error", "context_length_exceeded")

    (document,) = documents(Native(CONTEXT).fail(failure, b""))

    assert document == {
        "error": "m",
        "type": "stream_error",
        "code": "upstream_error",
        "upstream_code": "context_length_exceeded",
        "upstream_type": "invalid_request_error",
        "finished": True,
    }


@pytest.mark.parametrize(
    ("failure", "type_"),
    [
        (Failure("unauthorized", "m"), "authentication_error"),
        (Failure("rate_limit_exceeded", "m", limit="tokens"), "tokens"),
        (Failure("superseded", "m"), "stream_error"),
    ],
)
def test_a_refusal_told_as_an_event_keeps_its_type(failure, type_):
    """On `errors: stream` routes a refused request reads as it would have as a status."""
    (document,) = documents(Native(CONTEXT).fail(failure, b""))

    assert (document["type"], document["code"]) == (type_, failure.code)


def test_a_cancel_is_no_error():
    """Somebody wanted it: the last event is a finish."""
    assert Native(CONTEXT).fail(Failure("cancelled", "m"), b'{"total_tokens":2}') == [
        b'data: {"finished":true,"finish_reason":"cancelled","metadata":{"total_tokens":2}}\n\n'
    ]


def test_native_has_a_heartbeat_and_nothing_to_say_in_it():
    """The comment is one line without a blank one: some clients take that for an event."""
    native = Native(CONTEXT)

    assert (native.heartbeat, native.noop) == (b":\n", b"")
    assert native.content_type == "text/event-stream; charset=utf-8"


@pytest.mark.parametrize(
    "event",
    [Text("a\ud83d"), ToolCall(0, id="\udc00", name="f"), Citation("\ud83d"), Finish("stop", "\ud83d", 1)],
)
def test_half_a_character_never_raises(event):
    """A stray surrogate becomes U+FFFD wherever it stands."""
    assert "\ufffd" in encoded(event)
    assert b"\xef\xbf\xbd" in Native(CONTEXT).fail(Failure("upstream_error", "\ud83d"), b"{}")[0]


ANSWER = [
    Text("Hel"),
    Reasoning("x"),
    Text("lo\n\u2028 😀"),
    ToolCall(0, "{}", "i", "f"),
    Citation("u"),
    Text(" data: "),
]
ENDS = [
    ("finish", lambda native: native.finish(Finish("stop"), None, b'{"total_tokens":1}')),
    ("error", lambda native: native.fail(Failure("upstream_error", "m", upstream_type="t"), b"{}")),
    ("cancel", lambda native: native.fail(Failure("cancelled", "m"), b"")),
]


@pytest.mark.parametrize(("name", "end"), ENDS)
@pytest.mark.parametrize("cut", [1, 7, 4096])
def test_an_event_source_page_works(name, end, cut):
    """The page shows the text and nothing else, closes once, and gets an error as an error."""
    native = Native(CONTEXT)
    written = [block for event in ANSWER for block in native.encode(event, b'{"token_count":1}')]

    page = event_source(b"".join([*written, native.heartbeat, *end(native)]), cut)

    assert page.text == "Hello\n\u2028 😀 data: "
    assert page.is_closed
    assert len(page.errors) == (name == "error")


@pytest.mark.parametrize(("name", "end"), ENDS)
def test_a_line_reader_page_works(name, end):
    """Splitting each write at newlines, without a buffer, gives the same text and one end."""
    native = Native(CONTEXT)
    writes = [b"".join(native.encode(event, b"{}")) for event in ANSWER]

    page = line_reader([*writes, native.heartbeat, b"".join(end(native))])

    assert page.text == "Hello\n\u2028 😀 data: "
    assert page.is_closed


strings = st.text(st.characters(codec=None, exclude_categories=[]), min_size=1)
events = st.one_of(
    st.builds(Text, strings, st.integers(0, 3)),
    st.builds(Reasoning, strings),
    st.builds(Refusal, strings),
    st.builds(ToolCall, st.integers(0, 3), strings, st.none() | strings, st.none() | strings),
    st.builds(Citation, st.none() | strings, st.none() | strings, st.none() | strings),
    st.builds(Finish, st.sampled_from(["stop", "other"]), st.none() | strings, st.integers(1, 3)),
)


@given(st.lists(events))
def test_any_text_keeps_to_the_wire_profile(stream):
    """Whatever a model says, the wire stays readable for the strictest client, and the text is kept."""
    native = Native(CONTEXT)

    written = [block for event in stream for block in native.encode(event, b'{"token_count":1}')]

    assert len(blocks(written)) == len(stream)
    read = [json.loads(block["data"]) for block in blocks(written)]
    for event, document in zip(stream, read, strict=True):
        assert document["finished"] is False
        said = event.text if isinstance(event, Text) else ""
        assert document["token"] == said.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
