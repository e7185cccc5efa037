"""Settings of the whole suite."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings

# A failing example found on one machine must fail on the next one too, and a busy machine is no failure.
settings.register_profile("ci", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("local", deadline=None)
settings.register_profile(
    "proof",
    max_examples=2000,
    derandomize="CI" in os.environ,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("ci" if os.environ.get("CI") else "local")


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--cuts``: ``make proof`` asks for many more; ``--pull``: what ``make test-pull`` adds."""
    parser.addoption("--cuts", type=int, default=50, help="how often each recorded body is cut in two")
    parser.addoption("--pull", action="store_true", help="have gates read bodies the ordinary way, untapped")
