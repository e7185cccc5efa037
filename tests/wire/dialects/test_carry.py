import json
from dataclasses import replace
from itertools import pairwise

import pytest
from openai.lib.streaming._deltas import accumulate_delta
from wire.recordings import recordings

from ssegate.wire.dialects import DIALECTS
from ssegate.wire.events import Failure, Frame, Reasoning, Refusal, Text, ToolCall

from .reading import frames_of

STREAMS = recordings()


def carry(dialect, *payloads, event=""):
    decoder = DIALECTS[dialect]()
    carried = []
    for data in payloads:
        frame = Frame(event, data if isinstance(data, bytes) else json.dumps(data).encode())
        decoder.decode(frame)
        carried.append(decoder.carry(frame))
    return carried


def carried_of(body):
    """Every carried frame of a recording, and the frames and events it was read from."""
    decoder = DIALECTS[body.dialect]()
    for frame in frames_of(body.framing, [body.body]):
        events = decoder.decode(frame)
        yield frame, events, decoder.carry(frame)


def whole(carried):
    return carried.head + carried.body + carried.tail


def joined(carried):
    """Join neighbours of equal keys, as a batcher does that holds without limit."""
    out = []
    for frame in carried:
        if out and frame.key is not None and frame.key == out[-1].key:
            out[-1] = replace(frame, body=out[-1].body + frame.body, count=out[-1].count + frame.count)
        else:
            out.append(frame)
    return out


VOLATILE = {"created", "obfuscation", "created_at", "p", "choices"}


def said(members):
    """The members that say something, without times and padding."""
    return {key: value for key, value in members.items() if key not in VOLATILE and value is not None}


def openai_message(payloads):
    """
    Accumulate chunks by the OpenAI SDK's own function; what is beside the delta, the last one counts.

    Lists whose entries have no index are beyond that function: they, and logprobs, are put one after another.
    """
    choices, rest = {}, {}
    for payload in payloads:
        rest |= said(payload)
        for choice in payload["choices"]:
            total = choices.setdefault(choice.get("index", 0), {"delta": {}, "lists": {}, "rest": {}})
            delta = choice.pop("delta", {}) | {"text beside": choice.pop("text", None)}
            delta |= {"message beside": choice.pop("message", None)}
            lists = {key: value for key, value in delta.items() if isinstance(value, list)}
            lists["logprobs"] = [choice.pop("logprobs", None) or []]
            for number, call in enumerate(lists.pop("tool_calls", ())):
                call.setdefault("index", number)
            for key, value in lists.items():
                total["lists"].setdefault(key, []).extend(filter(None, value))
                delta.pop(key, None)
            total["delta"] = accumulate_delta(total["delta"], delta)
            total["rest"] |= said(choice)
    return choices, rest


def anthropic_message(payloads):
    """Accumulate events by block, as Anthropic's SDK does."""
    blocks, rest = {}, []
    for payload in payloads:
        delta = payload.get("delta")
        if payload["type"] == "content_block_delta":
            block = blocks.setdefault((payload["index"], delta["type"]), [])
            grown = next((delta[k] for k in ("text", "thinking", "partial_json") if k in delta), None)
            block.append(delta if grown is None else grown)
            if grown is not None:
                blocks[payload["index"], delta["type"]] = ["".join(block)]
        else:
            rest.append(payload)
    return blocks, rest


def gemini_message(payloads):
    """Add up parts of a kind that follow each other; of all else the last one counts."""
    candidates, rest = {}, {}
    for payload in payloads:
        for candidate in payload.pop("candidates", ()):
            total = candidates.setdefault(candidate.get("index", 0), {"parts": [], "rest": {}})
            for part in candidate.pop("content", {}).pop("parts", ()):
                last = total["parts"][-1] if total["parts"] else {}
                if set(last) == set(part) <= {"text", "thought"}:
                    last["text"] += part["text"]
                else:
                    total["parts"].append(part)
            total["rest"] |= candidate
        delta = payload.pop("delta", None)
        if delta is not None:
            deltas = candidates.setdefault(("step", payload["index"]), [])
            if deltas and set(delta) == set(deltas[-1]) == {"text", "type"}:
                deltas[-1]["text"] += delta["text"]
            else:
                deltas.append(delta)
        rest |= payload
    return candidates, rest


