import json

import msgspec
import pytest

from ssegate.wire.dialects.tool_calls import KeyedCalls
from ssegate.wire.events import ToolCall


def raw(value):
    """*value* as a decoder leaves it, blanks and all."""
    return msgspec.Raw(json.dumps(value).encode())


@pytest.mark.parametrize(
    ("arguments", "text"), [({"a": 1}, '{"a":1}'), ('{"a": 1}', '{"a": 1}'), ({}, "{}"), (None, "")]
)
def test_a_whole_call_is_an_opening(arguments, text):
    """Arguments that are an object become JSON text; those that were not given stay so."""
    assert KeyedCalls(choice=2).whole("c", "f", raw(arguments)) == ToolCall(0, text, "c", "f", choice=2)


def test_calls_are_counted_in_order_of_appearance():
    """Whatever the upstream's keys are; fragments find their call by key."""
    calls = KeyedCalls()

    assert calls.open("fc_b", "b", "f") == ToolCall(0, "", "b", "f")
    assert calls.open(("x", 7), "", None) == ToolCall(1, "", None, "")
    assert calls.whole(None, "g", raw({})) == ToolCall(2, "{}", None, "g")
    assert calls.add("fc_b", "{") == [ToolCall(0, "{")]
    assert calls.add(("x", 7), "[]") == [ToolCall(1, "[]")]
    assert calls.add("fc_b", "}") == [ToolCall(0, "}")]


def test_arguments_are_told_once():
    """In fragments if there are any, else when the call is closed, from there or from its opening."""
    calls = KeyedCalls()
    for key, given in enumerate([{"at": "opening"}, {"at": "opening"}, None, None, {}]):
        calls.open(key, None, "f", raw(given))
    calls.add(0, "{}")

    assert calls.close(0, raw('{"at":"close"}')) == []
    assert calls.close(1) == [ToolCall(1, '{"at":"opening"}')]
    assert calls.close(2, raw({"at": "close"})) == [ToolCall(2, '{"at":"close"}')]
    assert calls.close(3) == calls.close(4) == []
    assert calls.close(2, raw({"at": "a second close"})) == []


def test_only_open_calls_grow():
    """An empty fragment, one after the end or one that belongs to nobody says nothing."""
    calls = KeyedCalls()
    calls.open(0, None, "f")
    calls.close(0)

    assert calls.add(0, "a") == calls.add(1, "a") == calls.close(1, raw("a")) == []
    assert 0 in calls and 1 not in calls
    calls.open(0, None, "g")
    assert calls.add(0, "") == calls.add(0, None) == []
    assert calls.add(0, "a") == [ToolCall(1, "a")]


def test_a_call_whose_end_never_came_has_the_arguments_it_began_with():
    """Closing all tells what is still to be told, once."""
    calls = KeyedCalls()
    calls.open("a", "1", "f", raw({"x": 1}))
    calls.open("b", "2", "g", raw("{}"))
    calls.open("c", "3", "h", raw("{}"))
    calls.add("b", "[]")
    calls.close("c")

    assert len(calls) == 3
    assert calls.close_all() == [ToolCall(0, '{"x":1}')]
    assert calls.close_all() == []
