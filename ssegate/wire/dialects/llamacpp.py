"""
llama.cpp's own ``/completion``: a piece of text an event, the last of each choice with ``stop``.

Several prompts in one request are several choices, one after another or interleaved; so a choice's last event
is its finish, and the end of the body the end. What the same server says on OpenAI's and Anthropic's paths is
their dialects.

Source: https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md
"""

from __future__ import annotations

from typing import ClassVar

import msgspec

from ssegate.wire.dialects.base import JSONDialect
from ssegate.wire.dialects.failure import failure_in
from ssegate.wire.dialects.reasons import Finishes
from ssegate.wire.events import Carried, Event, Frame, Text, Usage
from ssegate.wire.payload import NOTHING, says

__all__ = ["LlamaCpp"]


class Chunk(msgspec.Struct, gc=False):
    """An event, or the whole answer; ``stopped_…`` are older versions' words for ``stop_type``."""

    index: int | None = None
    content: str | None = None
    stop: bool | None = None
    model: str | None = None
    tokens_predicted: int | None = None
    tokens_evaluated: int | None = None
    stop_type: str | None = None
    stopped_eos: bool | None = None
    stopped_word: bool | None = None
    stopped_limit: bool | None = None
    error: msgspec.Raw = NOTHING


class LlamaCpp(JSONDialect[Chunk]):
    """Reads ``/completion`` and ``/infill``, streamed or whole."""

    name: ClassVar[str] = "llamacpp"
    decoder = msgspec.json.Decoder(Chunk)

    def __init__(self) -> None:
        super().__init__()
        self._finishes = Finishes()

    def _events(self, chunk: Chunk, frame: Frame) -> list[Event]:
        if says(chunk.error):
            return [failure_in(frame.data)]
        said = self._start(None, chunk.model)
        choice = chunk.index or 0
        if chunk.content:
            said.append(Text(chunk.content, choice))
        if chunk.tokens_evaluated is not None or chunk.tokens_predicted is not None:
            said.append(Usage(chunk.tokens_evaluated, chunk.tokens_predicted))
        if chunk.stop:
            said += self._finishes.add(_reason(chunk), choice)
        return said

    def _mark(self, carried: Carried, chunk: Chunk) -> None:
        carried.last = bool(chunk.stop)  # progress is counts alone, and must not wait


def _reason(chunk: Chunk) -> str:
    """Return why the choice has stopped; ``none`` is the server's own word where it does not know."""
    older = {"eos": chunk.stopped_eos, "word": chunk.stopped_word, "limit": chunk.stopped_limit}
    return chunk.stop_type or next((reason for reason, is_it in older.items() if is_it), "none")
