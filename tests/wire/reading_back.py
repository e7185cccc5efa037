"""
What a client makes of the bytes that a pipeline wrote: readers written from the formats' descriptions, with
nothing of the gate's in them.

Each of them first holds the bytes to the strictest profile of the wire, then adds up what they say.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from wire.blocks import apart, message


@dataclass
class Message:
    """One choice, added up."""

    text: str = ""
    reasoning: str = ""
    refusal: str = ""
    calls: list[dict[str, str]] = field(default_factory=list)
    finish_reason: str | None = None


@dataclass
class Answer:
    """All that one stream said."""

    choices: dict[int, Message] = field(default_factory=dict)
    running: list[dict[str, Any]] = field(default_factory=list)
    """The metadata of each running event that had some."""

    final: dict[str, Any] | None = None
    usage: dict[str, Any] | None = None
    citations: list[dict[str, Any]] = field(default_factory=list)
    error: dict[str, Any] | None = None
    finish: dict[str, Any] | None = None
    """Native's last event."""

    open_calls: dict[int, dict[str, str]] = field(default_factory=dict)
    """By their block."""

    def of(self, choice: int) -> Message:
        return self.choices.setdefault(choice, Message())

    @property
    def first(self) -> Message:
        """Choice 0."""
        return self.of(0)


def loads(text: str) -> Any:
    """Read JSON as strictly as a browser does."""

    def refuse(constant: str) -> Any:
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(text, parse_constant=refuse)


def blocks(body: bytes) -> list[dict[str, str]]:
    """
    Return the fields of each SSE event, heartbeats (``:`` and a newline) left out.

    LF only, one space after each colon, strict UTF-8 without BOM, one ``data:`` line in every event (so all
    JSON stands on one line), no event without one, none unfinished.
    """
    text = body.decode("utf-8", errors="strict")
    assert "\r" not in text and "\ufeff" not in text[:1]
    assert text == "" or text.endswith("\n")
    found: list[dict[str, str]] = []
    fields: dict[str, str] = {}
    for line in text.split("\n")[:-1]:
        if line == ":":
            assert not fields, "a heartbeat inside an event"
        elif line:
            name, colon, value = line.partition(": ")
            assert colon and name in ("id", "event", "data") and name not in fields, f"bad line {line!r}"
            fields[name] = value
        else:
            assert "data" in fields, "an event without data"
            found.append(fields)
            fields = {}
    assert not fields, "the last event is not whole"
    return found


def heartbeats(body: bytes) -> int:
    """How many comments are among the events."""
    return body.decode().split("\n").count(":")


def native(body: bytes) -> Answer:
    """Read the native format; the last event must be the finish or the error, and the only such."""
    answer = Answer()
    events = blocks(body)
    for at, block in enumerate(events):
        said = loads(block["data"])
        is_last = at == len(events) - 1
        assert said["finished"] is is_last, "one last event, at the end"
        assert ("token" in said) is not is_last
        assert set(block) <= {"id", "data"} or (is_last and block["event"] == "error" and "error" in said)
        if is_last:
            answer.final = said.get("metadata")
            answer.first.finish_reason = said.get("finish_reason")
            answer.error = said if "error" in said else None
            answer.finish = said
        else:
            _add_native(answer, said)
    return answer


def _add_native(answer: Answer, said: dict[str, Any]) -> None:
    assert set(said) <= {
        *("token", "finished", "metadata", "choice", "reasoning", "refusal", "tool_call", "citation"),
        *("finish_reason", "upstream_finish_reason"),
    }
    assert said.get("choice") != 0
    choice = answer.of(said.get("choice", 0))
    choice.text += said["token"]
    choice.reasoning += said.get("reasoning", "")
    choice.refusal += said.get("refusal", "")
    choice.finish_reason = said.get("finish_reason", choice.finish_reason)
    if "citation" in said:
        answer.citations.append(said["citation"])
    if "metadata" in said:
        answer.running.append(said["metadata"])
    if (call := said.get("tool_call")) is not None:
        if "name" in call:
            assert call["index"] == len(choice.calls), "calls count 0, 1, 2"
            choice.calls.append({key: call[key] for key in ("id", "name", "arguments")})
        else:
            assert set(call) == {"index", "arguments"}
            choice.calls[call["index"]]["arguments"] += call["arguments"]