def ollama_message(payloads):
    """Add up the text of the lines; of all else the last one counts."""
    text, rest = "", {}
    for payload in payloads:
        message = payload.get("message", payload)
        text += message.pop("content", None) or message.pop("response", None) or ""
        rest |= said(payload)
    return text, rest


def responses_message(payloads):
    """Add up the deltas of each part; everything else must come as it came, and in its place."""
    out = []
    for payload in payloads:
        payload.pop("sequence_number", None)
        payload.pop("obfuscation", None)
        delta = payload.pop("delta", None)
        if delta is not None and out and out[-1][0] == payload:
            delta = out.pop()[1] + delta
        out.append((payload, delta))
    return out


def cohere_message(payloads):
    """Add up the strings of the deltas by kind and index; all else stays in its order."""
    grown, rest = {}, []
    for payload in payloads:
        kind = payload.get("type") or payload.get("event_type")
        if kind == "text-generation":
            holder = payload
        elif kind in ("content-delta", "tool-call-delta"):
            message = payload["delta"]["message"]
            holder = message.get("content") or message["tool_calls"]["function"]
        else:
            rest.append(payload)
            continue
        for name in ("text", "thinking", "arguments"):
            key = (kind, payload.get("index"), name)
            grown[key] = grown.get(key, "") + holder.pop(name, "")
        rest += [payload] if payload not in rest[-1:] else []
    return grown, rest


MESSAGES = {
    "anthropic": anthropic_message,
    "gemini": gemini_message,
    "cohere": cohere_message,
    "ollama": ollama_message,
    "openai": openai_message,
    "responses": responses_message,
}
"""How a client adds up what it gets, for each dialect whose frames are joined."""


def message(dialect, payloads):
    accumulate = MESSAGES.get(dialect, list)  # where nothing is joined, every payload stays as it was
    return accumulate([json.loads(payload) for payload in payloads if payload != b"[DONE]"])


@pytest.mark.parametrize("body", STREAMS, ids=str)
def test_joining_changes_no_accumulated_message(body):
    """A client that adds up what it gets has the same message with and without joined frames."""
    carried = [carried for _, _, carried in carried_of(body) if carried is not None]

    assert message(body.dialect, map(whole, joined(carried))) == message(body.dialect, map(whole, carried))


@pytest.mark.parametrize("body", STREAMS, ids=str)
def test_a_carried_frame_says_what_it_said(body):
    """Payloads are carried as JSON on one line, with nothing changed but a null error left out."""
    for frame, events, carried in carried_of(body):
        if carried is None or whole(carried) == b"[DONE]":
            failed = any(isinstance(event, Failure) for event in events)
            assert frame.data.startswith(b"[DONE]") or failed
            continue
        if frame.data == b"[DONE]":
            assert whole(carried) == frame.data
            continue
        assert json.loads(whole(carried)) == json.loads(frame.data.decode(errors="replace"))
        assert carried.event == frame.event or carried.event == json.loads(frame.data)["type"]
        assert b"\n" not in whole(carried) and b"\r" not in whole(carried)
        assert carried.count == sum(isinstance(e, (Text, Reasoning, Refusal, ToolCall)) for e in events)


JOINING = {
    "openai_chat/01-test-records-token-counts-for-streaming-openai-l.sse": (18, 6),
    "openai_chat/06-173417d553406f034f643e5db3f8d591fb691ebac56f5ae3.sse": (13, 4),
    "deepseek_chat/02-deepseek-reasoning.sse": (220, 6),
    "azure_openai_chat/03-test-chat-streaming-with-events-with-no-content.sse": (33, 8),
    "anthropic_messages/14-anthropic-compaction-1.sse": (751, 12),
    "gemini_sse/03-test-streaming-text-content.sse": (12, 3),
    "gemini_sse/11-test-google-model-thinking-part-iter.sse": (23, 7),
    "ollama_chat/01-test-ollama-streaming-chat-legacy.ndjson": (50, 3),
    "openai_responses/04-test-openai-responses-compact-stateful-mode-stre.sse": (399, 12),
    "xai_responses/01-xai-text-with-reasoning-streaming-1.sse": (679, 20),
    "cohere_v1/01-test-cohere-chat-legacy-with-streaming-async.ndjson": (145, 4),
    "cohere_v2/01-test-stream-with-events-with-no-content.sse": (51, 7),
}


