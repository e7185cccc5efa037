"""What holds for every stream, whatever it says, however it is cut, at whatever times."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wire import reading_back
from wire.driving import DONE, ROLE, SSE, STOP, Drive, chunk, frame, line, message, usage, word

OUTPUTS = ["native", "openai", "same", "raw"]

pauses = st.sampled_from([0.0, 0.0, 0.001, 0.01, 0.03, 0.04, 0.05, 0.5, 3.0])


def utf16(text):
    """Text as JSON may carry it: pairs of halves."""
    raw = text.encode("utf-16-le")
    return [raw[at : at + 2] for at in range(0, len(raw), 2)]


def whole(text):
    """Text whose halves have found each other, as a client's strings do by themselves."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


@st.composite
def pieces(draw):
    """A text and the deltas it comes in, which may cut a character in half."""
    text = draw(st.text(st.sampled_from('ab\n"\\ é\u2028\U0001f600\x00{}:'), min_size=1, max_size=40))
    units = utf16(text)
    ends = sorted(draw(st.sets(st.integers(1, len(units)), max_size=12)) | {len(units)})
    deltas = [
        b"".join(units[start:end]).decode("utf-16-le", "surrogatepass")
        for start, end in zip([0, *ends], ends, strict=False)
    ]
    return text, deltas


def cut(body, places):
    """A body in reads that end at *places*, each a fraction of it."""
    ends = sorted({int(place * len(body)) for place in places} | {len(body)})
    return [body[start:end] for start, end in zip([0, *ends], ends, strict=False)]


