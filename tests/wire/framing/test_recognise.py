import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wire.recordings import recordings

from ssegate.wire.framing import FRAMINGS, recognise

from .bodies import event, flipped, framed

STREAM, JSON, LINES, PLAIN, PAGE = (
    "text/event-stream",
    "application/json",
    "application/x-ndjson",
    "text/plain; charset=utf-8",
    "text/html",
)
OCTETS = "application/octet-stream"
SEQUENCE = "application/json-seq"
AMAZON = "application/vnd.amazon.eventstream"
MESSAGE = event(b"{}")
WHOLE = b'{"a": {"b": [1]}}'
PRETTY = b'{\n  "a": 1\n}'


@pytest.mark.parametrize(
    ("content_type", "body", "framing"),
    [
        (STREAM, b"data: {}\n\n", "sse"),
        ("Text/Event-Stream;charset=UTF-8", b": hi\n\n", "sse"),
        (STREAM, b"\xef\xbb\xbfdata:{}\n\n", "sse"),
        (STREAM, b"anything: at all", "sse"),
        (STREAM, WHOLE, "json"),
        (STREAM, b'{"error":"x"}\n', "ndjson"),
        (STREAM, b"<!DOCTYPE html><html>", "html"),
        (STREAM, b"<think>", "sse"),
        (STREAM, b"[DONE]", "sse"),
        (STREAM, b"[{", "json-array"),
        (JSON, b"data: {}\n\n", "sse"),
        (JSON, b"event: x\n", "sse"),
        (JSON, PRETTY, "json"),
        (JSON, b"\n\n\n" + PRETTY, "json"),
        (JSON, WHOLE + b"\n" + WHOLE + b"\n", "ndjson"),
        (JSON, WHOLE, "json"),
        (JSON, b'[{"candidates"', "json-array"),
        (JSON, b"[\r\n {", "json-array"),
        (JSON, b"[[{", "json"),
        (JSON, b"[", "json"),
        (JSON, b"Internal error", "json"),
        (JSON, b"<html><body>no</body></html>", "html"),
        ("application/problem+json", b"null", "json"),
        (LINES, b'{"cut', "ndjson"),
        (LINES, b"words", "ndjson"),
        ("application/stream+json; charset=utf-8", b'{"a":1}', "ndjson"),
        (SEQUENCE, b'\x1e{"a":1}\n', "json-seq"),
        (SEQUENCE, PRETTY, "json-seq"),
        (SEQUENCE, b"words", "json-seq"),
        (LINES, b"\n\x1e" + PRETTY, "json-seq"),
        (PLAIN, b"\x1e" + PRETTY, "json-seq"),
        (PLAIN, b"data: {}\n\n", "sse"),
        (PLAIN, b": ping\n\n: ping\r\n\r\ndata: {}\n\n", "sse"),
        (PLAIN, b":) hello", "text"),
        (PLAIN, b"database: a place for data", "text"),
        (PLAIN, b"date", "text"),
        (PLAIN, WHOLE, "json"),
        (PLAIN, WHOLE + b"\n" + WHOLE, "ndjson"),
        (PLAIN, b'{\n  "the model": "writes JSON"\n', "text"),
        (PLAIN, b"<html> is a tag", "text"),
        (PLAIN, b"[1]", "text"),
        (PLAIN, b'[{"a model": "writes a list"}]', "text"),
        (PLAIN, b'[{\n  "candidates"', "json-array"),
        (PLAIN, b'[ {"error":', "json-array"),
        ("text/markdown", b"# Title", "text"),
        (PAGE, b"<html>", "html"),
        (PAGE, b"Bad gateway", "html"),
        (PAGE, b"data: {}\n\n", "sse"),
        (PAGE, WHOLE, "json"),
        (PAGE, b"[{", "json-array"),
        (OCTETS, b"data: {}\n\n", "sse"),
        (OCTETS, WHOLE, "json"),
        (OCTETS, b"[\n{", "json-array"),
        (OCTETS, b"\x00\x00\x01\x02", "pass"),
        (OCTETS, b"\x00" * 12, "pass"),
        (OCTETS, MESSAGE, "eventstream"),
        (OCTETS, MESSAGE[:12], "eventstream"),
        (OCTETS, flipped(MESSAGE, 3), "pass"),
        (None, MESSAGE, "eventstream"),
        (STREAM, MESSAGE, "eventstream"),
        (PLAIN, MESSAGE, "eventstream"),
        (JSON, MESSAGE, "eventstream"),
        (PAGE, MESSAGE, "eventstream"),
        (AMAZON, MESSAGE, "eventstream"),
        (AMAZON + "; charset=x", b"\0", "eventstream"),
        (AMAZON, b"\x7f\0\0\0", "eventstream"),
        (AMAZON, b'{"message":"no"}', "json"),
        (AMAZON, b"<html>", "html"),
        (AMAZON, b"data: {}\n\n", "sse"),
        (None, b"id: 1\n", "sse"),
        (None, b"retry: 10\n", "sse"),
        (None, b'error: {"code":500}\n', "sse"),
        (None, b"error: no", "pass"),
        (None, b"error", "pass"),
        (None, b"<!doctype  html>", "html"),
        (None, b"<svg>", "pass"),
        (None, b"words", "pass"),
        (None, b"[1, 2]", "json"),
        ("image/png", b"\x89PNG", "pass"),
        ("audio/mpeg", b"data: {}\n\n", "pass"),
        ("application/pdf", b"%PDF-1.7", "pass"),
        (STREAM, b"", "empty"),
        (None, b"\n\r\n", "empty"),
        (PLAIN, b"\xef\xbb", "text"),
        (STREAM, b"\xef\xbb", "sse"),
    ],
)
def test_bytes_and_label_tell_the_framing(content_type, body, framing):
    """Bytes win over a wrong label; where bytes are open, the label decides."""
    assert recognise(content_type, body, at_end=True) == framing