@pytest.mark.parametrize("file", JOINING)
def test_neighbours_do_join(file):
    """Long answers become few frames, whatever padding and times differ between them."""
    carried = [c for _, _, c in carried_of(next(b for b in STREAMS if b.file == file)) if c is not None]

    assert len(joined(carried)) <= JOINING[file][1] < len(carried)


def delta(**delta):
    return {"id": "i", "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}


def arguments(index, text, **more):
    return delta(tool_calls=[{"index": index, **more, "function": {"arguments": text}}])


OPENED = delta(tool_calls=[{"index": 0, "id": "c", "function": {"name": "f", "arguments": ""}}])


@pytest.mark.parametrize(
    "first",
    [
        delta(content="a"),
        delta(content="a", reasoning_content=None, tool_calls=None, refusal=""),
        delta(reasoning="a"),
        delta(reasoning_content="a", content=None),
        delta(refusal="a"),
        arguments(0, "a"),
        arguments(0, "a", id=None, type="function"),
        {"choices": [{"index": 0, "text": "a", "logprobs": None}]},
        {"choices": [{"index": 0, "delta": {"content": "a"}, "logprobs": {"content": None, "refusal": []}}]},
    ],
)
def test_what_joins(first):
    """Frames alike but for one growing string are joined; escapes stay as they were written."""
    texts = ("a", 'say \\"hi\\"\\\\', "\\ud83d", "ü", "b")
    frames = [json.dumps(first).replace('"a"', f'"{text}"').encode() for text in texts]
    *_, one, two, three, four, five = carry("openai", OPENED, *frames)

    assert one.key is not None and one.key == two.key == three.key == four.key == five.key
    assert [frame.body.decode() for frame in (one, two, three, four, five)] == list(texts)
    assert all(frame.count == 1 and not frame.last for frame in (one, two, three, four, five))


def test_arguments_are_carried_in_valid_utf8():
    """They are not decoded where they are a piece of text, so that nothing else would find what is none."""
    written = json.dumps(arguments(0, "a")).encode()
    frames = [written.replace(b'"a"', b'"%b"' % text) for text in (b"a", b"b", b"c\xffd", "ü".encode(), b"e")]
    *_, two, three, four, five = carry("openai", OPENED, *frames)

    assert [frame.body.decode() for frame in (two, three, four, five)] == ["b", "c\ufffdd", "ü", "e"]
    assert two.key == three.key == four.key == five.key


@pytest.mark.parametrize(
    "first",
    [
        pytest.param(delta(role="assistant", content="a"), id="SDKs add roles up"),
        pytest.param(delta(content="a", token_id=17), id="and numbers"),
        pytest.param(delta(channel="analysis", reasoning="a"), id="and any string"),
        pytest.param(delta(content="a", reasoning="a"), id="two strings grow"),
        pytest.param(delta(reasoning="a", reasoning_details=[{"text": "a"}]), id="the same twice"),
        pytest.param(delta(reasoning_details=[{"text": "a"}]), id="in a list"),
        pytest.param(delta(content=[{"type": "text", "text": "a"}]), id="parts"),
        pytest.param(delta(content=""), id="nothing"),
        pytest.param(
            delta(tool_calls=[{"index": 0, "function": {"arguments": "a"}}, {"index": 1}]), id="two calls"
        ),
        pytest.param(arguments(0, "a", id="c"), id="a repeated id"),
        pytest.param(
            delta(tool_calls=[{"index": 0, "function": {"name": "f", "arguments": "a"}}]),
            id="a repeated name",
        ),
        pytest.param(
            delta(content="a", tool_calls=[{"index": 0, "function": {"arguments": "a"}}]), id="text and call"
        ),
        pytest.param(
            {"choices": [{"index": 0, "text": "a", "delta": {"content": "a"}}]}, id="text beside delta"
        ),
        pytest.param(
            {"choices": [{"index": 0, "message": {"content": "a"}, "delta": {"content": "a"}}]},
            id="message beside delta",
        ),
        pytest.param(
            {"choices": [{"index": 0, "delta": {"content": "a"}, "logprobs": {"content": [{"token": "a"}]}}]},
            id="logprobs",
        ),
        pytest.param(
            {"choices": [{"index": 0, "delta": {"content": "a"}, "token_ids": [1]}]}, id="token ids"
        ),
        pytest.param(
            {"choices": [{"index": 0, "delta": {"content": "a"}}], "usage": {"prompt_tokens": 1}}, id="usage"
        ),
        pytest.param(
            {"choices": [{"index": 0, "delta": {"content": "a"}, "finish_reason": "stop"}]}, id="a finish"
        ),
        pytest.param(
            {"choices": [{"index": i, "delta": {"content": "a"}} for i in (0, 1)]}, id="two choices"
        ),
    ],
)
def test_what_does_not_join(first):
    """Where one frame for two would change what a client adds up, they stay two."""
    _, *frames = carry("openai", OPENED, first, first, first)

    assert not [one for one, two in pairwise(frames) if one.key is not None and one.key == two.key]


def item(kind="output_text", **members):
    return {"type": f"response.{kind}.delta", "item_id": "i", "output_index": 0, "delta": "a", **members}


@pytest.mark.parametrize(
    "first",
    [
        item(content_index=0, logprobs=[], obfuscation="xyz"),
        item("refusal", content_index=0),
        item("reasoning_text", content_index=0),
        item("reasoning_summary_text", summary_index=0),
        item("function_call_arguments"),
        item("custom_tool_call_input"),
    ],
)
@pytest.mark.parametrize("is_first", [False, True])
def test_deltas_of_one_item_join_whatever_their_number(first, is_first):
    """Numbers differ in every event, wherever they stand in it; the frame keeps its own."""
    opening = {"type": "function_call", "id": "i", "name": "f"}
    opened = {"type": "response.output_item.added", "output_index": 0, "item": opening}
    numbered = [
        {"sequence_number": number, **first} if is_first else {**first, "sequence_number": number}
        for number in (8, 9, 10, 11)
    ]
    _, *frames = carry("responses", opened, *numbered)

    assert len({frame.key for frame in frames}) == 1 and frames[0].key is not None
    assert [json.loads(whole(frame)) for frame in frames] == numbered
    assert all((frame.body, frame.count, frame.event) == (b"a", 1, first["type"]) for frame in frames)


@pytest.mark.parametrize(
    "first",
    [
        pytest.param(item(logprobs=[{"token": "a", "logprob": 0.0}]), id="logprobs"),
        pytest.param(item(something=[1]), id="what nobody knows"),
        pytest.param(item("code_interpreter_call_code"), id="the server's own"),
        pytest.param(item(delta=""), id="nothing"),
    ],
)
def test_deltas_with_more_in_them_do_not_join(first):
    """One frame for two would lose it."""
    frames = carry("responses", *[{**first, "sequence_number": number} for number in (1, 2, 3)])

    assert not [one for one, two in pairwise(frames) if one.key is not None and one.key == two.key]


@pytest.mark.parametrize(
    "line",
    [
        {"model": "m", "created_at": "1", "message": {"role": "assistant", "content": "a"}, "done": False},
        {"model": "m", "created_at": "1", "message": {"content": "", "thinking": "a"}, "done": False},
        {"model": "m", "created_at": "1", "response": "a", "done": False},
    ],
)
def test_ollama_s_lines_join(line):
    """The time of a line is no part of what it says."""
    later = {**line, "created_at": "22"}
    _, *frames = carry("ollama", line, line, line, line, later)

    assert [frame.body for frame in frames] == [b"a"] * 4
    assert len({frame.key for frame in frames}) == 1


@pytest.mark.parametrize(
    "chunk",
    [
        {"candidates": [{"content": {"parts": [{"text": "a"}]}}]},
        {
            "candidates": [
                {"content": {"parts": [{"text": "a", "thought": True}], "role": "model"}, "index": 0}
            ]
        },
        {
            "candidates": [{"content": {"parts": [{"text": "a"}]}, "groundingMetadata": {}}],
            "usageMetadata": {"promptTokenCount": 7, "candidatesTokenCount": 1, "totalTokenCount": 8},
            "modelVersion": "m",
        },
        {"event_type": "step.delta", "index": 1, "delta": {"type": "text", "text": "a"}},
    ],
)
def test_gemini_s_chunks_join(chunk):
    """Counts that run from chunk to chunk are no part of what one says: the last chunk has them all."""
    later = json.dumps(chunk).replace('Count": 1', 'Count": 20').replace('Count": 8', 'Count": 27')
    _, *frames = carry("gemini", chunk, chunk, chunk, later.encode())

    assert [frame.body for frame in frames] == [b"a"] * 3
    assert len({frame.key for frame in frames}) == 1


@pytest.mark.parametrize(
    "chunk",
    [
        pytest.param(
            {"candidates": [{"content": {"parts": [{"text": "a"}, {"text": "b"}]}}]}, id="two parts"
        ),
        pytest.param(
            {"candidates": [{"index": i, "content": {"parts": [{"text": "a"}]}} for i in (0, 1)]},
            id="two candidates",
        ),
        pytest.param(
            {"candidates": [{"content": {"parts": [{"text": "a", "thoughtSignature": "x"}]}}]}, id="signature"
        ),
        pytest.param({"candidates": [{"content": {"parts": [{"text": "a"}]}, "logprobsResult": {"x": 1}}]}),
        pytest.param({"candidates": [{"content": {"parts": [{"text": "a"}]}, "finishReason": "STOP"}]}),
        pytest.param({"candidates": [{"content": {"parts": [{"functionCall": {"name": "f"}}]}}]}, id="call"),
        pytest.param(
            {
                "event_type": "step.delta",
                "index": 1,
                "delta": {"type": "text", "text": "a", "annotations": [{}]},
            },
            id="annotations",
        ),
        pytest.param(
            {
                "event_type": "step.delta",
                "index": 0,
                "delta": {"type": "thought_summary", "content": {"text": "a"}},
            },
            id="summaries are items of a list",
        ),
    ],
)
def test_what_of_gemini_does_not_join(chunk):
    """Parts and candidates are lists, and what a chunk says besides would come once for two."""
    _, *frames = carry("gemini", chunk, chunk, chunk)

    assert not [one for one, two in pairwise(frames) if one.key is not None and one.key == two.key]


def test_ollama_s_calls_do_not_join():
    """A call comes whole."""
    line = {"message": {"content": "", "tool_calls": [{"function": {"name": "f", "arguments": {}}}]}}

    assert [frame.key for frame in carry("ollama", line, line, line)] == [None] * 3


COHERE_OPENED = {
    "type": "tool-call-start",
    "index": 0,
    "delta": {"message": {"tool_calls": {"id": "c", "function": {"name": "f", "arguments": ""}}}},
}


@pytest.mark.parametrize(
    ("payload", "joins"),
    [
        ({"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": "a"}}}}, True),
        ({"type": "content-delta", "index": 0, "delta": {"message": {"content": {"thinking": "a"}}}}, True),
        (
            {
                "type": "tool-call-delta",
                "index": 0,
                "delta": {"message": {"tool_calls": {"function": {"arguments": "a"}}}},
            },
            True,
        ),
        ({"is_finished": False, "event_type": "text-generation", "text": "a"}, True),
        ({"type": "content-start", "index": 0, "delta": {"message": {"content": {"text": "a"}}}}, False),
        (
            {
                "type": "content-delta",
                "index": 0,
                "delta": {"message": {"content": {"text": "a"}}},
                "logprobs": {"token_ids": [1], "logprobs": [-0.1]},
            },
            False,
        ),
        (
            {"type": "content-delta", "delta": {"message": {"content": {"text": "a", "thinking": "a"}}}},
            False,
        ),
        ({"type": "tool-plan-delta", "delta": {"message": {"tool_plan": "a"}}}, False),
        ({"event_type": "text-generation", "text": "a", "tokens": 1}, False),
    ],
)
def test_cohere_s_deltas_join_if_they_hold_nothing_else(payload, joins):
    """Log probabilities, the plan for the tools and whatever is new leave event by event."""
    _, _, *frames = carry("cohere", COHERE_OPENED, payload, payload, payload)
    keys = {frame.key for frame in frames}

    assert (len(keys) == 1 and None not in keys) is joins


