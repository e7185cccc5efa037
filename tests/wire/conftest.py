"""How much is proven: everyday runs take a sample, ``make proof`` takes all."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session")
def cuts(request: pytest.FixtureRequest) -> int:
    """How often each recorded body is cut."""
    return int(request.config.getoption("--cuts"))


@pytest.fixture(scope="session")
def thorough(cuts: int) -> bool:
    """Whether to take every way where an everyday run takes one."""
    return cuts > EVERYDAY


EVERYDAY = 20
