import json

import pytest

from ssegate.wire.dialects import DIALECTS
from ssegate.wire.events import (
    Citation,
    End,
    Failure,
    Finish,
    Frame,
    Progress,
    Reasoning,
    Refusal,
    Start,
    Text,
    ToolCall,
    Usage,
)


def decode(*payloads, event=""):
    """Decode payloads (objects or bytes), one frame each."""
    dialect = DIALECTS["responses"]()
    frames = (p if isinstance(p, bytes) else json.dumps(p).encode() for p in payloads)
    return [said for data in frames for said in dialect.decode(Frame(event, data))]


def event(kind, **members):
    return {"type": f"response.{kind}", **members}


def added(item, **members):
    return event("output_item.added", item=item, **members)


def done(item, **members):
    return event("output_item.done", item=item, **members)


def arguments(delta, **members):
    return event("function_call_arguments.delta", delta=delta, **members)


def completed(*output, **members):
    return event("completed", response={"id": "r", "status": "completed", "output": list(output), **members})


def call(id="fc", call_id="c", name="f", arguments="", **members):
    return {
        "type": "function_call",
        "id": id,
        "call_id": call_id,
        "name": name,
        "arguments": arguments,
        **members,
    }


def message(*content, id="m"):
    return {"type": "message", "id": id, "content": list(content)}


def text(said, **members):
    return {"type": "output_text", "text": said, **members}


END = [Start("r"), Finish("stop", "completed"), End()]


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        (event("output_text.delta", output_index=0, delta="a"), [Text("a")]),
        (event("output_text.delta", delta="a"), [Text("a")]),
        (event("output_text.delta", output_index=0, delta=""), []),
        (event("output_text.delta", output_index=0, delta=None), []),
        (event("refusal.delta", output_index=0, delta="no"), [Refusal("no")]),
        (event("reasoning_text.delta", output_index=0, delta="r"), [Reasoning("r")]),
        (
            event("reasoning_summary_text.delta", output_index=0, summary_index=1, delta="r"),
            [Reasoning("r")],
        ),
        (event("content_part.added", output_index=0, part=text("")), []),
        (added(message(), output_index=0), []),
        (added({"type": "reasoning", "summary": []}, output_index=0), []),
        (event("in_progress", response={"status": "in_progress"}), []),
        (event("queued"), []),
        ({"type": "keepalive"}, []),
        ({}, []),
    ],
)
def test_what_an_event_says(payload, said):
    """Deltas are events; frames around them and states of the response are none."""
    assert decode(payload) == said


def test_the_event_s_name_stands_in_for_a_missing_type():
    """Else the type counts, whatever the name is: OpenRouter sends none."""
    assert decode({"delta": "a"}, event="response.output_text.delta") == [Text("a")]
    assert decode(event("refusal.delta", delta="a"), event="response.output_text.delta") == [Refusal("a")]


