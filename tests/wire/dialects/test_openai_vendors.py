"""What vendors of OpenAI's shape do otherwise than OpenAI, where no recording of theirs shows it."""

import json

import pytest

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


def decode(*payloads, event=""):
    """Decode payloads (objects or bytes), one frame each."""
    dialect = DIALECTS["openai"]()
    frames = (p if isinstance(p, bytes) else json.dumps(p).encode() for p in payloads)
    return [said for data in frames for said in dialect.decode(Frame(event, data))]


def chunk(delta=None, **more):
    choice = {"index": 0, **more}
    return {
        "object": "chat.completion.chunk",
        "choices": [choice if delta is None else {**choice, "delta": delta}],
    }


COUNTS = {"prompt_tokens": 9, "completion_tokens": 7, "total_tokens": 16}
STOP = Finish("stop", "stop")


def search(number):
    return {"title": f"t{number}", "url": f"u{number}", "date": "2026-01-01"}


CASES = {
    "Azure's asynchronous filter could not filter": (
        [
            chunk(
                finish_reason=None,
                content_filter_result={"error": {"code": "content_filter_error", "message": "m"}},
            ),
            chunk(content_filter_results={}, content_filter_offsets={"check_offset": 1}),
            chunk({}, finish_reason="content_filter", content_filter_results={"hate": {"filtered": True}}),
        ],
        [Finish("content_filter", "content_filter")],
    ),
    "DeepSeek runs out of resources": (
        [
            chunk({"content": "a", "reasoning_content": None}, finish_reason=None),
            {
                **chunk({"content": ""}, finish_reason="insufficient_system_resource"),
                "usage": {
                    "prompt_tokens": 9,
                    "completion_tokens": 7,
                    "prompt_cache_hit_tokens": 4,
                    "prompt_cache_miss_tokens": 5,
                    "completion_tokens_details": {"reasoning_tokens": 3},
                },
            },
        ],
        [Text("a"), Usage(9, 7, 3, 4), Finish("other", "insufficient_system_resource")],
    ),
    "Groq's usage stands twice, its agents name tools": (
        [
            {"id": "a", **chunk({"role": "assistant", "executed_tools": [{"name": "search"}]})},
            {"id": "b", **chunk({"channel": "analysis", "reasoning": "r"})},
            {
                "id": "stub",
                **chunk({}, finish_reason="stop"),
                "usage": {**COUNTS, "queue_time": 0.1},
                "x_groq": {"id": "req", "usage": COUNTS},
            },
        ],
        [Start("a"), Reasoning("r"), Usage(9, 7), STOP],
    ),
    "xAI's sources are on the last chunk": (
        [chunk({"content": "a"}), {"choices": [], "usage": COUNTS, "citations": ["u1", "u1", ""]}],
        [Text("a"), Citation("u1"), Usage(9, 7)],
    ),
    "Together says a token twice": (
        [chunk({"content": "a", "token_id": 17}, text="a", logprobs=-0.5, seed=1, finish_reason="eos")],
        [Text("a"), Finish("stop", "eos")],
    ),
    "OpenRouter's reasoning is encrypted": (
        [
            chunk({"reasoning": None, "reasoning_details": [{"type": "reasoning.encrypted", "data": "x"}]}),
            chunk({"content": "", "role": "assistant"}, finish_reason="stop", native_finish_reason="STOP"),
            {**chunk({"content": ""}, finish_reason="stop"), "usage": {**COUNTS, "cost": 0.1}},
        ],
        [STOP, Usage(9, 7)],
    ),
    "OpenRouter's arguments are null": (
        [
            chunk({"tool_calls": [{"index": 0, "id": "c", "function": {"name": "f", "arguments": None}}]}),
            chunk({"tool_calls": [{"index": 0, "function": {"name": None, "arguments": "{}"}}]}),
        ],
        [ToolCall(0, "", "c", "f"), ToolCall(0, "{}")],
    ),
    "Perplexity names its sources, and says all again": (
        [
            {**chunk({"content": "a"}), "citations": ["u1", "u2"], "search_results": [search(1), search(3)]},
            {
                **chunk({"content": "b"}, message={"content": "ab"}),
                "citations": ["u1", "u2"],
                "search_results": [search(1), search(3)],
                "usage": COUNTS,
            },
            {**chunk(message={"content": "ab"}, finish_reason="stop"), "object": "chat.completion.done"},
        ],
        [
            Text("a"),
            Citation("u1", "t1"),
            Citation("u2"),
            Citation("u3", "t3"),
            Text("b"),
            Usage(9, 7),
            STOP,
        ],
    ),
    "Perplexity has only results": (
        [{**chunk({"content": "a"}), "search_results": [search(1)]}],
        [Text("a"), Citation("u1", "t1")],
    ),
    "Moonshot's older usage is the choice's, its finish has text": (
        [chunk({"content": "a"}, finish_reason="stop", usage=COUNTS)],
        [Text("a"), Usage(9, 7), STOP],
    ),
    "Snowflake never finishes": (
        [
            {"id": "", "created": 0, **chunk({"content": "a", "refusal": "", "reasoning_details": []})},
            {"choices": [], "usage": COUNTS},
            b"[DONE]",
        ],
        [Text("a"), Usage(9, 7), End()],
    ),
    "Cerebras tells times": (
        [chunk({}), {**chunk({}, finish_reason="stop"), "usage": COUNTS, "time_info": {"queue_time": 0.1}}],
        [Usage(9, 7), STOP],
    ),
    "Cloudflare counts in every chunk and once more without choices": (
        [
            {
                **chunk({"reasoning_content": "r"}, finish_reason=None),
                "usage": {**COUNTS, "completion_tokens": 1},
            },
            {**chunk({"content": "a"}, finish_reason="stop"), "usage": COUNTS},
            {"object": "chat.completion.chunk", "choices": [], "usage": COUNTS},
        ],
        [Reasoning("r"), Usage(9, 1), Text("a"), Usage(9, 7), STOP, Usage(9, 7)],
    ),
    "Writer's message is its delta": (
        [
            {
                "choices": [
                    {
                        "delta": {"content": "a", "tool_calls": None, "graph_data": None},
                        "message": {"content": "a", "tool_calls": None},
                    }
                ]
            }
        ],
        [Text("a")],
    ),
    "Mistral thinks in parts and refers to documents": (
        [
            chunk({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "r"}]}]}),
            chunk({"content": [{"type": "reference", "reference_ids": [3]}, {"type": "text", "text": "a"}]}),
            chunk({"content": "b"}),
            {
                **chunk(
                    {"tool_calls": [{"id": "123456789", "function": {"name": "f", "arguments": "{}"}}]},
                    finish_reason="tool_calls",
                ),
                "usage": COUNTS,
                "p": "abc",
            },
        ],
        [
            Reasoning("r"),
            Text("a"),
            Text("b"),
            ToolCall(0, "{}", "123456789", "f"),
            Usage(9, 7),
            Finish("tool_calls", "tool_calls"),
        ],
    ),
    "vLLM's stop may be a token, its reasoning is spelt twice": (
        [
            chunk({"role": "assistant", "content": ""}, stop_reason=None, token_ids=None),
            chunk({"reasoning": "r", "reasoning_content": "r"}),
            {**chunk({"content": "a"}, finish_reason="stop", stop_reason=128009), "usage": COUNTS},
        ],
        [Reasoning("r"), Text("a"), Usage(9, 7), STOP],
    ),
    "SGLang fills in nulls": (
        [
            chunk(
                {
                    "role": None,
                    "content": None,
                    "reasoning_content": None,
                    "tool_calls": [
                        {
                            "index": 0,
                            "id": "functions.search:0",
                            "function": {"name": "search", "arguments": ""},
                        }
                    ],
                },
                matched_stop=None,
            ),
            chunk(
                {
                    "content": None,
                    "tool_calls": [{"index": 0, "id": None, "function": {"name": None, "arguments": "{}"}}],
                }
            ),
            chunk({"content": None, "tool_calls": None}, finish_reason="tool_calls", matched_stop=151645),
        ],
        [
            ToolCall(0, "", "functions.search:0", "search"),
            ToolCall(0, "{}"),
            Finish("tool_calls", "tool_calls"),
        ],
    ),
    "TGI's older chat has another object and no end mark": (
        [
            {**chunk({"content": "a"}, finish_reason=None), "id": "", "object": "text_completion"},
            {**chunk({"content": "</s>"}, finish_reason="eos_token"), "id": ""},
        ],
        [Text("a"), Text("</s>"), Finish("stop", "eos_token")],
    ),
}


