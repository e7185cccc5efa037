import json

import pytest
from wire.driving import DONE, SSE, line, message, word

from ssegate.wire.errors import NotAStream, WireError
from ssegate.wire.recognition import Recogniser

ANSWER = json.dumps(
    {"object": "chat.completion", "choices": [{"message": {"content": "Hi"}, "finish_reason": "stop"}]}
).encode()
START = message(type="message_start", message={"id": "m", "model": "c"})
OLLAMA = line(message={"content": "Hi"}, done=False)


def recogniser(content_type=SSE, dialect="auto", max_event=1 << 20):
    return Recogniser(dialect, content_type, max_event)


def rejected(body, content_type=SSE, dialect="auto"):
    """The verdict on a body that is none of ours."""
    one = recogniser(content_type, dialect)
    with pytest.raises(NotAStream) as verdict:
        one.feed(body)
        one.feed(b"", at_end=True)
    if not verdict.value.code:
        assert bytes(one.head) == body  # to be passed on, whole
    return verdict.value


@pytest.mark.parametrize(
    ("body", "dialect"), [(word("Hi"), "openai"), (START, "anthropic"), (OLLAMA, "ollama")]
)
@pytest.mark.parametrize("content_type", [SSE, "Text/Event-Stream;charset=utf-8", "application/json", None])
def test_a_dialect_shows_in_its_first_frame(body, dialect, content_type):
    """The bytes decide, whatever the label says; the frames found on the way come along."""
    found = recogniser(content_type).feed(body)

    assert found.dialect.name == dialect
    assert (len(found.frames), found.fault) == (1, None)


def test_a_body_may_arrive_byte_by_byte():
    """As long as nothing can be said, nothing is."""
    one = recogniser()
    found = [one.feed(word("Hi")[at : at + 1]) for at in range(len(word("Hi")))]

    assert found[:-1] == [None] * (len(found) - 1)
    assert found[-1].dialect.name == "openai"


def test_frames_that_say_nothing_are_waited_out_and_kept():
    """A ping before the first word is anybody's."""
    one = recogniser()

    assert one.feed(b"event: ping\ndata: {}\n\n") is None
    found = one.feed(START)
    assert [frame.event for frame in found.frames] == ["ping", "message_start"]


def test_a_named_dialect_is_believed():
    """Nothing is waited for then."""
    assert recogniser(dialect="anthropic").feed(b": hello\n\n").dialect.name == "anthropic"
    assert recogniser(dialect="openai").feed(b"data: [DONE]\n\n").dialect.name == "openai"


def test_a_complete_answer_is_one_frame():
    """That it is whole can be told only at its end."""
    one = recogniser("application/json")

    assert one.feed(ANSWER) is None
    found = one.feed(b"", at_end=True)
    assert (found.dialect.name, [frame.data for frame in found.frames]) == ("openai", [ANSWER])


@pytest.mark.parametrize("dialect", ["auto", "text"])
def test_plain_text_is_a_dialect(dialect):
    """What `text/plain` brings is the answer itself."""
    found = recogniser("text/plain", dialect).feed("Grüße\n".encode())

    assert found.dialect.name == "text"
    assert b"".join(frame.data for frame in found.frames) == "Grüße\n".encode()


def test_text_by_name_is_not_looked_into():
    """A route that says `text` gets text, even if it looks like something else."""
    found = recogniser(SSE, "text").feed(word("Hi"))

    assert (found.dialect.name, found.frames[0].data) == ("text", word("Hi"))


def test_plain_text_where_another_dialect_was_named_is_refused():
    """It cannot be what the route promises."""
    verdict = rejected(b"Bad gateway\n", "text/plain", "openai")

    assert verdict.code == "upstream_content_type"
    assert "openai" in str(verdict)


@pytest.mark.parametrize("dialect", ["auto", "openai"])
@pytest.mark.parametrize("body", [b"", b" \n\n", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("content_type", [SSE, "application/json", "text/plain", None])
def test_no_body_is_an_error(body, dialect, content_type):
    """White space is no answer either."""
    assert rejected(body, content_type, dialect).code == "upstream_empty"


@pytest.mark.parametrize("content_type", ["text/html", SSE, "application/json", None])
def test_a_page_is_an_error(content_type):
    """Nobody asked for HTML, whatever it is called."""
    assert rejected(b"<!DOCTYPE html><title>Login</title>", content_type).code == "upstream_content_type"


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("image/png", b"\x89PNG\r\n\x1a\n"),
        ("audio/mpeg", b"data: not an event\n\n"),
        ("video/mp4", b"{}"),
        ("application/octet-stream", b"\x00\x01"),
        (None, b"\x00\x01"),
        ("application/json", b'{"object":"list","data":[]}'),
        ("application/json", b"[1, 2]"),
        ("application/json", b'[{"a":1}, {"b":2}]'),
        ("application/json", b'[{"a":1}, 2]'),
        ("application/json", b"broken"),
        ("application/x-ndjson", b'{"a":1}\n{"b":2}\n'),
    ],
)
def test_what_is_no_llm_answer_is_passed_on(content_type, body):
    """Other JSON, pictures, sounds, anything binary: no code, so that it goes to the client as it is."""
    assert rejected(body, content_type).code == ""


