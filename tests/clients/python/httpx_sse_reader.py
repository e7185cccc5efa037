"""The native format as people read it themselves: by httpx-sse, and by httpx alone, line by line."""

from __future__ import annotations

import json
from collections.abc import Iterator

import httpx
import httpx_sse

from ..checking import Client, Part, Told, installed

__all__ = ["CLIENTS"]


def by_events(base: str, patience: float) -> Iterator[Part]:
    with (
        httpx.Client(timeout=patience) as client,
        httpx_sse.connect_sse(client, "POST", base, json={"prompt": "?"}) as source,
    ):
        if source.response.status_code != 200:
            raise Told(source.response.read().decode())
        yield from _parts(event.data for event in source.iter_sse())


def by_lines(base: str, patience: float) -> Iterator[Part]:
    """``iter_lines`` also takes U+0085, U+2028 and U+2029 for ends of lines."""
    with (
        httpx.Client(timeout=patience) as client,
        client.stream("POST", base, json={"prompt": "?"}) as answer,
    ):
        if answer.status_code != 200:
            raise Told(answer.read().decode())
        prefix = "data: "
        lines = answer.iter_lines()
        yield from _parts(line.removeprefix(prefix) for line in lines if line.startswith(prefix))


def _parts(payloads: Iterator[str]) -> Iterator[Part]:
    calls: dict[int, list[str]] = {}
    for payload in payloads:
        data = json.loads(payload)
        if "error" in data:
            raise Told(data["error"])
        if "reasoning" in data:
            yield "reasoning", data["reasoning"]
        elif "tool_call" in data:
            call = calls.setdefault(data["tool_call"]["index"], ["", ""])
            call[0] += data["tool_call"].get("name", "")
            call[1] += data["tool_call"]["arguments"]
        elif not data["finished"]:
            yield "text", data["token"]
    for name, arguments in calls.values():
        yield "call", (name, arguments)


_TOLD = "told by an event named `error`, or by the status"
CLIENTS = [
    Client("httpx-sse", installed("httpx-sse"), by_events, Told, ("native",), limit=Told, told=_TOLD),
    Client("httpx, iter_lines", installed("httpx"), by_lines, Told, ("native",), limit=Told, told=_TOLD),
]
