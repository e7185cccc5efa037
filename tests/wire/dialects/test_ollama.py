import json

import pytest

from ssegate.wire.dialects import DIALECTS
from ssegate.wire.errors import WireError
from ssegate.wire.events import End, Failure, Finish, Frame, Reasoning, Start, Text, ToolCall, Usage


def decode(*lines):
    dialect = DIALECTS["ollama"]()
    frames = (line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines)
    return [said for data in frames for said in dialect.decode(Frame("", data))]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ({"message": {"role": "assistant", "content": "a"}, "done": False}, [Text("a")]),
        ({"message": {"content": "", "thinking": "t"}, "done": False}, [Reasoning("t")]),
        ({"response": "a", "done": False}, [Text("a")]),
        ({"response": "", "thinking": "t", "done": False}, [Reasoning("t")]),
        ({"message": {"content": ""}, "done": False}, []),
        ({"message": None, "done": None}, []),
        ({"done": True}, [End()]),
        (
            {"done": True, "done_reason": "length", "eval_count": 2},
            [Usage(None, 2), Finish("length", "length"), End()],
        ),
        ({"done": True, "done_reason": "unload"}, [Finish("other", "unload"), End()]),
        ({"error": "model crashed"}, [Failure("upstream_error", "model crashed")]),
        ({"error": "x", "status_code": 503}, [Failure("upstream_error", "x", 503)]),
        (b'{"response":"a","eval_count":"x","done":false}', [Text("a")]),
        (b'{"response":"\\ud83d"}', [Text("\ud83d")]),
        (b" ", []),
    ],
)
def test_what_a_line_says(line, said):
    """Text and thinking of both endpoints, the last line's counts and reason, an error at any time."""
    assert decode(line) == said


def test_tool_calls_come_whole():
    """Their arguments are objects; they are counted over the whole stream."""
    events = decode(
        {"model": "m", "message": {"tool_calls": [{"function": {"name": "f", "arguments": {"a": 1}}}]}},
        {
            "model": "m",
            "message": {"tool_calls": [{"id": "c", "function": {"name": "g", "arguments": {}}}, {}]},
        },
    )

    assert events == [
        Start(None, "m"),
        ToolCall(0, '{"a":1}', None, "f"),
        ToolCall(1, "{}", "c", "g"),
        ToolCall(2, "", None, ""),
    ]


def test_a_complete_answer_is_a_stream_of_one_line():
    """``stream: false`` gives everything at once."""
    line = {
        "model": "m",
        "response": "a",
        "done": True,
        "done_reason": "stop",
        "prompt_eval_count": 1,
        "eval_count": 2,
    }

    assert decode(line) == [Start(None, "m"), Text("a"), Usage(1, 2), Finish("stop", "stop"), End()]


def test_what_is_no_json_is_a_bad_event():
    """A broken line is never passed over."""
    with pytest.raises(WireError):
        decode(b'{"response":"a"')


def test_the_end_mark_of_events_is_no_line():
    """A proxy that makes events of the lines may end them so; clients of Ollama's never see it."""
    dialect = DIALECTS["ollama"]()
    mark = Frame("", b"[DONE]")
    dialect.decode(Frame("", b'{"response":"a","done":false}'))

    assert dialect.decode(mark) == [End()]
    assert dialect.carry(mark) is None


def test_the_end_mark_alone_is_no_answer():
    """A body that is nothing else would leave as nothing, and pass for a complete answer."""
    dialect = DIALECTS["ollama"]()

    assert dialect.decode(Frame("", b"[DONE]")) == []
