import json

import pytest
from wire.recordings import recording

from ssegate.wire.dialects import DIALECTS
from ssegate.wire.events import (
    Citation,
    End,
    Failure,
    Finish,
    Frame,
    Reasoning,
    Start,
    Text,
    ToolCall,
    Usage,
)

from .reading import frames_of, gather, read


def decode(*chunks, event=""):
    dialect = DIALECTS["gemini"]()
    frames = (chunk if isinstance(chunk, bytes) else json.dumps(chunk).encode() for chunk in chunks)
    return [said for data in frames for said in dialect.decode(Frame(event, data))]


def candidate(*parts, **more):
    return {"candidates": [{"content": {"parts": list(parts), "role": "model"}, **more}]}


def call(**members):
    return candidate({"functionCall": members})


@pytest.mark.parametrize(
    ("chunk", "said"),
    [
        (candidate({"text": "a"}), [Text("a")]),
        (candidate({"text": "a"}, {"text": "b", "thought": True}), [Text("a"), Reasoning("b")]),
        (candidate({"text": "a"}, index=1), [Text("a", 1)]),
        (candidate({"text": "", "thoughtSignature": "x"}), []),
        (candidate({"inlineData": {"mimeType": "image/png", "data": "x"}}), []),
        (candidate({"executableCode": {"language": "PYTHON", "code": "1"}}), []),
        ({"candidates": [{"content": {"missing-parts": True}, "index": 0}]}, []),
        ({"candidates": [{"finishReason": "MAX_TOKENS"}]}, [Finish("length", "MAX_TOKENS")]),
        ({"candidates": [{"finishReason": "FINISH_REASON_UNSPECIFIED"}]}, []),
        ({"candidates": [{"finishReason": 0}]}, []),
        ({"candidates": [{"finishReason": 2}]}, [Finish("length", "2")]),
        ({"candidates": [{"finishReason": "NEW_WORD"}]}, [Finish("other", "NEW_WORD")]),
        ({"promptFeedback": {"blockReason": "OTHER"}}, [Finish("content_filter", "OTHER")]),
        ({"promptFeedback": {"blockReason": 1}}, [Finish("content_filter", "1")]),
        ({"promptFeedback": {"safetyRatings": []}}, []),
        ({"promptFeedback": {"blockReason": "BLOCK_REASON_UNSPECIFIED"}}, []),
        ({"candidates": None, "usageMetadata": {"trafficType": "ON_DEMAND"}}, []),
        ({"responseId": "i", "modelVersion": "m"}, [Start("i", "m")]),
        (b'{"candidates":[{"content":{"parts":[{"text":"\\ud83d"}]}}]}', [Text("\ud83d")]),
        (b'{"candidates":[{"content":"x","finishReason":"STOP"}]}', [Finish("stop", "STOP")]),
        (b" ", []),
    ],
)
def test_what_a_chunk_says(chunk, said):
    """Text, thinking, ends in words and numbers; what a client has no word for says nothing."""
    assert decode(chunk) == said


def test_candidates_without_an_index_are_counted():
    """Several in one chunk are several choices."""
    chunk = {"candidates": [{"content": {"parts": [{"text": text}]}} for text in "ab"]}

    assert decode(chunk) == [Text("a"), Text("b", 1)]


def test_everything_at_once_in_its_order():
    """Content, sources, usage, the end: a reader that stops at the end has missed nothing."""
    chunk = candidate({"text": "a"}, finishReason="STOP")
    chunk["candidates"][0]["citationMetadata"] = {"citationSources": [{"uri": "u"}]}
    chunk["usageMetadata"] = {"promptTokenCount": 2, "candidatesTokenCount": 3}

    assert decode(chunk) == [Text("a"), Citation("u"), Usage(2, 3), Finish("stop", "STOP")]