@pytest.mark.parametrize(("payloads", "said"), CASES.values(), ids=CASES)
def test_a_vendor_s_own_way_is_read(payloads, said):
    """Each thing once, in the order in which it must be acted on."""
    assert decode(*payloads) == said


@pytest.mark.parametrize(
    ("payload", "failure"),
    [
        pytest.param(
            {
                "error": {
                    "message": "m",
                    "type": "invalid_request_error",
                    "code": "tool_use_failed",
                    "failed_generation": "f",
                    "status_code": 400,
                }
            },
            Failure("upstream_error", "m", 400, "invalid_request_error", "tool_use_failed"),
            id="Groq",
        ),
        pytest.param(
            {
                "error": {"code": 502, "message": "m", "metadata": {"provider_name": "P", "raw": "x"}},
                **chunk({"content": ""}, finish_reason="error"),
            },
            Failure("upstream_error", "m", 502, None, 502),
            id="OpenRouter",
        ),
        pytest.param(
            {"error": {"object": "error", "message": "m", "type": "BadRequestError", "code": 400}},
            Failure("upstream_error", "m", 400, "BadRequestError", 400),
            id="SGLang",
        ),
        pytest.param(
            {"object": "error", "message": "m", "type": "invalid_request_error", "param": None, "code": "1"},
            Failure("upstream_error", "m", None, "invalid_request_error", "1"),
            id="Mistral",
        ),
        pytest.param(
            {
                "error": {
                    "code": "content_filter",
                    "message": "m",
                    "innererror": {"code": "ResponsibleAIPolicyViolation", "content_filter_result": {}},
                }
            },
            Failure("upstream_error", "m", None, None, "content_filter"),
            id="Azure",
        ),
        pytest.param(
            {"error": {"code": "429", "message": "m"}},
            Failure("upstream_error", "m", 429, None, "429"),
            id="Azure's status is a string",
        ),
        pytest.param(
            {"error": "Model m is currently loading", "estimated_time": 20.0},
            Failure("upstream_error", "Model m is currently loading"),
            id="Hugging Face",
        ),
    ],
)
def test_a_vendor_s_own_error_is_told_whole(payload, failure):
    """Message, status, type and code, wherever they stand."""
    assert decode(payload) == [failure]
