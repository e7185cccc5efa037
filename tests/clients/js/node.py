"""
Runs JavaScript clients: a process of node for each runner of this folder, asked for one piece at a time.

``pieces.mjs`` tells what is said to such a process. It ends when its input does: with the tests, however they
end.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zlib import crc32

from end_to_end.npm import installed

from ..checking import Part

__all__ = ["Foreign", "Node", "Nodes", "Raised", "version"]

HERE = Path(__file__).parent
PACKAGE, LOCK = HERE / "package.json", HERE / "package-lock.json"
OLDEST = (20, 0)

PATIENCE = 40.0
"""Seconds for one piece; browsers take some to start, and clients that wait as told after a 429."""


class Raised(Exception):
    """An error of the client's own class; the names of subclasses are those of JavaScript."""


class Foreign(Exception):
    """Anything else that was raised."""


def version(package: str) -> str:
    """Return the version of *package* that is installed."""
    return str(json.loads(PACKAGE.read_text("utf-8"))["dependencies"][package])


class Node:
    """
    One runner.

    Attributes:
        ended: What it told at the end of the last stream that was read to its end.
    """

    def __init__(self, script: Path, **env: str) -> None:
        self.ended: dict[str, Any] = {}
        self._process = subprocess.Popen(
            ["node", script], env=os.environ | env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        )

    def reader(self, api: str, **more: Any) -> Callable[[str, float], Iterator[Part]]:
        """Return what reads by *api*, a word that the runner knows; *more* of its own."""

        def read(base: str, patience: float) -> Iterator[Part]:
            self._say({"base": base, "patience": patience, "api": api, **more})
            while isinstance(said := self._ask("next"), list):
                kind, value = said
                try:
                    yield kind, value
                except GeneratorExit:
                    self._ask("leave")
                    raise
            self._take_end(said)

        return read

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    def close(self) -> None:
        """End it."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def _take_end(self, said: Any) -> None:
        if "ended" in said:
            self.ended = said["ended"]
            return
        raised = said["raised"]
        kind = type(raised["name"], (Raised if raised["own"] else Foreign,), {})
        raise kind(raised["message"])

    def _say(self, what: Any) -> None:
        assert self._process.stdin
        self._process.stdin.write(json.dumps(what).encode() + b"\n")

    def _ask(self, what: str) -> Any:
        self._say(what)
        assert self._process.stdout
        ready, _, _ = select.select([self._process.stdout], [], [], PATIENCE)
        line = self._process.stdout.readline() if ready else b""
        if not line:
            self.close()  # it is in no state to be asked again
            raise RuntimeError(f"no answer from {self._process.args}")
        return json.loads(line)


@dataclass
class Nodes:
    """All runners; each is started when it is first asked for."""

    directory: Path
    """Theirs: node looks for packages beside the file that wants them."""

    _running: dict[str, Node] = field(default_factory=dict)

    def __call__(self, runner: str, **env: str) -> Node:
        """Return the process of *runner*, the name of a file without its ending."""
        if runner not in self._running or not self._running[runner].is_running:
            self._running[runner] = Node(self._prepared() / f"{runner}.mjs", **env)
        return self._running[runner]

    def close(self) -> None:
        """End them."""
        while self._running:
            self._running.popitem()[1].close()

    def _prepared(self) -> Path:
        packages = self.directory / "node_modules"
        if not packages.exists():
            files = (PACKAGE, LOCK)
            name = f"clients-js-{crc32(b''.join(file.read_bytes() for file in files)):08x}"
            home = installed(name, "ci", node=OLDEST, files=files)
            for file in (*HERE.glob("*.mjs"), *HERE.glob("*.html")):
                shutil.copy(file, self.directory)
            packages.symlink_to(home / "node_modules")
        return self.directory
