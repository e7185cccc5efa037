"""
Recorded bodies taken apart without the gate's code: their blocks, where an answer is over, where to cut them.

What counts as the end of an answer is written down once, in ``is_end``, from the vendors' descriptions.
"""

from __future__ import annotations

import base64
import json
import random
import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from wire.recordings import Recording, recording


@dataclass(frozen=True)
class Block:
    """One event of a body."""

    start: int
    """Where it begins in the body, in bytes."""

    end: int
    """Where its payload is whole: a body cut here has said all of it."""

    event: str
    data: str
    headers: bytes = b""
    """Of an event stream's message, as they came."""

    @property
    def said(self) -> Any:
        """Its JSON; what Bedrock wraps is unwrapped. None if it is no JSON object."""
        try:
            said = json.loads(self.data, strict=False)
        except ValueError:
            return None
        if isinstance(said, dict) and isinstance(said.get("bytes"), str):
            return json.loads(base64.b64decode(said["bytes"]))
        return said if isinstance(said, dict) else None


# ---- blocks ----------------------------------------------------------------------------------------


DATA_LINE = re.compile(rb"^(?:data|error):.*", re.MULTILINE)


def _sse(body: bytes) -> Iterator[Block]:
    at = 0
    for found in re.finditer(rb"(?:\r\n){2}|\n\n|\Z", body):
        text = body[at : found.start()]
        lines = [line for line in text.decode(errors="replace").splitlines() if line[:1] not in ("", ":")]
        fields = [line.partition(":")[::2] for line in lines if not line.startswith(("{", " ", "}"))]
        data = [value.removeprefix(" ") for name, value in fields if name in ("data", "error")]
        event = next((value.strip() for name, value in fields if name == "event"), "")
        if data or lines:
            said = max((line.end() for line in DATA_LINE.finditer(text)), default=len(text))
            end = at + len(text[:said].rstrip())
            yield Block(at, end, event, "\n".join(data) if data else "\n".join(lines))
        at = found.end()


def _ndjson(body: bytes) -> Iterator[Block]:
    at = 0
    for line in body.split(b"\n"):
        if line.strip():
            yield Block(at, at + len(line.rstrip()), "", line.decode())
        at += len(line) + 1


def _json(body: bytes) -> Iterator[Block]:
    yield Block(0, len(body.rstrip()), "", body.decode())


def _json_array(body: bytes) -> Iterator[Block]:
    text, decode = body.decode(), json.JSONDecoder().raw_decode
    at = text.index("[") + 1
    while (start := text.find("{", at)) >= 0:
        _, at = decode(text, start)
        yield Block(len(text[:start].encode()), len(text[:at].encode()), "", text[start:at])


def _eventstream(body: bytes) -> Iterator[Block]:
    at = 0
    while at < len(body):
        total, size = struct.unpack_from(">II", body, at)
        headers, payload = body[at + 12 : at + 12 + size], body[at + 12 + size : at + total - 4]
        name = re.search(rb":(?:event|exception)-type\x07..(\w+)", headers, re.DOTALL)
        yield Block(at, at + total, name[1].decode() if name else "", payload.decode(), headers)
        at += total


SPLITTERS: dict[str, Callable[[bytes], Iterator[Block]]] = {
    "sse": _sse,
    "ndjson": _ndjson,
    "json": _json,
    "json-array": _json_array,
    "jsonarray": _json_array,
    "eventstream": _eventstream,
}
"""By the framing's name in the table of framings, or in the manifest."""


def blocks(body: Recording) -> tuple[Block, ...]:
    """Return the events of a recorded body."""
    return _blocks(body.file)


@cache
def _blocks(file: str) -> tuple[Block, ...]:
    body = recording(file)
    return tuple(SPLITTERS[body.framing](body.body))


# ---- ends ------------------------------------------------------------------------------------------

