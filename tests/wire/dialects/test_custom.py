import json

import pytest

from ssegate.wire.description import Description
from ssegate.wire.dialects.custom import Custom
from ssegate.wire.errors import WireError
from ssegate.wire.events import End, Failure, Finish, Frame, Reasoning, Text, Usage


def paths(*texts):
    return tuple(tuple(text.split(".")) for text in texts)


DESCRIBED = Description(
    framing="sse",
    text=paths("output.token", "choices.0.text"),
    reasoning=paths("output.thought"),
    finish_reason=paths("output.stop"),
    input_tokens=paths("stats.in"),
    output_tokens=paths("stats.out", "n"),
    error=paths("error.message", "error"),
    done=b"[DONE]",
)
TEXT_ALONE = Description("sse", text=paths("t"))


def frame(payload, event=""):
    return Frame(event, payload if isinstance(payload, bytes) else json.dumps(payload).encode(), "7")


def decode(*payloads, described=DESCRIBED, event=""):
    dialect = Custom(described)
    return [said for payload in payloads for said in dialect.decode(frame(payload, event))]


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        ({"output": {"token": " a"}}, [Text(" a")]),
        ({"choices": [{"text": "a"}, {"text": "b"}]}, [Text("a")]),
        ({"output": {"token": "a"}, "choices": [{"text": "b"}]}, [Text("a")]),
        ({"output": {"token": None}, "choices": [{"text": "b"}]}, [Text("b")]),
        ({"output": {"token": 7}, "choices": {"0": {"text": "b"}}}, [Text("b")]),
        ({"output": {"token": ""}, "choices": [{"text": "b"}]}, []),
        ({"output": "token", "choices": [], "stats": [1]}, []),
        ({"output": {"thought": "hm", "token": "a"}}, [Reasoning("hm"), Text("a")]),
        ({"stats": {"in": 3, "out": 4.0}}, [Usage(3, 4)]),
        ({"stats": {"in": True, "out": "4"}, "n": 5}, [Usage(None, 5)]),
        ({"output": {"stop": "max_tokens"}}, [Finish("length", "max_tokens")]),
        ({"output": {"stop": "who knows"}}, [Finish("other", "who knows")]),
        ({"output": {"stop": 1}}, [Finish("stop", "1")]),
        ({"output": {"stop": ""}}, []),
        ({"output": {"stop": False}}, []),
        ({"output": {"stop": "not_finished"}}, []),
        (
            {"stats": {"in": 3}, "output": {"stop": "stop", "token": "a"}},
            [Text("a"), Usage(3), Finish("stop", "stop")],
        ),
        ({"error": {"message": "no"}}, [Failure("upstream_error", "no")]),
        ({"error": {"message": ""}}, [Failure("upstream_error", "the upstream reported an error")]),
        ({"error": "no"}, [Failure("upstream_error", "no")]),
        (
            {"error": {"reason": "x", "code": 503}},
            [Failure("upstream_error", "the upstream reported an error", 503, None, 503)],
        ),
        (
            {"error": {"message": "no", "type": "t", "code": "c", "status": 429}, "output": {"token": "a"}},
            [Text("a"), Failure("upstream_error", "no", 429, "t", "c")],
        ),
        ({"error": None}, []),
        ({"error": {}}, []),
        ([1, 2], []),
        ("words", []),
        (7, []),
        (b"null", []),
        (b" ", []),
        (b" [DONE] ", [End()]),
        (b'{"output":{"token":"\\ud83d"}}', [Text("\ud83d")]),
        (b'{"output":{"token":"a","stop":"\\ud83d"}}', [Text("a"), Finish("other", "\ufffd")]),
        (b'{"output":{"token":"\xff"},"n":NaN}', [Text("\ufffd")]),
    ],
)
def test_what_a_payload_says(payload, said):
    """What stands at the paths, if it is of the kind; the first path that leads to a string wins."""
    assert decode(payload) == said


