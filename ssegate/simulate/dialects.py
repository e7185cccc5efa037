"""The simulated endpoints, by dialect: a new one is one file and one line here."""

from __future__ import annotations

from ssegate.simulate.answer import Endpoint
from ssegate.simulate.anthropic import Messages
from ssegate.simulate.ollama import Chat, Generate
from ssegate.simulate.openai import ChatCompletions, Completions

__all__ = ["DIALECTS", "endpoint_for"]

# The longer suffix first: "/chat/completions" ends in "/completions" too.
DIALECTS: dict[str, tuple[Endpoint, ...]] = {
    "openai": (ChatCompletions(), Completions()),
    "anthropic": (Messages(),),
    "ollama": (Chat(), Generate()),
}


def endpoint_for(path: str, dialect: str = "auto") -> Endpoint | None:
    """
    Return the endpoint that *path* means, or None.

    Args:
        dialect: ``auto``, or a dialect to speak whatever the path; its first endpoint is the default.
    """
    if dialect != "auto":
        offered = DIALECTS[dialect]
        return next((e for e in offered if path.endswith(e.suffix)), offered[0])
    every = (endpoint for endpoints in DIALECTS.values() for endpoint in endpoints)
    return next((e for e in every if path.endswith(e.suffix)), None)
