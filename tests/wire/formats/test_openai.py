import json
from collections.abc import Iterator

import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai._streaming import SSEDecoder
from openai.lib.streaming.chat._completions import ChatCompletionStreamState
from openai.types import Completion
from openai.types.chat import ChatCompletionChunk

from ssegate.wire.events import (
    Carried,
    Citation,
    End,
    Failure,
    Finish,
    Reasoning,
    Refusal,
    Start,
    Text,
    ToolCall,
    Usage,
)
from ssegate.wire.formats.openai import OpenAI
from ssegate.wire.seams import Context

from .readers import blocks, documents

CONTEXT = Context("s1", 1700000000)
HEAD = '{"id":"chatcmpl-s1","object":"chat.completion.chunk","created":1700000000,"model":"m","choices":['
DONE = b"data: [DONE]\n\n"


def written(events, *, finish=None, usage=None, context=CONTEXT, metadata=b""):
    """What a stream of *events* becomes; events themselves go without metadata."""
    chunks = OpenAI(context)
    out = [block for event in events for block in chunks.encode(event, b"")]
    return out if finish is None else [*out, *chunks.finish(finish, usage, metadata)]


def sdk_events(blocks: list[bytes]) -> Iterator[dict]:
    """What the SDK's own decoder makes of the bytes, up to ``[DONE]``, raising as its stream does."""
    for event in SSEDecoder().iter_bytes(iter(blocks)):
        if event.data.startswith("[DONE]"):
            return
        document = event.json()
        if document.get("error"):
            raise openai.APIError(document["error"]["message"], request=None, body=document["error"])
        yield document


def accumulated(blocks):
    """The completion that the SDK's `.stream()` helper puts together."""
    state = ChatCompletionStreamState()
    for document in sdk_events(blocks):
        state.handle_chunk(ChatCompletionChunk.model_validate(document))
    return state.get_final_completion()


DELTAS = [
    (Text("Hel"), '"role":"assistant","content":"Hel"', '"content":"Hel"'),
    (
        Reasoning("hm"),
        '"role":"assistant","content":null,"reasoning_content":"hm"',
        '"reasoning_content":"hm"',
    ),
    (Refusal("no"), '"role":"assistant","content":null,"refusal":"no"', '"refusal":"no"'),
    (
        ToolCall(0, id="call_1", name="f"),
        '"role":"assistant","content":null,'
        '"tool_calls":[{"index":0,"id":"call_1","type":"function","function":{"name":"f","arguments":""}}]',
        '"tool_calls":[{"index":0,"id":"call_1","type":"function","function":{"name":"f","arguments":""}}]',
    ),
    (
        ToolCall(1, '{"a"'),
        '"role":"assistant","content":null,"tool_calls":[{"index":1,"function":{"arguments":"{\\"a\\""}}]',
        '"tool_calls":[{"index":1,"function":{"arguments":"{\\"a\\""}}]',
    ),
]


@pytest.mark.parametrize(("event", "first", "later"), DELTAS, ids=lambda value: repr(value)[:20])
def test_each_delta_is_one_chunk(event, first, later):
    """Chunks as OpenAI writes them, byte for byte; the first of a choice has the role."""
    name = Start(model="m")

    def chunk(delta):
        choice = f'{{"index":0,"delta":{{{delta}}},"logprobs":null,"finish_reason":null}}'
        return f"data: {HEAD}{choice}]}}\n\n".encode()

    assert written([name, event, event]) == [chunk(first), chunk(later)]


def test_each_choice_has_its_role_once():
    """Choices interleave, and each begins for itself."""
    chunks = documents(written([Text("a"), Text("b", 1), Text("c"), Text("d", 1)]))

    assert [(c["choices"][0]["index"], c["choices"][0]["delta"]) for c in chunks] == [
        (0, {"role": "assistant", "content": "a"}),
        (1, {"role": "assistant", "content": "b"}),
        (0, {"content": "c"}),
        (1, {"content": "d"}),
    ]


