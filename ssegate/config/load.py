"""
Read a YAML file as plain values, and remember where each of them stands.

PyYAML reads YAML 1.1, where ``off`` is False and ``8080:30`` is 484830; the loader here has the resolvers
of YAML 1.2's core schema instead, so both are strings. Kept from 1.1 because people use it: ``<<``.
Refused: duplicate keys, keys that are no plain words, tags beyond the core schema, values that hold
themselves. Nothing is raised: problems are collected beside the values.

Source: https://yaml.org/spec/1.2.2/#103-core-schema, https://yaml.org/type/merge.html
"""

from __future__ import annotations

import contextlib
import pathlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import yaml

from ssegate.config.interpolate import InterpolationError, interpolate
from ssegate.config.problems import Path, Problem, Source
from ssegate.config.syntax import LINE_END, syntax_problem

try:
    from yaml import CSafeLoader as _SafeLoader
except ImportError:  # PyYAML without libyaml: ten times slower, the same result
    from yaml import SafeLoader as _SafeLoader  # type: ignore[assignment]

__all__ = ["MAX_VALUES", "Document", "read"]

MAX_VALUES = 100_000
"""Aliases of aliases multiply: a small file must not become a large tree."""

_TAG = "tag:yaml.org,2002:"
_INTERPOLATED_KEY = re.compile(r"\$\{.*\}")

_CORE: dict[str, tuple[str, Callable[[str], Any]]] = {
    "null": (r"null|Null|NULL|~|", lambda text: None),
    "bool": (r"true|True|TRUE|false|False|FALSE", lambda text: text.lower() == "true"),
    "int": (
        r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+",
        lambda text: int(text, 0 if text[:2] in ("0o", "0x") else 10),
    ),
    "float": (
        r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        lambda text: float(re.sub(r"\.(?=[inIN])", "", text)),
    ),
}


class _Loader(_SafeLoader):
    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {}  # type: ignore[misc]


for _name, (_pattern, _) in {**_CORE, "merge": ("<<", None)}.items():
    _Loader.add_implicit_resolver(_TAG + _name, re.compile(f"^(?:{_pattern})$"), None)


@dataclass(slots=True)
class Document:
    """A config file as plain values."""

    source: Source
    tree: Any = None
    problems: list[Problem] = field(default_factory=list)
    broken: set[Path] = field(default_factory=set)
    """Values that could not be read: they are complained of once, whatever else they would break."""

    readings: dict[Path, Any] = field(default_factory=dict)
    """
    The other way to read a scalar, for a place that cannot use the first.

    ``X-Team: 007`` is a number to YAML; a header gets the text as written. ``"${SIZE}"`` is a string;
    where a number belongs, the number in it is meant (inside ``{…}`` YAML makes people quote ``${…}``).
    """


def read(text: str, filename: str, env: Mapping[str, str]) -> Document:
    """Return the one document in *text*; top-level keys that begin with ``x-`` are left out."""
    document = Document(Source(filename, tuple(LINE_END.split(text)), {}, {}, {}))
    try:
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
        finally:
            loader.dispose()
    except yaml.YAMLError as exc:
        document.problems.append(syntax_problem(exc, text, document.source.lines))
        return document
    except (RecursionError, UnicodeError):
        document.problems.append(Problem((), "not YAML: nested too deeply, or not Unicode text"))
        return document
    if node is not None:
        _Reader(document, env, pathlib.Path(filename).parent).read(node)
    return document


