import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssegate.wire.errors import WireError
from ssegate.wire.framing import FRAMINGS

from .bodies import bytewise, framed


def payloads(framing, pieces, max_event=1 << 20):
    return [frame.data for frame in framed(framing, pieces, max_event)]


@pytest.mark.parametrize(
    ("body", "lines"),
    [
        (b'{"a":1}\n{"b":2}\n', [b'{"a":1}', b'{"b":2}']),
        (b'{"a":1}\r\n\r\n{"b":2}', [b'{"a":1}', b'{"b":2}']),
        (b'\xef\xbb\xbf{"a":1}\n', [b'{"a":1}']),
        (b'\x1e{"a":1}\n\x1e{"b":2}\n', [b'{"a":1}', b'{"b":2}']),
        (b"\n \n\t\r\n", []),
        (b"", []),
    ],
)
def test_a_line_is_a_frame(body, lines):
    """Blank lines, CRs, record separators and a BOM are no part of a document; the last newline may lack."""
    assert payloads("ndjson", [body]) == lines
    assert payloads("ndjson", bytewise(body)) == lines


def test_a_last_line_without_its_newline_is_marked():
    """A cut line must not be taken for a broken one."""
    assert [frame.irregular for frame in framed("ndjson", [b'{"a":1}\n{"b"'])] == ["", "unfinished"]


@pytest.mark.parametrize("body", [b'{"a":1}\n{"aaaaaa":1}\n', b'{"a":1}\n{"aaaaaa"'])
def test_lines_before_one_that_is_too_large_are_yielded(body):
    """What was whole is not lost."""
    framer = FRAMINGS["ndjson"](8)
    frames = framer.feed(body)

    assert next(frames).data == b'{"a":1}'
    with pytest.raises(WireError) as caught:
        next(frames)
    assert caught.value.code == "event_too_large"


def test_a_document_is_one_frame_at_its_end():
    """Blank lines before it are keepalives; nothing leaves before the end."""
    framer = FRAMINGS["json"](64)

    assert (
        not list(framer.feed(b"\n\n  \r\n"))
        and not list(framer.feed(b'{\n "a": 1\n'))
        and not list(framer.feed(b"}\n"))
    )
    assert [frame.data for frame in framer.close()] == [b'{\n "a": 1\n}']
    assert payloads("json", [b"\n" * 100, b'\xef\xbb\xbf{"a":1}'], 8) == [b'{"a":1}']
    assert payloads("json", [b" \n"]) == []


def test_a_document_has_a_cap():
    """A document above ``max_event`` is an error as soon as it is."""
    with pytest.raises(WireError) as caught:
        list(FRAMINGS["json"](8).feed(b'{"a":"123456789"}'))

    assert caught.value.code == "event_too_large"


@given(st.text(), st.lists(st.integers(1, 5), min_size=1))
def test_text_is_whole_characters(text, sizes):
    """However characters are cut, each frame is valid UTF-8 and together they are the text."""
    body = text.encode()
    pieces, at = [], 0
    while at < len(body):
        size = sizes[len(pieces) % len(sizes)]
        pieces.append(body[at : at + size])
        at += size

    assert "".join(data.decode() for data in payloads("text", pieces)) == text.removeprefix("\ufeff")


def test_what_is_no_utf_8_is_replaced():
    """Invalid bytes become U+FFFD, and so does a character whose rest never comes."""
    assert payloads("text", [b"a\xffb", b"\xe2\x82"]) == ["a\ufffdb".encode(), "\ufffd".encode()]
