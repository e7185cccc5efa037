import base64
import json

import pytest

from ssegate.wire.dialects import DIALECTS
from ssegate.wire.errors import WireError
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


def decode(*frames):
    dialect = DIALECTS["bedrock"]()
    return [said for event, data in frames for said in dialect.decode(frame(event, data))]


def frame(event, data):
    return Frame(event, data if isinstance(data, bytes) else json.dumps(data).encode())


def delta(at=0, **members):
    return ("contentBlockDelta", {"contentBlockIndex": at, "delta": members, "p": "abc"})


def chunk(said):
    data = said if isinstance(said, bytes) else json.dumps(said).encode()
    return ("chunk", {"bytes": base64.b64encode(data).decode(), "p": "abcd"})


def invoked(*said):
    return decode(*map(chunk, said))


# Converse


@pytest.mark.parametrize(
    ("event", "said"),
    [
        (("messageStart", {"role": "assistant"}), []),
        (delta(text="a"), [Text("a")]),
        (delta(text=""), []),
        (delta(reasoningContent={"text": "t"}), [Reasoning("t")]),
        (delta(reasoningContent={"signature": "s"}), []),
        (delta(reasoningContent={"redactedContent": "YQ=="}), []),
        (delta(toolResult=[{"json": {}}]), []),
        (
            delta(
                citation={
                    "title": "t",
                    "sourceContent": [{"text": "a"}, {"text": "b"}],
                    "location": {"web": {"url": "u", "domain": "d"}},
                }
            ),
            [Citation("u", "t", "ab")],
        ),
        (delta(citation={"source": "s", "location": {"documentChar": {"start": 1}}}), [Citation("s")]),
        (("messageStop", {"stopReason": "max_tokens"}), [Finish("length", "max_tokens")]),
        (
            ("messageStop", {"stopReason": "malformed_tool_use"}),
            [Finish("other", "malformed_tool_use")],
        ),
        (("metadata", {"metrics": {}}), [End()]),
        (
            (
                "metadata",
                {
                    "usage": {
                        "inputTokens": 1,
                        "outputTokens": 2,
                        "cacheReadInputTokens": 3,
                        "cacheWriteInputTokens": 4,
                    }
                },
            ),
            [Usage(8, 2, None, 3), End()],
        ),
        (("initial-response", {}), []),
        (("contentBlockStart", {"contentBlockIndex": 0, "start": {"image": {"format": "png"}}}), []),
        (delta(text=7, reasoningContent={"text": "t"}), [Reasoning("t")]),
        (("messageStop", b" "), []),
    ],
)
def test_what_an_event_of_converse_says(event, said):
    """Text and thinking, sources, the reason and the usage after it."""
    assert decode(event) == said


def start(at, **use):
    return ("contentBlockStart", {"contentBlockIndex": at, "start": {"toolUse": use}})


def stop(at):
    return ("contentBlockStop", {"contentBlockIndex": at})


def test_calls_of_converse():
    """Blocks of several calls may interleave; one without input has none."""
    events = [
        start(1, toolUseId="c", name="f"),
        delta(1, toolUse={"input": ""}),
        start(2, toolUseId="d", name="g"),
        delta(1, toolUse={"input": '{"a"'}),
        delta(2, toolUse={"input": "{}"}),
        delta(1, toolUse={"input": ":1}"}),
        *map(stop, (1, 2)),
        start(3, toolUseId="e", name="h"),
        stop(3),
        delta(1, toolUse={"input": "late"}),
    ]

    assert decode(*events) == [
        ToolCall(0, "", "c", "f"),
        ToolCall(1, "", "d", "g"),
        ToolCall(0, '{"a"'),
        ToolCall(1, "{}"),
        ToolCall(0, ":1}"),
        ToolCall(2, "", "e", "h"),
    ]


def test_tools_that_aws_runs_are_no_calls():
    """Their results are in the stream already: nobody is to make the call."""
    events = [
        start(0, toolUseId="s", name="nova_code_interpreter", type="server_tool_use"),
        delta(0, toolUse={"input": "{}"}),
        stop(0),
        start(1, toolUseId="c", name="f", type="tool_use"),
    ]

    assert decode(*events) == [ToolCall(0, "", "c", "f")]


