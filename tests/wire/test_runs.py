"""Runs: what is carried without decoding leaves, is counted and is timed as if it had been decoded."""

from __future__ import annotations

import random
import re
from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wire.driving import DONE, ROLE, STOP, Drive, chunk, line, message, usage, word
from wire.recordings import recordings

from ssegate.wire.batching import Load
from ssegate.wire.dialects import DIALECTS
from ssegate.wire.dialects.openai import OpenAI
from ssegate.wire.events import Text
from ssegate.wire.formats import make
from ssegate.wire.framing import FRAMINGS
from ssegate.wire.patterns import Pattern, pattern_of
from ssegate.wire.seams import Context
from ssegate.wire.stencils import stencil_of

OUTPUTS = ["native", "openai", "vercel", "same"]
BATCHES = [{"batch_delay": 0.04}, {"batch_delay": None}, {"batch_delay": 0.1, "batch_size": 3}]
HALF_LOADED = Load()
HALF_LOADED.share = 0.5


def driven(pieces, output, content_type, **settings):
    """Drive reads and the pauses before them to the end of the body; return the drive."""
    drive = Drive(output, content_type, total=None, **settings)
    now = 0.0
    for data, pause in pieces:
        now += pause
        drive.feed(data, now)
    drive.close(now + 0.5)
    return drive


NOISE = re.compile(rb' +(?=}\n)|(?<="created":)\d+')
"""Anthropic's padding, and the second of the two joined frames that a chunk is dated by."""


def steady(writes):
    """Writes without what is no part of what is said."""
    return [(at, NOISE.sub(b"", data)) for at, data in writes]


def counted(stats):
    return {name: value for name, value in asdict(stats).items() if name != "bytes_out"}


def carried(drive):
    """How many frames the run that was known last has carried."""
    known = drive.pipeline._learner._known
    return 0 if known is None else known.total


def assert_same(pieces, output, content_type="text/event-stream", **settings):
    """Whether runs are known or not makes no difference to anything that can be seen."""
    pieces = list(pieces)
    one = driven(pieces, output, content_type, **settings)
    other = driven(pieces, output, content_type, learns=False, **settings)

    assert steady(one.writes) == steady(other.writes)
    assert counted(one.pipeline.stats) == counted(other.pipeline.stats)
    assert one.pipeline.outcome == other.pipeline.outcome
    assert one.pipeline.failure == other.pipeline.failure
    assert one.pipeline.finish == other.pipeline.finish


def frames(body):
    """A body in reads of a frame each."""
    end = b"\n\n" if b"\n\n" in body else b"\r\n\r\n" if b"\r\n\r\n" in body else b"\n"
    parts = body.split(end)
    return [part + end for part in parts[:-1]] + ([parts[-1]] if parts[-1] else [])


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("body", recordings(), ids=str)
def test_a_recorded_body_leaves_the_same(body, output, thorough):
    """Frame by frame at a steady pace, several frames a read, and cut anywhere."""
    chance = random.Random(f"{body} {output}")
    both = ["every", "off"]
    for metadata in both if thorough else chance.sample(both, 1):
        check_reads(body, output, metadata, chance)


