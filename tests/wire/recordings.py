"""
Recorded upstream bodies, and what each of them says.

``tests/streams/manifest.json`` tells where every body comes from, under which licence, and what a reader of
it must find: text, reasoning, tool calls, finish, usage. Those expectations were not made by this project's
code; here they are only brought into its words.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

STREAMS = Path(__file__).parents[1] / "streams"

DIALECTS = {"anthropic_messages": "anthropic", "llamacpp_messages": "anthropic"} | dict.fromkeys(
    ("ollama_chat", "ollama_generate"), "ollama"
)
"""The dialect of each folder of streams that is not OpenAI-shaped."""

REASONS = {
    "stop": "stop",
    "eos": "stop",
    "end_turn": "stop",
    "length": "length",
    "max_tokens": "length",
    "tool_calls": "tool_calls",
    "tool_use": "tool_calls",
}
"""The finish reasons that occur in recordings, in our words."""


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
        if self.folder == "nonstream_json":
            return "anthropic" if "anthropic" in self.file else "openai"
        return DIALECTS.get(self.folder, "openai")

    @property
    def reason(self) -> str | None:
        """Our word for its finish reason, as the upstream says it (a call does not change ``stop``)."""
        reason = self.expected["finish_reason"]
        return None if reason is None else REASONS[reason]

    @property
    def usage(self) -> dict[str, int | None] | None:
        """Its last usage in our words: input includes cache, output includes reasoning."""
        counts = self.expected["usage"]
        if counts is None:
            return None
        if self.dialect == "anthropic":
            return _anthropic_usage(counts)
        if self.dialect == "ollama":
            return _usage(counts.get("prompt_eval_count"), counts.get("eval_count"))
        return _openai_usage(counts)


def recordings(kind: str = "streams") -> list[Recording]:
    """
    Return the recorded bodies.

    Args:
        kind: ``streams``, ``documents`` (complete answers) or ``errors`` (bodies of HTTP errors).
    """
    folders = {"documents": "nonstream_json", "errors": "http_error"}
    special = folders.get(kind)
    found = [entry for entry in _manifest() if (entry.folder == special if special else True)]
    return found if special else [entry for entry in found if entry.folder not in folders.values()]


def recording(file: str) -> Recording:
    """Return the recording at *file*, a path below ``tests/streams``."""
    return next(entry for entry in _manifest() if entry.file == file)


@cache
def _manifest() -> tuple[Recording, ...]:
    entries = json.loads((STREAMS / "manifest.json").read_text(encoding="utf-8"))
    return tuple(
        Recording(e["file"], e["content_type"], e["framing"], e["http_status"], e["expected"])
        for e in entries
    )


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
