"""
Anthropic's Messages, as a stream and as a document.

Shapes as recorded from api.anthropic.com, but for the blanks it pads its JSON with.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from ssegate.simulate.answer import Answer, Offer, Step
from ssegate.simulate.problems import Problem
from ssegate.simulate.text import Call

__all__ = ["Messages"]

_STOP_REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}
_PING = {"type": "ping"}
_SIGNATURE = "c2ltdWxhdGVkIHNpZ25hdHVyZSwgc2lnbmVkIGJ5IG5vYm9keQ=="


class Messages:
    """``POST /v1/messages``"""

    suffix = "/messages"
    content_type = "text/event-stream; charset=utf-8"
    streams = False
    offers: frozenset[Offer] = frozenset({"reasoning", "tools"})
    ping = b'event: ping\ndata: {"type":"ping"}\n\n'

    def steps(self, answer: Answer) -> Iterator[Step]:
        """``message_start``, the blocks (a ping inside the first), ``message_delta``, ``message_stop``."""
        yield _mark({"type": "message_start", "message": _opening(answer)})
        index = 0
        for index, (start, deltas) in enumerate(_blocks(answer)):
            yield _mark({"type": "content_block_start", "index": index, "content_block": start})
            if index == 0:
                yield _mark(_PING)
            for kind, delta in deltas:
                data = {"type": "content_block_delta", "index": index, "delta": delta}
                yield Step("token", _event(data)) if kind == "token" else _mark(data)
            yield _mark({"type": "content_block_stop", "index": index})
        yield Step(
            "finish", _event({"type": "message_delta", "delta": _stop(answer), "usage": _usage(answer)})
        )
        yield Step("end", _event({"type": "message_stop"}))

    def whole(self, answer: Answer) -> dict[str, Any]:
        """The ``message`` object."""
        content = list(_content(answer))
        usage = {**_opening(answer)["usage"], **_usage(answer)}
        return {**_opening(answer), "content": content, **_stop(answer), "usage": usage}

    def headers(self, answer: Answer) -> dict[str, str]:
        return {"request-id": f"req_{answer.key}", "anthropic-organization-id": "simulated"}

    def error(self, problem: Problem) -> bytes:
        return msgspec.json.encode(_error(problem))

    def error_event(self, problem: Problem) -> bytes:
        return _event(_error(problem))


def _event(payload: dict[str, Any]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (payload["type"].encode(), msgspec.json.encode(payload))


def _mark(payload: dict[str, Any]) -> Step:
    return Step("mark", _event(payload))


def _error(problem: Problem) -> dict[str, Any]:
    said = {"type": problem.anthropic_type, "message": problem.message}
    return {"type": "error", "error": said, "request_id": "req_simulated"}


def _opening(answer: Answer) -> dict[str, Any]:
    return {
        "model": answer.ask.model,
        "id": f"msg_{answer.key}",
        "type": "message",
        "role": "assistant",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "stop_details": None,
        "usage": {
            "input_tokens": answer.ask.input_tokens,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
            "output_tokens": 1,  # what it says before it has said anything; message_delta corrects it
            "service_tier": "standard",
            "inference_geo": "not_available",
        },
    }


def _stop(answer: Answer) -> dict[str, Any]:
    return {"stop_reason": _STOP_REASONS[answer.finish], "stop_sequence": None, "stop_details": None}


def _usage(answer: Answer) -> dict[str, Any]:
    usage: dict[str, Any] = {
        "input_tokens": answer.ask.input_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "output_tokens": answer.output_tokens,
    }
    if answer.thoughts:
        usage["output_tokens_details"] = {"thinking_tokens": answer.thoughts}
    return usage


_Delta = tuple[str, dict[str, Any]]


def _blocks(answer: Answer) -> Iterator[tuple[dict[str, Any], Iterator[_Delta]]]:
    """Yield each content block as it starts, with its deltas and whether they are paced tokens."""
    if answer.thoughts:
        yield {"type": "thinking", "thinking": "", "signature": ""}, _thinking(answer)
    if answer.tokens:
        texts = (("token", {"type": "text_delta", "text": piece}) for piece in answer.text())
        yield {"type": "text", "text": ""}, texts
    for call in answer.calls:
        yield _tool_use(answer, call, {}), _arguments(call)


def _thinking(answer: Answer) -> Iterator[_Delta]:
    for piece in answer.reasoning():
        yield "token", {"type": "thinking_delta", "thinking": piece}
    yield "mark", {"type": "signature_delta", "signature": _SIGNATURE}


def _arguments(call: Call) -> Iterator[_Delta]:
    # The first fragment is always empty, and the only one of a call without arguments.
    yield "token", {"type": "input_json_delta", "partial_json": ""}
    if call.arguments != "{}":
        for fragment in call.fragments:
            yield "token", {"type": "input_json_delta", "partial_json": fragment}


def _tool_use(answer: Answer, call: Call, arguments: dict[str, Any]) -> dict[str, Any]:
    key = f"toolu_{answer.key[:20]}{call.index:04x}"
    return {"type": "tool_use", "id": key, "name": call.name, "input": arguments}


def _content(answer: Answer) -> Iterator[dict[str, Any]]:
    if answer.thoughts:
        thinking = "".join(answer.reasoning())
        yield {"type": "thinking", "thinking": thinking, "signature": _SIGNATURE}
    if answer.tokens:
        yield {"type": "text", "text": "".join(answer.text())}
    for call in answer.calls:
        yield _tool_use(answer, call, msgspec.json.decode(call.arguments))
