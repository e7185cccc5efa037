import json

import pytest

from ssegate.wire.dialects import detect
from ssegate.wire.events import Frame


@pytest.mark.parametrize(
    ("payload", "dialect"),
    [
        ({"choices": [], "prompt_filter_results": []}, "openai"),
        ({"choices": [{"delta": {}}]}, "openai"),
        ({"object": "chat.completion.chunk", "choices": None}, "openai"),
        ({"object": "text_completion", "choices": [{"text": "a"}]}, "openai"),
        ({"error": {"message": "m", "type": "t"}}, "openai"),
        ({"object": "error", "message": "m"}, "openai"),
        ({"type": "response.created", "response": {}}, "responses"),
        ({"type": "response.output_text.delta", "delta": "a"}, "responses"),
        ({"id": "r", "object": "response", "output": []}, "responses"),
        ({"type": "error", "sequence_number": 2, "error": {"message": "m"}}, "responses"),
        ({"type": "error", "message": "m", "sequence_number": 0}, "responses"),
        ({"type": "error", "message": "m", "code": None}, "responses"),
        ({"type": "message_start", "message": {}}, "anthropic"),
        ({"type": "content_block_start", "index": 0}, "anthropic"),
        ({"type": "completion", "completion": "a"}, "anthropic"),
        ({"type": "message", "content": []}, "anthropic"),
        ({"type": "error", "error": {"type": "overloaded_error"}}, "anthropic"),
        ({"model": "m", "message": {"content": ""}, "done": False}, "ollama"),
        ({"model": "m", "response": "", "done": True}, "ollama"),
        ({"error": "model not found"}, "ollama"),
        ({"candidates": [{"content": {}}]}, "gemini"),
        ({"promptFeedback": {"blockReason": "SAFETY"}}, "gemini"),
        ({"usageMetadata": {}, "modelVersion": "m"}, "gemini"),
        ({"event_type": "interaction.created"}, "gemini"),
        ({"event_type": "step.start", "index": 0}, "gemini"),
        ({"object": "interaction", "steps": []}, "gemini"),
        ({"error": {"code": 404, "message": "m", "status": "NOT_FOUND"}}, "gemini"),
        ({"event_type": "error", "error": {"code": "unavailable", "message": "m"}}, "gemini"),
        ({"index": 1, "token": {"id": 5, "text": "a"}, "generated_text": None}, "tgi"),
        ({"generated_text": "a"}, "tgi"),
        ({"type": "message-start", "id": "i", "delta": {"message": {}}}, "cohere"),
        ({"type": "tool-plan-delta", "delta": {}}, "cohere"),
        ({"event_type": "stream-start", "generation_id": "g", "is_finished": False}, "cohere"),
        ({"id": "i", "message": {"role": "assistant"}, "finish_reason": "COMPLETE"}, "cohere"),
        ({"generation_id": "g", "text": "a", "finish_reason": "COMPLETE"}, "cohere"),
        ({"error": "x", "error_type": "validation"}, "tgi"),
        ({"index": 0, "content": "", "stop": False}, "llamacpp"),
        ({"model_id": "m", "results": [{"generated_text": "a"}]}, "watsonx"),
        ({"errors": [{"code": "x", "message": "m"}], "trace": "t", "status_code": 400}, "watsonx"),
    ],
)
def test_a_dialect_is_known_by_its_keys(payload, dialect):
    """One frame that says something is enough."""
    assert detect(Frame("", json.dumps(payload).encode())) == dialect


@pytest.mark.parametrize(
    ("event", "payload", "dialect"),
    [
        ("chunk", {"bytes": "e30="}, "bedrock"),
        ("messageStart", {"role": "assistant", "p": "a"}, "bedrock"),
        ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {}}, "bedrock"),
        ("metadata", {"usage": {}, "metrics": {}}, "bedrock"),
        ("", {"output": {"message": {"content": []}}}, "bedrock"),
        ("exception:throttlingException", {"message": "m"}, "bedrock"),
        ("error:InternalFailure", {"message": "m"}, "bedrock"),
        ("chunk", {"text": "a"}, None),
        ("metadata", {"title": "x"}, None),
    ],
)
def test_bedrock_is_known_by_the_names_of_its_events(event, payload, dialect):
    """The payload must fit the name: others call their events so, too."""
    assert detect(Frame(event, json.dumps(payload).encode())) == dialect


@pytest.mark.parametrize(
    ("event", "data", "dialect"),
    [
        ("error", b'{"error":"x"}', "openai"),
        ("error", b'{"code":500,"message":"x"}', "openai"),
        ("error", b'{"detail":"x"}', "openai"),
        ("error", b"out of memory", "openai"),
        ("error", b'{"type":"error","error":{"type":"x"}}', "anthropic"),
    ],
)
def test_an_error_event_is_read_by_somebody(event, data, dialect):
    """An error that comes first is not lost because nobody knows its vendor."""
    assert detect(Frame(event, data)) == dialect


@pytest.mark.parametrize(
    ("event", "data", "id", "dialect"),
    [
        ("output", b" Sure", "1690212292:0", "replicate"),
        ("output", b'{"choices":[]}', "1690212292:7", "replicate"),
        ("logs", b"loading", "1690212292:0", "replicate"),
        ("error", b"out of memory", "1690212292:0", "replicate"),
        ("done", b"{}", "1690212292:0", "replicate"),
        ("output", b"Sure", "7", None),
        ("error", b"out of memory", "", "openai"),
        ("done", b"[DONE]", "", None),
    ],
)
def test_replicate_is_known_by_names_and_ids(event, data, id, dialect):
    """Its data may be anything, an answer that looks like another vendor's JSON too."""
    assert detect(Frame(event, data, id)) == dialect


@pytest.mark.parametrize(
    "data",
    [
        b"[DONE]",
        b"",
        b"plain words",
        b"[]",
        b"7",
        b'{"type":"ping"}',
        b'{"type":"debug","message":{},"finish_reason":"COMPLETE"}',
        b'{"id":"x","message":{"role":"assistant","content":[]}}',
        b'{"token":"a","generated_text":null}',
        b'{"model_id":"m","results":[{"text":"a"}]}',
        b'{"results":[]}',
        b'{"errors":[{"code":"x"}]}',
        b'{"content":"a"}',
        b'{"output":"a"}',
        b'{"response":"a"}',
        b'{"event_type":"error"}',
        b'{"usageMetadata":{}}',
    ],
)
def test_what_may_be_another_vendor_s_is_not_claimed(data):
    """Frames that say nothing."""
    assert detect(Frame("", data)) is None
