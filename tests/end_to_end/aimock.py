"""
A mock of many vendors' endpoints (npm ``@copilotkit/aimock``), installed on first use.

It is written by others from the vendors' documents: what it says was not made for the gate.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .npm import Missing, installed

__all__ = ["FIXTURES", "Missing", "serving"]

PACKAGE = "@copilotkit/aimock"
VERSION = "1.43.0"
NODE = (20, 15)
COMMAND = Path("node_modules", PACKAGE, "dist", "cli.js")
RUN = "process.stdin.resume().on('end', () => process.exit(0)); await import(process.env.AIMOCK)"
"""Ends when its standard input does: with the parent, however that dies."""

FIXTURES: dict[str, dict[str, Any]] = {
    "hello": {"response": {"content": "Hello! 日本語 🙂 from a mock, a longer sentence to chunk."}},
    "tool": {
        "response": {
            "toolCalls": [
                {"name": "get_weather", "arguments": {"city": "東京"}},
                {"name": "look_up", "arguments": {"query": 'the "second"'}},
            ]
        }
    },
    "think": {"response": {"content": "Answer.", "reasoning": "Because of 理由 and reasons."}},
    "both": {
        "response": {
            "content": "Let me check.",
            "toolCalls": [{"name": "look_up", "arguments": {"query": "y"}}],
        }
    },
    "fail": {
        "response": {"error": {"message": "Slow down a bit", "type": "rate_limit_error"}, "status": 429}
    },
    "cut": {
        "response": {"content": "This stream breaks off in the middle of its text."},
        "truncateAfterChunks": 6,
        "latency": 25,
    },
}
"""What is answered, by the user's message."""


@contextmanager
def serving(directory: Path) -> Iterator[str]:
    """
    Serve on a free port of the loopback; yield the URL, without a path.

    Raises:
        Missing: There is no node, or no npm to install it with.
    """
    command = (
        installed(f"aimock-{VERSION}", "install", "--no-save", f"{PACKAGE}@{VERSION}", node=NODE) / COMMAND
    )
    fixtures = [{"match": {"userMessage": name}, **said} for name, said in FIXTURES.items()]
    path = directory / "fixtures.json"
    path.write_text(json.dumps({"fixtures": fixtures}), "utf-8")
    asked = ["node", "--input-type=module", "-e", RUN, "--", "--chunk-size", "8"]
    with (directory / "mock.log").open("wb") as log:
        server = subprocess.Popen(
            [*asked, "-h", "127.0.0.1", "-p", "0", "-f", str(path)],
            env={**os.environ, "AIMOCK": command.as_uri()},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
        )
    assert server.stdin and server.stdout
    try:
        for line in server.stdout:
            if b" listening on " in line:
                yield line.decode().split()[-1]
                break
        else:
            raise RuntimeError(f"the mock did not start:\n{(directory / 'mock.log').read_text('utf-8')}")
    finally:
        server.stdin.close()
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
        server.stdout.close()