def test_a_payload_may_be_a_list():
    """A path may begin with a number."""
    described = Description("ndjson", text=paths("0.t"), error=paths("1.error"))

    assert decode([{"t": "a"}], [{"t": 1}, {"error": "no"}], described=described) == [
        Text("a"),
        Failure("upstream_error", "no"),
    ]


def test_counts_are_laid_over_those_before():
    """The last report wins, and takes nothing away."""
    assert decode({"stats": {"in": 3}}, {"n": 1}, {"n": 2}, {"output": {"token": "a"}}) == [
        Usage(3),
        Usage(3, 1),
        Usage(3, 2),
        Text("a"),
    ]


def test_the_finish_is_told_once():
    """Upstreams repeat it; it ends nothing by itself."""
    stop = {"output": {"stop": "stop"}}

    assert decode(stop, {"output": {"token": "a"}}, stop, b"[DONE]") == [
        Finish("stop", "stop"),
        Text("a"),
        End(),
    ]


def test_an_end_mark_may_be_json():
    """It is compared as a whole, blanks around it left out."""
    described = Description("sse", text=paths("t"), done=b'{"end":true}')

    assert decode(b'{"end":true}\n', {"end": True, "t": "a"}, described=described) == [End(), Text("a")]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b'{"error":{"message":"no"}}', "no"),
        (b'{"message":"no"}', "no"),
        (b"out of memory", "out of memory"),
        (b"{}", "the upstream reported an error"),
    ],
)
@pytest.mark.parametrize("described", [DESCRIBED, TEXT_ALONE])
def test_an_event_named_error_is_a_failure(described, data, message):
    """Whether its message is where the description says, or anywhere else."""
    assert decode(data, described=described, event="error") == [Failure("upstream_error", message)]


@pytest.mark.parametrize(
    ("described", "is_document", "payloads", "said"),
    [
        (TEXT_ALONE, False, [{"t": "a"}], [Finish("other"), End()]),
        (TEXT_ALONE, False, [], []),
        (DESCRIBED, False, [{"output": {"token": "a"}}], []),
        (DESCRIBED, False, [{"output": {"token": "a", "stop": "stop"}}], []),
        (DESCRIBED, True, [{"output": {"token": "a"}}], [Finish("other"), End()]),
        (DESCRIBED, True, [{"output": {"token": "a", "stop": "stop"}}], [End()]),
        (DESCRIBED, True, [], []),
    ],
)
def test_the_body_s_end_is_the_end_where_nothing_else_can_be(described, is_document, payloads, said):
    """No end mark and no finish reason are described; or it was one document."""
    dialect = Custom(described, is_document=is_document)
    for payload in payloads:
        dialect.decode(frame(payload))

    assert dialect.close() == said


@pytest.mark.parametrize("data", [b'{"output":', b"words", b"[DONE", b"data: {}"])
def test_what_is_no_json_is_a_bad_event(data):
    """It is never passed over in silence."""
    with pytest.raises(WireError):
        decode(data)


def test_frames_are_carried_one_by_one():
    """On one line, with their names and IDs; never joined, and neither empty ones nor errors."""
    dialect = Custom(DESCRIBED)
    carried = []
    for payload in (
        b'{"output":\n{"token":"a"}, "error": null}',
        {"output": {"token": "a"}},
        {"output": {"stop": "stop"}},
        b" [DONE] ",
        b" ",
        {"error": "no"},
    ):
        dialect.decode(frame(payload, "update"))
        carried.append(dialect.carry(frame(payload, "update")))

    first, second, finish, done, *nothing = carried
    assert first.head == b'{"output": {"token":"a"}}'
    assert (first.event, first.id, first.count, first.last) == ("update", "7", 1, False)
    assert first.key is second.key is None
    assert (finish.last, done.last, done.head) == (True, True, b"[DONE]")
    assert nothing == [None, None]


def test_what_leaves_is_json_for_every_client():
    """What only a forgiving reader takes for JSON is written anew."""
    dialect = Custom(TEXT_ALONE)
    told = Frame("", b'{"t":"a\tb","x":NaN}')

    assert dialect.decode(told) == [Text("a\tb")]
    assert dialect.carry(told).head == b'{"t":"a\\tb","x":null}'
