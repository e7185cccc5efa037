"""The simulator's events against recorded ones: what every real event of a kind has, ours have too."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ssegate.simulate import Behaviour
from ssegate.simulate.answer import Endpoint, ask, prepare
from ssegate.simulate.dialects import endpoint_for

from .peer import PATHS, events, lines

RECORDED = Path(__file__).parents[3] / "shared" / "streams"

needs_recordings = pytest.mark.skipif(
    not RECORDED.is_dir(), reason="no recorded streams: there is no shared/streams next to the repository"
)

BEHAVIOURS = [
    Behaviour(tokens=12),
    Behaviour(tokens=0, tools=3),
    Behaviour(tokens=4, reasoning=3, tools=4, seed=5),
]


def endpoint_of(name: str) -> Endpoint:
    endpoint = endpoint_for(PATHS[name])
    assert endpoint is not None
    return endpoint


def streamed(name: str, behaviour: Behaviour, **body: Any) -> bytes:
    """What the pure emitter of *name* writes, at a time that stands still."""
    endpoint = endpoint_of(name)
    asked = ask(json.dumps({"model": "m", "stream": True, **body}).encode(), endpoint)
    answer = prepare(behaviour, endpoint, asked, serial=1, clock=lambda: 1_700_000_000.25)
    return b"".join(step.data for step in endpoint.steps(answer))


def whole(name: str, behaviour: Behaviour, **body: Any) -> dict[str, Any]:
    endpoint = endpoint_of(name)
    asked = ask(json.dumps({"model": "m", "stream": False, **body}).encode(), endpoint)
    return endpoint.whole(prepare(behaviour, endpoint, asked, serial=1, clock=lambda: 1_700_000_000.25))


def flat(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield the path and type of everything inside *value*; elements of a list share one path."""
    yield path, type(value).__name__
    match value:
        case dict():
            for key, inner in value.items():
                yield from flat(inner, f"{path}.{key}")
        case list():
            for inner in value:
                yield from flat(inner, f"{path}[]")


def mandatory(samples: Iterable[Any]) -> dict[str, set[str]]:
    """Return the paths that every sample has, with all types seen there."""
    flattened = [list(flat(sample)) for sample in samples]
    common = set.intersection(*({path for path, _ in sample} for sample in flattened))
    return {path: {kind for sample in flattened for p, kind in sample if p == path} for path in common}


def lacking(ours: Any, recorded: Iterable[Any]) -> list[str]:
    """Return what *ours* does not have, or has in another type, though every recorded sample has it."""
    seen: dict[str, set[str]] = {}
    for path, kind in flat(ours):
        seen.setdefault(path, set()).add(kind)
    return [
        f"{path}: {sorted(seen.get(path, []))}, recorded {sorted(kinds)}"
        for path, kinds in mandatory(recorded).items()
        if not seen.get(path) or not seen[path] <= kinds
    ]


def by_kind(kinds: Iterable[tuple[str, Any]]) -> dict[str, list[Any]]:
    grouped: dict[str, list[Any]] = {}
    for kind, event in kinds:
        grouped.setdefault(kind, []).append(event)
    return grouped


def openai_kinds(body: bytes) -> Iterator[tuple[str, Any]]:
    for _, data in events(body):
        if data == "[DONE]":
            yield "done", data
        elif not data["choices"]:
            yield "usage", data
        else:
            (choice,) = data["choices"]
            delta = choice["delta"]
            if choice["finish_reason"]:
                yield "finish", data
            elif "role" in delta:
                kind = "reasoning opening" if "reasoning_content" in delta else "opening"
                yield ("opening with a call" if "tool_calls" in delta else kind), data
            elif "tool_calls" in delta:
                yield ("call" if "id" in delta["tool_calls"][0] else "arguments"), data
            elif "reasoning_content" in delta:
                yield ("reasoning" if delta["reasoning_content"] else "text after reasoning"), data
            else:
                yield ("refusal" if "refusal" in delta else "text"), data


def completions_kinds(body: bytes) -> Iterator[tuple[str, Any]]:
    for _, data in events(body):
        if data == "[DONE]":
            yield "done", data
        else:
            yield ("finish" if data["choices"][0]["finish_reason"] else "text"), data


def anthropic_kinds(body: bytes) -> Iterator[tuple[str, Any]]:
    for name, data in events(body):
        inner = data.get("content_block") or data.get("delta") or {}
        yield f"{name} {inner.get('type', '')}".strip(), data


def ollama_kinds(body: bytes) -> Iterator[tuple[str, Any]]:
    for data in lines(body):
        yield ("done" if data["done"] else "text"), data


KINDS = {
    "openai": openai_kinds,
    "completions": completions_kinds,
    "anthropic": anthropic_kinds,
    "ollama": ollama_kinds,
    "generate": ollama_kinds,
}

