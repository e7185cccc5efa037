"""
Token counts, in the vendors' words and in ours.

Read from the plain object, because it comes once or twice a stream and every vendor adds members to it. What
a count includes is known by its name, not by its vendor: the tables say what must be added to which.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from ssegate.wire.events import Usage

__all__ = ["UsageSoFar", "read_usage"]

Names = tuple[str, ...]
"""Spellings of one count; the first that holds a number is read. A dot leads into an object."""

INPUT: dict[str, tuple[Names, ...]] = {
    "prompt_tokens": (),  # OpenAI's chat and Assistants, and most others
    "input_tokens": (("cache_creation_input_tokens",), ("cache_read_input_tokens",)),  # Anthropic, Responses
    "promptTokenCount": (("toolUsePromptTokenCount",),),  # Gemini
    "inputTokens": (  # Bedrock's Converse; some models say both
        ("cacheWriteInputTokens", "cacheWriteInputTokenCount"),
        ("cacheReadInputTokens", "cacheReadInputTokenCount"),
    ),
    "prompt_eval_count": (),  # Ollama
    "total_input_tokens": (("total_tool_use_tokens",),),  # Gemini's Interactions
    "input_token_count": (),  # watsonx
    "tokens_evaluated": (),  # llama.cpp
    "prompt_token_count": (),  # Llama on Bedrock
    "inputTextTokenCount": (),  # Titan
    "inputTokenCount": (  # Bedrock's metrics of an invocation
        ("cacheWriteInputTokenCount",),
        ("cacheReadInputTokenCount",),
    ),
    "input_length": (),  # TGI
}
"""The count of the input, and the parts that stand beside it; OpenAI's includes them, whoever adds them."""

OUTPUT: dict[str, Names] = {
    "completion_tokens": (),
    "output_tokens": (),
    "candidatesTokenCount": ("thoughtsTokenCount",),
    "outputTokens": (),
    "eval_count": (),
    "total_output_tokens": ("total_thought_tokens",),
    "generated_token_count": (),
    "tokens_predicted": (),
    "generation_token_count": (),
    "totalOutputTextTokenCount": (),
    "outputTokenCount": (),
    "generated_tokens": (),
    "thoughtsTokenCount": (),  # Gemini, as long as it only thinks
}
"""The count of the output, and reasoning that it never includes."""

REASONING: Names = (
    "completion_tokens_details.reasoning_tokens",
    "output_tokens_details.thinking_tokens",
    "output_tokens_details.reasoning_tokens",
    "reasoning_tokens",
    "thoughtsTokenCount",
    "total_thought_tokens",
)
CACHED: Names = (
    "prompt_tokens_details.cached_tokens",
    "input_tokens_details.cached_tokens",
    "prompt_token_details.cached_tokens",  # the Assistants' spelling
    "prompt_cache_hit_tokens",
    "cached_tokens",
    "cache_read_input_tokens",
    "cachedContentTokenCount",
    "cacheReadInputTokens",
    "cacheReadInputTokenCount",
    "total_cached_tokens",
)
INNER = ("tokens", "billed_units")
"""Objects that hold the counts themselves (Cohere); what is billed is not all that was read."""

KNOWN = {
    *(*INPUT, *OUTPUT, *INNER, "total_tokens"),
    *(name for parts in INPUT.values() for names in parts for name in names),
    *(part for names in (*OUTPUT.values(), REASONING, CACHED) for name in names for part in name.split(".")),
}
"""The members that are read; no others are kept."""


_NOTHING = (None, None, None, None)


def read_usage(counts: dict[str, Any]) -> Usage | None:
    """
    Return the counts in our words, or None if there are none.

    ``input_tokens`` includes cache reads and writes, ``output_tokens`` includes reasoning.
    """
    for name in INNER:
        if name in counts and isinstance(counts[name], dict):
            counts = {**counts, **counts[name]}
            break
    reasoning = _first(counts, REASONING)
    found = _input(counts), _output(counts, reasoning), reasoning, _first(counts, CACHED)
    return None if found == _NOTHING else Usage(*found)


class UsageSoFar:
    """The counts of one stream, for vendors whose later reports leave out what an earlier one had."""

    def __init__(self) -> None:
        self._counts: dict[str, Any] = {}

    def add(self, counts: object) -> list[Usage]:
        """Lay *counts*, if they are an object, over those before; return the usage, if it says anything."""
        if not isinstance(counts, dict):
            return []
        for name, count in counts.items():
            if name in KNOWN and count is not None:
                self._counts[name] = count if type(count) is int else _kept(count)
        usage = read_usage(self._counts)
        return [] if usage is None else [usage]


def _kept(count: object) -> object:
    """Return a count, or those that an object of details has; None for what is neither."""
    if isinstance(count, dict):
        return {name: inner for name, inner in count.items() if name in KNOWN and _number(inner) is not None}
    return count if isinstance(count, int | float) else None


def _input(counts: dict[str, Any]) -> int | None:
    for name in INPUT:
        if name in counts and (count := _number(counts[name])) is not None:
            return count + sum(_first(counts, names) or 0 for names in INPUT[name])
    return None


def _output(counts: dict[str, Any], reasoning: int | None) -> int | None:
    for name in OUTPUT:
        if name in counts and (count := _number(counts[name])) is not None:
            if names := OUTPUT[name]:
                return count + (_first(counts, names) or 0)
            # xAI leaves reasoning out of `completion_tokens`; it shows in the total.
            is_apart = reasoning and counts.get("total_tokens") == (_input(counts) or 0) + count + reasoning
            return count + reasoning if reasoning and is_apart else count
    return None


def _first(counts: dict[str, Any], names: Names) -> int | None:
    outers, paths = _paths(names)
    if outers.isdisjoint(counts):
        return None
    for outer, inner in paths:
        value = counts.get(outer)
        if inner:
            value = value.get(inner) if isinstance(value, dict) else None
        if value is not None and (number := _number(value)) is not None:
            return number
    return None


@lru_cache
def _paths(names: Names) -> tuple[frozenset[str], list[tuple[str, str]]]:
    """Take *names* apart once: Gemini tells its usage with every chunk."""
    parts = (name.partition(".") for name in names)
    paths = [(outer, inner) for outer, _, inner in parts]
    return frozenset(outer for outer, _ in paths), paths


def _number(value: object) -> int | None:
    """Return a count; Titan writes ``188.0``, and what is no whole number counts as absent."""
    if type(value) is int:  # no boolean
        return value
    return int(value) if isinstance(value, float) and value.is_integer() else None
