"""
The message that a vendor's client adds up of a stream, by the vendor's own rules.

Strict where clients are lenient: what no rule knows is kept as it came, in order, so that nothing can get
lost unseen. Two streams that accumulate to the same have told a client the same.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from wire.blocks import apart

Said = dict[str, Any]


def events(framing: str, body: bytes) -> list[Said]:
    """Return the JSON of each event, without what a gate adds; comments and end marks are none."""
    found = []
    for piece in apart(framing, body):
        data = piece
        if framing == "sse":
            lines = piece.decode("utf-8", errors="replace").split("\n")
            data = "\n".join(line[5:].strip() for line in lines if line.startswith("data:")).encode()
        if data and data != b"[DONE]":
            said = json.loads(data)
            said.pop("ssegate", None)
            found.append(said)
    return found


def anthropic(said: list[Said]) -> Said:
    """
    Add Messages events up.

    Source: ``accumulate_event`` of Anthropic's Python SDK (``lib/streaming/_messages.py``): a block begins as
    ``content_block`` says, text, thinking and JSON grow, citations are listed, a signature is set, and
    ``message_delta`` replaces what it names.
    """
    message: Said = {"content": {}, "rest": []}
    for event in said:
        match event["type"]:
            case "message_start":
                message.update({**event["message"], "content": {}})
            case "content_block_start":
                message["content"][event["index"]] = dict(event["content_block"])
            case "content_block_delta":
                _grow_block(message["content"][event["index"]], event["delta"])
            case "message_delta":
                message.update(event["delta"])
                message["usage"] = {**message["usage"], **event["usage"]}
                message["rest"].append({k: v for k, v in event.items() if k not in ("delta", "usage")})
            case "completion":
                message["completion"] = message.get("completion", "") + event["completion"]
                message.update({name: value for name, value in event.items() if name != "completion"})
            case "ping":
                pass
            case _:
                message["rest"].append(event)
    return message


def _grow_block(block: Said, delta: Said) -> None:
    names = {"text_delta": "text", "thinking_delta": "thinking", "input_json_delta": "partial_json"}
    kind = delta["type"]
    if kind in names:
        name = names[kind]
        block[name] = block.get(name, "") + delta[name]
        assert delta.keys() == {"type", name}
    elif kind == "citations_delta":
        block["citations"] = [*(block.get("citations") or ()), delta["citation"]]
    elif kind == "signature_delta":
        block["signature"] = delta["signature"]
    else:
        block["rest"] = [*block.get("rest", ()), delta]


def gemini(said: list[Said]) -> Said:
    """
    Add chunks up, or the steps of an interaction.

    Source: https://ai.google.dev/api/generate-content: each chunk is a response of its own, whose parts
    continue those before. A text that is nothing but text continues one of its kind; of all else the last
    value counts.
    """
    if any("event_type" in event for event in said):
        return {"steps": _steps(said)}
    whole: Said = {"candidates": {}}
    for chunk in said:
        whole.update({name: value for name, value in chunk.items() if name != "candidates"})
        for candidate in chunk.get("candidates", ()):
            known = whole["candidates"].setdefault(candidate.get("index", 0), {"parts": []})
            content = candidate.get("content", {})
            known.update({name: value for name, value in candidate.items() if name != "content"})
            known.update({name: value for name, value in content.items() if name != "parts"})
            for part in content.get("parts", ()):
                _add_part(known["parts"], part)
    return whole


def _add_part(parts: list[Said], part: Said) -> None:
    last = parts[-1] if parts else {}
    is_text = part.keys() <= {"text", "thought"} and "text" in part
    if is_text and last.keys() == part.keys() and last.get("thought") == part.get("thought"):
        last["text"] += part["text"]
    else:
        parts.append(dict(part))


def _steps(said: list[Said]) -> list[Said]:
    """Return the events, those joined that differ in a piece of text alone."""
    steps: list[Said] = []
    for event in said:
        last, delta = steps[-1] if steps else {}, event.get("delta", {})
        if delta.get("type") == "text" and {**last, "delta": {**delta, "text": ""}} == {
            **event,
            "delta": {**last.get("delta", {}), "text": ""},
        }:
            last["delta"]["text"] += delta["text"]
        else:
            steps.append(json.loads(json.dumps(event)))
    return steps


def ollama(said: list[Said]) -> Said:
    """
    Add lines up.

    Source: https://docs.ollama.com/capabilities/streaming: content and thinking grow, calls are gathered; of
    all else the last value counts.
    """
    whole: Said = {}
    for line in said:
        message = line.get("message", {})
        for name in ("content", "thinking"):
            if name in message:
                whole[f"message.{name}"] = whole.get(f"message.{name}", "") + message[name]
        for name in ("response", "thinking"):
            if name in line:
                whole[name] = whole.get(name, "") + line[name]
        whole["calls"] = [*whole.get("calls", ()), *(message.get("tool_calls") or ())]
        whole["logprobs"] = [*whole.get("logprobs", ()), *(line.get("logprobs") or ())]
        known = ("message", "response", "thinking", "logprobs")
        whole.update({name: value for name, value in line.items() if name not in known})
        added = ("content", "thinking", "tool_calls")
        whole.update({f"message.{name}": value for name, value in message.items() if name not in added})
    return whole


def cohere(said: list[Said]) -> Said:
    """
    Add events up: contents, the plan and arguments grow at their index, all else is kept in order.

    Source: https://docs.cohere.com/v2/docs/streaming, and of v1 https://docs.cohere.com/v1/docs/streaming.
    """
    grown: Said = {}
    rest = []
    for event in said:
        message = (event.get("delta") or {}).get("message") or {}
        kind, index = event.get("type", event.get("event_type")), event.get("index", 0)
        match kind:
            case "content-delta":
                pieces = [(name, text) for name, text in message["content"].items() if name != "type"]
            case "tool-plan-delta":
                pieces = [("tool_plan", message["tool_plan"])]
            case "tool-call-delta":
                pieces = [("arguments", message["tool_calls"]["function"]["arguments"])]
            case "text-generation":
                pieces = [("text", event["text"])]
            case _:
                pieces = []
                rest.append(event)
        for name, text in pieces:
            grown[f"{index}.{name}"] = grown.get(f"{index}.{name}", "") + text
    return {"grown": grown, "rest": rest}


def openai(said: list[Said]) -> Said:
    """
    Add chunks up: deltas by the rules of OpenAI's Python SDK, choice by choice, and what stands beside them.

    Source: ``accumulate_delta`` (``lib/streaming/_deltas.py``): strings and lists grow, numbers are replaced
    here (the SDK adds them up), objects are gone into, entries with an index are found by it.
    """
    whole: Said = {"choices": {}}
    for chunk in said:
        whole.update({name: value for name, value in chunk.items() if name not in ("choices", *_UNSTEADY)})
        for choice in chunk.get("choices", ()):
            known = whole["choices"].setdefault(choice.get("index", 0), {})
            for name, value in choice.items():
                if name in ("delta", "logprobs", "text") and value is not None:
                    known[name] = _grown(known.get(name), value)
                elif value is not None:
                    known[name] = value
    return whole


_UNSTEADY = ("created", "obfuscation", "p")
"""Of chunks that say the same: a time, and padding."""

_SET = ("id", "type", "role", "object", "name", "format", "signature")
"""Strings that are whole."""


def _grown(known: Any, value: Any, name: str = "") -> Any:
    if known is None or name in _SET:
        return value if value is not None else known
    if value is None:
        return known
    match known, value:
        case str(), str():
            return known + value
        case dict(), dict():
            return known | {key: _grown(known.get(key), item, key) for key, item in value.items()}
        case list(), list() if value and isinstance(value[0], dict) and "index" in value[0]:
            by_index = {entry["index"]: entry for entry in known}
            for entry in value:
                by_index[entry["index"]] = _grown(by_index.get(entry["index"]), entry)
            return list(by_index.values())
        case list(), list():
            return [*known, *value]
    return value


def responses(said: list[Said]) -> list[Said]:
    """
    Return the events, deltas of one place joined.

    Source: https://platform.openai.com/docs/api-reference/responses-streaming: each item is told whole at its
    end, so nothing else needs adding up; the numbers of joined events are gone.
    """
    joined: list[Said] = []
    for event in said:
        event = {
            name: value for name, value in event.items() if name not in ("sequence_number", "obfuscation")
        }
        last = joined[-1] if joined else {}
        if isinstance(event.get("delta"), str) and {**last, "delta": ""} == {**event, "delta": ""}:
            last["delta"] += event["delta"]
        else:
            joined.append(event)
    return joined


RULES: dict[str, Callable[[list[Said]], Any]] = {
    "openai": openai,
    "anthropic": anthropic,
    "responses": responses,
    "gemini": gemini,
    "ollama": ollama,
    "cohere": cohere,
}
"""By the dialect."""