@pytest.mark.parametrize(
    ("payloads", "said"),
    [
        pytest.param(
            [
                added(call(), output_index=0),
                arguments('{"a', output_index=0),
                arguments('":1}', output_index=0),
                event("function_call_arguments.done", arguments='{"a":1}', output_index=0),
                done(call(arguments='{"a":1}'), output_index=0),
            ],
            [ToolCall(0, "", "c", "f"), ToolCall(0, '{"a'), ToolCall(0, '":1}')],
            id="in fragments, repeated twice",
        ),
        pytest.param(
            [
                added(call(), output_index=0),
                event("function_call_arguments.done", arguments="{}", output_index=0),
                done(call(arguments="{}"), output_index=0),
            ],
            [ToolCall(0, "", "c", "f"), ToolCall(0, "{}")],
            id="only when the arguments are done (LM Studio)",
        ),
        pytest.param(
            [
                added(call(), output_index=0),
                event("function_call_arguments.done", arguments="", output_index=0),
                done(call(arguments="{}"), output_index=0),
            ],
            [ToolCall(0, "", "c", "f"), ToolCall(0, "{}")],
            id="only when the item is done",
        ),
        pytest.param(
            [done(call(arguments={"a": 1}), output_index=0)],
            [ToolCall(0, "", "c", "f"), ToolCall(0, '{"a":1}')],
            id="as an object, of an item that nobody has begun",
        ),
        pytest.param(
            [added(call(arguments="{}"), output_index=0), completed()],
            [ToolCall(0, "", "c", "f"), Start("r"), ToolCall(0, "{}"), Finish("stop", "completed"), End()],
            id="only when the item begins",
        ),
        pytest.param(
            [added(call(name=None), output_index=0), done(call(arguments="{}"), output_index=0)],
            [ToolCall(0, "", "c", "f"), ToolCall(0, "{}")],
            id="the name comes late",
        ),
        pytest.param(
            [done(call(name=None, arguments="{}"), output_index=0)],
            [ToolCall(0, "", "c", ""), ToolCall(0, "{}")],
            id="the name never comes",
        ),
        pytest.param(
            [
                added(call("x", "c1", "f")),
                arguments("1", item_id="x"),
                added(call("y", "c2", "g")),
                arguments("2", item_id="y"),
                arguments("3", item_id="x"),
                done(call("x", "c1", "f", "13")),
                done(call("y", "c2", "g", "2")),
            ],
            [
                ToolCall(0, "", "c1", "f"),
                ToolCall(0, "1"),
                ToolCall(1, "", "c2", "g"),
                ToolCall(1, "2"),
                ToolCall(0, "3"),
            ],
            id="by id where there is no place (llama.cpp)",
        ),
        pytest.param(
            [
                added(call("x1", "c1", "f"), output_index=0),
                arguments("1", item_id="x2", output_index=0),
                added(call("y1", "c2", "g"), output_index=1),
                arguments("2", item_id="y2", output_index=1),
                arguments("3", item_id="x3", output_index=0),
                done(call("x4", "c1", "f", "13"), output_index=0),
            ],
            [
                ToolCall(0, "", "c1", "f"),
                ToolCall(0, "1"),
                ToolCall(1, "", "c2", "g"),
                ToolCall(1, "2"),
                ToolCall(0, "3"),
            ],
            id="by place where ids rotate (GitHub Copilot)",
        ),
        pytest.param(
            [added(call("x"), output_index=2), arguments("1", item_id="x")],
            [ToolCall(0, "", "c", "f"), ToolCall(0, "1")],
            id="by the id of an item whose place is known",
        ),
        pytest.param(
            [added(call(), output_index=0), added(call(), output_index=0), arguments("1", output_index=0)],
            [ToolCall(0, "", "c", "f"), ToolCall(0, "1")],
            id="begun twice",
        ),
        pytest.param(
            [
                added(
                    {"type": "custom_tool_call", "id": "x", "call_id": "c", "name": "sql", "input": ""},
                    output_index=0,
                ),
                event("custom_tool_call_input.delta", delta="SELECT", output_index=0),
                event("custom_tool_call_input.done", input="SELECT", output_index=0),
            ],
            [ToolCall(0, "", "c", "sql"), ToolCall(0, "SELECT")],
            id="custom tools",
        ),
        pytest.param(
            [added(call(call_id=None), output_index=0)],
            [ToolCall(0, "", "fc", "f")],
            id="the item's id for want of the call's",
        ),
        pytest.param([arguments("1", output_index=0)], [], id="a fragment of nothing"),
    ],
)
def test_tool_calls(payloads, said):
    """Fragments find their call by its place, else by its id; what is repeated is told once."""
    assert decode(*payloads) == said


DELTA = event("output_text.delta", output_index=0, content_index=0, delta="a")
REPEATS = [
    event("output_text.done", output_index=0, content_index=0, text="a"),
    event("content_part.done", output_index=0, content_index=0, part=text("a")),
    done(message(text("a")), output_index=0),
    completed(message(text("a"), id="another")),
]


@pytest.mark.parametrize("first", range(5))
def test_a_text_is_told_once(first):
    """Whether the server begins to speak with deltas, the part, the item or only the response."""
    assert decode(*[DELTA, *REPEATS][first:]) == [
        *([Text("a")] if first < 4 else []),
        Start("r"),
        *([Text("a")] if first == 4 else []),
        *END[1:],
    ]