def openai(body: bytes) -> Answer:
    """Read OpenAI's chunks, chat or completions, in any of its imitators' spellings."""
    answer = Answer()
    *events, done = [block["data"] for block in blocks(body)]
    assert done == "[DONE]" and done not in events, "one terminator, at the end"
    for at, data in enumerate(events):
        said = loads(data)
        if "error" in said:
            assert "choices" not in said and at == len(events) - 1, "an error is the last event"
            answer.error = said["error"]
        else:
            _add_chunk(answer, said)
        answer.usage = said.get("usage") or answer.usage
        _add_metadata(answer, said)
    return answer


def _add_chunk(answer: Answer, said: dict[str, Any]) -> None:
    for choice in said["choices"]:
        message = answer.of(choice.get("index", 0))
        delta = choice.get("delta") or {}
        for text, reasoning in _parts(delta.get("content") or choice.get("text")):
            message.text += text
            message.reasoning += reasoning
        details = [detail.get("text") or "" for detail in delta.get("reasoning_details") or ()]
        message.reasoning += delta.get("reasoning_content") or delta.get("reasoning") or "".join(details)
        message.refusal += delta.get("refusal") or ""
        answer.citations += [note["url_citation"] for note in delta.get("annotations") or ()]
        for place, call in enumerate(delta.get("tool_calls") or ()):
            _add_call(message.calls, place, call)
        message.finish_reason = message.finish_reason or choice.get("finish_reason")


def _parts(content: Any) -> Iterator[tuple[str, str]]:
    """Text and thinking of a content that may be a list (Mistral)."""
    if isinstance(content, str):
        yield content, ""
    for part in content if isinstance(content, list) else ():
        thinking = part.get("thinking") or ()
        yield part.get("text") or "", "".join(piece["text"] for piece in thinking)


def _add_call(calls: list[dict[str, str]], place: int, call: dict[str, Any]) -> None:
    index = call.get("index", place)
    while len(calls) <= index:
        calls.append({"id": "", "name": "", "arguments": ""})
    known, function = calls[index], call.get("function") or {}
    known["id"] = known["id"] or call.get("id") or ""
    known["name"] = known["name"] or function.get("name") or ""
    known["arguments"] += function.get("arguments") or ""


def _add_metadata(answer: Answer, said: dict[str, Any]) -> None:
    if (metadata := said.get("ssegate")) is None:
        return
    if "token_count" in metadata:
        answer.running.append(metadata)
    else:
        assert answer.final is None, "final metadata once"
        answer.final = metadata


def vercel(body: bytes) -> Answer:
    """Read UI message chunks: what ``useChat`` makes of them, and that nothing is left open."""
    answer, parts, sources = Answer(), {}, set()
    *events, done = blocks(body)
    assert done["data"] == "[DONE]", "the terminator, at the end"
    chunks = [loads(event["data"]) for event in events]
    assert all(set(event) <= {"id", "data"} for event in events), "no event has a name"
    for at, said in enumerate(chunks):
        is_last = said["type"] in ("finish", "error", "abort")
        assert is_last is (at == len(chunks) - 1), "one end, at the end"
        kind, _, step = said["type"].rpartition("-")
        if kind in ("text", "reasoning"):
            _add_part(answer.first, parts, kind, step, said)
        elif kind == "tool-input":
            _add_tool(answer, step, said)
        elif said["type"] == "source-url":
            assert said["sourceId"] not in sources
            sources.add(said["sourceId"])
            answer.citations.append(said)
        elif said["type"] == "data-ssegate":
            assert said["transient"] is True
            _add_metadata(answer, {"ssegate": said["data"]})
        else:
            assert said["type"] in ("start", "start-step", "finish-step", "finish", "error", "abort")
    assert not any(parts.values()) and not answer.open_calls, "all that opens closes"
    _check_steps([said["type"] for said in chunks])
    answer.first.finish_reason = chunks[-1].get("finishReason")
    if chunks[-1]["type"] != "finish":
        answer.error = {"message": chunks[-1].get("errorText", chunks[-1].get("reason"))}
    return answer


def _add_part(message: Message, parts: dict[str, str], kind: str, step: str, said: dict[str, Any]) -> None:
    if step == "start":
        assert said["id"] not in parts and not any(parts.values()), "one part is open, each has its own id"
        is_refusal = said.get("providerMetadata") == {"ssegate": {"refusal": True}}
        parts[said["id"]] = "refusal" if is_refusal else kind
    elif step == "delta":
        assert said["delta"] and parts[said["id"]] in (kind, "refusal")
        name = parts[said["id"]]
        setattr(message, name, getattr(message, name) + said["delta"])
    else:
        assert step == "end" and parts[said["id"]]
        parts[said["id"]] = ""


