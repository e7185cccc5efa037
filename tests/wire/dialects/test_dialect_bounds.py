"""
What a dialect remembers of a stream, however long that is and whatever it tells apart.

Every number, id and address in a recorded frame is made another one, frame after frame: calls, items, choices
and sources without end. A dialect may refuse them; it may not keep them.
"""

import json
import re
import tracemalloc
from itertools import chain

import pytest
from wire.dialects.reading import frames_of
from wire.recordings import READ_BY, recordings

from ssegate.wire.dialects import DIALECTS
from ssegate.wire.errors import WireError
from ssegate.wire.events import End, Failure, Frame

MARK = 7654321
TELLS_APART = re.compile(r"(^|_)(id|index)$|(Id|Index)$|^(url|uri|title|source|jsonPath)$")
KINDS = ("type", "object", "event_type", "status", "role")
FRAMES = 2100
MOST_CHOICES = 1024
"""More of them a pipeline does not carry."""

ROOM = 512 << 10
"""What the frame at hand does not account for."""


def varied(value, name=""):
    """Return *value* with a mark in all that tells things apart."""
    if isinstance(value, dict):
        return {key: varied(inner, key) for key, inner in value.items()}
    if isinstance(value, list):
        return [varied(inner, name) for inner in value]
    if not TELLS_APART.search(name) or isinstance(value, bool):
        return value
    return MARK if isinstance(value, int) else f"{value}{MARK}" if isinstance(value, str) else value


def shape(value, name=""):
    """Return what two frames have in common that are read the same way."""
    if isinstance(value, dict):
        return tuple(sorted((key, shape(inner, key)) for key, inner in value.items()))
    if isinstance(value, list):
        return ("list", *(shape(inner) for inner in value[:1]))
    return value if name in KINDS and isinstance(value, str) else type(value).__name__


def templates():
    """Return one frame of each shape in the recordings, marked, by dialect."""
    found = {}
    for body in recordings():
        for frame in frames_of(body.framing, [body.body]):
            try:
                said = json.loads(frame.data)
            except ValueError:
                continue
            key = (body.dialect, frame.event, shape(said))
            found.setdefault(key, Frame(frame.event, json.dumps(varied(said)).encode()))
    by_dialect = {name: [] for name, _ in READ_BY.values()}
    for (name, *_), frame in found.items():
        by_dialect[name].append(frame)
    return by_dialect


TEMPLATES = templates()


