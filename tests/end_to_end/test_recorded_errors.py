"""Recorded bodies of HTTP errors, sent by a real upstream: each client reads them in its own shape."""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp import web
from wire.recordings import recordings

from .asking import ask, everything_to, serving

SHAPES = {
    "native": ("native", "/v1/chat/completions"),
    "openai": ("openai", "/v1/chat/completions"),
    "same openai": ("same", "/v1/responses"),
    "anthropic": ("same", "/v1/messages"),
    "gemini": ("same", "/v1beta/models/gemini-2.5-flash:streamGenerateContent"),
    "bedrock": ("same", "/model/amazon.nova-lite-v1:0/converse-stream"),
    "ollama": ("same", "/api/chat"),
    "raw": ("raw", "/v1/chat/completions"),
}
ERRORS = recordings("errors")


def known(said: Any) -> dict[str, Any]:
    """Return what the manifest says of an error; some have nothing but a message."""
    error = {"message": said} if isinstance(said, str) else said
    kind = error.get("type", error.get("status"))
    return {"message": error["message"], "type": kind, "code": error.get("code"), "param": error.get("param")}


def told(shape: str, body: Any) -> tuple[dict[str, Any], set[str]]:
    """Return what a client of *shape* reads in *body*, and what its shape has no room for."""
    if shape == "native":
        found = {"type": body.get("upstream_type"), "code": body.get("upstream_code")}
        return {"message": body["error"], **found}, {"param"}
    if shape == "ollama":
        return {"message": body["error"]}, {"type", "code", "param"}
    if shape == "bedrock":
        return {"message": body["message"]}, {"type", "code", "param"}
    error = body["error"]
    if shape == "anthropic":
        return {"message": error["message"], "type": error["type"]}, {"code", "param"}
    if shape == "gemini":
        return {"message": error["message"]}, {"type", "code", "param"}
    return dict(error), set()


@pytest.mark.parametrize("shape", SHAPES)
async def test_every_recorded_error_reaches_every_client(gate: Any, shape: str):
    """Status, message, type and code as the vendor gave them, and when to come back."""
    output, path = SHAPES[shape]
    left = list(ERRORS)

    async def refusing(request: web.BaseRequest) -> web.Response:
        body = left.pop(0)
        headers = {"Content-Type": body.content_type, "Retry-After": "7"}
        return web.Response(status=body.status, headers=headers, body=body.body)

    async with serving(refusing) as upstream:
        running = await gate(everything_to(upstream.url, output=output))
        for body in ERRORS:
            answer = await ask(running.url, path, {"stream": True})

            said, no_room = told(shape, answer.json)
            assert answer.status == (body.status if body.status < 500 else 502), body
            assert answer.header("Retry-After") == "7", body
            assert answer.header("Content-Type") == "application/json"
            for name, value in known(body.expected["error"]).items():
                if name not in no_room and value is not None:
                    assert said[name] == value, f"{name} of {body}"
    assert left == []
