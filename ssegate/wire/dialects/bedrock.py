"""
Bedrock's streams: ConverseStream, and InvokeModelWithResponseStream with whatever the model itself says.

The frames are messages of an AWS event stream. Their name tells what they are: one of Converse's events, a
``chunk`` of a model's own, or an exception.

Source: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseStream.html,
API_runtime_InvokeModelWithResponseStream.html
"""

from __future__ import annotations

from typing import ClassVar

from ssegate.wire.dialects.base import JSONDialect
from ssegate.wire.dialects.bedrock_converse import Converse
from ssegate.wire.dialects.bedrock_data import PAYLOAD, Payload
from ssegate.wire.dialects.bedrock_invoke import Invocation
from ssegate.wire.dialects.failure import failure_in
from ssegate.wire.errors import WireError
from ssegate.wire.events import Carried, End, Event, Failure, Finish, Frame

__all__ = ["Bedrock"]

FAILED = ("exception", "error")
"""What stands before the colon in the name of a frame that reports a failure."""

STATUSES = {
    "internalServerException": 500,
    "modelStreamErrorException": 424,
    "modelTimeoutException": 408,
    "serviceUnavailableException": 503,
    "throttlingException": 429,
    "validationException": 400,
}
"""The HTTP statuses that the same exceptions have before a stream."""


class Bedrock(JSONDialect[Payload]):
    """Reads Converse's events and models' chunks, and the complete answers of both."""

    name: ClassVar[str] = "bedrock"
    decoder = PAYLOAD

    def __init__(self) -> None:
        super().__init__()
        self._converse = Converse()
        self._invocation = Invocation()
        self._finished: set[int] = set()

    def decode(self, frame: Frame) -> list[Event]:
        """Return what the frame says."""
        outcome, colon, name = frame.event.partition(":")
        if colon and outcome in FAILED:
            self._held = None
            return [_failure(name, frame.data)]
        return super().decode(frame)

    def _events(self, payload: Payload, frame: Frame) -> list[Event]:
        """Return what the payload says; each choice finishes once, whoever says so."""
        said = []
        for event in self._told(payload, frame):
            if isinstance(event, Finish):
                if event.choice in self._finished:
                    continue
                self._finished.add(event.choice)
            said.append(event)
        return said

    def _told(self, payload: Payload, frame: Frame) -> list[Event]:
        if payload.chunk is not None:
            return self._invocation.read(payload.chunk) if payload.chunk.strip() else []
        if b'"bytes"' in frame.data and frame.event == "chunk":
            raise WireError("the upstream sent a chunk whose bytes are no base64")
        if not frame.event:
            return self._invocation.read(frame.data)  # a complete answer
        said = self._converse.read(frame.event, payload)
        return [*said, End()] if frame.event == "metadata" else said

    def carry(self, frame: Frame) -> Carried | None:
        """Return the frame as it came, unless it is an error or a complete answer, which has no name."""
        carried = super().carry(frame)
        return carried if frame.event else None


def _failure(name: str, data: bytes) -> Failure:
    failure = failure_in(data, fallback=name or "the upstream reported an error")
    failure.upstream_type = name or failure.upstream_type
    failure.upstream_status = failure.upstream_status or STATUSES.get(name)
    return failure
