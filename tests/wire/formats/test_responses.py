import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai import omit
from openai._models import construct_type
from openai.lib.streaming.responses._responses import ResponseStreamState
from openai.types.responses import ResponseStreamEvent
from wire import reading_back

from ssegate.wire.events import (
    Carried,
    Citation,
    End,
    Failure,
    Finish,
    Progress,
    Reasoning,
    Refusal,
    Start,
    Text,
    ToolCall,
    Usage,
)
from ssegate.wire.formats.responses import Responses
from ssegate.wire.seams import Context

from .readers import blocks, documents

CONTEXT = Context("s1", 1700000000)


def frame(kind, **members):
    return Carried(f"response.{kind}", json.dumps({"type": f"response.{kind}", **members}).encode())


CREATED = frame("created", sequence_number=0, response={"id": "r", "status": "in_progress", "tools": [1.0]})
STOPPED = Finish("stop")
DELTA = frame("output_text.delta", sequence_number=7, delta="a")


def carrying(*frames):
    responses = Responses(CONTEXT)
    for carried in frames:
        responses.encode(carried, b"")
    return responses


def written(events, finish=STOPPED, usage=None, metadata=b""):
    responses = Responses(CONTEXT)
    out = [block for event in events for block in responses.encode(event, b"")]
    return [*out, *responses.finish(finish, usage, metadata)]


def sdk(out):
    """What OpenAI's own accumulator makes of the events: the response at the end."""
    state = ResponseStreamState(input_tools=omit, text_format=omit)
    for document in documents(out):
        event = construct_type(type_=ResponseStreamEvent, value=document)
        last = state.handle_event(event)[-1]
    return last.response


# ---- carried ------------------------------------------------------------------------------------


def test_a_carried_event_leaves_under_its_name():
    """Payload byte for byte, its number too; without a name it has none."""
    named = Carried("response.x", b'{"sequence_number":7,"delta":"', b"hi", b'"}', b"k", 1)

    assert Responses(CONTEXT).encode(named, b"") == [
        b'event: response.x\ndata: {"sequence_number":7,"delta":"hi"}\n\n'
    ]
    assert Responses(CONTEXT).encode(Carried("", b"{}"), b"") == [b"data: {}\n\n"]


def test_metadata_is_a_key_of_events_that_exist_anyway():
    """No client meets an event that it does not know."""
    assert Responses(CONTEXT).encode(Carried("response.completed", b'{"a":1}'), b'{"t":1}') == [
        b'event: response.completed\ndata: {"a":1,"ssegate":{"t":1}}\n\n'
    ]


@pytest.mark.parametrize("kind", ["completed", "incomplete", "failed", "cancelled"])
def test_the_upstreams_own_end_is_the_end(kind):
    """Nothing is added to it."""
    responses = carrying(CREATED, DELTA, frame(kind, response={}))

    assert responses.finish(Finish("stop"), Usage(1, 1), b"{}") == []


def test_a_missing_end_is_added_to_what_is_known_of_the_response():
    """An upstream may end with `[DONE]` alone; helpers wait for the response."""
    (block,) = blocks(carrying(CREATED, DELTA).finish(Finish("length"), Usage(1, 2), b'{"t":1}'))
    said = json.loads(block["data"])

    assert block["event"] == said["type"] == "response.incomplete"
    assert said["sequence_number"] == 8
    assert said["ssegate"] == {"t": 1}
    assert (said["response"]["id"], said["response"]["tools"]) == ("r", [1.0])
    assert said["response"]["status"] == "incomplete"
    assert said["response"]["incomplete_details"] == {"reason": "max_output_tokens"}
    assert said["response"]["usage"]["total_tokens"] == 3


def test_a_failure_is_an_error_and_a_failed_response():
    """Clients know one or the other; the numbers go on, and the response is the upstream's."""
    failure = Failure("upstream_error", "m", upstream_type="t", upstream_code=17, upstream_param="p")
    error, failed = blocks(carrying(CREATED, DELTA).fail(failure, b'{"t":1}'))

    assert error["event"] == "error"
    assert json.loads(error["data"]) == {
        "type": "error",
        "sequence_number": 8,
        "code": "17",
        "message": "m",
        "param": "p",
        "error": {"message": "m", "type": "t", "param": "p", "code": "17"},
    }
    assert failed["event"] == "response.failed"
    assert json.loads(failed["data"]) == {
        "type": "response.failed",
        "sequence_number": 9,
        "response": {
            "id": "r",
            "status": "failed",
            "tools": [1.0],
            "error": {"code": "17", "message": "m"},
        },
        "ssegate": {"t": 1},
    }


