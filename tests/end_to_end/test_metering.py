"""What an answer that passes as it is tells of its usage is counted, logged and priced."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest

from . import leaks
from .asking import CHAT, answering, ask, serving
from .logbook import Log

ANSWERS = Path(__file__).parents[1] / "streams" / "nonstream_json"
USAGE: dict[str, tuple[int, int, int, int]] = {
    "01-anthropic-200": (48, 42, 0, 0),
    "02-openai-200": (74, 9, 0, 0),
    "03-openai-200": (1348, 624, 384, 0),
    "04-openrouter-200": (280, 40, 0, 0),
    "05-groq-200": (35, 25, 0, 0),
    "06-cerebras-200": (80, 45, 34, 0),
    "07-bedrock-200": (433 + 2752, 16, 0, 2752),
    "08-deepseek-200": (976, 61, 25, 896),
    "09-vertex-200": (0, 0, 0, 0),
    "10-huggingface-200": (16, 216, 0, 0),
    "11-vertex-200": (22, 3 + 142, 142, 0),
    "12-cerebras-200": (364, 33, 0, 0),
    "13-azure-200": (18, 5, 0, 0),
    "14-cohere-200": (1441, 54, 0, 144),
    "15-together-200": (18, 35, 0, 0),
}
"""Of each recorded answer, as its vendor documents the counts in it: input, output, reasoning, cached."""

CONFIG = """
prices: {{gpt-4o: {{input: 2.50, cached: 1.25, output: 10.00}}}}
upstreams: {{up: {{url: "{url}"}}}}
routes: [{{name: all, path: /*}}]
"""


def counted(metrics: str) -> tuple[float, ...]:
    tokens = [leaks.total(metrics, "ssegate_tokens_total", type=kind) for kind in ("input", "output")]
    parts = ("ssegate_reasoning_tokens_total", "ssegate_cached_tokens_total")
    return (*tokens, *(leaks.total(metrics, name) for name in parts))


async def passed(gate: Any, body: bytes, asked: dict[str, Any], **headers: str) -> tuple[bytes, str]:
    """Return what the client gets of an answer *body*, and the metrics afterwards."""
    head = {"Content-Type": "application/json", **headers}
    async with serving(answering(body=body, headers=head)) as upstream:
        running = await gate(CONFIG.format(url=upstream.url))
        answer = await ask(running.url, CHAT, asked)
        return answer.body, await gate.metrics(running)


def test_every_recorded_answer_is_here():
    """A new recording wants its numbers."""
    assert set(USAGE) == {file.stem for file in ANSWERS.glob("*.json")}


@pytest.mark.parametrize("name", list(USAGE))
async def test_the_usage_of_a_whole_answer_is_metered(name: str, gate: Any, log: Log):
    """Input, output and their parts, whoever the vendor is; the client's bytes are the upstream's."""
    body = (ANSWERS / f"{name}.json").read_bytes()

    got, metrics = await passed(gate, body, {"model": "asked", "stream": False})

    assert got == body
    assert counted(metrics) == USAGE[name]
    line = await log.line("request")
    assert (line.get("tokens"), line.get("usage_source")) == (
        (USAGE[name][1], "reported") if USAGE[name][1] else (None, None)
    )


async def test_an_answer_has_its_price(gate: Any, log: Log):
    """As a stream has: by the model that answered, cached input at its own."""
    body = (
        b'{"model":"gpt-4o-2024-08-06","choices":[],"usage":{"prompt_tokens":1000,"completion_tokens":100,'
        b'"total_tokens":1100,"prompt_tokens_details":{"cached_tokens":400}}}'
    )

    _, metrics = await passed(gate, body, {"model": "gpt-4o", "stream": False})

    dollars = (600 * 2.50 + 400 * 1.25 + 100 * 10.00) / 1e6
    assert leaks.total(metrics, "ssegate_cost_dollars_total") == pytest.approx(dollars)
    assert (await log.line("request"))["model"] == "gpt-4o-2024-08-06"


async def test_embeddings_are_input_alone(gate: Any):
    """What is no answer of a model has no output; its model is the one asked for."""
    body = b'{"object":"list","data":[{"embedding":[0.5]}],"usage":{"prompt_tokens":8,"total_tokens":8}}'

    _, metrics = await passed(gate, body, {"model": "gpt-4o", "stream": False})

    assert leaks.total(metrics, "ssegate_tokens_total", model="gpt-4o", type="input") == 8
    assert leaks.total(metrics, "ssegate_tokens_total", type="output") == 0


@pytest.mark.parametrize(
    ("body", "coding"),
    [(b"[1, 2]", ""), (b'{"usage": "much"}', ""), (b"{", ""), (gzip.compress(b'{"a":1}'), "gzip")],
    ids=["a list", "no counts", "broken", "compressed"],
)
async def test_nothing_is_guessed(body: bytes, coding: str, gate: Any):
    """An answer that tells no usage, or that cannot be read, counts no token."""
    headers = {"Content-Encoding": coding} if coding else {}
    _, metrics = await passed(gate, body, {"model": "gpt-4o", "stream": False}, **headers)

    assert leaks.total(metrics, "ssegate_tokens_total") == 0
