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
from ssegate.wire.formats.anthropic import Anthropic
from ssegate.wire.seams import Context

from .readers import blocks, documents

CONTEXT = Context("s1", 1700000000)
STOPPED = Finish("stop")
STOP = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'


def written(events, finish=STOPPED, usage=None, metadata=b""):
    messages = Anthropic(CONTEXT)
    out = [block for event in events for block in messages.encode(event, b"")]
    return [*out, *messages.finish(finish, usage, metadata)]


def accumulated(written):
    """
    Put the message together as Anthropic's SDK does, failing where that would.

    Source: accumulate_event() in anthropic/lib/streaming/_messages.py.
    """
    message = None
    is_open = False
    for block in blocks(written):
        event = json.loads(block["data"])
        assert block["event"] == event["type"]
        match event["type"]:
            case "message_start":
                assert message is None
                message = event["message"]
            case "content_block_start":
                assert not is_open and event["index"] == len(message["content"])
                is_open = True
                message["content"].append(dict(event["content_block"], json=""))
            case "content_block_delta":
                assert is_open and event["index"] == len(message["content"]) - 1
                content, delta = message["content"][-1], event["delta"]
                if delta["type"] == "input_json_delta":
                    assert content["type"] == "tool_use"
                    content["json"] += delta["partial_json"]
                else:
                    key = delta["type"].removesuffix("_delta")
                    assert content["type"] == key
                    content[key] += delta[key]
            case "content_block_stop":
                assert is_open
                is_open = False
            case "message_delta":
                assert not is_open
                message |= event["delta"]
                message["usage"] |= event["usage"]
            case "message_stop":
                return message
    raise AssertionError("no message_stop")


# ---- carried ------------------------------------------------------------------------------------


def test_a_carried_event_leaves_under_its_name():
    """Payload and padding byte for byte."""
    frame = Carried("content_block_delta", b'{"delta":{"text":"', b"hi", b'"}      }', b"k", 1)

    assert Anthropic(CONTEXT).encode(frame, b"") == [
        b'event: content_block_delta\ndata: {"delta":{"text":"hi"}      }\n\n'
    ]


@pytest.mark.parametrize(("name", "extra"), [("message_delta", b',"ssegate":{"t":1}'), ("message_stop", b"")])
def test_metadata_is_a_key_of_message_delta_alone(name, extra):
    """It is the one event where SDKs look for numbers."""
    assert Anthropic(CONTEXT).encode(Carried(name, b'{"a":1}'), b'{"t":1}') == [
        b"event: " + name.encode() + b'\ndata: {"a":1' + extra + b"}\n\n"
    ]


def test_a_missing_message_stop_is_added_once():
    """SDKs wait for it; the upstream's own is not repeated."""
    messages = Anthropic(CONTEXT)
    messages.encode(Carried("message_delta", b"{}"), b"")
    assert messages.finish(Finish("stop"), Usage(1, 1), b"{}") == [STOP]

    messages.encode(Carried("message_stop", b"{}"), b"")
    messages.encode(Carried("ping", b"{}"), b"")
    assert messages.finish(Finish("stop"), Usage(1, 1), b"{}") == []


def test_legacy_completions_have_no_message_stop():
    """Their last event is the one with a reason; their SDK would take another for a piece of the answer."""
    messages = Anthropic(CONTEXT)
    messages.encode(Carried("completion", b'{"completion":"","stop_reason":"stop_sequence"}', last=True), b"")

    assert messages.finish(Finish("stop"), None, b"{}") == []


def test_an_error_is_named():
    """Without `event: error` the SDKs overlook it; nothing follows it."""
    assert Anthropic(CONTEXT).fail(Failure("idle_timeout", "m"), b"{}") == [
        b'event: error\ndata: {"type":"error","error":{"type":"timeout_error","message":"m"}}\n\n'
    ]


def opening(kind, index=3, **more):
    block = {"type": kind, **more}
    data = {"type": "content_block_start", "index": index, "content_block": block}
    return Carried("content_block_start", json.dumps(data).encode())


GROWN = Carried("content_block_delta", b"{}", count=1)


def failed(*opened):
    """What a failure adds to a stream in which this has come."""
    messages = Anthropic(CONTEXT)
    for event in opened:
        messages.encode(event, b"")
    return [json.loads(block["data"]) for block in blocks(messages.fail(Failure("idle_timeout", "m"), b""))]


@pytest.mark.parametrize(
    ("opened", "closed"),
    [
        ([opening("text")], 3),
        ([opening("thinking"), GROWN], 3),
        ([opening("text"), Carried("content_block_stop", b"{}")], None),
        ([opening("server_tool_use")], 3),
        ([Carried("content_block_start", b'{"index":0}')], None),
        ([Carried("content_block_start", b"{")], None),
        ([Text("a")], 0),
        ([Text("a"), Reasoning("b")], 1),
    ],
)
def test_a_failure_closes_the_open_block(opened, closed):
    """Before it is told; the error comes last."""
    *closing, error = failed(*opened)

    assert error["type"] == "error"
    assert closing == ([] if closed is None else [{"type": "content_block_stop", "index": closed}])