def test_metadata_is_an_extra_key():
    """It rides on a chunk that exists anyway."""
    (block,) = OpenAI(CONTEXT).encode(Text("a"), b'{"token_count":1}')

    assert documents([block])[0]["ssegate"] == {"token_count": 1}
    assert block.endswith(b'],"ssegate":{"token_count":1}}\n\n')


@pytest.mark.parametrize(
    "event", [Usage(1), End(), Citation(text="no address"), Failure("internal", "m")], ids=repr
)
def test_what_has_no_room_makes_no_chunk(event):
    """An empty chunk would be a delta that nobody sent."""
    assert written([event]) == []


def test_the_upstreams_id_and_model_are_kept():
    """The first word of the upstream counts, and an id never changes once it was sent."""
    chunks = documents(
        written(
            [Start("msg_1", "claude"), Text("a"), Start("msg_2", "other"), Text("b")], finish=Finish("stop")
        )
    )

    assert {(chunk["id"], chunk["model"]) for chunk in chunks} == {("msg_1", "claude")}


def test_an_id_that_comes_late_is_not_used():
    """A model may be learned late, an id may not: clients take another id for another message."""
    chunks = documents(written([Text("a"), Start("msg_1", "claude"), Text("b")]))

    assert [(chunk["id"], chunk["model"]) for chunk in chunks] == [
        ("chatcmpl-s1", ""),
        ("chatcmpl-s1", "claude"),
    ]


def test_the_end_is_finish_usage_done():
    """Metadata goes on the finish chunk, usage has an empty `choices`, `[DONE]` comes once."""
    usage = Usage(input_tokens=10, output_tokens=5, reasoning_tokens=2, cached_tokens=4)

    finish, counts, done = written(
        [Start(model="m"), Text("a")], finish=Finish("length"), usage=usage, metadata=b'{"t":1}'
    )[1:]

    ending = '{"index":0,"delta":{},"logprobs":null,"finish_reason":"length"}'
    assert finish == f'data: {HEAD}{ending}],"ssegate":{{"t":1}}}}\n\n'.encode()
    assert (
        counts
        == (
            f'data: {HEAD}],"usage":{{"prompt_tokens":10,"completion_tokens":5,"total_tokens":15,'
            '"prompt_tokens_details":{"cached_tokens":4},"completion_tokens_details":{"reasoning_tokens":2}}}\n\n'
        ).encode()
    )
    assert done == DONE


@pytest.mark.parametrize(
    ("usage", "counts"),
    [
        (Usage(output_tokens=5), {"completion_tokens": 5}),
        (Usage(input_tokens=5), {"prompt_tokens": 5}),
        (
            Usage(input_tokens=0, output_tokens=5),
            {"prompt_tokens": 0, "completion_tokens": 5, "total_tokens": 5},
        ),
    ],
)
def test_usage_is_never_invented(usage, counts):
    """What the upstream did not count is absent, what it counted as zero is zero."""
    assert documents(written([Text("a")], finish=Finish("stop"), usage=usage))[-1]["usage"] == counts


@pytest.mark.parametrize(("wants", "usage"), [(False, Usage(1, 1)), (True, None)])
def test_no_usage_chunk_unless_asked_for_and_known(wants, usage):
    """A chunk without choices breaks clients that did not ask for it."""
    context = Context("s1", 1700000000, wants_usage=wants)

    chunks = documents(written([Text("a")], finish=Finish("stop"), usage=usage, context=context))

    assert all(chunk["choices"] for chunk in chunks)


@pytest.mark.parametrize(
    ("reason", "word"),
    [
        ("stop", "stop"),
        ("length", "length"),
        ("tool_calls", "tool_calls"),
        ("content_filter", "content_filter"),
        ("refusal", "content_filter"),
        ("other", "stop"),
    ],
)
@pytest.mark.parametrize("completions", [False, True])
def test_finish_reasons_are_words_the_sdk_knows(reason, word, completions):
    """The SDK's types allow these and no others; legacy completions do not know of calls."""
    context = Context("s1", 1, completions=completions)
    chunk = documents(written([Text("a")], finish=Finish(reason), context=context))[-1]

    (Completion if completions else ChatCompletionChunk).model_validate(chunk)
    assert chunk["choices"][0]["finish_reason"] == ("stop" if completions and word == "tool_calls" else word)


