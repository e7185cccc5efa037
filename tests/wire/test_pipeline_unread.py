"""What a pipeline lets lie unread, and how that leaves."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wire import reading_back
from wire.driving import DONE, STOP, Drive, chunk, word

SIZE, DELAY = 5, 0.1
FRAME = len(word("abc"))


def joining(batches=5, size=SIZE, delay=DELAY, **settings):
    """Return a pipeline whose last *batches* were full ones, and the time; a delta has come each 10 ms."""
    drive = Drive(batch_size=size, batch_delay=delay, **settings)
    now = 1.0
    for _ in range(1 + batches * size):
        now += 0.01
        drive.feed(word("abc"), now)
    drive.writes.clear()
    return drive, now


def said(writes):
    """When which text left, event by event, whether native or OpenAI's."""
    texts = []
    for at, data in writes:
        for block in reading_back.blocks(data):
            event = reading_back.loads(block["data"])
            choices = event.get("choices", ())
            texts += [
                (at, choice["delta"]["content"]) for choice in choices if choice["delta"].get("content")
            ]
            texts += [(at, event["token"])] if event.get("token") else []
    return texts


def gather(drive, data, now):
    return drive._step(lambda: drive.pipeline.gather(data, now), now)


def test_a_batch_of_bytes_may_lie_until_it_is_due():
    """So many that the last delta's arrival makes them enough, whatever its length."""
    drive, now = joining()

    size, until = drive.pipeline.patience(now)
    assert 4 * FRAME < size < 5 * FRAME
    assert until == pytest.approx(now + DELAY)
    size, _ = drive.pipeline.patience(now, overhead=29)
    assert 4 * (FRAME + 29) < size < 5 * (FRAME + 29)


def test_of_a_batch_that_is_held_in_part_the_rest_may_lie():
    """As where a read came too early."""
    drive, now = joining()
    drive.feed(word("abc") + word("abc"), now + 0.01)

    size, until = drive.pipeline.patience(now + 0.01)
    assert 2 * FRAME < size < 3 * FRAME
    assert until == pytest.approx(now + DELAY)


@pytest.mark.parametrize("batches", range(4))
def test_every_delta_is_read_until_batches_have_joined_some(batches):
    """A slow stream's are never left lying."""
    drive, now = joining(batches)

    assert (drive.pipeline.patience(now) is None) == (batches < 3)


def test_nothing_lies_of_a_stream_whose_batches_fill_at_once():
    """Each read brings several of them in any case."""
    drive, now = joining()
    gather(drive, word("abc") * 4 * SIZE, now + DELAY)

    assert drive.pipeline.patience(now + DELAY) is None


def test_after_a_small_batch_every_delta_is_read_again():
    """The stream has become slow."""
    drive, now = joining()
    gather(drive, word("abc"), now + 0.2)

    assert drive.pipeline.patience(now + 0.2) is None


def test_nothing_lies_while_the_idle_clock_is_as_short_as_that():
    """It runs on what is read."""
    assert joining(idle=0.3)[0].pipeline.patience(1.3) is None
    assert joining(idle=0.4)[0].pipeline.patience(1.3) is not None


@pytest.mark.parametrize("settings", [{"output": "raw"}, {"size": 1}, {"delay": None, "size": 1}])
def test_nothing_lies_where_nothing_is_joined(settings):
    """What comes leaves as it comes."""
    drive, now = joining(**settings)

    assert drive.pipeline.patience(now) is None


def test_what_has_lain_leaves_as_one():
    """Not its first delta alone, with the others held once more."""
    drive, now = joining()
    gather(drive, word("a") + word("b") + word("c"), now + DELAY)

    assert said(drive.writes) == [(now + DELAY, "abc")]
    assert drive.pipeline.near_deadline is None


def test_what_is_held_leaves_with_it():
    """In its order."""
    drive, now = joining()
    drive.feed(word("a"), now + 0.01)
    gather(drive, word("b") + word("c"), now + DELAY)

    assert said(drive.writes) == [(now + DELAY, "abc")]


def test_no_event_is_larger_than_a_batch():
    """However much has come at once; all of it leaves."""
    drive, now = joining()
    gather(drive, b"".join(map(word, "abcdefghijkl")), now + DELAY)

    assert [text for _, text in said(drive.writes)] == ["abcde", "fghij", "kl"]


