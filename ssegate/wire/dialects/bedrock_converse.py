"""
Converse's events, by their names: blocks that start, grow and stop, the reason, and usage after it.

Text and thinking have no start. What AWS runs itself (``server_tool_use`` and its results) is no event here,
like everywhere; same-shape clients still get it.

Source: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseStream.html
"""

from __future__ import annotations

from typing import Any

from ssegate.wire.dialects.bedrock_data import Block, Body, Quote, Reasoned, ToolUse
from ssegate.wire.dialects.reasons import finish_reason
from ssegate.wire.dialects.tool_calls import KeyedCalls
from ssegate.wire.dialects.usage import UsageSoFar
from ssegate.wire.events import Citation, Event, Finish, Reasoning, Text
from ssegate.wire.payload import argument_text

__all__ = ["Converse"]

SERVER_TOOL = "server_tool_use"


class Converse:
    """The events of one answer."""

    def __init__(self) -> None:
        self._calls = KeyedCalls()
        self._usage = UsageSoFar()

    def read(self, kind: str, body: Body) -> list[Event]:
        """Return what an event of that *kind* says."""
        at = body.contentBlockIndex or 0
        match kind:
            case "contentBlockDelta" if body.delta is not None:
                return self._delta(at, body.delta)
            case "contentBlockStart" if body.start is not None and body.start.toolUse is not None:
                return self._open(at, body.start.toolUse)
            case "contentBlockStop":
                return [*self._calls.close(at)]
            case "messageStop":
                return _finish(body.stopReason)
            case "metadata":
                return [*self._usage.add(body.usage)]
        return []

    def answer(self, blocks: list[Block], usage: dict[str, Any] | None, reason: str | None) -> list[Event]:
        """Return what a complete answer says."""
        said: list[Event] = []
        for block in blocks:
            use = block.toolUse
            if use is None:
                said += self._delta(0, block)
            elif use.type != SERVER_TOOL:
                said.append(self._calls.whole(use.toolUseId, use.name, use.input))
        return [*said, *self._usage.add(usage), *_finish(reason)]

    def _delta(self, at: int, delta: Block) -> list[Event]:
        if delta.text:
            return [Text(delta.text)]
        if delta.toolUse is not None:
            return [*self._calls.add(at, argument_text(delta.toolUse.input))]
        if delta.reasoningContent is not None:
            return _reasoning(delta.reasoningContent)
        if delta.citation is not None:
            return [_citation(delta.citation)]
        if delta.citationsContent is not None:
            texts = [Text(piece.text) for piece in delta.citationsContent.content or () if piece.text]
            return [*texts, *map(_citation, delta.citationsContent.citations or ())]
        return []

    def _open(self, at: int, use: ToolUse) -> list[Event]:
        lost = self._calls.close(at)
        if use.type == SERVER_TOOL:
            return [*lost]
        return [*lost, self._calls.open(at, use.toolUseId, use.name, use.input)]


def _finish(reason: str | None) -> list[Event]:
    return [Finish(finish_reason(reason), reason)] if reason else []


def _reasoning(reasoned: Reasoned) -> list[Event]:
    text = reasoned.text or (reasoned.reasoningText and reasoned.reasoningText.text)
    return [Reasoning(text)] if text else []


def _citation(quote: Quote) -> Citation:
    web = quote.location.web if quote.location is not None else None
    text = "".join(piece.text or "" for piece in quote.sourceContent or ())
    return Citation((web.url if web is not None else None) or quote.source, quote.title, text or None)