def test_what_differs_does_not_join():
    """Another choice, call, kind or fingerprint is another key; another time or padding is not."""
    base = delta(content="a")
    others = [
        delta(content="a", refusal=None),
        delta(reasoning="a"),
        arguments(0, "a"),
        arguments(1, "a"),
        {**base, "id": "j"},
        {**base, "system_fingerprint": "f"},
        {"id": "i", "choices": [{"index": 1, "delta": {"content": "a"}, "finish_reason": None}]},
    ]
    again = [delta(tool_calls=[{"index": 1, "id": "d", "function": {"name": "g"}}])]
    _, _, *frames = carry("openai", OPENED, *again, base, *others)

    assert len({frame.key for frame in frames}) == len(frames)

    same = [
        {**base, "created": time, "obfuscation": pad, "p": pad}
        for time, pad in ((1, "x"), (22, "yyy"), (3, ""))
    ]
    assert len({frame.key for frame in carry("openai", *[{**s, "id": None} for s in same])}) == 1


@pytest.mark.parametrize(
    ("payload", "sent"),
    [
        (b'{"error":null,"choices":[]}', b'{"choices":[]}'),
        (b'{"choices":[],"error": null}', b'{"choices":[]}'),
        (b'{"id":"a", "error" : null , "choices":[]}', b'{"id":"a","choices":[]}'),
        (b'{"choices":[{"delta":{"error":null}}],"error":null}', b'{"choices":[{"delta":{"error":null}}]}'),
        (b'{"error":null}', b"{}"),
        (b'{"\\u0065rror":null}', b'{"\\u0065rror":null}'),
        (b'{"choices":[],\n"id":\r\n"a"}', b'{"choices":[], "id":  "a"}'),
        (b' {"choices":[]}  ', b'{"choices":[]}'),
        (b'{"choices":[],"x":"\xff"}', '{"choices":[],"x":"\ufffd"}'.encode()),
    ],
)
def test_what_is_mended_on_the_way(payload, sent):
    """One line, valid UTF-8, and no ``"error": null`` at the top, which some clients take for an error."""
    (carried,) = carry("openai", payload)

    assert whole(carried) == sent


