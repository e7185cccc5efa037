"""
Unmodified SDKs before a limit of the gate's own: they wait as they are told, and succeed by themselves.

The Anthropic SDK is installed by ``make test-clients``, which runs this file, too.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import openai
import pytest

from ssegate.simulate import Behaviour

from .leaks import total

CALLS = 2

Ask = Callable[[str, int], Awaitable[str]]
"""Asks the gate at an address once, with so many retries by the SDK itself; returns the text."""

MESSAGES: Any = [{"role": "user", "content": "?"}]


async def by_openai(url: str, retries: int) -> str:
    sdk = openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="mine", max_retries=retries)
    async with sdk:
        stream = await sdk.chat.completions.create(model="any", messages=MESSAGES, stream=True)
        return "".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices])


async def by_anthropic(url: str, retries: int) -> str:
    anthropic = pytest.importorskip("anthropic", reason="`make test-clients` installs the Anthropic SDK")
    sdk = anthropic.AsyncAnthropic(base_url=url, api_key="mine", max_retries=retries)
    async with sdk, sdk.messages.stream(model="any", max_tokens=9, messages=MESSAGES) as stream:
        return "".join([text async for text in stream.text_stream])


SDKS = pytest.mark.parametrize(
    ("ask", "dialect"),
    [
        pytest.param(by_openai, "openai", id="openai"),
        pytest.param(by_anthropic, "anthropic", id="anthropic"),
    ],
)


async def limited(simulator: Any, gate: Any, dialect: str, limits: str) -> tuple[Any, Any]:
    upstream = await simulator(Behaviour(dialect=dialect, tokens=3))
    text = f"""
        limits: {limits}
        upstreams: {{up: {{url: "{upstream.url}"}}}}
        routes: [{{path: /v1/*, output: same}}]
        """
    return upstream, await gate(text)


@SDKS
async def test_a_wait_as_told_is_enough(simulator, gate, ask: Ask, dialect: str):
    """
    One retry a call suffices, as the time to wait is exact; the upstream sees none of the refusals.

    The wait is two seconds: after half of one, as the SDKs wait by themselves, the retry would be refused.
    """
    upstream, running = await limited(simulator, gate, dialect, "{requests: 30/minute burst 1}")
    texts = [await ask(running.url, 1) for _ in range(CALLS)]

    assert len(set(texts)) == 1 and texts[0]
    assert len(upstream.requests) == CALLS
    denied = total(await gate.metrics(running), "ssegate_rate_limit_decisions_total", decision="denied")
    assert 1 <= denied < CALLS


@SDKS
async def test_a_long_wait_is_told_at_once(simulator, gate, ask: Ask, dialect: str):
    """Nobody sleeps for days inside an SDK: it raises its own error, and does not hammer."""
    _, running = await limited(simulator, gate, dialect, "{requests: 1/month}")
    await ask(running.url, 5)

    with pytest.raises(Exception, match="limit reached: 1 requests per month") as raised:
        await ask(running.url, 5)

    assert type(raised.value).__name__ == "RateLimitError"
    denied = total(await gate.metrics(running), "ssegate_rate_limit_decisions_total", decision="denied")
    assert denied == 1