def check_reads(body, output, metadata, chance):
    whole, parts = body.body, frames(body.body)
    groups = [b"".join(parts[at : at + 7]) for at in range(0, len(parts), 7)]
    size = max(2, len(whole) // 40)
    cuts = [whole[at : at + size] for at in range(0, len(whole), size)]

    for reads, batch in zip((parts, groups, cuts), chance.sample(BATCHES, 3), strict=True):
        pieces = [(read, chance.choice([0.0, 0.004, 0.02, 0.045])) for read in reads]
        assert_same(pieces, output, body.content_type, metadata=metadata, **batch)


texts = st.text(st.sampled_from('ab\n"\\ \u00e9\u2028\U0001f600\x00{}:,\ud83d\ude00'), max_size=4)
reads = st.lists(
    st.tuples(st.lists(texts, max_size=5), st.sampled_from([0.0, 0.001, 0.02, 0.04, 0.3])), max_size=12
)


@given(reads, st.sampled_from(OUTPUTS), st.sampled_from([*BATCHES, {"load": HALF_LOADED}]), st.randoms())
def test_no_text_makes_a_difference(said, output, batch, chance):
    """Quotes, escapes, halves of characters, empty texts; some frames cut in two by the network."""
    pieces = [(ROLE + word("Hello") + word(" you"), 0.1)]
    rest = b""
    for words, pause in said:
        data = rest + b"".join(map(word, words))
        keep = chance.randrange(len(data) + 1) if data and chance.random() < 0.3 else len(data)
        data, rest = data[:keep], data[keep:]
        pieces.append((data, pause))
    pieces.append((rest + STOP + usage(3, 4) + DONE, 0.02))

    assert_same([piece for piece in pieces if piece[0]], output, **batch)


OTHERS = {
    "an unescaped quote": word("x").replace(b'"x"', b'"a","b":"c"'),
    "broken json": word("x").replace(b'"x"', b'"x'),
    "a control character": word("x").replace(b'"x"', b'"a\tb"'),
    "no utf-8": word("x").replace(b'"x"', b'"\xff"'),
    "half an escape": word("x").replace(b'"x"', b'"\\u12"'),
    "another choice": word("x", choice=1),
    "reasoning": chunk({"reasoning_content": "hm"}),
    "a comment": b": ping\n\n",
    "two data lines": b"data: {\ndata: }\n\n",
    "an error": b'data: {"error": {"message": "no", "type": "t"}}\n\n',
    "usage": usage(1, 2),
    "finish": STOP,
}


@pytest.mark.parametrize("place", ["alone", "before", "after", "between"])
@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
def test_what_does_not_fit_goes_the_ordinary_way(other, output, place):
    """A frame of another kind inside a run, alone in its read or beside frames of the run."""
    around = {
        "alone": other,
        "before": word("l") + other,
        "after": other + word("r"),
        "between": word("l") + other + word("r"),
    }
    run = [(word(f" w{n}"), 0.02) for n in range(6)]
    pieces = [(ROLE, 0.1), *run, (around[place], 0.02), *run, (STOP + usage(3, 4) + DONE, 0.02)]

    assert_same(pieces, output)


@pytest.mark.parametrize("batch", BATCHES)
def test_a_part_is_opened_by_what_was_said(batch):
    """Frames of a new kind may be held while a run of them is tried out, which opens nothing itself."""
    kinds = [word("a"), chunk({"reasoning_content": "b"}), chunk({"refusal": "c"})] * 3
    pieces = [(frame, 0.002) for kind in kinds for frame in [kind] * 4]
    call = chunk({"tool_calls": [{"index": 0, "id": "c0", "function": {"name": "f", "arguments": ""}}]})
    parts = [
        chunk({"tool_calls": [{"index": 0, "function": {"arguments": text}}]}) for text in ('{"a":', "1}")
    ]
    pieces += [(frame, 0.002) for frame in [call, *parts, *[word("d")] * 4]]

    assert_same([(ROLE, 0.1), *pieces, (STOP + DONE, 0.02)], "vercel", **batch)


@pytest.mark.parametrize("output", OUTPUTS)
def test_most_of_a_stream_is_carried(output):
    """A run is known after two frames; odd texts do not end it."""
    pieces = [(word(f' "{n}"\n\u00e9\\'), 0.02) for n in range(100)]
    metadata = "final" if output == "vercel" else "every"  # whose metadata is an event of its own

    assert carried(driven([(ROLE, 0.1), *pieces], output, "text/event-stream", metadata=metadata)) >= 95


@pytest.mark.parametrize(
    ("frame", "content_type"),
    [
        (
            lambda text: message(
                type="content_block_delta", index=0, delta={"type": "text_delta", "text": text}
            ),
            "text/event-stream",
        ),
        (
            lambda text: message(
                type="content-delta", index=0, delta={"message": {"content": {"text": text}}}
            ),
            "text/event-stream",
        ),
        (lambda text: line(message={"content": text}, done=False), "application/x-ndjson"),
        (
            lambda text: message(type="response.output_text.delta", item_id="i", delta=text),
            "text/event-stream",
        ),
        (lambda text: word(text).replace(b"\n", b"\r\n"), "text/event-stream"),
    ],
    ids=["anthropic", "cohere", "ollama", "responses", "crlf"],
)
def test_every_dialect_has_runs(frame, content_type):
    """Nothing in a run belongs to one dialect or framing."""
    pieces = [(frame(f"t{n}"), 0.02) for n in range(100)]

    assert carried(driven(pieces, "native", content_type)) >= 95


def test_large_reads_are_carried_whole():
    """A read may end inside a frame: its beginning waits for the next read."""
    body = b"".join(word(f" w{n}") for n in range(1000))
    pieces = [(body[at : at + 4001], 0.01) for at in range(0, len(body), 4001)]
    drive = driven([(ROLE, 0.1), *pieces], "native", "text/event-stream")

    assert carried(drive) > 900


def test_a_body_that_ends_inside_a_frame_is_cut():
    """The beginning that waited is no frame."""
    run = [(word(f" w{n}"), 0.02) for n in range(6)]
    pieces = [*run, (word("a") + word("b")[:-20], 0.02)]

    assert_same(pieces, "native")
    assert driven(pieces, "native", "text/event-stream").pipeline.outcome == "truncated"


def test_streams_within_their_bounds():
    """A run ends where the stream has become too large, at the same byte."""
    pieces = [(word(f" w{n}"), 0.02) for n in range(60)]

    assert_same(pieces, "native", max_stream=5000)
    assert driven(pieces, "native", "text/event-stream", max_stream=5000).pipeline.outcome == "too_large"
    assert_same([*pieces, (word("x" * 9000), 0.02)], "native", max_event=6000)


def test_what_comes_between_counts_as_well():
    """Bytes that go the ordinary way leave a run less room."""
    pieces = [(word(f" w{n}") if n % 3 else b": a comment of some length\n\n" * 4, 0.02) for n in range(90)]

    for limit in range(4000, 9000, 61):
        assert_same(pieces, "native", max_stream=limit)


# Proofs


def proven(raw, text, before=b""):
    framer, dialect = FRAMINGS["sse"](1 << 20), DIALECTS["openai"]()
    dialect.decode(next(framer.feed(word("first"))))
    return pattern_of(raw, before, Text(text), framer.anew(), dialect)


def test_a_pattern_is_what_surrounds_the_text():
    """Framing included."""
    raw = word("n\u00e9\n")  # with escapes
    found = proven(raw, "n\u00e9\n")

    assert found is not None
    assert found.head + b"n\\u00e9\\n" + found.tail == raw


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (word("index"), "index"),  # a key of that name: which one is the text?
        (word("needle") + word("needle"), "needle"),
        (word("needle")[9:], "needle"),
        (word("needle")[:-1], "needle"),
        (STOP, "stop"),
    ],
)
def test_no_pattern_without_proof(raw, text):
    """Where it is not certain that one string is the text, nothing is assumed."""
    assert proven(raw, text) is None


