import json

import pytest

from ssegate.wire.dialects import DIALECTS
from ssegate.wire.errors import WireError
from ssegate.wire.events import Citation, End, Failure, Finish, Frame, Reasoning, Start, Text, ToolCall, Usage


def decode(*payloads, event=""):
    dialect = DIALECTS["anthropic"]()
    frames = (p if isinstance(p, bytes) else json.dumps(p).encode() for p in payloads)
    return [said for data in frames for said in dialect.decode(Frame(event, data))]


def start(block, index=0):
    return {"type": "content_block_start", "index": index, "content_block": block}


def delta(kind, index=0, **more):
    return {"type": "content_block_delta", "index": index, "delta": {"type": kind, **more}}


def stop(index=0):
    return {"type": "content_block_stop", "index": index}


def message(**more):
    return {"type": "message_start", "message": more}


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        (delta("text_delta", text="a"), [Text("a")]),
        (delta("text_delta", text=""), []),
        (delta("thinking_delta", thinking="t"), [Reasoning("t")]),
        (delta("signature_delta", signature="s"), []),
        (delta("compaction_delta", content="c"), []),
        (start({"type": "text", "text": "a"}), [Text("a")]),
        (start({"type": "thinking", "thinking": "t"}), [Reasoning("t")]),
        (start({"type": "redacted_thinking", "data": "x"}), []),
        (start({"type": "server_tool_use", "id": "i", "name": "web_search", "input": {}}), []),
        (start({"type": "web_search_tool_result", "content": [{"text": "not the answer"}]}), []),
        (
            delta("citations_delta", citation={"cited_text": "c", "url": "u", "title": "t"}),
            [Citation("u", "t", "c")],
        ),
        (
            delta(
                "citations_delta", citation={"cited_text": "c", "document_title": "t", "start_char_index": 3}
            ),
            [Citation(None, "t", "c")],
        ),
        ({"type": "ping"}, []),
        ({"type": "vertex_event"}, []),
        ({"type": "something_new", "delta": {"text": "a"}}, []),
        ({"type": "message_stop"}, [End()]),
        ({"type": "content_block_delta"}, []),
        ({"type": "message_delta"}, []),
        (b'{"type": "message_stop"         }', [End()]),
        (b"[DONE]", [End()]),
    ],
)
def test_what_an_event_says(payload, said):
    """Text and thinking are told; what Anthropic does itself, and what is not known, is not."""
    assert decode(payload) == said


def test_a_client_s_tool_call():
    """The opening has no arguments; fragments follow; what the server calls itself is not counted."""
    events = decode(
        start({"type": "server_tool_use", "id": "s", "name": "search"}, 0),
        delta("input_json_delta", 0, partial_json="{}"),
        stop(0),
        start({"type": "tool_use", "id": "t", "name": "f", "input": {}}, 1),
        delta("input_json_delta", 1, partial_json=""),
        delta("input_json_delta", 1, partial_json='{"a":'),
        delta("input_json_delta", 1, partial_json="1}"),
        stop(1),
        start({"type": "tool_use", "id": "u", "name": "g"}, 2),
        stop(2),
    )

    assert events == [
        ToolCall(0, "", "t", "f"),
        ToolCall(0, '{"a":'),
        ToolCall(0, "1}"),
        ToolCall(1, "", "u", "g"),
    ]


