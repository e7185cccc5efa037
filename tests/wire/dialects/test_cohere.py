import json

import pytest

from ssegate.wire.dialects import DIALECTS
from ssegate.wire.errors import WireError
from ssegate.wire.events import Citation, End, Failure, Finish, Frame, Reasoning, Start, Text, ToolCall, Usage

FAILED = "the upstream reported an error"


def frame(payload):
    return Frame("", payload if isinstance(payload, bytes) else json.dumps(payload).encode())


def decode(*payloads):
    dialect = DIALECTS["cohere"]()
    return [said for payload in payloads for said in dialect.decode(frame(payload))]


def event(kind, index=None, **message):
    return {"type": kind, "index": index, "delta": {"message": message}}


def end(reason, **more):
    return {"type": "message-end", "delta": {"finish_reason": reason, **more}}


def line(kind, **more):
    return {"is_finished": kind == "stream-end", "event_type": kind, **more}


TOKENS = {
    "billed_units": {"input_tokens": 1, "output_tokens": 1},
    "tokens": {"input_tokens": 12, "output_tokens": 5},
    "cached_tokens": 8,
}


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        ({**event("message-start", role="assistant", content=[], tool_calls=[]), "id": "i"}, [Start("i")]),
        (event("content-start", 0, content={"type": "text", "text": ""}), []),
        (event("content-start", 0, content={"type": "text", "text": "a"}), [Text("a")]),
        (event("content-delta", 0, content={"text": "a"}), [Text("a")]),
        (event("content-delta", 0, content={"thinking": "hm"}), [Reasoning("hm")]),
        (event("content-delta", 0, content={"text": ""}), []),
        (event("content-delta", 0, content=None), []),
        ({"type": "content-end", "index": 0}, []),
        (event("tool-plan-delta", tool_plan="I will"), []),
        (event("something-new", content={"text": "a"}), []),
        ({"type": "debug", "prompt": "x"}, []),
        (end("COMPLETE"), [Finish("stop", "COMPLETE")]),
        (end("STOP_SEQUENCE"), [Finish("stop", "STOP_SEQUENCE")]),
        (end("MAX_TOKENS", usage=TOKENS), [Usage(12, 5, None, 8), Finish("length", "MAX_TOKENS")]),
        (end("TOOL_CALL"), [Finish("tool_calls", "TOOL_CALL")]),
        (end("TIMEOUT"), [Finish("other", "TIMEOUT")]),
        (end("ERROR"), [Failure("upstream_error", FAILED)]),
        (
            end("ERROR", error="no GPU", usage=TOKENS),
            [Usage(12, 5, None, 8), Failure("upstream_error", "no GPU")],
        ),
        (end(None), []),
        ({"id": "e", "message": "invalid api token"}, [Failure("upstream_error", "invalid api token")]),
        (b'{"type":"content-delta","delta":{"message":{"content":{"text":"\\ud83d"}}}}', [Text("\ud83d")]),
        (b"[DONE]", [End()]),
    ],
)
def test_what_an_event_of_v2_says(payload, said):
    """Text and thinking are told, the plan for the tools is not; the end is a finish."""
    assert decode(payload) == said


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        (line("stream-start", generation_id="g"), [Start("g")]),
        (line("text-generation", text="a"), [Text("a")]),
        (line("text-generation", text=""), []),
        (line("search-queries-generation", search_queries=[{"text": "q"}]), []),
        (line("stream-end", finish_reason="COMPLETE"), [Finish("stop", "COMPLETE"), End()]),
        (
            line("stream-end", finish_reason="MAX_TOKENS", response={"text": "whole", "meta": TOKENS}),
            [Usage(12, 5, None, 8), Finish("length", "MAX_TOKENS"), End()],
        ),
        (line("stream-end", finish_reason="ERROR_TOXIC"), [Finish("content_filter", "ERROR_TOXIC"), End()]),
        (line("stream-end", finish_reason="ERROR_LIMIT"), [Finish("length", "ERROR_LIMIT"), End()]),
        (line("stream-end", finish_reason="ERROR"), [Failure("upstream_error", FAILED)]),
        (line("stream-end", finish_reason="ERROR", error="no GPU"), [Failure("upstream_error", "no GPU")]),
        (line("stream-end"), [End()]),
        ({"message": "internal"}, [Failure("upstream_error", "internal")]),
    ],
)
def test_what_a_line_of_v1_says(payload, said):
    """The last one repeats the whole text, which is no delta."""
    assert decode(payload) == said


