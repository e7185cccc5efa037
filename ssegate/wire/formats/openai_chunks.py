"""
What stands in ``choices`` of OpenAI's two kinds of chunks: a delta in chat, a text in legacy completions.
"""

from __future__ import annotations

from typing import ClassVar, Protocol

from ssegate.wire.events import Citation, Event, FinishReason, Reasoning, Refusal, Text, ToolCall
from ssegate.wire.formats.encoding import encoded, quoted

__all__ = ["Chat", "Chunks", "Completions"]


class Chunks(Protocol):
    """Writes the one choice of a chunk; keeps what later chunks of a stream must know of earlier ones."""

    object: ClassVar[str]
    id_prefix: ClassVar[str]
    empty: ClassVar[bytes]
    """A choice that says nothing."""

    def choice(self, event: Event) -> bytes | None:
        """Return the choice that says *event*, or None if there is no room for it."""

    def ending(self, index: int, reason: FinishReason) -> bytes:
        """Return the choice that ends choice *index*."""


class Chat:
    """Choices of ``chat.completion.chunk``: the first of each index has the role."""

    object: ClassVar[str] = "chat.completion.chunk"
    id_prefix: ClassVar[str] = "chatcmpl-"
    empty: ClassVar[bytes] = b'{"index":0,"delta":{},"logprobs":null,"finish_reason":null}'

    def __init__(self) -> None:
        self._begun: set[int] = set()
        self._citations: dict[int, int] = {}

    def choice(self, event: Event) -> bytes | None:
        match event:
            case Text():
                member = b'"content":' + quoted(event.text)
            case Reasoning():
                member = b'"reasoning_content":' + quoted(event.text)
            case ToolCall():
                member = b'"tool_calls":[%b]' % _call(event)
            case Refusal():
                member = b'"refusal":' + quoted(event.text)
            case Citation() if event.url is not None:
                member = b'"annotations":[%b]' % self._annotation(event)
            case _:
                return None
        if event.choice not in self._begun:
            self._begun.add(event.choice)
            content = b"" if isinstance(event, Text) else b'"content":null,'
            member = b'"role":"assistant",%b%b' % (content, member)
        return b'{"index":%d,"delta":{%b},"logprobs":null,"finish_reason":null}' % (event.choice, member)

    def ending(self, index: int, reason: FinishReason) -> bytes:
        delta = b"" if index in self._begun else b'"role":"assistant","content":""'
        self._begun.add(index)
        word = _REASONS.get(reason, reason).encode()
        return b'{"index":%d,"delta":{%b},"logprobs":null,"finish_reason":"%b"}' % (index, delta, word)

    def _annotation(self, event: Citation) -> bytes:
        """
        Return a ``url_citation``, the only annotation that chat knows.

        The AI SDK drops the whole chunk unless offsets and title are there: a citation that came without
        points to the place in the text where it came, and is titled by its address. OpenAI's own Python
        helper joins lists by ``index`` and raises at the second annotation that has none.
        """
        here = event.place or 0
        index = self._citations[event.choice] = self._citations.get(event.choice, -1) + 1
        citation = {
            "start_index": here if event.start is None else event.start,
            "end_index": here if event.end is None else event.end,
            "url": event.url,
            "title": event.title or event.url,
        }
        return encoded({"index": index, "type": "url_citation", "url_citation": citation})


class Completions:
    """Choices of ``text_completion``, which has room for text alone."""

    object: ClassVar[str] = "text_completion"
    id_prefix: ClassVar[str] = "cmpl-"
    empty: ClassVar[bytes] = b'{"index":0,"text":"","logprobs":null,"finish_reason":null}'

    def choice(self, event: Event) -> bytes | None:
        if not isinstance(event, Text):
            return None
        text = quoted(event.text)
        return b'{"index":%d,"text":%b,"logprobs":null,"finish_reason":null}' % (event.choice, text)

    def ending(self, index: int, reason: FinishReason) -> bytes:
        # Its types know three words: a call, which has no room here, merely stopped.
        word = "stop" if reason == "tool_calls" else _REASONS.get(reason, reason)
        return b'{"index":%d,"text":"","logprobs":null,"finish_reason":"%b"}' % (index, word.encode())


_REASONS: dict[str, str] = {
    # The SDKs' types do not know these. Anthropic's `refusal` is a classifier's doing, which the AI SDK
    # and LiteLLM call a content filter too; `other` ended by itself as far as anybody knows.
    "refusal": "content_filter",
    "other": "stop",
    "cancelled": "stop",
}


def _call(event: ToolCall) -> bytes:
    arguments = quoted(event.arguments)
    if event.name is None:
        return b'{"index":%d,"function":{"arguments":%b}}' % (event.index, arguments)
    return b'{"index":%d,"id":%b,"type":"function","function":{"name":%b,"arguments":%b}}' % (
        event.index,
        quoted(event.id or ""),
        quoted(event.name),
        arguments,
    )
