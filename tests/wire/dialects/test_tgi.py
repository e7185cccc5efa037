import json

import pytest

from ssegate.wire.dialects import DIALECTS
from ssegate.wire.errors import WireError
from ssegate.wire.events import End, Failure, Finish, Frame, Text, Usage


def decode(*payloads):
    dialect = DIALECTS["tgi"]()
    frames = (p if isinstance(p, bytes) else json.dumps(p).encode() for p in payloads)
    return [said for data in frames for said in dialect.decode(Frame("", data))]


def token(text, *, special=False, **more):
    return {"index": 1, "token": {"id": 7, "text": text, "logprob": -0.1, "special": special}, **more}


DETAILS = {"finish_reason": "length", "generated_tokens": 20, "seed": None, "input_length": 6}


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        (token(" a", generated_text=None, details=None, top_tokens=[]), [Text(" a")]),
        (token(""), []),
        (token("</s>", special=True), []),
        (token("</s>", special=True, generated_text="Prompt and answer"), [End()]),
        (token("a", generated_text=""), [Text("a"), End()]),
        (
            token("a", generated_text="a", details=DETAILS),
            [Text("a"), Usage(6, 20), Finish("length", "length"), End()],
        ),
        (
            token("a", generated_text="a", details={"finish_reason": "eos_token"}),
            [Text("a"), Finish("stop", "eos_token"), End()],
        ),
        ({"index": 1}, []),
        ({"token": None, "details": {}}, []),
        (
            {"error": "no room", "error_type": "overloaded"},
            [Failure("upstream_error", "no room", None, "overloaded")],
        ),
        (b'{"token":{"text":"\\ud83d","special":0}}', [Text("\ud83d")]),
        (b"[DONE]", [End()]),
    ],
)
def test_what_an_event_says(payload, said):
    """A token is a delta unless it is special; the last event's whole text is no delta."""
    assert decode(payload) == said


def test_a_complete_answer_is_one_delta():
    """Counts and reason stand in its details; a client that waits for tokens cannot read it."""
    answer = {"generated_text": "whole", "details": DETAILS | {"prefill": [], "tokens": [{"text": "whole"}]}}
    dialect = DIALECTS["tgi"]()
    frame = Frame("", json.dumps(answer).encode())

    assert dialect.decode(frame) == [Text("whole"), Usage(6, 20), Finish("length", "length"), End()]
    assert dialect.carry(frame) is None


def test_what_is_no_json_is_a_bad_event():
    """A broken event is never passed over."""
    with pytest.raises(WireError):
        decode(b'{"token":')
