"""
Recorded upstream bodies, and what each of them says.

``tests/streams/manifest.json`` tells where every body comes from, under which licence, and what a reader of
it must find: text, reasoning, tool calls, finish, usage. Those expectations were not made by this project's
code; here they are only brought into its words.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

STREAMS = Path(__file__).parents[1] / "streams"

Names = str | tuple[str, ...]
"""Where a count stands: a name, or several whose counts are added; dots lead into objects."""

ReadUsage = Callable[[dict[str, Any]], dict[str, int | None]]


def _usage(
    input_tokens: int | None,
    output_tokens: int | None,
    reasoning_tokens: int | None = None,
    cached_tokens: int | None = None,
) -> dict[str, int | None]:
    return {
        "input_tokens": input_tokens,
        "output_tokens": output_tokens,
        "reasoning_tokens": reasoning_tokens,
        "cached_tokens": cached_tokens,
    }


def named(
    input_tokens: Names, output_tokens: Names, reasoning_tokens: Names = (), cached_tokens: Names = ()
) -> ReadUsage:
    """Return what reads a usage whose counts stand under these names; several names are added up."""
    return lambda counts: _usage(
        *(_added(counts, names) for names in (input_tokens, output_tokens, reasoning_tokens, cached_tokens))
    )


def _added(counts: dict[str, Any], names: Names) -> int | None:
    found = [_at(counts, name) for name in ((names,) if isinstance(names, str) else names)]
    known = [int(count) for count in found if count is not None]
    return sum(known) if known else None


def _at(counts: Any, path: str) -> Any:
    for name in path.split("."):
        counts = (counts or {}).get(name)
    return counts


def _anthropic_usage(counts: dict[str, Any]) -> dict[str, int | None]:
    if "message_start" in counts:
        counts = {**counts["message_start"], **counts["message_delta"]}
    parts = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
    thinking = counts.get("output_tokens_details", {}).get("thinking_tokens")
    total = sum(counts[part] for part in parts if part in counts)
    return _usage(total, counts["output_tokens"], thinking, counts.get("cache_read_input_tokens"))


def _openai_usage(counts: dict[str, Any]) -> dict[str, int | None]:
    details = counts.get("completion_tokens_details") or {}
    reasoning = details.get("reasoning_tokens", counts.get("reasoning_tokens"))
    prompt, output = counts["prompt_tokens"], counts["completion_tokens"]
    if reasoning and counts["total_tokens"] == prompt + output + reasoning:
        output += reasoning  # xAI's completion_tokens exclude it
    cached = (counts.get("prompt_tokens_details") or {}).get("cached_tokens", counts.get("cached_tokens"))
    return _usage(prompt, output, reasoning, cached)


_gemini_usage = named(
    ("promptTokenCount", "toolUsePromptTokenCount"),
    ("candidatesTokenCount", "thoughtsTokenCount"),
    "thoughtsTokenCount",
    "cachedContentTokenCount",
)
_interactions_usage = named(
    ("total_input_tokens", "total_tool_use_tokens"),
    ("total_output_tokens", "total_thought_tokens"),
    "total_thought_tokens",
    "total_cached_tokens",
)

_converse_usage = named(
    ("inputTokens", "cacheReadInputTokens", "cacheWriteInputTokens"),
    "outputTokens",
    cached_tokens="cacheReadInputTokens",
)
_nova_usage = named(
    ("inputTokens", "cacheReadInputTokenCount", "cacheWriteInputTokenCount"),
    "outputTokens",
    cached_tokens="cacheReadInputTokenCount",
)
_titan_usage = named("inputTextTokenCount", "totalOutputTextTokenCount")
_responses_usage = named(
    "input_tokens",
    "output_tokens",
    "output_tokens_details.reasoning_tokens",
    "input_tokens_details.cached_tokens",
)

_assistants_usage = named(
    "prompt_tokens",
    "completion_tokens",
    "completion_tokens_details.reasoning_tokens",
    "prompt_token_details.cached_tokens",
)

_cohere_usage = named("tokens.input_tokens", "tokens.output_tokens", (), "cached_tokens")


READ_BY: dict[str, tuple[str, ReadUsage]] = {
    "alibaba_chat": ("openai", _openai_usage),
    "anthropic_messages": ("anthropic", _anthropic_usage),
    "azure_openai_chat": ("openai", _openai_usage),
    "bedrock_converse": ("bedrock", _converse_usage),
    "bedrock_invoke": ("bedrock", _anthropic_usage),
    "bedrock_invoke/03-test-invoke-model-with-response-stream-with-cont.bin": ("bedrock", _nova_usage),
    "bedrock_invoke/04-test-titan-invoke-stream-guardrail.bin": ("bedrock", _titan_usage),
    "bedrock_invoke/06-test-guardrail-invoke-stream.bin": ("bedrock", _titan_usage),
    "bedrock_invoke/07-test-nova-invoke-stream.bin": ("bedrock", _nova_usage),
    "azure_openai_responses": ("responses", _responses_usage),
    "bedrock_mantle_responses": ("responses", _responses_usage),
    "cohere_compat_chat": ("openai", _openai_usage),
    "cohere_v1": ("cohere", _cohere_usage),
    "cohere_v2": ("cohere", _cohere_usage),
    "crusoe_chat": ("openai", _openai_usage),
    "deepseek_chat": ("openai", _openai_usage),
    "deepseek_responses": ("responses", _responses_usage),
    "fireworks_chat": ("openai", _openai_usage),
    "gemini_interactions": ("gemini", _interactions_usage),
    "gemini_json_array": ("gemini", _gemini_usage),
    "gemini_sse": ("gemini", _gemini_usage),
    "groq_chat": ("openai", _openai_usage),
    "hf_router_chat": ("openai", _openai_usage),
    "llamacpp_chat": ("openai", _openai_usage),
    "llamacpp_completion": ("llamacpp", named("tokens_evaluated", "tokens_predicted")),
    "llamacpp_completions": ("openai", _openai_usage),
    "llamacpp_messages": ("anthropic", _anthropic_usage),
    "llamacpp_responses": ("responses", _responses_usage),
    "lmstudio_responses": ("responses", _responses_usage),
    "mistral_chat": ("openai", _openai_usage),
    "nebius_chat": ("openai", _openai_usage),
    "nonstream_json/01-anthropic-200.json": ("anthropic", _anthropic_usage),
    "nonstream_json/02-openai-200.json": ("openai", _openai_usage),
    "nonstream_json/03-openai-200.json": ("responses", _responses_usage),
    "nonstream_json/04-openrouter-200.json": ("openai", _openai_usage),
    "nonstream_json/05-groq-200.json": ("openai", _openai_usage),
    "nonstream_json/06-cerebras-200.json": ("openai", _openai_usage),
    "nonstream_json/07-bedrock-200.json": ("bedrock", _converse_usage),
    "nonstream_json/08-deepseek-200.json": ("openai", _openai_usage),
    "nonstream_json/09-vertex-200.json": ("gemini", _gemini_usage),
    "nonstream_json/10-huggingface-200.json": ("openai", _openai_usage),
    "nonstream_json/11-vertex-200.json": ("gemini", _gemini_usage),
    "nonstream_json/12-cerebras-200.json": ("openai", _openai_usage),
    "nonstream_json/13-azure-200.json": ("responses", _responses_usage),
    "nonstream_json/14-cohere-200.json": ("cohere", _cohere_usage),
    "nonstream_json/15-together-200.json": ("openai", _openai_usage),
    "novita_chat": ("openai", _openai_usage),
    "ollama_chat": ("ollama", named("prompt_eval_count", "eval_count")),
    "ollama_generate": ("ollama", named("prompt_eval_count", "eval_count")),
    "openai_assistants": ("assistants", _assistants_usage),
    "openai_chat": ("openai", _openai_usage),
    "openai_completions": ("openai", _openai_usage),
    "openai_responses": ("responses", _responses_usage),
    "openrouter_chat": ("openai", _openai_usage),
    "openrouter_responses": ("responses", _responses_usage),
    "perplexity_chat": ("openai", _openai_usage),
    "sambanova_chat": ("openai", _openai_usage),
    "sglang_chat": ("openai", _openai_usage),
    "snowflake_chat": ("openai", _openai_usage),
    "tgi_chat": ("openai", _openai_usage),
    "tgi_generate_stream": ("tgi", named("input_length", "generated_tokens")),
    "together_chat": ("openai", _openai_usage),
    "vertex_json_array": ("gemini", _gemini_usage),
    "vertex_sse": ("gemini", _gemini_usage),
    "vllm_chat": ("openai", _openai_usage),
    "vllm_completions": ("openai", _openai_usage),
    "watsonx": ("watsonx", named("input_token_count", "generated_token_count")),
    "writer_chat": ("openai", _openai_usage),
    "xai_chat": ("openai", _openai_usage),
    "xai_responses": ("responses", _responses_usage),
    "zai_chat": ("openai", _openai_usage),
}
"""
Which dialect reads a folder of streams, or one file of it, and how the usage in the manifest is read.

