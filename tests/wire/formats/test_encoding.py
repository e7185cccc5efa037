import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ssegate.wire.formats.encoding import compact, encoded, quoted, sse_event, with_key

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(st.text(st.characters(codec=None, exclude_categories=[])))
def test_any_string_becomes_json(text):
    """One line of valid UTF-8; only lone surrogates are replaced."""
    written = quoted(text).decode()

    assert "\n" not in written
    assert json.loads(written) == text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


@given(st.text(st.sampled_from("a’語 \x85\u2028\u2029\n\u3000")))
def test_no_string_ends_a_line(text):
    """Who splits lines as Unicode does, by httpx's ``iter_lines``, find one line and the same text."""
    for written in (quoted(text), encoded({text: [text]})):
        assert len(written.decode().splitlines()) == 1

    assert json.loads(quoted(text)) == text
    assert json.loads(encoded({text: [text]})) == {text: [text]}


@given(st.dictionaries(st.text(), JSON), st.sampled_from([None, 1]))
@settings(max_examples=30)
def test_a_document_is_put_on_one_line(document, indent):
    """Pretty or not, whatever its strings hold, it says the same."""
    text = json.dumps(document, indent=indent, ensure_ascii=False)

    written = compact(text)

    assert len(written.decode().splitlines()) == 1
    assert json.loads(written) == document


def test_numbers_stay_as_they_are_written():
    """An id of twenty digits, a price of 1.50: who reads them decides what they are."""
    assert compact('{"a": 12345678901234567890,\n "b": [1.50, 1E2]}') == (
        b'{"a":12345678901234567890,"b":[1.50,1E2]}'
    )


@pytest.mark.parametrize("document", ["", "{", '{"a":NaN}', "{} {}", '"\ud83d"', "[" * 100_000])
def test_what_is_no_json_is_not_put_on_a_line(document):
    """Nothing is guessed."""
    assert compact(document) is None


def test_objects_are_mended_at_any_depth():
    """Keys and values in lists and objects; what is no string stays."""
    assert json.loads(encoded({"\ud83d": [{"a": "\udc00"}, 1, None]})) == {
        "\ufffd": [{"a": "\ufffd"}, 1, None]
    }


@settings(max_examples=30)  # deep documents are slow to make
@given(st.dictionaries(st.text(), JSON), st.sampled_from([None, 1]))
def test_a_key_is_added_to_any_object(document, indent):
    """Compact or pretty, empty or full of braces: everything else stays as it was."""
    text = json.dumps(document, indent=indent) + "  "

    read = json.loads(with_key(text.encode(), b"ssegate", b'{"t":1}'))

    assert read == {**document, "ssegate": {"t": 1}}


@pytest.mark.parametrize(
    ("document", "value"), [(b'{"a":1}', b""), (b"[1]", b"{}"), (b'[{"a":1}]', b"{}"), (b"", b"{}")]
)
def test_no_key_is_added_to_what_has_no_room(document, value):
    """Nothing to add, or no object to add it to."""
    assert with_key(document, b"ssegate", value) == document


def test_an_event_is_one_whole_block():
    """Name and ID where there are any; each line of the data is a field of its own, blanks and all."""
    assert sse_event(b"{}") == b"data: {}\n\n"
    assert sse_event(b" a\n\nb", "output", "7:0") == b"id: 7:0\nevent: output\ndata:  a\ndata: \ndata: b\n\n"
