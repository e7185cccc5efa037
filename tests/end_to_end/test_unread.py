"""Tokens that would wait for their batch in any case wait unread, and nobody notices."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from simulate.peer import events, talk, until

from ssegate import lowwater
from ssegate.relay import Relay

from . import leaks
from .scripted import DONE, HEAD, Peer, calling, chunk, scripted, self_signed, sse

PATH = "/v1/chat/completions"
CONFIG = """
upstreams: {{up: {{url: "{url}", verify: false}}}}
routes: [{{path: /*, output: native, batch: {{size: 8, delay: {delay}}}}}]
"""
TOKENS = 120
WORDS = [f" word{n:03}" for n in range(TOKENS)]


@pytest.fixture
def marks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Every low-water mark that is set."""
    found: list[int] = []
    really = lowwater.set_mark

    def noted(descriptor: int, size: int) -> bool:
        found.append(size)
        return really(descriptor, size)

    monkeypatch.setattr(lowwater, "set_mark", noted)
    return found


def has_waited(marks: list[int]) -> bool:
    """Tell whether anything has lain unread, as it does unless bodies are read the ordinary way."""
    assert not marks or max(marks) > len(chunk(sse(WORDS[0])))
    return bool(marks) or not (Relay.push and lowwater.is_heeded())


async def speak(peer: Peer, words: list[str] = WORDS) -> None:
    """Send the words, each on its own, faster than batches are due, on a busy machine too."""
    await peer.say(HEAD)
    for word in words:
        await peer.say(chunk(sse(word)))
        await asyncio.sleep(0.004)


async def healthy(peer: Peer) -> None:
    while await peer.request():
        await speak(peer)
        await peer.say(chunk(DONE) + b"0\r\n\r\n")


def text_of(body: bytes) -> str:
    return "".join(said.get("token", "") for _, said in events(body))


def config(url: str, delay: str = "400ms") -> str:
    return CONFIG.format(url=url, delay=delay)


def serving_tls(folder: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(self_signed(folder / "both.pem"))
    return context


@pytest.mark.parametrize("is_encrypted", [False, True], ids=["plain", "tls"])
async def test_streams_are_whole(is_encrypted: bool, gate: Any, marks: list[int], tmp_path: Path):
    """All is there and ends at once; the connection then brings the next stream, from its first byte on."""
    async with scripted(healthy, serving_tls(tmp_path) if is_encrypted else None) as upstream:
        running = await gate(config(upstream.url))
        for _ in range(3):
            heard = await talk(running.url, PATH, {"stream": True})
            assert text_of(heard.body) == "".join(WORDS)
            assert heard.last_chunk and events(heard.body)[-1][1]["finished"]
            assert has_waited(marks) and marks[-1:] in ([], [1])
            marks.clear()

        assert len(upstream.peers) == 1


async def test_batches_that_are_due_before_they_are_full(gate: Any, marks: list[int]):
    """They are read when they are due, without their mark being lowered each time."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await speak(peer, WORDS * 3)
        await peer.say(chunk(DONE) + b"0\r\n\r\n")

    async with scripted(script) as upstream:
        running = await gate(config(upstream.url, "40ms").replace("size: 8", "size: 500"))
        heard = await talk(running.url, PATH, {"stream": True})

    assert text_of(heard.body) == "".join(WORDS) * 3
    assert has_waited(marks) and marks[-1:] in ([], [1])
    # A stall of the whole machine may make a batch come late, and look as if the stream were slow.
    assert marks.count(1) < len(events(heard.body)) / 2


async def test_where_nothing_can_be_left_lying(gate: Any, monkeypatch: pytest.MonkeyPatch, marks: list[int]):
    """Each token is read as it comes, as on any other system."""
    monkeypatch.setattr(lowwater, "is_heeded", lambda: False)
    async with scripted(healthy) as upstream:
        heard = await talk((await gate(config(upstream.url))).url, PATH, {"stream": True})

    assert text_of(heard.body) == "".join(WORDS)
    assert marks == []


async def test_an_upstream_that_falls_silent(gate: Any, marks: list[int]):
    """Its last words are heard when their batch is due, and not with its next ones."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await speak(peer)
        await peer.left()

    async with scripted(script) as upstream, calling((await gate(config(upstream.url))).url) as client:
        client.ask(PATH)
        heard = await client.until(WORDS[-1].encode())

    assert has_waited(marks)
    assert b"word000" in heard


BREAKS: dict[str, Callable[[Peer], None]] = {"closed": Peer.close, "reset": Peer.reset}


@pytest.mark.parametrize("how", BREAKS)
async def test_an_upstream_that_breaks_off(how: str, gate: Any, marks: list[int]):
    """What lay unread leaves before the failure is told, and that does not wait for the batch to be due."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await speak(peer)
        await asyncio.sleep(0.1)  # a reset takes with it what has not been sent
        BREAKS[how](peer)

    async with scripted(script) as upstream:
        running = await gate(config(upstream.url, "9s"))
        heard = await asyncio.wait_for(talk(running.url, PATH, {"stream": True}), 6)

    assert has_waited(marks)
    assert events(heard.body)[-1][1]["code"] == "upstream_truncated"
    assert text_of(heard.body) == "".join(WORDS)


async def test_a_client_that_leaves(gate: Any, marks: list[int]):
    """The upstream is closed at once, whatever lies there."""
    left = []

    async def script(peer: Peer) -> None:
        await peer.request()
        await speak(peer, WORDS * 20)

    async def noted(peer: Peer) -> None:
        try:
            await script(peer)
        except ConnectionError:
            left.append(peer)

    async with scripted(noted) as upstream:
        running = await gate(config(upstream.url))
        async with calling(running.url) as client:
            client.ask(PATH)
            await until(lambda: has_waited(marks))
            await client.until(WORDS[50].encode())
            client.close()
        await until(lambda: left)

    assert leaks.outcomes(await gate.metrics(running)) == {"client_gone": 1}
