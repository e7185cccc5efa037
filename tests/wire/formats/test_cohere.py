import json

from wire import reading_back

from ssegate.wire.events import Carried, Citation, Failure, Finish, Reasoning, Start, Text, ToolCall, Usage
from ssegate.wire.formats import make
from ssegate.wire.formats.cohere import Cohere, CohereLines
from ssegate.wire.seams import Context

from .readers import blocks, documents

CONTEXT = Context("s1", 1700000000)
FAILURE = Failure("upstream_truncated", "cut")


def written(cohere, *events):
    return [block for event in events for block in cohere.encode(event, b"")]


def test_the_framing_tells_v1_from_v2():
    """v1's lines may also come as events, and leave as they came."""
    assert type(make("same", "cohere", CONTEXT, "ndjson")) is CohereLines
    assert type(make("same", "cohere", CONTEXT, "sse")) is Cohere
    assert type(make("same", "cohere", CONTEXT, "json")) is Cohere


def test_carried_events_leave_as_they_came():
    """Under their names; nothing is added at the end, the upstream's own end mark or none."""
    cohere = Cohere(CONTEXT)
    delta = Carried("content-delta", b'{"type":"content-delta","t":"', b"hi", b'"}', b"k", 1)

    assert cohere.encode(delta, b"") == [b'event: content-delta\ndata: {"type":"content-delta","t":"hi"}\n\n']
    assert cohere.encode(Carried("", b"[DONE]", last=True), b"") == [b"data: [DONE]\n\n"]
    assert cohere.finish(Finish("stop"), Usage(1, 1), b"{}") == []


def test_a_complete_answer_is_told_block_by_block():
    """A start, blocks that open and close, calls, citations, the counts, and the end mark."""
    cohere = Cohere(CONTEXT)
    out = written(
        cohere,
        Start("i", "m"),
        Reasoning("hm"),
        Text("a"),
        Text("b"),
        ToolCall(0, '{"x":1}', "c", "f"),
        ToolCall(1, "", "d", "g"),
        ToolCall(1, "{}"),
        Citation("u", "t", "a", 0, 1),
        Text("other", choice=1),
    )
    out += cohere.finish(Finish("length", "MAX_TOKENS"), Usage(12, 5, None, 8), b'{"t":1}')

    start, *_, end = documents(out)
    assert [said["type"] for said in documents(out)] == [
        "message-start",
        *["content-start", "content-delta", "content-end"] * 3,
        *["tool-call-start", "tool-call-delta", "tool-call-end"] * 2,
        *["citation-start", "citation-end"],
        "message-end",
    ]
    assert [block.get("event") for block in blocks(out)[:-1]] == [said["type"] for said in documents(out)]
    assert (out[-1], start["id"]) == (b"data: [DONE]\n\n", "i")
    assert [said["index"] for said in documents(out) if said["type"] == "content-start"] == [0, 1, 2]
    assert end["ssegate"] == {"t": 1}
    assert end["delta"] == {
        "finish_reason": "MAX_TOKENS",
        "usage": {"tokens": {"input_tokens": 12, "output_tokens": 5}, "cached_tokens": 8},
    }
    answer = reading_back.cohere(b"".join(out))
    assert (answer.first.text, answer.first.reasoning) == ("ab", "hm")
    assert answer.first.calls == [
        {"id": "c", "name": "f", "arguments": '{"x":1}'},
        {"id": "d", "name": "g", "arguments": "{}"},
    ]


def test_a_reason_of_another_vendor_becomes_cohere_s():
    """Its own stay."""
    for finish, reason in (
        (Finish("stop", "STOP_SEQUENCE"), "STOP_SEQUENCE"),
        (Finish("length", "max_tokens"), "MAX_TOKENS"),
        (Finish("tool_calls"), "TOOL_CALL"),
        (Finish("other", "who knows"), "COMPLETE"),
    ):
        _, end = documents(Cohere(CONTEXT).finish(finish, None, b""))

        assert end["delta"] == {"finish_reason": reason, "usage": {}}


def test_a_failure_is_an_end_with_an_error():
    """v2 as an event and the end mark, v1 as a line."""
    event, done = Cohere(CONTEXT).fail(FAILURE, b"{}")
    (end,) = documents([event])
    assert event.startswith(b"event: message-end\n") and done == b"data: [DONE]\n\n"
    assert end == {"type": "message-end", "delta": {"finish_reason": "ERROR", "error": "cut"}}
    (line,) = CohereLines(CONTEXT).fail(FAILURE, b"{}")
    end = json.loads(line)
    assert (end["event_type"], end["is_finished"], end["finish_reason"]) == ("stream-end", True, "ERROR")
    assert end["error"] == "cut" and line.endswith(b"\n")


def test_lines_leave_as_they_came():
    """v1's content type is its own."""
    lines = CohereLines(CONTEXT)

    assert lines.encode(Carried("", b'{"text":"a"}', count=1), b'{"t":1}') == [
        b'{"text":"a","ssegate":{"t":1}}\n'
    ]
    assert lines.encode(Text("a"), b"") == lines.finish(Finish("stop"), None, b"") == []
    assert (lines.content_type, lines.heartbeat) == ("application/stream+json", b"")