def test_usage_keeps_what_a_later_report_leaves_out():
    """Counts run from chunk to chunk; thinking is output, tools are input."""
    first = {"promptTokenCount": 5, "thoughtsTokenCount": 7, "cachedContentTokenCount": 2}
    last = {"promptTokenCount": 6, "toolUsePromptTokenCount": 10, "candidatesTokenCount": 3}

    assert decode({"usageMetadata": first}, {"usageMetadata": last}) == [
        Usage(5, 7, 7, 2),
        Usage(16, 10, 7, 2),
    ]


def test_a_later_finish_counts():
    """Older Vertex models say STOP with every chunk, and the truth with the last."""
    chunks = [candidate({"text": text}, finishReason="STOP") for text in "ab"]

    assert decode(*chunks, {"candidates": [{"finishReason": "SAFETY"}]}) == [
        Text("a"),
        Finish("stop", "STOP"),
        Text("b"),
        Finish("content_filter", "SAFETY"),
    ]


def test_other_choices_finish_once():
    """Only the finish of choice 0 is held back for the end."""
    chunks = [{"candidates": [{"index": 1, "finishReason": reason}]} for reason in ("STOP", "SAFETY")]

    assert decode(*chunks) == [Finish("stop", "STOP", 1)]


# Calls


def test_whole_calls():
    """Several in one chunk, with or without id and arguments."""
    chunk = candidate(
        {"functionCall": {"name": "f", "args": {"a": "é"}}},
        {"functionCall": {"name": "f", "id": "c"}},
        {"functionCall": {"name": "g", "args": {}}},
    )

    assert decode(chunk, call(name="h", args=None)) == [
        ToolCall(0, '{"a":"\\u00e9"}', None, "f"),
        ToolCall(1, "", "c", "f"),
        ToolCall(2, "{}", None, "g"),
        ToolCall(3, "", None, "h"),
    ]


def test_each_choice_counts_its_calls():
    """Calls of two candidates are not mixed."""
    said = decode(*[candidate({"functionCall": {"name": "f"}}, index=index) for index in (0, 1)])

    assert said == [ToolCall(0, "", None, "f"), ToolCall(0, "", None, "f", choice=1)]


PARTS = [
    call(name="f", id="c", willContinue=True),
    call(partialArgs=[{"jsonPath": "$.city", "stringValue": "Bos", "willContinue": True}], willContinue=True),
    call(partialArgs=[{"jsonPath": "$.city", "stringValue": "ton"}], willContinue=True),
]
FRAGMENTS = [ToolCall(0, "", "c", "f"), ToolCall(0, '{"city":"Bos'), ToolCall(0, "ton")]


@pytest.mark.parametrize(
    ("end", "said"),
    [
        ([call()], [ToolCall(0, '"}')]),
        (
            [call(partialArgs=[{"jsonPath": "$.days", "numberValue": 2}])],
            [ToolCall(0, '","days":2'), ToolCall(0, "}")],
        ),
        (
            [{"candidates": [{"finishReason": "STOP"}]}],
            [ToolCall(0, '"}'), Finish("stop", "STOP")],
        ),
        ([call(name="g")], [ToolCall(0, '"}'), ToolCall(1, "", None, "g")]),
        ([call(), call()], [ToolCall(0, '"}')]),
    ],
)
def test_a_call_in_parts(end, said):
    """An empty call ends it, or parts that do not continue, or whatever else shows that it is over."""
    assert decode(*PARTS, *end) == FRAGMENTS + said


def test_a_call_in_parts_without_any():
    """Opened, and ended with nothing in between, or with everything."""
    opening = call(name="f", willContinue=True)

    assert decode(opening, call()) == [ToolCall(0, "", None, "f")]
    assert decode(opening, call(args={"a": 1})) == [ToolCall(0, "", None, "f"), ToolCall(0, '{"a":1}')]


def test_arguments_of_a_call_without_a_name():
    """They are told, though nobody knows what they are for."""
    assert decode(call(args={"a": 1})) == [ToolCall(0, '{"a":1}', None, "")]


# Sources


