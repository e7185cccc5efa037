"""The shared store and a server that is there, is not there, or says no."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from realredis import RedisServer, serving

from ssegate.limits import Bucket, RateLimit, StoreDown, StreamLimit, WindowLimit
from ssegate.limits.debts import Unseen
from ssegate.limits.ground import TICKS_PER_SECOND, Moment
from ssegate.limits.memory import MemoryStore
from ssegate.limits.redis import BUDGET, RedisStore

from .engines import RedisEngine

PATIENCE = 10.0

UNHURRIED = 25 * BUDGET
"""Seconds. Long for one wait on the busiest machine, and shorter than a server's absence in these tests."""


def requests(amount, period="minute", key="k"):
    return Bucket(f"{key}:requests/{period}", RateLimit("requests", amount, period, amount), 1)


def budget(amount, units=1):
    return Bucket("k:cost/month", WindowLimit("cost", amount, "month"), units)


def streams(amount, key="k"):
    return Bucket(f"{key}:streams", StreamLimit(amount), 1)


@asynccontextmanager
async def store_of(server: RedisServer, on_error="local", **settings) -> AsyncIterator[RedisStore]:
    store = RedisStore(server.url, on_error, **settings)
    await store.start()
    try:
        yield store
    finally:
        await store.stop()


async def admitted(store, *buckets, of):
    return sum([(await store.take(buckets)).is_allowed for _ in range(of)])


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.02)


async def waiting(store, *buckets, of=200) -> int:
    """Return how many of *of* decisions, one after the other, waited for anything at all."""
    turns: list[None] = []
    for _ in range(of):
        turn = asyncio.get_running_loop().call_soon(turns.append, None)
        await store.take(buckets)
        turn.cancel()
    return len(turns)


async def test_time_is_the_servers(redis_server: RedisServer):
    """A limit a second is one a second of the server's, without any clock of ours."""
    async with store_of(redis_server) as store:
        assert await admitted(store, requests(5, "second"), of=5) == 5
        refused = await store.take([requests(1, "minute"), requests(1, "minute", key="other")])
        assert refused.is_allowed
        refused = await store.take([requests(1, "minute")])
        assert 59_000 < refused.wait_ms <= 60_000


async def test_a_server_without_script_will_do(tmp_path: Path):
    """Proxies that block SCRIPT get EVALSHA, and EVAL with the text where that is not known."""
    try:
        with serving(tmp_path, "--save", "", "--rename-command", "SCRIPT", "") as server:
            async with store_of(server) as store:
                assert store.is_up
                assert await admitted(store, requests(3), of=5) == 3
                with server.client() as client:
                    client.execute_command("FUNCTION", "FLUSH")
                    assert client.info("commandstats")["cmdstat_eval"]["calls"] == 2  # beat and take
    except FileNotFoundError as missing:
        pytest.skip(str(missing))


async def test_a_forgotten_script_is_sent_again(redis_server: RedisServer):
    """NOSCRIPT after a restart or a flush harms nobody."""
    async with store_of(redis_server) as store:
        await store.take([requests(3)])
        with redis_server.client() as client:
            client.script_flush()

        assert await admitted(store, requests(3), of=5) == 2
        assert store.is_up


async def test_a_connection_that_was_closed_is_replaced(own_redis: RedisServer):
    """A server that dropped its idle connections is no server that is down."""
    async with store_of(own_redis) as store:
        await store.take([requests(3)])
        with own_redis.client() as client:
            client.client_kill_filter(_type="normal", skipme=True)

        assert (await store.take([requests(3)])).is_alone is False
        assert store.is_up


@pytest.mark.parametrize("error", ["READONLY", "OOM", "NOAUTH"])
async def test_a_server_that_refuses_to_write_counts_as_down(own_redis: RedisServer, error: str):
    """Whatever it says: requests go on with the own share, and the server is found again by itself."""
    failed: list[str] = []
    async with store_of(own_redis, failed=failed.append) as store:
        with own_redis.client() as client:
            if error == "READONLY":
                client.replicaof("127.0.0.1", "1")
            elif error == "OOM":
                client.config_set("maxmemory", "1")
            else:
                client.config_set("requirepass", "x")
                client.client_kill_filter(_type="normal", skipme=True)

            verdict = await store.take([requests(3)])
            assert verdict.is_allowed and verdict.is_alone
            assert not store.is_up and failed[0] == "take"

            if error == "READONLY":
                client.replicaof("NO", "ONE")
            elif error == "OOM":
                client.config_set("maxmemory", "0")
            else:
                client.config_set("requirepass", "")
            await until(lambda: store.is_up)
        assert not (await store.take([requests(3)])).is_alone


