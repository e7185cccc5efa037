"""
A mock of many vendors behind the gate, endpoint by endpoint: what it was told to say is what clients read.

It is held to what it does as the vendors do; where it does not, the endpoint's line says what is left out.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest
from wire import reading_back
from wire.keeping_form import events

from ssegate.wire.dialects import DIALECTS

from . import aimock

pytestmark = pytest.mark.xdist_group("aimock")

CONFIG = """
upstreams:
  mock: {{url: "{url}"}}
defaults: {{upstream: mock, upstream_path: "/*"}}
routes:
  - {{path: "/native/*", output: native}}
  - {{path: "/openai/*", output: openai}}
  - {{path: "/same/*", output: same}}
  - {{path: "/raw/*", output: raw}}
"""

Body = Callable[[str], dict[str, Any]]


@dataclass(frozen=True)
class Endpoint:
    """One endpoint of the mock, and what of it is as the vendor's."""

    dialect: str
    path: str
    body: Body
    says: frozenset[str] = frozenset({"hello", "tool", "think", "both", "fail", "cut"})
    is_own_reason: bool = True
    """Finish reasons are the vendor's own."""

    is_own_form: bool = True
    """The framing is the vendor's own, so that a strict reader of it reads what leaves as ``same``."""

    def __str__(self) -> str:
        return self.path


