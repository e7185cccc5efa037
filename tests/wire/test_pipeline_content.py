"""What a pipeline makes of tool calls, usage, prices and numbers."""

import pytest
from wire import reading_back
from wire.driving import DONE, ROLE, STOP, STREAM_ID, Drive, chunk, frame, line, usage, word

from ssegate.wire.seams import Context
from ssegate.wire.stats import Price


def opening(index, id, name, arguments=""):
    return chunk(
        {"tool_calls": [{"index": index, "id": id, "function": {"name": name, "arguments": arguments}}]}
    )


def fragment(index, arguments):
    return chunk({"tool_calls": [{"index": index, "function": {"arguments": arguments}}]})


def error(code=None, **more):
    return frame({"error": {"message": "no luck", "type": "oops", "code": code, **more}})


def native(drive):
    return reading_back.native(drive.body)


def test_tool_calls_in_native():
    """Index, id and name come first, fragments after; a call without arguments says `{}`."""
    drive = Drive(batch_delay=None)
    drive.feed(opening(0, "call_a", "get_weather") + fragment(0, '{"city":') + fragment(0, '"Rome"}'), 1.0)
    drive.feed(opening(1, "call_b", "now") + chunk(finish="tool_calls") + DONE, 1.1)

    calls = [
        said["tool_call"]
        for said in (reading_back.loads(block["data"]) for block in reading_back.blocks(drive.body))
        if "tool_call" in said
    ]
    assert calls == [
        {"index": 0, "id": "call_a", "name": "get_weather", "arguments": ""},
        {"index": 0, "arguments": '{"city":'},
        {"index": 0, "arguments": '"Rome"}'},
        {"index": 1, "id": "call_b", "name": "now", "arguments": ""},
        {"index": 1, "arguments": "{}"},
    ]
    assert native(drive).finish["finish_reason"] == "tool_calls"
    assert all("token_count" in metadata for metadata in native(drive).running)


@pytest.mark.parametrize("output", ["native", "openai"])
def test_a_call_that_lacks_an_id_gets_one_and_its_finish_its_name(output):
    """Ollama gives arguments as an object, no id, and says it stopped."""
    call = {"function": {"name": "f", "arguments": {"a": 1, "b": "ü"}}}
    written = '{"a":1,"b":"\\u00fc"}'  # an escape stays one
    drive = Drive(output, "application/x-ndjson")
    drive.feed(line(message={"content": "", "tool_calls": [call, call]}, done=False), 1.0)
    drive.feed(line(message={"content": ""}, done=True, done_reason="stop"), 1.1)

    answer = getattr(reading_back, output)(drive.body)
    assert answer.first.calls == [
        {"id": f"call_{STREAM_ID}_{index}", "name": "f", "arguments": written} for index in (0, 1)
    ]
    assert answer.first.finish_reason == "tool_calls"
    if output == "native":
        assert answer.finish["upstream_finish_reason"] == "stop"


def test_arguments_of_our_own_making_are_not_counted():
    """The upstream generated two deltas of eight bytes in all; the `{}` is ours."""
    drive = Drive()
    drive.feed(word("12345678") + opening(0, "call_a", "f") + STOP + DONE, 1.0)

    answer = native(drive)
    assert answer.first.calls[0]["arguments"] == "{}"
    assert answer.final["total_tokens"] == 2


def test_a_cut_call_gets_no_arguments():
    """A stream that broke off has not said that there are none."""
    drive = Drive()
    drive.feed(opening(0, "call_a", "f"), 1.0)
    drive.close(1.1)

    assert native(drive).first.calls == [{"id": "call_a", "name": "f", "arguments": ""}]


@pytest.mark.parametrize("wants_usage", [False, True])
@pytest.mark.parametrize("is_late", [False, True])
def test_an_openai_client_gets_the_usage_chunk_if_it_asked_for_it(wants_usage, is_late):
    """The gate may ask the upstream for its own sake; the client sees only what it wanted."""
    drive = Drive("openai", context=Context(STREAM_ID, 0, wants_usage=wants_usage))
    drive.feed(word("Hi") + (STOP + usage(8, 4) if is_late else usage(8, 4) + STOP) + DONE, 1.0)

    answer = reading_back.openai(drive.body)
    assert (answer.usage is not None) is wants_usage
    assert answer.final["input_tokens"] == 8