def test_only_whole_frames_are_cut():
    """Frames come apart at the seam, and nothing else is taken."""
    pattern = Pattern(b'{"t":"', b'"}\n')

    assert pattern.cut(b'{"t":"a"}\n') == b"a"
    assert pattern.cut(b'{"t":"a"}') is None
    assert pattern.cut(b'"}\n') is None


@pytest.mark.parametrize("name", ["native", "openai"])
def test_a_stencil_is_what_surrounds_text_and_metadata(name):
    """It writes what the format writes, for any text."""
    form = make(name, "auto", Context("st-1", 1))
    form.encode(Text("the first is another"), b"")
    found = stencil_of(form.encode, Text("x"), has_metadata=True)

    assert found is not None
    assert [found.filled(b"a\\nb", b'{"n":1}')] == form.encode(Text("a\nb"), b'{"n":1}')


def test_no_stencil_of_what_counts():
    """A format that numbers its events has none: every event differs in more than its text."""
    numbers = iter(range(9))

    def encode(event, metadata):
        return [b'data: {"n":%d,"t":"%b"}\n\n' % (next(numbers), event.text.encode())]

    assert stencil_of(encode, Text("x"), has_metadata=False) is None


# What differs beside the text and says nothing


def words(data, times=70):
    return [(data(f" w{n}", n), 0.02) for n in range(times)]


def padded(text, n):
    data = message(type="content_block_delta", index=0, delta={"type": "text_delta", "text": text})
    return data[:-3] + b" " * (n * 7 % 13) + data[-3:]


def timed(text, n):
    return line(created_at=f"2026-01-01T00:00:{n:02}Z", message={"content": text}, done=False)


def obfuscated(text, n):
    return word(text)[:-3] + b',"obfuscation":"' + b"x" * (n * 5 % 11) + b'"}\n\n'


