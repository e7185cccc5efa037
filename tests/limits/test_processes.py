"""Many processes that share one Redis, all of them asking for more than there is."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from realredis import RedisServer

from .hammer import server_time

PROCESSES = 8
AMOUNT, BURST = 200, 50


def test_processes_together_admit_the_limit_and_never_more(
    redis_server: RedisServer, pytestconfig: pytest.Config
):
    """Within 1 % of burst + rate x time, and never above it (``--store-seconds 30`` for longer)."""
    command = [sys.executable, "-m", "limits.hammer", redis_server.url, str(AMOUNT), str(BURST)]
    folder, pipe = Path(__file__).parents[1], subprocess.PIPE
    running = [subprocess.Popen(command, stdin=pipe, stdout=pipe, cwd=folder) for _ in range(PROCESSES)]
    assert [process.stdout.readline() for process in running] == [b"ready\n"] * PROCESSES
    with redis_server.client() as client:
        until = server_time(client) + pytestconfig.getoption("--store-seconds")
    for process in running:
        process.stdin.write(b"%f\n" % until)
        process.stdin.flush()
    said = [json.loads(process.communicate()[0]) for process in running]

    began, ended = min(s["began"] for s in said), max(s["ended"] for s in said)
    admitted = sum(s["admitted"] for s in said)
    assert sum(s["alone"] for s in said) == 0
    # From the first refusal on nothing was left over, up to the moment when they stopped asking.
    dry = min(s["dry"] for s in said)
    assert 0.99 * (BURST + AMOUNT * (until - dry)) <= admitted <= BURST + AMOUNT * (ended - began)