@pytest.mark.parametrize(
    "frames",
    [
        [],
        [DELTA],
        [Carried("response.created", b'{"response":7}')],
        [Carried("response.created", b"[]")],
        [Carried("response.created", b"[" * 100_000)],
    ],
    ids=["nothing", "from the middle on", "no object", "a list", "no json"],
)
def test_a_failure_of_a_response_that_nobody_knows(frames):
    """The stream's id stands in for the response's."""
    *_, failed = documents(carrying(*frames).fail(Failure("upstream_truncated", "m"), b""))

    assert failed["response"]["id"] == "resp_s1"
    assert failed["response"]["status"] == "failed"
    assert failed["response"]["error"] == {"code": "upstream_truncated", "message": "m"}


def test_the_python_sdk_raises_on_a_failure():
    """It looks for ``error`` in the data; the documented members are beside it."""
    (error, _) = documents(carrying(CREATED).fail(Failure("idle_timeout", "m"), b""))
    event = construct_type(type_=ResponseStreamEvent, value=error)

    assert error["error"]["message"] == event.message == "m"
    assert error["error"]["code"] == event.code == "idle_timeout"


def test_events_without_numbers_are_counted():
    """llama.cpp has none; what follows them needs one."""
    frames = [frame("created", response={}), frame("output_text.delta", delta="a")]

    assert [
        said["sequence_number"] for said in documents(carrying(*frames).fail(Failure("internal", "m"), b""))
    ] == [
        2,
        3,
    ]


def test_silence_is_filled_with_the_response_as_it_stood():
    """Under the last number: who goes on behind it misses nothing."""
    responses = carrying(CREATED, DELTA)
    for _ in range(2):
        (block,) = blocks([responses.noop])
        assert block["event"] == "response.in_progress"
        assert json.loads(block["data"]) == {
            "type": "response.in_progress",
            "sequence_number": 7,
            "response": {"id": "r", "status": "in_progress", "tools": [1.0]},
        }
    responses.encode(frame("output_text.delta", sequence_number=8, delta="b"), b"")

    assert documents([responses.noop])[0]["sequence_number"] == 8
    assert Responses.heartbeat == b":\n"


def test_there_is_no_noop_without_a_response():
    """Nothing has been said yet, or the stream was resumed in the middle; a comment has to do."""
    assert carrying().noop == b""
    assert carrying(DELTA).noop == b""


# ---- a complete response, told as a stream ------------------------------------------------------

RESPONSE = (
    '"id":"resp_1","object":"response","created_at":1700000000,"error":null,"incomplete_details":null,'
    '"instructions":null,"metadata":{},"model":"gpt","output":[%s],"parallel_tool_calls":true,'
    '"temperature":null,"tool_choice":"auto","tools":[],"top_p":null,"usage":%s,"status":"%s"'
)
ITEM = '{"id":"msg_s1_0","type":"message","role":"assistant","content":[%s],"status":"%s"}'
PART = '{"type":"output_text","annotations":[],"logprobs":[],"text":"%s"}'
USAGE = (
    '{"input_tokens":10,"input_tokens_details":{"cached_tokens":4},"output_tokens":2,'
    '"output_tokens_details":{"reasoning_tokens":0},"total_tokens":12}'
)


def test_a_text_byte_for_byte():
    """The events of the documentation, in their order."""
    place = '"item_id":"msg_s1_0","output_index":0,"content_index":0'
    begun, done = RESPONSE % ("", "null", "in_progress"), ITEM % (PART % "hi", "completed")
    events = [
        ("response.created", f'"response":{{{begun}}}'),
        ("response.in_progress", f'"response":{{{begun}}}'),
        ("response.output_item.added", f'"output_index":0,"item":{ITEM % ("", "in_progress")}'),
        ("response.content_part.added", f'{place},"part":{PART % ""}'),
        ("response.output_text.delta", f'{place},"delta":"hi","logprobs":[]'),
        ("response.output_text.done", f'{place},"text":"hi","logprobs":[]'),
        ("response.content_part.done", f'{place},"part":{PART % "hi"}'),
        ("response.output_item.done", f'"output_index":0,"item":{done}'),
        (
            "response.completed",
            f'"response":{{{RESPONSE % (done, USAGE, "completed")}}},"ssegate":{{"t":1}}',
        ),
    ]

    assert written(
        [Start("resp_1", "gpt"), Text("hi")], Finish("stop"), Usage(10, 2, cached_tokens=4), b'{"t":1}'
    ) == [
        f'event: {kind}\ndata: {{"type":"{kind}","sequence_number":{number},{members}}}\n\n'.encode()
        for number, (kind, members) in enumerate(events)
    ]


