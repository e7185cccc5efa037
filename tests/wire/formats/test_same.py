import json

import pytest

from ssegate.wire.events import Carried, Failure, Finish, Reasoning, Text, Usage
from ssegate.wire.formats.same import SameOllama, SameText
from ssegate.wire.seams import Context

CONTEXT = Context("s1", 1700000000)


def test_ollama_lines_leave_as_they_came():
    """One object a line, byte for byte."""
    line = Carried("", b'{"message":{"content":"', b"hi", b'"},"done":false}', b"k", 1)

    assert SameOllama(CONTEXT).encode(line, b"") == [b'{"message":{"content":"hi"},"done":false}\n']


def test_ollama_metadata_is_a_key_of_the_done_line():
    """No client meets a line it does not know."""
    (line,) = SameOllama(CONTEXT).encode(Carried("", b'{"done":true}', last=True), b'{"t":1}')

    assert json.loads(line) == {"done": True, "ssegate": {"t": 1}}
    assert line.endswith(b"\n")


def test_ollama_ends_with_the_upstreams_done_or_an_error_line():
    """Nothing is added to a good end; a bad one is a line that both SDKs raise on."""
    ollama = SameOllama(CONTEXT)

    assert ollama.finish(Finish("stop"), Usage(1, 1), b"{}") == []
    assert ollama.fail(Failure("upstream_truncated", "m"), b"{}") == [b'{"error":"m"}\n']
    assert ollama.encode(Text("a"), b"") == []


def test_text_is_bare():
    """The bytes of the text and nothing else; there is no way to say more."""
    text = SameText(CONTEXT)

    assert text.encode(Carried("", b"a", b"b", b"c", count=1), b'{"t":1}') == [b"abc"]
    assert text.encode(Text("é\n😀"), b'{"t":1}') == ["é\n😀".encode()]
    assert text.encode(Text("\ud83d"), b"") == [b"?"]
    assert text.encode(Reasoning("hm"), b"") == []
    assert text.finish(Finish("stop"), None, b"{}") == []
    assert text.fail(Failure("upstream_truncated", "m"), b"{}") == []


@pytest.mark.parametrize(
    ("same", "content_type"),
    [(SameOllama, "application/x-ndjson"), (SameText, "text/plain; charset=utf-8")],
)
def test_there_is_no_room_for_heartbeats(same, content_type):
    """A blank line or a comment would be read as content."""
    assert (same.heartbeat, same.noop, same.content_type) == (b"", b"", content_type)
