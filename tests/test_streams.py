"""The registry of running streams, and the ids they may have."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest

from ssegate.streams import Streams, chosen_id, new_id
from ssegate.wire.errors import ClientError
from ssegate.wire.events import Failure

ID = "abcdefghijKLMNOPQR_-01"


class Stream:
    """A stream that remembers how it was ended."""

    def __init__(self, stream_id: str = ID) -> None:
        self.stream_id = stream_id
        self.failures: list[Failure] = []

    def end(self, failure: Failure) -> None:
        self.failures.append(failure)

    def row(self) -> dict[str, Any]:
        return {"id": self.stream_id}


@pytest.mark.parametrize("chosen", [ID, "a" * 22, "0" * 64, "-" * 30])
def test_an_id_in_good_form(chosen: str):
    """22 to 64 of the alphabet, whatever they are."""
    assert chosen_id(chosen) == chosen


@pytest.mark.parametrize("chosen", ["a" * 21, "a" * 65, ID + "\n", ID + "é", ID + "/", ID + " ", "٣" * 22])
def test_an_id_in_another_form(chosen: str):
    """Anything else is a bad request; a newline at the end, or digits of another script, too."""
    with pytest.raises(ClientError) as caught:
        chosen_id(chosen)

    assert caught.value.failure.code == "bad_request"


def test_ids_of_ours_are_in_good_form_and_differ():
    """Each is a fresh one of at least 128 random bits, 6 a character."""
    ids = {new_id() for _ in range(1000)} | {chosen_id(None)}

    assert len(ids) == 1001
    assert all(re.fullmatch("[A-Za-z0-9_-]{22,64}", made) for made in ids)


def test_an_id_is_taken_while_its_stream_runs():
    """A second stream of the id is refused and counts for nothing; afterwards the id is free."""
    streams, first, second = Streams(), Stream(), Stream()
    streams.add(first)

    with pytest.raises(ClientError) as caught:
        streams.add(second)
    assert caught.value.failure.code == "stream_exists"
    assert (len(streams), streams.started, streams.find(ID)) == (1, 1, first)

    streams.remove(first)
    streams.add(second)
    assert (len(streams), streams.started, streams.find(ID)) == (1, 2, second)


def test_removing_another_of_the_id_removes_nothing():
    """A stream that was never let in cannot push out the one that runs."""
    streams, first = Streams(), Stream()
    streams.add(first)

    streams.remove(Stream())

    assert streams.find(ID) is first
    assert streams.find("b" * 22) is None


def test_all_are_ended_with_a_failure_of_their_own():
    """Failures are changed on their way, so no two streams may share one."""
    streams, each = Streams(), [Stream("a" * 22), Stream("b" * 22)]
    for stream in each:
        streams.add(stream)

    streams.end_all(Failure("shutting_down", "bye"))

    assert [stream.failures for stream in each] == [[Failure("shutting_down", "bye")]] * 2
    assert each[0].failures[0] is not each[1].failures[0]


def test_streams_may_end_while_they_are_walked():
    """The list is one of the moment."""
    streams = Streams()
    for letter in "abc":
        streams.add(Stream(letter * 22))

    for stream in streams:
        streams.remove(stream)

    assert len(streams) == 0


async def test_drained_waits_for_the_last():
    """A drain is over when no stream runs, at once if none does."""
    streams, first, second = Streams(), Stream("a" * 22), Stream("b" * 22)
    await streams.drained()
    streams.add(first)
    streams.add(second)
    waiting = asyncio.create_task(streams.drained())

    streams.remove(first)
    await asyncio.sleep(0)
    assert not waiting.done()
    streams.remove(second)
    await asyncio.wait_for(waiting, 1)
