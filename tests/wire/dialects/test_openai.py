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
    Refusal,
    Start,
    Text,
    ToolCall,
    Usage,
)


def decode(*payloads, event=""):
    """Decode payloads (objects or bytes), one frame each."""
    dialect = DIALECTS["openai"]()
    frames = (p if isinstance(p, bytes) else json.dumps(p).encode() for p in payloads)
    return [said for data in frames for said in dialect.decode(Frame(event, data))]


def chunk(delta=None, finish=None, index=0, **more):
    choice = {"index": index, "finish_reason": finish, **more}
    return {"choices": [choice if delta is None else {**choice, "delta": delta}]}


def calls(*fragments):
    return chunk({"tool_calls": list(fragments)})


def call(index=None, id=None, name=None, arguments=None):
    fragment = {"id": id, "function": {"name": name, "arguments": arguments}}
    return fragment if index is None else {"index": index, **fragment}


@pytest.mark.parametrize(
    ("delta", "said"),
    [
        ({"content": "a"}, [Text("a")]),
        ({"content": ""}, []),
        ({"role": "assistant", "content": None}, []),
        ({"refusal": "no", "content": None}, [Refusal("no")]),
        ({"reasoning_content": "r", "content": None}, [Reasoning("r")]),
        ({"reasoning": "r"}, [Reasoning("r")]),
        ({"reasoning": "r", "reasoning_content": "r"}, [Reasoning("r")]),
        ({"reasoning": "r", "reasoning_details": [{"text": "r"}]}, [Reasoning("r")]),
        (
            {"reasoning_details": [{"text": "r"}, {"summary": "s"}, {"data": "x"}]},
            [Reasoning("r"), Reasoning("s")],
        ),
        ({"content": "a", "reasoning": "r"}, [Reasoning("r"), Text("a")]),
        (
            {
                "content": [
                    {"type": "thinking", "thinking": [{"type": "text", "text": "t"}]},
                    {"type": "text", "text": "a"},
                ]
            },
            [Reasoning("t"), Text("a")],
        ),
        ({"content": [{"type": "reference", "reference_ids": [1]}]}, []),
        (
            {"content": [{"type": "thinking", "thinking": "t"}, {"type": "refusal", "refusal": "no"}]},
            [Reasoning("t"), Refusal("no")],
        ),
        (
            {
                "annotations": [
                    {
                        "type": "url_citation",
                        "url_citation": {"url": "u", "title": "t", "start_index": 1, "end_index": 2},
                    }
                ]
            },
            [Citation("u", "t", None, 1, 2)],
        ),
        ({"annotations": [{"url": "u", "title": "t", "content": "c"}]}, [Citation("u", "t", "c")]),
        ({}, []),
    ],
)
def test_what_a_delta_says(delta, said):
    """One event for each thing said, reasoning once however often it is spelled."""
    assert decode(chunk(delta)) == said


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        ({"text": "a"}, [Text("a", 0)]),
        ({"text": "a", "delta": {"content": "a"}}, [Text("a")]),
        ({"message": {"content": "a"}, "delta": {"content": "a"}}, [Text("a")]),
        ({"index": 3, "delta": {"content": "a"}}, [Text("a", 3)]),
        ({"index": None, "delta": {"content": "a"}}, [Text("a")]),
        ({"content_filter_results": {"hate": {}}, "content_filter_offsets": {}}, []),
        ({"delta": None, "finish_reason": ""}, []),
    ],
)
def test_a_choice_is_read_once(choice, said):
    """Where a vendor says the same in two places, one of them is read; a choice without delta is no news."""
    assert decode({"choices": [choice]}) == said


def test_the_first_id_and_model_that_are_not_empty_count():
    """Azure's first chunk has neither; compound models change the id with every chunk."""
    events = decode(
        {"id": "", "model": "", "choices": []},
        {"id": "a", "model": "", "choices": []},
        {"id": "b", "model": "m", "choices": []},
        {"id": "c", "model": "n", "choices": []},
    )

    assert events == [Start("a", None), Start("a", "m")]


def test_a_finish_chunk_is_read_in_full():
    """Text, calls and usage of the chunk that finishes come before its finish."""
    payload = {
        "choices": [
            {
                "delta": {"content": "a", "tool_calls": [call(0, "c", "f", "{}")]},
                "finish_reason": "tool_calls",
            }
        ],
        "usage": {"prompt_tokens": 1, "completion_tokens": 2},
    }

    assert decode(payload) == [
        Text("a"),
        ToolCall(0, "{}", "c", "f"),
        Usage(1, 2),
        Finish("tool_calls", "tool_calls"),
    ]


