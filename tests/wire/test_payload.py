"""Members of any shape: kept as they were written, read when they are needed."""

import msgspec
import pytest

from ssegate.wire.payload import NOTHING, argument_text, is_given, repair, says


class Model(msgspec.Struct):
    value: msgspec.Raw = NOTHING
    text: str | None = None


def read(written):
    """What a decoder keeps of *written*, a value of JSON in bytes."""
    return msgspec.json.Decoder(Model).decode(b'{"value": %b }' % written).value


@pytest.mark.parametrize(
    ("written", "text"),
    [
        (b"null", ""),
        (b'""', ""),
        (b'"{\\"a\\": 1}"', '{"a": 1}'),
        (
            b'{ "a" : [1, 2.50, 1e5, 12345678901234567890123], "b" : " { " }',
            '{"a":[1,2.50,1e5,12345678901234567890123],"b":" { "}',
        ),
        ('"h\u00e9"'.encode(), "h\u00e9"),
        (b'"\\ud83d\\ude00"', "\U0001f600"),
        (b'{"a":"\\u00e9"}', '{"a":"\\u00e9"}'),
        (b'"a\xffb"', "a\ufffdb"),
        (b'{"a":"\xff"}', '{"a":"\ufffd"}'),
        (b"7", "7"),
    ],
)
def test_arguments_are_text(written, text):
    """Strings are their inside, all else is what was written without its blanks; numbers lose nothing."""
    assert argument_text(read(written)) == text


def test_arguments_that_are_not_there_are_empty():
    """Missing is like null."""
    assert argument_text(NOTHING) == ""
    assert not is_given(NOTHING) and not is_given(read(b"null")) and is_given(read(b"{}"))


@pytest.mark.parametrize("written", [b"null", b"false", b"0", b'""', b"[ ]", b"{\n}"])
def test_what_says_nothing(written):
    """Some vendors write an error into every chunk, one that is none."""
    assert not says(read(written))


@pytest.mark.parametrize(
    "written", [b"true", b"1", b'"a"', b'"\xff"', b"[0]", b'{"a":0}', b'"%b"' % (b"a" * 99)]
)
def test_what_says_something(written):
    """Whatever is not empty."""
    assert says(read(written))


def test_what_was_repaired_is_kept_in_the_same_form():
    """NaN has no place in JSON; a half of a character stays the escape that it was."""
    model = repair(b'{"value": {"a": NaN, "b": [1, "\xff"]}, "text": 7}', Model)

    assert (argument_text(model.value), model.text) == ('{"a":null,"b":[1,"\ufffd"]}', None)
    assert (
        argument_text(repair(b'{"value": {"a": "\\ud83d"}, "text": NaN}', Model).value) == '{"a":"\\ud83d"}'
    )
    assert repair(b'{"value": null, "x": NaN}', Model).value == NOTHING
