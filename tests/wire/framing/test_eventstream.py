import base64
import json
import struct
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wire.recordings import STREAMS, recordings

from ssegate.wire.errors import WireError
from ssegate.wire.events import Frame
from ssegate.wire.framing import FRAMINGS
from ssegate.wire.framing.eventstream import read_headers

from .bodies import PLENTY, bytewise, cut_at, event, flipped, framed, message, outcome, sized

VECTORS = recordings("vectors")
HELLO = event(b'{"text":"Hello"}', "contentBlockDelta")


def header_block(body):
    """The headers of the one message in *body*."""
    return body[12 : 12 + struct.unpack(">I", body[4:8])[0]]


def value(said):
    """The value of a header as a vector tells it."""
    match said:
        case {"type": "uuid", "value": text}:
            return uuid.UUID(text).bytes
        case {"value": {"base64": text}}:
            return base64.b64decode(text)
        case {"value": {"timestamp_ms": number}}:
            return number
        case {"value": {"int64_hex": text}}:
            return struct.unpack(">q", bytes.fromhex(text))[0]
        case {"value": plain}:
            return plain


def test_all_vectors_are_there():
    """No vector got lost, neither good nor bad ones."""
    assert sorted(vector.expected["valid"] for vector in VECTORS) == [False] * 2 + [True] * 5


@pytest.mark.parametrize("vector", [vector for vector in VECTORS if vector.expected["valid"]], ids=str)
def test_a_good_vector_is_read(vector):
    """Payload and every header are what the vector's makers say."""
    (frame,) = framed("eventstream", [vector.body])

    assert frame == Frame("", base64.b64decode(vector.expected["payload_base64"]))
    assert framed("eventstream", bytewise(vector.body)) == [frame]
    assert read_headers(header_block(vector.body)) == {
        name: value(said) for name, said in vector.expected["headers"].items()
    }


@pytest.mark.parametrize("vector", [vector for vector in VECTORS if not vector.expected["valid"]], ids=str)
def test_a_corrupt_vector_is_refused(vector):
    """Its checksum is wrong, and the message says so."""
    with pytest.raises(WireError, match="checksum") as caught:
        framed("eventstream", [vector.body])

    assert caught.value.code == "upstream_bad_event"
    assert outcome("eventstream", bytewise(vector.body)) == ([], "upstream_bad_event")


@pytest.mark.parametrize(
    ("body", "frame"),
    [
        (HELLO, Frame("contentBlockDelta", b'{"text":"Hello"}')),
        (message(b"{}", event_type="chunk", message_type="event"), Frame("chunk", b"{}")),
        (message(b"{}"), Frame("", b"{}")),
        (
            message(b'{"message":"slow"}', message_type="exception", exception_type="throttlingException"),
            Frame("exception:throttlingException", b'{"message":"slow"}'),
        ),
        (message(b"{}", message_type="exception"), Frame("exception:", b"{}")),
        (
            message(message_type="error", error_code="InternalError", error_message='a "bad" day'),
            Frame("error:InternalError", b'{"message": "a \\"bad\\" day"}'),
        ),
        (message(b"{}", message_type="error", error_code="E"), Frame("error:E", b"{}")),
        (message(message_type="error"), Frame("error:", b'{"message": ""}')),
        (message(b"{}", headers=b"\x0b:event-type\x04\0\0\0\1"), Frame("", b"{}")),
    ],
)
def test_a_message_is_a_frame_that_tells_its_kind(body, frame):
    """Events by their type, failures by their kind and type, in whatever order the headers come."""
    assert framed("eventstream", [body]) == [frame]
    assert framed("eventstream", bytewise(body)) == [frame]


def test_a_failure_is_not_taken_for_the_event_before_it():
    """What is remembered of one message's headers is asked of the next one's."""
    failure = message(b"{}", message_type="exception", exception_type="modelStreamErrorException")

    frames = framed(
        "eventstream", [event(b"1", "a") + failure + event(b"2", "b") + failure + event(b"3", "b")]
    )

    kind = "exception:modelStreamErrorException"
    assert [frame.event for frame in frames] == ["a", kind, "b", kind, "b"]


@pytest.mark.parametrize(
    ("kind", "raw", "read"),
    [
        (0, b"", True),
        (1, b"", False),
        (2, b"\xff", -1),
        (3, b"\xff\xfe", -2),
        (4, b"\x7f\xff\xff\xff", 2**31 - 1),
        (5, b"\x80" + b"\0" * 7, -(2**63)),
        (6, sized(b"\0\xff"), b"\0\xff"),
        (7, sized("ü".encode()), "ü"),
        (7, sized(b"\xff"), "\ufffd"),
        (8, b"\0" * 6 + b"\3\xe8", 1000),
        (9, bytes(range(16)), bytes(range(16))),
    ],
)
def test_every_type_of_header_is_read(kind, raw, read):
    """Also between others, and alone."""
    one = b"\1a" + bytes([kind]) + raw

    assert read_headers(one) == {"a": read}
    assert read_headers(b"\1b\0" + one + b"\1c\1") == {"b": True, "a": read, "c": False}
    for size in range(1, len(one)):
        with pytest.raises(WireError):
            read_headers(one[:size])


