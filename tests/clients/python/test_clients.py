"""Unmodified Python clients before the gate: each of them through each scenario."""

from __future__ import annotations

import importlib

import pytest

from ..checking import Client, go_through
from ..conftest import House
from ..scenarios import SCENARIOS

MODULES = {
    # what it imports: the file that reads with it
    "openai": "openai_sdk",
    "anthropic": "anthropic_sdk",
    "ollama": "ollama_sdk",
    "google.genai": "google_sdk",
    "cohere": "cohere_sdk",
    "mistralai": "mistral_sdk",
    "langchain_openai": "langchain_sdk",
    "pydantic_ai": "pydantic_ai_sdk",
    "httpx_sse": "httpx_sse_reader",
}


def cases() -> list[object]:
    """Return each client with each of its wires."""
    for package in MODULES:
        pytest.importorskip(package, reason=f"{package} is not installed: `make test-clients` installs it")
    modules = [importlib.import_module(f".{name}", __package__) for name in MODULES.values()]
    clients: list[Client] = [client for module in modules for client in module.CLIENTS]
    return [
        pytest.param(client, wire, id=f"{client.name}, {wire}") for client in clients for wire in client.wires
    ]


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize(("client", "wire"), cases())
def test_it_manages(client: Client, wire: str, scenario: str, house: House):
    """What ``SCENARIOS`` says of it can be seen."""
    go_through(client, wire, scenario, house)