@pytest.mark.parametrize(
    ("said", "tries"),
    [
        ("MOVED 1 127.0.0.1:1", 2),
        ("READONLY You can't write against a read only replica.", 2),
        ("LOADING Redis is loading the dataset in memory", 1),
        ("CLUSTERDOWN The cluster is down", 1),
    ],
)
async def test_another_connection_is_tried_where_it_may_help(said: str, tries: int):
    """After a failover the name leads to a new primary; a server that loads only needs time."""
    asked = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(0)
        try:
            while data := await reader.read(65536):
                asked[-1] += data.count(b"EVALSHA")
                for _ in range(max(1, data.count(b"CLIENT"))):
                    writer.write(f"-{said}\r\n".encode() if b"EVALSHA" in data else b"+OK\r\n")
        finally:
            writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        store = RedisStore(f"redis://127.0.0.1:{port}/0", budget=5)
        await store.beat()
        assert not store.is_up
        assert sum(asked) == tries
        await store.stop()


async def test_a_gate_starts_without_its_server(own_redis: RedisServer):
    """Down at the start is down: the own share, and the server is found when it comes."""
    own_redis.kill()
    async with store_of(own_redis) as store:
        assert await admitted(store, requests(3), of=5) == 3
        own_redis.start()
        await until(lambda: store.is_up)
        assert await admitted(store, requests(3), of=5) == 0
        assert await admitted(store, requests(3, key="other"), of=5) == 3


@pytest.mark.parametrize("how", ["killed", "frozen", "slowed"])
async def test_a_server_that_fails_costs_100_ms_once(own_redis: RedisServer, how: str):
    """Killed, frozen or slow: one request waits 100 ms, then nobody does; afterwards all is exact."""
    async with store_of(own_redis) as store:
        await store.take([requests(1000, "hour")])
        with own_redis.client() as client:
            if how == "killed":
                own_redis.kill()
            elif how == "frozen":
                own_redis.send(signal.SIGSTOP)
            else:
                client.execute_command("CLIENT", "PAUSE", "3000", "ALL")

        async with asyncio.timeout(UNHURRIED):
            assert await waiting(store, requests(10**6)) == 1
        if how == "killed":
            own_redis.start()
        elif how == "frozen":
            own_redis.send(signal.SIGCONT)
        await until(lambda: store.is_up)
        assert await admitted(store, requests(7, key="after"), of=20) == 7


async def test_requests_that_come_together_wait_together(own_redis: RedisServer):
    """A hundred at the moment of the failure: each waits 100 ms at most."""
    async with store_of(own_redis) as store:
        await store.take([requests(10**6)])
        own_redis.send(signal.SIGSTOP)
        async with asyncio.timeout(UNHURRIED):
            await asyncio.gather(*(store.take([requests(10**6)]) for _ in range(100)))
        own_redis.send(signal.SIGCONT)


@pytest.mark.parametrize("replicas", [1, 3])
async def test_replicas_without_their_server_admit_the_limit_together(own_redis: RedisServer, replicas: int):
    """Each goes by its share of what the server last counted: all shares are the whole, never more."""
    stores = [RedisStore(own_redis.url) for _ in range(replicas)]
    for store in stores * 2:
        await store.beat()
    assert {store.replicas for store in stores} == {replicas}
    own_redis.kill()

    counts = [await admitted(store, requests(100), of=150) for store in stores]
    few = [await admitted(store, streams(2), of=5) for store in stores]

    assert sum(counts) == 100 and max(counts) - min(counts) <= 1
    assert sum(few) == 2
    for store in stores:
        await store.stop()


async def test_a_share_does_not_begin_full(own_redis: RedisServer):
    """What a replica has admitted before the failure counts in its share."""
    async with store_of(own_redis) as store:
        assert await admitted(store, requests(100, "minute"), of=60) == 60
        assert (await store.take([streams(2)])).is_allowed
        own_redis.kill()

        assert 40 <= await admitted(store, requests(100, "minute"), of=100) <= 43
        assert await admitted(store, streams(2), of=5) == 1


