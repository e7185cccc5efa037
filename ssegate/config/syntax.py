"""
What is no YAML, in plain words.

The parser tells in the terms of its own states what it stumbled over; here that becomes what the writer
did, at the place where that was done: a quote that is never closed is shown where it opens, not at the
end of the file.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

from ssegate.config.problems import Problem

__all__ = ["LINE_END", "syntax_problem"]

LINE_END = re.compile("\r\n|[\n\r\x85\u2028\u2029]")

_UNEVEN = "this line does not fit what stands above it: are the lines of each section equally indented?"

# A pattern of what the parser says (PyYAML's and libyaml's words differ a little), what is told instead,
# and whether the place is where the thing began.
_WORDS: tuple[tuple[str, str, bool], ...] = (
    ("unexpected end of stream", "this quote is never closed", True),
    (
        "undefined alias|scanning an alias",
        "a text that begins with * must be quoted (*name repeats an &name)",
        True,
    ),
    ("scanning an anchor", "a text that begins with & must be quoted (&name is for *name to repeat)", True),
    ("cannot start any token", "a text that begins with this character must be quoted", False),
    ("unknown escape", "in \"…\" a backslash must be doubled; in '…' it stands for itself", False),
    ("another document", "one file is one config: leave out this line and what follows", False),
    ("could not find expected ':'", "a key needs a `:` and a space behind it", True),
    (
        "mapping values are not allowed",
        "no `key:` can stand here: keys of one section stand below each other, equally indented, and a text "
        "that holds `: ` must be quoted",
        False,
    ),
    ("expected (the )?node content", "a value is missing here", False),
    ("unexpected ':'", "inside {…} and […] a `:` needs a space behind it, or quotes around its text", False),
    ("parsing a block (mapping|collection)|<?document start", _UNEVEN, False),
)


def syntax_problem(exc: yaml.YAMLError, text: str, lines: tuple[str, ...]) -> Problem:
    """Return what *exc* says of *text*, which is cut into *lines*."""
    mark: Any = getattr(exc, "problem_mark", None)
    if mark is None:
        # What is not even a character; the reader has no marks.
        before = LINE_END.split(text[: getattr(exc, "position", 0)])
        at = (len(before) - 1, len(before[-1]))
        return Problem((), f"not YAML: {getattr(exc, 'reason', 'unreadable')}", at=at)
    said = ", ".join(filter(None, [getattr(exc, "context", None), getattr(exc, "problem", None)]))
    began = getattr(exc, "context_mark", None) or mark
    line = lines[mark.line] if mark.line < len(lines) else ""
    words, place = _seen(said, mark, began, line) or _listed(said, mark, began)
    return Problem((), f"not YAML: {words}", at=(place.line, place.column))


def _seen(said: str, mark: Any, began: Any, line: str) -> tuple[str, Any] | None:
    """Return words and place of what is better seen in the *line* than told by the parser."""
    if line[mark.column : mark.column + 1] == "\t":
        return "a tab: indent with spaces", mark
    if "parsing a block mapping" in said and line[: mark.column].strip():
        words = "a value ends before this: put the whole of it in quotes (inside '…' a ' is written twice)"
        return words, mark
    if not re.search("parsing a flow (mapping|sequence)", said):
        return None
    if line[: mark.column + 1].endswith("${"):
        return "inside {…} and […] a ${…} must be quoted", mark
    if began.line < mark.line:
        return f"this is not closed, or lacks a comma, before line {mark.line + 1}", began
    return "a comma or the closing bracket is missing before this, or quotes around a text", mark


def _listed(said: str, mark: Any, began: Any) -> tuple[str, Any]:
    """Return words and place from the table; what is not in it is told as the parser says it."""
    found = (entry for entry in _WORDS if re.search(entry[0], said))
    _, words, from_its_start = next(found, ("", said, False))
    return words, began if from_its_start else mark