def test_a_choice_finishes_once():
    """Whoever says so, and however often."""
    said = invoked(
        {"messageStop": {"stopReason": "end_turn"}, "stop_reason": "stop"},
        {"outputs": [{"text": "", "stop_reason": "length"}]},
    )

    assert said == [Finish("stop", "end_turn")]


def test_a_complete_answer_of_converse():
    """Everything at once, where a stream was asked for."""
    document = {
        "output": {
            "message": {
                "role": "assistant",
                "content": [
                    {"reasoningContent": {"reasoningText": {"text": "t", "signature": "s"}}},
                    {"text": "a"},
                    {"citationsContent": {"content": [{"text": "b"}], "citations": [{"title": "x"}]}},
                    {"toolUse": {"toolUseId": "c", "name": "f", "input": {"a": 1}}},
                    {"toolUse": {"toolUseId": "s", "name": "x", "input": {}, "type": "server_tool_use"}},
                    {"toolUse": {"toolUseId": "d", "name": "g", "input": {}}},
                ],
            }
        },
        "stopReason": "tool_use",
        "usage": {"inputTokens": 1, "outputTokens": 2},
    }

    assert decode(("", document)) == [
        Reasoning("t"),
        Text("a"),
        Text("b"),
        Citation(None, "x"),
        ToolCall(0, '{"a":1}', "c", "f"),
        ToolCall(1, "{}", "d", "g"),
        Usage(1, 2),
        Finish("tool_calls", "tool_use"),
        End(),
    ]


# Models that speak for themselves

METRICS = {"amazon-bedrock-invocationMetrics": {"inputTokenCount": 7, "outputTokenCount": 9}}


