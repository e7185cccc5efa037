"""What each dialect's events say, read by hand: text, reasoning, tool calls and the finish."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from .peer import events, lines

__all__ = ["READERS", "Said"]


@dataclass
class Said:
    text: str = ""
    reasoning: str = ""
    calls: dict[int, list[str]] = field(default_factory=dict)
    """By index: name and arguments."""

    finish: str | None = None
    ended: bool = False
    output_tokens: int | None = None

    def arguments(self) -> list[tuple[str, Any]]:
        return [(name, json.loads(text or "{}")) for name, text in self.calls.values()]


def openai(body: bytes, choice: int = 0) -> Said:
    said = Said()
    for _, data in events(body):
        assert not said.ended, "an event after the end mark"
        if data == "[DONE]":
            said.ended = True
            continue
        if data.get("usage"):
            said.output_tokens = data["usage"]["completion_tokens"]
        for part in data["choices"]:
            if part["index"] != choice:
                continue
            delta = part["delta"]
            said.text += delta.get("content") or ""
            said.reasoning += delta.get("reasoning_content") or ""
            said.finish = part["finish_reason"] or said.finish
            for call in delta.get("tool_calls", []):
                if "id" in call:
                    said.calls[call["index"]] = [call["function"]["name"], ""]
                said.calls[call["index"]][1] += call["function"]["arguments"]
    return said


def completions(body: bytes, choice: int = 0) -> Said:
    said = Said()
    for _, data in events(body):
        if data == "[DONE]":
            said.ended = True
            continue
        if data.get("usage"):
            said.output_tokens = data["usage"]["completion_tokens"]
        for part in data["choices"]:
            if part["index"] == choice:
                said.text += part["text"]
                said.finish = part["finish_reason"] or said.finish
    return said


def anthropic(body: bytes) -> Said:
    said = Said()
    blocks: dict[int, dict[str, Any]] = {}
    open_block: int | None = None
    for name, data in events(body):
        assert name == data["type"]
        assert not said.ended, "an event after the end mark"
        match data:
            case {"type": "content_block_start", "index": index, "content_block": block}:
                assert open_block is None
                assert index == len(blocks)
                open_block, blocks[index] = index, block
                if block["type"] == "tool_use":
                    said.calls[index] = [block["name"], ""]
            case {"type": "content_block_delta", "index": index, "delta": delta}:
                assert index == open_block
                said.text += delta.get("text", "")
                said.reasoning += delta.get("thinking", "")
                if delta["type"] == "input_json_delta":
                    said.calls[index][1] += delta["partial_json"]
            case {"type": "content_block_stop", "index": index}:
                assert index == open_block
                open_block = None
            case {"type": "message_delta", "delta": delta, "usage": usage}:
                assert open_block is None
                said.finish, said.output_tokens = delta["stop_reason"], usage["output_tokens"]
            case {"type": "message_stop"}:
                said.ended = True
    return said


def ollama(body: bytes) -> Said:
    said = Said()
    for data in lines(body):
        assert not said.ended, "a line after the last one"
        message = data.get("message") or {"content": data["response"], "thinking": data.get("thinking", "")}
        said.text += message["content"]
        said.reasoning += message.get("thinking", "")
        for call in message.get("tool_calls", []):
            function = call["function"]
            said.calls[function["index"]] = [function["name"], json.dumps(function["arguments"])]
        if data["done"]:
            said.ended, said.finish, said.output_tokens = True, data["done_reason"], data["eval_count"]
    return said


READERS = {
    "openai": openai,
    "completions": completions,
    "anthropic": anthropic,
    "ollama": ollama,
    "generate": ollama,
}