@pytest.mark.parametrize(
    ("payloads", "said"),
    [
        (
            [
                event("refusal.done", output_index=0, refusal="no"),
                done(message({"refusal": "no"}), output_index=0),
            ],
            [Refusal("no")],
        ),
        (
            [event("content_part.done", output_index=0, part={"type": "refusal", "refusal": "no"})],
            [Refusal("no")],
        ),
        (
            [
                event(
                    "reasoning_summary_part.done",
                    output_index=0,
                    summary_index=0,
                    part={"type": "summary_text", "text": "r"},
                ),
                event("reasoning_summary_text.done", output_index=0, summary_index=0, text="r"),
                event("reasoning_summary_text.done", output_index=0, summary_index=1, text="s"),
            ],
            [Reasoning("r"), Reasoning("s")],
        ),
        (
            [event("content_part.done", output_index=0, part={"type": "reasoning_text", "text": "r"})],
            [Reasoning("r")],
        ),
        (
            [
                event("reasoning_text.delta", output_index=0, delta="raw"),
                done(
                    {"type": "reasoning", "summary": [{"text": "sum"}], "content": [{"text": "raw"}]},
                    output_index=0,
                ),
            ],
            [Reasoning("raw")],
        ),
        (
            [done({"type": "reasoning", "summary": [{"text": "r"}, {"text": "s"}]}, output_index=0)],
            [Reasoning("r"), Reasoning("s")],
        ),
        (
            [done(message(text("a"), text("b")), output_index=0), done(message(text("c")), output_index=1)],
            [Text("a"), Text("b"), Text("c")],
        ),
        (
            [completed({"type": "reasoning", "summary": [{"text": "r"}]}, call(arguments="{}"))],
            [
                Start("r"),
                Reasoning("r"),
                ToolCall(0, "", "c", "f"),
                ToolCall(0, "{}"),
                Finish("stop", "completed"),
                End(),
            ],
        ),
        (
            [added(call(), output_index=0), completed(call(arguments="{}"), message(text("a")))],
            [ToolCall(0, "", "c", "f"), *END],
        ),
    ],
)
def test_what_no_delta_has_said(payloads, said):
    """It is told with the first event that has it: by the part, else by the item, else by the response."""
    assert decode(*payloads) == said


PAGE = {"type": "url_citation", "url": "u", "title": "t", "start_index": 1, "end_index": 2}


@pytest.mark.parametrize(
    ("annotation", "said"),
    [
        (PAGE, [Citation("u", "t", None, 1, 2)]),
        ({"type": "url_citation", "url": "u"}, [Citation("u")]),
        (
            {"type": "file_citation", "file_id": "i", "filename": "n", "index": 7},
            [Citation(None, "n", None, 7)],
        ),
        ({"type": "file_path", "file_id": "i", "index": 0}, [Citation(None, "i", None, 0)]),
        (
            {
                "type": "container_file_citation",
                "filename": "n",
                "file_id": "i",
                "start_index": 1,
                "end_index": 2,
            },
            [Citation(None, "n", None, 1, 2)],
        ),
        ({"type": "unheard of"}, []),
    ],
)
def test_what_an_annotation_cites(annotation, said):
    """A page has an address, a file a name; each is told once though the part repeats it."""
    assert decode(
        DELTA,
        event("output_text.annotation.added", output_index=0, content_index=0, annotation=annotation),
        event("content_part.done", output_index=0, part=text("a", annotations=[annotation])),
        done(message(text("a", annotations=[annotation])), output_index=0),
    ) == [Text("a"), *said]


@pytest.mark.parametrize("last", [1, 2])
def test_sources_that_come_only_with_the_end_are_cited_too(last):
    """Of a part, or of an item."""
    part = text("a", annotations=[PAGE])
    ends = [
        event("content_part.done", output_index=0, content_index=0, part=part),
        done(message(part), output_index=0),
    ]

    assert decode(DELTA, *ends[:last][::-1]) == [Text("a"), Citation("u", "t", None, 1, 2)]
    assert decode(DELTA, *ends[last - 1 :]) == [Text("a"), Citation("u", "t", None, 1, 2)]


