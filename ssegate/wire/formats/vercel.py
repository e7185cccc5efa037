"""
The AI SDK's UI message stream, version 1, as ``useChat`` reads it: one message of parts that open, grow and
close, ended by ``finish``, ``error`` or ``abort`` and ``[DONE]``.

A text, a refusal and a thought are a part each, one of them open at a time. Calls stay open to the end:
their arguments may come by turns, and the SDK acts on a call as soon as its input is said to be there.
Metadata goes as ``data-ssegate``, transient: pages hear of it, messages do not keep it.

``start`` names no message: the client's own id stands, so that an answer to a tool's result goes on with the
message that asked for it.

Source: https://ai-sdk.dev/docs/ai-sdk-ui/stream-protocol, and ``uiMessageChunkSchema`` of ``ai`` 5, 6 and 7.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from ssegate.wire.events import (
    Carried,
    Citation,
    Event,
    Failure,
    Finish,
    FinishReason,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
    Usage,
)
from ssegate.wire.formats.encoding import DONE, SSE, compact, encoded, quoted, with_key
from ssegate.wire.formats.error_bodies import stream_error
from ssegate.wire.seams import Context

__all__ = ["HEADERS", "Vercel"]

HEADERS = {"x-vercel-ai-ui-message-stream": "v1"}
"""Of the answer: without it the SDK's own readers take the body for another protocol."""

_REASONS: dict[FinishReason, str] = {
    "tool_calls": "tool-calls",
    "content_filter": "content-filter",
    # The SDK knows no refusal; like Anthropic's own provider there, what a classifier stopped is filtered.
    "refusal": "content-filter",
}
"""Any other reason is called as we call it."""

Kind = Literal["text", "reasoning", "refusal"]


@dataclass(slots=True)
class _Call:
    """A call whose arguments still grow."""

    id: str
    name: str
    pieces: list[str] = field(default_factory=list)


