"""
Clients in other languages before the bytes that leave: their line-reading restated in ``readers``, run over
every recording in every format that they may meet.
"""

from __future__ import annotations

import json

import pytest
from wire import byte_profile
from wire.driving import DONE, ROLE, STOP, Drive, word
from wire.proving import drive, fitting
from wire.recordings import Recording, recordings

from .readers import EVENT_READERS, SDKS, Broken, Event, Got, go_openai, openai_go, openai_java

BODIES = recordings()
SILENT_ABOUT_ERRORS = ("openai-dotnet",)


def in_events(body: Recording) -> list[str]:
    """The outputs in which *body* is an event stream; what `same` is where it has a name comes by that."""
    outputs = fitting(body)
    is_named = body.dialect in ("openai", "anthropic", "responses")
    is_framed = body.framing != "sse"
    return [output for output in outputs if output != "same" or not (is_named or is_framed)]


def events_of(writes: list[bytes]) -> list[Event]:
    """What is in the bytes, by the checker of the profile."""
    found, _ = byte_profile.sse(writes)
    return [(event.name.decode(), b"\n".join(event.data).decode()) for event in found]


def reads_of(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


@pytest.mark.parametrize(
    ("body", "output"), [(body, output) for body in BODIES for output in in_events(body)], ids=str
)
def test_every_reader_finds_the_same_events(body: Recording, output: str):
    """Name and data of each event, however the network cuts it, in every format that is an event stream."""
    driven = drive(body, [body.body], output)
    events = events_of([data for _, data in driven.writes])

    for name, read in EVENT_READERS.items():
        for size in (1, 7, 1460) if len(driven.body) < 4000 else (1460,):
            assert list(read(reads_of(driven.body, size))) == events, f"{name}, {size} bytes a read"


def may_read(body: Recording, sdk: str) -> bool:
    """What an imitator of OpenAI leaves out of its chunks stays out, and one client is strict about that."""
    return sdk != "async-openai" or body.dialect != "openai"


def text_of(got: Got) -> dict[int, str]:
    """The text of each choice, chat or completions."""
    found: dict[int, str] = {}
    for chunk in got.said:
        for choice in chunk.get("choices", ()):
            content = (choice.get("delta") or {}).get("content") or choice.get("text") or ""
            pieces = content if isinstance(content, list) else [{"text": content}]
            text = "".join(piece.get("text") or "" for piece in pieces)
            found[choice.get("index", 0)] = found.get(choice.get("index", 0), "") + text
    return found


@pytest.mark.parametrize(
    ("body", "sdk"), [(body, sdk) for body in BODIES for sdk in SDKS if may_read(body, sdk)], ids=str
)
def test_every_sdk_of_openai_gets_the_answer(body: Recording, sdk: str):
    """
    From any upstream: the text, the end by its mark, and the upstream's error or a cut as an error.

    .NET's has no eye for errors in a chat; it gets the end, so that it does not wait for more.
    """
    driven = drive(body, [body.body], "openai")
    has_failed = driven.pipeline.outcome != "completed"

    got = SDKS[sdk](reads_of(driven.body, 100))

    assert text_of(got).get(0, "") == body.expected["text"]
    if not has_failed or sdk in SILENT_ABOUT_ERRORS:
        assert (got.error, got.ended) == (None, True)
        return
    message = body.error_message or "ended before its finish"
    assert message in got.error or json.dumps(message, ensure_ascii=False)[1:-1] in got.error


RESPONSES = [body for body in BODIES if body.dialect == "responses"]


@pytest.mark.parametrize("sdk", ["openai-go", "openai-java"])
@pytest.mark.parametrize("body", RESPONSES, ids=str)
def test_responses_are_read_to_their_end(body: Recording, sdk: str):
    """No event is taken for an error that is none, and the last one is the response as it ended."""
    driven = drive(body, [body.body], "responses")

    got = SDKS[sdk]([driven.body])

    if driven.pipeline.outcome != "completed":
        assert got.error is not None
        return
    assert got.error is None
    assert got.said[-1]["type"] in ("response.completed", "response.incomplete")
    deltas = [said["delta"] for said in got.said if said["type"] == "response.output_text.delta"]
    assert "".join(deltas) == body.expected["text"]


# ---- silence and failures ------------------------------------------------------------------------


def silent(*, has_content: bool) -> Drive:
    """A stream that is silent for minutes, and then fails."""
    driven = Drive("openai", heartbeat=15.0, hold=1.0, first_token=None, idle=None)
    driven.feed(ROLE + (word("Hi") if has_content else b""), 0.5)
    driven.wait(200.0)
    driven.fail("upstream_disconnected", 201.0)
    return driven


@pytest.mark.parametrize("sdk", [name for name in SDKS if name not in SILENT_ABOUT_ERRORS])
def test_a_failure_after_silence_is_raised(sdk: str):
    """The no-op chunks that kept the connection alive neither end the stream nor hide its error."""
    driven = silent(has_content=True)

    got = SDKS[sdk]([driven.body])

    assert driven.pipeline.stats.heartbeats > 5
    assert got.error is not None and "it broke" in got.error
    assert text_of(got) == {0: "Hi"}


@pytest.mark.parametrize("sdk", ["openai-go", "openai-java", "async-openai"])
def test_a_failure_after_comments_is_raised(sdk: str):
    """Before the first content the signs of life are comments."""
    driven = silent(has_content=False)

    got = SDKS[sdk]([driven.body])

    assert byte_profile.BEAT * 2 in driven.body
    assert got.error is not None and "it broke" in got.error


def test_comments_hide_a_failure_from_go_openai():
    """
    A limit of that client: it gathers comments as part of an error, and gets an empty chunk for it.

    The stream's end is there all the same.
    """
    got = go_openai([silent(has_content=False).body])

    assert (got.error, got.ended) == (None, True)
    assert got.said[-1] == {}


# ---- the readers themselves ----------------------------------------------------------------------

CHUNK = b'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[]}\n\n'


@pytest.mark.parametrize("read", [openai_go, openai_java])
def test_an_error_that_is_null_is_one(read):
    """Why a chunk may not say so, however innocent it is."""
    assert read([CHUNK.replace(b"{", b'{"error":null,', 1)]).error is not None


def test_a_body_without_its_mark_has_not_ended():
    """What async-openai would ask for a second time."""
    assert not SDKS["async-openai"]([CHUNK]).ended
    assert SDKS["async-openai"]([CHUNK + DONE]).ended


def test_a_bom_ends_a_rust_client():
    """And BOMs are never written."""
    with pytest.raises(Broken):
        list(EVENT_READERS["Rust"]([b"\xef\xbb\xbf" + CHUNK]))


def test_go_openai_bears_no_more_than_300_lines_without_data():
    """Seventy-five minutes of heartbeats, one every 15 s, before the first content."""
    go_openai([b":\n" * 298 + CHUNK + STOP + DONE])
    with pytest.raises(Broken):
        go_openai([b":\n" * 301 + CHUNK])
