"""
``ssegate demo``: a simulated upstream, a gate before it, one stream printed as it arrives, then both stay.
"""

from __future__ import annotations

import socket
from dataclasses import replace

import aiohttp
import click

from ssegate import config as configuration
from ssegate.config import Address
from ssegate.gate import Gate
from ssegate.lifecycle import serve
from ssegate.listening import curl
from ssegate.simulate import Behaviour, Simulator

__all__ = ["run_demo"]

_CONFIG = """\
admin: "{admin}"
log: {{level: warning, format: console}}
upstreams:
  simulated: {{url: "{upstream}"}}
routes:
  - path: /chat
    upstream: simulated
    upstream_path: /v1/chat/completions
    from_prompt:
      body: {{model: simulated, messages: [{{role: user, content: "{{prompt}}"}}]}}
  - path: /*
    upstream: simulated
"""
_ADMIN = "127.0.0.1:9464"
_OVER_SOCKET = "http://localhost"
_PROMPT = '{"prompt": "Tell me something about streams."}'


async def run_demo(listen: Address) -> int:
    """Run the demo on *listen* until a signal; return the exit code."""
    async with Simulator(Behaviour(rate=30, tokens=60, first_token_delay=0.4)) as upstream:
        admin = _ADMIN if _is_free(_ADMIN) else "127.0.0.1:0"
        text = _CONFIG.format(admin=admin, upstream=upstream.url)
        # Not by the text: the path of a socket may hold what means something there.
        gate = Gate(replace(configuration.parse(text, "demo", {}), listen=listen))

        async def show() -> None:
            await _show_stream(gate.url)
            click.echo(_farewell(gate, upstream.url))

        return await serve(gate, once_ready=show)


def _is_free(address: str) -> bool:
    where = Address.parse(address)
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((where.host, where.port))
        except OSError:
            return False
        return True


async def _show_stream(url: str) -> None:
    headers = {"Content-Type": "application/json"}
    base, connector = url, None
    if url.startswith("unix:"):
        base, connector = _OVER_SOCKET, aiohttp.UnixConnector(url.removeprefix("unix:"))
    click.echo(f"POST {base}/chat  {_PROMPT}\n")
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        session.post(f"{base}/chat", data=_PROMPT, headers=headers) as response,
    ):
        async for piece in response.content.iter_any():
            click.echo(piece, nl=False)


def _farewell(gate: Gate, upstream: str) -> str:
    base = f"{_OVER_SOCKET} over that socket" if gate.url.startswith("unix:") else gate.url
    return "\n".join(
        [
            "That was one stream. The gate goes on; try it from another terminal:",
            "",
            f"  {curl(gate.url, '/chat')} -H 'Content-Type: application/json' -d '{_PROMPT}'",
            f"  {curl(gate.url, '/chat?prompt=hello')}",
            "",
            f"Live page: {gate.admin_url}/   Metrics: {gate.admin_url}/metrics",
            f"OpenAI, Anthropic and Ollama clients work with {base} as base URL (upstream: {upstream}).",
            "Ctrl-C ends it.",
        ]
    )