def openai(**delta):
    said = {"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta}]}
    return Frame("", json.dumps(said).encode())


def gemini(**part):
    return Frame(
        "", json.dumps({"candidates": [{"content": {"parts": [part]}}]}, ensure_ascii=False).encode()
    )


def arguments(path):
    part = {"jsonPath": path, "stringValue": "word " * 10, "willContinue": True}
    return gemini(functionCall={"partialArgs": [part], "willContinue": True})


OPEN = gemini(functionCall={"name": "f", "willContinue": True})
LONG = "x" * 2000
USAGE = {f"count_{MARK}": [1, 2, 3], "input_tokens": 1, "input_tokens_details": {f"a_{MARK}": 1}}
BLOCK = {"type": "tool_use", "id": "c", "name": "f", "input": {"a": [[]] * 50}}
SPECIAL = {
    "text that is not ASCII": ("gemini", [], gemini(text="h\u00e9llo " * 8)),
    "a call without a name": (
        "openai",
        [],
        openai(tool_calls=[{"index": 0, "function": {"arguments": "abc " * 9}}]),
    ),
    "calls without a name": (
        "openai",
        [],
        openai(tool_calls=[{"index": MARK, "function": {"arguments": "a" * 90}}]),
    ),
    "long ids": (
        "openai",
        [],
        openai(tool_calls=[{"index": MARK, "id": f"{MARK}{LONG}", "function": {"name": "f"}}]),
    ),
    "long addresses": ("openai", [], Frame("", json.dumps({"citations": [f"{MARK}{LONG}"]}).encode())),
    "choices with calls": (
        "openai",
        [],
        Frame("", b'{"choices":[{"index":%d,"delta":{"tool_calls":[{"index":0}]}}]}' % MARK),
    ),
    "arguments in pieces": ("gemini", [OPEN], arguments("$.a")),
    "arguments in members": ("gemini", [OPEN], arguments(f"$.a{MARK}")),
    "counts of any name": (
        "anthropic",
        [],
        Frame("", json.dumps({"type": "message_delta", "usage": USAGE}).encode()),
    ),
    "arguments at the beginning": (
        "anthropic",
        [],
        Frame(
            "", json.dumps({"type": "content_block_start", "index": MARK, "content_block": BLOCK}).encode()
        ),
    ),
    "long item ids": (
        "responses",
        [],
        Frame(
            "",
            json.dumps(
                {"type": "response.output_text.delta", "delta": "a", "item_id": f"{MARK}{LONG}"}
            ).encode(),
        ),
    ),
    "documents": (
        "cohere",
        [],
        Frame(
            "",
            json.dumps(
                {"event_type": "search-results", "documents": [{"id": f"{MARK}", "title": LONG}]}
            ).encode(),
        ),
    ),
    "a long frame that is like many": (
        "openai",
        [Frame("", b'{"x":"%b","choices":[{"index":0,"delta":{"content":"a"}}]}' % (b"x" * (1 << 20)))] * 2,
        Frame("", b'{"choices":[],"usage":{"prompt_tokens":1}}'),
    ),
    "long steps": (
        "assistants",
        [],
        Frame(
            "",
            json.dumps(
                {"id": f"{MARK}{LONG}", "object": "thread.message.delta", "delta": {"content": []}}
            ).encode(),
        ),
    ),
}


def kept_of(name, before, template, count=FRAMES):
    """Return the bytes that a dialect keeps after so many frames, and after twice as many."""
    dialect = DIALECTS[name]()
    last = Frame("", b"{}")
    kept, choices = [], set()
    tracemalloc.start()
    try:
        base = tracemalloc.get_traced_memory()[0]
        for at, frame in enumerate(chain(before, [template] * (2 * count))):
            data = frame.data.replace(b"%d" % MARK, b"%d" % (at + 1_000_000))
            said = dialect.decode(Frame(frame.event, data))
            dialect.carry(Frame(frame.event, data))
            if at % count == count - 1:
                dialect.decode(last)
                kept.append(tracemalloc.get_traced_memory()[0] - base)
            choices |= {getattr(event, "choice", 0) for event in said}
            if any(isinstance(event, (Failure, End)) for event in said) or len(choices) > MOST_CHOICES:
                dialect.decode(last)
                kept.append(tracemalloc.get_traced_memory()[0] - base)
                break
    except WireError:
        dialect.decode(last)
        kept.append(tracemalloc.get_traced_memory()[0] - base)
    finally:
        tracemalloc.stop()
    return kept


def check(kept):
    assert all(size < ROOM for size in kept), kept
    assert len(kept) < 2 or kept[1] - kept[0] < 20 * FRAMES, f"{kept} bytes"


def pytest_generate_tests(metafunc):
    """Every sixth shape of a dialect in ``make proof``, one in twenty-four elsewhere: each takes long."""
    if metafunc.function is test_what_is_told_apart_is_not_kept_for_ever:
        step = 6 if metafunc.config.getoption("--cuts") > 20 else 24
        metafunc.parametrize(
            ("name", "template"), [(name, one) for name, found in TEMPLATES.items() for one in found[::step]]
        )


def test_what_is_told_apart_is_not_kept_for_ever(name, template):
    """One frame of each shape there is, over and over, always about another thing."""
    check(kept_of(name, [], template))


@pytest.mark.parametrize(("name", "before", "template"), SPECIAL.values(), ids=SPECIAL)
def test_what_may_be_needed_is_not_kept_for_ever(name, before, template):
    """What is kept because it may be needed later: text, arguments, ids, counts, documents."""
    check(kept_of(name, before, template, 4 * FRAMES))


# What happens where there is no room


def told(name, *frames):
    dialect = DIALECTS[name]()
    return [event for frame in frames for event in dialect.decode(frame)]


def test_no_argument_is_lost_with_a_name_that_never_comes():
    """A call whose name is long in coming is opened without one; the name may then not be told."""
    pieces = [f"{at:05}" * 20 for at in range(4000)]
    frames = [openai(tool_calls=[{"index": 0, "function": {"arguments": piece}}]) for piece in pieces]

    events = told("openai", *frames)

    assert (events[0].name, {event.index for event in events}) == ("", {0})
    assert "".join(event.arguments for event in events) == "".join(pieces)


def test_large_arguments_that_come_first_are_told_at_once():
    """Where there is no room to wait for fragments, none is waited for; what comes later repeats them."""
    given = {"text": "x" * 300_000}
    block = {"type": "tool_use", "id": "c", "name": "f", "input": given}
    start = {"type": "content_block_start", "index": 0, "content_block": block}
    events = told(
        "anthropic",
        Frame("", json.dumps(start).encode()),
        Frame("", b'{"type":"content_block_stop","index":0}'),
    )

    assert [json.loads(event.arguments) for event in events] == [given]


def test_where_a_very_long_answer_is_cited_is_not_made_up():
    """Offsets in bytes become characters as long as the answer is known; behind that they are unknown."""
    frames = [gemini(text="h\u00e9" * 1000)] * 200
    source = {"uri": "http://x", "startIndex": 3, "endIndex": 500_000}
    cited = {"candidates": [{"citationMetadata": {"citations": [source]}}]}
    *_, citation = told("gemini", *frames, Frame("", json.dumps(cited).encode()))

    assert (citation.url, citation.start, citation.end) == ("http://x", 2, None)


def test_long_arguments_in_order_need_no_room():
    """Only what comes out of order must have been kept."""
    pieces = [arguments("$.a")] * 5000
    events = told("gemini", OPEN, *pieces, gemini(functionCall={}))
    assert json.loads("".join(event.arguments for event in events)) == {"a": "word " * 50_000}

    with pytest.raises(WireError, match="out of order"):
        told("gemini", OPEN, arguments("$.b"), *pieces, arguments("$.b"))


def test_sources_that_are_not_remembered_are_told_again():
    """A thousand are known to have been told; none is left out."""
    cited = [Frame("", json.dumps({"citations": [f"http://{at}"]}).encode()) for at in range(1500)]

    events = told("openai", *cited, *cited)

    assert len(events) == 1500 + 476


def test_a_name_that_is_too_long_counts_as_not_sent():
    """An id of a kilobyte is no id."""
    chunks = [{"id": "i" * size, "model": "m" * size, "choices": []} for size in (1025, 1024)]
    (start,) = told("openai", *(Frame("", json.dumps(said).encode()) for said in chunks))

    assert (start.id, start.model) == ("i" * 1024, "m" * 1024)


@pytest.mark.parametrize(
    ("name", "template"),
    [(name, template) for name, _, template in SPECIAL.values() if b'"index": %d' % MARK in template.data],
)
def test_calls_without_end_are_no_answer(name, template):
    """A thousand are more than any answer has; the thousandth still counts."""
    frames = [
        Frame(template.event, template.data.replace(b"%d" % MARK, b"%d" % (at + MARK))) for at in range(1025)
    ]
    told(name, *frames[:500])

    with pytest.raises(WireError, match="more than 1024"):
        told(name, *frames)
