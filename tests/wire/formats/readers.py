"""Clients restated: what reads the bytes that formats write."""

from __future__ import annotations

import json
from dataclasses import dataclass, field


def blocks(written: list[bytes]) -> list[dict[str, str]]:
    """
    Read SSE events as strictly as the strictest client does; fail on anything that some client stumbles over.

    LF only, one space after the colon, valid UTF-8 without BOM, one ``data:`` line in every event, and every
    item of *written* one whole event.
    """
    events = []
    for block in written:
        text = block.decode("utf-8", errors="strict")
        assert "\r" not in text and not text.startswith("\ufeff")
        assert text.endswith("\n\n") and "\n\n" not in text[:-2], f"not one whole event: {text!r}"
        fields = {}
        for line in text[:-2].split("\n"):
            name, colon, value = line.partition(": ")
            assert colon and name in ("event", "data") and name not in fields, f"bad line {line!r}"
            fields[name] = value
        assert "data" in fields
        events.append(fields)
    return events


def documents(written: list[bytes]) -> list[dict]:
    """The JSON of every event but ``[DONE]``."""
    return [json.loads(block["data"]) for block in blocks(written) if block["data"] != "[DONE]"]


@dataclass
class Page:
    """What a user of one of the two browser clients sees."""

    text: str = ""
    is_closed: bool = False
    errors: list[str] = field(default_factory=list)

    def on_message(self, data: str) -> None:
        """``const d = JSON.parse(e.data); if (d.finished) close(); else page += d.token``"""
        assert not self.is_closed, "an event after the end"
        message = json.loads(data)
        if message["finished"] is True:
            self.is_closed = True
        else:
            self.text += message.get("token", "undefined")


def event_source(body: bytes, cut: int) -> Page:
    """
    The first client: an EventSource that is closed by ``finished`` or by ``onerror``.

    Args:
        cut: Bytes per read of the network.
    """
    page = Page()
    buffer = b""
    for i in range(0, len(body), cut):
        buffer += body[i : i + cut]
        *whole, buffer = buffer.split(b"\n\n")
        for block in whole:
            _dispatch(block.decode(), page)
    return page


def _dispatch(block: str, page: Page) -> None:
    name, data = "message", []
    for line in block.split("\n"):
        if line.startswith(":"):
            continue
        key, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if key == "event":
            name = value
        elif key == "data":
            data.append(value)
    if not data or page.is_closed:
        return
    if name == "message":
        page.on_message("\n".join(data))
    elif name == "error":
        page.errors.append("\n".join(data))
        page.is_closed = True


def line_reader(writes: list[bytes]) -> Page:
    """
    The second client: decodes what each read brings, splits it at newlines, buffers nothing.

    It looks at lines alone, so it meets an error's data as well and must find ``finished`` there.
    """
    page = Page()
    for write in writes:
        for line in write.decode().split("\n"):
            if line.startswith("data: "):
                page.on_message(line[len("data: ") :])
    return page