@pytest.mark.parametrize("block", [b"\1", b"\5abc", b"\1a", b"\1a\x0a", b"\1a\xff", b"\1a\7\0\5abc"])
def test_broken_headers_are_refused(block):
    """A message may have right checksums and still make no sense."""
    assert outcome("eventstream", [event(b"1") + message(b"2", headers=block)]) == (
        [Frame("chunk", b"1")],
        "upstream_bad_event",
    )


@pytest.mark.parametrize(("length", "headers"), [(0, 0), (15, 0), (16, 1), (20, 5), (16, 0xFFFFFFFF)])
def test_lengths_that_cannot_be_are_refused(length, headers):
    """Too short for its own frame, or headers larger than the whole, with a right checksum."""
    prelude = struct.pack(">II", length, headers)
    body = prelude + struct.pack(">I", _crc(prelude)) + b"\0" * 64

    assert outcome("eventstream", [body]) == ([], "upstream_bad_event")
    assert outcome("eventstream", bytewise(body)) == ([], "upstream_bad_event")


def _crc(data):
    """CRC-32 by the book, bit by bit."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0xEDB88320 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def test_a_message_that_is_too_large_is_refused_by_its_prelude():
    """Before any of it is kept; those before it are yielded."""
    large = event(b"x" * 1000)
    framer = FRAMINGS["eventstream"](500)
    frames = framer.feed(event(b"1") + large[:12])

    assert next(frames) == Frame("chunk", b"1")
    with pytest.raises(WireError) as caught:
        next(frames)
    assert caught.value.code == "event_too_large"
    assert outcome("eventstream", bytewise(large), 500) == ([], "event_too_large")


def test_a_message_as_large_as_the_cap_is_allowed():
    """Headers and payload count, lengths and checksums do not."""
    body = event(b"x" * 100)

    assert len(framed("eventstream", [body], len(body) - 16)) == 1
    assert outcome("eventstream", [body], len(body) - 17) == ([], "event_too_large")


def test_every_flipped_bit_is_found():
    """That is what the checksums are for; the message before is not lost."""
    for bit in range(len(HELLO) * 8):
        frames, fault = outcome("eventstream", [event(b"1") + flipped(HELLO, bit) + event(b"2")])

        assert (frames, fault) == ([Frame("chunk", b"1")], "upstream_bad_event"), f"bit {bit}"


@pytest.mark.parametrize(("kept", "has_ended"), [(len(HELLO), None), (len(HELLO) - 1, False), (9, False)])
def test_a_cut_message_is_told(kept, has_ended):
    """It makes no frame, so that it was there at all must show another way."""
    framer = FRAMINGS["eventstream"](PLENTY)
    frames = [*framer.feed(HELLO + HELLO[:kept]), *framer.close()]

    assert (len(frames), framer.has_ended) == (1 + (kept == len(HELLO)), has_ended)


def test_a_cut_message_yields_nothing():
    """Cut at every byte: nobody could tell whether it is whole; that one was begun can be seen."""
    for size in range(1, len(HELLO)):
        framer = FRAMINGS["eventstream"](PLENTY)
        frames = list(framer.feed(event(b"1") + HELLO[:size]))

        assert (frames, framer.is_between) == ([Frame("chunk", b"1")], False)
        assert list(framer.close()) == []


@given(st.lists(st.tuples(st.binary(max_size=50), st.sampled_from(["a", "bc"])), max_size=6), st.data())
def test_any_payload_comes_out_as_it_is(said, data):
    """However the messages are cut."""
    body = b"".join(event(payload, kind) for payload, kind in said)
    cuts = data.draw(st.sets(st.integers(0, len(body)), max_size=8))

    assert framed("eventstream", cut_at(body, cuts)) == [Frame(kind, payload) for payload, kind in said]


def test_every_vector_has_its_file():
    """What the manifest lists is what there is."""
    files = {
        f"aws_eventstream_vectors/{file.name}" for file in (STREAMS / "aws_eventstream_vectors").iterdir()
    }

    assert files == {vector.file for vector in VECTORS}


@pytest.mark.parametrize("name", ["bedrock_converse", "bedrock_invoke"])
def test_recorded_payloads_are_json(name):
    """Every message of every recorded answer is an event with a JSON object."""
    for recording in recordings("bodies"):
        if recording.folder == name:
            for frame in framed("eventstream", [recording.body]):
                assert frame.event and isinstance(json.loads(frame.data), dict)