def _add_tool(answer: Answer, step: str, said: dict[str, Any]) -> None:
    known = {call["id"]: call for call in answer.open_calls.values()}
    if step == "start":
        assert said["toolCallId"] not in known
        call = {"id": said["toolCallId"], "name": said["toolName"], "arguments": ""}
        answer.open_calls[len(answer.first.calls)] = call
        answer.first.calls.append(call)
        return
    call = known[said["toolCallId"]]
    if step == "delta":
        call["arguments"] += said["inputTextDelta"]
        return
    assert said["toolName"] == call["name"]
    if step == "available" and not isinstance(said["input"], str):
        assert said["input"] == loads(call["arguments"])
    else:
        assert said["input"] == call["arguments"]
        assert step == "available" or said["errorText"]
    answer.open_calls = {index: one for index, one in answer.open_calls.items() if one is not call}


def _check_steps(kinds: list[str]) -> None:
    """The message begins once, before all that it says, and its one step is closed."""
    if "start" not in kinds:
        assert set(kinds) <= {"data-ssegate", "error", "abort"}, "nothing has been said"
        return
    assert kinds[:2] == ["start", "start-step"] and kinds[-2] == "finish-step"
    assert [kinds.count(kind) for kind in ("start", "start-step", "finish-step")] == [1, 1, 1]


def text(body: bytes) -> Answer:
    """Read bare text: unnamed events, joined as they are, up to ``done`` or ``error``."""
    answer, name, data, is_over = Answer(), "", [], False
    said = body.decode("utf-8", errors="strict")
    assert "\r" not in said and not said.startswith("\ufeff") and said.endswith("\n\n")
    for line in said.split("\n")[:-1]:
        field, colon, value = line.partition(": ")
        if field == "data" and colon:
            data.append(value)
        elif field == "event" and colon:
            assert not data and not name
            name = value
        elif line == "":
            assert data and not is_over, "an event without data, or behind the end"
            is_over = name in ("done", "error")
            assert is_over or not name
            _add_bare(answer, name, "\n".join(data))
            name, data = "", []
        else:
            assert line == ":" or (field == "id" and colon), f"bad line {line!r}"
            assert not data and not name, "a heartbeat inside an event"
    assert is_over
    return answer


def _add_bare(answer: Answer, name: str, data: str) -> None:
    assert data, "a browser passes over an event whose data is empty"
    if name == "error":
        answer.error = {"message": data}
    elif name == "done":
        answer.first.finish_reason = data
    else:
        answer.first.text += data


BROKEN_OFF = {"type": "input_json_delta", "partial_json": "{"}


def anthropic(body: bytes) -> Answer:
    """Read Messages events: what its SDK adds up."""
    answer, stopped = Answer(), False
    calls: dict[int, dict[str, str]] = {}
    message, opened = answer.first, {}
    for block in blocks(body):
        said = loads(block["data"])
        assert not stopped, "nothing follows the end"
        if answer.error is not None:  # but what closes a call that broke off
            assert said["type"] in ("content_block_delta", "content_block_stop")
            assert opened[said["index"]] == "tool_use" and said.get("delta", BROKEN_OFF) == BROKEN_OFF
            if said["type"] == "content_block_stop":
                del opened[said["index"]]
            continue
        assert block["event"] == said["type"]
        if said["type"] == "content_block_start":
            opened[said["index"]] = said["content_block"]["type"]
        elif said["type"] == "content_block_stop":
            del opened[said["index"]]
        _add_metadata(answer, said)
        match said["type"]:
            case "content_block_start" if said["content_block"]["type"] == "tool_use":
                start = said["content_block"]
                calls[said["index"]] = {"id": start["id"], "name": start["name"], "arguments": ""}
                message.calls.append(calls[said["index"]])
            case "content_block_start":
                message.text += said["content_block"].get("text", "")
                calls.pop(said["index"], None)
            case "content_block_delta":
                delta = said["delta"]
                message.text += delta.get("text", "")
                message.reasoning += delta.get("thinking", "")
                if said["index"] in calls:
                    calls[said["index"]]["arguments"] += delta.get("partial_json", "")
            case "message_delta":
                message.finish_reason = said["delta"]["stop_reason"]
                answer.usage = said["usage"]
            case "message_stop":
                stopped = True
            case "error":
                answer.error = said["error"]
    assert stopped or answer.error is not None
    # Anthropic itself leaves a call open that max_tokens has cut.
    assert not opened or (answer.error is None and set(opened.values()) == {"tool_use"}), "a block is open"
    return answer


