"""
text-generation-inference's stream: a token an event, the last of them with the whole answer.

From such an upstream the events come carried and leave as they are. A complete answer in place of a stream
comes as neutral events and is told as one token.

Source: https://huggingface.github.io/text-generation-inference/
"""

from __future__ import annotations

from typing import Any, ClassVar

from ssegate.wire.events import Carried, Event, Finish, FinishReason, Text, Usage
from ssegate.wire.formats.encoding import encoded, sse_event, with_key
from ssegate.wire.formats.same import SameEvents
from ssegate.wire.seams import Context

__all__ = ["TGI"]

_REASONS: dict[FinishReason, str] = {"length": "length"}
"""Any other reason is ``eos_token``."""

_OWN_REASONS = ("length", "eos_token", "stop_sequence")


class TGI(SameEvents):
    """Writes the events of ``/generate_stream``."""

    name: ClassVar[str] = "tgi"
    may_miss_deltas: ClassVar[bool] = False

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._has_carried = False
        self._texts: list[str] = []

    def encode(self, event: Event | Carried, metadata: bytes) -> list[bytes]:
        """Return *event*, if it is carried or text, as a token."""
        match event:
            case Carried():
                self._has_carried = True
                return super().encode(event, metadata)
            case Text(choice=0):
                self._texts.append(event.text)
                return [self._token(event.text, special=False, metadata=metadata)]
        return []

    def finish(self, finish: Finish, usage: Usage | None, metadata: bytes) -> list[bytes]:
        """Return the last event, unless it has been carried."""
        if self._has_carried:
            return []
        reason = finish.upstream_reason
        if reason not in _OWN_REASONS:
            reason = _REASONS.get(finish.reason, "eos_token")
        details: dict[str, Any] = {"finish_reason": reason, "generated_tokens": 0, "seed": None}
        if usage is not None:
            details |= {"generated_tokens": usage.output_tokens or 0, "input_length": usage.input_tokens or 0}
        return [self._token("", special=True, metadata=metadata, details=details)]

    def _token(self, text: str, *, special: bool, metadata: bytes, details: Any = None) -> bytes:
        event = {
            "index": len(self._texts),
            "token": {"id": 0, "text": text, "logprob": 0.0, "special": special},
            "generated_text": "".join(self._texts) if special else None,
            "details": details,
        }
        return sse_event(with_key(encoded(event), b"ssegate", metadata))
