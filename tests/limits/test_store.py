"""What every store promises; each test runs against each of them."""

from __future__ import annotations

from ssegate.limits import Bucket, RateLimit, StreamLimit, WindowLimit
from ssegate.limits.ground import PERIOD_TICKS, TICKS_PER_MS, TICKS_PER_SECOND

from .engines import Engine

HOUR, DAY = PERIOD_TICKS["hour"], PERIOD_TICKS["day"]


def requests(amount, period="minute", burst=None, key="k", units=1):
    return Bucket(f"{key}:requests/{period}", RateLimit("requests", amount, period, burst or amount), units)


def tokens(amount, units, period="minute", key="k"):
    return Bucket(f"{key}:tokens/{period}", RateLimit("tokens", amount, period, amount), units)


def budget(amount, units, period="day", key="k"):
    return Bucket(f"{key}:cost/{period}", WindowLimit("cost", amount, period), units)


def streams(amount, key="k"):
    return Bucket(f"{key}:streams", StreamLimit(amount), 1)


async def admitted(engine, *buckets, of=100):
    return sum([(await engine.take(*buckets)).is_allowed for _ in range(of)])


async def test_a_burst_is_admitted_at_once_and_then_the_rate(engine: Engine):
    """60 a minute: 60 together, then one each second."""
    assert await admitted(engine, requests(60)) == 60
    engine.move(TICKS_PER_SECOND)
    assert await admitted(engine, requests(60)) == 1
    engine.move(10 * TICKS_PER_SECOND)
    assert await admitted(engine, requests(60)) == 10
    engine.move(HOUR)
    assert await admitted(engine, requests(60)) == 60


async def test_a_burst_of_its_own_is_kept(engine: Engine):
    """60 a minute, burst 10: only ten at once."""
    assert await admitted(engine, requests(60, burst=10)) == 10
    engine.move(HOUR)
    assert await admitted(engine, requests(60, burst=10)) == 10


async def test_waiting_as_told_succeeds_and_100_ms_less_does_not(engine: Engine):
    """The wait is exact to a millisecond, for a rate that divides no period evenly, too."""
    await admitted(engine, requests(7))

    wait = (await engine.take(requests(7))).wait_ms

    assert wait == 8572  # 60 000 / 7 = 8571.43
    engine.move((wait - 100) * TICKS_PER_MS)
    assert not (await engine.take(requests(7))).is_allowed
    engine.move(99 * TICKS_PER_MS)
    assert not (await engine.take(requests(7))).is_allowed
    engine.move(TICKS_PER_MS)
    assert (await engine.take(requests(7))).is_allowed


async def test_all_buckets_are_taken_from_or_none(engine: Engine):
    """A request that one bucket refuses leaves the others as they were."""
    small, large = requests(1, key="small"), requests(10, key="large")
    assert (await engine.take(large, small)).is_allowed

    for _ in range(20):
        verdict = await engine.take(large, small)
        assert verdict.refused == small
        assert [hold.remaining for hold in verdict.holds] == [9, 0]

    assert await admitted(engine, large) == 9


async def test_the_longest_wait_is_told(engine: Engine):
    """Of several buckets that refuse, the one that is free last counts."""
    fast, slow = requests(1, "second"), requests(1, "minute")
    await engine.take(fast, slow)

    verdict = await engine.take(fast, slow)

    assert (verdict.refused, verdict.wait_ms) == (slow, 60_000)
    assert [hold.reset_ms for hold in verdict.holds] == [1000, 60_000]


