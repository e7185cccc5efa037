"""
Hugging Face's text-generation-inference: ``/generate_stream``, one token an event.

The whole answer stands in the last event once more, with ``return_full_text`` the prompt too, so what streams
is read from the tokens alone. Chat with the same server is OpenAI's dialect.

Source: https://huggingface.github.io/text-generation-inference/
"""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec

from ssegate.wire.dialects.base import JSONDialect
from ssegate.wire.dialects.failure import failure_in
from ssegate.wire.dialects.reasons import Finishes
from ssegate.wire.dialects.usage import read_usage
from ssegate.wire.events import End, Event, Frame, Text
from ssegate.wire.payload import NOTHING, says

__all__ = ["TGI"]


class Token(msgspec.Struct, gc=False):
    """One token; a special one (``</s>``) is no part of the answer."""

    text: str | None = None
    special: bool | None = None


class Chunk(msgspec.Struct, gc=False):
    """An event, or the whole answer, which has no token."""

    token: Token | None = None
    generated_text: str | None = None
    details: dict[str, Any] | None = None
    error: msgspec.Raw = NOTHING


class TGI(JSONDialect[Chunk]):
    """Reads ``/generate_stream`` and the answer of ``/generate``."""

    name: ClassVar[str] = "tgi"
    decoder = msgspec.json.Decoder(Chunk)

    def __init__(self) -> None:
        super().__init__()
        self._finishes = Finishes()

    def _events(self, chunk: Chunk, frame: Frame) -> list[Event]:
        if says(chunk.error):
            return [failure_in(frame.data)]
        token = chunk.token
        text = chunk.generated_text if token is None else None if token.special else token.text
        said: list[Event] = [Text(text)] if text else []
        if chunk.details is not None:
            if usage := read_usage(chunk.details):
                said.append(usage)
            said += self._finishes.add(chunk.details.get("finish_reason"))
        if chunk.generated_text is not None:
            said.append(End())
        return said

    def _is_complete(self, chunk: Chunk) -> bool:
        return chunk.token is None and chunk.generated_text is not None
