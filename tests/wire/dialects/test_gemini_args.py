import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssegate.wire.dialects.gemini_args import PartialArgs
from ssegate.wire.dialects.gemini_chunk import PartialArg
from ssegate.wire.errors import WireError


def written(*parts):
    """The text of each part, and what ends it."""
    args = PartialArgs()
    return [*(args.add(part) for part in parts), args.close()]


def string(path, value):
    return PartialArg(path, stringValue=value, willContinue=True)


def test_arguments_grow_as_text():
    """Each part is told at once; a string stays open until something else comes."""
    assert written(
        string("$.city", "Bos"),
        string("$.city", 'ton "MA"'),
        PartialArg("$.days", numberValue=3),
        PartialArg("$.exact", boolValue=False),
        PartialArg("$.unit", nullValue=msgspec.Raw(b'"NULL_VALUE"')),
    ) == ['{"city":"Bos', 'ton \\"MA\\"', '","days":3', ',"exact":false', ',"unit":null', "}"]


def test_objects_and_lists_open_and_close_with_their_paths():
    """A path tells the containers that a value is in."""
    assert written(
        string("$.recipe.name", "Lasagne"),
        string("$.recipe.steps[0].text", "boil"),
        string("$.recipe.steps[1].text", "bake"),
        PartialArg("$.tags[0][0]", numberValue=1.5),
        PartialArg("$.tags[1]", numberValue=2),
    ) == [
        '{"recipe":{"name":"Lasagne',
        '","steps":[{"text":"boil',
        '"},{"text":"bake',
        '"}]},"tags":[[1.5',
        "],2",
        "]}",
    ]


@pytest.mark.parametrize(
    ("path", "name"),
    [("$.a b", "a b"), ("$['a.b']", "a.b"), ('$["it[0]"]', "it[0]"), ("a", "a"), ("$['']", "")],
)
def test_names_of_any_kind(path, name):
    """Dots, brackets and blanks may be part of a quoted name."""
    text = "".join(written(PartialArg(path, numberValue=1)))

    assert json.loads(text) == {name: 1}


@pytest.mark.parametrize("part", [PartialArg(), PartialArg("$"), PartialArg("$.a"), PartialArg(None, "x")])
def test_a_part_without_place_or_value_says_nothing(part):
    """There is nothing to tell; without any part there are no arguments."""
    assert written(part) == ["", ""]


@pytest.mark.parametrize(
    ("parts", "arguments"),
    [
        ([string("$.a", "x"), string("$.b", "y"), string("$.a", "z")], {"a": "xz", "b": "y"}),
        (
            [string("$.a.b", "x"), string("$.c", "y"), string("$.a.d", "z"), string("$.c", "!")],
            {"a": {"b": "x", "d": "z"}, "c": "y!"},
        ),
        ([PartialArg("$.a[1]", numberValue=1), PartialArg("$.a[0]", numberValue=0)], {"a": [0, 1]}),
        ([PartialArg("$.a", numberValue=1), PartialArg("$.a", numberValue=2)], {"a": 2}),
        ([PartialArg("$.a", numberValue=1), PartialArg("$.a.b", numberValue=2)], {"a": {"b": 2}}),
        ([string("$.a.b", "x"), PartialArg("$.a", numberValue=2), string("$.a.b", "y")], {"a": {"b": "y"}}),
        ([string("$[0]", "x"), string("$.a", "y")], {"0": "x", "a": "y"}),
    ],
)
def test_parts_out_of_order(parts, arguments):
    """What has been told stays; the member is told once more, and its last value counts."""
    assert json.loads("".join(written(*parts))) == arguments


def test_half_a_character_waits_for_its_other_half():
    """JSON text can hold either half; together they are one character."""
    text = "".join(written(string("$.a", "\ud83d"), string("$.a", "\ude00")))

    assert json.loads(text) == {"a": "😀"}


def test_depth_is_bounded():
    """Nobody's arguments are nested like that."""
    with pytest.raises(WireError):
        written(PartialArg("$" + ".a" * 101, numberValue=1))


LEAVES = st.one_of(st.none(), st.booleans(), st.integers(-9, 9), st.text('ab"\\\n', min_size=1, max_size=4))
OBJECTS = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, min_size=1, max_size=3)
        | st.dictionaries(st.text("ab.[]x", max_size=3), inner, min_size=1, max_size=3)
    ),
    max_leaves=8,
)


def parts_of(value, path="$"):
    """The parts that an upstream would send of *value*, strings in two pieces."""
    if isinstance(value, dict):
        return [part for name, inner in value.items() for part in parts_of(inner, f"{path}['{name}']")]
    if isinstance(value, list):
        return [part for at, inner in enumerate(value) for part in parts_of(inner, f"{path}[{at}]")]
    if isinstance(value, str):
        return [string(path, value[:1]), string(path, value[1:])]
    if isinstance(value, bool):
        return [PartialArg(path, boolValue=value)]
    return [
        PartialArg(path, nullValue=msgspec.Raw(b"null"))
        if value is None
        else PartialArg(path, numberValue=value)
    ]


@given(st.dictionaries(st.text("ab.x", max_size=3), OBJECTS, min_size=1, max_size=3), st.randoms())
def test_any_arguments_arrive(arguments, chance):
    """In order they are told once, byte for byte; in any other order they still add up."""
    parts = parts_of(arguments)

    assert "".join(written(*parts)) == json.dumps(arguments, separators=(",", ":"))

    chance.shuffle(parts)
    assert keys_of(json.loads("".join(written(*parts)))) == keys_of(arguments)


def keys_of(value):
    """A value without its strings, whose pieces may have changed places."""
    if isinstance(value, dict):
        return {name: keys_of(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [keys_of(inner) for inner in value]
    return "" if isinstance(value, str) else value