@pytest.mark.parametrize(
    ("opened", "index"),
    [
        ([opening("tool_use", input={})], 3),
        ([opening("tool_use", input={"a": 1})], 3),
        ([opening("tool_use"), GROWN], 3),
        ([Text("a"), ToolCall(0, "", "t", "f")], 1),
        ([ToolCall(0, "{}", "t", "f"), ToolCall(1, '{"a', "u", "g")], 1),
    ],
)
def test_a_call_that_broke_off_is_closed_so_that_nobody_makes_it(opened, index):
    """After the error, where every SDK has stopped reading; its arguments are no JSON now."""
    error, brace, stop = failed(*opened)

    assert error["type"] == "error"
    assert brace == {
        "type": "content_block_delta",
        "index": index,
        "delta": {"type": "input_json_delta", "partial_json": "{"},
    }
    assert stop == {"type": "content_block_stop", "index": index}


def test_silence_is_filled_with_pings():
    """Anthropic's own no-op event, which every SDK ignores."""
    assert blocks([Anthropic.noop]) == [{"event": "ping", "data": '{"type":"ping"}'}]
    assert Anthropic.heartbeat == b":\n"


# ---- a complete answer, told as a stream --------------------------------------------------------


def test_a_text_byte_for_byte():
    """The events of the documentation, in their order."""
    name = Start("msg_1", "claude")

    assert b"".join(
        written([name, Text("hi")], Finish("stop", "end_turn"), Usage(10, 2, cached_tokens=4), b'{"t":1}')
    ) == (
        b"event: message_start\n"
        b'data: {"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant",'
        b'"model":"claude","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":0,"output_tokens":0}}}\n\n'
        b"event: content_block_start\n"
        b'data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}\n\n'
        b"event: content_block_delta\n"
        b'data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"hi"}}\n\n'
        b"event: content_block_stop\n"
        b'data: {"type":"content_block_stop","index":0}\n\n'
        b"event: message_delta\n"
        b'data: {"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},'
        b'"usage":{"output_tokens":2,"input_tokens":6,"cache_read_input_tokens":4},"ssegate":{"t":1}}\n\n'
        + STOP
    )


def test_each_kind_has_its_block():
    """Thinking, text and calls open and close in order; a refusal is text here."""
    events = [
        Reasoning("think"),
        Reasoning("ing"),
        Text("Hel"),
        Text("lo"),
        ToolCall(0, id="call_1", name="f"),
        ToolCall(0, '{"a":'),
        ToolCall(0, "1}"),
        ToolCall(1, "{}", id="call_2", name="g"),
        Refusal("no"),
        End(),
    ]

    message = accumulated(written(events, Finish("tool_calls")))

    assert [(c["type"], c.get("thinking") or c.get("text") or c["json"]) for c in message["content"]] == [
        ("thinking", "thinking"),
        ("text", "Hello"),
        ("tool_use", '{"a":1}'),
        ("tool_use", "{}"),
        ("text", "no"),
    ]
    assert [(c["id"], c["name"]) for c in message["content"][2:4]] == [("call_1", "f"), ("call_2", "g")]
    assert message["stop_reason"] == "tool_use"


@pytest.mark.parametrize(
    ("finish", "word"),
    [
        (Finish("stop", "stop_sequence"), "stop_sequence"),
        (Finish("stop", "STOP"), "end_turn"),
        (Finish("length"), "max_tokens"),
        (Finish("content_filter"), "refusal"),
        (Finish("other"), "end_turn"),
    ],
)
def test_stop_reasons_are_anthropics(finish, word):
    """The upstream's own word where it is one, else the word for ours."""
    assert accumulated(written([Text("a")], finish))["stop_reason"] == word


@pytest.mark.parametrize("event", [Text("b", choice=1), Citation("u"), Usage(1), End()], ids=repr)
def test_what_has_no_room_makes_no_event(event):
    """There is one choice, and blocks stay open through what is not said."""
    message = accumulated(written([Text("a"), event, Text("c")]))

    assert [content["text"] for content in message["content"]] == ["ac"]


def test_an_empty_answer_is_a_message():
    """A stream of nothing but a finish still begins and ends; its id is the stream's."""
    message = accumulated(written([], Finish("stop"), Usage(input_tokens=3)))

    assert (message["id"], message["content"]) == ("msg_s1", [])
    assert message["usage"] == {"input_tokens": 3, "output_tokens": 0}


@given(
    st.lists(
        st.builds(lambda kind, text: kind(text), st.sampled_from([Text, Reasoning]), st.text(min_size=1))
    )
)
def test_any_text_arrives(events):
    """Blocks follow the kinds as they change; every text is whole."""
    written_ = written(events)

    message = accumulated(written_)
    for kind, key in ((Text, "text"), (Reasoning, "thinking")):
        whole = "".join(event.text for event in events if type(event) is kind)
        assert "".join(content.get(key, "") for content in message["content"]) == whole
    assert len(documents(written_)) == len(written_)