EVENTS = [
    Start("resp_1", "gpt"),
    Reasoning("think"),
    Reasoning("ing"),
    Text("Hel"),
    Text("lo"),
    Citation("u", "t", None, 1, 2),
    Citation("v", place=5),
    ToolCall(0, id="call_1", name="f"),
    ToolCall(0, '{"a":'),
    ToolCall(1, "{}", id="call_2", name="g"),
    ToolCall(0, "1}"),
    Refusal("no"),
    Progress(),
    End(),
]


def test_each_kind_has_its_item():
    """In order of appearance; calls may take turns."""
    response = sdk(written(EVENTS, usage=Usage(10, 7, 5, 4)))

    thought, message, first, second, refusal = response.output
    assert [part.text for part in thought.summary] == ["thinking"]
    assert [part.text for part in message.content] == ["Hello"]
    assert [(note.url, note.title, note.start_index) for note in message.content[0].annotations] == [
        ("u", "t", 1),
        ("v", "v", 5),
    ]
    assert (first.call_id, first.name, first.arguments) == ("call_1", "f", '{"a":1}')
    assert (second.call_id, second.name, second.arguments) == ("call_2", "g", "{}")
    assert [part.refusal for part in refusal.content] == ["no"]
    assert len({item.id for item in response.output}) == 5
    assert (response.id, response.model, response.status) == ("resp_1", "gpt", "completed")
    assert response.usage.output_tokens_details.reasoning_tokens == 5


def test_a_strict_reader_reads_the_same():
    """Deltas add up to what is done, numbers grow by one, the end is the end."""
    out = written(EVENTS)
    answer = reading_back.responses(b"".join(out))

    assert (answer.first.text, answer.first.reasoning, answer.first.refusal) == ("Hello", "thinking", "no")
    assert [call["arguments"] for call in answer.first.calls] == ['{"a":1}', "{}"]
    assert len(answer.citations) == 2
    assert [said["sequence_number"] for said in documents(out)] == list(range(len(out)))


def test_metadata_of_a_delta_is_on_the_delta():
    """Not on what opens its item."""
    said = documents(Responses(CONTEXT).encode(Text("a"), b'{"token_count":1}'))

    assert [document["type"] for document in said if "ssegate" in document] == ["response.output_text.delta"]


@pytest.mark.parametrize(
    ("finish", "status", "details"),
    [
        (Finish("stop"), "completed", None),
        (Finish("tool_calls"), "completed", None),
        (Finish("other", "cancelled"), "completed", None),
        (Finish("length", "max_output_tokens"), "incomplete", {"reason": "max_output_tokens"}),
        (Finish("content_filter"), "incomplete", {"reason": "content_filter"}),
    ],
)
def test_how_a_response_ends(finish, status, details):
    """Complete, or incomplete for one of the two reasons that clients know."""
    last = documents(written([Text("a")], finish))[-1]

    assert last["type"] == f"response.{status}"
    assert (last["response"]["status"], last["response"]["incomplete_details"]) == (status, details)
    assert last["response"]["usage"] is None


@pytest.mark.parametrize(
    "event",
    [
        Text("b", choice=1),
        ToolCall(0, "{}", "c", "f", choice=1),
        ToolCall(3, "{}"),
        Citation(title="a file"),
        Usage(1),
        Progress(),
        End(),
    ],
    ids=repr,
)
def test_what_has_no_room_makes_no_event(event):
    """There is one choice, and items stay open through what is not said."""
    response = sdk(written([Text("a"), event, Text("c")]))

    assert [part.text for item in response.output for part in item.content] == ["ac"]


def test_a_source_may_come_before_the_text():
    """It belongs to the text that follows."""
    (message,) = sdk(written([Citation("u"), Text("a")])).output

    assert message.content[0].text == "a"
    assert message.content[0].annotations[0].url == "u"


def test_an_empty_answer_is_a_response():
    """A stream of nothing but a finish still begins and ends; its id is the stream's."""
    response = sdk(written([], usage=Usage(input_tokens=3, output_tokens=0)))

    assert (response.id, response.output, response.usage.input_tokens) == ("resp_s1", [], 3)


def test_an_id_that_comes_late_is_too_late():
    """The response has begun under another one; its model was not known."""
    out = documents(written([Text("a"), Start("late", "gpt")]))

    assert {said["response"]["id"] for said in out if "response" in said} == {"resp_s1"}
    assert out[-1]["response"]["model"] == "gpt"


@given(
    st.lists(
        st.builds(
            lambda kind, text: kind(text), st.sampled_from([Text, Reasoning, Refusal]), st.text(min_size=1)
        )
    )
)
def test_any_text_arrives(events):
    """Items follow the kinds as they change; every text is whole."""
    first = reading_back.responses(b"".join(written(events))).first

    for kind, name in ((Text, "text"), (Reasoning, "reasoning"), (Refusal, "refusal")):
        assert getattr(first, name) == "".join(event.text for event in events if type(event) is kind)