def test_a_finish_is_told_once_for_each_choice():
    """OpenRouter says it twice; null, empty and absent mean not yet."""
    events = decode(
        chunk({}, None), chunk({}, ""), chunk({}, "stop"), chunk({}, "length"), chunk({}, "length", index=1)
    )

    assert events == [Finish("stop", "stop"), Finish("length", "length", 1)]


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("stop", "stop"),
        ("eos", "stop"),
        ("eos_token", "stop"),
        ("length", "length"),
        ("model_length", "length"),
        ("function_call", "tool_calls"),
        ("content_filter", "content_filter"),
        ("SAFETY", "content_filter"),
        ("error", "other"),
        ("insufficient_system_resource", "other"),
        (1, "stop"),
    ],
)
def test_every_finish_reason_has_one_of_our_words(word, reason):
    """The vendor's own word stays beside it."""
    assert decode(chunk({}, word)) == [Finish(reason, str(word))]


def test_the_end_mark():
    """``[DONE]``, with blanks too, is the end."""
    assert decode(b"[DONE]") == decode(b" [DONE] ") == decode(b"[DONE]\n") == [End()]


@pytest.mark.parametrize(
    "payload",
    [
        {"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 2}},
        {"usage": {"prompt_tokens": 1, "completion_tokens": 2}},
        {"choices": [], "x_groq": {"usage": {"prompt_tokens": 1, "completion_tokens": 2}}},
        {
            "choices": [
                {"delta": {}, "usage": {"prompt_tokens": 1, "completion_tokens": 2}, "finish_reason": None}
            ]
        },
    ],
)
def test_usage_is_found_wherever_it_stands(payload):
    """At the top, in Groq's object, in the choice; without choices too."""
    assert decode(payload) == [Usage(1, 2)]


@pytest.mark.parametrize(
    ("usage", "said"),
    [
        ({"completion_tokens_details": {"reasoning_tokens": 3}, "completion_tokens": 5}, Usage(None, 5, 3)),
        ({"prompt_tokens": 5, "prompt_tokens_details": {"cached_tokens": 4}}, Usage(5, None, None, 4)),
        ({"prompt_tokens": 5, "prompt_cache_hit_tokens": 4}, Usage(5, None, None, 4)),
        ({"prompt_tokens": 5, "cached_tokens": 0}, Usage(5, None, None, 0)),
        ({"completion_tokens": 5, "reasoning_tokens": 0}, Usage(None, 5, 0)),
        (
            {
                "prompt_tokens": 12,
                "completion_tokens": 2,
                "total_tokens": 354,
                "completion_tokens_details": {"reasoning_tokens": 340},
            },
            Usage(12, 342, 340),
        ),
        (
            {
                "prompt_tokens": 10,
                "completion_tokens": 20,
                "total_tokens": 30,
                "completion_tokens_details": {"reasoning_tokens": 15},
            },
            Usage(10, 20, 15),
        ),
    ],
)
def test_usage_in_our_words(usage, said):
    """Output includes reasoning (xAI's does not), details from any place; what is not said stays None."""
    assert decode({"choices": [], "usage": usage}) == [said]


def test_usage_that_says_nothing_is_none():
    """An empty object is no report."""
    assert decode({"choices": [], "usage": {}}, {"choices": [], "usage": {"x": 1}}) == []


@pytest.mark.parametrize(
    ("fragments", "said"),
    [
        pytest.param(
            [calls(call(0, "a", "f", "")), calls(call(0, None, None, "{")), calls(call(0, "", "", "}"))],
            [ToolCall(0, "", "a", "f"), ToolCall(0, "{"), ToolCall(0, "}")],
            id="null and empty ids say nothing",
        ),
        pytest.param(
            [calls(call(0, "a", "f", "1")), calls(call(0, "a", "f", "2"))],
            [ToolCall(0, "1", "a", "f"), ToolCall(0, "2")],
            id="a repeated name says nothing",
        ),
        pytest.param(
            [calls(call(0, "a", "f", "1")), calls(call(0, "b", "g", "2")), calls(call(0, None, None, "3"))],
            [ToolCall(0, "1", "a", "f"), ToolCall(1, "2", "b", "g"), ToolCall(1, "3")],
            id="a new id with a name on a used index is a new call",
        ),
        pytest.param(
            [calls(call(0, "a", "f", "1")), calls(call(0, "b", None, "2"))],
            [ToolCall(0, "1", "a", "f"), ToolCall(0, "2")],
            id="a new id without a name is not",
        ),
        pytest.param(
            [calls(call(None, "a", "f", "1"), call(None, "b", "g", "2"))],
            [ToolCall(0, "1", "a", "f"), ToolCall(1, "2", "b", "g")],
            id="without index the place counts",
        ),
        pytest.param(
            [
                calls(call(None, "a", "f", "1")),
                calls(call(None, "b", "g", "2")),
                calls(call(None, "a", None, "3")),
            ],
            [ToolCall(0, "1", "a", "f"), ToolCall(1, "2", "b", "g"), ToolCall(0, "3")],
            id="without index the id counts",
        ),
        pytest.param(
            [
                calls(call(None, None, "f", "1")),
                calls(call(None, None, "f", "2")),
                calls(call(None, None, None, "3")),
            ],
            [ToolCall(0, "1", None, "f"), ToolCall(1, "2", None, "f"), ToolCall(1, "3")],
            id="without index and id a name is a new call",
        ),
        pytest.param(
            [calls(call(5, "a", "f", "1")), calls(call(2, "b", "g", "2"))],
            [ToolCall(0, "1", "a", "f"), ToolCall(1, "2", "b", "g")],
            id="indexes are counted anew",
        ),
        pytest.param(
            [calls(call(0, "a", "f", {"q": [1, None], "ü": True}))],
            [ToolCall(0, '{"q":[1,null],"\\u00fc":true}', "a", "f")],
            id="arguments as an object become text",
        ),
        pytest.param(
            [calls(call(0, "a", None, "1")), calls(call(0, None, "f", "2"))],
            [ToolCall(0, "12", "a", "f")],
            id="the opening waits for the name",
        ),
        pytest.param(
            [calls(call(0, "a", None, "1")), chunk({}, "stop")],
            [ToolCall(0, "1", "a", ""), Finish("stop", "stop")],
            id="arguments without a name are not lost",
        ),
        pytest.param(
            [calls({"index": 0, "id": "a", "type": "custom", "custom": {"name": "f", "input": "x"}})],
            [ToolCall(0, "x", "a", "f")],
            id="custom tools",
        ),
        pytest.param(
            [
                chunk({"function_call": {"name": "f", "arguments": ""}}),
                chunk({"function_call": {"arguments": "{}"}}),
            ],
            [ToolCall(0, "", None, "f"), ToolCall(0, "{}")],
            id="legacy function_call",
        ),
        pytest.param(
            [chunk({"tool_calls": [call(0, "a", "f")]}), chunk({"tool_calls": [call(0, "b", "g")]}, index=1)],
            [ToolCall(0, "", "a", "f"), ToolCall(0, "", "b", "g", 1)],
            id="each choice counts its own",
        ),
        pytest.param(
            [calls(call(0, "a", "f")), calls(call(0))], [ToolCall(0, "", "a", "f")], id="an empty fragment"
        ),
        pytest.param([calls({"index": 0}), chunk({"tool_calls": []})], [], id="nothing said"),
    ],
)
def test_tool_calls(fragments, said):
    """Fragments find their call by index, id or place; the opening comes once and first."""
    assert decode(*fragments) == said


@pytest.mark.parametrize(
    ("payload", "failure"),
    [
        (
            {"error": {"message": "m", "type": "t", "param": "p", "code": "c"}},
            Failure("upstream_error", "m", None, "t", "c", "p"),
        ),
        ({"error": {"message": "m", "code": 429}}, Failure("upstream_error", "m", 429, None, 429)),
        (
            {"object": "error", "message": "m", "type": "BadRequestError", "code": 400},
            Failure("upstream_error", "m", 400, "BadRequestError", 400),
        ),
        (
            {"object": "error", "message": {"detail": [{"loc": ["body", "n"], "msg": "bad"}]}, "type": "t"},
            Failure("upstream_error", "body.n: bad", None, "t"),
        ),
        ({"error": "m"}, Failure("upstream_error", "m")),
        (
            {"choices": [{"error": {"message": "m", "code": 502}}]},
            Failure("upstream_error", "m", 502, None, 502),
        ),
        ({"choices": [], "x_groq": {"error": "over capacity"}}, Failure("upstream_error", "over capacity")),
        ({"error": {"type": "t"}}, Failure("upstream_error", "the upstream reported an error", None, "t")),
    ],
)
def test_errors_inside_the_stream(payload, failure):
    """Every shape of error becomes one failure that keeps what the upstream said."""
    assert decode(payload) == [failure]


def test_an_error_inside_a_chunk_ends_it():
    """What the chunk says before its error is told, its finish is not."""
    payload = {
        "error": {"message": "m", "code": 400},
        "choices": [{"delta": {"content": "a"}, "finish_reason": "error"}],
        "usage": {"prompt_tokens": 1},
    }

    assert decode(payload) == [Text("a"), Usage(1), Failure("upstream_error", "m", 400, None, 400)]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b'{"message":"m"}', "m"),
        (b'{"detail":"m"}', "m"),
        (b"m", "m"),
        (b"", "the upstream reported an error"),
    ],
)
def test_an_error_event_is_an_error_whatever_it_holds(data, message):
    """``event: error`` needs no shape."""
    assert decode(data, event="error") == [Failure("upstream_error", message)]