@pytest.mark.parametrize(
    ("payload", "last", "usage_only"),
    [
        ({"choices": [{"delta": {}, "finish_reason": "stop"}]}, True, False),
        ({"choices": [{"delta": {"content": "a"}, "finish_reason": "stop"}]}, True, False),
        ({"choices": [], "usage": {"prompt_tokens": 1}}, True, True),
        ({"choices": [{"delta": {"content": ""}}], "usage": {"prompt_tokens": 1}}, True, False),
        ({"choices": [{"delta": {"content": "a"}}], "usage": {"prompt_tokens": 1}}, False, False),
        ({"choices": [], "prompt_filter_results": []}, False, False),
        ({"choices": [{"delta": {"role": "assistant"}}]}, False, False),
    ],
)
def test_what_may_be_the_last_frame(payload, last, usage_only):
    """A finish, or usage without content; usage in every chunk holds no text back."""
    (carried,) = carry("openai", payload)

    assert (carried.last, carried.usage_only) == (last, usage_only)


@pytest.mark.parametrize(
    ("dialect", "payload"),
    [
        ("openai", b"[DONE]"),
        ("openai", {"error": {"message": "m"}}),
        ("openai", {"object": "chat.completion", "choices": [{"message": {"content": "a"}}]}),
        ("openai", {"choices": [{"message": {"content": "a"}}]}),
        ("anthropic", {"type": "error", "error": {"message": "m"}}),
        ("anthropic", {"type": "message", "content": [{"type": "text", "text": "a"}]}),
        ("gemini", {"error": {"code": 500, "message": "m", "status": "INTERNAL"}}),
        ("gemini", {"object": "interaction", "steps": [], "status": "completed"}),
        ("ollama", {"error": "m"}),
    ],
)
def test_what_is_not_carried(dialect, payload):
    """End marks, errors and complete answers are written by the format, or not at all."""
    assert carry(dialect, payload) == [None]


