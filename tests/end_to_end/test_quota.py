"""``on_exhausted``: what becomes of a stream that uses up its caller's tokens while it runs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from .asking import Answer
from .leaks import outcomes
from .limited import BODY, Worker, chat, config, left, usage

ENDLESS = 20_000
UNSAID = {name: value for name, value in BODY.items() if name != "max_tokens"}
"""A client that does not say how long its answer may be: a thousand tokens are reserved."""


@pytest.fixture
async def worker(nothing_left_open: None) -> AsyncIterator[Worker]:
    async with Worker() as worker:
        yield worker


@pytest.fixture(params=["memory", "redis"])
def store(request: pytest.FixtureRequest) -> str:
    """A line of configuration: the limits are kept here, or in a real Redis."""
    if request.param == "memory":
        return ""
    return f"store: {request.getfixturevalue('redis_server').url}"


def ending(answer: Answer) -> tuple[int, Any]:
    """Return how many tokens a stream had, and its error."""
    events = [json.loads(line[6:]) for line in answer.body.splitlines() if line.startswith(b"data: {")]
    text = "".join(c["delta"].get("content") or "" for e in events for c in e.get("choices", []))
    return len(text.split()), events[-1].get("error")


@pytest.mark.parametrize("output", ["native", "openai", "same"])
async def test_a_stream_that_uses_up_its_tokens_is_cut(gate: Any, worker: Worker, store: str, output: str):
    """Soon after its last token, by an event that says so; the upstream is closed, one outcome counted."""
    worker.words = ENDLESS
    limits = "{output_tokens: 300/hour, on_exhausted: cut}"
    running = await gate(config(worker, limits, store, f", output: {output}"))
    answer = await chat(running, UNSAID)

    assert answer.status == 200
    data = [line for line in answer.body.splitlines() if line.startswith(b"data: {")]
    said = json.loads(data[-1][6:])["error"]
    code = json.loads(data[-1][6:])["code"] if output == "native" else said["code"]
    assert code == "quota_exceeded"
    if output != "native":
        tokens, error = ending(answer)
        assert 300 <= tokens < 2000 and error["type"] == "tokens"
        assert error["message"].startswith("limit reached: 300 output tokens per hour; try again in ")
    text = await gate.metrics(running)
    assert outcomes(text) == {"quota_exceeded": 1}
    assert 'decision="denied",key="-",limit="output_tokens"' in text


async def test_a_stream_may_finish_unless_it_is_to_be_cut(gate: Any, worker: Worker):
    """By default it runs to its end, and its caller pays the debt back before the next."""
    worker.words = 2000
    worker.usage = usage(10, 2000)
    running = await gate(config(worker, "{output_tokens: 300/minute}"))
    answer, after = await chat(running, UNSAID), await chat(running, UNSAID)

    assert ending(answer) == (2000, None)
    assert after.status == 429
    assert int(after.headers["retry-after-ms"]) > 5 * 60_000


async def test_a_stream_within_its_tokens_is_left_alone(gate: Any, worker: Worker, store: str):
    """More is taken while there is some, and settled by what was reported in the end."""
    worker.words = 2500
    worker.usage = usage(10, 2500)
    running = await gate(config(worker, "{tokens: 10000/hour, on_exhausted: cut}", store))
    answer = await chat(running, UNSAID)
    assert ending(answer) == (2500, None)

    after = await chat(running, BODY)

    assert left(after) == 10_000 - 2510 - 50 - -(-len(worker.requests[-1].body) // 4)


async def test_streams_that_run_together_share_what_is_left(gate: Any, worker: Worker, store: str):
    """Three of one caller: together they get what there is, and little more, and all of it is counted."""
    worker.words, worker.usage = ENDLESS, None
    running = await gate(config(worker, "{output_tokens: 3500/hour, on_exhausted: cut}", store))
    answers = await asyncio.gather(*(chat(running, UNSAID) for _ in range(3)))

    ends = [ending(answer) for answer in answers]
    assert [error["code"] for _, error in ends] == ["quota_exceeded"] * 3
    assert 3500 <= sum(tokens for tokens, _ in ends) < 7000
    assert min(tokens for tokens, _ in ends) >= 1000
    assert (await chat(running, BODY)).status == 429


async def test_a_budget_cuts_too(gate: Any, worker: Worker):
    """Dollars that are used up are used up."""
    worker.words = ENDLESS
    prices = "prices: {gpt-4o: {input: 0, output: 1000}}"
    running = await gate(config(worker, "{cost: 1.20/day, on_exhausted: cut}", prices))
    tokens, error = ending(await chat(running, UNSAID))

    assert error["code"] == "quota_exceeded"
    assert 1200 <= tokens < 3000
    assert "1.2 dollars per day" in error["message"]


@pytest.mark.parametrize("limits", ["{}", "{input_tokens: 5000/hour}", "{cost: 1/day}"])
async def test_nothing_is_cut_where_the_output_has_no_limit(gate: Any, worker: Worker, limits: str):
    """Another key may have one; input alone is known before, and what is free costs nothing."""
    worker.words = 1500
    other = "{name: b, value: b, limits: {tokens: 9/day}}"
    keys = f"keys: [{{name: a, value: aaaaaaaa, limits: {limits}}}, {other}]"
    prices = "prices: {gpt-4o: {input: 1, output: 0}}"
    running = await gate(config(worker, "{on_exhausted: cut}", f"{keys}\n        {prices}"))

    assert ending(await chat(running, UNSAID, headers={"x-api-key": "aaaaaaaa"})) == (1500, None)
