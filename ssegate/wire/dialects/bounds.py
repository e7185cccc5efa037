"""
How much a dialect remembers of one stream: a bounded number of things, and a bounded number of characters.

Every call, item and choice costs memory for as long as the stream runs, and a broken upstream may go on
opening them for ever. No answer has nearly as many as are allowed here.
"""

from __future__ import annotations

from ssegate.wire.errors import WireError
from ssegate.wire.events import EMPTY

__all__ = ["LONGEST_NAME", "PIECE", "Bounds", "Seen"]

MOST = 1024
"""Things of one kind: calls, items, choices with calls, sources."""

MOST_TEXT = 256 * 1024
"""Characters kept because they may be needed later, all together."""

PIECE = 64
"""Characters that a string takes beside its own."""

LONGEST_NAME = 1024
"""Characters of an id or a model's name; a longer one counts as not sent."""


class Bounds:
    """What is left to one stream."""

    def __init__(self, most: int = MOST) -> None:
        self._most = self._left = most
        self._text_left = MOST_TEXT

    def take(self) -> None:
        """
        Take note of one thing more.

        Raises:
            WireError: There are too many.
        """
        self._left -= 1
        if self._left < 0:
            raise WireError(f"the upstream tells more than {self._most} calls or items apart")

    def hold(self, size: int) -> bool:
        """Say whether *size* more characters may be kept; if so, they count."""
        if size > self._text_left:
            return False
        self._text_left -= size
        return True

    def release(self, size: int) -> None:
        """Take note that *size* characters are kept no longer."""
        self._text_left += size


class Seen:
    """
    What has been told and is not to be told again, up to ``MOST`` things; of others there is no memory.

    Only hashes are kept: an address may be long.
    """

    def __init__(self) -> None:
        self._hashes = EMPTY

    def add(self, thing: object) -> bool:
        """Return whether *thing* is new, as far as anybody remembers."""
        mark = hash(thing)
        if mark in self._hashes:
            return False
        if len(self._hashes) < MOST:
            self._hashes |= {mark}
        return True