def ollama(body: bytes) -> Answer:
    """Read one JSON object a line, the last of them done or an error."""
    answer = Answer()
    text = body.decode("utf-8", errors="strict")
    assert text.endswith("\n") and "\r" not in text
    lines = [loads(line) for line in text.split("\n")[:-1]]
    for at, said in enumerate(lines):
        is_last = at == len(lines) - 1
        assert (said.get("done") is True or "error" in said) is is_last
        message = said.get("message") or {}
        answer.first.text += message.get("content") or said.get("response") or ""
        answer.first.reasoning += message.get("thinking") or said.get("thinking") or ""
        for call in message.get("tool_calls") or ():
            function = call["function"]
            arguments = json.dumps(function["arguments"])
            answer.first.calls.append(
                {"id": call.get("id", ""), "name": function["name"], "arguments": arguments}
            )
        answer.first.finish_reason = said.get("done_reason")
        _add_metadata(answer, said)
        if "error" in said:
            answer.error = {"message": said["error"]}
    return answer


def bedrock(body: bytes) -> Answer:
    """Read messages: Converse's events, a model's own events in ``chunk``, or an exception at the end."""
    answer = Answer()
    pieces = apart("eventstream", body)
    for at, piece in enumerate(pieces):
        headers, payload = message(piece)
        assert headers[":content-type"] == "application/json"
        said = loads(payload.decode())
        _add_metadata(answer, said)
        kind = headers.get(":event-type", "")
        if headers[":message-type"] == "exception":
            assert at == len(pieces) - 1, "an exception is the last message"
            answer.error = said | {"type": headers[":exception-type"]}
        elif kind == "chunk":
            _add_invoked(answer, loads(base64.b64decode(said["bytes"]).decode()))
        else:
            _add_converse(answer, kind, said)
    return answer


def _add_converse(answer: Answer, kind: str, said: dict[str, Any]) -> None:
    message, delta = answer.first, said.get("delta", {})
    use = said.get("start", {}).get("toolUse")
    if use and use.get("type") != "server_tool_use":
        message.calls.append({"id": use["toolUseId"], "name": use["name"], "arguments": ""})
        answer.open_calls[said["contentBlockIndex"]] = message.calls[-1]
    if kind == "contentBlockDelta":
        message.text += delta.get("text", "")
        message.reasoning += delta.get("reasoningContent", {}).get("text", "")
        if "toolUse" in delta and (call := answer.open_calls.get(said["contentBlockIndex"])):
            call["arguments"] += delta["toolUse"]["input"]
    if kind == "messageStop":
        message.finish_reason = said["stopReason"]
    answer.usage = said.get("usage", answer.usage)


def _add_invoked(answer: Answer, said: dict[str, Any]) -> None:
    message, delta = answer.first, said.get("delta", {})
    for kind in ("contentBlockStart", "contentBlockDelta", "messageStop", "metadata"):  # Nova
        if kind in said:
            _add_converse(answer, kind, said[kind])
    message.text += said.get("outputText", "") + delta.get("text", "")
    message.finish_reason = delta.get("stop_reason") or said.get("completionReason") or message.finish_reason
    use = said.get("content_block", {})
    if use.get("type") == "tool_use":
        message.calls.append({"id": use["id"], "name": use["name"], "arguments": ""})
        answer.open_calls[said["index"]] = message.calls[-1]
    if "partial_json" in delta:
        answer.open_calls[said["index"]]["arguments"] += delta["partial_json"]


def gemini(body: bytes) -> Answer:
    """Read chunks, events of one ``data:`` line each or elements of one array, and interactions."""
    answer = Answer()
    if body.startswith(b"["):
        text = body.decode("utf-8", errors="strict")
        assert "\r" not in text
        chunks = loads(text)
    else:
        events = blocks(body)
        has_mark = bool(events) and events[-1] == {"event": "done", "data": "[DONE]"}
        chunks = [loads(block["data"]) for block in events[: len(events) - has_mark]]
        names = [block.get("event") for block in events[: len(events) - has_mark]]
        assert names == [chunk.get("event_type") for chunk in chunks], "chunks have no name"
    for at, said in enumerate(chunks):
        _add_metadata(answer, said)
        if "error" in said:
            assert at == len(chunks) - 1, "an error is the last chunk"
            answer.error = said["error"]
        for candidate in said.get("candidates", ()):
            _add_candidate(answer, candidate)
        _add_step(answer.first, said)
        answer.first.finish_reason = _end_of(said) or answer.first.finish_reason
    return answer