def _messages(message: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": message}]


def chat(message: str) -> dict[str, Any]:
    return {"model": "gpt-4o", "stream": True, "messages": _messages(message)}


def messages(message: str) -> dict[str, Any]:
    return {**chat(message), "model": "claude", "max_tokens": 100}


def contents(message: str) -> dict[str, Any]:
    return {"contents": [{"role": "user", "parts": [{"text": message}]}]}


def converse(message: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": [{"text": message}]}]}


def invoke(message: str) -> dict[str, Any]:
    body = messages(message)
    return {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 9, "messages": body["messages"]}


def responses(message: str) -> dict[str, Any]:
    return {"model": "gpt-4o", "stream": True, "input": message}


def interactions(message: str) -> dict[str, Any]:
    return {"model": "gemini-2.5-flash", "stream": True, "input": message}


def ollama(message: str) -> dict[str, Any]:
    return {"model": "llama3", "messages": _messages(message)}


def generate(message: str) -> dict[str, Any]:
    return {"model": "llama3", "prompt": message}


ALL = frozenset(aimock.FIXTURES)
ENDPOINTS = [
    Endpoint("openai", "/v1/chat/completions", chat),
    Endpoint("openai", "/openai/deployments/one/chat/completions?api-version=2024-10-21", chat),
    Endpoint("responses", "/v1/responses", responses),
    Endpoint("anthropic", "/v1/messages", messages),
    # Calls end in FUNCTION_CALL, where Google says STOP. Without alt=sse it sends events all the same, where
    # Google sends an array; so that is not asked.
    Endpoint(
        "gemini",
        "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse",
        contents,
        is_own_reason=False,
    ),
    Endpoint(
        "gemini",
        "/v1/projects/p/locations/l/publishers/google/models/g:streamGenerateContent?alt=sse",
        contents,
        is_own_reason=False,
    ),
    # Has no thoughts, and gives its events no names.
    Endpoint("gemini", "/v1beta/interactions", interactions, ALL - {"think"}, is_own_form=False),
    Endpoint("bedrock", "/model/anthropic.claude-3/converse-stream", converse),
    # Sends Anthropic's events bare, where AWS wraps them in base64.
    Endpoint("bedrock", "/model/anthropic.claude-3/invoke-with-response-stream", invoke, is_own_form=False),
    Endpoint("ollama", "/api/chat", ollama, ALL - {"think"}),  # thinks in `reasoning_content`
    Endpoint("ollama", "/api/generate", generate, ALL - {"think", "tool", "both"}),
    Endpoint("cohere", "/v2/chat", chat, ALL - {"think"}),  # thinks in a content of type text
]
BUILT = [endpoint for endpoint in ENDPOINTS if endpoint.dialect in DIALECTS]
ASKED = [
    pytest.param(endpoint, name, id=f"{endpoint}-{name}")
    for endpoint in BUILT
    for name in sorted(endpoint.says - {"fail", "cut"})
]


@pytest.fixture(scope="session")
def mock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The mock's URL, one for all tests."""
    try:
        with aimock.serving(tmp_path_factory.mktemp("aimock")) as url:
            yield url
    except aimock.Missing as exc:
        pytest.skip(f"the mock of many vendors cannot run here: {exc}")


@pytest.fixture
async def url(gate: Any, mock: str) -> str:
    """A gate before the mock."""
    running = await gate(CONFIG.format(url=mock))
    return str(running.url)


@pytest.fixture
async def http(gate: Any) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def ask(
    http: aiohttp.ClientSession, base: str, endpoint: Endpoint, name: str
) -> tuple[int, str, bytes]:
    """Return status, media type and body of an answer."""
    async with http.post(base + endpoint.path, json=endpoint.body(name)) as answer:
        return answer.status, answer.content_type, await answer.read()


def check(message: reading_back.Message, name: str) -> None:
    """Compare what was read with what the mock was told to say; ids are its own."""
    told = aimock.FIXTURES[name]["response"]
    calls = [(call["name"], json.loads(call["arguments"])) for call in message.calls]

    assert message.text == told.get("content", "")
    assert message.reasoning == told.get("reasoning", "")
    assert calls == [(call["name"], call["arguments"]) for call in told.get("toolCalls", ())]


@pytest.mark.parametrize(("endpoint", "name"), ASKED)
async def test_what_the_mock_says_is_told(
    http: aiohttp.ClientSession, url: str, endpoint: Endpoint, name: str
):
    """Text, reasoning, calls and finish, as native and translated into OpenAI's chunks."""
    for output in ("native", "openai"):
        status, media, body = await ask(http, f"{url}/{output}", endpoint, name)

        assert (status, media) == (200, "text/event-stream")
        answer = getattr(reading_back, output)(body)
        check(answer.first, name)
        assert answer.error is None and all(call["id"] for call in answer.first.calls)
        has_calls = "toolCalls" in aimock.FIXTURES[name]["response"]
        if endpoint.is_own_reason or not has_calls:
            assert answer.first.finish_reason == ("tool_calls" if has_calls else "stop")


@pytest.mark.parametrize(("endpoint", "name"), ASKED)
async def test_its_own_clients_read_the_same(
    http: aiohttp.ClientSession, mock: str, url: str, endpoint: Endpoint, name: str
):
    """Of the same media type as without the gate, in good form, as ``same`` and as ``raw``."""
    direct_status, direct_media, direct = await ask(http, mock, endpoint, name)

    status, media, body = await ask(http, f"{url}/same", endpoint, name)
    assert status == direct_status == 200
    if media == "text/event-stream":
        assert events(body, is_bare=False)
    if endpoint.is_own_form:
        assert media == direct_media
        check(getattr(reading_back, endpoint.dialect)(body).first, name)
    raw_status, raw_media, raw = await ask(http, f"{url}/raw", endpoint, name)
    assert (raw_status, raw_media) == (200, direct_media)
    assert abs(len(raw) - len(direct)) < 50  # ids and counters are other ones


@pytest.mark.parametrize("endpoint", BUILT, ids=str)
async def test_a_refusal_keeps_its_status_and_words(
    http: aiohttp.ClientSession, url: str, endpoint: Endpoint
):
    """An HTTP error of every vendor's shape stays a 429 with its message."""
    for output in ("native", "openai", "same"):
        status, media, body = await ask(http, f"{url}/{output}", endpoint, "fail")

        assert (status, media) == (429, "application/json")
        assert "Slow down a bit" in body.decode()


@pytest.mark.parametrize("endpoint", BUILT, ids=str)
async def test_a_broken_connection_is_told_as_a_cut(
    http: aiohttp.ClientSession, url: str, endpoint: Endpoint
):
    """What came before it is a beginning of the text; no end is made up."""
    status, _, body = await ask(http, f"{url}/native", endpoint, "cut")

    answer = reading_back.native(body)
    assert status == 200 and answer.first.text
    assert answer.error and answer.error["code"] == "upstream_truncated"
    assert aimock.FIXTURES["cut"]["response"]["content"].startswith(answer.first.text)
