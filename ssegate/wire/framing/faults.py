"""What the framers have in common when a body breaks: what was whole before the fault is not lost."""

from __future__ import annotations

from collections.abc import Iterator

from ssegate.wire.errors import WireError
from ssegate.wire.events import Frame

__all__ = ["then_raise", "too_large"]


def then_raise(frames: list[Frame], fault: WireError) -> Iterator[Frame]:
    """Yield *frames*, which were whole before *fault*, then raise it."""
    yield from frames
    raise fault


def too_large(what: str, max_event: int) -> WireError:
    """Return the fault of *what* being larger than ``max_event``."""
    return WireError(f"the upstream sent {what} of more than {max_event} bytes", "event_too_large")