def _add_candidate(answer: Answer, candidate: dict[str, Any]) -> None:
    message = answer.of(candidate.get("index", 0))
    for part in candidate.get("content", {}).get("parts", ()):
        if part.get("thought"):
            message.reasoning += part["text"]
        else:
            message.text += part.get("text", "")
        if call := part.get("functionCall"):
            arguments = json.dumps(call["args"], separators=(",", ":"), ensure_ascii=False)
            message.calls.append({"id": call.get("id"), "name": call["name"], "arguments": arguments})


def _add_step(message: Message, said: dict[str, Any]) -> None:
    delta = said.get("delta", {})
    if delta.get("type") == "text":
        message.text += delta["text"]
    if delta.get("type") == "thought_summary":
        message.reasoning += delta["content"]["text"]


def _end_of(said: dict[str, Any]) -> str | None:
    if said.get("event_type") == "interaction.completed":
        return str(said["interaction"]["status"])
    reasons = [candidate.get("finishReason") for candidate in said.get("candidates", ())]
    blocked = said.get("promptFeedback", {}).get("blockReason")
    return next((str(reason) for reason in [*reasons, blocked] if reason), None)


ITEMS = {"response.output_text": "text", "response.refusal": "refusal"} | dict.fromkeys(
    ("response.reasoning_text", "response.reasoning_summary_text"), "reasoning"
)
"""What is added up of a message, by the events that bring it."""

CALLS = {"function_call": "arguments", "custom_tool_call": "input"}


def responses(body: bytes) -> Answer:
    """Read Responses events: deltas are added up, and what is done must be what was added up."""
    answer, calls, number = Answer(), {}, -1
    events = blocks(body)
    opened: dict[Any, str] = {}
    for at, block in enumerate(events):
        said = loads(block["data"])
        assert block["event"] == said["type"]
        may_repeat = said["type"] == "response.in_progress"  # a sign of life is no event of its own
        assert said.get("sequence_number", number + 1) > number - may_repeat, "numbers grow"
        number = said.get("sequence_number", number)
        _add_metadata(answer, said)
        is_last = at == len(events) - 1
        name, _, step = said["type"].rpartition(".")
        if "item" in said and step == "added":
            opened[_item(said)] = said["item"]["type"]
        elif "item" in said and step == "done":
            opened.pop(_item(said), None)
        ends = step in ("completed", "incomplete", "failed") and name == "response"
        assert ends is is_last, "the response ends once, at the end"
        if ends:
            answer.usage = said["response"].get("usage")
            answer.first.finish_reason = said["response"]["status"]
            assert said["type"] == f"response.{said['response']['status']}"
            assert (step == "failed") is (answer.error is not None)
        elif said["type"] == "error":
            assert said["error"]["message"] == said["message"] and answer.error is None
            answer.error = said["error"]
        elif answer.error is not None:  # what closes a call that broke off
            assert name in ("response.function_call_arguments", "response.output_item")
            assert said.get("delta", "{") == "{"
        else:
            _add_item(answer, calls, name, step, said)
    if answer.error is not None:
        assert {"message", "reasoning", "function_call"}.isdisjoint(opened.values()), "an item is open"
    return answer


def _item(said: dict[str, Any]) -> Any:
    return said.get("output_index", said["item"].get("id"))


def _add_item(answer: Answer, calls: dict[Any, Any], name: str, step: str, said: dict[str, Any]) -> None:
    message = answer.first
    key = said.get("output_index", said.get("item_id", (said.get("item") or {}).get("id")))
    if name in ITEMS and step == "delta":
        grown = getattr(message, ITEMS[name]) + said["delta"]
        setattr(message, ITEMS[name], grown)
    elif name in ITEMS:
        assert getattr(message, ITEMS[name]).endswith(said.get("text") or said["refusal"])
    elif name == "response.output_text.annotation":
        answer.citations.append(said["annotation"])
    elif step == "delta" and key in calls:
        calls[key]["arguments"] += said["delta"]
    elif name == "response.output_item" and said["item"]["type"] in CALLS:
        item = said["item"]
        arguments = item[CALLS[item["type"]]]
        if step == "added":
            calls[key] = {"id": item["call_id"], "name": item["name"], "arguments": arguments}
            message.calls.append(calls[key])
        elif not calls[key]["arguments"]:
            calls[key]["arguments"] = arguments  # they come only now (LM Studio)
        else:
            assert calls[key]["arguments"] == arguments


