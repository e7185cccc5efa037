import json

import pytest

from ssegate.wire.dialects import DIALECTS
from ssegate.wire.errors import WireError
from ssegate.wire.events import End, Failure, Finish, Frame, Start, Text, Usage


def frame(payload):
    return Frame("", payload if isinstance(payload, bytes) else json.dumps(payload).encode())


def decode(*payloads):
    dialect = DIALECTS["llamacpp"]()
    return [said for payload in payloads for said in dialect.decode(frame(payload))]


def piece(content, *, stop=False, **more):
    return {"content": content, "stop": stop, **more}


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        (piece(" a", tokens=[1], id_slot=0), [Text(" a")]),
        (piece("a", index=2, tokens_predicted=3, tokens_evaluated=5), [Text("a", 2), Usage(5, 3)]),
        (piece("", prompt_progress={"total": 35}), []),
        (piece("a", stop=True, stop_type="limit"), [Text("a"), Finish("length", "limit")]),
        (piece("", stop=True, stop_type="eos", model="m"), [Start(None, "m"), Finish("stop", "eos")]),
        (piece("", stop=True, stop_type="word", stopping_word="END"), [Finish("stop", "word")]),
        (piece("", stop=True, stopped_eos=False, stopped_word=True), [Finish("stop", "word")]),
        (piece("", stop=True, stopped_limit=True), [Finish("length", "limit")]),
        (piece("", stop=True), [Finish("other", "none")]),
        (piece(None, stop=None), []),
        (
            {"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}},
            [Failure("upstream_error", "Loading model", 503, "unavailable_error", 503)],
        ),
        (b'{"content":"\\ud83d","tokens_predicted":"x"}', [Text("\ud83d")]),
        (b"null", []),
        (b"[DONE]", [End()]),
    ],
)
def test_what_an_event_says(payload, said):
    """Text, the counts so far, and why it stopped, in new words and old."""
    assert decode(payload) == said


def test_several_prompts_are_several_choices():
    """Each has a last event of its own, which ends nothing but its choice."""
    assert decode(
        piece("a", index=0),
        piece("", index=0, stop=True, stop_type="eos"),
        piece("b", index=1),
        piece("", index=1, stop=True, stop_type="limit"),
    ) == [Text("a"), Finish("stop", "eos"), Text("b", 1), Finish("length", "limit", 1)]


def test_progress_does_not_wait_for_the_end():
    """Only the event that stops may be the last one."""
    dialect = DIALECTS["llamacpp"]()
    carried = []
    for payload in (piece("", tokens_evaluated=5), piece("", stop=True, stop_type="eos", tokens_evaluated=5)):
        dialect.decode(frame(payload))
        carried.append(dialect.carry(frame(payload)))

    assert [one.last for one in carried] == [False, True]


def test_a_complete_answer_is_an_event_too():
    """It has the shape of the last event, with all of the text in it."""
    dialect = DIALECTS["llamacpp"]()
    answer = piece("whole", stop=True, stop_type="eos", tokens_evaluated=5, tokens_predicted=2)

    assert dialect.decode(frame(answer)) == [Text("whole"), Usage(5, 2), Finish("stop", "eos")]
    assert json.loads(dialect.carry(frame(answer)).head) == answer


def test_what_is_no_json_is_a_bad_event():
    """A broken event is never passed over."""
    with pytest.raises(WireError):
        decode(b'{"content":')
