import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssegate.wire.errors import WireError
from ssegate.wire.events import Frame
from ssegate.wire.framing import FRAMINGS

from .bodies import PLENTY, bytewise, cut_at, framed, outcome


def payloads(framing, body):
    """The payloads, the same whole and byte by byte."""
    whole = [frame.data for frame in framed(framing, [body])]
    assert [frame.data for frame in framed(framing, bytewise(body))] == whole
    return whole


@pytest.mark.parametrize(
    ("body", "elements"),
    [
        (b'[{"a":1},{"b":2}]', [b'{"a":1}', b'{"b":2}']),
        (b'[{"a":1}\n,\r\n{"b":2}\n]\n', [b'{"a":1}', b'{"b":2}']),
        (b'[{\n  "a": 1\n}\n,\r\n{\n  "b": 2\n}\n]', [b'{\n  "a": 1\n}', b'{\n  "b": 2\n}']),
        (b'\xef\xbb\xbf\n [\n\n{"a":1}]', [b'{"a":1}']),
        (b'[{"a":1}\n\n\n\n  ,\n\n{"b":2}]', [b'{"a":1}', b'{"b":2}']),
        (b'[{"a":"]},{["}]', [b'{"a":"]},{["}']),
        (b'[{"a":"\\"}"},{"b":"\\\\"}]', [b'{"a":"\\"}"}', b'{"b":"\\\\"}']),
        (b'[{"a":"\\\\\\"}]"}]', [b'{"a":"\\\\\\"}]"}']),
        (b'[{"a":[{"b":[{}]}]},{}]', [b'{"a":[{"b":[{}]}]}', b"{}"]),
        ('[{"ü":"€"}]'.encode(), ['{"ü":"€"}'.encode()]),
        (b'[{"a":1} {"b":2},,{"c":3},]', [b'{"a":1}', b'{"b":2}', b'{"c":3}']),
        (b"[]", []),
        (b"", []),
    ],
)
def test_an_element_is_a_frame(body, elements):
    """Pretty-printed or not, with brackets and escapes inside; blanks and lost commas say nothing."""
    assert payloads("json-array", body) == elements


def test_an_element_does_not_wait_for_what_follows():
    """It is there with its closing brace."""
    framer = FRAMINGS["json-array"](PLENTY)

    assert [frame.data for frame in framer.feed(b'[{"a":1}')] == [b'{"a":1}']
    assert list(framer.feed(b"\n,\r\n{")) == []
    assert [frame.data for frame in framer.feed(b"}")] == [b"{}"]


@pytest.mark.parametrize("body", [b'[{"a":1},{"b"', b'[{"a":1},{"b":"}', b'[{"a":1},{"b":"\\'])
def test_an_element_that_is_cut_off_is_marked(body):
    """The last one is yielded at the end as far as it came."""
    assert framed("json-array", [body])[1:] == [Frame("", body[9:], irregular="unfinished")]


@pytest.mark.parametrize(
    ("body", "has_ended"),
    [
        (b"[", False),
        (b"[{}", False),
        (b"[{},", False),
        (b'[{"a":"]"}', False),
        (b"[{}]", True),
        (b"[]", True),
    ],
)
def test_the_end_of_the_array_is_told(body, has_ended):
    """Its own bracket alone is the end, none inside an element."""
    for pieces in ([body], bytewise(body)):
        framer = FRAMINGS["json-array"](PLENTY)
        assert framer.has_ended is False
        for piece in pieces:
            list(framer.feed(piece))

        assert framer.has_ended is has_ended


@pytest.mark.parametrize("rest", [b"\n", b"words", b"<html>", b',{"late":1}', b'[{"late":1}]', b"]]"])
def test_what_follows_the_array_is_dropped(rest):
    """Whatever it is, in the same read or later."""
    assert payloads("json-array", b'[{"a":1}]' + rest) == [b'{"a":1}']


