"""
The two small browser clients, as pages have them (page.html), in a real Chromium.

What they show is compared with what the upstream said, and so is the number of times that it was asked.
"""

from __future__ import annotations

from typing import Any

import pytest

from ..checking import Client, go_through
from ..scenarios import SCENARIOS
from .browser import chromium_version
from .node import Node, Raised

pytestmark = pytest.mark.xdist_group("chromium")  # one browser is enough

CLIENTS = {
    # api: how an error is told
    "EventSource": "given as an `error` event",
    "fetch": "given as an event with `error`, before the stream as a status",
}


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("api", CLIENTS)
def test_client(api: str, scenario: str, house: Any, browser: Node):
    """It manages the scenario, and the upstream is asked once."""
    name = f"{api} in Chromium"
    told = CLIENTS[api]
    client = Client(
        name,
        chromium_version(),
        browser.reader(api),
        Raised,
        ("native",),
        Raised,
        told=told,
        language="Browser",
    )

    go_through(client, "native", scenario, house)

    assert len(house.upstream.asked) == 1
