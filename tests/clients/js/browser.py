"""The system's Chromium, and how it is called in the table."""

from __future__ import annotations

import shutil
import subprocess
from functools import cache

from end_to_end.npm import Missing

from .node import Node, Nodes

__all__ = ["chromium", "chromium_version"]

NAMES = ("chromium", "chromium-browser", "google-chrome")


def chromium(nodes: Nodes) -> Node:
    """
    Return the process that drives it.

    Raises:
        Missing: There is none, or no node.
    """
    home = nodes.directory / "home"  # where it leaves what it keeps beside its profile
    home.mkdir(exist_ok=True)
    return nodes("chromium", CHROMIUM=_executable(), HOME=str(home))


@cache
def chromium_version() -> str:
    """Return its version in numbers."""
    said = subprocess.run([_executable(), "--version"], capture_output=True, text=True, check=True).stdout
    return next(word for word in said.split() if word[:1].isdigit())


def _executable() -> str:
    for name in NAMES:
        if found := shutil.which(name):
            return found
    raise Missing("there is no Chromium here (Debian: apt-get install chromium)")
