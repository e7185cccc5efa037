"""What a failure closes in a Responses stream."""

import json
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai import omit
from openai._models import construct_type
from openai.lib.streaming.responses._responses import ResponseStreamState
from openai.types.responses import ResponseStreamEvent
from wire import reading_back

from ssegate.wire.dialects import DIALECTS
from ssegate.wire.events import Carried, Failure, Frame, Reasoning, Refusal, Text, ToolCall
from ssegate.wire.formats.responses import Responses
from ssegate.wire.seams import Context

from .readers import documents

BROKEN = Failure("upstream_truncated", "m")


class Answer:
    """A stream that is carried as its dialect carries it, all under the next number."""

    def __init__(self):
        self.format, self.number = Responses(Context("s1", 1700000000)), 0
        self.out, self._dialect = [], DIALECTS["responses"]()
        self.say("created", response={"id": "r", "object": "response", "output": [], "status": "in_progress"})

    def say(self, kind, **members):
        data = {"type": f"response.{kind}", "sequence_number": self.number, **members}
        self.number += 1
        frame = Frame(data["type"], json.dumps(data).encode())
        self._dialect.decode(frame)
        self.out += self.format.encode(self._dialect.carry(frame), b"")

    def open(self, kind, at=0, **members):
        item = {"id": f"i{at}", "type": kind, "status": "in_progress", **members}
        self.say("output_item.added", output_index=at, item=item)

    def text(self, *pieces, at=0, part=0):
        place = {"item_id": f"i{at}", "output_index": at, "content_index": part}
        empty = {"type": "output_text", "text": "", "annotations": []}
        self.say("content_part.added", **place, part=empty)
        for piece in pieces:
            self.say("output_text.delta", **place, delta=piece, logprobs=[])

    def arguments(self, *pieces, at=0, name="function_call_arguments"):
        for piece in pieces:
            self.say(f"{name}.delta", item_id=f"i{at}", output_index=at, delta=piece)

    def fail(self, *, is_read=True, is_repeated=True):
        """Break off; return what that adds, but for the failure itself, and have the whole read."""
        told = self.format.fail(BROKEN, b"")
        *closing, failed = documents(told)
        assert failed["type"] == "response.failed"
        numbers = [said.pop("sequence_number") for said in [*closing, failed]]
        assert numbers == list(range(self.number, self.number + len(numbers)))
        (at,) = [at for at, said in enumerate(closing) if said["type"] == "error"]
        del closing[at]
        after = [place >= at for place in range(len(closing))]
        wanted = [acts(said) for said in closing] if is_repeated else [True] * len(closing)
        assert after == wanted, "what can be acted upon is closed after the error, all else before"
        if is_read:
            reading_back.responses(b"".join([*self.out, *told]))
        return closing


def acts(said):
    """Return whether *said* ends something that clients carry out."""
    return "function_call" in said["type"] or said.get("item", {}).get("type") not in (
        None,
        "message",
        "reasoning",
    )


CALL = {"call_id": "c", "name": "f", "arguments": ""}


def message():
    return {"id": "i0", "type": "message", "status": "incomplete", "role": "assistant"}


def test_a_text_that_broke_off():
    """Its text, its part and its item end, in the words that the upstream would have used."""
    answer = Answer()
    answer.open("message", role="assistant", content=[])
    answer.text("Hel", "lo ", 'w"')
    place = {"item_id": "i0", "output_index": 0, "content_index": 0}
    part = {"type": "output_text", "annotations": [], "logprobs": [], "text": 'Hello w"'}

    assert answer.fail() == [
        {"type": "response.output_text.done", **place, "text": 'Hello w"', "logprobs": []},
        {"type": "response.content_part.done", **place, "part": part},
        {"type": "response.output_item.done", "output_index": 0, "item": {**message(), "content": [part]}},
    ]