def test_a_choice_finishes_once():
    """A finish that was sent while the stream ran is not repeated; its metadata is not lost."""
    blocks = written(
        [Text("a", 1), Finish("stop", choice=1)],
        finish=Finish("stop", choice=1),
        usage=Usage(1, 1),
        metadata=b'{"t":1}',
    )
    chunks = documents(blocks)

    assert [c["choices"][0]["finish_reason"] for c in chunks if c["choices"]] == [None, "stop"]
    assert chunks[-1]["ssegate"] == {"t": 1}
    assert blocks[-1] == DONE


def test_an_answer_without_content_has_a_role():
    """A stream of nothing but a finish still makes a message."""
    message = accumulated(written([], finish=Finish("stop"))).choices[0].message

    assert (message.role, message.content) == ("assistant", "")


# ---- what the SDK makes of it -------------------------------------------------------------------


def test_the_sdk_accumulates_the_message():
    """Text, reasoning, calls, citations, finish and usage arrive in the SDK's final completion."""
    events = [
        Start("msg_1", "claude"),
        Reasoning("think"),
        Reasoning("ing"),
        Text("Hel"),
        Text("lo 😀"),
        Citation("http://a", "A", start=0, end=3),
        Citation("http://b", place=7),
        ToolCall(0, id="call_1", name="f"),
        ToolCall(0, '{"a"'),
        ToolCall(0, ":1}"),
        ToolCall(1, "{}", id="call_2", name="g"),
    ]

    completion = accumulated(written(events, finish=Finish("tool_calls"), usage=Usage(7, 3, cached_tokens=2)))

    assert (completion.id, completion.model, completion.created) == ("msg_1", "claude", 1700000000)
    choice = completion.choices[0]
    assert choice.finish_reason == "tool_calls"
    assert choice.message.role == "assistant"
    assert choice.message.content == "Hello 😀"
    assert choice.message.reasoning_content == "thinking"
    assert [(call.id, call.function.name, call.function.arguments) for call in choice.message.tool_calls] == [
        ("call_1", "f", '{"a":1}'),
        ("call_2", "g", "{}"),
    ]
    citations = [annotation.url_citation for annotation in choice.message.annotations]
    assert [(c.url, c.title, c.start_index, c.end_index) for c in citations] == [
        ("http://a", "A", 0, 3),
        ("http://b", "http://b", 7, 7),
    ]
    assert (completion.usage.total_tokens, completion.usage.prompt_tokens_details.cached_tokens) == (10, 2)


def test_the_sdk_accumulates_every_choice():
    """n > 1: each choice keeps its own text, refusal and finish."""
    events = [Text("a"), Refusal("no", 1), Text("b"), Finish("tool_calls", choice=1)]

    choices = accumulated(written(events, finish=Finish("stop"))).choices

    assert [(c.message.content, c.message.refusal, c.finish_reason) for c in choices] == [
        ("ab", None, "stop"),
        (None, "no", "tool_calls"),
    ]


def test_the_sdk_raises_on_the_error_event():
    """An error in the stream is an exception with the message, the code and the type."""
    chunks = OpenAI(CONTEXT)
    blocks = [*chunks.encode(Text("a"), b""), *chunks.fail(Failure("idle_timeout", "silent"), b"")]

    with pytest.raises(openai.APIError, match="silent") as caught:
        list(sdk_events(blocks))

    assert (caught.value.code, caught.value.type) == ("idle_timeout", "upstream_error")


def test_the_no_op_changes_nothing():
    """The chunk sent in long silences is a valid one under the stream's id, and adds nothing."""
    chunks = OpenAI(CONTEXT)
    blocks = [*chunks.encode(Start("msg_1", "claude"), b""), *chunks.encode(Text("a"), b""), chunks.noop]
    blocks += chunks.finish(Finish("stop"), None, b"")

    completion = accumulated(blocks)

    assert completion.choices[0].message.content == "a"
    assert {document["id"] for document in sdk_events(blocks)} == {"msg_1"}


