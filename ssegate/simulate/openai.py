"""
OpenAI's chat completions and legacy completions, as streams and as documents.

Shapes as recorded from api.openai.com; reasoning is written as DeepSeek does (``reasoning_content``), since
OpenAI keeps its own to itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from ssegate.simulate.answer import Answer, Finish, Offer, Step
from ssegate.simulate.problems import Problem
from ssegate.simulate.text import Call

__all__ = ["ChatCompletions", "Completions"]

_DONE = b"data: [DONE]\n\n"
_FINGERPRINT = "fp_5e9a7e0000"


class _OpenAI:
    content_type = "text/event-stream; charset=utf-8"
    streams = False
    # OpenAI itself sends none; this is the word of its many relays, such as OpenRouter.
    ping = b": keep-alive\n\n"

    def headers(self, answer: Answer) -> dict[str, str]:
        return {
            "x-request-id": f"req_{answer.key}",
            "openai-version": "2020-10-01",
            "openai-processing-ms": "12",
        }

    def error(self, problem: Problem) -> bytes:
        return msgspec.json.encode(_error(problem))

    def error_event(self, problem: Problem) -> bytes:
        return _event(_error(problem))


class ChatCompletions(_OpenAI):
    """``POST /v1/chat/completions``"""

    suffix = "/chat/completions"
    offers: frozenset[Offer] = frozenset({"choices", "reasoning", "tools"})

    def steps(self, answer: Answer) -> Iterator[Step]:
        """Role chunks, deltas (choices interleaved), finish chunks, usage if asked, ``[DONE]``."""
        choices = range(answer.ask.choices)
        for choice in choices:
            yield Step("mark", _chunk(answer, choice, _opening(answer)))
        for thoughts in zip(*(answer.reasoning(choice) for choice in choices), strict=True):
            for choice, piece in enumerate(thoughts):
                delta = {"content": None, "reasoning_content": piece}
                yield Step("token", _chunk(answer, choice, delta))
        for texts in zip(*(answer.text(choice) for choice in choices), strict=True):
            for choice, piece in enumerate(texts):
                delta = (
                    {"content": piece, "reasoning_content": None} if answer.thoughts else {"content": piece}
                )
                yield Step("token", _chunk(answer, choice, delta))
        for choice in choices:
            for call in answer.calls:
                yield from _call_steps(answer, choice, call)
        for choice in choices:
            yield Step("finish", _chunk(answer, choice, {}, answer.finish))
        if answer.ask.usage:
            yield Step("finish", _event({**_head(answer), "choices": [], "usage": _usage(answer)}))
        yield Step("end", _DONE)

    def whole(self, answer: Answer) -> dict[str, Any]:
        """The ``chat.completion`` object."""
        choices = [
            {"index": i, "message": _message(answer, i), "logprobs": None, "finish_reason": answer.finish}
            for i in range(answer.ask.choices)
        ]
        head = {**_head(answer), "object": "chat.completion"}
        return {**head, "choices": choices, "usage": _usage(answer)}


class Completions(_OpenAI):
    """``POST /v1/completions``: text only, no reasoning, no tools."""

    suffix = "/completions"
    offers: frozenset[Offer] = frozenset({"choices"})

    def steps(self, answer: Answer) -> Iterator[Step]:
        """Text chunks (choices interleaved), an empty one with the reason, usage if asked, ``[DONE]``."""
        choices = range(answer.ask.choices)
        for texts in zip(*(answer.text(choice) for choice in choices), strict=True):
            for choice, piece in enumerate(texts):
                yield Step("token", _text_chunk(answer, [_text_choice(piece, choice, None)]))
        for choice in choices:
            yield Step("finish", _text_chunk(answer, [_text_choice("", choice, answer.finish)]))
        if answer.ask.usage:
            yield Step("finish", _text_chunk(answer, [], _text_usage(answer)))
        yield Step("end", _DONE)

    def whole(self, answer: Answer) -> dict[str, Any]:
        """The ``text_completion`` object."""
        choices = [_text_choice("".join(answer.text(i)), i, answer.finish) for i in range(answer.ask.choices)]
        return {**_text_head(answer), "choices": choices, "usage": _text_usage(answer)}


def _event(payload: dict[str, Any]) -> bytes:
    return b"data: %b\n\n" % msgspec.json.encode(payload)


def _error(problem: Problem) -> dict[str, Any]:
    said = {"message": problem.message, "type": problem.openai_type, "param": None}
    return {"error": {**said, "code": problem.openai_code}}


def _head(answer: Answer) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{answer.key}",
        "object": "chat.completion.chunk",
        "created": int(answer.created),
        "model": answer.ask.model,
        "service_tier": "default",
        "system_fingerprint": _FINGERPRINT,
    }


def _chunk(answer: Answer, choice: int, delta: dict[str, Any], finish: Finish | None = None) -> bytes:
    payload = _head(answer)
    payload["choices"] = [{"index": choice, "delta": delta, "logprobs": None, "finish_reason": finish}]
    if answer.ask.usage:
        payload["usage"] = None  # null on every chunk but the last, once usage was asked for
    return _event(payload)


def _opening(answer: Answer) -> dict[str, Any]:
    if answer.thoughts:
        return {"role": "assistant", "content": None, "reasoning_content": ""}
    return {
        "role": "assistant",
        "content": "" if answer.tokens or not answer.calls else None,
        "refusal": None,
    }


def _call_steps(answer: Answer, choice: int, call: Call) -> Iterator[Step]:
    opening = {"index": call.index, **_call(answer, choice, call, arguments="")}
    yield Step("token", _chunk(answer, choice, {"tool_calls": [opening]}))
    for fragment in call.fragments:
        part = {"index": call.index, "function": {"arguments": fragment}}
        yield Step("token", _chunk(answer, choice, {"tool_calls": [part]}))


def _call(answer: Answer, choice: int, call: Call, arguments: str) -> dict[str, Any]:
    return {
        "id": f"call_{answer.key[:18]}{choice:03x}{call.index:03x}",
        "type": "function",
        "function": {"name": call.name, "arguments": arguments},
    }


def _message(answer: Answer, choice: int) -> dict[str, Any]:
    text = "".join(answer.text(choice))
    message: dict[str, Any] = {
        "role": "assistant",
        "content": text if text or not answer.calls else None,
        "refusal": None,
        "annotations": [],
    }
    if answer.thoughts:
        message["reasoning_content"] = "".join(answer.reasoning(choice))
    if answer.calls:
        message["tool_calls"] = [_call(answer, choice, call, call.arguments) for call in answer.calls]
    return message


def _usage(answer: Answer) -> dict[str, Any]:
    details = {"audio_tokens": 0, "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0}
    return {
        "prompt_tokens": answer.ask.input_tokens,
        "completion_tokens": answer.output_tokens,
        "total_tokens": answer.ask.input_tokens + answer.output_tokens,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": answer.thoughts * answer.ask.choices,
            **details,
        },
    }


def _text_head(answer: Answer) -> dict[str, Any]:
    return {
        "id": f"cmpl-{answer.key}",
        "object": "text_completion",
        "created": int(answer.created),
        "model": answer.ask.model,
    }


def _text_chunk(answer: Answer, choices: list[dict[str, Any]], usage: dict[str, int] | None = None) -> bytes:
    payload = {**_text_head(answer), "choices": choices}
    if answer.ask.usage:
        payload["usage"] = usage
    return _event(payload)


def _text_choice(text: str, index: int, finish: Finish | None) -> dict[str, Any]:
    return {"text": text, "index": index, "logprobs": None, "finish_reason": finish}


def _text_usage(answer: Answer) -> dict[str, int]:
    return {
        "prompt_tokens": answer.ask.input_tokens,
        "completion_tokens": answer.output_tokens,
        "total_tokens": answer.ask.input_tokens + answer.output_tokens,
    }