async def test_a_stream_that_got_no_answer_holds_no_place(own_redis: RedisServer):
    """The server may run late what was asked of it; the place that this opened is closed again."""
    async with store_of(own_redis) as store, store_of(own_redis) as other:
        own_redis.send(signal.SIGSTOP)
        alone = await store.take([streams(2)])
        assert alone.is_alone and alone.is_allowed
        own_redis.send(signal.SIGCONT)
        await until(lambda: store.is_up and other.is_up)

        assert await admitted(other, streams(2), of=5) == 1


async def test_a_stream_that_opens_while_the_server_comes_back_counts(own_redis: RedisServer):
    """The server learns of it before anything is decided there again, though it came after the question."""
    async with store_of(own_redis) as other:
        store = RedisStore(own_redis.url, budget=10)
        own_redis.send(signal.SIGSTOP)
        beating = asyncio.create_task(store.beat())
        await asyncio.sleep(0.05)
        opened = await store.take([streams(2)])
        own_redis.send(signal.SIGCONT)
        await beating
        await until(lambda: other.is_up)

        assert opened.is_alone and store.is_up
        assert await admitted(other, streams(2), of=5) == 1
        await store.stop()


async def test_a_client_that_leaves_while_it_is_decided_takes_nothing(own_redis: RedisServer):
    """The answer came too late for it, and all that was taken comes back."""
    async with store_of(own_redis, budget=10) as store:
        assert (await store.take([requests(100, "hour")])).is_allowed
        own_redis.send(signal.SIGSTOP)
        asked = asyncio.create_task(store.take([requests(100, "hour"), budget(100, 70), streams(1)]))
        await asyncio.sleep(0)
        asked.cancel()
        await asyncio.wait({asked})
        own_redis.send(signal.SIGCONT)
        await store.written()

        verdict = await store.take([requests(100, "hour"), budget(100, 100), streams(1)])
        assert asked.cancelled() and verdict.is_allowed
        assert verdict.holds[0].remaining == 98


async def test_many_open_streams_are_kept_alive(redis_server: RedisServer):
    """More than fit into one script; after 30 s without the others' signs all are still open."""
    engine = RedisEngine(redis_server)
    await engine.start()
    assert await admitted(engine.store, streams(205), of=205) == 205
    for _ in range(4):
        engine.move(10 * TICKS_PER_SECOND)
        await engine.store.beat()
    assert not (await engine.take(streams(205))).is_allowed
    await engine.stop()


async def test_a_budget_holds_through_a_failure(own_redis: RedisServer):
    """What was spent while the server was frozen is written when it is back."""
    async with store_of(own_redis) as store, store_of(own_redis) as other:
        first = await store.take([budget(100, 10)])
        own_redis.send(signal.SIGSTOP)
        alone = await store.take([budget(100, 30)])
        assert alone.is_alone and alone.is_allowed
        store.settle(alone, {"cost": 20})
        store.settle(first, {"cost": 15})
        own_redis.send(signal.SIGCONT)
        await until(lambda: store.is_up and other.is_up)

        # The take that got no answer ran all the same: on the safe side.
        left = (await other.take([budget(100, 1)])).holds[0].remaining
        assert left in (100 - 20 - 15 - 1, 100 - 20 - 15 - 30 - 1)


async def test_a_rate_holds_through_a_failure(own_redis: RedisServer):
    """No burst more when the server is back: what was taken without it is gone there, too."""
    async with store_of(own_redis) as store, store_of(own_redis) as other:
        assert await admitted(store, requests(100), of=1) == 1
        store.replicas, began = 1, time.monotonic()
        own_redis.send(signal.SIGSTOP)
        assert 99 <= await admitted(store, requests(100), of=110) <= 101
        own_redis.send(signal.SIGCONT)
        await until(lambda: store.is_up and other.is_up)
        leaked = (time.monotonic() - began) * 100 / 60

        # The take that got no answer ran all the same, and parts of units are rounded up.
        assert leaked - 4 <= await admitted(other, requests(100), of=100) <= leaked + 1


KINDS = {
    "rate": Bucket("k:tokens/minute", RateLimit("tokens", 1000, "minute", 1000), 600),
    "window": Bucket("k:tokens/month", WindowLimit("tokens", 1000, "month"), 600),
}