def test_what_the_sdk_adds_up_stays():
    """Closing an item takes nothing from what OpenAI's own accumulator has of it."""
    answer = Answer()
    answer.open("message", role="assistant", content=[])
    answer.text("Hel", "lo")
    state = ResponseStreamState(input_tools=omit, text_format=omit)
    for said in documents([*answer.out, *answer.format.fail(BROKEN, b"")])[:-2]:
        events = state.handle_event(construct_type(type_=ResponseStreamEvent, value=said))
    assert events[-1].item.content[0].text == "Hello"


def test_a_part_that_is_done_is_repeated_as_it_was():
    """With what only its upstream knows of it; an annotation of the next one is not lost."""
    answer = Answer()
    answer.open("message", role="assistant", content=[])
    answer.text("a")
    place = {"item_id": "i0", "output_index": 0, "content_index": 0}
    first = {"type": "output_text", "text": "a", "annotations": [], "vendor": 1.50}
    answer.say("output_text.done", **place, text="a")
    answer.say("content_part.done", **place, part=first)
    answer.text("b", "c", part=1)
    note = {"type": "url_citation", "url": "u"}
    answer.say(
        "output_text.annotation.added", **place | {"content_index": 1}, annotation_index=0, annotation=note
    )

    *_, part, item = answer.fail()
    assert part["part"] == {"type": "output_text", "annotations": [note], "logprobs": [], "text": "bc"}
    assert item["item"]["content"] == [first, part["part"]]


def test_a_text_that_is_done_in_a_part_that_is_not():
    """Nothing is said twice."""
    answer = Answer()
    answer.open("message", role="assistant", content=[])
    answer.text("a")
    answer.say("output_text.done", item_id="i0", output_index=0, content_index=0, text="a")

    assert [said["type"] for said in answer.fail()] == [
        "response.content_part.done",
        "response.output_item.done",
    ]


@pytest.mark.parametrize(
    ("name", "index", "part", "parts"),
    [
        ("reasoning_summary_text", "summary_index", "summary_text", "summary"),
        ("reasoning_text", "content_index", "reasoning_text", "content"),
    ],
)
def test_a_thought_that_broke_off(name, index, part, parts):
    """In its summary, or in its own text; what has no part of its own gets no end of one."""
    answer = Answer()
    answer.open("reasoning", summary=[], encrypted_content="x")
    for piece in ("a", "b"):
        answer.say(f"{name}.delta", item_id="i0", output_index=0, **{index: 0}, delta=piece)

    text, item = answer.fail()
    assert text == {
        "type": f"response.{name}.done",
        "item_id": "i0",
        "output_index": 0,
        index: 0,
        "text": "ab",
    }
    assert (item["item"][parts], item["item"]["status"]) == ([{"type": part, "text": "ab"}], "incomplete")
    assert item["item"]["encrypted_content"] == "x"


def test_a_refusal_that_broke_off():
    """It is a part of a message, under its own name."""
    answer = Answer()
    answer.open("message", role="assistant", content=[])
    place = {"item_id": "i0", "output_index": 0, "content_index": 0}
    answer.say("content_part.added", **place, part={"type": "refusal", "refusal": ""})
    answer.say("refusal.delta", **place, delta="no")

    refusal, part, item = answer.fail()
    assert (refusal["type"], refusal["refusal"]) == ("response.refusal.done", "no")
    assert item["item"]["content"] == [part["part"]] == [{"type": "refusal", "refusal": "no"}]


@pytest.mark.parametrize("given", ["", "{}", '{"b":2}'])
@pytest.mark.parametrize("pieces", [[], ['{"a', '": 1'], ['{"a', '": 1}'], [" "]])
def test_a_call_that_broke_off(given, pieces):
    """No client can make it: its arguments are no JSON, however far they have come."""
    answer = Answer()
    answer.open("function_call", **CALL | {"arguments": given})
    answer.arguments(*pieces)
    place = {"item_id": "i0", "output_index": 0}
    last = {"arguments": "".join(pieces) + "{"}

    assert answer.fail(is_read=not given) == [
        {"type": "response.function_call_arguments.delta", **place, "delta": "{"},
        {"type": "response.function_call_arguments.done", **place, **last},
        {
            "type": "response.output_item.done",
            "output_index": 0,
            "item": {
                "id": "i0",
                "type": "function_call",
                "status": "incomplete",
                **CALL,
                **last,
            },
        },
    ]


