from ssegate.wire.events import Carried, Failure, Finish, Text, Usage
from ssegate.wire.formats.assistants import Assistants
from ssegate.wire.seams import Context

from .readers import blocks, documents

CONTEXT = Context("s1", 1700000000)
DONE = b"event: done\ndata: [DONE]\n\n"


def test_frames_leave_under_their_names():
    """Byte for byte, with the metadata as one more key."""
    assistants = Assistants(CONTEXT)
    frame = Carried("thread.run.completed", b'{"id": "r"}', last=True)

    assert assistants.encode(frame, b'{"t":1}') == [
        b'event: thread.run.completed\ndata: {"id": "r","ssegate":{"t":1}}\n\n'
    ]
    assert assistants.encode(Carried("", b"{}"), b"") == [b"data: {}\n\n"]
    assert assistants.encode(Text("a"), b"") == []


def test_a_run_ends_with_its_end_mark():
    """Whether it ended well or not."""
    assistants = Assistants(CONTEXT)
    error, done = assistants.fail(Failure("idle_timeout", "m"), b'{"t":1}')

    assert assistants.finish(Finish("stop"), Usage(1, 1), b"{}") == [done] == [DONE]
    assert blocks([error])[0]["event"] == "error"
    assert documents([error]) == [
        {
            "error": {"message": "m", "type": "upstream_error", "param": None, "code": "idle_timeout"},
            "ssegate": {"t": 1},
        }
    ]
