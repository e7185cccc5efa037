"""JavaScript clients, unmodified, in Node."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from end_to_end.npm import Missing

from ..checking import Client, go_through
from ..scenarios import RETRY_AFTER, SCENARIOS
from .node import Nodes, Raised, version


@dataclass(frozen=True)
class Way:
    """One way in which one package reads a stream."""

    name: str
    package: str
    runner: str
    api: str
    wires: tuple[str, ...]
    waits: bool = True
    """Asks again after a 429, as long after as it was told."""

    cannot: Mapping[str, str] = field(default_factory=dict)
    told: str = ""

    def client(self, nodes: Nodes) -> Client:
        """Return it, ready to read."""
        return Client(
            self.name,
            version(self.package),
            nodes(self.runner).reader(self.api),
            Raised,
            self.wires,
            limit=None if self.waits else Raised,
            cannot=self.cannot,
            told=self.told,
            language="JavaScript",
        )


OPENAI = ("openai", "openai-from-anthropic")
VERCEL = ("vercel", "vercel-from-anthropic")
PART = "given as an `error` part of the stream"
READER = "raised as `Error`"
CHAT = "given as `chat.error`"
EVENT = "given as an `error` event"
HELPER = {"reasoning": "this helper knows no reasoning"}

WAYS = [
    Way("openai chat", "openai", "openai", "chat", OPENAI),
    Way("openai chat.stream()", "openai", "openai", "helper", OPENAI, cannot=HELPER),
    Way("openai responses", "openai", "openai", "responses", ("responses",)),
    Way("@anthropic-ai/sdk messages", "@anthropic-ai/sdk", "anthropic", "messages", ("anthropic",)),
    Way("@anthropic-ai/sdk messages.stream()", "@anthropic-ai/sdk", "anthropic", "helper", ("anthropic",)),
    Way("ai streamText, openai-compatible", "ai", "ai", "", OPENAI, told=PART),
    Way("ai useChat", "ai", "use_chat", "chat", VERCEL, waits=False, told=CHAT),
    Way("ai readUIMessageStream", "ai", "use_chat", "reader", VERCEL, waits=False, told=READER),
    Way("eventsource", "eventsource", "eventsource", "", ("native",), waits=False, told=EVENT),
    Way(
        "@microsoft/fetch-event-source",
        "@microsoft/fetch-event-source",
        "fetch_event_source",
        "",
        ("native",),
        told=EVENT,
    ),
]


def cases() -> list[Any]:
    """Return each way with each of its wires."""
    return [pytest.param(way, wire, id=f"{way.name}-{wire}") for way in WAYS for wire in way.wires]


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize(("way", "wire"), cases())
def test_client(way: Way, wire: str, scenario: str, house: Any, nodes: Nodes):
    """It manages the scenario, and nothing is asked of the upstream twice but what was refused."""
    try:
        client = way.client(nodes)
    except Missing as exc:
        pytest.skip(str(exc))

    go_through(client, wire, scenario, house)

    waited = scenario == "limit" and way.waits
    assert len(house.upstream.asked) == (2 if waited else 1)
    if waited:
        assert nodes(way.runner).ended["slept"].count(RETRY_AFTER * 1000) == 1
