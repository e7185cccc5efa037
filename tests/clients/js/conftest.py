"""The processes in which JavaScript clients run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from end_to_end.npm import Missing

from .browser import chromium
from .node import Node, Nodes


@pytest.fixture(scope="session")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    """``nodes("openai")`` is the process that runs ``openai.mjs``."""
    nodes = Nodes(tmp_path_factory.mktemp("node"))
    yield nodes
    nodes.close()


@pytest.fixture(scope="session")
def browser(nodes: Nodes) -> Node:
    """One Chromium for all tests of a worker."""
    try:
        return chromium(nodes)
    except Missing as exc:
        pytest.skip(str(exc))