@pytest.mark.parametrize("pieces", [[], ['{"a":', "1}"]])
def test_arguments_that_were_done_are_not_done_again(pieces):
    """Whether they came in deltas or only then (LM Studio)."""
    answer = Answer()
    answer.open("function_call", **CALL)
    answer.arguments(*pieces)
    answer.say("function_call_arguments.done", item_id="i0", output_index=0, arguments='{"a":1}')

    (item,) = answer.fail(is_read=False)
    assert item["item"]["arguments"] == '{"a":1}'


def test_calls_that_take_turns():
    """Each has its own arguments; one that is done is left alone."""
    answer = Answer()
    for at in range(3):
        answer.open("function_call", at=at, **CALL)
    for piece in "ab":
        for at in range(3):
            answer.arguments(f"{at}{piece}", at=at)
    answer.say(
        "output_item.done",
        output_index=1,
        item={"id": "i1", "type": "function_call", **CALL | {"arguments": "1a1b"}},
    )

    items = [said["item"] for said in answer.fail() if "item" in said]
    assert [(item["id"], item["arguments"]) for item in items] == [("i0", "0a0b{"), ("i2", "2a2b{")]


@pytest.mark.parametrize(
    "kind", ["custom_tool_call", "local_shell_call", "computer_call", "of_tomorrow_call"]
)
def test_what_half_of_cannot_be_told_from_the_whole_ends_bare(kind):
    """A client would run half a program, in whatever status: there is nothing in it to be run."""
    answer = Answer()
    answer.open(kind, call_id="c", name="f", input="ls", action={"command": ["rm"]}, code="1", arguments="{}")
    answer.arguments("rm -rf /tm", name="custom_tool_call_input")
    item = {"id": "i0", "type": kind, "call_id": "c", "name": "f", "status": "incomplete"}

    assert answer.fail() == [{"type": "response.output_item.done", "output_index": 0, "item": item}]


@pytest.mark.parametrize(
    ("kind", "status"), [("web_search_call", "failed"), ("code_interpreter_call", "incomplete")]
)
def test_what_the_server_does_itself_ends_as_it_was_opened(kind, status):
    """In a status that its kind can have."""
    answer = Answer()
    answer.open(kind, code="", container_id="c")

    (item,) = answer.fail()
    assert item["item"] == {"id": "i0", "type": kind, "code": "", "container_id": "c", "status": status}


def test_items_without_a_place():
    """llama.cpp tells items apart by their ids."""
    answer = Answer()
    answer.say("output_item.added", item={"id": "m", "type": "message", "role": "assistant", "content": []})
    for piece in ("a", "b"):
        answer.say("output_text.delta", item_id="m", content_index=0, delta=piece)

    text, item = answer.fail()
    assert (text["item_id"], text["text"], item["item"]["id"]) == ("m", "ab", "m")
    assert "output_index" not in text and "output_index" not in item


@pytest.mark.parametrize("before", [[], ["a"], ["a", "b"]])
def test_characters_that_were_cut_in_two(before):
    """The halves are in two deltas, the first two perhaps; one alone at the end is none."""
    answer = Answer()
    answer.open("message", role="assistant", content=[])
    answer.text(*before, "\ud83d", "\ude00", "c", "\ud83d")

    # A reader of Python's sees halves where others see a character.
    assert answer.fail(is_read=False)[0]["text"] == "".join(before) + "\U0001f600c\ufffd"


def test_deltas_with_other_members_are_read_too():
    """Log probabilities keep frames from being joined."""
    answer = Answer()
    answer.open("message", role="assistant", content=[])
    place = {"item_id": "i0", "output_index": 0, "content_index": 0}
    for piece in ("a", '"', "b"):
        answer.say("output_text.delta", **place, delta=piece, logprobs=[{"token": piece}])

    assert answer.fail()[0]["text"] == 'a"b'