A new folder is one line, in alphabetical order.
"""

REASONS = {
    "1": "stop",
    "complete": "stop",
    "completed": "stop",
    "end_turn": "stop",
    "eos": "stop",
    "eos_token": "stop",
    "finish": "stop",
    "stop": "stop",
    "word": "stop",
    "incomplete": "length",
    "length": "length",
    "limit": "length",
    "max_tokens": "length",
    "tool_call": "tool_calls",
    "tool_calls": "tool_calls",
    "tool_use": "tool_calls",
    "guardrail_intervened": "content_filter",
    "intervened": "content_filter",
    "model_armor": "content_filter",
    "recitation": "content_filter",
    "safety": "content_filter",
    "fake_enum": "other",
    "unexpected_tool_call": "other",
}
"""The finish reasons that occur in recordings, in lower case, and our words for them."""

FRAMINGS = {"sse-crlf": "sse", "aws-eventstream": "eventstream"}
"""Framings that the manifest calls otherwise than we do."""

FOLDERS = {"documents": "nonstream_json", "errors": "http_error", "vectors": "aws_eventstream_vectors"}
"""The folders of what is no stream."""


CORRECTIONS: dict[str, dict[str, Any]] = {
    # `"type":"server_tool_use"`: AWS runs the interpreter, and its result is in the stream. Of Anthropic's
    # streams the manifest keeps such calls apart.
    "bedrock_converse/06-test-bedrock-model-code-execution-tool-stream.bin": {
        "tool_calls": [
            {
                "id": "tooluse_ptgCcZ0uQu-UUMz0abqoWw",
                "name": "final_result",
                "arguments": '{"result":7006652.0}',
            }
        ]
    },
    # The first event has `"inputTextTokenCount":28.0`, the last one, which was taken, has none.
    "bedrock_invoke/04-test-titan-invoke-stream-guardrail.bin": {
        "usage": {"inputTextTokenCount": 28.0, "totalOutputTextTokenCount": 188.0}
    },
    # Bodies that say why there is no answer, but not under the name of a finish reason.
    "bedrock_invoke/06-test-guardrail-invoke-stream.bin": {"finish_reason": "INTERVENED"},
    "nonstream_json/09-vertex-200.json": {"finish_reason": "MODEL_ARMOR"},
    "vertex_sse/02-streaming-failure-prompt-blocked-safety.sse": {"finish_reason": "SAFETY"},
}
"""What the bytes say otherwise than the manifest does."""


def _text(arguments: Any) -> str:
    if isinstance(arguments, str):
        return arguments
    return json.dumps(arguments, separators=(",", ":"), ensure_ascii=False)


@dataclass(frozen=True)
class Recording:
    """One recorded body."""

    file: str
    """Its path below ``tests/streams``."""

    content_type: str
    framing: str
    status: int
    expected: dict[str, Any]

    def __str__(self) -> str:
        return self.file

    @property
    def folder(self) -> str:
        return self.file.partition("/")[0]

    @property
    def body(self) -> bytes:
        return (STREAMS / self.file).read_bytes()

    @property
    def dialect(self) -> str:
        """Our dialect that reads it."""
        return self._read_by[0]

    @property
    def _read_by(self) -> tuple[str, ReadUsage]:
        return READ_BY[self.file] if self.file in READ_BY else READ_BY[self.folder]

    @property
    def calls(self) -> list[dict[str, Any]]:
        """Its tool calls, without what only their vendor has; objects of arguments as compact JSON."""
        return [
            {"id": call["id"], "name": call["name"], "arguments": _text(call["arguments"])}
            for call in self.expected["tool_calls"]
        ]

    @property
    def upstream_reason(self) -> str | None:
        """The upstream's own word, or its number."""
        reason = self.expected["finish_reason"]
        return None if reason is None else str(reason)

    @property
    def reason(self) -> str | None:
        """Our word for its finish reason, as the upstream says it (a call does not change ``stop``)."""
        reason = self.upstream_reason
        return None if reason is None else REASONS[reason.lower()]

    @property
    def is_cut(self) -> bool:
        """It has neither a finish, nor an end mark, nor an error."""
        expected = self.expected
        return not (self.upstream_reason or expected.get("terminator") or expected.get("error"))

    @property
    def error_message(self) -> str | None:
        """The upstream's own words for its error, if it reports one."""
        error = self.expected["error"]
        return error.get("message", error.get("error")) if error else None

    @property
    def usage(self) -> dict[str, int | None] | None:
        """Its last usage in our words: input includes cache, output includes reasoning."""
        counts = self.expected["usage"]
        usage = None if counts is None else self._read_by[1](counts)
        return usage if usage is None or any(count is not None for count in usage.values()) else None


def recordings(kind: str = "streams") -> list[Recording]:
    """
    Return the recorded bodies.

    Args:
        kind: ``streams`` (of the dialects we read), ``bodies`` (streams of any dialect), ``documents``
            (complete answers), ``errors`` (bodies of HTTP errors) or ``vectors`` (of a framing alone).
    """
    if kind in FOLDERS:
        return [entry for entry in _manifest() if entry.folder == FOLDERS[kind]]
    bodies = [entry for entry in _manifest() if entry.folder not in FOLDERS.values()]
    return bodies if kind == "bodies" else [entry for entry in bodies if entry.folder in READ_BY]


def recording(file: str) -> Recording:
    """Return the recording at *file*, a path below ``tests/streams``."""
    return next(entry for entry in _manifest() if entry.file == file)


@cache
def _manifest() -> tuple[Recording, ...]:
    entries = json.loads((STREAMS / "manifest.json").read_text(encoding="utf-8"))
    return tuple(
        Recording(
            e["file"],
            e["content_type"],
            FRAMINGS.get(e["framing"], e["framing"]),
            e["http_status"],
            e["expected"] | CORRECTIONS.get(e["file"], {}),
        )
        for e in entries
    )
