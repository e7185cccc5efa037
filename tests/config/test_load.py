"""YAML 1.2, marks, merges, duplicates."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssegate.config.load import read


def tree(text):
    document = read(text, "ssegate.yaml", {})
    assert document.problems == []
    return document.tree


def problems(text):
    return [
        (problem.path, problem.message, problem.at) for problem in read(text, "ssegate.yaml", {}).problems
    ]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        # Strings in 1.2, something else in 1.1.
        ("off", "off"),
        ("on", "on"),
        ("yes", "yes"),
        ("no", "no"),
        ("y", "y"),
        ("Off", "Off"),
        ("8080:30", "8080:30"),
        ("1:30", "1:30"),
        ("2026-11-22", "2026-11-22"),
        ("1_000", "1_000"),
        ("0b11", "0b11"),
        ("=", "="),
        ("<<", "<<"),
        # Numbers of 1.2's core schema.
        ("010", 10),
        ("0o10", 8),
        ("0x1F", 31),
        ("-7", -7),
        ("+7", 7),
        ("1e3", 1000.0),
        ("1.", 1.0),
        (".5", 0.5),
        ("-1.5E-3", -0.0015),
        (".inf", math.inf),
        ("-.INF", -math.inf),
        ("true", True),
        ("TRUE", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("tRUE", "tRUE"),
        ("0xg", "0xg"),
        ("1e", "1e"),
        ("'5'", "5"),
        ('"true"', "true"),
        ("!!str 5", "5"),
        ("!!int '5'", 5),
        ("|\n  off\n", "off\n"),
    ],
)
def test_scalars_are_what_yaml_1_2_says(text, value):
    """The core schema of YAML 1.2, not what PyYAML reads by itself."""
    found = tree(f"key: {text}\n")["key"]

    assert found == value
    assert type(found) is type(value)


def test_nan_is_a_float():
    """The one number that is not equal to itself."""
    assert math.isnan(tree("key: .NaN\n")["key"])


def test_keys_are_text_as_written():
    """A key is never a number or a boolean."""
    assert tree("{1: a, true: b, off: c, 1.0: d}") == {"1": "a", "true": "b", "off": "c", "1.0": "d"}


def test_a_mapping_is_merged_below_its_own_keys():
    """`<<` puts keys in where there are none of that name, the first of a list first."""
    text = """
