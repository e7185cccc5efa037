import json

import pytest

from ssegate.wire.dialects import DIALECTS
from ssegate.wire.errors import WireError
from ssegate.wire.events import End, Failure, Finish, Frame, Start, Text, Usage


def frame(payload, id=""):
    return Frame("", payload if isinstance(payload, bytes) else json.dumps(payload).encode(), id)


def decode(*payloads):
    dialect = DIALECTS["watsonx"]()
    return [said for payload in payloads for said in dialect.decode(frame(payload))]


def result(text, reason="not_finished", **counts):
    return {"results": [{"generated_text": text, "stop_reason": reason, **counts}]}


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        (result(" a"), [Text(" a")]),
        (result(""), []),
        (result("", generated_token_count=0, input_token_count=8), [Usage(8, 0)]),
        (result("a", "max_tokens"), [Text("a"), Finish("length", "max_tokens")]),
        (result("", "EOS_TOKEN"), [Finish("stop", "EOS_TOKEN")]),
        (result("", "token_limit"), [Finish("length", "token_limit")]),
        (result("", "time_limit"), [Finish("other", "time_limit")]),
        (result("a", "error"), [Text("a"), Failure("upstream_error", "the upstream reported an error")]),
        ({"model_id": "m", "results": None, "system": {"warnings": []}}, [Start(None, "m")]),
        (
            {"errors": [{"code": "model_not_supported", "message": "no"}], "trace": "t", "status_code": 404},
            [Failure("upstream_error", "no", 404, None, "model_not_supported")],
        ),
        (b'{"results":[{"generated_text":"\\ud83d","stop_reason":7}]}', [Text("\ud83d")]),
        (b"[DONE]", [End()]),
    ],
)
def test_what_an_event_says(payload, said):
    """A piece of the result, and why it stopped if it has."""
    assert decode(payload) == said


def test_the_input_is_counted_once():
    """Later events say 0, which is no count; the output's is of all so far."""
    events = decode(
        result("a", generated_token_count=1, input_token_count=8),
        result("b", "eos_token", generated_token_count=2, input_token_count=0),
    )

    assert events == [Text("a"), Usage(8, 1), Text("b"), Usage(8, 2), Finish("stop", "eos_token")]


def test_events_keep_their_ids_and_only_the_finish_may_be_the_last():
    """They are numbered; counts alone do not wait for the end."""
    dialect = DIALECTS["watsonx"]()
    carried = []
    for at, payload in enumerate((result("", input_token_count=8), result("", "eos_token"))):
        dialect.decode(frame(payload, str(at)))
        carried.append(dialect.carry(frame(payload, str(at))))

    assert [(one.id, one.last) for one in carried] == [("0", False), ("1", True)]


def test_a_complete_answer_is_an_event_too():
    """It has the shape of an event, with all of the text in it."""
    dialect = DIALECTS["watsonx"]()
    answer = {"model_id": "m", **result("whole", "eos_token", generated_token_count=2, input_token_count=8)}

    assert dialect.decode(frame(answer)) == [
        Start(None, "m"),
        Text("whole"),
        Usage(8, 2),
        Finish("stop", "eos_token"),
    ]
    assert json.loads(dialect.carry(frame(answer)).head) == answer


def test_what_is_no_json_is_a_bad_event():
    """A broken event is never passed over."""
    with pytest.raises(WireError):
        decode(b'{"results":')
