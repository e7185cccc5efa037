"""The processes in which JavaScript clients run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .node import Nodes


@pytest.fixture(scope="session")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    """``nodes("openai")`` is the process that runs ``openai.mjs``."""
    nodes = Nodes(tmp_path_factory.mktemp("node"))
    yield nodes
    nodes.close()