kinds = st.sampled_from([Text, Reasoning, Refusal])


@given(
    st.lists(
        st.builds(
            lambda kind, text, choice: kind(text, choice), kinds, st.text(min_size=1), st.integers(0, 2)
        )
    )
)
def test_the_sdk_reads_any_text(events):
    """Whatever is said in whatever order, what the SDK puts together is it."""
    indexes = sorted({event.choice for event in events})
    blocks = written([*events, *(Finish("stop", choice=i) for i in indexes)])

    fields = {Text: "content", Reasoning: "reasoning_content", Refusal: "refusal"}
    said: dict = {}
    for document in sdk_events(blocks):
        choice = document["choices"][0]
        for field, text in choice["delta"].items():
            said[choice["index"], field] = said.get((choice["index"], field), "") + (text or "")

    for index in indexes:
        assert said[index, "role"] == "assistant"
        for kind, field in fields.items():
            whole = "".join(e.text for e in events if type(e) is kind and e.choice == index)
            assert said.get((index, field), "") == whole


# ---- errors -------------------------------------------------------------------------------------


def test_an_error_is_an_object_without_choices_then_done():
    """The one shape that every client reports."""
    assert OpenAI(CONTEXT).fail(Failure("upstream_truncated", "m"), b'{"t":1}') == [
        b'data: {"error":{"message":"m","type":"upstream_error","param":null,"code":"upstream_truncated"},'
        b'"ssegate":{"t":1}}\n\n',
        DONE,
    ]


def test_an_error_keeps_the_upstreams_words():
    """Type, code and param are where a client of the upstream would look for them."""
    failure = Failure(
        "upstream_error", "m", 400, "invalid_request_error", "context_length_exceeded", "messages"
    )

    assert documents(OpenAI(CONTEXT).fail(failure, b""))[0]["error"] == {
        "message": "m",
        "type": "invalid_request_error",
        "param": "messages",
        "code": "context_length_exceeded",
    }


def test_a_cancel_is_an_error_here():
    """Chat completions have no finish reason for it."""
    assert documents(OpenAI(CONTEXT).fail(Failure("cancelled", "m"), b""))[0]["error"]["code"] == "cancelled"


# ---- carried frames -----------------------------------------------------------------------------

FRAME = b'{"id":"u1","created":5,"model":"gpt","choices":[{"index":0,"delta":{"content":"'


def carried(body=b"hi", tail=b'"}}],"x":[1]}', **fields):
    return Carried("", FRAME, body, tail, b"k", 1, **fields)


def test_a_carried_frame_leaves_byte_for_byte():
    """What the gate does not know is not lost."""
    assert OpenAI(CONTEXT).encode(carried(), b"") == [b"data: " + FRAME + b'hi"}}],"x":[1]}\n\n']


@pytest.mark.parametrize("blanks", [b"", b"   "])
def test_metadata_joins_a_carried_frame(blanks):
    """It stands before the closing brace, whatever blanks surround that."""
    frame = carried(tail=b'"}}]' + blanks + b"}" + blanks)

    (block,) = OpenAI(CONTEXT).encode(frame, b'{"t":1}')

    assert block == b"data: " + FRAME + b'hi"}}]' + blanks + b',"ssegate":{"t":1}}' + blanks + b"\n\n"


@pytest.mark.parametrize("wants", [False, True])
def test_a_carried_usage_chunk_goes_to_those_who_asked(wants):
    """The gate asks the upstream for usage of its own accord; the client need not see it."""
    chunks = OpenAI(Context("s1", 1, wants_usage=wants))

    assert (
        len(chunks.encode(Carried("", b'{"choices":[],"usage":{}}', last=True, usage_only=True), b""))
        == wants
    )


def test_a_carried_stream_ends_with_done_alone():
    """Its finish and usage chunks were the upstream's own."""
    chunks = OpenAI(CONTEXT)
    chunks.encode(carried(), b"")

    assert chunks.finish(Finish("stop"), Usage(1, 1), b"{}") == [DONE]


