"""
Buckets in Redis or Valkey, shared by all replicas: one script a decision, by the server's own clock.

    up    every decision is a round trip of at most 100 ms
    down  begins with the first that fails: from then on nobody waits for the server but one task, which looks
          for it twice a second and, when it answers, writes what is owed to it and says up

While it is down, ``on_error`` decides: ``local`` goes by this replica's share of each limit. What the replica
has admitted itself is counted in memory all the time, so no share begins full; the shares of all replicas,
as many as the server last counted, add up to the limit. When the server is back it is told what was taken
without it, so none of its buckets admits more than it should.

A reply that did not come may stand for a script that ran. What that could cost is on the safe side: debts are
written again, refunds are not.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Literal

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    ConnectionError,
    MaxConnectionsError,
    MovedError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)

from ssegate.limits.debts import Debt, Unseen, debts_of
from ssegate.limits.gcra import RateLimit
from ssegate.limits.ground import TICKS_PER_SECOND, Moment
from ssegate.limits.leases import StreamLimit
from ssegate.limits.memory import MAX_BUCKETS, MemoryStore, clock
from ssegate.limits.scripts import PREFIX, REDIS_TIME, Script, five, verdict_of
from ssegate.limits.store import Actual, Bucket, Hold, StoreDown, Verdict

__all__ = ["BUDGET", "OnError", "RedisStore"]

OnError = Literal["local", "allow", "deny"]

BUDGET = 0.1
"""Seconds that a request may wait for the server."""

BEAT = 10.0
"""Seconds between two signs of life."""

EXPIRY = 30
"""Seconds after the last of them when the streams of a replica count as ended."""

LOOK = 0.5
"""Seconds between two looks for a server that is down."""

_REMINDER = 60.0
_CONNECTIONS = 16
"""Each is busy for a third of a millisecond a decision."""

_BATCH = 200
"""Changes told in one script: the server does nothing else meanwhile."""

_MAX_OWED = 100_000
_NEVER = float("-inf")
_REPLICAS = PREFIX + "replicas"

_FRESH_CONNECTION = (ReadOnlyError, MovedError, ConnectionError)
"""What another connection may mend: the name leads to a new primary now, or an idle one was closed."""

_HOPELESS = (AuthenticationError, BusyLoadingError, MaxConnectionsError)
"""What another connection will meet again, though the library calls it a ``ConnectionError``."""

_log = logging.getLogger(__name__)


class RedisStore:
    """
    Implements ``store.Store``.

    Args:
        failed: Told the operation (``take``, ``settle`` or ``beat``) whenever the server fails one.
        budget: Seconds that a request may wait for the server.
        clock: Lua that sets ``now``; tests bring their own, and theirs for ``moment``, by which shares go.
    """

    def __init__(
        self,
        url: str,
        on_error: OnError = "local",
        *,
        failed: Callable[[str], None] = lambda op: None,
        budget: float = BUDGET,
        clock: str = REDIS_TIME,
        moment: Callable[[], Moment] = clock,
    ) -> None:
        self.is_up = False
        self.replicas, self.rank = 1, 0
        self._on_error, self._failed_op = on_error, failed
        self._budget, self._client = budget, _client(url, budget)
        self._take, self._settle, self._beat = (Script(name, clock) for name in ("take", "settle", "beat"))
        self._name = secrets.token_hex(8)
        self._local, self._moment = MemoryStore(moment), moment
        self._leases: dict[str, list[str]] = {}
        """Of this replica's open streams: the lease and its buckets."""

        self._outage = 1  # the number of the next one, or of the one there is
        self._unseen = Unseen(MAX_BUCKETS)
        self._owed: deque[Debt] = deque(maxlen=_MAX_OWED)
        self._writing: set[asyncio.Task[Any]] = set()
        self._keeper: asyncio.Task[None] | None = None
        self._is_wanted = asyncio.Event()
        self._complained_at = _NEVER

    async def start(self) -> None:
        """Look for the server, once; afterwards a task goes on looking."""
        await self.beat()
        self._keeper = asyncio.create_task(self._keep(), name="limits in redis")

    async def stop(self) -> None:
        """Write what is owed, if the server answers, and close the connections."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait({self._keeper})
        await self.written()
        if self.is_up:
            self._owed.append(Debt(_REPLICAS, StreamLimit(0), -1, lease=self._name))
            await self._write()
        await self._client.aclose()

    # ---- decisions -----------------------------------------------------------------------------

    async def take(self, buckets: Sequence[Bucket]) -> Verdict:
        """Take from all *buckets* or from none."""
        if not self.is_up:
            return self._take_alone(buckets)
        task = asyncio.get_running_loop().create_task(self._take_shared(buckets), name="take in redis")
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            # The client has left, and what was taken for it must come back.
            task.add_done_callback(self._undo)
            self._writing.add(task)
            raise

    def _undo(self, task: asyncio.Task[Verdict]) -> None:
        self._writing.discard(task)
        if not task.cancelled() and task.exception() is None:
            verdict = task.result()
            self.settle(verdict, {hold.bucket.limit.dimension: 0 for hold in verdict.holds})

    async def _take_shared(self, buckets: Sequence[Bucket]) -> Verdict:
        lease = secrets.token_hex(8)
        args: list[str | int] = [lease, EXPIRY * TICKS_PER_SECOND]
        for bucket in buckets:
            args += five(bucket.limit, min(bucket.units, bucket.limit.capacity))
        try:
            answer = await self._run("take", self._take, [PREFIX + b.key for b in buckets], args)
        except StoreDown:
            # If the script runs late, nobody holds what it opens.
            opened = (b.key for b in buckets if isinstance(b.limit, StreamLimit))
            self._owed += [Debt(PREFIX + key, StreamLimit(0), -1, lease=lease) for key in opened]
            return self._take_alone(buckets)
        verdict = verdict_of(buckets, answer)
        if verdict.is_allowed:
            verdict.mirror = self._local.take_now(self._shares(buckets), force=True)
            self._note_streams(verdict, lease)
        return verdict

    def settle(self, verdict: Verdict, actual: Actual) -> None:
        """Put what was reserved right, and give back open streams; the server is told in a moment."""
        if verdict.lease is not None:
            self._leases.pop(verdict.lease, None)
        unseen = self._unseen if verdict.outage == self._outage else None
        self._owed += debts_of(verdict, actual, unseen, self._moment())
        if verdict.mirror is not None:
            self._local.settle(verdict.mirror, actual)
        if self.is_up and self._owed:
            task = asyncio.get_running_loop().create_task(self._write(), name="settle in redis")
            self._writing.add(task)
            task.add_done_callback(self._writing.discard)

    async def written(self) -> None:
        """Wait until the server has been told what was settled before, or does not answer."""
        while self._writing:
            await asyncio.wait(self._writing)

    # ---- alone ---------------------------------------------------------------------------------

    def _take_alone(self, buckets: Sequence[Bucket]) -> Verdict:
        """Decide without the server; it learns of it when it is back."""
        if self._on_error == "deny":
            raise StoreDown("the limit store does not answer")
        shares = self._shares(buckets)
        taken = self._local.take_now(shares, force=self._on_error == "allow")
        if not taken.is_allowed:
            return taken
        pairs = zip(buckets, taken.holds, strict=True)
        # A window begins at the same moment there as here, so the mark of a refund is the same, too.
        holds = [Hold(b, PREFIX + b.key, h.units, h.mark, h.remaining, h.reset_ms) for b, h in pairs]
        verdict = Verdict(holds, mirror=taken, outage=self._outage)
        self._note_unseen(verdict, taken)
        self._note_streams(verdict, secrets.token_hex(8))
        return verdict

    def _shares(self, buckets: Sequence[Bucket]) -> list[Bucket]:
        of, rank = self.replicas, self.rank
        # The level of a rate is counted in parts of a unit, and how small they are depends on their number.
        keys = (b.key if not isinstance(b.limit, RateLimit) else f"{b.key}#{of}" for b in buckets)
        full = (min(b.units, b.limit.capacity) for b in buckets)
        return [
            Bucket(key, bucket.limit.share(of, rank), units, bucket.is_lasting)
            for key, bucket, units in zip(keys, buckets, full, strict=True)
        ]

    def _note_unseen(self, verdict: Verdict, taken: Verdict) -> None:
        now = self._moment()
        for hold, share in zip(verdict.holds, taken.holds, strict=True):
            if not isinstance(limit := hold.bucket.limit, StreamLimit):
                debt = self._unseen.take(hold.key, limit, share, self._local.state_of(share), now)
                self._owed += [] if debt is None else [debt]

    def _note_streams(self, verdict: Verdict, lease: str) -> None:
        streams = [hold.key for hold in verdict.holds if isinstance(hold.bucket.limit, StreamLimit)]
        if streams:
            verdict.lease = lease
            self._leases[lease] = streams

    # ---- the server ----------------------------------------------------------------------------

    async def _run(self, op: str, script: Script, keys: Sequence[str], args: Sequence[str | int]) -> Any:
        """
        Run *script*, within the budget and with a second connection if that may help.

        Raises:
            StoreDown: It failed.
        """
        try:
            async with asyncio.timeout(self._budget):
                try:
                    return await script.run(self._client, keys, args)
                except _FRESH_CONNECTION as error:
                    if isinstance(error, _HOPELESS):
                        raise
                    await self._client.connection_pool.disconnect(inuse_connections=False)
                    return await script.run(self._client, keys, args)
        except (TimeoutError, RedisError, OSError) as error:
            self._fail(op, error)
            raise StoreDown(str(error)) from error

    def _fail(self, op: str, error: Exception) -> None:
        self._failed_op(op)
        was_up, self.is_up = self.is_up, False
        if was_up:
            self._is_wanted.set()
        now = time.monotonic()
        if was_up or now - self._complained_at >= _REMINDER:
            self._complained_at = now
            _log.error("the limit store fails (%s): %s; on_store_error: %s", op, _why(error), self._on_error)

    async def _keep(self) -> None:
        """Give signs of life, and look for a server that is down."""
        while True:
            try:
                async with asyncio.timeout(BEAT if self.is_up else LOOK):
                    await self._is_wanted.wait()
            except TimeoutError:
                await self.beat()
            self._is_wanted.clear()

    async def beat(self) -> None:
        """Say that this replica lives and what it has open; if the server answers, it is up."""
        told: set[tuple[str, str]] = set()
        while True:
            pairs = [pair for pair in self._open_streams() if pair not in told]
            try:
                for at in range(0, max(1, len(pairs)), _BATCH):
                    await self._beat_for(pairs[at : at + _BATCH])
            except StoreDown:
                return
            told.update(pairs)
            # Streams that have ended meanwhile must not have been opened again.
            ended = (pair for pair in pairs if pair[1] not in self._leases)
            self._owed += [Debt(key, StreamLimit(0), -1, lease=lease) for key, lease in ended]
            self._owe_unseen()
            if not await self._write() or self.is_up:
                return
            # Nor may it be asked before it knows those that have been opened without it meanwhile.
            if told.issuperset(self._open_streams()):
                break
        self.is_up = True
        if self._complained_at != _NEVER:
            _log.warning("the limit store answers")
        # What was taken while that was written; from here on nothing is.
        self._owe_unseen()
        await self._write()

    def _open_streams(self) -> list[tuple[str, str]]:
        """Return bucket and lease of each."""
        return [(key, lease) for lease, keys in self._leases.items() for key in keys]

    def _owe_unseen(self) -> None:
        self._owed += self._unseen.debts(self._moment())
        self._outage += 1

    async def _beat_for(self, pairs: Sequence[tuple[str, str]]) -> None:
        keys = [_REPLICAS, *(key for key, _ in pairs)]
        args: list[str | int] = [self._name, EXPIRY * TICKS_PER_SECOND, *(lease for _, lease in pairs)]
        self.replicas, self.rank = await self._run("beat", self._beat, keys, args)

    async def _write(self) -> bool:
        """Tell the server what is owed; return whether it knows all of it now."""
        while self._owed:
            batch = [self._owed.popleft() for _ in range(min(_BATCH, len(self._owed)))]
            args = [arg for debt in batch for arg in debt.args()]
            try:
                await self._run("settle", self._settle, [debt.key for debt in batch], args)
            except StoreDown:
                self._owed.extendleft(debt for debt in reversed(batch) if debt.may_be_paid_twice)
                return False
        return True


def _client(url: str, budget: float) -> Redis:
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=_CONNECTIONS,
        timeout=budget,
        socket_timeout=budget,
        socket_connect_timeout=budget,
        retry=Retry(NoBackoff(), 0),  # the library's own waits for seconds
        protocol=2,
    )
    return Redis.from_pool(pool)


def _why(error: Exception) -> str:
    """Return a word on *error*; the library's own may hold the address with its password."""
    if isinstance(error, ResponseError):
        return str(error).split(" ", 1)[0] or type(error).__name__
    return "no answer in time" if isinstance(error, TimeoutError) else type(error).__name__