@pytest.mark.parametrize(
    "payload",
    [
        event("web_search_call.searching", output_index=0),
        event("code_interpreter_call.interpreting", output_index=0),
        event("code_interpreter_call_code.delta", output_index=0, delta="x"),
        event("mcp_list_tools.in_progress"),
        event("mcp_call_arguments.delta", delta="{"),
        event("image_generation_call.partial_image", partial_image_b64="AAAA"),
        event("some_new_tool_call.thinking_hard"),
        added({"type": "web_search_call", "action": {"type": "search"}}, output_index=0),
        done({"type": "mcp_call", "name": "f", "arguments": "{}", "output": "x"}, output_index=0),
        added({"type": "compaction"}, output_index=0),
    ],
)
def test_work_of_the_server_s_own_is_a_sign_of_life(payload):
    """No content and no call of the client's, but no silence either."""
    assert decode(payload) == [Progress()]


def test_an_empty_delta_of_the_server_s_own_is_no_sign_of_life():
    """As little as an empty piece of text."""
    assert decode(event("code_interpreter_call_code.delta", delta="")) == []


# ---- the response -------------------------------------------------------------------------------


def test_the_first_id_and_model_count():
    """llama.cpp names the model only at the end; others rotate ids."""
    said = decode(
        event("created", response={"id": "r1", "status": "in_progress"}),
        event("in_progress", response={"id": "r2", "status": "in_progress"}),
        completed(id="r3", model="m"),
    )

    assert said == [Start("r1"), Start("r1", "m"), Finish("stop", "completed"), End()]


@pytest.mark.parametrize(
    ("kind", "response", "finish"),
    [
        ("completed", {}, Finish("stop", "completed")),
        (
            "incomplete",
            {"incomplete_details": {"reason": "max_output_tokens"}},
            Finish("length", "max_output_tokens"),
        ),
        (
            "incomplete",
            {"incomplete_details": {"reason": "content_filter"}},
            Finish("content_filter", "content_filter"),
        ),
        ("incomplete", {"incomplete_details": None}, Finish("length", "incomplete")),
        ("cancelled", {}, Finish("other", "cancelled")),
    ],
)
def test_how_a_response_ends(kind, response, finish):
    """The type of the last event, or the reason in it; calls are no reason of the upstream's."""
    assert decode(event(kind, response=response)) == [finish, End()]


def test_usage_comes_before_the_finish():
    """Input includes what was cached, output includes reasoning."""
    usage = {
        "input_tokens": 9,
        "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 2},
        "output_tokens": 7,
        "output_tokens_details": {"reasoning_tokens": 5},
        "total_tokens": 16,
    }

    assert decode(completed(usage=usage)) == [END[0], Usage(9, 7, 5, 4), *END[1:]]
    assert decode(completed(usage=None)) == decode(completed(usage={})) == END


@pytest.mark.parametrize(
    ("payload", "failure"),
    [
        (
            {"type": "error", "sequence_number": 2, "code": "c", "message": "m", "param": "p"},
            Failure("upstream_error", "m", None, None, "c", "p"),
        ),
        (
            {
                "type": "error",
                "sequence_number": 2,
                "error": {"type": "t", "code": "c", "message": "m", "param": "p"},
            },
            Failure("upstream_error", "m", None, "t", "c", "p"),
        ),
        (
            {"type": "error", "error": {"type": "server_error", "code": None, "message": "m"}},
            Failure("upstream_error", "m", None, "server_error"),
        ),
        ({"error": {"message": "m", "code": 429}}, Failure("upstream_error", "m", 429, None, 429)),
        (
            event("failed", response={"status": "failed", "error": {"code": "c", "message": "m"}}),
            Failure("upstream_error", "m", None, None, "c"),
        ),
        (
            event("failed", response={"status": "failed", "error": None}),
            Failure("upstream_error", "the response failed"),
        ),
    ],
)
@pytest.mark.parametrize("named", [False, True])
def test_errors(payload, failure, named):
    """As an event of their own, flat or nested, or inside the response that has failed."""
    name = payload.get("type", "") if named else ""

    assert decode(payload, event=name) == [failure]


def test_a_failed_response_tells_what_it_cost():
    """Its error comes last."""
    response = {"id": "r", "error": {"message": "m"}, "usage": {"input_tokens": 1, "output_tokens": 2}}

    assert decode(event("failed", response=response)) == [
        Start("r"),
        Usage(1, 2),
        Failure("upstream_error", "m"),
    ]


