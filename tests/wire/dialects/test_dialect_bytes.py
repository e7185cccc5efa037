import base64
import json

from hypothesis import given
from hypothesis import strategies as st

from ssegate.wire.dialects import DIALECTS, detect, read_error
from ssegate.wire.errors import WireError
from ssegate.wire.events import Finish, Frame, Reasoning, Refusal, Text, ToolCall

KEYS = """
    id model object choices index delta message text content reasoning reasoning_content reasoning_details
    refusal tool_calls function function_call custom name arguments input finish_reason usage prompt_tokens
    completion_tokens total_tokens x_groq citations annotations url_citation url title type content_block
    thinking partial_json stop_reason completion input_tokens output_tokens cache_read_input_tokens done
    done_reason response eval_count citation error code status param detail
    candidates parts thought functionCall args partialArgs jsonPath stringValue nullValue willContinue
    finishReason usageMetadata promptTokenCount promptFeedback blockReason groundingMetadata groundingChunks
    groundingSupports groundingChunkIndices segment startIndex endIndex web uri event_type interaction step
    contentBlockIndex start toolUse toolUseId reasoningContent sourceContent location stopReason output
    outputs contentBlockDelta messageStop metadata outputText completionReason generation
    amazon-bedrock-invocationMetrics inputTokenCount
"""
WORDS = """
    chat.completion chat.completion.chunk error message_start content_block_start content_block_delta text
    content_block_stop message_delta message_stop message completion tool_use text_delta stop
    input_json_delta thinking_delta thinking ping
    STOP interaction.completed step.start step.delta function_call model_output $.a[0].b $.a interaction
"""
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 600),
    st.floats(),
    st.sampled_from(WORDS.split()),
    st.text(max_size=4),
    st.just("\ud83d"),
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS.split()), inner, max_size=6)
    ),
    max_leaves=20,
)
CHOICES = st.fixed_dictionaries({"choices": st.lists(st.fixed_dictionaries({"delta": VALUES}), max_size=2)})
CANDIDATES = st.fixed_dictionaries(
    {
        "candidates": st.lists(
            st.fixed_dictionaries(
                {"content": st.fixed_dictionaries({"parts": VALUES})},
                optional={"finishReason": VALUES, "groundingMetadata": VALUES, "index": VALUES},
            ),
            max_size=2,
        )
    }
)
DOCUMENTS = st.one_of(
    st.binary(max_size=60),
    st.one_of(
        VALUES, CHOICES, CANDIDATES, st.dictionaries(st.sampled_from(KEYS.split()), VALUES, max_size=8)
    ).map(lambda v: json.dumps(v).encode()),
)
INVOKED = DOCUMENTS.map(lambda data: json.dumps({"bytes": base64.b64encode(data).decode()}).encode())
PAYLOADS = DOCUMENTS | INVOKED
NAMES = "error content_block_delta chunk contentBlockStart contentBlockDelta messageStop metadata exception:x"
EVENTS = st.sampled_from(["", *NAMES.split()])


@given(st.sampled_from(sorted(DIALECTS)), st.lists(st.tuples(EVENTS, PAYLOADS), max_size=5), st.booleans())
def test_no_bytes_break_a_dialect(name, frames, twice):
    """Whatever a frame holds, a dialect returns events in good order or raises ``upstream_bad_event``."""
    dialect = DIALECTS[name]()
    finished = {}
    for event, data in frames * (2 if twice else 1):
        frame = Frame(event, data)
        try:
            said = dialect.decode(frame)
            carried = dialect.carry(frame)
        except WireError as fault:
            assert fault.code == "upstream_bad_event"
            assert str(fault).isprintable()
            continue
        for one in said:
            if isinstance(one, (Text, Reasoning, Refusal)):
                assert one.text and isinstance(one.text, str) and isinstance(one.choice, int)
            elif isinstance(one, ToolCall):
                assert one.name is not None or one.arguments
            elif isinstance(one, Finish):
                assert one.choice not in finished or (one.choice == 0 and finished[0] != one.upstream_reason)
                finished[one.choice] = one.upstream_reason
        if carried is not None:
            assert carried.count == sum(isinstance(one, (Text, Reasoning, Refusal, ToolCall)) for one in said)
            (carried.head + carried.body + carried.tail).decode()
    dialect.close()


@given(EVENTS, PAYLOADS)
def test_no_bytes_break_the_detection(event, data):
    """Whatever comes first, detection names a dialect we have, or none."""
    assert detect(Frame(event, data)) in {None, *DIALECTS}


@given(PAYLOADS, st.sampled_from([None, "application/json", "text/html", "text/plain"]))
def test_no_bytes_break_an_error_body(body, content_type):
    """Whatever an error's body holds, there is a message, short and in whole characters."""
    failure = read_error(body, content_type, 500)

    assert failure.message and len(failure.message.encode()) <= 2048
    assert failure.upstream_status == 500