LONG = ["a" * 1000] * 200


def test_a_long_item_ends_without_its_text():
    """After the error, so that nobody who stops there has nothing in place of what he had."""
    answer = Answer()
    answer.open("message", role="assistant", content=[], vendor="v" * 5000)
    answer.text(*LONG)
    assert answer.format._carried._size < 1000

    assert answer.fail(is_repeated=False) == [
        {"type": "response.output_item.done", "output_index": 0, "item": {**message(), "content": []}}
    ]


def test_a_long_thought_and_a_long_call():
    """With what their readers want of them, and arguments that nobody can read."""
    answer = Answer()
    answer.open("reasoning", summary=[])
    answer.open("function_call", at=1, **CALL)
    answer.arguments(*LONG, at=1)
    answer.open("custom_tool_call", at=2, call_id="d", name="g", input="")

    items = [said["item"] for said in answer.fail(is_read=False, is_repeated=False) if "item" in said]
    assert items == [
        {"id": "i0", "type": "reasoning", "summary": [], "status": "incomplete"},
        {"id": "i1", "type": "function_call", **CALL, "arguments": "{", "status": "incomplete"},
        {"id": "i2", "type": "custom_tool_call", "call_id": "d", "name": "g", "status": "incomplete"},
    ]


def test_after_a_long_item_the_next_is_short():
    """What is told of it is told in full again."""
    answer = Answer()
    answer.open("message", role="assistant", content=[])
    answer.text(*LONG)
    answer.say("output_item.done", output_index=0, item={"id": "i0", "type": "message"})
    answer.open("message", at=1, role="assistant", content=[])
    answer.text("b", at=1)

    assert [said["item"]["id"] for said in answer.fail() if "item" in said] == ["i1"]


@pytest.mark.parametrize("is_done", [False, True])
def test_an_item_with_half_a_character(is_done):
    """It is read all the same: what is done is not ended again, what is open is."""
    answer = Answer()
    answer.open("message", role="assistant", content=[])
    item = {"id": "i1", "type": "message", "role": "assistant", "content": [{"text": "\ud83d"}]}
    answer.say("output_item.added", output_index=1, item=item)
    if is_done:
        answer.say("output_item.done", output_index=1, item=item)
    answer.text("a")

    ended = {said["item"]["id"] for said in answer.fail(is_read=False) if "item" in said}
    assert ended == ({"i0"} if is_done else {"i0", "i1"})


def test_what_cannot_be_read_makes_no_other_item_short():
    """Nothing is open that would have to be remembered."""
    answer = Answer()
    broken = Carried("response.output_item.added", b'{"output_index":0,"item":}')
    answer.format.encode(broken, b"")
    answer.open("message", role="assistant", content=[])
    answer.text("a")

    assert [said["text"] for said in answer.fail(is_read=False) if "text" in said] == ["a"]


def test_more_items_than_anybody_opens():
    """What is kept of heads is bounded, too; the earliest are ended by the response alone."""
    answer = Answer()
    for at in range(1000):
        answer.open("message", at=at, role="assistant", content=[])

    ended = [said["item"]["id"] for said in answer.fail(is_read=False, is_repeated=False)]
    assert ended == [f"i{at}" for at in range(1000 - len(ended), 1000)] and len(ended) < 500


def test_a_text_that_only_its_end_has_brought():
    """Some servers send no deltas."""
    answer = Answer()
    answer.open("message", role="assistant", content=[])
    answer.text()
    answer.say("output_text.done", item_id="i0", output_index=0, content_index=0, text="whole")

    part, item = answer.fail(is_read=False)
    assert part["part"]["text"] == item["item"]["content"][0]["text"] == "whole"