def test_a_full_batch_does_not_wait_for_its_time():
    """What makes one leave is the fifth delta, as ever."""
    drive, now = joining()
    gather(drive, b"".join(map(word, "abcdef")), now + 0.05)
    assert said(drive.writes) == [(now + 0.05, "abcde")]


def test_after_a_full_batch_the_next_has_all_its_time():
    """If nothing is left over."""
    drive, now = joining()
    gather(drive, b"".join(map(word, "abcde")), now + 0.05)

    assert drive.pipeline.patience(now + 0.05)[1] == pytest.approx(now + 0.05 + DELAY)


def test_what_is_left_over_is_not_held_anew():
    """It may have lain for as long as the batch that went before it."""
    drive, now = joining()
    _, until = drive.pipeline.patience(now)
    gather(drive, b"".join(map(word, "abcdefg")), now + 0.09)
    assert said(drive.writes) == [(now + 0.09, "abcde")]

    assert drive.pipeline.near_deadline == until


def test_what_fits_no_run_is_not_held_anew():
    """A comment among the tokens."""
    drive, now = joining()
    gather(drive, word("a") + b": ping\n\n" + word("b") + word("c"), now + DELAY)

    assert "".join(text for _, text in said(drive.writes)) == "abc"
    assert drive.pipeline.near_deadline is None


def test_what_a_stream_and_an_event_may_take():
    """The bounds are those of any other read."""
    drive, now = joining(max_stream=20_000)
    for at in range(1, 200):
        gather(drive, word("abc") * 4, now + at * 0.2)
    assert drive.pipeline.failure.code == "stream_too_large"

    drive, now = joining(max_event=2000)
    gather(drive, word("a" * 5000), now + 1)
    assert drive.pipeline.failure.code == "event_too_large"


def test_anything_else_among_it():
    """A call, the finish and the end: the stream is what it would have been."""
    call = chunk({"tool_calls": [{"index": 0, "id": "c", "function": {"name": "f", "arguments": "{}"}}]})
    drive, now = joining()
    gather(drive, word("a") + word("b") + call + STOP + DONE, now + DELAY)

    assert drive.pipeline.outcome == "completed"
    assert "".join(text for _, text in said(drive.writes)) == "ab"
    assert b'"name":"f"' in drive.body and b'"finished":true' in drive.body


def test_nothing_of_what_has_lain():
    """A frame's beginning is kept, and nothing is late for it."""
    drive, now = joining()
    whole = word("abc")
    gather(drive, whole[:50], now + DELAY)
    assert drive.writes == []
    gather(drive, whole[50:], now + DELAY + 0.01)

    assert said(drive.writes) == [(now + DELAY + 0.01, "abc")]


@given(
    gaps=st.lists(st.sampled_from([0.0, 0.001, 0.01, 0.02, 0.05, 0.3]), min_size=20, max_size=80),
    texts=st.lists(st.sampled_from(["a", "tokens", "é\n", '"']), min_size=20, max_size=20),
    output=st.sampled_from(["native", "openai", "same"]),
)
def test_nothing_is_lost_late_or_out_of_order(gaps, texts, output):
    """Read when enough has come or it is due, as the relay does: no delta waits for longer than it may."""
    drive = Drive(output, batch_size=SIZE, batch_delay=DELAY)
    now, came, lying = 1.0, [], b""
    until = wanted = None

    def read(at):
        nonlocal until, wanted, lying
        if not lying:
            drive.wait(at)
        elif until is None:
            drive.feed(lying, at)
        else:
            gather(drive, lying, at)
        lying = b""
        found = drive.pipeline.patience(at)
        wanted, until = found or (None, None)

    for n, gap in enumerate(gaps):
        now += gap
        while until is not None and now >= until:
            read(until)
        text = texts[n % len(texts)]
        came.append((now, text))
        lying += word(text)
        if until is None or len(lying) >= wanted:
            read(now)
    read(now + DELAY if until is None else until)
    drive.wait(now + 1)

    left = said(drive.writes)
    assert "".join(text for _, text in left) == "".join(text for _, text in came)
    assert max(map(len, (text for _, text in left))) <= SIZE * max(map(len, texts))
    leaves, comes = ([at for at, text in texts for _ in text] for texts in (left, came))
    assert all(0 <= leave - come <= DELAY + 1e-9 for leave, come in zip(leaves, comes, strict=True))