@pytest.mark.parametrize(
    ("dialect", "payload"),
    [
        ("anthropic", {"type": "message_stop"}),
        ("anthropic", {"type": "message_delta", "delta": {"stop_reason": "end_turn"}}),
        ("gemini", {"candidates": [{"finishReason": "STOP"}]}),
        ("gemini", {"event_type": "interaction.completed", "interaction": {"status": "completed"}}),
        ("gemini", b"[DONE]"),
        ("ollama", {"message": {"content": ""}, "done": True}),
    ],
)
def test_the_last_frames_of_other_dialects(dialect, payload):
    """They wait for the final metadata too."""
    (carried,) = carry(dialect, payload)

    assert carried.last and carried.count == 0


def test_anthropic_s_frames_have_a_name():
    """Clients go by ``event:``; where the upstream left it out, it is the type."""
    assert carry("anthropic", {"type": "message_stop"})[0].event == "message_stop"


def test_text_is_carried_as_it_comes():
    """Nothing is joined where nothing frames the text."""
    (carried,) = carry("text", "zwölf".encode())

    assert (whole(carried).decode(), carried.key, carried.count) == ("zwölf", None, 1)


def test_a_long_answer_takes_the_short_way():
    """Frames that differ only in their text keep key and count after the second one, however text looks."""
    texts = ["a", "b", 'x\\"y', "z", "\\\\", "ü", "end"]
    frames = [json.dumps(delta(content="TEXT")).replace("TEXT", text).encode() for text in texts]
    decoder = DIALECTS["openai"]()
    carried = []
    decoder.decode(Frame("", frames[0]))  # the first one says the id too
    for data in frames:
        frame = Frame("", data)
        decoder.decode(frame)
        carried.append(decoder.carry(frame))

    assert [c.body.decode() for c in carried] == texts
    assert {c.key for c in carried[1:]} == {carried[1].key}
    assert [whole(c) for c in carried] == frames


@pytest.mark.parametrize(
    ("data", "left"),
    [
        (b'{"choices":[{"delta":{"content":"a\tb"}}]}', b'{"choices":[{"delta":{"content":"a\\tb"}}]}'),
        (b'{"choices":[],"x":NaN,"y":-Infinity}', b'{"choices":[],"x":null,"y":null}'),
        (b'{"choices":[],"x":NaN,"y":1e999,"z":1.50}', b'{"choices":[],"x":null,"y":null,"z":1.5}'),
        (b'{"choices":[],"x":NaN,"y":"\\ud83d"}', b'{"choices":[],"x":null,"y":"\\ud83d"}'),
        (b'{"choices": [], "usage": 5, "y": 1e999}', b'{"choices": [], "usage": 5, "y": 1e999}'),
        (b'{"choices":[],"x":"\\ud83d","y": 1.50}', b'{"choices":[],"x":"\\ud83d","y": 1.50}'),
    ],
)
def test_what_leaves_is_json_for_every_client(data, left):
    """What only a forgiving reader takes for JSON is written anew; what any reader takes stays as it was."""
    (carried,) = carry("openai", data)

    assert whole(carried) == left