def test_null_errors_are_none():
    """``"error": null`` stands in every chunk of some servers."""
    assert decode({"error": None, "choices": [{"delta": {"content": "a"}, "error": None}]}) == [Text("a")]


def test_a_complete_answer_is_one_delta_with_its_end():
    """A document where a stream was asked for is read like one, and nothing follows it."""
    payload = {
        "id": "i",
        "object": "chat.completion",
        "model": "m",
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": "a",
                    "reasoning_content": "r",
                    "tool_calls": [
                        {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
                    ],
                },
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 1, "completion_tokens": 2},
    }

    assert decode(payload) == [
        Start("i", "m"),
        Reasoning("r"),
        Text("a"),
        ToolCall(0, "{}", "c", "f"),
        Usage(1, 2),
        Finish("stop", "stop"),
        End(),
    ]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b'{"choices":[{"delta":{"content":"a"},"logprobs":NaN}]}', [Text("a")]),
        (b'{"choices":[{"delta":{"content":"a\xff"}}]}', [Text("a\ufffd")]),
        (b'{"choices":[{"delta":{"content":"a\nb"}}]}', [Text("a\nb")]),
        (b'{"choices":[{"delta":{"content":7,"refusal":"no"}}]}', [Refusal("no")]),
        (b'{"choices":[{"delta":{"content":"a"},"finish_reason":[]}]}', [Text("a")]),
        (b'{"choices":[{"index":"x","delta":{"content":"a"}}],"usage":"none"}', [Text("a")]),
        (b'{"choices":[7,{"delta":{"content":"a"}}]}', [Text("a")]),
        (b'{"choices":[{"delta":{"content":[{"thinking":[{"x":1}]},{"text":"a"}]}}]}', [Text("a")]),
        (b'{"choices":[{"index":"\\ud83d","delta":{"content":"a"}}]}', [Text("a")]),
        (b'{"choices":"none","usage":{"prompt_tokens":"many","completion_tokens":2}}', [Usage(None, 2)]),
        (b'{"choices":[{"delta":{"content":"\\ud83d"}}]}', [Text("\ud83d")]),
        (b'{"id":"\\ud83d","choices":[]}', [Start("\ufffd")]),
        (
            b'{"choices":[{"delta":{"tool_calls":[{"function":{"name":"f","arguments":{"a":NaN}}}]}}]}',
            [ToolCall(0, '{"a":null}', None, "f")],
        ),
        (
            b'{"choices":[{"delta":{"tool_calls":[{"function":{"name":"f","arguments":{"a":"\\ud83d"}}}]}}]}',
            [ToolCall(0, '{"a":"\\ud83d"}', None, "f")],
        ),
    ],
)
def test_what_does_not_fit_is_left_out(data, said):
    """NaN, invalid UTF-8, half characters and wrong types cost what they are in, never the chunk."""
    assert decode(data) == said


TOO_DEEP = b'{"choices":[{"delta":{"content":[%s7%s]}}]}' % (b'{"thinking":[' * 300, b"]}" * 300)


@pytest.mark.parametrize(
    "data", [b"nonsense", b'{"choices":', b"[1]", b'"text"', b"7", b"{" * 100_000, TOO_DEEP]
)
def test_what_is_no_object_is_a_bad_event(data):
    """The message says what is wrong and where, and repeats nothing: the payload may quote a prompt."""
    with pytest.raises(WireError) as caught:
        decode(data)

    assert caught.value.code == "upstream_bad_event"
    assert "JSON" in str(caught.value) and len(str(caught.value)) < 160
    assert len(data) < 5 or data[:5].decode() not in str(caught.value)