x-base: &base {a: 1, b: 1}
x-more: &more {b: 2, c: 2}
one: {<<: *base, b: 9}
two: {<<: [*base, *more]}
three: {b: 9, <<: *more}
"""
    assert tree(text) == {"one": {"a": 1, "b": 9}, "two": {"a": 1, "b": 1, "c": 2}, "three": {"b": 9, "c": 2}}


def test_keys_that_begin_with_x_are_free_at_the_top_only():
    """`x-` keys hold anchors; deeper down they are keys like others."""
    assert tree("x-any: {a: ${unset}}\nb: {x-c: 1}\n".replace("${unset}", "'${unset}'")) == {"b": {"x-c": 1}}


def test_a_merged_value_stands_where_it_is_written():
    """The place of a merged value is in the anchor."""
    source = read("x-a: &a\n  idle: 3\nb: {<<: *a}\n", "f", {}).source

    assert source.values[("b", "idle")] == (1, 8)
    assert source.keys[("b", "idle")] == (1, 2)


@pytest.mark.parametrize(
    ("text", "path", "message", "at"),
    [
        ("a: 1\nb: 2\na: 3\n", ("a",), "duplicate key (first on line 1)", (2, 0)),
        ("b: {a: 1, 'a': 2}\n", ("b", "a"), "duplicate key (first on line 1)", (0, 10)),
        ("c: &c {a: 1, a: 2}\n", ("c", "a"), "duplicate key (first on line 1)", (0, 13)),
        ("[a]: 1\n", (), "a key must be a plain word", (0, 0)),
        ("${A}: 1\n", ("${A}",), "${…} is replaced in values only, not in keys", (0, 0)),
        ("a: {<<: 5}\n", ("a", "<<"), "can merge only another mapping, or a list of them", (0, 4)),
        ("a: &a {<<: *a}\n", ("a", "<<"), "can merge only another mapping, or a list of them", (0, 7)),
    ],
)
def test_a_mapping_that_is_not_clear_is_a_problem(text, path, message, at):
    """Each fault has its place."""
    assert problems(text) == [(path, message, at)]


@pytest.mark.parametrize(
    "text", ["a: !!python/object:os.system x", "a: !foo x", "a: !!set {b}", "a: !!binary eA=="]
)
def test_tags_beyond_the_core_schema_are_refused(text):
    """No object is ever made of a tag."""
    (problem,) = problems(text)
    assert problem[:2] == (("a",), "unknown tag: only plain values, lists and mappings are read")


@pytest.mark.parametrize("text", ["a: !!int x", "a: !!float x", "a: " + "9" * 5000])
def test_a_number_that_cannot_be_read_is_refused(text):
    """Its tag says a number, its text does not, or it is too long for one."""
    ((path, message, _),) = problems(text)
    assert path == ("a",)
    assert message.startswith("cannot be read as ")


def test_text_that_is_no_unicode_is_refused():
    """A lone surrogate cannot be in a file, but can be in a string."""
    assert problems("a: \ud800")[0][1].startswith("not YAML: ")


def test_a_value_that_holds_itself_is_refused():
    """A loop of aliases ends in a problem, not in a loop."""
    assert problems("a: &a [1, *a]\n")[0][:2] == (("a", 1), "refers to itself")


def test_aliases_of_aliases_do_not_explode():
    """Ten lines that stand for a billion values are refused in a moment."""
    lines = ["x0: &x0 [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]"]
    lines += [f"a{n}: &x{n} [{', '.join([f'*x{n - 1}'] * 10)}]" for n in range(1, 10)]

    assert any(message == "too many values" for _, message, _ in problems("\n".join(lines)))


def test_merges_of_merges_do_not_explode():
    """The same, by `<<`."""
    lines = ["a0: &x0 {k: 1}"]
    lines += [f"a{n}: &x{n} {{<<: [{', '.join([f'*x{n - 1}'] * 10)}]}}" for n in range(1, 10)]

    assert any(message == "too many values" for _, message, _ in problems("\n".join(lines)))


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("a: [1, 2\nb: 3\n", (0, 3)),
        ("a: 1\n\tb: 2\n", (1, 0)),
        ("a: *nowhere\n", (0, 3)),
        ("a: 1\n---\nb: 2\n", (1, 0)),
        ("a: 1\nb: \x01\n", (1, 3)),
        ("a: b: c\n", (0, 4)),
        ("a: [b: *c\n", (0, 7)),
        ("[" * 3000, (0, 0)),
    ],
)
def test_what_is_no_yaml_is_one_problem_with_its_place(text, at):
    """Bad syntax is told once, where the parser met it."""
    ((path, message, found),) = problems(text)

    assert path == ()
    assert message.startswith("not YAML: ")
    if len(text) < 100:
        assert found == at


def test_an_unquoted_variable_inside_braces_gets_a_hint():
    """`{url: ${URL}}` is no YAML; people who write it want to hear why."""
    ((_, message, _),) = problems("a: {url: ${URL}}\n")
    assert "must be quoted" in message


@given(st.text(alphabet=st.sampled_from("ab:-[]{}&*!|>'\"%@`#,?$<. \n\t\r1~\x85\u2028é")))
def test_no_text_breaks_the_reader(text):
    """Whatever the file holds, the reader collects problems and raises nothing."""
    document = read(text, "f", {})

    for problem in document.problems:
        assert document.source.report([problem]).startswith("f:")
