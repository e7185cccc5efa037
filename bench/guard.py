"""
Guard the cost of a token: CPU time of the pure pipeline, as a ratio to a fixed loop run beside it.

``make guard`` fails where a ratio is more than a quarter above what ``guard.json`` holds; ``make guard
ARGS=--write`` takes the ratios of now as the new ones. No sockets and no absolute times: what slows the
machine slows both. It also checks that cost is in proportion to bytes, however they are cut.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from time import process_time
from typing import Any

import msgspec

from ssegate.wire.pipeline import Pipeline, Settings
from ssegate.wire.seams import Context

KNOWN = Path(__file__).with_name("guard.json")
ALLOWED = 1.25
"""Times what is known."""

MOST_A_BYTE = 1.5
"""Times what a byte costs in a smaller stream of its kind."""

ROUNDS = 15
TOKENS = 6_000
WORDS = (b" stream", b"tok", b" of", b" words\\n", b"x", " café".encode())

OPENAI = (
    b'data: {"id":"chatcmpl-AbCdEfGhIjKlMnOpQrStUv","object":"chat.completion.chunk","created":1700000000,'
    b'"model":"gpt-4o-mini-2024-07-18","service_tier":"default","system_fingerprint":"fp_0123456789",'
    b'"choices":[{"index":0,"delta":{"content":"%b"},"logprobs":null,"finish_reason":null}]}\n\n'
)
CALL = OPENAI.replace(b'"content":"%b"', b'"tool_calls":[{"index":0,"function":{"arguments":"%b"}}]')
ANTHROPIC = (
    b"event: content_block_delta\n"
    b'data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"%b"}}\n\n'
)
OLLAMA = (
    b'{"model":"llama3","created_at":"2026-01-01T00:00:00.%09dZ",'
    b'"message":{"role":"assistant","content":"%b"},"done":false}\n'
)
GEMINI = (
    b'data: {"candidates":[{"content":{"parts":[{"text":"%b"}],"role":"model"},"index":0}],'
    b'"usageMetadata":{"promptTokenCount":4,"candidatesTokenCount":%d},"modelVersion":"gemini-2.5-flash"}\n\n'
)

_decode = msgspec.json.Decoder().decode


def reference(rounds: int) -> None:
    """Work as fixed as it is alike: decode a chunk, take its text, join a few and encode them."""
    chunk, texts = OPENAI[6:-2] % WORDS[0], []
    for _ in range(rounds):
        texts.append(_decode(chunk)["choices"][0]["delta"]["content"])
        if len(texts) == 5:
            b"data: %b\n\n" % msgspec.json.encode({"token": "".join(texts)})
            texts.clear()


@dataclass(frozen=True)
class Case:
    """
    One kind of stream.

    Attributes:
        frame: Makes the frame of the n-th token.
        frames: In a read.
        cut: Bytes of a read, instead.
    """

    frame: Callable[[int], bytes]
    settings: dict[str, Any] = field(default_factory=dict)
    frames: int = 1
    cut: int = 0
    first: bytes = b""

    def reads(self, tokens: int) -> list[bytes]:
        """Return a stream of *tokens* as it is read."""
        made = [self.frame(number) for number in range(tokens)]
        if self.cut:
            body = b"".join(made)
            return [body[at : at + self.cut] for at in range(0, len(body), self.cut)]
        return [b"".join(made[at : at + self.frames]) for at in range(0, tokens, self.frames)]

    def run(self, reads: list[bytes]) -> None:
        """Carry a stream, with a deadline asked for and kept at each read, as the relay does."""
        pipeline = Pipeline(Settings(**self.settings), Context("s" * 22, 1), 0.0)
        pipeline.begin(None)
        pipeline.feed(self.first, 0.0)
        now = 0.0
        for data in reads:
            now += 0.02
            due = pipeline.near_deadline
            if due is not None and due <= now:
                pipeline.tick(now)
            pipeline.feed(data, now)
        assert pipeline.outcome is None and pipeline.stats.deltas > 1, "the stream was not carried"


def openai(number: int) -> bytes:
    return OPENAI % WORDS[number % 6]


def obfuscated(number: int) -> bytes:
    return openai(number).replace(b"]}\n", b'],"obfuscation":"%b"}\n' % (b"x" * (number * 5 % 11)))


def call(number: int) -> bytes:
    return CALL % (b'\\"%b\\",' % WORDS[number % 6])


def anthropic(number: int) -> bytes:
    return ANTHROPIC % WORDS[number % 6]


def ollama(number: int) -> bytes:
    return OLLAMA % (number, WORDS[number % 6])


def gemini(number: int) -> bytes:
    return GEMINI % (WORDS[number % 6], number)


_WIDE = {"batch_size": 5, "batch_delay": 0.1}
_OFF = {"batch_delay": None}
_BEGUN = (
    b'event: message_start\ndata: {"type":"message_start","message":{"id":"m","type":"message",'
    b'"role":"assistant","model":"claude","content":[],"usage":{"input_tokens":1,"output_tokens":1}}}\n\n'
    b'event: content_block_start\ndata: {"type":"content_block_start","index":0,'
    b'"content_block":{"type":"text","text":""}}\n\n'
)
_CALLED = CALL.replace(b'"function":{', b'"id":"call_1","type":"function","function":{"name":"f",') % b"{"

CASES = {
    "openai to native, batches of 5": Case(openai, _WIDE),
    "openai to native, no batches": Case(openai, _OFF),
    "openai to native, 16 frames a read": Case(openai, _WIDE, frames=16),
    "openai to native, cut at 1000 bytes": Case(openai, _WIDE, cut=1000),
    "openai to openai": Case(openai, {"output": "openai", "metadata": "final"}),
    "openai with obfuscation to openai": Case(obfuscated, {"output": "openai", "metadata": "final"}),
    "openai arguments to native": Case(call, _WIDE, first=_CALLED),
    "anthropic to same": Case(anthropic, {"output": "same", "metadata": "final"}, first=_BEGUN),
    "ollama to native": Case(ollama, _WIDE),
    "gemini to native": Case(gemini, _WIDE),
}


@dataclass(frozen=True)
class Stream:
    """A stream of *case*, *tokens* long."""

    case: Case
    tokens: int

    def cost(self) -> float:
        """Return CPU seconds a byte."""
        reads = self.case.reads(self.tokens)
        return cost(lambda: self.case.run(reads)) / sum(map(len, reads))


def large(frame: bytes, size: int) -> Stream:
    """One event of *size* bytes behind nine small ones, in reads of 4 KiB."""
    return Stream(Case(lambda number: frame % (b"x" * size if number == 9 else b"x"), cut=4096), 10)


LINEAR = {
    "one read of 10 000 events, beside reads of 100": (
        Stream(Case(openai, frames=10_000), 10_000),
        Stream(Case(openai, frames=100), 10_000),
    ),
    "20 000 tokens in reads of 16 bytes, beside 2 000": (
        Stream(Case(openai, cut=16), 20_000),
        Stream(Case(openai, cut=16), 2_000),
    ),
    "an event of 4 MiB, beside one of 256 KiB": (large(OPENAI, 4 << 20), large(OPENAI, 256 << 10)),
    "a line of 4 MiB, beside one of 256 KiB": (
        large(OLLAMA.replace(b"%09d", b"0"), 4 << 20),
        large(OLLAMA.replace(b"%09d", b"0"), 256 << 10),
    ),
}
"""What costs as much a byte as what stands beside it."""


def cost(work: Callable[[], object]) -> float:
    """Return the CPU seconds of *work*."""
    began = process_time()
    work()
    return process_time() - began


def cost_of_token(case: Case, rounds: int) -> float:
    """Return the cost of a token as a multiple of the reference's, the median of *rounds* in turn."""
    reads = case.reads(TOKENS)
    return median(cost(lambda: case.run(reads)) / cost(lambda: reference(TOKENS)) for _ in range(rounds))