REASONS = ("finish_reason", "finishReason", "stop_reason", "stopReason", "completionReason", "blockReason")
NOT_YET = (None, "", "not_finished")
MARKS: dict[str, tuple[Any, ...]] = {
    "done": (True,),
    "event_type": ("stream-end", "interaction.completed"),
    "is_finished": (True,),
    "stop": (True,),
    "type": (
        *("message_stop", "message-end"),
        *("response.completed", "response.incomplete", "response.failed", "response.cancelled"),
    ),
}
"""Members that say, by one of these values, that the answer is over."""

OF_BEDROCK = {"messageStop", "metadata", "amazon-bedrock-invocationMetrics", "totalOutputTextTokenCount"}
"""Members of what AWS sends at the end, whatever model speaks."""

EVENTS = re.compile(
    r"done|messageStop|metadata|thread\.run\.(?:completed|failed|incomplete|cancelled|expired)"
)
"""Names of events that say so."""


def is_end(block: Block) -> bool:
    """Say whether *block* tells, by its bare bytes, that an answer (of any of its choices) is over."""
    if block.data.lstrip().startswith("[DONE]") or EVENTS.fullmatch(block.event):
        return True
    said = block.said
    if said is None:
        return False
    is_last = isinstance(said.get("generated_text"), str) or (
        block.headers and not OF_BEDROCK.isdisjoint(said)
    )
    return bool(is_last) or _marks(said)


def _marks(said: Any) -> bool:
    """Look at *said* and what it is made of."""
    if isinstance(said, list):
        return any(map(_marks, said))
    if not isinstance(said, dict):
        return False
    if any(
        said.get(name) in values for name, values in MARKS.items() if not isinstance(said.get(name), list)
    ):
        return True
    if any(said.get(name) not in NOT_YET for name in REASONS):
        return True
    # What a response repeats of its request, and an answer's own words, say nothing of the end.
    return any(
        _marks(value) for name, value in said.items() if name not in ("response", "arguments", "input")
    )


def is_error(block: Block) -> bool:
    """Say whether *block* tells an error."""
    said = block.said
    return block.event == "error" or (isinstance(said, dict) and bool(said.get("error")))


def over_at(body: Recording) -> int | None:
    """
    Return the number of bytes after which the answer is whole, or has failed: a cut there is no cut.

    None where the recording itself breaks off.
    """
    begun: set[int] = set()
    finished: set[int] = set()
    for block in blocks(body):
        said = block.said
        choices = said.get("choices") if said else None
        if is_error(block) or (not choices and is_end(block)):
            return block.end
        for choice in choices or ():
            begun.add(choice.get("index", 0))
            if _marks(choice):
                finished.add(choice.get("index", 0))
        if begun and begun <= finished:
            return block.end
    return None


def without_ends(body: Recording) -> bytes:
    """Return the body without its blocks that tell an end or an error."""
    whole, found = body.body, blocks(body)
    if all(is_end(block) or is_error(block) for block in found):
        return b""
    kept = whole[: found[0].start]
    ends = [block.start for block in found[1:]] + [len(whole)]
    for block, end in zip(found, ends, strict=True):
        if not (is_end(block) or is_error(block)):
            kept += whole[block.start : end]
    return kept


# ---- cuts ------------------------------------------------------------------------------------------


def places(body: bytes, count: int, seed: object) -> list[int]:
    """
    Return *count* places at which to cut *body* in two, or all if those are at most eight times as many.

    A quarter is inside characters and between CR and LF, if there are enough of those.
    """
    if len(body) <= 8 * count:
        return list(range(1, len(body)))
    chance = random.Random(str(seed))
    inside = [found.start() + 1 for found in re.finditer(rb"\r\n|[\xc2-\xf4][\x80-\xbf]", body)]
    chosen = chance.sample(inside, min(len(inside), count // 4))
    return chosen + chance.sample(range(1, len(body)), count - len(chosen))


def bytewise(body: bytes) -> Iterator[bytes]:
    """Return *body* in pieces of one byte."""
    return (body[at : at + 1] for at in range(len(body)))


def in_crlf(body: bytes) -> bytes:
    """Return *body* with its line ends written as CRLF."""
    return re.sub(rb"\r?\n", b"\r\n", body)