@pytest.mark.parametrize("body", [b"data: hello\n\n", b'data: {"foo":1}\n\n', b'data: {"foo":1}'])
def test_events_in_no_known_dialect_are_an_error(body):
    """Passing them on would look like an answer; the message repeats nothing, it may quote a prompt."""
    verdict = rejected(body)

    assert verdict.code == "upstream_content_type"
    assert f"{len(body)} bytes" in str(verdict) and "foo" not in str(verdict)


@pytest.mark.parametrize("body", [b": hi\n\n", b"data: {", b'data: {"id":"chatcm', b"event: message_st"])
def test_events_cut_inside_the_first_are_a_cut(body):
    """What would have come nobody knows; that it broke off is certain."""
    assert rejected(body).code == "upstream_truncated"


def test_a_line_of_json_cut_inside_the_first_is_a_cut():
    """The same for lines of JSON that say so by their label."""
    assert rejected(OLLAMA[:-9], "application/x-ndjson").code == "upstream_truncated"


def test_endless_pings_are_given_up_on():
    """A stream that says nothing in any dialect is not gathered for ever."""
    one = recogniser()

    with pytest.raises(NotAStream) as verdict:
        for _ in range(1000):
            assert one.feed(b"event: ping\ndata: {}\n\n") is None
    assert verdict.value.code == "upstream_content_type"
    assert len(one.head) < 10_000


def test_a_flood_of_comments_takes_no_room():
    """An event stream is never passed on, so nothing of it is kept but its events."""
    one = recogniser()
    for _ in range(5000):
        assert one.feed(b": OPENROUTER PROCESSING\n\n") is None

    assert one.head == b""
    assert one.feed(word("Hi")).dialect.name == "openai"


@pytest.mark.parametrize(
    ("content_type", "code"), [(SSE, "upstream_content_type"), ("application/x-ndjson", "")]
)
def test_large_events_of_nobody_are_given_up_on(content_type, code):
    """`max_event` bounds what is kept while the dialect is unknown."""
    one = recogniser(content_type, max_event=10_000)
    mark = b"data: " if content_type == SSE else b""

    with pytest.raises(NotAStream) as verdict:
        for _ in range(30):
            assert one.feed(mark + b'{"a": "%b"}\n\n' % (b"x" * 3000)) is None
    assert verdict.value.code == code


def test_a_body_that_could_still_be_anything_is_not_gathered_for_ever():
    """`max_event` bounds what is kept before the framing is known."""
    one = recogniser("application/json", max_event=1000)

    with pytest.raises(NotAStream) as verdict:
        for _ in range(1000):
            assert one.feed(b" " * 100) is None
    assert verdict.value.code == ""
    assert len(one.head) <= 1100


@pytest.mark.parametrize("content_type", [SSE, "application/json", None])
def test_a_flood_of_blank_lines_is_waited_out(content_type):
    """Some upstreams send them while they think; each is looked at once."""
    one = recogniser(content_type, max_event=1 << 24)
    for _ in range(500):
        assert one.feed(b"\r\n" * 2000) is None

    assert one.feed(word("Hi")).dialect.name == "openai"


def test_a_fault_before_any_dialect_shows_is_told():
    """An event too large to be kept, and nothing before it that says whose it is."""
    with pytest.raises(WireError) as fault:
        recogniser(max_event=100).feed(b"data: " + b"x" * 200 + b"\n\n")

    assert fault.value.code == "event_too_large"


def test_a_fault_behind_the_first_frames_does_not_swallow_them():
    """What was whole is told first."""
    found = recogniser(max_event=300).feed(word("Hi") + b"data: " + b"x" * 400 + b"\n\n" + DONE)

    assert (found.dialect.name, len(found.frames)) == ("openai", 1)
    assert found.fault.code == "event_too_large"
