"""
IBM watsonx.ai: ``/ml/v1/text/generation_stream``, a piece of the result an event.

The finish is the only end there is. Chat on the same host is OpenAI's dialect.

Source: https://cloud.ibm.com/apidocs/watsonx-ai#text-generation-stream
"""

from __future__ import annotations

from typing import ClassVar

import msgspec

from ssegate.wire.dialects.base import JSONDialect
from ssegate.wire.dialects.failure import failure_in, read_failure
from ssegate.wire.dialects.reasons import Finishes
from ssegate.wire.dialects.usage import UsageSoFar
from ssegate.wire.events import Carried, Event, Finish, Frame, Text, Usage
from ssegate.wire.payload import NOTHING, says

__all__ = ["WatsonX"]


class Result(msgspec.Struct, gc=False):
    """What was generated, here or so far; the counts are of all so far."""

    generated_text: str | None = None
    generated_token_count: int | None = None
    input_token_count: int | None = None
    stop_reason: str | None = None


class Chunk(msgspec.Struct, gc=False):
    """An event, or the whole answer."""

    model_id: str | None = None
    results: list[Result] | None = None
    errors: msgspec.Raw = NOTHING


class WatsonX(JSONDialect[Chunk]):
    """Reads text generation, streamed or whole."""

    name: ClassVar[str] = "watsonx"
    decoder = msgspec.json.Decoder(Chunk)

    def __init__(self) -> None:
        super().__init__()
        self._usage, self._finishes = UsageSoFar(), Finishes()

    def _events(self, chunk: Chunk, frame: Frame) -> list[Event]:
        if says(chunk.errors):
            return [failure_in(frame.data)]
        said = self._start(None, chunk.model_id)
        for result in chunk.results or ():
            if result.generated_text:
                said.append(Text(result.generated_text))
            said += self._counts(result)
            if (result.stop_reason or "").lower() == "error":
                return [*said, read_failure({})]  # it says no more than that
            said += self._finishes.add(result.stop_reason)
        return said

    def _counts(self, result: Result) -> list[Usage]:
        counts = msgspec.structs.asdict(result)
        if not result.input_token_count:
            del counts["input_token_count"]  # only the first event counts the input; in all others it is 0
        return self._usage.add(counts)

    def _mark(self, carried: Carried, chunk: Chunk) -> None:
        carried.last = any(isinstance(event, Finish) for event in self._said)