def assistants(body: bytes) -> Answer:
    """Read the events of a run: the texts of its messages are added up."""
    answer = Answer()
    *events, done = blocks(body)
    assert done == {"event": "done", "data": "[DONE]"} and done not in events, "one terminator, at the end"
    for at, block in enumerate(events):
        said = loads(block["data"])
        _add_metadata(answer, said)
        if block["event"] == "error":
            assert at == len(events) - 1, "an error is the last event"
            answer.error = said["error"]
        for part in said.get("delta", {}).get("content", ()):
            answer.first.text += part["text"]["value"]
        if said.get("object") == "thread.run":
            answer.usage = said["usage"]
            answer.first.finish_reason = said["status"]
    return answer


def tgi(body: bytes) -> Answer:
    """Read a token an event, the last of them with the whole text or an error."""
    answer = Answer()
    events = [loads(block["data"]) for block in blocks(body)]
    for at, said in enumerate(events):
        is_last = at == len(events) - 1
        assert (said.get("generated_text") is not None or "error" in said) is is_last
        _add_metadata(answer, said)
        if "error" in said:
            answer.error = {"message": said["error"], "type": said["error_type"]}
        else:
            answer.first.text += "" if said["token"]["special"] else said["token"]["text"]
            answer.first.finish_reason = (said["details"] or {}).get("finish_reason")
    return answer


def llamacpp(body: bytes) -> Answer:
    """Read llama.cpp's own events, the last of them with ``stop`` or an error."""
    answer = Answer()
    events = [loads(block["data"]) for block in blocks(body)]
    for at, said in enumerate(events):
        is_last = at == len(events) - 1
        assert (said.get("stop") is True or "error" in said) is is_last
        _add_metadata(answer, said)
        if "error" in said:
            answer.error = said["error"]
        else:
            answer.first.text += said["content"]
            answer.first.finish_reason = said.get("stop_type")
    return answer


def watsonx(body: bytes) -> Answer:
    """Read watsonx.ai's events, the last of them with a reason to stop or an error."""
    answer = Answer()
    events = [loads(block["data"]) for block in blocks(body)]
    for at, said in enumerate(events):
        is_last = at == len(events) - 1
        _add_metadata(answer, said)
        if "errors" in said:
            assert is_last
            (answer.error,) = said["errors"]
            continue
        (result,) = said["results"]
        assert (result["stop_reason"] != "not_finished") is is_last
        answer.first.text += result["generated_text"]
        answer.first.finish_reason = result["stop_reason"]
    return answer


def cohere(body: bytes) -> Answer:
    """Read Cohere's chat: v2's events, or v1's lines."""
    if not body.startswith(b"{"):
        *events, last = [block["data"] for block in blocks(body)]
        events = events if last == "[DONE]" else [*events, last]
    else:
        events = body.decode("utf-8", errors="strict").split("\n")
        assert events.pop() == ""
    answer = Answer()
    for at, data in enumerate(events):
        said = loads(data)
        is_last = at == len(events) - 1
        assert ((said.get("type") or said.get("event_type")) in ("message-end", "stream-end")) is is_last
        _add_metadata(answer, said)
        if is_last:
            end = said.get("delta", said)
            answer.first.finish_reason = end["finish_reason"]
            answer.error = {"message": end["error"]} if "error" in end else None
        elif "event_type" in said:
            answer.first.text += said.get("text", "")
        else:
            _add_cohere(answer.first, said)
    return answer


def _add_cohere(message: Message, said: dict[str, Any]) -> None:
    added = said.get("delta", {}).get("message", {})
    match said["type"]:
        case "content-start" | "content-delta":
            message.text += added["content"].get("text", "")
            message.reasoning += added["content"].get("thinking", "")
        case "tool-call-start":
            assert said["index"] == len(message.calls)
            call = added["tool_calls"]
            message.calls.append({"id": call["id"], **call["function"]})
        case "tool-call-delta":
            message.calls[said["index"]]["arguments"] += added["tool_calls"]["function"]["arguments"]
