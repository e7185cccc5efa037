"""
Reads a recorded upstream body as the gate would have: for bug reports, and to see what a client would get.
"""

from __future__ import annotations

import msgspec

from ssegate.wire.description import Description
from ssegate.wire.dialects.usage import read_usage
from ssegate.wire.events import Usage
from ssegate.wire.pipeline import Pipeline, Settings
from ssegate.wire.seams import Context

__all__ = ["decode_body", "usage_of"]

_STREAM_ID = "decoded"


def decode_body(body: bytes, output: str) -> tuple[bytes, str | None]:
    """
    Return what a client would have been sent for *body* in *output*, and what was wrong with it, if anything.

    All of it arrives at one moment, so every duration is 0 and nothing is batched: one event a delta.
    """
    settings = Settings(output=output, batch_delay=None)
    pipeline = Pipeline(settings, Context(_STREAM_ID, created=0), started_at=0.0)
    pipeline.begin(None)
    sent = pipeline.feed(body, 0.0) + pipeline.close(0.0)
    if pipeline.unclaimed is not None:
        return b"", "the body is in no known dialect; the gate would pass it on as it is"
    sent += pipeline.tell(0.0)
    failure = pipeline.failure
    return sent, None if failure is None else f"{failure.code}: {failure.message}"


def usage_of(body: bytes, dialect: str | Description, content_type: str) -> tuple[Usage, str | None]:
    """Return what a whole answer says of its usage and its model; nothing where it says nothing."""
    settings = Settings(dialect=dialect, batch_delay=None)
    pipeline = Pipeline(settings, Context(_STREAM_ID, created=0), started_at=0.0)
    pipeline.begin(content_type)
    pipeline.feed(body, 0.0)
    if pipeline.unclaimed is None:
        pipeline.close(0.0)
    found = pipeline.stats.usage
    return _stated(body) if found == Usage() else found, pipeline.stats.model


def _stated(body: bytes) -> Usage:
    """Return the usage in JSON that is no model's answer (embeddings): what it does not name was none."""
    try:
        whole = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Usage()
    counts = whole.get("usage", whole) if isinstance(whole, dict) else None
    found = read_usage(counts) if isinstance(counts, dict) else None
    return Usage() if found is None else Usage(found.input_tokens or 0, found.output_tokens or 0)
