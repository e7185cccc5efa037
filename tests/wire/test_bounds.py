"""
What a hostile upstream can cost: memory that stays within ``max_event``, and work that grows as its bytes do.

Work is counted, not timed: calls, and bytes looked at by the methods of strings.
"""

import gc
import json
import sys
import tracemalloc
from itertools import cycle, pairwise

import pytest
from wire.driving import DONE, Drive, chunk, frame, line, message, word
from wire.mutating import framed
from wire.recordings import recordings
from wire.taking_apart import Block, bytewise

from ssegate.wire.dialects import DIALECTS
from ssegate.wire.framing import FRAMINGS
from ssegate.wire.pipeline import Pipeline, Settings
from ssegate.wire.seams import Context

SSE, JSON, LINES, PLAIN = "text/event-stream", "application/json", "application/x-ndjson", "text/plain"
MAX_EVENT = 1 << 20
READ = 16 << 10
SLACK = 512 << 10

OPEN_CHUNK = b'data: {"choices":[{"index":0,"delta":{"content":"'
CALL = {"index": 0, "id": "c", "function": {"name": "f", "arguments": ""}}
FLOODS = {
    "an endless event": (SSE, word("a") + OPEN_CHUNK, b"a"),
    "an endless first event": (SSE, OPEN_CHUNK, b"a"),
    "an endless first event of no type": (None, OPEN_CHUNK, b"a"),
    "endless data lines": (SSE, word("a"), b"data: a\n"),
    "empty data lines": (SSE, word("a"), b"data\n"),
    "an endless comment": (SSE, word("a") + b":", b"a"),
    "comments": (SSE, word("a"), b": ping\n"),
    "nothing but comments": (SSE, b"", b": ping\n\n"),
    "comments before text": (PLAIN, b"", b": ping\n\n"),
    "one comment before text": (PLAIN, b":", b"a"),
    "blank lines": (SSE, word("a"), b"\r\n"),
    "nothing but blank lines": (JSON, b"", b"\n"),
    "an endless name": (SSE, word("a") + b"event: ", b"a"),
    "an endless id": (SSE, word("a") + b"id: ", b"a"),
    "ids": (SSE, word("a"), b"id: aaaaaaaaaaaaaaaaaaa\n\n"),
    "an endless bare object": (SSE, word("a") + b"{", b"a\n"),
    "events without data": (SSE, b"", b"event: x\n\n"),
    "words": (SSE, b"", word("hello ")),
    "words with crlf": (SSE, b"", word("hello ").replace(b"\n", b"\r\n")),
    "words with cr": (SSE, b"", word("hello ").replace(b"\n", b"\r")),
    "roles": (SSE, b"", word("")),
    "pings": (SSE, b"", message(type="ping")),
    "an endless line": (LINES, b'{"message":{"content":"', b"a"),
    "lines": (LINES, b"", line(message={"content": "hi"}, done=False)),
    "foreign lines": (LINES, b"", b'{"a": 1}\n'),
    "a foreign line and blank ones": (LINES, b'{"a": 1}\n', b"\n"),
    "an endless document": (JSON, b'{"choices":[{"index":0,"message":{"content":"', b"a"),
    "an endless pretty document": (JSON, b'{\n "choices": [\n', b" 1,\n"),
    "an endless array": (JSON, b"[", b"\n"),
    "an endless array of other things": (JSON, b"[", b"1,"),
    "nothing but brackets": (SSE, b"data: ", b"["),
    "text": (PLAIN, b"", "h\u00e9llo ".encode()),
    "half a page": (None, b"<", b"a"),
}
"""Content type, how the body begins, and what comes after it for ever."""


