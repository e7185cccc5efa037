"""Why a model stopped, in the vendors' words and in ours."""

from __future__ import annotations

from ssegate.wire.events import FinishReason

__all__ = ["finish_reason"]

REASONS: dict[str, FinishReason] = {
    "stop": "stop",
    "end_turn": "stop",
    "stop_sequence": "stop",
    "eos": "stop",
    "eos_token": "stop",
    "length": "length",
    "max_tokens": "length",
    "model_length": "length",
    "model_context_window_exceeded": "length",
    "tool_calls": "tool_calls",
    "tool_call": "tool_calls",
    "tool_use": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
    "content_filtered": "content_filter",
    "safety": "content_filter",
    "refusal": "refusal",
}


def finish_reason(upstream_reason: str) -> FinishReason:
    """Return our word for the vendor's, ``other`` for one that is not known."""
    return REASONS.get(upstream_reason.lower(), "other")
