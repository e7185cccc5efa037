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
from ssegate.wire.formats.vercel import Vercel
from ssegate.wire.seams import Context

from .readers import blocks, documents

CONTEXT = Context("s1", 1700000000)
END = ["finish-step", "finish"]


def chunks(events, end=None, metadata=b""):
    """The chunks of a whole stream, which ends with `[DONE]`."""
    form = Vercel(CONTEXT)
    written = [block for event in events for block in form.encode(event, b"")]
    written += end(form) if end else form.finish(Finish("stop"), Usage(1, 2), metadata)
    assert written[-1] == b"data: [DONE]\n\n"
    return documents(written)


def kinds(events, end=None):
    return [chunk["type"] for chunk in chunks(events, end)]


def failing(code="idle_timeout", metadata=b"", message="silent"):
    return lambda form: form.fail(Failure(code, message), metadata)


def test_a_message_is_told_byte_for_byte():
    """The chunks of the AI SDK's own server, one unnamed event each."""
    form = Vercel(CONTEXT)

    assert form.encode(Text("Hel"), b"") == [
        b'data: {"type":"start"}\n\n',
        b'data: {"type":"start-step"}\n\n',
        b'data: {"type":"text-start","id":"0"}\n\n',
        b'data: {"type":"text-delta","id":"0","delta":"Hel"}\n\n',
    ]
    assert form.encode(Text('"\n'), b"") == [b'data: {"type":"text-delta","id":"0","delta":"\\"\\n"}\n\n']
    assert form.finish(Finish("stop"), None, b'{"total_tokens":2}') == [
        b'data: {"type":"text-end","id":"0"}\n\n',
        b'data: {"type":"data-ssegate","data":{"total_tokens":2},"transient":true}\n\n',
        b'data: {"type":"finish-step"}\n\n',
        b'data: {"type":"finish","finishReason":"stop"}\n\n',
        b"data: [DONE]\n\n",
    ]


def test_parts_open_and_close_in_turn():
    """Thinking, text, a refusal and text again are four parts, one of them open at a time."""
    said = chunks([Reasoning("a"), Reasoning("b"), Text("c"), Refusal("d"), Text("e")])

    assert [(chunk["type"], chunk.get("id")) for chunk in said[2:-2]] == [
        *[
            ("reasoning-start", "0"),
            ("reasoning-delta", "0"),
            ("reasoning-delta", "0"),
            ("reasoning-end", "0"),
        ],
        *[("text-start", "1"), ("text-delta", "1"), ("text-end", "1")],
        *[("text-start", "2"), ("text-delta", "2"), ("text-end", "2")],
        *[("text-start", "3"), ("text-delta", "3"), ("text-end", "3")],
    ]
    marked = [chunk["id"] for chunk in said if "providerMetadata" in chunk]
    assert marked == ["2"], "the refusal is told from text"


def test_calls_by_turns_become_available_at_the_end():
    """Arguments of two calls may alternate, and text may come between: each input is told when whole."""
    said = chunks(
        [
            Text("Let me see."),
            ToolCall(0, id="c0", name="f"),
            ToolCall(1, '{"b":', id="c1", name="g"),
            ToolCall(0, '{"a": 12345678901234567890,\n'),
            Text("Hm."),
            ToolCall(1, "[1.0]}"),
            ToolCall(0, '"é": "\\u00e9"}'),
        ]
    )

    assert [chunk["type"] for chunk in said][5:] == [
        *["tool-input-start", "tool-input-start"],
        *["tool-input-delta", "tool-input-delta", "text-start", "text-delta"],
        *["tool-input-delta", "tool-input-delta", "text-end"],
        *["tool-input-available", "tool-input-available", *END],
    ]
    deltas = [(chunk["toolCallId"], chunk["inputTextDelta"]) for chunk in said if "inputTextDelta" in chunk]
    assert "".join(text for id, text in deltas if id == "c1") == '{"b":[1.0]}'
    first, second = [chunk for chunk in said if chunk["type"] == "tool-input-available"]
    assert first == {
        "type": "tool-input-available",
        "toolCallId": "c0",
        "toolName": "f",
        "input": {"a": 12345678901234567890, "é": "é"},
    }
    assert (second["toolCallId"], second["toolName"], second["input"]) == ("c1", "g", {"b": [1.0]})


@pytest.mark.parametrize("arguments", ['{"a":', "[1", '{"a":NaN}', "{}{}"])
def test_broken_arguments_are_an_error_of_their_call(arguments):
    """A model that stopped in the middle of a call has not made it."""
    *_, failed, step, end = chunks([ToolCall(0, arguments, "c0", "f")])

    assert failed == {
        "type": "tool-input-error",
        "toolCallId": "c0",
        "toolName": "f",
        "input": arguments,
        "errorText": "the arguments are no JSON",
    }
    assert (step["type"], end["type"]) == ("finish-step", "finish")


def test_a_tool_that_takes_free_text_gets_it():
    """OpenAI's custom tools have no JSON."""
    said = chunks([ToolCall(0, "SELECT 1", "c0", "sql")])

    assert said[-3]["type"] == "tool-input-available"
    assert said[-3]["input"] == "SELECT 1"


def test_a_source_is_a_part_that_closes_none():
    """Text goes on behind its sources; those without an address have no room."""
    said = chunks([Text("a"), Citation("http://a", "A"), Citation("http://b"), Citation(text="t"), Text("b")])

    assert said[4:6] == [
        {"type": "source-url", "sourceId": "0", "url": "http://a", "title": "A"},
        {"type": "source-url", "sourceId": "1", "url": "http://b"},
    ]
    assert [chunk["type"] for chunk in said[6:]] == ["text-delta", "text-end", *END]