@pytest.mark.parametrize(
    ("content_type", "head"),
    [
        (STREAM, b""),
        (JSON, b"\n"),
        (JSON, b'{"a": 1'),
        (JSON, b"da"),
        (PLAIN, b"eve"),
        (PLAIN, b": ping"),
        (PLAIN, b": ping\n\n"),
        (None, b"\xef\xbb"),
        (STREAM, b"<!doc"),
        (None, b"error: "),
        (STREAM, b"["),
        (JSON, b"[\n \r\n"),
        (PLAIN, b'[ {\n "cand'),
        (OCTETS, MESSAGE[:11]),
        (None, b"\0"),
    ],
)
def test_what_is_open_waits_for_more(content_type, head):
    """No verdict before the bytes allow one."""
    assert recognise(content_type, head, at_end=False) is None


def test_a_huge_line_is_a_document():
    """A body of one line is not gathered for ever before it is framed."""
    assert recognise(JSON, b'{"a": "' + b"x" * (64 << 10), at_end=False) == "json"


@pytest.mark.parametrize(
    ("content_type", "head", "framing"),
    [
        (PLAIN, b": ping\n\n" * 9000, "sse"),
        (JSON, b"[" + b"\n" * (64 << 10), "json"),
        (PLAIN, b"[{" + b"\n" * (64 << 10), "text"),
    ],
)
def test_nothing_is_waited_for_without_end(content_type, head, framing):
    """A flood that says nothing gets a verdict, or it would be looked at again with every read."""
    assert recognise(content_type, head, at_end=False) == framing


@pytest.mark.parametrize(
    "document",
    [
        {"id": "c", "choices": [{"message": {"content": "Hi"}}]},
        {"object": "response", "output": [{"type": "message", "content": []}]},
        {"type": "message", "content": [{"type": "text", "text": "Hi"}]},
        {"candidates": [{"content": {"parts": [{"text": "Hi"}]}}]},
        {"output": {"message": {"content": [{"text": "Hi"}]}}, "stopReason": "end_turn"},
        {"message": {"content": [{"type": "text", "text": "Hi"}]}, "finish_reason": "COMPLETE"},
        {"message": {"content": "Hi"}, "done": True},
        {"response": "Hi", "done": True},
    ],
    ids=lambda document: "+".join(document),
)
@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("content_type", [JSON, "Application/JSON; charset=utf-8", STREAM, OCTETS, None])
def test_a_complete_answer_is_one_frame_after_its_keepalives(document, indent, content_type):
    """Whoever sends it, pretty-printed or not, under any label, behind blank lines."""
    text = json.dumps(document, indent=indent).encode()
    for body in (text, b"\n\n  \r\n" + text, b"\xef\xbb\xbf" + text + b"\n"):
        framing = recognise(content_type, body, at_end=True)

        assert [frame.data for frame in framed(framing, [body])] == [text]


def test_json_that_only_python_reads_is_json():
    """NaN does not make a document of two lines."""
    assert recognise(None, b'{"a": NaN}\n{"a": 1}\n', at_end=False) == "ndjson"
    assert recognise(None, b'{"a": ' + b"[" * 100_000 + b"\n", at_end=False) == "json"


LABELS = (STREAM, JSON, PLAIN, OCTETS, AMAZON, None)
BODIES = [*recordings("bodies"), *recordings("documents")]


@pytest.mark.parametrize("recording", BODIES, ids=str)
def test_a_recorded_body_is_recognised_under_any_label(recording):
    """Every recording is framed as what it is, however it is labelled."""
    for content_type in (recording.content_type, *LABELS):
        framing = recognise(content_type, recording.body, at_end=True)

        assert framing == recording.framing or {framing, recording.framing} == {"json", "ndjson"}


@pytest.mark.parametrize("recording", BODIES, ids=str)
def test_the_first_verdict_stands(recording):
    """The bytes that come later would not have changed it."""
    body = recording.body
    for content_type in (recording.content_type, *LABELS):
        verdicts = (
            recognise(content_type, body[:size], at_end=size == len(body)) for size in range(1, len(body) + 1)
        )
        first = next(verdict for verdict in verdicts if verdict is not None)

        assert framed(first, [body]) == framed(recognise(content_type, body, at_end=True), [body])


@given(st.sampled_from([*LABELS, PAGE, LINES, "image/png", "nonsense"]), st.binary(max_size=60))
def test_every_body_gets_a_verdict_at_its_end(content_type, body):
    """At the end of the body there is always a verdict, and never an exception."""
    known = {*FRAMINGS, "pass", "html", "empty"}

    assert recognise(content_type, body, at_end=True) in known
    assert recognise(content_type, body, at_end=False) in known | {None}