def test_calls_of_v2_come_in_fragments():
    """One object each, in their order; an end without fragments has the arguments of the start."""

    def call(index, **function):
        return event("tool-call-delta", index, tool_calls={"function": function})

    def opening(index, id, name, arguments):
        function = {"name": name, "arguments": arguments}
        return event(
            "tool-call-start", index, tool_calls={"id": id, "type": "function", "function": function}
        )

    events = decode(
        opening(0, "a", "f", ""),
        call(0, arguments='{"x"'),
        call(0, arguments=":1}"),
        {"type": "tool-call-end", "index": 0},
        opening(1, "b", "g", '{"y":2}'),
        call(1, arguments=""),
        {"type": "tool-call-end", "index": 1},
        opening(2, "c", "h", ""),
        {"type": "tool-call-end", "index": 2},
        call(7, arguments="nobody's"),
    )

    assert events == [
        ToolCall(0, "", "a", "f"),
        ToolCall(0, '{"x"'),
        ToolCall(0, ":1}"),
        ToolCall(1, "", "b", "g"),
        ToolCall(1, '{"y":2}'),
        ToolCall(2, "", "c", "h"),
    ]


def test_calls_of_v1_come_in_fragments_and_whole_once_more():
    """The text beside them is the plan; those that never came in fragments are read whole."""
    fragment = {"index": 0, "parameters": '{"x":'}
    events = decode(
        line("tool-calls-chunk", text="I will"),
        line("tool-calls-chunk", tool_call_delta={"index": 0, "name": "f"}),
        line("tool-calls-chunk", tool_call_delta={"index": 1, "name": "g"}),
        line("tool-calls-chunk", tool_call_delta=fragment),
        line("tool-calls-chunk", tool_call_delta={"index": 0, "name": "f", "parameters": "1}"}),
        line(
            "tool-calls-generation",
            text="I will call f, g and h.",
            tool_calls=[
                {"name": "f", "parameters": {"x": 1}},
                {"name": "g", "parameters": {"y": 2}},
                {"name": "h", "parameters": {}},
            ],
        ),
    )

    assert events == [
        ToolCall(0, "", None, "f"),
        ToolCall(1, "", None, "g"),
        ToolCall(0, '{"x":'),
        ToolCall(0, "1}"),
        ToolCall(1, '{"y":2}'),
        ToolCall(2, "{}", None, "h"),
    ]


def test_citations_name_their_sources():
    """One each; of documents, of what tools said, and of documents that came before (v1)."""
    document = {"type": "document", "id": "d", "document": {"url": "u", "title": "t"}}
    cited = {"start": 2, "end": 5, "text": "abc"}
    events = decode(
        event(
            "citation-start",
            0,
            citations={**cited, "sources": [document, {"type": "tool", "tool_output": {"n": 1}}]},
        ),
        event("citation-start", 1, citations={**cited, "sources": []}),
        {"type": "citation-end", "index": 1},
        line("search-results", documents=[{"id": "web_0", "url": "w", "title": 7}]),
        line("citation-generation", citations=[{**cited, "document_ids": ["web_0", "web_1"]}]),
    )

    assert events == [
        Citation("u", "t", "abc", 2, 5),
        Citation(None, None, "abc", 2, 5),
        Citation(None, None, "abc", 2, 5),
        Citation("w", None, "abc", 2, 5),
        Citation(None, None, "abc", 2, 5),
    ]


CALL = {"id": "a", "function": {"name": "f", "arguments": '{"x":1}'}}


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (
            {
                "id": "i",
                "message": {
                    "role": "assistant",
                    "content": [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "a"}],
                    "citations": [{"start": 0, "end": 1, "text": "a", "sources": []}],
                },
                "finish_reason": "COMPLETE",
                "usage": TOKENS,
            },
            [Start("i"), Reasoning("hm"), Text("a"), Citation(None, None, "a", 0, 1), Usage(12, 5, None, 8)],
        ),
        (
            {
                "id": "i",
                "message": {"tool_plan": "I will", "tool_calls": [CALL]},
                "finish_reason": "COMPLETE",
            },
            [Start("i"), ToolCall(0, '{"x":1}', "a", "f")],
        ),
        (
            {"id": "i", "message": {"content": "a"}, "finish_reason": "COMPLETE"},
            [Start("i"), Text("a")],
        ),
        (
            {"generation_id": "g", "text": "a", "finish_reason": "COMPLETE", "meta": TOKENS},
            [Start("g"), Text("a"), Usage(12, 5, None, 8)],
        ),
        (
            {
                "generation_id": "g",
                "text": "I will",
                "tool_calls": [{"name": "f", "parameters": {"x": 1}}],
                "finish_reason": "COMPLETE",
            },
            [Start("g"), ToolCall(0, '{"x":1}', None, "f")],
        ),
    ],
)
def test_a_complete_answer(answer, said):
    """Of either version; a client that waits for events cannot read it."""
    dialect = DIALECTS["cohere"]()

    assert dialect.decode(frame(answer)) == [*said, Finish("stop", "COMPLETE"), End()]
    assert dialect.carry(frame(answer)) is None


def test_what_is_no_json_is_a_bad_event():
    """A broken event is never passed over."""
    with pytest.raises(WireError):
        decode(b'{"type":')
