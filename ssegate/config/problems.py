"""
What is wrong with a config, where, and how it is shown.

Every problem is one block: ``FILE:LINE:COL: path: message``, the source line as it stands in the file,
and a caret. A message never repeats a value: what came out of ``${…}`` may be a secret, so only the raw
line is shown.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["Path", "Problem", "Source", "did_you_mean", "path_text"]

Path = tuple[str | int, ...]
"""The way from the top of the file to a value: keys and list indices."""

_WORD = re.compile(r"[\w-]+|<<")


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing to repair."""

    path: Path
    message: str
    at_key: bool = False
    """The key itself is wrong, not its value: that is where the caret goes."""

    at: tuple[int, int] | None = None
    """Line and column, both from 0, where they are known better than by the path."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where the values of a config stand."""

    filename: str
    """Empty where there is no file: then ``labels`` name the places."""

    lines: tuple[str, ...]
    values: dict[Path, tuple[int, int]]
    """Line and column of each value, both from 0."""

    keys: dict[Path, tuple[int, int]]
    labels: dict[Path, str]
    """How a path is called instead, such as ``--listen``."""

    def report(self, problems: Iterable[Problem]) -> str:
        """Return all *problems*, in the order of the file, each place and message once."""
        blocks: dict[tuple[tuple[int, int], str], str] = {}
        for problem in problems:
            at = self._place(problem)
            # One mistake under an anchor is met once for each alias.
            blocks.setdefault((at, problem.message if self.lines else str(problem)), self._block(problem, at))
        return "\n".join(blocks[key] for key in sorted(blocks, key=lambda key: key[0]))

    def _place(self, problem: Problem) -> tuple[int, int]:
        if problem.at is not None:
            return problem.at
        marks = self.keys if problem.at_key and problem.path in self.keys else self.values
        path = problem.path
        while path and path not in marks:
            path = path[:-1]
        return marks.get(path, (0, 0))

    def _block(self, problem: Problem, at: tuple[int, int]) -> str:
        line, column = at
        name = self.labels.get(problem.path) or path_text(problem.path)
        text = f"{name}: {problem.message}" if name else problem.message
        if self.filename:
            text = f"{self.filename}:{line + 1}:{column + 1}: {text}"
        if line >= len(self.lines):
            return text
        raw = self.lines[line]
        if not raw.strip():
            return text  # nothing to see, such as in an empty file
        # Tabs stay tabs, so that the caret stands where the reader's terminal puts the value.
        indent = "".join("\t" if char == "\t" else " " for char in raw[:column])
        return f"{text}\n{raw}\n{indent}^"


def path_text(path: Path) -> str:
    """Return *path* as people write it: ``routes[2].timeouts.idle``."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        elif _WORD.fullmatch(part):
            text += f".{part}" if text else part
        else:
            text += f'["{part}"]'
    return text


def did_you_mean(word: object, names: Iterable[str]) -> str:
    """Return `` (did you mean NAME?)`` for the nearest of *names*, or nothing."""
    if not isinstance(word, str):
        return ""
    names = list(names)
    near = difflib.get_close_matches(word, names, n=1) or difflib.get_close_matches(word.lower(), names, n=1)
    # `idle_timeout` is far from `idle` in letters and yet what was meant.
    parts = word.split("_")
    near = (
        near
        or [name for name in names if name in parts]
        or [name for name in names if word in name.split("_")]
    )
    return f" (did you mean {near[0]}?)" if near else ""