def test_a_place_that_is_used_again_begins_anew():
    """While another item is open."""
    answer = Answer()
    answer.open("message", at=1, role="assistant", content=[])
    for text in ("one", "two"):
        answer.open("message", role="assistant", content=[])
        answer.text(text)
        if text == "one":
            answer.say("output_item.done", output_index=0, item={"id": "i0", "type": "message"})

    texts = [said["text"] for said in answer.fail() if "text" in said]
    assert texts == ["two"]


VARIED = {
    "members": lambda at: {"delta": "a", "logprobs": [{"token": "a" * 60_000, "at": at}]},
    "small members": lambda at: {"delta": "a", "logprobs": [{"token": "a" * 2000, "at": at}]},
    "parts": lambda at: {"delta": "a", "content_index": at},
    "ids": lambda at: {"delta": "a", "item_id": f"{at}" + "a" * 60_000, "content_index": at},
}


@pytest.mark.parametrize("varied", VARIED.values(), ids=VARIED)
def test_what_is_kept_of_open_items_is_bounded(varied):
    """Whatever makes each event differ from the one before."""
    answer = Answer()
    answer.open("message", role="assistant", content=[])
    tracemalloc.start()
    try:
        for at in range(300):
            answer.say("output_text.delta", **{"item_id": "i0", "output_index": 0, **varied(at)})
            answer.out.clear()
        assert tracemalloc.get_traced_memory()[0] < 512 << 10
    finally:
        tracemalloc.stop()


def test_nothing_is_kept_of_items_that_are_done():
    """A response may have hundreds."""
    answer = Answer()
    for at in range(3):
        answer.open("message", at=at, role="assistant", content=[])
        answer.text("a" * 50, "b" * 50, at=at)
        answer.say("output_item.done", output_index=at, item={"id": f"i{at}", "type": "message"})

    assert answer.format._carried._size == 0
    assert answer.fail() == []


def test_a_complete_response_that_fails_while_it_is_told():
    """What the gate has opened itself is closed like anything else."""
    responses = Responses(Context("s1", 1700000000))
    events = [
        Text("a"),
        Reasoning("b"),
        Refusal("no"),
        ToolCall(0, "", "c", "f"),
        ToolCall(1, "{}", "d", "g"),
    ]
    out = [block for event in events for block in responses.encode(event, b"")]
    out += responses.fail(BROKEN, b"")
    reading_back.responses(b"".join(out))

    items = [said["item"] for said in documents(out) if said["type"] == "response.output_item.done"]
    assert [item["status"] for item in items] == ["completed", "completed", "completed", *["incomplete"] * 2]
    assert [item["arguments"] for item in items[3:]] == ["{", "{}{"]


SHAPES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(0, 3)
    | st.sampled_from(["", "a", "message", "function_call", "reasoning", "output_text"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["id", "type", "content", "summary", "arguments", "text"]), inner, max_size=4
        )
    ),
    max_leaves=6,
)
KINDS = [
    "output_item.added",
    "output_item.done",
    "content_part.added",
    "content_part.done",
    "output_text.delta",
    "output_text.done",
    "reasoning_text.delta",
    "function_call_arguments.delta",
    "function_call_arguments.done",
    "output_text.annotation.added",
]
MEMBERS = ["item", "part", "annotation", "delta", "arguments", "output_index", "item_id", "content_index"]


@given(
    st.lists(st.tuples(st.sampled_from(KINDS), st.dictionaries(st.sampled_from(MEMBERS), SHAPES)), max_size=6)
)
def test_events_of_any_shape_end_in_a_failure(events):
    """Whatever an upstream has opened, and however: what comes is the error and the end."""
    responses = Responses(Context("s1", 1700000000))
    responses.encode(
        Carried("response.output_item.added", b'{"output_index":0,"item":{"type":"message","content":7}}'),
        b"",
    )
    for kind, members in events:
        data = json.dumps({"output_index": 0, **members}).encode()
        responses.encode(Carried(f"response.{kind}", data), b"")

    kinds = [said["type"] for said in documents(responses.fail(BROKEN, b""))]
    assert kinds.count("error") == 1 and kinds[-1] == "response.failed"