async def test_a_window_follows_the_calendar_and_never_gives_more(engine: Engine):
    """5 an hour at 12:00: all five, and none before 13:00; Retry-After is the time to the window's end."""
    limit = budget(5, 1, "hour")
    engine.move(HOUR // 2)
    assert await admitted(engine, limit) == 5
    verdict = await engine.take(limit)
    assert (verdict.wait_ms, verdict.holds[0].reset_ms) == (1_800_000, 1_800_000)

    engine.move(HOUR // 2 - 1)
    assert not (await engine.take(limit)).is_allowed
    engine.move(1)
    assert await admitted(engine, limit) == 5


async def test_days_and_months_are_those_of_utc(engine: Engine):
    """From noon of 15 January: the day ends in half a day, the month in 16.5."""
    assert (await engine.take(budget(5, 1, "day"))).holds[0].reset_ms == 43_200_000
    assert (await engine.take(budget(5, 1, "month"))).holds[0].reset_ms == 1_425_600_000
    engine.move(17 * DAY)  # February of a year that is no leap year
    assert (await engine.take(budget(5, 1, "month"))).holds[0].reset_ms == int(27.5 * 86_400_000)
    engine.move(366 * DAY)  # February 2028 is one day longer
    assert (await engine.take(budget(5, 1, "month"))).holds[0].reset_ms == int(27.5 * 86_400_000)
    engine.move(305 * DAY)  # December: the year ends, too
    assert (await engine.take(budget(5, 1, "month"))).holds[0].reset_ms == int(28.5 * 86_400_000)


async def test_what_was_not_used_comes_back(engine: Engine):
    """A refund makes room at once, and never more than the burst."""
    verdict = await engine.take(tokens(1000, 1000))
    assert not (await engine.take(tokens(1000, 1))).is_allowed

    await engine.settle(verdict, {"tokens": 400})

    assert (await engine.take(tokens(1000, 600))).is_allowed
    assert not (await engine.take(tokens(1000, 1))).is_allowed


async def test_a_late_refund_never_passes_the_burst(engine: Engine):
    """What has been filled up meanwhile is not filled up twice."""
    verdict = await engine.take(tokens(1000, 1000))
    engine.move(HOUR)

    await engine.settle(verdict, {"tokens": 0})

    assert (await engine.take(tokens(1000, 1000))).is_allowed
    assert not (await engine.take(tokens(1000, 1))).is_allowed


async def test_debt_is_allowed_and_paid_back(engine: Engine):
    """Who used 3000 of 1000 a minute waits until 2000 have been paid back."""
    verdict = await engine.take(tokens(1000, 10))
    await engine.settle(verdict, {"tokens": 3000})

    refused = await engine.take(tokens(1000, 1000))

    assert (refused.wait_ms, refused.holds[0].remaining) == (180_000, 0)
    engine.move(179 * TICKS_PER_SECOND)
    assert not (await engine.take(tokens(1000, 1000))).is_allowed
    engine.move(TICKS_PER_SECOND)
    assert (await engine.take(tokens(1000, 1000))).is_allowed


async def test_what_is_reported_below_nothing_counts_as_nothing(engine: Engine):
    """An upstream cannot give its caller more than the reservation back."""
    await engine.take(tokens(1000, 500))
    verdict = await engine.take(tokens(1000, 100))

    await engine.settle(verdict, {"tokens": -10_000})

    assert (await engine.take(tokens(1000, 500))).is_allowed
    assert not (await engine.take(tokens(1000, 1))).is_allowed


async def test_only_the_first_settlement_counts(engine: Engine):
    """However many ends a stream seems to have, it is settled once."""
    verdict = await engine.take(tokens(1000, 1000))
    for _ in range(3):
        await engine.settle(verdict, {"tokens": 900})

    assert (await engine.take(tokens(1000, 100))).is_allowed
    assert not (await engine.take(tokens(1000, 1))).is_allowed


async def test_a_refused_request_has_nothing_to_settle(engine: Engine):
    """It took nothing, so it gives nothing back."""
    await engine.take(tokens(1000, 1000))
    refused = await engine.take(tokens(1000, 500))

    await engine.settle(refused, {"tokens": 0})

    assert not (await engine.take(tokens(1000, 1))).is_allowed


async def test_a_refund_belongs_to_the_window_it_was_taken_in(engine: Engine):
    """Yesterday's rest makes today's budget no larger; a debt is today's."""
    yesterday = await engine.take(budget(100, 80))
    debtor = await engine.take(budget(100, 10))
    engine.move(DAY)

    await engine.settle(yesterday, {"cost": 0})
    assert (await engine.take(budget(100, 60))).is_allowed
    await engine.settle(debtor, {"cost": 30})
    assert (await engine.take(budget(100, 21))).is_allowed is False
    assert (await engine.take(budget(100, 20))).is_allowed


async def test_more_than_fits_is_taken_as_what_fits(engine: Engine):
    """A request larger than the limit is admitted when the bucket is full, and takes all of it."""
    assert (await engine.take(tokens(1000, 5000))).is_allowed
    assert not (await engine.take(tokens(1000, 1))).is_allowed


async def test_open_streams_are_counted_from_begin_to_end(engine: Engine):
    """Two of two are open: the third waits a second, and is let in once one has ended."""
    first, second = await engine.take(streams(2)), await engine.take(streams(2))
    refused = await engine.take(streams(2))
    assert (refused.is_allowed, refused.wait_ms) == (False, 1000)

    await engine.settle(first, {})
    await engine.settle(first, {})

    third = await engine.take(streams(2))
    assert third.is_allowed
    assert not (await engine.take(streams(2))).is_allowed
    await engine.settle(second, {})
    await engine.settle(third, {})
    assert await admitted(engine, streams(2)) == 2


async def test_a_clock_that_is_set_back_gives_nothing_and_takes_nothing(engine: Engine):
    """The rate goes on from the earlier moment; nobody is shut out for the hour it was set back."""
    await admitted(engine, requests(60))
    engine.move(-HOUR)
    assert not (await engine.take(requests(60))).is_allowed
    engine.move(TICKS_PER_SECOND)
    assert await admitted(engine, requests(60)) == 1


async def test_a_clock_that_jumps_ahead_gives_one_burst(engine: Engine):
    """However far it jumps."""
    await admitted(engine, requests(60))
    engine.move(10_000 * DAY)
    assert await admitted(engine, requests(60)) == 60


async def test_a_clock_set_back_over_midnight_opens_no_second_window(engine: Engine):
    """The day that had begun goes on."""
    engine.move(DAY // 2)
    assert await admitted(engine, budget(5, 1)) == 5
    engine.move(-60 * TICKS_PER_SECOND)
    assert not (await engine.take(budget(5, 1))).is_allowed
    engine.move(DAY - TICKS_PER_SECOND)
    assert not (await engine.take(budget(5, 1))).is_allowed
    engine.move(61 * TICKS_PER_SECOND)
    assert await admitted(engine, budget(5, 1)) == 5


async def test_a_clock_that_was_a_year_ahead_shuts_nobody_out(engine: Engine):
    """What was counted in the wrong year counts today, and tomorrow is a new day."""
    engine.move(365 * DAY)
    assert await admitted(engine, budget(5, 1)) == 5
    engine.move(-365 * DAY)
    assert not (await engine.take(budget(5, 1))).is_allowed
    engine.move(DAY)
    assert await admitted(engine, budget(5, 1)) == 5


async def test_large_numbers_stay_exact(engine: Engine):
    """Half a billion tokens a minute are counted to the token, in debt, too."""
    large = 500_000_000
    verdict = await engine.take(tokens(large, large - 1))
    assert verdict.holds[0].remaining == 1
    assert not (await engine.take(tokens(large, 2))).is_allowed
    await engine.settle(verdict, {"tokens": large + 1})
    refused = await engine.take(tokens(large, large))
    assert refused.wait_ms == 60_001  # one token more than a minute's
    engine.move(60_000 * TICKS_PER_MS)
    assert not (await engine.take(tokens(large, large))).is_allowed
    engine.move(1)
    assert (await engine.take(tokens(large, large))).is_allowed


async def test_a_limit_may_change_under_its_bucket(engine: Engine):
    """A reload that lowers a limit counts what was used before."""
    await admitted(engine, requests(60), of=30)
    assert await admitted(engine, requests(40)) == 10
    assert await admitted(engine, requests(60)) == 20