@pytest.mark.parametrize(
    ("model", "dollars"),
    [
        ("gpt-4o-mini-2024-07-18", 1.0),
        ("gpt-4o-mini", 1.0),
        ("gpt-4o", 2.0),
        ("gpt-4o-2024", 2.0),
        ("gpt-4o-latest", 2.0),
        ("gpt-4o-0613", 2.0),
        ("gpt-4o-1106-preview", 2.0),
        ("gpt-4o-preview-05-06", 2.0),
        ("gpt-4o@20240620", 2.0),
        ("gpt-4o-001", 2.0),
        ("gpt-4o-20241022-v2:0", 2.0),
        ("gpt-4o-nano", None),
        ("gpt-4o-32k", None),
        ("gpt-4o-5", None),
        ("gpt-4o1", None),
        ("gpt-4", None),
        ("o3", None),
    ],
)
def test_the_price_is_that_of_the_longest_name_that_fits(model, dollars):
    """Vendors append dates to the names that prices are known by; any other ending is another model."""
    prices = (("gpt-4o", Price(0.0, 2.0)), ("gpt-4o-mini", Price(0.0, 1.0)))
    drive = Drive(prices=prices)
    said = {"object": "chat.completion.chunk", "model": model}
    drive.feed(frame({**said, "choices": [{"index": 0, "delta": {"content": "Hi"}}]}), 1.0)
    drive.feed(
        frame({**said, "choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 1_000_000}}), 1.1
    )
    drive.feed(DONE, 1.2)

    assert native(drive).final.get("cost") == dollars


def test_a_model_that_the_upstream_does_not_name_is_the_one_asked_for():
    """For the price, the log and the last metadata; Gemini and Bedrock name it in the request alone."""
    drive = Drive(prices=(("mine", Price(0.0, 2.0)),), model="mine")
    drive.feed(frame({"choices": [{"index": 0, "delta": {"content": "Hi"}}]}), 1.0)
    drive.feed(frame({"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 1_000_000}}), 1.1)
    drive.feed(DONE, 1.2)

    assert drive.pipeline.model == "mine"
    assert native(drive).final["cost"] == 2.0
    assert native(drive).final["model"] == "mine"


def test_the_model_that_the_upstream_names_counts_more():
    """An alias, or a version that the upstream has chosen itself."""
    drive = Drive(model="gpt-4o")
    drive.feed(word("Hi") + STOP + DONE, 1.0)

    assert drive.pipeline.model == native(drive).final["model"] == "gpt-4o-mini"


@pytest.mark.parametrize("output", ["native", "openai"])
@pytest.mark.parametrize("is_whole", [False, True])
def test_every_block_of_a_numbered_stream_has_its_number(output, is_whole):
    """n = 1, 2, 3, … in each block, the last one too; heartbeats have none."""
    drive = Drive(output, numbered=True, heartbeat=1.0)
    drive.feed(ROLE, 0.1)
    for at in range(1, 30):
        drive.feed(word("a") + word("b"), at * 1.5)
    drive.feed(STOP + usage(1, 2) + DONE if is_whole else error(500), 50.0)

    blocks = reading_back.blocks(drive.body)
    beats = [block for block in blocks if "id" not in block]
    ids = [block["id"] for block in blocks if "id" in block]
    assert ids == [f"{STREAM_ID}-{n}" for n in range(1, len(ids) + 1)]
    assert len(ids) == drive.pipeline.stats.events_out
    # OpenAI's heartbeat is a chunk that says nothing, native's a comment.
    assert all(reading_back.loads(beat["data"])["choices"][0]["delta"] == {} for beat in beats)
    assert len(beats) + reading_back.heartbeats(drive.body) == drive.pipeline.stats.heartbeats >= 30
