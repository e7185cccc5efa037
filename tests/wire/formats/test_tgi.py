import json

from ssegate.wire.events import Carried, Failure, Finish, Reasoning, Text, Usage
from ssegate.wire.formats.tgi import TGI
from ssegate.wire.seams import Context

from .readers import documents

CONTEXT = Context("s1", 1700000000)


def test_events_leave_as_they_came():
    """One by one; the last one is the upstream's, with the metadata."""
    tgi = TGI(CONTEXT)
    last = b'{"token":{"text":"a"},"generated_text":"a","details":null}'

    assert tgi.encode(Carried("", b'{"token":{"text":"a"}}', count=1), b"") == [
        b'data: {"token":{"text":"a"}}\n\n'
    ]
    (block,) = tgi.encode(Carried("", last, count=1, last=True), b'{"t":1}')
    assert block == b"data: %b\n\n" % (last[:-1] + b',"ssegate":{"t":1}}')
    assert tgi.finish(Finish("stop"), Usage(1, 1), b"{}") == []


def test_a_complete_answer_is_told_token_by_token():
    """The last event has the whole text, a special token, the reason and the counts."""
    tgi = TGI(CONTEXT)
    written = (
        tgi.encode(Text("whole "), b"") + tgi.encode(Text("answer"), b"") + tgi.encode(Reasoning("x"), b"")
    )
    written += tgi.finish(Finish("length", "max_tokens"), Usage(6, 20), b'{"t":1}')

    *tokens, last = documents(written)
    assert [said["token"]["text"] for said in tokens] == ["whole ", "answer"]
    assert not any(said["token"]["special"] or said["generated_text"] for said in tokens)
    assert last["token"]["special"] and last["generated_text"] == "whole answer"
    assert last["details"]["finish_reason"] == "length"
    assert (last["details"]["generated_tokens"], last["details"]["input_length"]) == (20, 6)
    assert last["ssegate"] == {"t": 1}


def test_the_upstream_s_own_reason_stays():
    """Where it is one of the server's words."""
    for upstream_reason, written in (("stop_sequence", "stop_sequence"), ("end_turn", "eos_token")):
        (block,) = TGI(CONTEXT).finish(Finish("stop", upstream_reason), None, b"")

        assert json.loads(block.removeprefix(b"data: "))["details"]["finish_reason"] == written


def test_a_failure_is_the_last_event():
    """In the server's own shape."""
    (error,) = documents(TGI(CONTEXT).fail(Failure("upstream_truncated", "cut"), b"{}"))

    assert error == {"error": "cut", "error_type": "incomplete_generation"}
