"""Gemini's calls: whole, or in parts that are recognised by their place alone, one call after another."""

from __future__ import annotations

import msgspec

from ssegate.wire.dialects.bounds import Bounds
from ssegate.wire.dialects.gemini_args import PartialArgs
from ssegate.wire.dialects.gemini_chunk import FunctionCall
from ssegate.wire.dialects.tool_calls import KeyedCalls
from ssegate.wire.events import ToolCall
from ssegate.wire.payload import NOTHING, is_given

__all__ = ["Calls"]


class Calls:
    """The calls of one choice; at most one of them is open."""

    def __init__(self, choice: int, bounds: Bounds) -> None:
        bounds.take()
        self._bounds = bounds
        self._calls = KeyedCalls(choice, bounds)
        self._count = 0
        self._args: PartialArgs | None = None  # of the open call

    def read(self, call: FunctionCall) -> list[ToolCall]:
        """
        Return what *call* says.

        In parts it is opened by its name and ``willContinue``; what follows has neither name nor id. An empty
        one ends it, or arguments of which nothing continues.
        """
        parts = call.partialArgs or []
        goes_on = bool(call.willContinue) or any(part.willContinue for part in parts)
        told = []
        if call.name:
            told = self.close()  # its end was lost
            if not (goes_on or parts):
                return [*told, self._calls.whole(call.id, call.name, call.args)]
            told.append(self._open(call))
        elif self._args is None:
            return [self._calls.whole(call.id, None, call.args)] if is_given(call.args) else []
        if self._args is not None:
            told += self._calls.add(self._count, "".join(map(self._args.add, parts)))
        return told if goes_on else [*told, *self.close(call.args)]

    def close(self, given: msgspec.Raw = NOTHING) -> list[ToolCall]:
        """Return what ends the open call, if there is one; *given* are arguments that came whole."""
        if self._args is None:
            return []
        rest, self._args = self._args.close(), None
        return [*self._calls.add(self._count, rest), *self._calls.close(self._count, given)]

    def _open(self, call: FunctionCall) -> ToolCall:
        self._count += 1
        self._args = PartialArgs(self._bounds)
        return self._calls.open(self._count, call.id, call.name, call.args)
