"""httpx-sse, as people use it who read the native format themselves."""

from __future__ import annotations

import json
from collections.abc import Iterator

import httpx
import httpx_sse

from ..checking import Client, Part, Told, installed

__all__ = ["CLIENTS"]


def native(base: str, patience: float) -> Iterator[Part]:
    calls: dict[int, list[str]] = {}
    with (
        httpx.Client(timeout=patience) as client,
        httpx_sse.connect_sse(client, "POST", base, json={"prompt": "?"}) as source,
    ):
        if source.response.status_code != 200:
            raise Told(source.response.read().decode())
        for event in source.iter_sse():
            data = json.loads(event.data)
            if event.event == "error":
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


CLIENTS = [
    Client(
        "httpx-sse",
        installed("httpx-sse"),
        native,
        Told,
        ("native",),
        limit=Told,
        told="told as an event named `error`, or as a status",
    )
]
