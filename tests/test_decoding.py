import pytest
from wire import reading_back
from wire.driving import DONE, ROLE, STOP, word
from wire.recordings import recordings

from ssegate.decoding import decode_body, usage_of
from ssegate.wire.events import Usage


@pytest.mark.parametrize("body", [body for body in recordings() if not body.expected["error"]][::6], ids=str)
@pytest.mark.parametrize("output", ["native", "openai"])
def test_a_recorded_body_is_decoded_as_a_client_would_get_it(body, output):
    """The whole answer in the output asked for, one event a delta, and nothing wrong with it."""
    sent, problem = decode_body(body.body, output)

    assert problem is None
    assert getattr(reading_back, output)(sent).first.text == body.expected["text"]


def test_nothing_is_joined():
    """A bug report shows each delta by itself."""
    sent, _ = decode_body(ROLE + word("a") + word("b") + word("c") + STOP + DONE, "native")

    *running, last = [reading_back.loads(block["data"]) for block in reading_back.blocks(sent)]
    assert [said["token"] for said in running] == ["a", "b", "c"]
    assert last["metadata"]["total_time"] == 0


def test_a_cut_body_shows_what_there_was_and_what_is_wrong():
    """Both the events and the code."""
    sent, problem = decode_body(word("Hel") + word("lo")[:-20], "native")

    answer = reading_back.native(sent)
    assert (answer.first.text, answer.error["code"]) == ("Hel", "upstream_truncated")
    assert problem.startswith("upstream_truncated: ")


@pytest.mark.parametrize(
    ("body", "code"),
    [(b"", "upstream_empty"), (b"<html><body>", "upstream_content_type"), (ROLE, "upstream_truncated")],
)
def test_a_body_without_content_is_told_as_an_event(body, code):
    """There is no HTTP status here to tell it with."""
    sent, problem = decode_body(body, "native")

    assert reading_back.native(sent).error["code"] == code
    assert problem.startswith(code)


@pytest.mark.parametrize("body", [b'{"object":"list"}', b"\x89PNG\r\n"])
def test_a_foreign_body_is_named_as_such(body):
    """The gate would not touch it."""
    assert decode_body(body, "native") == (
        b"",
        "the body is in no known dialect; the gate would pass it on as it is",
    )


@pytest.mark.parametrize("body", [body for body in recordings() if not body.expected["error"]], ids=str)
def test_the_usage_of_every_recording_is_found_in_its_whole_body(body):
    """In every vendor's spelling, streamed or not: what limits are settled by where an answer passes."""
    usage, _ = usage_of(body.body, "auto", body.content_type or "")

    counts = body.usage
    if counts is not None and counts["output_tokens"] is not None:
        assert usage.input_tokens == counts["input_tokens"]
        assert usage.output_tokens == counts["output_tokens"]


@pytest.mark.parametrize(
    ("body", "usage"),
    [
        (b'{"object":"list","data":[],"usage":{"prompt_tokens":8,"total_tokens":8}}', Usage(8, 0)),
        (b'{"embeddings":[[0.1]],"prompt_eval_count":7}', Usage(7, 0)),
        (b'{"embeddings":[], "meta": {"usage": 3}}', Usage()),
        (b'{"usage": 3}', Usage()),
        (b"[1, 2]", Usage()),
        (b"{", Usage()),
        (b"\xff", Usage()),
    ],
)
def test_other_json_may_tell_its_usage_too(body, usage):
    """What it does not name, it has not used."""
    assert usage_of(body, "auto", "application/json")[0] == usage
