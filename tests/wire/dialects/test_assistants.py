import json

import pytest

from ssegate.wire.dialects import DIALECTS, detect
from ssegate.wire.events import (
    Citation,
    End,
    Failure,
    Finish,
    Frame,
    Progress,
    Refusal,
    Start,
    Text,
    ToolCall,
    Usage,
)


def decode(*payloads):
    """Decode payloads (objects or bytes), one frame each."""
    dialect = DIALECTS["assistants"]()
    frames = (p if isinstance(p, bytes) else json.dumps(p).encode() for p in payloads)
    return [said for data in frames for said in dialect.decode(Frame("", data))]


def run(status, **members):
    return {"id": "run", "object": "thread.run", "status": status, "model": "m", **members}


def delta(*content, id="msg"):
    return {"id": id, "object": "thread.message.delta", "delta": {"content": list(content)}}


def value(text, **members):
    return {"index": 0, "type": "text", "text": {"value": text, **members}}


def step(*calls, id="step"):
    details = {"type": "tool_calls", "tool_calls": list(calls)}
    return {"id": id, "object": "thread.run.step.delta", "delta": {"step_details": details}}


def call(index=0, id=None, name=None, arguments=""):
    return {
        "index": index,
        "id": id,
        "type": "function",
        "function": {"name": name, "arguments": arguments},
    }


START = Start("run", "m")


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        (delta(value("a"), value("b")), [Text("a"), Text("b")]),
        (delta(value(""), {"type": "image_file", "image_file": {"file_id": "f"}}), []),
        (delta({"type": "refusal", "refusal": "no"}), [Refusal("no")]),
        (
            delta(
                value(
                    "a",
                    annotations=[
                        {
                            "type": "file_citation",
                            "text": "[0]",
                            "start_index": 1,
                            "end_index": 4,
                            "file_citation": {"file_id": "f"},
                        },
                        {"type": "file_path", "text": "sandbox:/x", "file_path": {"file_id": "g"}},
                        {"text": "?"},
                    ],
                )
            ),
            [
                Text("a"),
                Citation(None, "f", "[0]", 1, 4),
                Citation(None, "g", "sandbox:/x"),
                Citation(None, None, "?"),
            ],
        ),
        (step({"index": 0, "type": "code_interpreter", "code_interpreter": {"input": "1+1"}}), [Progress()]),
        ({"object": "thread.run.step", "status": "in_progress"}, [Progress()]),
        (run("queued"), [START]),
        (run("in_progress"), [START]),
        ({"object": "thread.message", "status": "in_progress", "content": []}, []),
        ({"object": "thread"}, []),
        (b"[DONE]", [End()]),
    ],
)
def test_what_an_event_says(payload, said):
    """Told by what its data are about, whatever the event is called."""
    assert decode(payload) == said


def test_a_message_that_no_delta_has_told_is_told_when_it_is_complete():
    """Else what is complete repeats it."""
    whole = {"id": "msg", "object": "thread.message", "status": "completed", "content": [value("ab")]}

    assert decode(whole) == [Text("ab")]
    assert decode(delta(value("a")), delta(value("b")), whole) == [Text("a"), Text("b")]


def test_functions_are_calls_for_the_client():
    """Opened with a name, by step and index; those of the run's end that no step has told come whole."""
    waits = run(
        "requires_action",
        required_action={
            "submit_tool_outputs": {
                "tool_calls": [
                    call(id="c1", name="f", arguments="{}"),
                    call(id="c3", name="h", arguments="[]"),
                ]
            }
        },
    )

    assert decode(
        step(call(0, "c1", "f"), call(1, "c2", "g", {"x": 1})),
        step(call(0, None, None, "{")),
        step(call(0, None, None, "}")),
        waits,
    ) == [
        ToolCall(0, "", "c1", "f"),
        ToolCall(1, "", "c2", "g"),
        ToolCall(1, '{"x":1}'),
        ToolCall(0, "{"),
        ToolCall(0, "}"),
        START,
        ToolCall(2, "[]", "c3", "h"),
        Finish("tool_calls", "requires_action"),
    ]


@pytest.mark.parametrize(
    ("status", "members", "said"),
    [
        ("completed", {}, [Finish("stop", "completed")]),
        (
            "incomplete",
            {"incomplete_details": {"reason": "max_completion_tokens"}},
            [Finish("length", "max_completion_tokens")],
        ),
        ("incomplete", {"incomplete_details": None}, [Finish("length", "incomplete")]),
        ("cancelled", {}, [Finish("other", "cancelled")]),
        (
            "failed",
            {"last_error": {"code": "rate_limit_exceeded", "message": "m"}},
            [Failure("upstream_error", "m", None, None, "rate_limit_exceeded")],
        ),
        ("expired", {"last_error": None}, [Failure("upstream_error", "the run has expired")]),
    ],
)
def test_how_a_run_ends(status, members, said):
    """Usage first: that of the whole run, not of a step."""
    usage = {
        "prompt_tokens": 9,
        "completion_tokens": 7,
        "prompt_token_details": {"cached_tokens": 4},
        "completion_tokens_details": {"reasoning_tokens": 5},
    }
    a_step = {"object": "thread.run.step", "status": "completed", "usage": usage}

    assert decode(a_step, run(status, usage=usage, **members)) == [
        Progress(),
        START,
        Usage(9, 7, 5, 4),
        *said,
    ]
    assert decode(run(status, usage=None, **members)) == [START, *said]


def test_an_error_is_a_failure():
    """With its event's name or without."""
    assert decode({"error": {"message": "m", "type": "t"}}) == [Failure("upstream_error", "m", None, "t")]


@pytest.mark.parametrize("payload", [run("queued"), delta(value("a")), step(call())])
def test_a_run_is_found_by_itself(payload):
    """No configuration names this dialect."""
    assert detect(Frame("", json.dumps(payload).encode())) == "assistants"
