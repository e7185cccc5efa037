import json
import random
import re

import pytest
from wire.recordings import recording, recordings

from ssegate.wire.dialects import DIALECTS
from ssegate.wire.errors import WireError
from ssegate.wire.events import End, Finish, Frame

from .reading import frames_of, gather, read, recognised

BODIES = [*recordings(), *recordings("documents")]


def check(told, body):
    """Compare what was told with what the manifest expects."""
    expected = body.expected
    assert told.text.get(0, "") == expected["text"]
    assert told.reasoning.get(0, "") == expected["reasoning"]
    assert told.refusal.get(0, "") == expected.get("refusal", "")
    assert told.calls.get(0, []) == body.calls
    assert (told.id, told.model) == (expected["id"], expected["model"])
    for choice, other in expected.get("other", {}).get("choices", {}).items():
        assert told.text[int(choice)] == other["text"]
        assert told.finish[int(choice)].upstream_reason == other["finish_reason"]
    if expected.get("error"):
        assert told.failure.message == body.error_message
        return
    assert told.failure is None
    finish = told.finish.get(0)
    assert (finish and finish.reason, finish and finish.upstream_reason) == (
        body.reason,
        expected["finish_reason"],
    )
    assert told.usage == body.usage


@pytest.mark.parametrize("body", BODIES, ids=str)
@pytest.mark.parametrize("way", ["by name", "by its type", "without a type", "application/octet-stream"])
def test_a_recorded_body_is_read_in_full(body, way):
    """Text, reasoning, refusal, calls, finish, usage, model, id and error, however the dialect was found."""
    content_types = {"by its type": body.content_type, "without a type": None}
    framing, dialect = body.framing, body.dialect
    if way != "by name":
        framing, dialect = recognised(content_types.get(way, way), body.body)

    events = read(dialect, frames_of(framing, [body.body]))

    assert dialect == body.dialect
    check(gather(events), body)


@pytest.mark.parametrize("body", BODIES, ids=str)
def test_a_recorded_body_reads_the_same_byte_by_byte(body):
    """LF or CRLF, in one read or in one a byte: the events are the same."""
    whole = read(body.dialect, frames_of(body.framing, [body.body]))
    crlf = re.sub(rb"\r?\n", b"\r\n", body.body)

    for text in (body.body, crlf):
        pieces = (text[at : at + 1] for at in range(len(text)))
        assert read(body.dialect, frames_of(body.framing, pieces)) == whole


FINISH_MARKS = {"message-end", "stop:true"}
"""End marks that are no more than a finish: the next choice may follow, or a mark that was not recorded."""


@pytest.mark.parametrize("body", BODIES, ids=str)
def test_a_recorded_body_ends_as_it_did(body):
    """The end mark is told where the upstream gave one."""
    told = gather(read(body.dialect, frames_of(body.framing, [body.body])))

    mark = body.expected.get("terminator", "the document's end")
    assert told.ended == (mark is not None and mark not in FINISH_MARKS and told.failure is None)
    assert told.finish or mark not in FINISH_MARKS


ENDS = {
    "assistants": lambda said: said["object"] == "thread.run" and said["status"] == "completed",
    "anthropic": lambda said: said.get("type") in ("message_delta", "message_stop"),
    "cohere": lambda said: (said.get("type") or said.get("event_type")) in ("message-end", "stream-end"),
    "llamacpp": lambda said: said.get("stop") is True,
    "ollama": lambda said: said.get("done") is True,
    "openai": lambda said: any(choice.get("finish_reason") for choice in said.get("choices", ())),
    "responses": lambda said: said["type"] in ("response.completed", "response.failed", "error"),
    "tgi": lambda said: said.get("generated_text") is not None,
    "watsonx": lambda said: said["results"][0]["stop_reason"] != "not_finished",
}
"""Whether a frame says, by its JSON alone, that anything has ended."""


def is_an_end(body, frame):
    data = frame.data.strip()
    return data.startswith(b"[DONE]") or bool(ENDS[body.dialect](json.loads(data)))


def ends(body, block):
    return any(is_an_end(body, frame) for frame in frames_of(body.framing, [block]))


@pytest.mark.parametrize("body", recordings(), ids=str)
def test_a_cut_stream_never_looks_finished(body):
    """Without its end mark, and cut anywhere before it, a body has neither finish nor end."""
    separator = b"\n" if body.framing == "ndjson" else b"\n\n"
    blocks = body.body.rstrip(b"\n").split(separator)
    kept = [block for block in blocks if not ends(body, block + separator)]
    rest = separator.join(kept) + separator
    cuts = random.Random(body.file).sample(range(1, len(rest)), min(10, len(rest) - 1))

    for end in (len(rest), *cuts):
        decoder = DIALECTS[body.dialect]()
        events = []
        for frame in frames_of(body.framing, [rest[:end]]):
            try:
                events += decoder.decode(frame)
            except WireError:
                assert frame.irregular == "unfinished"
        events += decoder.close()

        assert not [event for event in events if isinstance(event, (Finish, End))]


def test_perplexity_cites_each_source_once():
    """Eight chunks repeat the same seven sources."""
    body = recording("perplexity_chat/01-perplexity-citations.sse")
    told = gather(read("openai", frames_of("sse", [body.body])))

    assert [citation.url for citation in told.citations] == body.expected["other"]["citations"]


@pytest.mark.parametrize(
    "body", [body for body in recordings() if body.expected["other"].get("citations", [])], ids=str
)
def test_citations_are_told(body):
    """As many as were recorded; Anthropic's have what they cite."""
    told = gather(read(body.dialect, frames_of(body.framing, [body.body])))
    count = body.expected["other"]["citations"]

    assert len(told.citations) == (count if isinstance(count, int) else len(count))
    assert all(citation.url for citation in told.citations)


def test_groq_s_error_is_told_with_all_it_says():
    """The error event of a failed tool call keeps message, type, code and status."""
    body = recording("groq_chat/02-test-tool-use-failed-error-streaming.sse")
    failure = gather(read("openai", frames_of("sse", [body.body]))).failure

    assert failure.code == "upstream_error"
    assert (failure.upstream_type, failure.upstream_code) == ("invalid_request_error", "tool_use_failed")
    assert failure.upstream_status == 400


def test_text_is_read_as_it_comes():
    """Every read is a delta; the end of the body is the end of the answer."""
    told = gather(read("text", frames_of("text", ["zwölf".encode()[:3], "zwölf".encode()[3:], b" Boxer"])))

    assert told.text == {0: "zwölf Boxer"}
    assert told.finish == {0: Finish("other")}
    assert told.ended and told.deltas == 3


@pytest.mark.parametrize("dialect", sorted(DIALECTS))
def test_an_empty_payload_says_nothing(dialect):
    """An event with empty data is no event of any dialect."""
    decoder = DIALECTS[dialect]()

    assert decoder.decode(Frame("", b"")) == []
    assert decoder.carry(Frame("", b"")) is None
    assert decoder.name == dialect
