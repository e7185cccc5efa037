"""The JSON Schema, and the example file against it."""

import copy
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from ssegate.config import load, parse, schema
from ssegate.config.load import read

EXAMPLE = Path(__file__).parents[2] / "config.example.yaml"
TEXT = EXAMPLE.read_text(encoding="utf-8")

COMMENTED = re.compile(r"^( *)# ((?:[\w-]+): ?(?:.*))$")
"""A key that stands commented out, at the indent of its neighbours."""


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft202012Validator:
    jsonschema.Draft202012Validator.check_schema(schema())
    return jsonschema.Draft202012Validator(schema())


def whole(text: str = "", route: str = "", upstream: str = "") -> dict[str, Any]:
    text += f"\nupstreams: {{a: {{url: 'http://h', {upstream}}}}}\nroutes: [{{path: /*, {route}}}]\n"
    document = read(text, "f", {})
    assert not [problem for problem in document.problems if "is not set" not in problem.message]
    return document.tree


@pytest.mark.parametrize(
    "value", ["30s", "30", "1.5", "'30'", "1h30m", "'${IDLE}'", "'${IDLE:-30}s'", "off", "null"]
)
def test_a_duration_may_be_a_number_a_text_or_a_variable(validator, value):
    """Editors must not flag what the gate accepts."""
    assert validator.is_valid(whole(route=f"timeouts: {{idle: {value}}}, heartbeat: {value}"))


@pytest.mark.parametrize("value", ["30x", "[1]", "-1", "true", "''"])
def test_what_is_no_duration_is_flagged(validator, value):
    """The pattern is a real one."""
    assert not validator.is_valid(whole(route=f"timeouts: {{idle: {value}}}"))


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("text", "open: '${OPEN}'"),
        ("text", "max_connections: '${N}'"),
        ("text", "listen: '${LISTEN}'"),
        ("text", "log: {level: '${L}', format: '${F}'}"),
        ("text", "prices: {m: {input: '${P}', cached: '${P}', output: 2}}"),
        ("text", "x-anything: [1, {a: b}]"),
        ("text", "admin: {listen: '127.0.0.1:1'}"),
        ("text", "admin: off"),
        ("text", "limits: {by: 'header:X-User', requests: 60/minute burst 10, global: {streams: 5}}"),
        ("text", "limits:"),
        ("text", "trusted_proxies:"),
        ("text", "cors:\n  origins:"),
        ("text", "keys: [{name: a, value: '${K}', limits: {tokens: off}}]"),
        ("route", "batch: off"),
        ("route", "batch: {size: '${N}', delay: 0.04}"),
        ("route", "max_event: 16MiB, max_body: 1024, max_stream: '${S}'"),
        ("route", "resume: {keep: 2m, max_bytes: 4MiB}"),
        ("route", "methods: [GET, '${M}']"),
        ("route", "upstream: [a, b]"),
        ("route", "metadata: off"),
        ("route", "output: '${O}', set: {a: {b: [1, null]}}"),
        ("upstream", "verify: '${CA}', forward_client: true"),
        ("upstream", "verify: '${CA}', forward_client: '${F}'"),
        ("upstream", "dialect: {framing: sse, text: [a, b], usage: {input: c}}"),
        ("upstream", "dialect: '${D}'"),
    ],
)
def test_the_schema_takes_what_the_gate_takes(validator, kind, text):
    """Units, variables and `off` in every place that has them."""
    validator.validate(whole(**{kind: text}))


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("text", "unknown: 1"),
        ("text", "open: yes"),
        ("text", "log: {level: loud}"),
        ("text", "limits: {requests: 5}"),
        ("route", "batch: {size: 0}"),
        ("route", "output: nonsense"),
        ("route", "hold: off"),
        ("route", "idle_timeout: 5"),
        ("upstream", "dialect: nonsense"),
    ],
)
def test_the_schema_flags_what_the_gate_refuses(validator, kind, text):
    """It is as strict as the gate where JSON Schema can be."""
    assert not validator.is_valid(whole(**{kind: text}))