def grounded(text, **metadata):
    return candidate({"text": text}, groundingMetadata=metadata)


def test_grounding_tells_which_source_bears_what():
    """A stretch may rest on several sources; a source that bears nothing in particular is told, too."""
    chunk = grounded(
        "ab",
        groundingChunks=[
            {"web": {"uri": "u", "title": "t"}},
            {"retrievedContext": {"uri": "v", "text": "x"}},
            {"maps": {"uri": "w"}},
        ],
        groundingSupports=[
            {"segment": {"endIndex": 1}, "groundingChunkIndices": [0, 1]},
            {"segment": {"startIndex": 1, "endIndex": 2}, "groundingChunkIndices": [1, 9]},
        ],
    )

    assert decode(chunk, chunk)[1:-1] == [
        Citation("u", "t", None, 0, 1),
        Citation("v", None, "x", 0, 1),
        Citation("v", None, "x", 1, 2),
        Citation("w"),
    ]


def test_offsets_are_in_characters():
    """Gemini counts bytes of UTF-8 over all that was said before."""
    support = {"segment": {"startIndex": 5, "endIndex": 9}, "groundingChunkIndices": [0]}
    chunk = grounded("é😀", groundingChunks=[{"web": {"uri": "u"}}], groundingSupports=[support])

    assert decode(candidate({"text": "abc"}), chunk)[2:] == [Citation("u", None, None, 4, 5)]


def test_offsets_beyond_what_has_been_said():
    """What is not known yet counts as ASCII."""
    sources = {"citations": [{"uri": "u", "startIndex": 1, "endIndex": 9}]}
    chunk = candidate({"text": "aé"}, citationMetadata=sources)

    assert decode(chunk)[1:] == [Citation("u", None, None, 1, 8)]


def test_recorded_sources_stand_where_they_belong():
    """The stretches of a recorded answer are those that Google quotes with them."""
    body = recording("gemini_sse/07-streaming-success-url-context.sse")
    told = gather(read("gemini", frames_of("sse", [body.body])))

    assert [(source.url, source.title) for source in told.citations] == [("https://google.com", "Google")] * 3
    quoted = [told.text[0][source.start : source.end] for source in told.citations]
    assert quoted[0].startswith("The Google homepage") and quoted[0].endswith("the Google logo")
    assert all(f'"text": {json.dumps(text)}' in body.body.decode() for text in quoted)


# Errors


@pytest.mark.parametrize(
    "data",
    [
        {"error": {"code": 429, "message": "m", "status": "RESOURCE_EXHAUSTED"}},
        candidate({"text": "a"}) | {"error": {"code": 429, "message": "m", "status": "RESOURCE_EXHAUSTED"}},
    ],
)
def test_errors(data):
    """An error is the last thing a stream says, after what came with it."""
    *_, failure = decode(data)

    assert failure == Failure("upstream_error", "m", 429, "RESOURCE_EXHAUSTED", 429)


def test_an_error_between_the_events():
    """Vertex breaks off with an indented object that is no event at all."""
    body = (
        b'data: {"candidates": [{"content": {"parts": [{"text": "First "}]}}]}\r\n\r\n'
        b'{\r\n  "error": {\r\n    "code": 499,\r\n    "message": "The operation was cancelled.",\r\n'
        b'    "status": "CANCELLED"\r\n  }\r\n}\r\n'
    )
    told = gather(read("gemini", frames_of("sse", [body])))

    assert told.text == {0: "First "}
    assert told.failure == Failure("upstream_error", "The operation was cancelled.", 499, "CANCELLED", 499)


# Interactions


def step(index, kind, **members):
    return {"event_type": "step.start", "index": index, "step": {"type": kind, **members}}


def delta(index, **members):
    return {"event_type": "step.delta", "index": index, "delta": members}


STOPPED = {"event_type": "step.stop", "index": 0}