class _Reader:
    """Turns nodes into values, noting marks and problems in the document."""

    def __init__(self, document: Document, env: Mapping[str, str], folder: pathlib.Path) -> None:
        self._document = document
        self._env = env
        self._folder = folder
        self._open: set[int] = set()
        self._count = 0

    def read(self, node: yaml.Node) -> None:
        self._document.tree = self._value(node, ())

    def _value(self, node: yaml.Node, path: Path) -> Any:
        self._document.source.values[path] = _mark(node)
        self._count += 1
        if id(node) in self._open or self._count > MAX_VALUES:
            self._fail(path, "refers to itself" if id(node) in self._open else "too many values")
            return None
        self._open.add(id(node))
        try:
            return self._content(node, path)
        finally:
            self._open.discard(id(node))

    def _content(self, node: yaml.Node, path: Path) -> Any:
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, path)
        if node.tag == _TAG + "seq":
            return [self._value(item, (*path, index)) for index, item in enumerate(node.value)]
        if node.tag == _TAG + "map" and isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        self._fail(path, "unknown tag: only plain values, lists and mappings are read")
        return None

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        values = {}
        for key, (key_node, value_node) in self._entries(node, path).items():
            if not path and key.startswith("x-"):
                continue
            self._document.source.keys[(*path, key)] = _mark(key_node)
            values[key] = self._value(value_node, (*path, key))
        return values

    def _entries(self, node: yaml.MappingNode, path: Path) -> dict[str, tuple[yaml.Node, yaml.Node]]:
        """Return the mapping's own keys and, where it has none of that name, the merged ones."""
        own: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        merged: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        self._count += 1
        if self._count > MAX_VALUES:
            return own
        for key_node, value_node in node.value:
            key, at = key_node.value, _mark(key_node)
            if not isinstance(key_node, yaml.ScalarNode):
                self._refuse(path, "a key must be a plain word", at)
            elif key in own:
                self._refuse((*path, key), f"duplicate key (first on line {_mark(own[key][0])[0] + 1})", at)
            elif key_node.tag == _TAG + "merge":
                for mapping in self._merged(value_node, path, at):
                    merged = self._entries(mapping, path) | merged
            else:
                if _INTERPOLATED_KEY.search(key):
                    self._refuse((*path, key), "${…} is replaced in values only, not in keys", at)
                    self._document.broken.add((*path, key))
                own[key] = (key_node, value_node)
        return merged | own

    def _merged(self, node: yaml.Node, path: Path, at: tuple[int, int]) -> Iterator[yaml.MappingNode]:
        for item in node.value if isinstance(node, yaml.SequenceNode) else [node]:
            if isinstance(item, yaml.MappingNode) and id(item) not in self._open:
                yield item
            else:
                self._refuse((*path, "<<"), "can merge only another mapping, or a list of them", at)

    def _scalar(self, node: yaml.ScalarNode, path: Path) -> Any:
        text, tag, plain = node.value, node.tag, not node.style
        if "$" in text:
            try:
                text = interpolate(text, self._env, self._folder)
            except InterpolationError as exc:
                self._fail(path, str(exc))
                return text
            tag = _tag(text) if plain else tag
        try:
            value = _typed(text, tag)
        except ValueError as exc:
            self._fail(path, str(exc))
            return None
        if plain and value is not None:
            self._document.readings[path] = text
        elif "$" in node.value:
            with contextlib.suppress(ValueError):
                self._document.readings[path] = _typed(text, _tag(text))
        return value

    def _fail(self, path: Path, message: str) -> None:
        """Note that the value at *path* cannot be read."""
        self._document.problems.append(Problem(path, message))
        self._document.broken.add(path)

    def _refuse(self, path: Path, message: str, at: tuple[int, int]) -> None:
        """Note that something about the keys of a mapping, at *at*, is wrong."""
        self._document.problems.append(Problem(path, message, at=at))


def _mark(node: yaml.Node) -> tuple[int, int]:
    return node.start_mark.line, node.start_mark.column


def _typed(text: str, tag: str) -> Any:
    """Return *text* as *tag* says; the errors do not repeat it."""
    name = tag.removeprefix(_TAG)
    if name in ("str", "merge"):
        return text
    if name not in _CORE:
        raise ValueError("unknown tag: only plain values, lists and mappings are read")
    try:
        return _CORE[name][1](text)
    except ValueError:
        raise ValueError(f"cannot be read as {name}") from None


def _tag(text: str) -> str:
    """Return the tag of an unquoted *text*."""
    for name, (pattern, _) in _CORE.items():
        if re.fullmatch(pattern, text):
            return _TAG + name
    return _TAG + "str"
