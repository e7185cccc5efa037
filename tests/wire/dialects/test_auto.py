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
    ],
)
def test_a_dialect_is_known_by_its_keys(payload, dialect):
    """One frame that says something is enough."""
    assert detect(Frame("", json.dumps(payload).encode())) == dialect


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
    "data",
    [
        b"[DONE]",
        b"",
        b"plain words",
        b"[]",
        b"7",
        b'{"type":"ping"}',
        b'{"candidates":[{"content":{}}]}',
        b'{"error":{"code":404,"message":"m","status":"NOT_FOUND"}}',
        b'{"type":"message-start","delta":{"message":{}}}',
        b'{"id":"x","message":{"role":"assistant","content":[]},"finish_reason":"COMPLETE"}',
        b'{"event_type":"text-generation","text":"a"}',
        b'{"event_type":"interaction.created"}',
        b'{"token":{"text":"a"},"generated_text":null}',
        b'{"error":"x","error_type":"validation"}',
        b'{"model_id":"m","results":[{"generated_text":"a"}]}',
        b'{"errors":[{"code":"x"}]}',
        b'{"content":"a","stop":false}',
        b'{"output":{"message":{"content":[]}}}',
        b'{"response":"a"}',
    ],
)
def test_what_may_be_another_vendor_s_is_not_claimed(data):
    """Gemini, Cohere, TGI, watsonx, llama.cpp and frames that say nothing."""
    assert detect(Frame("", data)) is None
