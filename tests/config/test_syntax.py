"""What is no YAML, in plain words, whichever of PyYAML's two parsers met it."""

import pytest
import yaml

from ssegate.config.syntax import syntax_problem

PARSERS = [yaml.SafeLoader, yaml.CSafeLoader]


def told(text, parser):
    """Where the problem of *text* is seen, and its words."""
    with pytest.raises(yaml.YAMLError) as caught:
        yaml.load(text, parser)
    problem = syntax_problem(caught.value, text, tuple(text.split("\n")))

    assert problem.message.startswith("not YAML: ")
    return problem.at, problem.message.removeprefix("not YAML: ")


@pytest.mark.parametrize("parser", PARSERS)
@pytest.mark.parametrize(
    ("text", "at", "words"),
    [
        ("a:\n\tb: 1\n", (1, 0), "a tab: indent with spaces"),
        ("a: 1\n\tb: 1\n", (1, 0), "a tab: indent with spaces"),
        ("a:\n  b: 1\n c: 2\n", (2, 1), "this line does not fit what stands above it"),
        ("a:\n  - b: 1\n  c: 2\n", (2, 2), "this line does not fit what stands above it"),
        ("  a: 1\nb: 2\n", (1, 0), "this line does not fit what stands above it"),
        ("a:\n  b: 1\n   c: 2\n", (2, 4), "no `key:` can stand here"),
        ("a: b: c\n", (0, 4), "no `key:` can stand here"),
        ("a: 1\nb\n", (1, 0), "a key needs a `:` and a space behind it"),
        ("path: *\n", (0, 6), "a text that begins with * must be quoted"),
        ("model: *mini\n", (0, 7), "a text that begins with * must be quoted"),
        ("a: &\n", (0, 3), "a text that begins with & must be quoted"),
        ("a: @b\n", (0, 3), "a text that begins with this character must be quoted"),
        ("a: 'it's'\n", (0, 7), "a value ends before this: put the whole of it in quotes"),
        ("a: {b}c\n", (0, 6), "a value ends before this: put the whole of it in quotes"),
        ("a: 1\nb: 'x\nc: 1\n", (1, 3), "this quote is never closed"),
        ('a: "x\n', (0, 3), "this quote is never closed"),
        ("a: {b: 1\n\nc: 2\n", (0, 3), "this is not closed, or lacks a comma, before line 3"),
        ("a: [1\n", (0, 3), "this is not closed, or lacks a comma, before line 2"),
        ("a: {b: 1 c: 2}\n", (0, 10), "a comma or the closing bracket is missing before this"),
        ("a: {b: ${X}}\n", (0, 8), "inside {…} and […] a ${…} must be quoted"),
        ("a: [1,,2]\n", (0, 6), "a value is missing here"),
        ("a: 1\n---\nb: 2\n", (1, 0), "one file is one config: leave out this line"),
    ],
)
def test_what_is_no_yaml_is_told_in_plain_words(text, at, words, parser):
    """What was done and how to mend it, where it was done, not where the parser gave up."""
    found, message = told(text, parser)

    assert found == at
    assert message.startswith(words)


@pytest.mark.parametrize("parser", PARSERS)
def test_a_backslash_in_double_quotes_is_told(parser):
    """The two parsers point at the backslash, or at what follows it."""
    assert told('a: "\\d"\n', parser)[1].startswith('in "…" a backslash must be doubled')


def test_a_colon_in_braces_is_told():
    """Only libyaml knows this one from a missing comma."""
    assert told("a: {b: c:, d: 1}\n", yaml.CSafeLoader) == (
        (0, 8),
        "inside {…} and […] a `:` needs a space behind it, or quotes around its text",
    )


@pytest.mark.parametrize("parser", PARSERS)
def test_what_has_no_words_is_told_as_the_parser_says_it(parser):
    """Better than nothing: it can be looked up."""
    at, message = told("a: |x\n", parser)

    assert at == (0, 4)
    assert message.startswith("while scanning a block scalar, ")


@pytest.mark.parametrize("parser", PARSERS)
def test_a_character_that_cannot_be_in_yaml_is_shown_where_it_stands(parser):
    """The parser knows only how many characters came before it."""
    at, message = told("a: 1\nb: \x01\n", parser)

    assert at == (1, 3)
    assert message.endswith("characters are not allowed")