def test_a_complete_answer_is_told_as_a_stream():
    """Neutral events from an OpenAI-shaped upstream are written like anybody's."""
    completion = accumulated(
        written([Start("u1", "gpt"), Text("hi")], finish=Finish("stop"), usage=Usage(1, 1))
    )

    assert (completion.id, completion.choices[0].message.content) == ("u1", "hi")
    assert completion.usage.total_tokens == 2


def test_neutral_events_among_carried_ones_are_finished():
    """Once a chunk of ours is out the finish is ours too, under the upstream's id."""
    chunks = OpenAI(CONTEXT)
    chunks.encode(Carried("", b'{"id":"u1","choices":[]}'), b"")
    chunks.encode(Text("hi"), b"")

    *last, done = chunks.finish(Finish("stop"), None, b"")

    assert [(chunk["id"], chunk["choices"][0]["finish_reason"]) for chunk in documents(last)] == [
        ("u1", "stop")
    ]
    assert done == DONE


def test_the_no_op_of_a_carried_stream_has_its_name():
    """Azure's first chunk has no id: the first that has one counts, the upstream's time too."""
    chunks = OpenAI(CONTEXT)
    chunks.encode(Carried("", b'{"id":"","model":"","created":0,"choices":[]}'), b"")
    chunks.encode(carried(), b"")
    chunks.encode(Carried("", b'{"id":"u2","model":"other","choices":[]}'), b"")

    (noop,) = documents([chunks.noop])

    assert (noop["id"], noop["model"], noop["created"]) == ("u1", "gpt", 5)


@pytest.mark.parametrize("head", [b'{"id":5}', b"[" * 5000, b"{"])
def test_a_carried_frame_without_a_name_still_leaves(head):
    """A frame is carried, not judged."""
    chunks = OpenAI(CONTEXT)

    assert chunks.encode(Carried("", head, count=1), b"") == [b"data: " + head + b"\n\n"]
    assert documents([chunks.noop])[0]["id"] == "chatcmpl-s1"


# ---- legacy completions -------------------------------------------------------------------------

LEGACY = Context("s1", 1700000000, completions=True)


def test_completions_have_text():
    """`/v1/completions` has its own object, id and choice."""
    blocks = written([Start(model="m"), Text("a", 1), Text("b")], finish=Finish("length"), context=LEGACY)

    head = '{"id":"cmpl-s1","object":"text_completion","created":1700000000,"model":"m","choices":['
    assert blocks == [
        f'data: {head}{{"index":1,"text":"a","logprobs":null,"finish_reason":null}}]}}\n\n'.encode(),
        f'data: {head}{{"index":0,"text":"b","logprobs":null,"finish_reason":null}}]}}\n\n'.encode(),
        f'data: {head}{{"index":0,"text":"","logprobs":null,"finish_reason":"length"}}]}}\n\n'.encode(),
        DONE,
    ]


@pytest.mark.parametrize("event", [Reasoning("x"), Refusal("x"), ToolCall(0, "x"), Citation("u")], ids=repr)
def test_completions_have_nothing_else(event):
    """There is no room for thoughts or calls in them."""
    assert written([event], context=LEGACY) == []


def test_the_no_op_of_completions_is_one():
    """An empty text, which the SDK reads."""
    completion = Completion.construct(**documents([OpenAI(LEGACY).noop])[0])

    assert completion.choices[0].text == ""


def test_all_of_it_keeps_to_the_wire_profile():
    """Unnamed events, one line of JSON each; the heartbeat is a comment without a blank line."""
    events = [Start("i\ud83d", "m\n"), Text("\u2028\n"), ToolCall(0, name="\udc00"), Citation("u", "\ud83d")]
    read = blocks(written(events, finish=Finish("stop"), usage=Usage(1, 1), metadata=b"{}"))

    assert [list(fields) for fields in read] == [["data"]] * 6
    assert json.loads(read[0]["data"])["id"] == "i\ufffd"
    assert OpenAI(CONTEXT).heartbeat == b":\n"