@pytest.mark.parametrize("garbage", [b"words", b"1", b"null", b'"a"', b":", b"}", b"<html>", b"\0", b"\x1e"])
def test_anything_but_objects_is_an_error(garbage):
    """In place of an element or between two; what was whole before it is not lost, nothing is quoted."""
    body = b'[{"a":1},' + garbage + b',{"b":2}]'

    assert outcome("json-array", [body]) == ([Frame("", b'{"a":1}')], "upstream_bad_event")
    assert outcome("json-array", bytewise(body)) == outcome("json-array", [body])
    with pytest.raises(WireError) as caught:
        framed("json-array", [body])
    assert garbage.decode() not in str(caught.value).split()


@pytest.mark.parametrize(
    ("body", "whole"),
    [
        (b'[{"a":1},{"a":12}]', 1),
        (b'[{"a":12}]', 0),
        (b'[{"a":1},{"a":"12', 1),
        (b'[{"a":"endless', 0),
        (b"[{       }", 0),
    ],
)
@pytest.mark.parametrize("cut", [lambda body: [body], bytewise], ids=["whole", "bytewise"])
def test_no_element_is_larger_than_the_cap(body, whole, cut):
    """Neither a finished one nor one without an end; those before it are yielded."""
    frames, fault = outcome("json-array", cut(body), max_event=7)

    assert ([frame.data for frame in frames], fault) == ([b'{"a":1}'] * whole, "event_too_large")


def test_an_element_as_large_as_the_cap_is_allowed():
    """What stands between elements does not count."""
    body = b"[" + b"\n" * 100 + b'{"a":1}' + b" " * 100 + b',{"b":2}]'

    assert len(framed("json-array", [body], max_event=7)) == 2
    assert len(framed("json-array", bytewise(body), max_event=7)) == 2


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


@given(
    st.lists(st.dictionaries(st.text(), JSON, max_size=4), max_size=5),
    st.sampled_from([None, 1, 2]),
    st.booleans(),
    st.data(),
)
def test_any_array_of_objects_comes_out_as_it_is(objects, indent, is_ascii, data):
    """However it is written and cut, each element is JSON again, and the same."""
    body = json.dumps(objects, indent=indent, ensure_ascii=is_ascii).encode(errors="surrogatepass")
    cuts = data.draw(st.sets(st.integers(0, len(body)), max_size=8))

    frames = framed("json-array", cut_at(body, cuts))

    assert [json.loads(frame.data.decode(errors="surrogatepass")) for frame in frames] == objects


@pytest.mark.parametrize(
    ("body", "documents"),
    [
        (b'\x1e{"a":1}\n\x1e{"b":2}\n', [b'{"a":1}', b'{"b":2}']),
        (b'\x1e{\n  "a": 1\n}\n\x1e{}\n', [b'{\n  "a": 1\n}', b"{}"]),
        (b'{"a":1}\n{"b":2}', [b'{"a":1}', b'{"b":2}']),
        (b'\xef\xbb\xbf\x1e\x1e\n\n\x1e{"a":"\\u001e"}', [b'{"a":"\\u001e"}']),
        (b"\x1e\n", []),
    ],
)
def test_a_document_of_a_sequence_is_a_frame(body, documents):
    """With line ends inside or not, behind one record separator, several or none."""
    assert payloads("json-seq", body) == documents


def test_a_document_does_not_wait_for_the_next_separator():
    """It is there with its closing brace; one that is cut off is marked."""
    framer = FRAMINGS["json-seq"](PLENTY)

    assert [frame.data for frame in framer.feed(b'\x1e{"a":1}')] == [b'{"a":1}']
    assert list(framer.feed(b'\n\x1e{"b"')) == []
    assert list(framer.close()) == [Frame("", b'{"b"', irregular="unfinished")]


@pytest.mark.parametrize("garbage", [b"[]", b"1", b"words", b","])
def test_anything_but_objects_in_a_sequence_is_an_error(garbage):
    """No dialect has anything else."""
    body = b'\x1e{"a":1}\n\x1e' + garbage + b"\n"

    assert outcome("json-seq", [body]) == ([Frame("", b'{"a":1}')], "upstream_bad_event")
