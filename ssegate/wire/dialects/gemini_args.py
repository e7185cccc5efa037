"""
Arguments of Gemini's calls that come in parts, each with its place in the whole, turned into JSON text.

The text is told as it grows. Parts come in the order of the text, so each is either the next piece of the
last string or a member behind it. A part that comes out of order cannot be put into text that has been told:
then the outermost member it belongs to is told once more, whole, at the end. Readers of JSON take the last of
two members with one name.

Source: https://ai.google.dev/api/caching#FunctionCall (partialArgs), RFC 9535 for the paths
"""

from __future__ import annotations

import re
from typing import Any

from msgspec import UNSET

from ssegate.wire.dialects.bounds import PIECE, Bounds
from ssegate.wire.dialects.gemini_chunk import PartialArg
from ssegate.wire.errors import WireError
from ssegate.wire.payload import compact

__all__ = ["PartialArgs"]

Path = tuple[str | int, ...]

STEP = re.compile(r"""\[(\d{1,9})\] | \[(['"])(.*?)\2\] | \.?([^.\[\]]+)""", re.VERBOSE | re.DOTALL)
MOST = 2048
"""Members of one call's arguments, the inner ones too."""

DEEPEST = 100
"""Steps of a path; deeper ones are nobody's arguments."""


class PartialArgs:
    """
    Writes the arguments of one call.

    What has been told is kept, as it is needed if a part comes out of order. Of strings that are too long for
    that, it is not.

    States: nothing written · behind a member, or inside a string that may go on · written to its end.
    """

    def __init__(self, bounds: Bounds | None = None) -> None:
        self._bounds = bounds or Bounds()
        self._members = 0
        self._is_kept = True  # no string was too long
        self._whole: dict[str | int, Any] = {}
        """Containers are dicts, of numbers where they are arrays; strings are lists of their pieces."""

        self._again: dict[str | int, None] = {}
        """Outermost members to be told once more, in order."""

        self._open: Path = ()  # the container that the text is in
        self._ends: list[str] = []  # what ends it and those around it, but for the outermost
        self._last: Path = ()  # the member behind which the text stands
        self._in_string = False
        self._is_first = True  # nothing stands yet in the open container

    def add(self, part: PartialArg) -> str:
        """Return the text that *part* adds, if any."""
        path, value = _path(part.jsonPath or ""), _value(part)
        if not path or value is UNSET:
            return ""
        is_in_order = self._keep(path, value) and path[0] not in self._again
        if is_in_order:
            return self._write(path, value)
        self._again[path[0]] = None
        if not self._is_kept:
            raise WireError("the upstream sent long arguments out of order")
        return ""

    def close(self) -> str:
        """Return the rest of the text; nothing if there are no arguments."""
        if not self._whole:
            return ""
        text = ["{"] if not self._last else [self._leave(())]
        for name in self._again:
            text += [self._comma(), _name(str(name)), _json(_plain(self._whole[name]))]
        return "".join([*text, "}"])

    def _keep(self, path: Path, value: Any) -> bool:
        """Put *value* in its place; say whether that is the end of the text."""
        is_in_order = isinstance(path[0], str)
        shared = _shared(path[:-1], self._open)
        node = self._whole
        for depth, step in enumerate(path[:-1]):
            inner = node.get(step)
            if isinstance(inner, dict):
                is_in_order = is_in_order and depth < shared  # else it has been left already
            else:
                is_in_order = is_in_order and _is_next(node, step)
                self._count(step)
                inner = node[step] = {}
            node = inner
        step = path[-1]
        if isinstance(value, str):
            if isinstance(pieces := node.get(step), list):
                pieces += self._kept(value)
                return is_in_order and path == self._last
            value = self._kept(value)
        is_in_order = is_in_order and _is_next(node, step)
        self._count(step)
        node[step] = value
        return is_in_order

    def _count(self, step: str | int) -> None:
        """Take note of one member more."""
        self._members += 1
        if self._members > MOST or not self._bounds.hold(len(str(step))):
            raise WireError(f"the upstream sent arguments of more than {MOST} members")

    def _kept(self, piece: str) -> list[str]:
        """Return what is kept of a piece of a string."""
        self._is_kept = self._is_kept and self._bounds.hold(PIECE + len(piece))
        return [piece] if self._is_kept else []

    def _write(self, path: Path, value: Any) -> str:
        if path == self._last:
            return _json(value)[1:-1]
        shared = _shared(path[:-1], self._open)
        text = ["{"] if not self._last else [self._leave(path[:shared])]
        for step, inner in zip(path[shared:-1], path[shared + 1 :], strict=True):
            is_array = isinstance(inner, int)
            text += [self._comma(), _name(step), "[" if is_array else "{"]
            self._ends.append("]" if is_array else "}")
            self._is_first = True
        self._open, self._last = path[:-1], path
        self._in_string = isinstance(value, str)
        written = _json(value)
        # A string may go on.
        text += [self._comma(), _name(path[-1]), written[:-1] if self._in_string else written]
        return "".join(text)

    def _leave(self, container: Path) -> str:
        """Return what ends the open string, and the open containers up to *container*."""
        text = '"' if self._in_string else ""
        self._in_string = False
        while len(self._ends) > len(container):
            text += self._ends.pop()
        return text

    def _comma(self) -> str:
        comma = "" if self._is_first else ","
        self._is_first = False
        return comma


def _path(written: str) -> Path:
    """Return the steps of ``$.a.b[0]['c d']``."""
    steps: list[str | int] = []
    for number, _, quoted, name in STEP.findall(written.removeprefix("$")):
        steps.append(int(number) if number else quoted or name)
    if len(steps) > DEEPEST:
        raise WireError(f"the upstream sent arguments that are nested more than {DEEPEST} deep")
    return tuple(steps)


def _value(part: PartialArg) -> Any:
    for value in (part.stringValue, part.boolValue, part.numberValue):
        if value is not None:
            return value
    return None if part.nullValue else UNSET


def _shared(path: Path, other: Path) -> int:
    """Return how many steps the two begin with in common."""
    for count, (step, another) in enumerate(zip(path, other, strict=False)):
        if step != another:
            return count
    return min(len(path), len(other))


def _is_next(node: dict[str | int, Any], step: str | int) -> bool:
    """Say whether *step* leads to the member that comes next in a text of *node*."""
    if isinstance(step, int):
        return step == len(node) and (step == 0 or step - 1 in node)
    return step not in node and 0 not in node


def _name(step: str | int) -> str:
    """Return the name of a member; those of an array have none."""
    return "" if isinstance(step, int) else _json(step) + ":"


def _json(value: Any) -> str:
    return compact([value])[1:-1]


def _plain(value: Any) -> Any:
    """Return a member as JSON has it."""
    if isinstance(value, list):
        return "".join(value)
    if not isinstance(value, dict):
        return value
    if all(isinstance(step, int) for step in value):
        return [_plain(value[step]) for step in sorted(value)]
    return {str(step): _plain(inner) for step, inner in value.items()}