@pytest.mark.parametrize(
    ("events", "said"),
    [
        ([step(0, "model_output"), delta(0, type="text", text="a"), STOPPED], [Text("a")]),
        ([step(0, "model_output", content=[{"type": "text", "text": "a"}])], [Text("a")]),
        ([step(0, "thought", summary=[{"text": "t"}])], [Reasoning("t")]),
        ([delta(0, type="thought_summary", content={"type": "text", "text": "t"})], [Reasoning("t")]),
        ([delta(0, type="thought_summary", content=None), delta(0, type="thought_signature")], []),
        (
            [
                step(0, "function_call", id="c", name="f", arguments={}),
                delta(0, type="arguments_delta", arguments='{"a"'),
                delta(0, type="arguments_delta", arguments=":1}"),
                STOPPED,
            ],
            [ToolCall(0, "", "c", "f"), ToolCall(0, '{"a"'), ToolCall(0, ":1}")],
        ),
        (
            [step(0, "function_call", id="c", name="f", arguments={"a": 1}), STOPPED],
            [ToolCall(0, "", "c", "f"), ToolCall(0, '{"a":1}')],
        ),
        ([step(0, "google_search_call", arguments={"queries": ["q"]}), STOPPED], []),
        (
            [
                delta(0, type="text", text="é"),
                delta(
                    0,
                    type="text_annotation_delta",
                    annotations=[{"url": "u", "title": "t", "start_index": 0, "end_index": 2}],
                ),
            ],
            [Text("é"), Citation("u", "t", None, 0, 1)],
        ),
        (
            [{"event_type": "interaction.created", "interaction": {"id": "i", "model": "m", "status": "x"}}],
            [Start("i", "m")],
        ),
        ([{"event_type": "interaction.status_update", "status": "in_progress"}], []),
        (
            [{"event_type": "step.stop", "index": 0, "metadata": {"usage": {"total_input_tokens": 3}}}],
            [Usage(3)],
        ),
        (
            [{"event_type": "interaction.completed", "interaction": {"status": "requires_action"}}],
            [Finish("tool_calls", "requires_action")],
        ),
        (
            [{"event_type": "interaction.completed", "interaction": {"status": "budget_exceeded"}}],
            [Finish("length", "budget_exceeded")],
        ),
        ([{"event_type": "interaction.requires_action"}], [Finish("tool_calls", "requires_action")]),
        (
            [{"event_type": "error", "error": {"code": "unavailable", "message": "m"}}],
            [Failure("upstream_error", "m", upstream_code="unavailable")],
        ),
        (
            [
                {
                    "event_type": "interaction.completed",
                    "interaction": {"status": "failed", "error": {"message": "m"}},
                }
            ],
            [Failure("upstream_error", "m")],
        ),
        ([{"event_type": "step.novelty", "index": 0}], []),
    ],
)
def test_what_an_interaction_says(events, said):
    """Steps of all kinds, the interaction's own life, and its usage."""
    assert decode(*events) == said


def test_an_interaction_whose_events_are_named_outside():
    """The name of the event stands in for its type."""
    chunk = {"index": 0, "delta": {"type": "text", "text": "a"}}

    assert decode(chunk, event="step.delta") == [Text("a")]


def test_a_complete_interaction():
    """Everything at once, where a stream was asked for."""
    document = {
        "id": "i",
        "object": "interaction",
        "model": "m",
        "status": "completed",
        "steps": [
            {"type": "thought", "summary": [{"text": "t"}]},
            {"type": "model_output", "content": [{"type": "text", "text": "a"}]},
            {"type": "function_call", "id": "c", "name": "f", "arguments": {"a": 1}},
        ],
        "usage": {"total_input_tokens": 1, "total_output_tokens": 2, "total_thought_tokens": 3},
    }

    assert decode(document) == [
        Start("i", "m"),
        Reasoning("t"),
        Text("a"),
        ToolCall(0, "", "c", "f"),
        ToolCall(0, '{"a":1}'),
        Usage(1, 5, 3),
        Finish("stop", "completed"),
        End(),
    ]