def cost_of_byte(one: Stream, other: Stream, rounds: int) -> float:
    """Return what a byte of *one* costs as a multiple of what one of *other* does."""
    return median(one.cost() / other.cost() for _ in range(rounds))


def measure(known: dict[str, float]) -> Iterator[tuple[str, float, float | None]]:
    """Yield name, ratio and what it may be at the most."""
    for name, case in CASES.items():
        most = known[name] * ALLOWED if name in known else None
        yield name, _least(partial(cost_of_token, case, ROUNDS), most), most
    for name, (one, other) in LINEAR.items():
        yield name, _least(partial(cost_of_byte, one, other, 3), MOST_A_BYTE), MOST_A_BYTE


def _least(measured: Callable[[], float], most: float | None) -> float:
    """Measure up to five times, until it is not above *most*: what has become dearer is so each time."""
    found = measured()
    for _ in range(4):
        if most is None or found <= most:
            break
        found = min(found, measured())
    return found


def main() -> None:
    """Measure, and tell what has become dearer."""
    parser = argparse.ArgumentParser(prog="make guard ARGS=", description="Guard the cost of a token.")
    parser.add_argument("--write", action="store_true", help="take what is measured now as what is known")
    writes = parser.parse_args().write
    known = {} if writes else json.loads(KNOWN.read_text("utf-8"))
    found, dearer = {}, []
    for name, ratio, most in measure(known):
        bound = "" if most is None else f" (at most {most:.2f})"
        print(f"guard: {name}: {ratio:.2f}{bound}", flush=True)
        found[name] = round(ratio, 3)
        if most is not None and ratio > most:
            dearer.append(name)
    if writes:
        KNOWN.write_text(json.dumps({name: found[name] for name in CASES}, indent=1) + "\n", "utf-8")
    if dearer:
        sys.exit(f"guard: dearer than it was: {'; '.join(dearer)}")


if __name__ == "__main__":
    main()
