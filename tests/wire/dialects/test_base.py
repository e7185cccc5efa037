import json
import re
from pathlib import Path

import msgspec
import pytest

from ssegate.wire.dialects.base import FrameDialect, JSONDialect
from ssegate.wire.errors import WireError
from ssegate.wire.events import Carried, End, Failure, Finish, Frame, Start, Text, ToolCall, Usage

DOCS = Path(__file__).parents[3] / "docs" / "dialects.md"
IMPORTS = """
from typing import Any, ClassVar
import msgspec
from ssegate.wire.dialects.base import JSONDialect
from ssegate.wire.dialects.failure import failure_in
from ssegate.wire.payload import NOTHING, says
from ssegate.wire.dialects.reasons import finish_reason
from ssegate.wire.dialects.tool_calls import KeyedCalls
from ssegate.wire.dialects.usage import UsageSoFar
from ssegate.wire.events import *
"""


def documented():
    """The dialect that docs/dialects.md shows, run as it stands there."""
    (code,) = re.findall(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    module = {}
    exec(IMPORTS + code, module)
    return module["Parrot"]


PARROT = documented()


def read(*payloads, dialect=None, event=""):
    """What each payload says, and how it is carried."""
    dialect = dialect or PARROT()
    frames = [Frame(event, p if isinstance(p, bytes) else json.dumps(p).encode()) for p in payloads]
    return [(dialect.decode(frame), dialect.carry(frame)) for frame in frames]


def test_the_documented_dialect_reads_a_stream():
    """What docs/dialects.md shows is a whole dialect."""
    said = [
        said
        for said, _ in read(
            {"model": "grey", "text": "Hel"},
            {"model": "grey", "text": "lo"},
            {"tool": "fly", "arguments": {"to": "you"}, "stats": {"prompt_tokens": 3}},
            {"stop": "MAX_TOKENS", "stats": {"completion_tokens": 2}},
        )
    ]

    assert said == [
        [Start(None, "grey"), Text("Hel")],
        [Text("lo")],
        [ToolCall(0, '{"to":"you"}', None, "fly"), Usage(3)],
        [Usage(3, 2), Finish("length", "MAX_TOKENS"), End()],
    ]


def test_without_a_word_on_joining_frames_are_carried_one_by_one():
    """They keep their bytes and events, say how much they hold, and wait if they may be the last."""
    a, b, usage, last = (
        carried
        for _, carried in read(
            b'{"text":"a", "x":1}', b'{"text":"b",\n"x":1}', {"stats": {"input_tokens": 1}}, {"stop": "eos"}
        )
    )

    assert (a, b) == (
        Carried("", b'{"text":"a", "x":1}', count=1),
        Carried("", b'{"text":"b", "x":1}', count=1),
    )
    assert (usage.last, last.last) == (True, True)
    assert (usage.count, last.count) == (0, 0)


def test_the_end_mark_is_carried_where_no_format_writes_its_own():
    """A client of that shape may wait for it; what follows it does not matter."""
    assert read(b" [DONE] \n", event="done") == [([End()], Carried("done", b"[DONE]", last=True))]


@pytest.mark.parametrize("data", [b'{"model":"m"}', b'{"text":"a"}', b"[DONE]"])
def test_a_frame_carried_by_itself_keeps_its_id(data):
    """A client may go by it; the framing gives it to every frame of the upstream's."""
    dialect = PARROT()
    dialect.decode(Frame("", data, id="7"))

    assert dialect.carry(Frame("", data, id="7")).id == "7"


@pytest.mark.parametrize("data", [b"", b" \n", b"null"])
def test_what_says_nothing(data):
    """Empty data and null are neither events nor carried."""
    assert read(data) == [([], None)]


@pytest.mark.parametrize(
    "data", [b'{"text":"a"}', b'{"message":"m"}', b"out of memory", b"[DONE]", b""], ids=str
)
def test_an_event_named_error_is_a_failure(data):
    """Whatever it holds; a format writes it, so it is not carried."""
    ((said, carried),) = read(data, event="error")

    assert [type(event) for event in said] == [Failure]
    assert carried is None


def test_an_error_is_not_carried():
    """Nor is it mistaken for the frame before it."""
    (_, first), (said, carried) = read({"text": "a"}, {"error": "no seeds"})

    assert first is not None
    assert said == [Failure("upstream_error", "no seeds")]
    assert carried is None


def test_a_payload_out_of_order_is_repaired():
    """Fields of the wrong type are left out, halves of characters stay where they may grow."""
    ((said, carried),) = read(b'{"text":"\\ud83d","model":"\\ud83d","stats":7,"stop":NaN}')

    assert said == [Start(None, "\ufffd"), Text("\ud83d")]
    assert carried.count == 1


@pytest.mark.parametrize("data", [b'{"text":', b"[]", b"7", b'"a"'])
def test_what_is_no_object_is_a_bad_event(data):
    """It is never passed over in silence."""
    with pytest.raises(WireError):
        read(data)


def test_a_bad_event_leaves_nothing_to_carry():
    """What the frame before it said does not count for it."""
    dialect = PARROT()
    read({"text": "a"}, dialect=dialect)

    with pytest.raises(WireError):
        dialect.decode(Frame("", b"{"))
    assert dialect.carry(Frame("", b"{")) is None


class Plain(JSONDialect):
    """Learns its fields when it is made, so it decodes to a dict."""

    name = "plain"
    decoder = msgspec.json.Decoder(dict)

    def _events(self, model, frame):
        return [Text(model["text"])]


def test_a_model_may_be_a_plain_object():
    """It is repaired as well, and no other JSON is taken for it."""
    assert [said for said, _ in read({"text": "a"}, b'{"text":"b","x":NaN}', dialect=Plain())] == [
        [Text("a")],
        [Text("b")],
    ]
    with pytest.raises(WireError):
        read([], dialect=Plain())


class Lines(FrameDialect):
    """Each frame is a piece of the answer, but for the one named done."""

    name = "lines"

    def _read(self, frame):
        if frame.event == "done":
            return [Finish("stop"), End()]
        return [Text(frame.data.decode(errors="replace"))] if frame.data else []


def test_frames_of_any_kind_are_carried_as_they_came():
    """Their lines stay lines, and only what is no UTF-8 is mended."""
    text, done, empty = (
        carried
        for event, data in (("output", b" a\nb\xff"), ("done", b"{}"), ("output", b""))
        for _, carried in read(data, dialect=Lines(), event=event)
    )

    assert text == Carried("output", " a\nb\ufffd".encode(), count=1)
    assert done == Carried("done", b"{}", last=True)
    assert empty is None