def test_upstreams_routes_and_paths_are_needed(validator):
    """What is missing altogether is flagged too."""
    assert not validator.is_valid({"upstreams": {"a": {"url": "http://h"}}})
    assert not validator.is_valid({"routes": [{"path": "/*"}]})
    assert not validator.is_valid({"upstreams": {"a": {"url": "http://h"}}, "routes": [{}]})


def test_every_key_is_described():
    """Editors show a sentence for each key."""
    made = schema()
    for name, section in {"top": made, **made["$defs"]}.items():
        for key, value in section["properties"].items():
            assert value.get("description"), f"{name}.{key}"


def test_the_schema_is_made_anew_each_time():
    """Who changes it changes only the own copy."""
    first = schema()
    kept = copy.deepcopy(first)
    first.clear()

    assert schema() == kept


# The example file.


def test_the_example_is_valid_without_any_variable(validator):
    """It can be run as it is."""
    validator.validate(read(TEXT, "f", {}).tree)
    assert load(EXAMPLE, {}).routes[0].upstream.name == "local"


def keys_of(tree: Any) -> Iterator[str]:
    for value in tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ():
        yield from keys_of(value)
    if isinstance(tree, dict):
        yield from tree


def test_every_key_of_the_config_is_in_the_example():
    """As a key, in use or commented out; not just as a word."""
    made = schema()
    known = {key for section in (made, *made["$defs"].values()) for key in section["properties"]}
    shown = set(keys_of(read(TEXT, "f", {}).tree))
    for number in commented_lines():
        shown |= set(keys_of(read(uncommented(number), "f", {"OPS_KEY": "", "OPENAI_API_KEY": ""}).tree))

    assert known - shown == set()


def commented_lines() -> list[int]:
    lines = TEXT.split("\n")
    # The first line is for editors.
    return [number for number in range(1, len(lines)) if COMMENTED.match(lines[number])]


def uncommented(number: int) -> str:
    lines = TEXT.split("\n")
    lines[number] = COMMENTED.sub(r"\1\2", lines[number])
    return "\n".join(lines)


def test_there_are_keys_that_stand_commented_out():
    """The tests below have something to look at."""
    assert len(commented_lines()) > 20


@pytest.mark.parametrize("number", commented_lines())
def test_a_key_that_is_uncommented_is_valid(validator, number):
    """Each line by itself, at the place where it stands."""
    document = read(uncommented(number), "f", {"OPS_KEY": "k", "OPENAI_API_KEY": "k"})

    assert document.problems == []
    assert document.tree != read(TEXT, "f", {}).tree
    validator.validate(document.tree)


def test_all_keys_uncommented_together_are_valid(validator):
    """Nothing stands there twice."""
    text = TEXT
    for number in commented_lines():
        lines = text.split("\n")
        lines[number] = uncommented(number).split("\n")[number]
        text = "\n".join(lines)
    document = read(text, "f", {"OPS_KEY": "k", "OPENAI_API_KEY": "k"})

    assert document.problems == []
    validator.validate(document.tree)


def test_every_line_with_a_key_has_a_comment():
    """One each."""
    lines = [line for line in TEXT.split("\n")[9:] if re.match(r"^ *(- |# )?[\w-]+:", line)]
    bare = [line for line in lines if " # " not in line.lstrip().removeprefix("# ") + " "]

    # Sections that only open a mapping whose keys are commented one by one.
    assert [line.strip() for line in bare] == ["log:", "cors:", "local:"]


def test_what_the_example_says_is_the_default():
    """Taking the example's lines away changes nothing but upstreams and routes."""
    said = load(EXAMPLE, {})
    least = "upstreams: {local: {url: 'http://127.0.0.1:11434'}}\nroutes: [{path: /v1/chat/completions}]\n"

    # Upstreams and routes are compared by what they hold, not by what they are.
    assert repr(said) == repr(parse(least, "f", {}))
    assert said.routes[0].set == said.routes[0].default == said.upstreams["local"].headers == {}
    assert said.admin.token is None and said.upstreams["local"].proxy is None