@pytest.mark.parametrize(
    ("chunks", "said"),
    [
        pytest.param(
            [
                {"outputText": "a", "index": 0.0, "inputTextTokenCount": 7.0},
                {
                    "outputText": "b",
                    "totalOutputTextTokenCount": 9.0,
                    "completionReason": "LENGTH",
                    **METRICS,
                },
            ],
            [Text("a"), Usage(7), Text("b"), Usage(7, 9), Finish("length", "LENGTH"), End()],
            id="Titan",
        ),
        pytest.param(
            [
                {
                    "generation": "a",
                    "prompt_token_count": 7,
                    "generation_token_count": 1,
                    "stop_reason": None,
                },
                {"generation": "", "generation_token_count": 9, "stop_reason": "stop", **METRICS},
            ],
            [Text("a"), Usage(7, 1), Usage(7, 9), Finish("stop", "stop"), End()],
            id="Llama",
        ),
        pytest.param(
            [
                {"outputs": [{"text": "a", "stop_reason": None}]},
                {"outputs": [{"text": "", "stop_reason": "length"}], **METRICS},
            ],
            [Text("a"), Usage(7, 9), Finish("length", "length"), End()],
            id="Mistral",
        ),
        pytest.param(
            [
                {
                    "choices": [
                        {"index": 0, "message": {"role": "assistant", "content": "a"}, "stop_reason": None}
                    ]
                },
                {
                    "choices": [
                        {
                            "index": 0,
                            "message": {
                                "content": "",
                                "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": "{}"}}],
                            },
                            "stop_reason": "tool_calls",
                        }
                    ],
                    **METRICS,
                },
            ],
            [
                Text("a"),
                ToolCall(0, "{}", "c", "f"),
                Usage(7, 9),
                Finish("tool_calls", "tool_calls"),
                End(),
            ],
            id="Mistral Large",
        ),
        pytest.param(
            [
                {"choices": [{"index": 0, "text": "a", "stop_reason": None}]},
                {"choices": [{"index": 0, "text": "", "stop_reason": "stop"}], **METRICS},
            ],
            [Text("a"), Usage(7, 9), Finish("stop", "stop"), End()],
            id="DeepSeek",
        ),
        pytest.param(
            [
                {"completion": " a", "stop_reason": None, "stop": None},
                {"completion": "", "stop_reason": "stop_sequence", **METRICS},
            ],
            [Text(" a"), Usage(7, 9), Finish("stop", "stop_sequence"), End()],
            id="Claude 2",
        ),
        pytest.param(
            [
                {"is_finished": False, "text": "a"},
                {"is_finished": True, "finish_reason": "MAX_TOKENS", **METRICS},
            ],
            [Text("a"), Usage(7, 9), Finish("length", "MAX_TOKENS"), End()],
            id="Command",
        ),
        pytest.param(
            [
                {"event_type": "text-generation", "is_finished": False, "text": "a"},
                {
                    "event_type": "tool-calls-generation",
                    "is_finished": False,
                    "tool_calls": [{"name": "f", "parameters": {"x": 1}}],
                },
                {"event_type": "stream-end", "is_finished": True, "finish_reason": "COMPLETE", **METRICS},
            ],
            [
                Text("a"),
                ToolCall(0, '{"x":1}', None, "f"),
                Usage(7, 9),
                Finish("stop", "COMPLETE"),
                End(),
            ],
            id="Command R",
        ),
        pytest.param(
            [
                {
                    "id": "i",
                    "model": "m",
                    "object": "chat.completion.chunk",
                    "choices": [{"index": 0, "delta": {"content": "a"}, "finish_reason": None}],
                },
                {
                    "id": "i",
                    "object": "chat.completion.chunk",
                    "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}],
                    **METRICS,
                },
            ],
            [Start("i", "m"), Text("a"), Usage(7, 9), Finish("stop", "stop"), End()],
            id="OpenAI",
        ),
        pytest.param(
            [
                {"type": "ping"},
                {"type": "message_start", "message": {"id": "i", "model": "m"}},
                {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "a"}},
                {
                    "type": "message_delta",
                    "delta": {"stop_reason": "end_turn"},
                    "usage": {"output_tokens": 5},
                },
                {"type": "message_stop", **METRICS},
            ],
            [
                Start("i", "m"),
                Text("a"),
                Usage(None, 5),
                Finish("stop", "end_turn"),
                Usage(7, 5),
                End(),
            ],
            id="Claude",
        ),
        pytest.param(
            [
                {"messageStart": {"role": "assistant"}},
                {"contentBlockDelta": {"delta": {"text": "a"}, "contentBlockIndex": 0}},
                {
                    "contentBlockStart": {
                        "start": {"toolUse": {"toolUseId": "c", "name": "f"}},
                        "contentBlockIndex": 1,
                    }
                },
                {"contentBlockDelta": {"delta": {"toolUse": {"input": "{}"}}, "contentBlockIndex": 1}},
                {"contentBlockStop": {"contentBlockIndex": 1}},
                {"messageStop": {"stopReason": "tool_use"}},
                {"metadata": {"usage": {"inputTokens": 7, "outputTokens": 9}}, **METRICS},
            ],
            [
                Text("a"),
                ToolCall(0, "", "c", "f"),
                ToolCall(0, "{}"),
                Finish("tool_calls", "tool_use"),
                Usage(7, 9),
                End(),
            ],
            id="Nova",
        ),
    ],
)
def test_each_family_is_read_in_its_own_words(chunks, said):
    """Text, calls and reasons; Bedrock's counts where the model has none, and what only they tell."""
    assert invoked(*chunks) == said


def test_counts_of_the_model_count_more():
    """Anthropic's own output is what it charges; Bedrock's metrics leave part of it out."""
    said = invoked(
        {"type": "message_start", "message": {"usage": {"input_tokens": 3, "output_tokens": 1}}},
        {"type": "message_delta", "delta": {}, "usage": {"output_tokens": 5}},
        {"type": "message_stop", **METRICS},
    )

    assert said == [Usage(3), Usage(3, 5), End()]


