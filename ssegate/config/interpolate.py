"""
``${VAR}``, ``${VAR:-default}``, ``${VAR:?message}``, ``${file:/path}`` and ``$$`` inside one scalar.

What is put in is text: it is never read for further ``${…}`` and cannot add YAML structure. As in a
shell, ``:-`` and ``:?`` take an empty variable for an unset one. A default may itself hold ``${…}``.
A ``$`` before anything else stands for itself. File contents lose their line ends at the end.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

__all__ = ["InterpolationError", "interpolate"]

_SPECIAL = re.compile(r"\$\$|\$\{|\}")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_FORMS = "expected ${VAR}, ${VAR:-default}, ${VAR:?message} or ${file:/path} ($$ for a plain $)"


class InterpolationError(ValueError):
    """A ``${…}`` cannot be replaced; the message never holds a replaced value."""


def interpolate(text: str, env: Mapping[str, str], folder: Path) -> str:
    """
    Return *text* with everything replaced.

    Args:
        folder: Where relative ``${file:…}`` paths begin.

    Raises:
        InterpolationError: Unset variable, unreadable file, or a form that does not exist.
    """
    out: list[str] = []
    at = 0
    while found := _SPECIAL.search(text, at):
        out.append(text[at : found.start()])
        at = found.end()
        if found[0] == "${":
            end = _closing(text, at)
            out.append(_replacement(text[at:end], env, folder))
            at = end + 1
        else:
            out.append("$" if found[0] == "$$" else "}")
    return "".join(out) + text[at:]


def _closing(text: str, at: int) -> int:
    """Return where the ``}`` of the ``${`` that ends at *at* stands."""
    depth = 1
    for found in _SPECIAL.finditer(text, at):
        depth += {"${": 1, "}": -1, "$$": 0}[found[0]]
        if depth == 0:
            return found.start()
    raise InterpolationError("${ without its }")


def _replacement(form: str, env: Mapping[str, str], folder: Path) -> str:
    if form.startswith("file:"):
        return _content(folder / form.removeprefix("file:"))
    name = _NAME.match(form)
    operator, rest = (form[name.end() :][:2], form[name.end() :][2:]) if name else ("", "")
    if name is None or operator not in ("", ":-", ":?"):
        raise InterpolationError(_FORMS)
    value = env.get(name[0])
    if value or (value is not None and not operator):
        return value
    if operator == ":-":
        return interpolate(rest, env, folder)
    if operator == ":?":
        raise InterpolationError(f"{name[0]} is not set" + (f": {rest}" if rest else ""))
    raise InterpolationError(f"{name[0]} is not set (a default: ${{{name[0]}:-…}})")


def _content(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError, ValueError) as exc:
        # The reason only: a decoding error quotes the bytes it met.
        reason = exc.strerror if isinstance(exc, OSError) else "it is not UTF-8 text"
        raise InterpolationError(f"cannot read {path}: {reason}") from None