def test_arguments_that_stand_in_the_block_s_start():
    """They count if no delta brings any."""
    given = {"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1}}

    assert decode(start(given), stop()) == [ToolCall(0, "", "t", "f"), ToolCall(0, '{"a":1}')]
    assert decode(start(given), delta("input_json_delta", partial_json="{}"), stop()) == [
        ToolCall(0, "", "t", "f"),
        ToolCall(0, "{}"),
    ]


def test_usage_is_laid_over_and_input_includes_the_cache():
    """What the last report does not name stays; the output count of the start is a placeholder."""
    first = {
        "input_tokens": 10,
        "cache_read_input_tokens": 5,
        "cache_creation_input_tokens": 2,
        "output_tokens": 1,
    }
    events = decode(
        message(id="i", model="m", usage=first),
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 7}},
        {"type": "message_delta", "delta": {}, "usage": {"input_tokens": 20, "cache_read_input_tokens": 0}},
    )

    assert events == [
        Start("i", "m"),
        Usage(17, None, None, 5),
        Usage(17, 7, None, 5),
        Finish("stop", "end_turn"),
        Usage(22, 7, None, 0),
    ]


def test_thinking_tokens_are_reasoning():
    """New API versions count them."""
    usage = {"output_tokens": 9, "output_tokens_details": {"thinking_tokens": 4}}

    assert decode({"type": "message_delta", "usage": usage}) == [Usage(None, 9, 4)]


def test_a_repeated_start_is_no_second_answer():
    """Proxies splice it in; the first one counts."""
    assert decode(message(id="a", model="m"), message(id="b", model="n")) == [Start("a", "m")]


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("tool_use", "tool_calls"),
        ("refusal", "refusal"),
        ("pause_turn", "other"),
    ],
)
def test_every_stop_reason_has_one_of_our_words(word, reason):
    """The finish is told once."""
    payload = {"type": "message_delta", "delta": {"stop_reason": word}}

    assert decode(payload, payload) == [Finish(reason, word)]


@pytest.mark.parametrize(
    "payload",
    [
        {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}, "request_id": "r"},
        {"error": {"type": "overloaded_error", "message": "Overloaded"}},
    ],
)
def test_an_error_event(payload):
    """It keeps Anthropic's own type."""
    assert decode(payload, event="error") == [
        Failure("upstream_error", "Overloaded", None, "overloaded_error")
    ]


def test_an_error_event_that_is_no_json():
    """A proxy's words are still an error."""
    assert decode(b"upstream timed out", event="error") == [Failure("upstream_error", "upstream timed out")]


def test_a_legacy_completion():
    """Text, then the reason; there is no end mark."""
    events = decode(
        {"type": "completion", "id": "c", "model": "claude-2", "completion": " a", "stop_reason": None},
        {"type": "completion", "completion": "", "stop_reason": "stop_sequence"},
        event="completion",
    )

    assert events == [Start("c", "claude-2"), Text(" a"), Finish("stop", "stop_sequence")]


def test_a_complete_message():
    """A document is read block by block, and nothing follows it."""
    payload = {
        "type": "message",
        "id": "i",
        "model": "m",
        "content": [
            {"type": "thinking", "thinking": "t"},
            {"type": "text", "text": "a", "citations": [{"url": "u"}]},
            {"type": "tool_use", "id": "c", "name": "f", "input": {"q": 1}},
        ],
        "stop_reason": "tool_use",
        "usage": {"input_tokens": 1, "output_tokens": 2},
    }

    assert decode(payload) == [
        Start("i", "m"),
        Reasoning("t"),
        Text("a"),
        Citation("u"),
        ToolCall(0, "", "c", "f"),
        ToolCall(0, '{"q":1}'),
        Usage(1, 2),
        Finish("tool_calls", "tool_use"),
        End(),
    ]


def test_what_does_not_fit_is_left_out():
    """A wrong type costs its field, half a character nothing."""
    assert decode(b'{"type":"content_block_delta","index":"x","delta":{"type":"text_delta","text":"a"}}') == [
        Text("a")
    ]
    assert decode(b'{"type":"content_block_delta","delta":{"type":"text_delta","text":"\\ud83d"}}') == [
        Text("\ud83d")
    ]
    assert decode(message(id="\ud83d", model=7)) == [Start("\ufffd")]


def test_what_is_no_json_is_a_bad_event():
    """Only an error event may be plain words."""
    with pytest.raises(WireError):
        decode(b'{"type":"content_block_del')
