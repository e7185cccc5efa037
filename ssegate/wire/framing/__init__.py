"""Framings: how a body of bytes is cut into frames, before anybody reads what they say."""

from __future__ import annotations

from collections.abc import Callable

from ssegate.wire.framing.eventstream import EventStream
from ssegate.wire.framing.lines import NDJSON, JSONDocument, PlainText
from ssegate.wire.framing.objects import JSONArray, JSONSequence
from ssegate.wire.framing.recognise import recognise
from ssegate.wire.framing.sse import SSE
from ssegate.wire.seams import Framer

__all__ = ["FRAMINGS", "recognise"]

FRAMINGS: dict[str, Callable[[int], Framer]] = {
    "sse": SSE,
    "ndjson": NDJSON,
    "json-seq": JSONSequence,
    "json-array": JSONArray,
    "json": JSONDocument,
    "eventstream": EventStream,
    "text": PlainText,
}
"""Each is called with ``max_event``, the largest payload of one frame in bytes."""
