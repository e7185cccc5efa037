"""Timers: the far one of a stream, and the near ones in common."""

from __future__ import annotations

import asyncio

from ssegate.alarm import Alarm, Soon


class Heard:
    """Somebody who waits, and notes when the moment has come."""

    def __init__(self) -> None:
        self.told: list[float] = []

    def on_soon(self, now: float) -> None:
        self.told.append(now)


async def test_nobody_is_told_too_early():
    """Each is told once, at its moment or a little later, whoever else waits."""
    soon, now = Soon(), asyncio.get_running_loop().time()
    crowd = [(Heard(), now + delay) for delay in (0.0, 0.001, 0.01, 0.0101, 0.03)]
    for heard, due in crowd:
        soon.tell(heard, due)

    async with asyncio.timeout(5):
        while not all(heard.told for heard, _ in crowd):
            await asyncio.sleep(0.005)
    assert all(len(heard.told) == 1 and heard.told[0] >= due for heard, due in crowd)


async def test_an_alarm_is_only_moved_nearer():
    """A deadline further away is left to the ring that comes for nothing."""
    rung = asyncio.Event()
    alarm = Alarm(rung.set)
    now = asyncio.get_running_loop().time()
    alarm.set(now + 60)
    alarm.set(now + 90)
    assert alarm.at == now + 60

    alarm.set(now + 0.001)
    async with asyncio.timeout(5):
        await rung.wait()
    assert alarm.at == float("inf")
