"""
OpenAI's streams: chat completion chunks, or those of legacy completions where the client asked for them.

From an OpenAI-shaped upstream the frames come carried and leave as they are; from any other, chunks are
built of neutral events. Metadata is an extra key ``ssegate`` on chunks that exist anyway: an event of its own
or an extra chunk without choices breaks clients.

Source: https://platform.openai.com/docs/api-reference/chat-streaming, and what the SDKs accept.
"""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec

from ssegate.wire.events import Carried, Event, Failure, Finish, Start, Usage
from ssegate.wire.formats.encoding import DONE, SSE, encoded, quoted, with_key
from ssegate.wire.formats.error_bodies import stream_error
from ssegate.wire.formats.openai_chunks import Chat, Chunks, Completions
from ssegate.wire.seams import Context

__all__ = ["OpenAI"]


class _Identity(msgspec.Struct):
    """What chunks of our own must share with the upstream's."""

    id: str | None = None
    created: int | None = None
    model: str | None = None


class OpenAI:
    """
    Writes chunks and ``[DONE]``.

    Attributes:
        noop: A chunk that says nothing, under the stream's own id: clients' idle timers miss comments.
    """

    name: ClassVar[str] = "openai"
    may_miss_deltas: ClassVar[bool] = True
    content_type = SSE
    heartbeat = b":\n"

    def __init__(self, context: Context) -> None:
        self._chunks: Chunks = Completions() if context.completions else Chat()
        self._wants_usage = context.wants_usage
        self._created = context.created
        self._own_id = self._chunks.id_prefix + context.stream_id
        self._id: str | None = None
        self._model: str | None = None
        self._has_carried = False
        self._is_named = False
        self._has_written = False
        self._finished: set[int] = set()
        self._name()

    def encode(self, event: Event | Carried, metadata: bytes) -> list[bytes]:
        """Return the one chunk that says *event*."""
        if isinstance(event, Carried):
            return self._carry(event, metadata)
        choice = self._chunks.choice(event)
        if choice is not None:
            return [self._chunk(choice, metadata)]
        match event:
            case Start():
                self._learn(event.id, event.model)
            case Finish():
                return [self._finish(event, metadata)]
        return []

    def finish(self, finish: Finish, usage: Usage | None, metadata: bytes) -> list[bytes]:
        """Return the finish chunk, the usage chunk if it was asked for, and ``[DONE]``."""
        if self._has_carried and not self._has_written:
            return [DONE]  # finish and usage have been carried
        last = []
        if finish.choice not in self._finished:
            last.append(self._finish(finish, metadata))
            metadata = b""
        if self._wants_usage and usage is not None:
            chunk = b'%b],"usage":%b}' % (self._head, encoded(_usage(usage)))
            last.append(b"data: %b\n\n" % with_key(chunk, b"ssegate", metadata))
        return [*last, DONE]

    def fail(self, failure: Failure, metadata: bytes) -> list[bytes]:
        """
        Return the error event and ``[DONE]``.

        No ``choices`` in it: with them several clients take an error for a chunk and stay silent.
        """
        error = with_key(encoded(stream_error("openai", failure)), b"ssegate", metadata)
        return [b"data: %b\n\n" % error, DONE]

    def _chunk(self, choice: bytes, metadata: bytes) -> bytes:
        self._has_written = True
        if metadata:
            return b'data: %b%b],"ssegate":%b}\n\n' % (self._head, choice, metadata)
        return b"data: %b%b]}\n\n" % (self._head, choice)

    def _finish(self, finish: Finish, metadata: bytes) -> bytes:
        self._finished.add(finish.choice)
        return self._chunk(self._chunks.ending(finish.choice, finish.reason), metadata)

    def _carry(self, carried: Carried, metadata: bytes) -> list[bytes]:
        if carried.usage_only and not self._wants_usage:
            return []
        data = carried.payload
        self._has_carried = True
        if not self._is_named:
            self._recognise(data)
            # Azure's first chunk has no id; by the first content a stream has its name or never will.
            self._is_named = self._id is not None or carried.count > 0
        if metadata:
            data = with_key(data, b"ssegate", metadata)
        return [b"data: %b\n\n" % data]

    def _recognise(self, data: bytes) -> None:
        try:
            identity = msgspec.json.decode(data, type=_Identity)
        except (msgspec.DecodeError, RecursionError):
            return
        self._created = identity.created or self._created
        self._learn(identity.id, identity.model)

    def _learn(self, id: str | None, model: str | None) -> None:
        """Keep the first id and model; an id that comes after the first chunk comes too late."""
        if not self._has_written:
            self._id = self._id or id or None
        self._model = self._model or model or None
        self._name()

    def _name(self) -> None:
        self._head = b'{"id":%b,"object":"%b","created":%d,"model":%b,"choices":[' % (
            quoted(self._id or self._own_id),
            self._chunks.object.encode(),
            self._created,
            quoted(self._model or ""),
        )
        self.noop = b"data: %b%b]}\n\n" % (self._head, self._chunks.empty)


def _usage(usage: Usage) -> dict[str, Any]:
    """Return OpenAI's usage object; what the upstream did not report is left out."""
    counts: dict[str, Any] = {}
    if usage.input_tokens is not None:
        counts["prompt_tokens"] = usage.input_tokens
    if usage.output_tokens is not None:
        counts["completion_tokens"] = usage.output_tokens
    if usage.input_tokens is not None and usage.output_tokens is not None:
        counts["total_tokens"] = usage.input_tokens + usage.output_tokens
    if usage.cached_tokens is not None:
        counts["prompt_tokens_details"] = {"cached_tokens": usage.cached_tokens}
    if usage.reasoning_tokens is not None:
        counts["completion_tokens_details"] = {"reasoning_tokens": usage.reasoning_tokens}
    return counts