def of_every_framing():
    """Floods of whole frames, and of one that never ends, for each framing that a recording has."""
    for framing in FRAMINGS:
        bodies = [body for body in recordings() if body.framing == framing]
        if not bodies:
            continue
        body = min(bodies, key=lambda body: len(body.body))
        yield f"{framing}: frames", (body.content_type, b"", body.body)
        cut = body.body[: len(body.body) // 2]
        yield f"{framing}: a cut body and more", (body.content_type, cut, b"a")
        one = framed(framing, [(Block(0, 0, "", ""), b'{"a":"' + b"a" * 2000 + b'"}')])
        yield f"{framing}: foreign frames", (body.content_type, b"", one)


ALL = {**FLOODS, **dict(of_every_framing())}


def reads(flood):
    """The beginning and then reads of one size."""
    _, head, filler = flood
    if head:
        yield head
    while True:
        yield (filler * (READ // len(filler) + 1))[: READ // len(filler) * len(filler) or len(filler)]


@pytest.mark.parametrize(("flood", "output"), list(zip(ALL.values(), cycle(["native", "same"]))), ids=ALL)
def test_memory_is_bounded(flood, output):
    """
    Between reads nothing is held beyond ``max_event`` and a little, however much has come.

    While one read is looked at there may be a few copies of an event, on its way from bytes to text to bytes.
    """
    drive = Drive(output, flood[0], max_event=MAX_EVENT, max_stream=1 << 40, total=None)
    pipeline, seen = drive.pipeline, 0
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for read in reads(flood):
            tracemalloc.reset_peak()
            out = len(pipeline.feed(read, 1.0))
            held, peak = (size - before - out for size in tracemalloc.get_traced_memory())
            assert peak < 4 * MAX_EVENT + SLACK
            seen += len(read)
            if pipeline.outcome is not None or pipeline.unclaimed is not None or seen > 2 * MAX_EVENT:
                break
            assert held < MAX_EVENT + SLACK, f"{held} bytes held after {seen}"
    finally:
        tracemalloc.stop()


NEARLY = MAX_EVENT - 4096


def large(text):
    """Events that say *text*, of several dialects, and of several kinds."""
    parts = {"candidates": [{"content": {"parts": [{"text": text}]}}]}
    opened = {"type": "response.output_item.added", "output_index": 0, "item": {"type": "message"}}
    said = {"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": text}
    anthropic = message(type="content_block_delta", index=0, delta={"type": "text_delta", "text": text})
    return {
        "text": (SSE, word(text)),
        "reasoning": (SSE, chunk({"reasoning_content": text})),
        "arguments": (SSE, chunk({"tool_calls": [called(json.dumps({"a": text}))]})),
        "arguments as an object": (SSE, chunk({"tool_calls": [called({"a": text})]})),
        "beside the text": (SSE, chunk({"content": "a", "x": text})),
        "empty objects": (SSE, b'data: {"choices":[%b]}\n\n' % b",".join([b"{}"] * (len(text) // 3))),
        "role only": (SSE, chunk({"role": "assistant", "x": text})),
        "anthropic": (SSE, anthropic),
        "responses": (SSE, message(**opened) + message(**said)),
        "ollama": (LINES, line(message={"content": text}, done=False)),
        "gemini": (SSE, frame(parts)),
        "replicate": (SSE, b"event: output\nid: 1\ndata: %b\n\n" % text.encode()),
    }


def called(arguments):
    return {"index": 0, "id": "c", "function": {"name": "f", "arguments": arguments}}


@pytest.mark.parametrize("output", ["native", "same"])
@pytest.mark.parametrize("kind", large(""))
def test_nothing_stays_of_a_large_event(kind, output):
    """Not its bytes, not what was read from them, not what leaves: the next one may be as large, and slow."""
    content_type, long = large("a" * NEARLY)[kind]
    wide = large("\U0001f600" + "a" * (NEARLY // 5))[kind][1]  # in Python all its characters take four bytes
    dialect = kind if kind in DIALECTS else "openai"
    settings = Settings(
        output=output, dialect=dialect, max_event=MAX_EVENT, total=None, batch_size=100, batch_delay=9.0
    )
    pipeline = Pipeline(settings, Context("st-1", 1), 0.0)
    pipeline.begin(content_type)
    pipeline.feed(large("a")[kind][1] * 2, 1.0)
    events = [(event, event[:5000], event[5000:]) for event in (long, wide, wide, long)]
    begun = long[:-2]
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for whole, *pieces in events:
            for read in (whole, *pieces):
                pipeline.feed(read, 1.0)
            assert tracemalloc.get_traced_memory()[0] - before < SLACK
        pipeline.feed(begun, 1.0)
        assert tracemalloc.get_traced_memory()[0] - before < MAX_EVENT + SLACK
    finally:
        tracemalloc.stop()
    assert pipeline.outcome is None
    assert pipeline.stats.events_in > 8


NAMED = chunk({"tool_calls": [{"index": 0, "id": "c", "function": {"name": "f", "arguments": ""}}]}, choice=7)
CITED = chunk({"annotations": [{"url_citation": {"url": "http://x", "title": "x"}}]}, choice=7)
CHOICES = {
    "words": word("a", 7),
    "halves of characters": chunk({"content": "\ud83d"}, choice=7),
    "calls": NAMED,
    "citations": CITED,
    "finishes": chunk(finish="stop", choice=7),
}


@pytest.mark.parametrize("output", ["native", "openai", "same"])
@pytest.mark.parametrize("said", CHOICES.values(), ids=CHOICES)
def test_choices_without_end_are_no_answer(said, output):
    """Each costs memory as long as the stream runs; a thousand are more than anybody asks for."""
    drive = Drive(output, max_event=MAX_EVENT, total=None)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for at in range(5000):
            drive.pipeline.feed(said.replace(b'"index": 7', b'"index": %d' % (at + 10_000)), 1.0)
            if drive.pipeline.outcome is not None:
                break
            if at == 1000:
                gc.collect()
            held = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()

    assert (drive.pipeline.outcome, drive.pipeline.failure.code) == ("upstream_error", "upstream_bad_event")
    assert held < SLACK


def test_as_many_choices_as_were_asked_for_are_an_answer():
    """A batch of prompts may be a large one."""
    drive = Drive(choices=3000)
    drive.feed(b"".join(word("a", at) + chunk(finish="stop", choice=at) for at in range(3000)) + DONE, 1.0)

    assert drive.pipeline.outcome == "completed"


# ---- work ----------------------------------------------------------------------------------------

CHEAP = {"startswith", "endswith", "append", "clear", "extend", "isdigit"}
"""Methods that do not look at all of a string."""


def work(pieces, content_type, output):
    """Return how many calls it takes to carry *pieces*, and how many bytes are looked at."""
    counted = [0, 0]

    def count(frame, event, called):
        if event in ("call", "c_call"):
            counted[0] += 1
        if event == "c_call" and called.__name__ not in CHEAP:
            of = getattr(called, "__self__", None)
            counted[1] += len(of) if isinstance(of, (bytes, bytearray, str)) else 0

    pipeline = Pipeline(Settings(output=output, total=None), Context("st-1", 1), 0.0)
    pipeline.begin(content_type)
    pieces = list(pieces)
    sys.setprofile(count)
    try:
        for piece in pieces:
            pipeline.feed(piece, 1.0)
        pipeline.close(1.0)
    finally:
        sys.setprofile(None)
    return counted


@pytest.mark.parametrize(
    ("cut", "least"), [(lambda body: [body], 20_000), (bytewise, 4200)], ids=["whole", "byte by byte"]
)
@pytest.mark.parametrize("flood", ALL.values(), ids=ALL)
def test_work_grows_as_the_bytes_do(flood, cut, least):
    """Twice as much costs at most a little more than twice as much, in one read or in one a byte."""
    content_type, head, filler = flood
    size = least // len(filler) + 1
    work(cut(head + filler), content_type, "native")  # what is done once only
    done = [work(cut(head + filler * (size * times)), content_type, "native") for times in (1, 2, 4)]

    for fewer, more in pairwise(done):
        assert all(new < 2.5 * max(old, 2000) for old, new in zip(fewer, more, strict=True)), done
