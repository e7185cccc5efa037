"""
A dialect in the configuration's words, for an upstream that none of ours fits.

Dialects read by it and formats write by it, so it stands below both.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Description", "Path"]

Path = tuple[str, ...]
"""Where a value stands in a payload, from the outside in: names of members, or numbers of elements."""


@dataclass(frozen=True, slots=True)
class Description:
    """
    Where in each payload what stands; of several paths the first that leads to a value of the kind counts.

    A stream ends with ``done`` or with its finish reason; where neither is described, with its body.
    """

    framing: str
    """A key of ``FRAMINGS``, of those that cut a body into JSON payloads."""

    text: tuple[Path, ...] = ()
    reasoning: tuple[Path, ...] = ()
    finish_reason: tuple[Path, ...] = ()
    input_tokens: tuple[Path, ...] = ()
    output_tokens: tuple[Path, ...] = ()
    error: tuple[Path, ...] = ()
    done: bytes | None = None
    """The payload that ends the stream, without blanks around it."""

    def __str__(self) -> str:
        return f"custom ({self.framing})"
