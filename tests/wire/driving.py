"""
Pipelines driven through invented time as the relay drives them through the real one, and upstream bytes to
drive them with.
"""

from __future__ import annotations

import json
from typing import Any

from ssegate.wire.events import Failure
from ssegate.wire.pipeline import Pipeline, Settings
from ssegate.wire.seams import Context

SSE = "text/event-stream"
DONE = b"data: [DONE]\n\n"
STREAM_ID = "st-1"


class Drive:
    """
    One pipeline on its way through time, which begins at 0.

    Every deadline that comes is honoured at its very moment. What holds for every stream is checked at each
    step: nothing leaves before the head may, no event is split over two writes, the outcome is set once and
    nothing comes after it.

    Args:
        learns: Runs of like frames may be carried without decoding; False: all goes the ordinary way.

    Attributes:
        writes: What left for the client, and when.
    """

    def __init__(
        self,
        output: str = "native",
        content_type: str | None = SSE,
        *,
        context: Context | None = None,
        begun: bool = True,
        learns: bool = True,
        **settings: Any,
    ) -> None:
        context = context or Context(STREAM_ID, created=1_700_000_000)
        self.pipeline = Pipeline(Settings(output=output, **settings), context, started_at=0.0)
        if not learns:
            self.pipeline._learner._attempts = 0
        self.writes: list[tuple[float, bytes]] = []
        self._is_framed = output != "raw"
        if begun:
            self.pipeline.begin(content_type)

    @property
    def body(self) -> bytes:
        """All that has left for the client."""
        return b"".join(data for _, data in self.writes)

    def feed(self, data: bytes, now: float) -> bytes:
        """Bring *data* at *now*, after all that was due until then."""
        self.wait(now)
        return self._step(lambda: self.pipeline.feed(data, now), now)

    def close(self, now: float) -> bytes:
        self.wait(now)
        return self._step(lambda: self.pipeline.close(now), now)

    def fail(self, code: str, now: float, message: str = "it broke") -> bytes:
        self.wait(now)
        return self._step(lambda: self.pipeline.fail(Failure(code, message), now), now)

    def tell(self, now: float) -> bytes:
        return self._step(lambda: self.pipeline.tell(now), now, is_told=True)

    def wait(self, until: float) -> bytes:
        """Let time pass, ticking at every deadline up to and including *until*; return what left."""
        before, last, times = len(self.writes), None, 0
        while self.pipeline.outcome is None and (due := self.pipeline.deadline) is not None and due <= until:
            times = times + 1 if due == last else 0
            assert times < 4, f"the deadline {due} does not move"
            last = due
            self._step(lambda at=due: self.pipeline.tick(at), due)
        return b"".join(data for _, data in self.writes[before:])

    def _step(self, act: Any, now: float, *, is_told: bool = False) -> bytes:
        pipeline = self.pipeline
        outcome, failure = pipeline.outcome, pipeline.failure
        out = act()
        assert isinstance(out, bytes)
        if outcome is not None:
            assert (pipeline.outcome, pipeline.failure) == (outcome, failure), "the outcome is set once"
            assert is_told or not out, f"after the outcome: {out!r}"
        assert not out or pipeline.is_open, f"before the head: {out!r}"
        if out:
            self.writes.append((now, out))
        return out


def frame(data: Any, event: str = "") -> bytes:
    """One SSE event of the upstream."""
    name = f"event: {event}\n" if event else ""
    return f"{name}data: {json.dumps(data)}\n\n".encode()


def chunk(delta: dict[str, Any] | None = None, *, finish: str | None = None, choice: int = 0) -> bytes:
    """One of OpenAI's chat chunks."""
    said = {"index": choice, "delta": delta or {}, "finish_reason": finish}
    return frame(
        {
            "id": "chatcmpl-9",
            "object": "chat.completion.chunk",
            "created": 1700000009,
            "model": "gpt-4o-mini",
            "choices": [said],
        }
    )


def word(text: str, choice: int = 0) -> bytes:
    """A chunk with a piece of the answer."""
    return chunk({"content": text}, choice=choice)


def usage(prompt: int, completion: int) -> bytes:
    """OpenAI's usage chunk."""
    counts = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }
    return frame(
        {
            "id": "chatcmpl-9",
            "object": "chat.completion.chunk",
            "created": 1700000009,
            "model": "gpt-4o-mini",
            "choices": [],
            "usage": counts,
        }
    )


ROLE = chunk({"role": "assistant", "content": ""})
STOP = chunk(finish="stop")


def line(**said: Any) -> bytes:
    """One of Ollama's lines."""
    return json.dumps({"model": "llama3", "created_at": "2026-01-01T00:00:00Z", **said}).encode() + b"\n"


def message(**said: Any) -> bytes:
    """One of Anthropic's events."""
    return frame(said, said["type"])
