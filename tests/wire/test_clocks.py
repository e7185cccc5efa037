import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssegate.wire.clocks import Clocks


def clocks(first_token=10.0, idle=2.0, total=60.0, started_at=100.0):
    return Clocks(started_at, first_token=first_token, idle=idle, total=total)


def code(clock, now):
    failure = clock.expired(now)
    return failure and failure.code


def test_the_first_token_has_its_own_clock():
    """Until the first content only `first_token` and `total` run, from the request on."""
    clock = clocks()

    assert clock.deadline == 110.0
    assert code(clock, 109.999) is None
    assert code(clock, 110.0) == "first_token_timeout"


def test_after_content_silence_is_measured_from_the_last_of_it():
    """Each content event gives the upstream `idle` more seconds."""
    clock = clocks()
    clock.content(109.0)
    clock.content(110.5)

    assert clock.deadline == 112.5
    assert code(clock, 112.499) is None
    assert code(clock, 112.5) == "idle_timeout"


def test_work_that_makes_no_content_is_no_silence():
    """A search gives `idle` more seconds; the first token is still to come, whatever goes on before it."""
    clock = clocks()
    clock.progress(109.0)
    assert clock.deadline == 110.0

    clock.content(109.0)
    clock.progress(110.5)
    assert clock.deadline == 112.5


def test_the_total_ends_even_a_stream_that_is_never_silent():
    """`total` counts from the request, content or not."""
    clock = clocks()
    for now in range(101, 160):
        clock.content(float(now))
        assert clock.expired(float(now)) is None

    assert clock.deadline == 160.0
    assert code(clock, 160.0) == "total_timeout"


def test_the_message_says_how_long():
    """Whoever reads it knows which number of the configuration to change."""
    assert clocks(first_token=600.0).expired(10_000.0).message == "the stream took longer than 60 s"
    assert clocks().expired(110.0).message == "upstream sent no token within 10 s"
    clock = clocks(idle=0.25)
    clock.content(101.0)
    assert clock.expired(101.25).message == "upstream was silent for 0.25 s"


@pytest.mark.parametrize("seen", [False, True])
def test_silence_does_not_count_while_we_hold_the_upstream_back(seen):
    """A client that does not read is no reason to call the upstream silent."""
    clock = clocks()
    allowed = 2.0 if seen else 10.0
    if seen:
        clock.content(100.0)
    clock.pause(101.5)

    assert code(clock, 150.0) is None
    assert clock.deadline == 160.0
    clock.resume(130.0)
    assert clock.deadline == 100.0 + allowed + 28.5
    assert code(clock, 100.0 + allowed + 28.5) == ("idle_timeout" if seen else "first_token_timeout")


def test_the_total_runs_on_while_we_hold_the_upstream_back():
    """A client that never reads cannot keep a stream for ever."""
    clock = clocks()
    clock.pause(101.0)

    assert code(clock, 160.0) == "total_timeout"


def test_a_second_pause_adds_nothing_to_the_first():
    """Pausing twice is pausing once; resuming without a pause is nothing."""
    clock = clocks()
    clock.pause(101.0)
    clock.pause(105.0)
    clock.resume(106.0)
    clock.resume(109.0)

    assert clock.deadline == 115.0


@pytest.mark.parametrize("seen", [False, True])
def test_a_clock_that_is_off_never_runs_out(seen):
    """``None`` is no limit."""
    clock = clocks(first_token=None, idle=None, total=None)
    if seen:
        clock.content(101.0)

    assert clock.deadline is None
    assert clock.expired(1e9) is None


def test_silence_may_be_limited_without_a_total():
    """The deadline is that of the clocks that run."""
    assert clocks(total=None).deadline == 110.0


@given(
    acts=st.lists(
        st.tuples(st.floats(0.001, 5.0), st.sampled_from(["content", "pause", "resume", "look"])), max_size=30
    )
)
def test_nothing_expires_before_the_deadline_and_something_does_at_it(acts):
    """The deadline is exactly the moment at which `expired` begins to say something."""
    clock, now = clocks(first_token=3.0, idle=2.0, total=40.0), 100.0
    for pause, act in acts:
        now += pause
        if act != "look":
            getattr(clock, act)(now)
        deadline = clock.deadline

        assert clock.expired(deadline) is not None
        assert clock.expired(deadline - 1e-6) is None
