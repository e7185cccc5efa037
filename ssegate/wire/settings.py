"""
What a route asks of its streams, as the pipeline wants to know it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ssegate.wire.batching import Load
from ssegate.wire.description import Description
from ssegate.wire.stats import Price

__all__ = ["Settings", "price_of"]

_DATED = re.compile(
    r"(?:-preview|-exp)?[-@:](?:latest|\d{4}(?:-?\d\d){0,2}|\d\d-\d\d(?:\d\d)?|\d{3})(?:-preview)?(?:-v\d+)?(?::\d+)?"
)
"""
What vendors put behind a model's name for one version of it: ``-2024-08-06``, ``@20240620``, ``-latest``,
``-0613``, ``-001``, ``-20241022-v2:0``. Anything else (``-mini``, ``-32k``) is another model.
"""


@dataclass(frozen=True, slots=True)
class Settings:
    """How one stream is to be treated. Seconds and bytes; None: off."""

    dialect: str | Description = "auto"
    """A name, or what the configuration says of an upstream that has none."""

    output: str = "native"
    metadata: str = "every"
    """``off``, ``final`` or ``every``."""

    batch_size: int = 5
    batch_delay: float | None = 0.04
    load: Load | None = None
    """What the delay adapts to; None: it is as said."""

    heartbeat: float | None = 15.0
    hold: float = 10.0
    first_token: float | None = 600.0
    idle: float | None = 300.0
    total: float | None = 3600.0
    max_event: int = 16 << 20
    max_stream: int = 256 << 20
    choices: int = 1
    """How many choices were asked for."""

    expected: str | None = None
    """The dialect that a client of ``same`` counts on; None: the upstream alone knows."""

    numbered: bool = False
    """Every block carries ``id: <stream id>-<n>``."""

    own_credential: bool = False
    """The gate holds the upstream's credential: its 401 is not the caller's."""

    secrets: tuple[str, ...] = ()
    """What must not stand in an error that quotes the upstream: credentials, ours and the caller's."""

    model: str | None = None
    """The model that was asked for; what the upstream says counts more."""

    prices: tuple[tuple[str, Price], ...] = ()
    """Price by model name, with or without its date; the longest name that fits wins."""

    def price_of(self, model: str | None) -> Price | None:
        """Return what *model* costs, if its name, or its name without a date, has a price."""
        return price_of(self.prices, model)


def price_of(prices: tuple[tuple[str, Price], ...], model: str | None) -> Price | None:
    """Return what *model* costs, if its name, or its name without a date, has a price."""
    if model is None:
        return None
    fitting = [(len(name), price) for name, price in prices if _is_version(model, name)]
    return max(fitting, key=lambda pair: pair[0])[1] if fitting else None


def _is_version(model: str, name: str) -> bool:
    return model == name or (model.startswith(name) and _DATED.fullmatch(model, len(name)) is not None)