def test_an_end_mark_ends_too():
    """OpenRouter sends one, after the response; alone it is the end all the same."""
    assert decode(DELTA, b"[DONE]") == [Text("a"), End()]


# ---- from the middle on -------------------------------------------------------------------------


def test_a_resumed_stream_does_not_repeat_what_came_before():
    """Who asks for events after a number has had the deltas; a call it has not seen begin comes whole."""
    later = event("output_text.done", output_index=0, text="ab", sequence_number=7)
    more = [
        event("content_part.done", output_index=0, part=text("ab", annotations=[PAGE]), sequence_number=8),
        done(message(text("ab", annotations=[PAGE])), output_index=0),
        arguments("}", output_index=1),
        done(call(arguments="{}"), output_index=1),
        completed(message(text("ab"))),
    ]

    assert decode(later, *more) == [ToolCall(0, "", "c", "f"), ToolCall(0, "{}"), *END]
    assert decode({**DELTA, "sequence_number": 6}, later, *more[:2]) == [Text("a")]
    assert decode(event("completed", sequence_number=9, response={"output": [message(text("a"))]})) == END[1:]


def test_a_stream_that_counts_from_one_is_whole():
    """What begins with the creation of the response is its beginning, whatever the number."""
    created = event("created", sequence_number=1, response={"status": "in_progress"})

    assert decode(created, REPEATS[0]) == [Text("a")]


# ---- complete responses -------------------------------------------------------------------------


def answer(status="completed", **members):
    return {
        "id": "r",
        "object": "response",
        "status": status,
        "model": "m",
        "error": None,
        "output": [
            {"type": "reasoning", "id": "x", "summary": [{"type": "summary_text", "text": "r"}]},
            {"type": "web_search_call", "id": "w", "status": "completed"},
            message(text("a", annotations=[PAGE])),
            call(arguments="{}"),
        ],
        "usage": {"input_tokens": 1, "output_tokens": 2},
        **members,
    }


SAID = [
    Start("r", "m"),
    Reasoning("r"),
    Text("a"),
    Citation("u", "t", None, 1, 2),
    ToolCall(0, "", "c", "f"),
    ToolCall(0, "{}"),
    Usage(1, 2),
]


def test_a_complete_response_is_read_like_a_stream():
    """Item by item, then usage and finish; a document is its own end."""
    assert decode(answer()) == [*SAID, Finish("stop", "completed"), End()]
    assert decode(answer(None)) == [*SAID, Finish("stop", "completed"), End()]
    assert decode(answer("incomplete", incomplete_details={"reason": "max_output_tokens"})) == [
        *SAID,
        Finish("length", "max_output_tokens"),
        End(),
    ]


def test_a_complete_response_may_have_failed():
    """Its error is the upstream's."""
    failed = answer("failed", output=[], usage=None, error={"code": "c", "message": "m"})

    assert decode(failed) == [Start("r", "m"), Failure("upstream_error", "m", None, None, "c")]


@pytest.mark.parametrize("status", ["queued", "in_progress"])
def test_a_response_that_is_still_to_come_is_no_answer(status):
    """The upstream works in the background: the document is the client's to poll with."""
    assert decode(answer(status, output=[], usage=None)) == [Start("r", "m")]


# ---- carried ------------------------------------------------------------------------------------


def carried(payload, event=""):
    dialect = DIALECTS["responses"]()
    frame = Frame(event, json.dumps(payload).encode())
    dialect.decode(frame)
    return dialect.carry(frame)


def test_frames_are_carried_under_their_type():
    """Clients go by the name; one that would break the line it stands on is none."""
    assert carried(DELTA).event == "response.output_text.delta"
    assert carried(DELTA, "response.refusal.delta").event == "response.output_text.delta"
    assert carried({"type": "x\ndata: {}"}, "given").event == "given"


@pytest.mark.parametrize("kind", ["completed", "incomplete", "cancelled"])
def test_the_last_frame_waits(kind):
    """For the final metadata."""
    assert carried(event(kind, response={})).last
    assert not carried(event("created", response={})).last


@pytest.mark.parametrize(
    "payload", [answer(), event("failed", response={}), {"type": "error", "message": "m"}]
)
def test_what_is_not_carried(payload):
    """Complete answers and errors are told by the format."""
    assert carried(payload) is None
