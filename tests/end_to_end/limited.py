"""An upstream that answers as it is told to, and tells its usage, for the tests of limits."""

from __future__ import annotations

import asyncio
import gzip
import json
from contextlib import AsyncExitStack
from typing import Any

from aiohttp import web

from .asking import CHAT, Answer, Served, Upstream, ask, serving

__all__ = ["BODY", "Worker", "chat", "config", "left", "usage"]

BODY = {"model": "gpt-4o", "stream": True, "max_tokens": 50, "messages": []}


def config(worker: Worker, limits: str, more: str = "", route: str = "") -> str:
    """Return a configuration with these *limits* and one route to *worker*."""
    return f"""
        limits: {limits}
        {more}
        upstreams: {{up: {{url: "{worker.upstream.url}"}}}}
        routes: [{{path: /*{route}}}]
        """


async def chat(running: Any, body: Any = BODY, path: str = CHAT, **rest: Any) -> Answer:
    """Ask for a chat completion."""
    return await ask(running.url, path, body, **rest)


def left(answer: Answer, what: str = "tokens") -> int:
    """Return what *answer* says is left."""
    return int(answer.headers[f"x-ratelimit-remaining-{what}"])


def usage(prompt: int, completion: int, cached: int = 0) -> dict[str, Any]:
    """Return OpenAI's usage object."""
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": cached},
    }


class Worker:
    """
    Answers chat completions.

    Attributes:
        usage: What it reports; None: nothing.
        status: Of its answers.
        words: How many tokens a stream has.
        go: Streams wait for it before their end.
        breaks: Streams break off there.
    """

    def __init__(self) -> None:
        self.usage: dict[str, Any] | None = usage(10, 5)
        self.status = 200
        self.headers: dict[str, str] = {}
        self.words = 1
        self.breaks = False
        self.go = asyncio.Event()
        self.go.set()
        self.upstream: Upstream
        self._stack = AsyncExitStack()

    @property
    def requests(self) -> list[Served]:
        """What it was asked."""
        return self.upstream.requests

    async def __aenter__(self) -> Worker:
        self.upstream = await self._stack.enter_async_context(serving(self._answer))
        return self

    async def __aexit__(self, *_: object) -> None:
        self.go.set()
        await self._stack.aclose()

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        body = self.requests[-1].body or b"{}"
        asked = json.loads(gzip.decompress(body) if body.startswith(b"\x1f\x8b") else body)
        if self.status != 200:
            return web.json_response({"error": {"message": "no"}}, status=self.status, headers=self.headers)
        if not asked.get("stream"):
            message = {"role": "assistant", "content": "Hello"}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            whole = {"id": "c", "object": "chat.completion", "created": 1, "model": asked.get("model", "m")}
            told = {} if self.usage is None else {"usage": self.usage}
            return web.json_response(whole | {"choices": [choice]} | told, headers=self.headers)
        return await self._stream(request, asked.get("model", "m"))

    async def _stream(self, request: web.BaseRequest, model: str) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"Content-Type": "text/event-stream"} | self.headers)
        await answer.prepare(request)
        head = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": model}
        chunks: list[dict[str, Any]] = [
            {"choices": [{"index": 0, "delta": {"role": "assistant", "content": "Hello"}}]}
        ]
        await self._write(answer, head, chunks)
        for _ in range(1, self.words):
            await self._write(answer, head, [{"choices": [{"index": 0, "delta": {"content": " w"}}]}])
            await asyncio.sleep(0)
        await self.go.wait()
        if self.breaks:
            assert request.transport is not None
            request.transport.abort()
            return answer
        ends: list[dict[str, Any]] = [{"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}]
        if self.usage is not None:
            ends.append({"choices": [], "usage": self.usage})
        await self._write(answer, head, ends)
        await answer.write(b"data: [DONE]\n\n")
        return answer

    async def _write(self, answer: web.StreamResponse, head: Any, chunks: list[dict[str, Any]]) -> None:
        for chunk in chunks:
            await answer.write(b"data: %b\n\n" % json.dumps(head | chunk).encode())