class Vercel:
    """
    Writes UI message chunks.

    States: not begun · between parts · in a part (``_kind``); any number of calls is open beside them.
    """

    name: ClassVar[str] = "vercel"
    content_type = SSE
    heartbeat = b":\n"
    noop = b""

    def __init__(self, context: Context) -> None:
        self._has_begun = False
        self._kind: Kind | None = None
        self._parts = self._sources = 0
        self._delta = self._end = b""  # of the open part: what stands before each text, and the whole end
        self._calls: dict[int, _Call] = {}

    @property
    def may_miss_deltas(self) -> bool:
        """Until there is a call, whose arguments are gathered; its opening is never held back."""
        return not self._calls

    def encode(self, event: Event | Carried, metadata: bytes) -> list[bytes]:
        """Return the chunks that say *event*, with those that open and close its part."""
        match event:
            case Text(choice=0):
                out = self._grow("text", event.text)
            case Reasoning(choice=0):
                out = self._grow("reasoning", event.text)
            case Refusal(choice=0):
                out = self._grow("refusal", event.text)
            case ToolCall(choice=0):
                out = self._call(event)
            case Citation(choice=0) if event.url is not None:
                out = self._cite(event.url, event.title)
            case _:
                return []  # there is one message
        return [*out, *_data(metadata)]

    def finish(self, finish: Finish, usage: Usage | None, metadata: bytes) -> list[bytes]:
        """Return what closes all that is open, and the end; usage is in the metadata."""
        inputs = [_available(call) for call in self._calls.values()]
        reason = _REASONS.get(finish.reason, finish.reason).encode()
        return [
            *self._begin(),
            *self._close(),
            *inputs,
            *_data(metadata),
            b'data: {"type":"finish-step"}\n\n',
            b'data: {"type":"finish","finishReason":"%b"}\n\n' % reason,
            DONE,
        ]

    def fail(self, failure: Failure, metadata: bytes) -> list[bytes]:
        """
        Return what closes all that is open, and the error; a cancel is what somebody wanted, so no error.

        No call is called available: what broke off is not to be acted upon. ``error`` has room for a message
        alone, so code and type go with the metadata.
        """
        message = quoted(failure.message)
        said = [_failed(call, failure.message) for call in self._calls.values()]
        step = [b'data: {"type":"finish-step"}\n\n'] if self._has_begun else []
        if failure.code == "cancelled":
            last = b'data: {"type":"abort","reason":%b}\n\n' % message
        else:
            last = b'data: {"type":"error","errorText":%b}\n\n' % message
            error = encoded(stream_error(self.name, failure)["error"])
            metadata = with_key(metadata, b"error", error)
        return [*self._close(), *said, *_data(metadata), *step, last, DONE]

    def _begin(self) -> list[bytes]:
        if self._has_begun:
            return []
        self._has_begun = True
        return [b'data: {"type":"start"}\n\n', b'data: {"type":"start-step"}\n\n']

    def _grow(self, kind: Kind, text: str) -> list[bytes]:
        delta = b"%b%b}\n\n"
        if kind == self._kind:
            return [delta % (self._delta, quoted(text))]
        opening = [*self._begin(), *self._close(), self._open(kind)]
        return [*opening, delta % (self._delta, quoted(text))]

    def _open(self, kind: Kind) -> bytes:
        # A refusal is text to read as any, and marked for pages that show it as what it is.
        mark = b',"providerMetadata":{"ssegate":{"refusal":true}}' if kind == "refusal" else b""
        prefix = b"reasoning" if kind == "reasoning" else b"text"
        self._kind = kind
        self._delta = b'data: {"type":"%b-delta","id":"%d","delta":' % (prefix, self._parts)
        self._end = b'data: {"type":"%b-end","id":"%d"}\n\n' % (prefix, self._parts)
        start = b'data: {"type":"%b-start","id":"%d"%b}\n\n' % (prefix, self._parts, mark)
        self._parts += 1
        return start

    def _close(self) -> list[bytes]:
        if self._kind is None:
            return []
        self._kind = None
        return [self._end]

    def _call(self, event: ToolCall) -> list[bytes]:
        out = []
        if event.name is not None:
            call = self._calls[event.index] = _Call(event.id or "", event.name)
            out = [*self._begin(), *self._close(), _about(b"tool-input-start", call)]
        if event.arguments:
            call = self._calls[event.index]
            call.pieces.append(event.arguments)
            names = (quoted(call.id), quoted(event.arguments))
            out.append(b'data: {"type":"tool-input-delta","toolCallId":%b,"inputTextDelta":%b}\n\n' % names)
        return out

    def _cite(self, url: str, title: str | None) -> list[bytes]:
        about = b'"sourceId":"%d","url":%b' % (self._sources, quoted(url))
        about += b',"title":' + quoted(title) if title is not None else b""
        self._sources += 1
        return [*self._begin(), b'data: {"type":"source-url",%b}\n\n' % about]


def _data(metadata: bytes) -> list[bytes]:
    if not metadata:
        return []
    return [b'data: {"type":"data-ssegate","data":%b,"transient":true}\n\n' % metadata]


def _about(kind: bytes, call: _Call, members: bytes = b"") -> bytes:
    names = (kind, quoted(call.id), quoted(call.name), members)
    return b'data: {"type":"%b","toolCallId":%b,"toolName":%b%b}\n\n' % names


def _available(call: _Call) -> bytes:
    """Return the chunk that says that the call's arguments are whole."""
    arguments = "".join(call.pieces)
    said = compact(arguments)
    if said is None and arguments.lstrip()[:1] in ("{", "["):
        return _failed(call, "the arguments are no JSON")
    if said is None:
        said = quoted(arguments)  # those of a tool that takes free text (OpenAI's custom tools)
    return _about(b"tool-input-available", call, b',"input":' + said)


def _failed(call: _Call, message: str) -> bytes:
    """Return the chunk that closes a call that is not to be made."""
    members = b',"input":%b,"errorText":%b' % (quoted("".join(call.pieces)), quoted(message))
    return _about(b"tool-input-error", call, members)