BODIES = {
    "openai": lambda deltas: ROLE + b"".join(map(word, deltas)) + STOP + usage(3, 4) + DONE,
    "anthropic": lambda deltas: (
        message(type="message_start", message={"id": "m", "model": "c"})
        + message(type="content_block_start", index=0, content_block={"type": "text", "text": ""})
        + b"".join(
            message(type="content_block_delta", index=0, delta={"type": "text_delta", "text": delta})
            for delta in deltas
        )
        + message(type="content_block_stop", index=0)
        + message(type="message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 4})
        + message(type="message_stop")
    ),
    "ollama": lambda deltas: (
        b"".join(line(message={"content": delta}, done=False) for delta in deltas)
        + line(message={"content": ""}, done=True, done_reason="stop", eval_count=4)
    ),
}


@pytest.mark.parametrize("dialect", sorted(BODIES))
@pytest.mark.parametrize("output", ["native", "openai", "same"])
@given(
    said=pieces(),
    size=st.integers(1, 9),
    delay=st.sampled_from([None, 0.0, 0.02, 0.04, 1.0]),
    places=st.lists(st.floats(0, 1), max_size=12),
    waits=st.lists(pauses, min_size=14, max_size=14),
    metadata=st.sampled_from(["off", "final", "every"]),
    numbered=st.booleans(),
)
def test_the_text_never_changes(output, dialect, said, size, delay, places, waits, metadata, numbered):
    """Batch size, delay, cuts and times are invisible in what the client adds up."""
    text, deltas = said
    drive = Drive(
        output, SSE, batch_size=size, batch_delay=delay, metadata=metadata, numbered=numbered, total=None
    )
    now = 0.0
    for read, wait in zip(cut(BODIES[dialect](deltas), places), waits, strict=False):
        now += wait
        drive.feed(read, now)
    drive.close(now)

    reader = dialect if output == "same" else output
    answer = getattr(reading_back, reader)(drive.body)
    assert whole(answer.first.text) == text
    if output == "native":
        assert answer.first.text == text, "each event is in whole characters"
    assert (drive.pipeline.outcome, drive.pipeline.failure) == ("completed", None)
    assert drive.pipeline.stats.sent_deltas == len(deltas)


@given(
    gaps=st.lists(st.floats(0.0, 0.12), min_size=1, max_size=40),
    size=st.integers(1, 6),
    delay=st.sampled_from([0.01, 0.04, 0.1]),
)
def test_no_delta_waits_longer_than_it_may(gaps, size, delay):
    """Each leaves by `delay` after the write before it, at once if that is past; the first never waits."""
    drive = Drive(batch_size=size, batch_delay=delay, hold=0.0)
    came, now = [], 1.0
    for gap in gaps:
        now += gap
        drive.feed(word("x"), now)
        came.append(now)
    drive.wait(now + 1.0)

    left, joined = [], []
    for at, data in drive.writes:
        for block in reading_back.blocks(data):
            count = reading_back.loads(block["data"])["metadata"]["token_count"] - len(left)
            left += [at] * count
            joined.append(count)
    assert len(left) == len(came) and left[0] == came[0]
    assert max(joined) <= size
    for came_at, left_at in zip(came, left, strict=True):
        before = max((at for at, _ in drive.writes if at <= came_at), default=-1.0)
        assert came_at <= left_at <= max(came_at, before + delay)


FRAGMENTS = [
    ROLE,
    STOP,
    DONE,
    word("a"),
    word("\ud83d"),
    word("ü\U0001f600"),
    word("b", 1),
    chunk(finish="length", choice=1),
    usage(3, 4),
    chunk({"reasoning_content": "hm", "content": "x"}),
    chunk({"tool_calls": [{"index": 0, "id": "c", "function": {"name": "f", "arguments": ""}}]}),
    chunk({"tool_calls": [{"index": 0, "function": {"arguments": '{"a":'}}]}),
    chunk({"tool_calls": [{"index": 1, "function": {"arguments": "1}"}}]}),
    chunk({"tool_calls": [{"function": {"name": "g", "arguments": {"x": "\udc00"}}}]}),
    chunk({"annotations": [{"type": "url_citation", "url_citation": {"url": "\ud800", "start_index": 1}}]}),
    frame({"error": {"message": "\ud83d", "code": 429}}),
    frame({"choices": [{"delta": {"content": 5, "tool_calls": "no"}, "finish_reason": 7, "index": "x"}]}),
    frame({"choices": [{"delta": {"content": "a"}, "index": -1}]}),
    frame({"choices": [None, 1, {"text": "t", "finish_reason": "stop"}], "usage": 3}),
    frame({"error": None, "choices": []}),
    frame([1]),
    b"data: [DONE\n\n",
    b"data: {\n\n",
    b'data: {"choices":[{"index":0,"delta":{"content":"\\ud800\xff"}}]}\n\n',
    b'data: {"choices":[{"index":0,\ndata: "delta":{"content":"two lines"}}]}\n\n',
    b": comment\n\n",
    b"error: {}\n",
    b"\xef\xbb\xbf",
    b"\r\n",
    b"\n\n",
    b"\x00",
    message(type="message_start", message={"id": "m", "model": "\ud800", "usage": {"input_tokens": 3}}),
    message(type="content_block_start", index=1, content_block={"type": "tool_use", "id": "t", "name": "f"}),
    message(type="content_block_start", index=1, content_block={"type": "text", "text": "x"}),
    message(type="content_block_delta", index=1, delta={"type": "input_json_delta", "partial_json": "{"}),
    message(type="content_block_delta", index=1, delta={"type": "text_delta", "text": "a"}),
    message(type="content_block_delta", index=1, delta={"type": "thinking_delta", "thinking": "a"}),
    message(type="content_block_stop", index=1),
    message(type="message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 4}),
    message(type="message_stop"),
    message(type="error", error={"type": "overloaded_error", "message": "m"}),
    message(type="ping"),
    line(message={"content": "a", "thinking": "b"}, done=False),
    line(message={"tool_calls": [{"function": {"name": "f", "arguments": {"a": 1}}}]}, done=False),
    line(response="r", done=False),
    line(message={"content": ""}, done=True, done_reason="stop", eval_count=1),
    line(error="no such model"),
    b'{"error": {"message": "m", "code": 401}}',
    json.dumps({"object": "chat.completion", "choices": [{"message": {"content": "x"}}]}).encode(),
    b"<!doctype html>",
    b"plain words",
]

acts = st.one_of(
    st.tuples(st.just("feed"), st.sampled_from(FRAGMENTS)),
    st.tuples(st.just("feed"), st.sampled_from(FRAGMENTS)),
    st.tuples(st.just("feed"), st.binary(max_size=12)),
    st.tuples(st.just("wait"), pauses),
    st.sampled_from([("pause", b""), ("resume", b""), ("tick", b""), ("tell", b"")]),
)

CONTENT_TYPES = [
    SSE,
    "application/json",
    "application/x-ndjson",
    "text/plain",
    "text/html",
    "image/png",
    "x",
    None,
]


@given(
    output=st.sampled_from(OUTPUTS),
    dialect=st.sampled_from(["auto", "auto", "openai", "anthropic", "ollama", "text"]),
    content_type=st.sampled_from([SSE, SSE, SSE, *CONTENT_TYPES]),
    settings=st.fixed_dictionaries(
        {
            "metadata": st.sampled_from(["off", "final", "every"]),
            "batch_size": st.integers(1, 4),
            "batch_delay": st.sampled_from([None, 0.04]),
            "heartbeat": st.sampled_from([None, 0.7]),
            "hold": st.sampled_from([0.0, 1.0, 10.0]),
            "idle": st.sampled_from([None, 4.0]),
            "first_token": st.sampled_from([None, 2.0]),
            "max_event": st.sampled_from([200, 1 << 20]),
            "max_stream": st.sampled_from([1500, 1 << 20]),
            "choices": st.integers(1, 2),
            "numbered": st.booleans(),
            "own_credential": st.booleans(),
        }
    ),
    steps=st.lists(acts, max_size=25),
    end=st.sampled_from(["close", "upstream_truncated", "cancelled", "internal"]),
    is_cut_small=st.booleans(),
)
def test_nothing_breaks_a_pipeline(output, dialect, content_type, settings, steps, end, is_cut_small):
    """Any bytes, any settings, any times: no exception, one outcome, and a well-formed answer."""
    drive = Drive(output, content_type, dialect=dialect, **settings)
    pipeline, now = drive.pipeline, 0.0
    for act, value in steps:
        now += 0.01
        if act == "feed":
            width = 5 if is_cut_small else len(value) or 1
            for at in range(0, len(value), width):
                drive.feed(value[at : at + width], now)
        elif act == "wait":
            now += value
            drive.wait(now)
        elif act == "tick":
            pipeline.outcome is None or pipeline.tick(now)
        elif act == "tell":
            drive.tell(now)
        else:
            getattr(pipeline, act)(now)
    drive.close(now) if end == "close" else drive.fail(end, now)
    drive.tell(now)

    assert (pipeline.outcome is None) == (pipeline.unclaimed is not None and end == "close")
    assert (pipeline.outcome == "completed") == (pipeline.outcome is not None and pipeline.failure is None)
    if pipeline.unclaimed is None and pipeline.is_open:
        read_back(drive, output)


def read_back(drive, output):
    """Whatever came in, what went out keeps to its format; what carried frames say is the upstream's."""
    form = drive.pipeline.format
    if output == "native":
        reading_back.native(drive.body)
    elif form is not None and form.name == "ollama":
        assert all(isinstance(reading_back.loads(row), dict) for row in drive.body.decode().splitlines())
    elif form is not None and form.name != "text":
        said = [block["data"] for block in reading_back.blocks(drive.body)]
        assert said.count("[DONE]") == (form.name == "openai")
        assert all(isinstance(reading_back.loads(data), dict) for data in said if data != "[DONE]")
        assert "[DONE]" not in said[:-1]
