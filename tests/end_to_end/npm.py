"""Packages of npm's for tests, installed on first use into ``.cache`` of the project."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

__all__ = ["Missing", "installed"]

CACHE = Path(__file__).parents[2] / ".cache"
QUIETLY = ("--ignore-scripts", "--no-audit", "--no-fund")


class Missing(Exception):
    """The machine lacks node, npm, or the network to install with."""


def installed(name: str, *asked: str, node: tuple[int, int], files: Sequence[Path] = ()) -> Path:
    """
    Return the folder in which ``npm`` has done what is *asked*; nothing of it runs meanwhile.

    Args:
        name: Of the folder; another version needs another name.
        node: The oldest node that will do.
        files: Copied into the folder first, such as package.json.

    Raises:
        Missing: It cannot be done here. Where CI says so, a failure of npm itself is a RuntimeError.
    """
    _need(node)
    home = CACHE / name
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f"{name}.lock").open("w") as lock:
        # Test workers are processes, and npm cannot install into one folder twice at a time.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (home / ".installed").exists():
            _install(home, asked, files)
    return home


def _need(node: tuple[int, int]) -> None:
    for tool in ("node", "npm"):
        if shutil.which(tool) is None:
            raise Missing(f"there is no {tool} here")
    version = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout
    if tuple(map(int, version.strip().lstrip("v").split(".")[:2])) < node:
        raise Missing(f"node is {version.strip()}, and {node[0]}.{node[1]} is needed")


def _install(home: Path, asked: Sequence[str], files: Sequence[Path]) -> None:
    shutil.rmtree(home, ignore_errors=True)  # what an installation left that was broken off
    home.mkdir()
    for file in files:
        shutil.copy(file, home)
    done = subprocess.run(["npm", *asked, *QUIETLY, "--prefix", str(home)], capture_output=True, text=True)
    if done.returncode:
        shutil.rmtree(home, ignore_errors=True)
        told = f"npm {' '.join(asked)}: {done.stderr.strip()[-1000:]}"
        raise RuntimeError(told) if os.environ.get("CI") else Missing(told)
    (home / ".installed").touch()