def dated(text, n):
    return word(text).replace(b"1700000009", b"17000%02d" % n)


def numbered(text, n):
    return message(
        type="response.output_text.delta",
        sequence_number=n + 8,
        item_id="i",
        delta=text,
        obfuscation="q" * (n % 9),
    )


NOISY = {
    "padded": (padded, "text/event-stream"),
    "timed": (timed, "application/x-ndjson"),
    "obfuscated": (obfuscated, "text/event-stream"),
    "dated": (dated, "text/event-stream"),
    "numbered": (numbered, "text/event-stream"),
}


@pytest.mark.parametrize("output", ["native", "same"])
@pytest.mark.parametrize(("frame", "content_type"), NOISY.values(), ids=NOISY)
def test_what_says_nothing_does_not_end_a_run(frame, content_type, output):
    """Padding, times and numbers; in the upstream's own form an event leaves with those of its last frame."""
    pieces = words(frame)
    drive = driven(pieces, output, content_type)

    # Responses number what leaves anew, so its frames are none of a run.
    assert carried(drive) >= (0 if (frame, output) == (numbered, "same") else 60)
    for batch in BATCHES:
        assert_same(pieces, output, content_type, **batch)
    whole = b"".join(data for data, _ in pieces)
    for size in (90, 700, 3000):
        cuts = [(whole[at : at + size], 0.01) for at in range(0, len(whole), size)]
        assert_same(cuts, output, content_type)


@pytest.mark.parametrize("output", ["native", "same"])
@pytest.mark.parametrize(("frame", "content_type"), NOISY.values(), ids=NOISY)
def test_other_frames_among_noisy_ones(frame, content_type, output):
    """What does not fit ends the run, and what was held leaves as it would have."""
    run = words(frame, 9)
    others = [
        b": ping\n\n",
        b"\n",
        frame('a "quoted" \\ \u00e9', 77),
        frame("x", 78)[:-2],
        b"\n\n",
        frame("", 79),
    ]
    pieces = [piece for other in others for piece in [*run, (other, 0.01), *run]]

    assert_same(pieces, output, content_type)


def test_noise_is_what_differs():
    """A member that may differ belongs to the pattern as it is until it does."""
    same = proven(obfuscated("ab", 3), "ab", before=obfuscated("cd", 3))
    other = proven(obfuscated("ab", 3), "ab", before=obfuscated("cd", 4))

    assert same is not None and same.shape is None
    assert other is not None and other.shape is not None
    assert other.cut(obfuscated("longer", 7)) == b"longer"
    assert other.cut(obfuscated("longer", 7).replace(b'"xx', b'"x\\n')) is None


def test_a_large_read_is_a_run_too():
    """A run is found inside a read of many frames, and the rest of it is carried."""
    body = ROLE + b"".join(word(f" w{n}") for n in range(3000))
    drive = driven([(body, 0.1)], "native", "text/event-stream")

    assert carried(drive) > 2000


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
def test_only_what_is_no_run_goes_the_ordinary_way(line_end, monkeypatch):
    """Of a whole answer in one read: the first frames, an odd one in the middle and the last ones."""
    some = b"".join(word(f" w{n}") for n in range(600))
    body = ROLE + some + chunk({"content": " odd", "refusal": None}) + some + STOP + DONE
    read, decode = [], OpenAI.decode
    monkeypatch.setattr(OpenAI, "decode", lambda self, frame: read.append(frame) or decode(self, frame))
    drive = driven([(body.replace(b"\n", line_end), 0.1)], "native", "text/event-stream")

    assert (drive.pipeline.outcome, drive.pipeline.stats.events_in) == ("completed", 1204)
    assert len(read) < 30


def test_a_short_answer_at_once_is_looked_through_for_no_run(monkeypatch):
    """Finding one takes as long as reading ten frames: here that would be more than all there are."""
    body = ROLE + b"".join(word(f" w{n}") for n in range(8)) + STOP + DONE
    assert len(body) > 1 << 10
    read, decode = [], OpenAI.decode
    monkeypatch.setattr(OpenAI, "decode", lambda self, frame: read.append(frame) or decode(self, frame))
    drive = driven([(body, 0.1)], "native", "text/event-stream")

    assert drive.pipeline.outcome == "completed"
    assert len(read) == 11  # each once, and no probe
