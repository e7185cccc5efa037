"""
The steps of Gemini's Interactions: thoughts, pieces of the answer, calls, and tools that Google runs itself.

The last are no events here, like everywhere; same-shape clients still get them.

Source: https://ai.google.dev/api/interactions-api and recorded bodies.
"""

from __future__ import annotations

from ssegate.wire.dialects.bounds import Bounds, Seen
from ssegate.wire.dialects.gemini_chunk import Chunk, Delta, Piece, Step
from ssegate.wire.dialects.gemini_sources import Sources
from ssegate.wire.dialects.tool_calls import KeyedCalls
from ssegate.wire.events import Event, Reasoning, Text

__all__ = ["Steps"]


class Steps:
    """The steps of one interaction."""

    def __init__(self, bounds: Bounds) -> None:
        self._calls = KeyedCalls(bounds=bounds)
        self._sources = Sources(0, Seen(), bounds)

    def read(self, kind: str, chunk: Chunk) -> list[Event]:
        """Return what an event of that *kind* says of a step."""
        at = chunk.index or 0
        if kind == "step.delta" and chunk.delta is not None:
            return self._delta(at, chunk.delta)
        if kind == "step.start" and chunk.step is not None:
            return self._start(at, chunk.step)
        if kind == "step.stop":
            return [*self._calls.close(at)]
        return []

    def whole(self, at: int, step: Step) -> list[Event]:
        """Return what a whole step says."""
        return [*self._start(at, step), *self._calls.close(at)]

    def _start(self, at: int, step: Step) -> list[Event]:
        match step.type:
            case "function_call":
                return [*self._calls.close(at), self._calls.open(at, step.id, step.name, step.arguments)]
            case "thought":
                return [Reasoning(piece.text) for piece in step.summary or () if piece.text]
            case "model_output":
                return [event for piece in step.content or () for event in self._piece(piece)]
        return []

    def _delta(self, at: int, delta: Delta) -> list[Event]:
        match delta.type:
            case "thought_summary":
                summary = delta.content and delta.content.text
                return [Reasoning(summary)] if summary else []
            case "arguments_delta":
                return [*self._calls.add(at, delta.arguments)]
        return self._piece(Piece(delta.text, delta.annotations))

    def _piece(self, piece: Piece) -> list[Event]:
        said: list[Event] = []
        if piece.text:
            self._sources.add_text(piece.text)
            said.append(Text(piece.text))
        return [*said, *self._sources.annotate(piece.annotations)]