# openai_chat/11 and openai_completions/02 were recorded from a stand-in, not from the vendor.
RECORDINGS = {
    "openai": ["openai_chat/0*.sse", "openai_chat/10*.sse", "openai_chat/12*.sse", "deepseek_chat/02*.sse"],
    "completions": ["openai_completions/01*.sse", "openai_completions/03*.sse"],
    "anthropic": ["anthropic_messages/*.sse"],
    "ollama": ["ollama_chat/*.ndjson"],
    "generate": ["ollama_generate/*.ndjson"],
}


def recorded(name: str) -> dict[str, list[Any]]:
    files = [file for pattern in RECORDINGS[name] for file in sorted(RECORDED.glob(pattern))]
    return by_kind(pair for file in files for pair in KINDS[name](file.read_bytes()))


@needs_recordings
@pytest.mark.parametrize("behaviour", BEHAVIOURS, ids=["text", "tools", "all"])
@pytest.mark.parametrize("name", list(KINDS))
def test_events_have_what_recorded_ones_have(name: str, behaviour: Behaviour):
    """Every event we write has each key that all recorded events of its kind have, in a type seen there."""
    real = recorded(name)
    extra = {"stream_options": {"include_usage": True}} if name == "openai" else {}

    ours = by_kind(KINDS[name](streamed(name, behaviour, **extra)))

    assert set(ours) <= set(real)
    assert [
        gap for kind, found in ours.items() for event in found for gap in lacking(event, real[kind])
    ] == []


@needs_recordings
@pytest.mark.parametrize("name", list(KINDS))
def test_the_comparison_sees_a_missing_key(name: str):
    """A key taken out of our events is noticed, so the comparison can fail."""
    real = recorded(name)
    ours = by_kind(KINDS[name](streamed(name, BEHAVIOURS[0])))
    kind = "content_block_delta text_delta" if name == "anthropic" else "text"

    event = ours[kind][0]
    gone = event.pop("index" if name == "anthropic" else "model")

    assert gone is not None
    assert lacking(event, real[kind]) != []


@needs_recordings
@pytest.mark.parametrize(
    ("name", "file", "behaviour"),
    [
        ("openai", "02-openai-200.json", Behaviour(tokens=3)),
        ("anthropic", "01-anthropic-200.json", Behaviour(tokens=3, reasoning=2)),
    ],
)
def test_documents_have_what_recorded_ones_have(name: str, file: str, behaviour: Behaviour):
    """A complete answer has each key of the recorded one, in its type."""
    real = json.loads((RECORDED / "nonstream_json" / file).read_text("utf-8"))

    assert lacking(whole(name, behaviour), [real]) == []


def test_a_chat_stream_in_full():
    """Role, deltas, finish, usage, end mark: the whole of a small chat stream, byte for byte."""
    body = streamed("openai", Behaviour(tokens=1), stream_options={"include_usage": True})

    head = (
        b'"object":"chat.completion.chunk","created":1700000000,"model":"m",'
        b'"service_tier":"default","system_fingerprint":"fp_5e9a7e0000",'
    )
    key = events(body)[0][1]["id"].encode()
    start = b'data: {"id":"' + key + b'",' + head
    text = events(body)[1][1]["choices"][0]["delta"]["content"].encode()
    assert body == (
        start + b'"choices":[{"index":0,"delta":{"role":"assistant","content":"","refusal":null},'
        b'"logprobs":null,"finish_reason":null}],"usage":null}\n\n'
        + start
        + b'"choices":[{"index":0,"delta":{"content":"'
        + text
        + b'"},"logprobs":null,"finish_reason":null}],"usage":null}\n\n'
        + start
        + b'"choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}],"usage":null}\n\n'
        + start
        + b'"choices":[],"usage":{"prompt_tokens":19,"completion_tokens":1,"total_tokens":20,'
        b'"prompt_tokens_details":{"cached_tokens":0,"audio_tokens":0},'
        b'"completion_tokens_details":{"reasoning_tokens":0,"audio_tokens":0,'
        b'"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}}\n\n'
        b"data: [DONE]\n\n"
    )


def test_anthropic_events_come_in_their_order():
    """Message, blocks with a ping in the first, message delta, stop."""
    body = streamed("anthropic", Behaviour(tokens=2, reasoning=1, tools=1))

    names = [name for name, _ in events(body)]
    tool = len(names) - names[::-1].index("content_block_start")
    assert names[:5] == [
        "message_start",
        "content_block_start",
        "ping",
        "content_block_delta",
        "content_block_delta",  # the thinking's signature
    ]
    assert names[5:10] == [
        "content_block_stop",
        "content_block_start",
        *["content_block_delta"] * 2,
        "content_block_stop",
    ]
    assert set(names[tool:-3]) == {"content_block_delta"}
    assert names[-3:] == ["content_block_stop", "message_delta", "message_stop"]


def test_usage_is_told_only_when_asked():
    """Without ``include_usage`` no chunk has a usage key, as with OpenAI."""
    body = streamed("openai", Behaviour(tokens=2))

    assert all("usage" not in data for _, data in events(body) if data != "[DONE]")
