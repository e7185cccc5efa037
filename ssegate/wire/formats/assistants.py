"""
The events of OpenAI's Assistants, which exist only as ``same``: frames leave as they came, one by one.

Source: https://platform.openai.com/docs/api-reference/assistants-streaming
"""

from __future__ import annotations

from typing import ClassVar

from ssegate.wire.events import Failure, Finish, Usage
from ssegate.wire.formats.encoding import encoded, sse_event, with_key
from ssegate.wire.formats.error_bodies import stream_error
from ssegate.wire.formats.same import SameEvents

__all__ = ["Assistants"]

_DONE = sse_event(b"[DONE]", "done")


class Assistants(SameEvents):
    """Writes each frame under its name, and ``event: done`` at the end of whatever kind."""

    name: ClassVar[str] = "assistants"

    def finish(self, finish: Finish, usage: Usage | None, metadata: bytes) -> list[bytes]:
        """Return the end mark: how the run has ended has been carried."""
        return [_DONE]

    def fail(self, failure: Failure, metadata: bytes) -> list[bytes]:
        """Return the error and the end mark; the SDKs raise on an ``error`` in the data."""
        error = with_key(encoded(stream_error("openai", failure)), b"ssegate", metadata)
        return [sse_event(error, "error"), _DONE]
