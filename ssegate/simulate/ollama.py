"""
Ollama's native chat and generate: one JSON object a line, a stream unless the request says otherwise.

Shapes as recorded from Ollama; its finish is its end mark, so a stream has no ``end`` of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec

from ssegate.simulate.answer import Answer, Offer, Step
from ssegate.simulate.problems import Problem

__all__ = ["Chat", "Generate"]


class _Ollama:
    content_type = "application/x-ndjson"
    streams = True
    ping = b"\n"  # NDJSON has no comments; an empty line is the nearest to one

    def headers(self, answer: Answer) -> dict[str, str]:
        return {}

    def error(self, problem: Problem) -> bytes:
        return msgspec.json.encode({"error": problem.message})

    def error_event(self, problem: Problem) -> bytes:
        return _line({"error": problem.message})


class Chat(_Ollama):
    """``POST /api/chat``"""

    suffix = "/api/chat"
    offers: frozenset[Offer] = frozenset({"reasoning", "tools"})

    def steps(self, answer: Answer) -> Iterator[Step]:
        """Thinking, text, whole tool calls, and the line that is ``done``."""
        for piece in answer.reasoning():
            yield Step("token", _chat_line(answer, content="", thinking=piece))
        for piece in answer.text():
            yield Step("token", _chat_line(answer, content=piece))
        for call in _calls(answer):
            yield Step("token", _chat_line(answer, content="", tool_calls=[call]))
        message = {"role": "assistant", "content": ""}
        yield Step("finish", _line({**_head(answer), "message": message, **_done(answer)}))

    def whole(self, answer: Answer) -> dict[str, Any]:
        """The one object of ``"stream": false``."""
        message: dict[str, Any] = {"role": "assistant", "content": "".join(answer.text())}
        if answer.thoughts:
            message["thinking"] = "".join(answer.reasoning())
        if answer.calls:
            message["tool_calls"] = _calls(answer)
        return {**_head(answer), "message": message, **_done(answer)}


class Generate(_Ollama):
    """``POST /api/generate``: no tools."""

    suffix = "/api/generate"
    offers: frozenset[Offer] = frozenset({"reasoning"})

    def steps(self, answer: Answer) -> Iterator[Step]:
        """Thinking, text, and the line that is ``done``."""
        for piece in answer.reasoning():
            yield Step("token", _line({**_head(answer), "response": "", "thinking": piece, "done": False}))
        for piece in answer.text():
            yield Step("token", _line({**_head(answer), "response": piece, "done": False}))
        yield Step("finish", _line({**_head(answer), "response": "", **_done(answer), "context": _context()}))

    def whole(self, answer: Answer) -> dict[str, Any]:
        """The one object of ``"stream": false``."""
        said: dict[str, Any] = {**_head(answer), "response": "".join(answer.text())}
        if answer.thoughts:
            said["thinking"] = "".join(answer.reasoning())
        return {**said, **_done(answer), "context": _context()}


def _line(payload: dict[str, Any]) -> bytes:
    return msgspec.json.encode(payload) + b"\n"


def _head(answer: Answer) -> dict[str, Any]:
    now = datetime.fromtimestamp(answer.clock(), UTC).isoformat(timespec="microseconds")
    return {"model": answer.ask.model, "created_at": now.replace("+00:00", "Z")}


def _chat_line(answer: Answer, **message: Any) -> bytes:
    return _line({**_head(answer), "message": {"role": "assistant", **message}, "done": False})


def _calls(answer: Answer) -> list[dict[str, Any]]:
    return [
        {
            "function": {
                "index": call.index,
                "name": call.name,
                "arguments": msgspec.json.decode(call.arguments),
            }
        }
        for call in answer.calls
    ]


def _done(answer: Answer) -> dict[str, Any]:
    """The final counters, durations in nanoseconds; tool calls end with ``stop`` like everything else."""
    total = int((answer.clock() - answer.created) * 1e9)
    load, prompt = total // 100, total // 10
    return {
        "done_reason": "length" if answer.finish == "length" else "stop",
        "done": True,
        "total_duration": total,
        "load_duration": load,
        "prompt_eval_count": answer.ask.input_tokens,
        "prompt_eval_duration": prompt,
        "eval_count": answer.output_tokens,
        "eval_duration": total - load - prompt,
    }


def _context() -> list[int]:
    return list(range(1, 9))
