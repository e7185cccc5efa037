"""Settings of the simulated upstream, and how a request overrides them."""

from __future__ import annotations

from pathlib import Path

import pytest

from ssegate.simulate import FAULTS, Behaviour
from ssegate.simulate.behaviour import overridden


def test_an_unknown_fault_lists_the_known_ones():
    """A wrong name of a fault is told at once, with a guess and with every name there is."""
    with pytest.raises(ValueError, match=r"fault: unknown name 'restet' \(did you mean reset\?\)") as caught:
        Behaviour(fault="restet")

    assert all(name in str(caught.value) for name in FAULTS)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dialect": "openia"}, r"did you mean openai\?"),
        ({"rate": -1}, "rate must be from 0"),
        ({"rate": float("nan")}, "rate must be from 0"),
        ({"tokens": 10**9}, "tokens must be from 0 to 1e"),
        ({"first_token_delay": float("inf")}, "first_token_delay must be"),
        ({"replay": Path("nowhere.sse")}, "no such file: nowhere.sse"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, object], message: str):
    """Names nobody knows, numbers out of bounds and missing files raise, saying which and why."""
    with pytest.raises(ValueError, match=message):
        Behaviour(**settings)  # type: ignore[arg-type]


def test_a_header_overrides_what_it_names():
    """Each pair replaces one setting; blanks and a trailing semicolon do not matter."""
    base = Behaviour(tokens=5, fault="stall", seed=9)

    changed = overridden(base, " tokens=10;rate = 2.5 ; fault=reset;recut=0; ")

    assert changed == Behaviour(tokens=10, rate=2.5, fault="reset", recut=0, seed=9)
    assert overridden(base, "") == base
    assert overridden(base, "fault=none") == Behaviour(tokens=5, seed=9)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("token=3", r"did you mean tokens\?"),
        ("tokens=many", "tokens: invalid literal"),
        ("fault=explode", "fault: unknown name 'explode'"),
        ("tokens=-1", "tokens must be from 0"),
        ("replay=/etc/passwd", "unknown name 'replay'"),
        ("replay_type=text/html", "unknown name 'replay_type'"),
    ],
)
def test_a_wrong_header_is_refused(header: str, message: str):
    """Unknown keys and values that are none are errors; which file is replayed is not for headers to say."""
    with pytest.raises(ValueError, match=message):
        overridden(Behaviour(), header)
