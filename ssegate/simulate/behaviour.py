"""
How the simulated upstream behaves: one frozen record, which a request may override by a header.

    X-Simulate: fault=reset; fault_after=3; tokens=10; rate=50
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path

from ssegate.simulate.dialects import DIALECTS
from ssegate.simulate.faults import FAULTS

__all__ = ["OVERRIDE_HEADER", "Behaviour", "overridden"]

OVERRIDE_HEADER = "X-Simulate"

_BOUNDS: dict[str, tuple[float, float]] = {
    "rate": (0, 1e6),
    "tokens": (0, 1_000_000),
    "first_token_delay": (0, 86_400),
    "reasoning": (0, 1_000_000),
    "tools": (0, 128),
    "fault_after": (0, 1_000_000),
    "giant_bytes": (1, 1 << 30),
    "retry_after": (0, 86_400),
}


@dataclass(frozen=True, slots=True)
class Behaviour:
    """
    What the simulator does with a request.

    Raises:
        ValueError: A fault or dialect nobody knows, a number out of bounds, a recording that is not there.
    """

    rate: float = 0.0
    """Tokens a second; 0: as fast as it goes."""

    tokens: int = 64
    """Length of the text; a request's own ``max_tokens`` may cut it."""

    first_token_delay: float = 0.0
    """Seconds from the request to the first token. Head and opening events do not wait for it."""

    reasoning: int = 0
    """Tokens of thinking before the text."""

    tools: int = 0
    """Parallel tool calls after the text."""

    dialect: str = "auto"
    """``auto``: the request's path decides; a name: speak that one on any path."""

    fault: str | None = None
    """A name of ``FAULTS``, or None for an upstream in good health."""

    fault_after: int = 5
    """Tokens that arrive in good order before a fault that strikes in mid-stream."""

    giant_bytes: int = 2 << 20
    """Size of the one event of ``giant_event``."""

    retry_after: int = 2
    """Seconds, as the faults ``429`` and ``503`` announce them."""

    replay: Path | bytes | None = None
    """A recorded body, or the file it is in: sent on every path instead of an answer of our own."""

    replay_type: str | None = None
    """Content type of the recording; None: told from the file's name, else an event stream."""

    recut: int | bool | None = None
    """Cut the body at random byte places, with small pauses; an integer (0 too) is the seed of the cuts."""

    seed: int = 0
    """Decides where the text is cut into tokens, and the ids."""

    def __post_init__(self) -> None:
        for name, (low, high) in _BOUNDS.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise ValueError(f"{name} must be from {low:g} to {high:g}, not {value!r}")
        if self.fault is not None:
            _known("fault", self.fault, list(FAULTS))
        _known("dialect", self.dialect, ["auto", *DIALECTS])
        if isinstance(self.replay, Path) and not self.replay.is_file():
            raise ValueError(f"replay: no such file: {self.replay}")


def overridden(behaviour: Behaviour, header: str) -> Behaviour:
    """
    Return *behaviour* with what *header* (``key=value; key=value``) says instead.

    ``fault=none`` heals. ``replay`` cannot be set: a header must not choose which file is read.

    Raises:
        ValueError: An unknown key, or a value that is none.
    """
    changes: dict[str, object] = {}
    for part in filter(None, map(str.strip, header.split(";"))):
        key, _, value = (piece.strip() for piece in part.partition("="))
        _known(OVERRIDE_HEADER, key, list(_READ))
        try:
            changes[key] = _READ[key](value)
        except ValueError as exc:
            raise ValueError(f"{OVERRIDE_HEADER}: {key}: {exc}") from exc
    return replace(behaviour, **changes)  # type: ignore[arg-type]


def _fault(value: str) -> str | None:
    return None if value == "none" else value


_READ: dict[str, Callable[[str], object]] = {
    "rate": float,
    "tokens": int,
    "first_token_delay": float,
    "reasoning": int,
    "tools": int,
    "dialect": str,
    "fault": _fault,
    "fault_after": int,
    "giant_bytes": int,
    "retry_after": int,
    "recut": int,
    "seed": int,
}


def _known(what: str, name: str, names: list[str]) -> None:
    if name in names:
        return
    near = get_close_matches(name, names, n=1)
    hint = f" (did you mean {near[0]}?)" if near else ""
    raise ValueError(f"{what}: unknown name {name!r}{hint}; known: {', '.join(names)}")