@pytest.mark.parametrize("ends", ["before", "after"])
@pytest.mark.parametrize("bucket", KINDS.values(), ids=KINDS)
async def test_what_was_reserved_alone_is_settled(own_redis: RedisServer, bucket: Bucket, ends: str):
    """The server learns of it when it is back, and of what was really used whenever the request ends."""
    probe = replace(bucket, units=1)
    async with store_of(own_redis) as store:
        own_redis.kill()
        alone = await store.take([bucket])
        assert alone.is_alone and alone.is_allowed
        if ends == "before":
            store.settle(alone, {"tokens": 100})
        own_redis.start()
        await until(lambda: store.is_up)
        if ends == "after":
            assert 399 <= (await store.take([probe])).holds[0].remaining < 500
            store.settle(alone, {"tokens": 100})
            await store.written()

        assert 898 <= (await store.take([probe])).holds[0].remaining < 1000


async def test_a_flood_without_the_server_is_remembered_within_bounds():
    """The bucket noted first is owed as it was then; nothing is forgotten."""
    unseen, now = Unseen(2), Moment(0, 0)
    local = MemoryStore(lambda: now)
    shares = [local.take_now([requests(100, key=key)]).holds[0] for key in "abc"]
    debts = [unseen.take(h.key, h.bucket.limit, h, local.state_of(h), now) for h in shares]

    assert [debt and (debt.key, debt.units) for debt in debts] == [None, None, ("a:requests/minute", 1)]
    assert [(debt.key[0], debt.units) for debt in unseen.debts(now)] == [("b", 1), ("c", 1)]
    assert list(unseen.debts(now)) == []


async def test_streams_that_began_alone_are_known_afterwards(own_redis: RedisServer):
    """A stream that outlives the failure counts for all replicas again."""
    async with store_of(own_redis) as store:
        own_redis.kill()
        alone = await store.take([streams(1)])
        assert alone.is_allowed and alone.is_alone
        own_redis.start()
        await until(lambda: store.is_up)
        async with store_of(own_redis) as other:
            assert not (await other.take([streams(1)])).is_allowed
            store.settle(alone, {})
            await store.written()
            assert (await other.take([streams(1)])).is_allowed


async def test_a_dead_replica_gives_its_streams_back(redis_server: RedisServer):
    """Signs of life keep a lease; 30 s after the last one it is over."""
    engine = RedisEngine(redis_server)
    await engine.start()
    assert (await engine.take(streams(1))).is_allowed
    for _ in range(6):
        engine.move(10 * TICKS_PER_SECOND)
        await engine.store.beat()
        assert not (await engine.take(streams(1))).is_allowed
    engine.move(29 * TICKS_PER_SECOND)
    assert not (await engine.take(streams(1))).is_allowed
    engine.move(TICKS_PER_SECOND)
    assert (await engine.take(streams(1))).is_allowed
    await engine.stop()


async def test_replicas_that_leave_are_not_counted(redis_server: RedisServer):
    """One that ends says so; one that dies is forgotten after 30 s."""
    async with store_of(redis_server) as stays:
        async with store_of(redis_server):
            await stays.beat()
            assert stays.replicas == 2
        await stays.beat()
        assert stays.replicas == 1


async def test_deny_refuses_and_allow_admits(own_redis: RedisServer):
    """``on_store_error`` decides what a missing server means."""
    async with store_of(own_redis, "deny") as deny, store_of(own_redis, "allow") as allow:
        own_redis.kill()
        with pytest.raises(StoreDown):
            await deny.take([requests(3)])
        assert await admitted(allow, requests(3), of=10) == 10


async def test_budgets_survive_a_restart(tmp_path: Path):
    """A server that writes its log keeps a month's budget."""
    try:
        with serving(tmp_path, "--appendonly", "yes", "--appendfsync", "always") as server:
            async with store_of(server) as store:
                await store.take([budget(100, 70)])
                server.kill()
                server.start()
                await until(lambda: store.is_up)
            async with store_of(server) as store:
                assert (await store.take([budget(100, 10)])).holds[0].remaining == 20
    except FileNotFoundError as missing:
        pytest.skip(str(missing))


async def test_no_password_is_in_the_log(caplog: pytest.LogCaptureFixture):
    """A server that cannot be reached is complained of without its address."""
    store = RedisStore("redis://:hunter2hunter2@127.0.0.1:1/0")
    store.is_up = True
    await store.beat()

    assert "the limit store fails" in caplog.text
    assert "hunter2" not in caplog.text
    await store.stop()
