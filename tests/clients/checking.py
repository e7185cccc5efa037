"""
Lets one client go through one scenario, and says what must be seen.

A client is a generator of what it reads, so that leaving is closing it, and so that whatever its SDK raises
comes out as it is.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from typing import Any, Literal

import pytest

from . import scenarios
from .conftest import House
from .upstream import BODIES, MESSAGE, Body

__all__ = ["NO_CALLS", "NO_THOUGHTS", "Client", "NotApplicable", "Part", "Told", "go_through", "installed"]

Part = tuple[Literal["text", "reasoning"], str] | tuple[Literal["call"], tuple[str, str]]
"""A piece of text or of thinking; or a whole call, its name and its arguments as JSON."""

NO_CALLS = "this API has no tools"
NO_THOUGHTS = "this API has no reasoning"

LEAVING = 5.0
"""Seconds within which an upstream must be left, on however busy a machine."""

UNHURRIED = 30.0


class Told(Exception):
    """What a reader makes of an error that its client hands over without raising anything."""


class NotApplicable(Exception):
    """This client or its vendor has no such thing; the message says why."""


def installed(package: str) -> str:
    """Return the version of an installed package."""
    return version(package)


@dataclass(frozen=True)
class Client:
    """One way in which one client reads a stream."""

    name: str
    """As the table shows it."""

    version: str
    read: Callable[[str, float], Iterator[Part]]
    """From the base URL, ``{gate}/{wire}/{scenario}``, with so many seconds of patience without a byte."""

    failure: type[BaseException] | tuple[type[BaseException], ...]
    """Raised when a stream fails in the middle."""

    wires: tuple[str, ...]
    limit: type[BaseException] | None = None
    """Raised for a 429; None if it waits and asks again by itself."""

    cannot: Mapping[str, str] = field(default_factory=dict)
    """Scenarios that it has nothing for, and why."""

    told: str = ""
    """Of a client that raises nothing by itself: how it is told."""

    language: str = "Python"


@dataclass
class Heard:
    """All that a client has read."""

    text: str = ""
    reasoning: str = ""
    calls: list[tuple[str, Any]] = field(default_factory=list)

    def add(self, part: Part) -> None:
        match part:
            case ("text", piece):
                self.text += piece
            case ("reasoning", piece):
                self.reasoning += piece
            case ("call", (name, arguments)):
                self.calls.append((name, json.loads(arguments or "{}")))


def go_through(client: Client, wire: str, scenario: str, house: House) -> None:
    """Let *client* go through *scenario* and record what came of it; fails or skips the test accordingly."""
    row = {"language": client.language, "client": client.name, "version": client.version, "wire": wire}
    told = partial(scenarios.record, **row, scenario=scenario)
    try:
        note = check(client, wire, scenario, house)
    except NotApplicable as exc:
        told(result="n/a", note=str(exc))
        pytest.skip(str(exc))
    except BaseException as exc:
        told(result="failed", note=type(exc).__name__)
        raise
    told(result="ok", note=note)


def check(client: Client, wire: str, scenario: str, house: House) -> str:
    """
    Return a note for the reader, mostly empty, if *client* has managed *scenario*.

    Raises:
        NotApplicable: There is nothing to manage.
    """
    if scenario in client.cannot:
        raise NotApplicable(client.cannot[scenario])
    bodies = BODIES[scenarios.WIRES[wire].upstream]
    body = bodies.of(scenario)
    if body is None:
        raise NotApplicable("its upstream has no such thing")
    return _CHECKS.get(scenario, _whole)(client, wire, scenario, body, house)


def _read(client: Client, base: str, heard: Heard, patience: float = UNHURRIED) -> None:
    with closing(client.read(base, patience)) as parts:
        for part in parts:
            heard.add(part)


def _whole(client: Client, wire: str, scenario: str, body: Body, house: House) -> str:
    heard = Heard()
    _read(client, house.base(wire, scenario), heard)
    if scenario == "reasoning":
        assert (heard.text, heard.reasoning) == (body.text, body.reasoning)
    elif scenario == "tool":
        assert heard.calls == list(body.calls)
        assert heard.text == body.text
    else:
        assert heard.text == body.text
    return ""


def _fails(client: Client, wire: str, scenario: str, body: Body, house: House) -> str:
    heard = Heard()
    with pytest.raises(client.failure) as raised:
        _read(client, house.base(wire, scenario), heard)
    # Some answers are so short that half of them is none of the text.
    assert heard.text and body.text.startswith(heard.text) and heard.text != body.text
    assert scenario != "error" or MESSAGE in _words(raised.value)
    return _raised(client, raised.type)


def _raised(client: Client, kind: type[BaseException]) -> str:
    return client.told if issubclass(kind, Told) else f"raised as `{kind.__name__}`"


def _words(error: BaseException) -> str:
    """Return all that an exception says; some keep what they were sent beside their message."""
    return f"{error} {getattr(error, 'body', '')}"


def _limit(client: Client, wire: str, scenario: str, body: Body, house: House) -> str:
    heard = Heard()
    if client.limit is not None:
        with pytest.raises(client.limit) as raised:
            _read(client, house.base(wire, scenario), heard)
        assert "Slow down" in _words(raised.value)
        assert len(house.upstream.asked) == 1
        return f"{_raised(client, raised.type)}; this client asks only once"
    _read(client, house.base(wire, scenario), heard)
    assert heard.text == body.text
    first, second = house.upstream.asked
    assert second - first >= scenarios.RETRY_AFTER
    return ""


def _silence(client: Client, wire: str, scenario: str, body: Body, house: House) -> str:
    bridged = scenarios.WIRES[wire].heartbeats
    heard = Heard()
    _read(client, house.base(wire, scenario), heard, scenarios.PATIENCE if bridged else UNHURRIED)
    assert heard.text == body.text
    return "" if bridged else "nothing is sent meanwhile, the client's own timeout must be longer"


def _disconnect(client: Client, wire: str, scenario: str, body: Body, house: House) -> str:
    parts = client.read(house.base(wire, scenario), UNHURRIED)
    assert next(parts)[0] == "text"
    assert not house.upstream.left.is_set()
    parts.close()  # type: ignore[attr-defined]
    assert house.upstream.left.wait(LEAVING), "the upstream's connection is still open"
    return ""


_CHECKS = {
    "error": _fails,
    "truncated": _fails,
    "limit": _limit,
    "silence": _silence,
    "disconnect": _disconnect,
}