@pytest.mark.parametrize(
    ("reason", "word"),
    [
        ("stop", "stop"),
        ("length", "length"),
        ("tool_calls", "tool-calls"),
        ("content_filter", "content-filter"),
        ("refusal", "content-filter"),
        ("other", "other"),
    ],
)
def test_the_finish_reason_is_one_that_the_sdk_knows(reason, word):
    """Its schema refuses any other, and the whole message with it."""
    assert chunks([], lambda form: form.finish(Finish(reason), None, b""))[-1]["finishReason"] == word


def test_an_answer_without_content_is_an_empty_message():
    """It begins and ends all the same."""
    assert kinds([Start("id", "m")]) == ["start", "start-step", *END]


OPEN = [Reasoning("hm"), ToolCall(0, '{"a":1}', "c0", "f"), ToolCall(1, '{"b', "c1", "g"), Text("Hel")]


def test_an_error_closes_all_that_is_open():
    """No call is available then, not even one whose arguments are whole; the last chunk is the error."""
    said = chunks(OPEN, failing(metadata=b'{"total_tokens":2}'))

    assert [chunk["type"] for chunk in said[-6:]] == [
        *["text-end", "tool-input-error", "tool-input-error", "data-ssegate", "finish-step", "error"]
    ]
    assert [chunk["errorText"] for chunk in said if "errorText" in chunk] == ["silent"] * 3
    assert said[-3] == {
        "type": "data-ssegate",
        "data": {
            "total_tokens": 2,
            "error": {"message": "silent", "type": "upstream_error", "param": None, "code": "idle_timeout"},
        },
        "transient": True,
    }


def test_a_cancel_is_an_abort():
    """Somebody wanted it: no error, and nothing is left open."""
    said = chunks(OPEN, failing("cancelled", b'{"total_tokens":2}', "cancelled by its client"))

    assert [chunk["type"] for chunk in said[-4:]] == [
        "tool-input-error",
        "data-ssegate",
        "finish-step",
        "abort",
    ]
    assert said[-3]["data"] == {"total_tokens": 2}
    assert said[-1]["reason"] == "cancelled by its client"


def test_a_refused_request_told_as_an_event_is_an_error_alone():
    """Nothing has begun that would have to be closed."""
    assert kinds([], failing("unauthorized")) == ["error"]


def test_metadata_is_a_chunk_behind_its_delta():
    """Transient: `onData` hears of it, the message does not grow."""
    form = Vercel(CONTEXT)

    said = documents(
        form.encode(Text("a"), b'{"token_count":1}') + form.encode(Text("b"), b'{"token_count":2}')
    )

    assert [chunk["type"] for chunk in said[3:]] == ["text-delta", "data-ssegate"] * 2
    assert said[-1] == {"type": "data-ssegate", "data": {"token_count": 2}, "transient": True}


@pytest.mark.parametrize(
    "event",
    [
        *[Start("id"), Usage(1), End(), Carried("", b"{}"), Finish("stop", choice=1), Citation(text="t")],
        *[Text("b", choice=1), Reasoning("b", choice=1), ToolCall(0, "{}", "c", "f", choice=1)],
    ],
    ids=repr,
)
def test_what_has_no_room_makes_no_chunk(event):
    """There is one message, and none of this is a part of it."""
    assert Vercel(CONTEXT).encode(event, b'{"token_count":1}') == []


def test_silence_is_a_comment():
    """The SDK's parser drops it; it has no clock that wants an event."""
    form = Vercel(CONTEXT)

    assert (form.heartbeat, form.noop) == (b":\n", b"")
    assert form.content_type == "text/event-stream; charset=utf-8"


strings = st.text(st.characters(codec=None, exclude_categories=[]), min_size=1)
events = st.one_of(
    st.builds(Text, strings),
    st.builds(Reasoning, strings),
    st.builds(Refusal, strings),
    st.builds(Citation, strings, st.none() | strings),
)
ends = st.sampled_from([None, failing(), failing("cancelled"), failing(message="\ud83d")])


@given(st.lists(events), st.lists(strings, max_size=4), ends)
def test_any_message_is_whole(stream, arguments, end):
    """Whatever a model says, all that opens closes, and each text is kept."""
    calls = [ToolCall(index, text, f"c{index}", "\ud83d") for index, text in enumerate(arguments)]

    said = chunks([*calls, *stream], end)

    for kind, cls in (("text", Text | Refusal), ("reasoning", Reasoning)):
        opened = [chunk["id"] for chunk in said if chunk["type"] == f"{kind}-start"]
        assert opened == [chunk["id"] for chunk in said if chunk["type"] == f"{kind}-end"]
        told = [chunk["delta"] for chunk in said if chunk["type"] == f"{kind}-delta"]
        came = [event.text for event in stream if isinstance(event, cls)]
        assert told == [text.encode("utf-16", "surrogatepass").decode("utf-16", "replace") for text in came]
    closed = [
        chunk["toolCallId"] for chunk in said if chunk["type"] in ("tool-input-available", "tool-input-error")
    ]
    assert closed == [call.id for call in calls]


def test_every_chunk_is_one_event():
    """So that each can have an id of its own."""
    form = Vercel(CONTEXT)

    written = [block for event in OPEN for block in form.encode(event, b"{}")]
    written += form.fail(Failure("internal", "m"), b"{}")

    assert all(set(block) == {"data"} for block in blocks(written))
    assert all(isinstance(json.loads(block["data"])["type"], str) for block in blocks(written)[:-1])
