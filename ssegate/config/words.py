"""
What is said of each kind of fault that the model finds: what was expected there, and how to mend it.

Keys are named, values never: what stands in the file is shown by its line, what came out of ``${…}`` may
be a secret.
"""

from __future__ import annotations

import re

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from ssegate.config.model import File, Route, Upstream
from ssegate.config.problems import Path, did_you_mean
from ssegate.config.shape import keys_at, keys_of, may_be_off

__all__ = ["words"]

_MESSAGES = {
    "missing": "is needed",
    "string_too_short": "must not be empty",
    "too_short": "must not be empty",
    "finite_number": "expected a finite number",
}

_PATTERNS = {
    "store": "expected memory or redis://host:6379/0",
    "by": "expected key, ip or header:NAME",
    "hash": "expected sha256: and 64 hexadecimal digits, as `ssegate key new` prints them",
}

# Words of other programs, and where that stands here.
_CREDENTIAL = 'a credential stands in `headers` of an upstream, such as {Authorization: "Bearer ${KEY}"}'
_LISTEN = "`listen` says it, such as 127.0.0.1:8080"
_ELSEWHERE = {
    **dict.fromkeys(("api_key", "apikey", "api-key", "auth", "authorization", "token"), _CREDENTIAL),
    **dict.fromkeys(("host", "port", "bind", "address"), _LISTEN),
    **dict.fromkeys(("endpoint", "backend", "target"), "the `url` of an upstream says it"),
    **dict.fromkeys(("provider", "type", "protocol"), "the `dialect` of an upstream says it"),
    **dict.fromkeys(("rewrite", "strip_prefix"), "`upstream_path` of a route says it"),
}

_QUOTED = re.compile(r"'([^']*)'")
_NO_SPACE = re.compile(r"[\w-]+:(?!//)\S")
_YAML_1_1 = frozenset({"yes", "no", "on", "off", "y", "n"})


def words(error: ErrorDetails, path: Path) -> str:
    """Return what is said of *error*, which is about the value (or the key) at *path*."""
    message = _message(error, path)
    if message.startswith("expected") and may_be_off(path):
        message += ", or off"
    return message


def _message(error: ErrorDetails, path: Path) -> str:
    kind, value, context = error["type"], error["input"], error.get("ctx", {})
    match kind:
        case "extra_forbidden":
            return "unknown key" + _known(path)
        case "literal_error":
            names = _QUOTED.findall(context["expected"])
            return f"expected {_listed(names, 'or')}{did_you_mean(value, names)}"
        case "value_error":
            return str(context["error"])
        case "greater_than_equal":
            return f"must be at least {context['ge']}"
        case "string_pattern_mismatch":
            return _PATTERNS[str(path[-1])]
        case "dict_type" | "model_type" | "model_attributes_type":
            return _mapping(path, value)
        case "list_type":
            return "expected a list" + (
                " (each entry begins with `- `)" if isinstance(value, dict) else ", in [ ]"
            )
        case "string_type":
            return _text(path, value)
        case "bool_type" | "int_type" | "float_type":
            return _plain(kind, value)
    # Types not in the table have messages of pydantic's, which name what is expected, not what was seen.
    return _MESSAGES.get(kind, error["msg"])


def _mapping(path: Path, value: object) -> str:
    keys = keys_at(path)
    text = "expected a mapping such as `name: …`"
    if keys:
        text = (
            "expected a mapping "
            + ("of " if len(keys) <= 3 else "with keys such as ")
            + _listed(keys[:3], "and")
        )
    match value:
        case None:
            return f"is empty: {text}, indented below it"
        case list():
            return f"{text} (without the `- ` of a list)"
        case str() if _NO_SPACE.match(value):
            return f"{text} (a space is needed behind each `:`)"
        case _ if path and path[-1] in keys:
            return f"{text} (is `{path[-1]}` indented too little?)"
    return text


def _text(path: Path, value: object) -> str:
    what = "the name of an upstream" if path[-1] == "upstream" else "text"
    if path[-1] == "done" and isinstance(value, list):
        return 'expected text (in quotes: "[DONE]", which else is a list)'
    return f"is empty: expected {what}" if value is None else f"expected {what}"


def _plain(kind: str, value: object) -> str:
    """Return the words for a boolean or a number, of which people forget that quotes make them texts."""
    what = {"bool_type": "true or false", "int_type": "a whole number", "float_type": "a number"}[kind]
    if not isinstance(value, str):
        return f"expected {what}"
    if kind == "bool_type" and value.lower() in _YAML_1_1:
        return f"expected {what} (yes, no, on and off are texts in YAML 1.2)"
    is_quoted = value.lower() in ("true", "false") if kind == "bool_type" else value[:1].isdigit()
    return f"expected {what}" + (" (without quotes)" if is_quoted else "")


def _known(path: Path) -> str:
    """Return where the unknown key at the end of *path* belongs, what was meant, or what there is."""
    key, names = path[-1], keys_at(path[:-1])
    if key in _ELSEWHERE and path[0] not in ("admin", "keys"):  # which listen and have secrets themselves
        return f" ({_ELSEWHERE[str(key)]})"
    homes: dict[str, type[BaseModel]] = {
        "in a route, or in defaults": Route,
        "in an upstream": Upstream,
        "at the top of the file": File,
    }
    home = next((where for where, section in homes.items() if key in keys_of(section)), None)
    near = did_you_mean(key, names) or (f" (it belongs {home})" if home else "")
    if not near and (len(path) == 1 or path[0] == "upstreams"):
        near = did_you_mean(key, keys_of(Route)).replace("?", ", in a route or in defaults?")
    anchors = "" if path[:-1] else "; keys that only hold anchors begin with x-"
    return near or f" (known: {', '.join(names)}{anchors})"


def _listed(names: list[str], last: str) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} {last} {names[-1]}"