@pytest.mark.parametrize(
    ("said", "events"),
    [
        (
            {
                "outputText": "no",
                "totalOutputTextTokenCount": 3.0,
                "amazon-bedrock-guardrailAction": "INTERVENED",
            },
            [Text("no"), Usage(None, 3), Finish("content_filter", "INTERVENED")],
        ),
        ({"outputText": "a", "amazon-bedrock-guardrailAction": "INTERVENED"}, [Text("a")]),
        (
            {"outputText": "a", "totalOutputTextTokenCount": 3.0, "amazon-bedrock-guardrailAction": "NONE"},
            [Text("a"), Usage(None, 3)],
        ),
    ],
)
def test_a_guardrail_that_blocks_is_the_finish(said, events):
    """Titan gives no other reason then; one that only masks words is none."""
    assert invoked(said) == events


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (
            {
                "inputTextTokenCount": 7,
                "results": [{"tokenCount": 9, "outputText": "a", "completionReason": "FINISH"}],
            },
            [Text("a"), Usage(7, 9), Finish("stop", "FINISH")],
        ),
        (
            {
                "generation": "a",
                "prompt_token_count": 7,
                "generation_token_count": 9,
                "stop_reason": "length",
            },
            [Text("a"), Usage(7, 9), Finish("length", "length")],
        ),
        (
            {
                "type": "message",
                "id": "i",
                "content": [{"type": "text", "text": "a"}],
                "stop_reason": "end_turn",
            },
            [Start("i"), Text("a"), Finish("stop", "end_turn"), End()],
        ),
    ],
)
def test_complete_answers_of_models(document, said):
    """They have the shape of a chunk, or one of their own."""
    assert decode(("", document)) == said


def test_a_model_that_reports_an_error():
    """In the shape of its own dialect."""
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "m"}}

    assert invoked(error) == [Failure("upstream_error", "m", upstream_type="overloaded_error")]
    assert invoked({"error": {"message": "m"}}) == [Failure("upstream_error", "m")]


def test_empty_chunks_say_nothing():
    """Neither without bytes nor with blanks."""
    assert decode(("chunk", {"p": "a"}), chunk(b""), chunk(b" \n"), chunk({})) == []


@pytest.mark.parametrize("data", [b"{", b"[]", b"7"])
def test_what_a_model_says_must_be_an_object(data):
    """What cannot be read is never passed over."""
    with pytest.raises(WireError):
        decode(chunk(data))


def test_bytes_must_be_base64():
    """Nothing of an answer is lost in silence."""
    with pytest.raises(WireError):
        decode(("chunk", {"bytes": "%%%"}))


# Failures


@pytest.mark.parametrize(
    ("event", "data", "failure"),
    [
        (
            "exception:throttlingException",
            {"message": "Too many tokens"},
            Failure("upstream_error", "Too many tokens", 429, "throttlingException"),
        ),
        (
            "exception:modelStreamErrorException",
            {"message": "m", "originalStatusCode": 500, "originalMessage": "x"},
            Failure("upstream_error", "m", 500, "modelStreamErrorException"),
        ),
        (
            "exception:newException",
            b"",
            Failure("upstream_error", "newException", None, "newException"),
        ),
        (
            "error:InternalFailure",
            {"message": "boom"},
            Failure("upstream_error", "boom", None, "InternalFailure"),
        ),
        ("error:", {"message": ""}, Failure("upstream_error", "the upstream reported an error")),
    ],
)
def test_an_exception_ends_the_stream(event, data, failure):
    """It keeps its type, and has the status it would have had before the stream."""
    assert decode((event, data)) == [failure]


# Carried


@pytest.mark.parametrize(
    ("event", "last"),
    [
        (delta(text="a"), False),
        (chunk({"outputText": "a"}), False),
        (("messageStart", {"role": "assistant"}), False),
        (("messageStop", {"stopReason": "end_turn"}), True),
        (("metadata", {"usage": {"inputTokens": 1}}), True),
        (chunk({"type": "message_stop"}), True),
    ],
)
def test_every_event_is_carried_as_it_came(event, last):
    """Under its name, and by itself: nothing of another vendor's is joined."""
    dialect = DIALECTS["bedrock"]()
    one = frame(*event)
    dialect.decode(one)
    carried = dialect.carry(one)

    assert (carried.event, carried.head + carried.body + carried.tail) == (one.event, one.data)
    assert (carried.key, carried.last) == (None, last)


@pytest.mark.parametrize(
    "event", [("exception:throttlingException", {"message": "m"}), ("", {"output": {"message": {}}})]
)
def test_failures_and_complete_answers_are_not_carried(event):
    """They are written by the format."""
    dialect = DIALECTS["bedrock"]()
    dialect.decode(frame(*event))

    assert dialect.carry(frame(*event)) is None
