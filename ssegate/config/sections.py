"""
The sections of a config file: what stands together under one key.

What is written below each key is its description in the JSON Schema, so editors show it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from ssegate.config import fields, httpfields
from ssegate.config.fields import Also, Budgets, Count, Duration, Name, Off, Positive, Rates, Size

__all__ = [
    "RATES", "Admin", "Batch", "Cors", "Empty", "EmptyList", "FromPrompt", "Key", "Limits", "Log", "Price",
    "Resume", "RouteLimits", "Section", "SharedLimits", "Text", "Timeouts", "Tls", "null_is_no_entry", "said",
]  # fmt: skip


def _null_is_empty(value: object) -> object:
    # A section whose lines are all commented out is null to YAML.
    return {} if value is None else value


def null_is_no_entry(value: object) -> object:
    """The same for a list."""
    return [] if value is None else value


EmptyList = Annotated[fields.T, BeforeValidator(null_is_no_entry), Also({"type": "null"})]
Empty = Annotated[fields.T, BeforeValidator(_null_is_empty), Also({"type": "null"})]
Text = Annotated[str, Field(min_length=1)]


def said(value: Any) -> Any:
    """Return a default in the words of the file: it is checked like them, and the JSON Schema shows it."""
    return Field(value)


class Section(BaseModel):
    model_config = ConfigDict(
        strict=True,
        extra="forbid",
        frozen=True,
        validate_default=True,
        hide_input_in_errors=True,
        arbitrary_types_allowed=True,
    )


class Admin(Section):
    listen: httpfields.Listen = said("127.0.0.1:9464")
    """host:port or unix:/path"""
    token: Text | None = None
    """What peers that are not loopback must present, except for metrics and health."""


class Log(Section):
    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least that is logged."""
    format: Literal["json", "console"] = "json"
    """json: one object a line; console: for people."""


class Cors(Section):
    origins: EmptyList[list[httpfields.Origin]] = []
    """Web pages of other origins that may use the gate, such as https://app.example.com."""


class Tls(Section):
    cert: Text
    """PEM file with the certificate and its chain."""
    key: Text
    """PEM file with the private key."""


class Price(Section):
    input: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    """US dollars per million input tokens."""
    cached: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    """US dollars per million input tokens read from the upstream's cache; default: like input."""
    output: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    """US dollars per million output tokens."""


class Limits(Section):
    requests: Off[Rates] = None
    """How many requests, such as 60/minute; a list of rates that all hold is possible."""
    tokens: Off[Rates] = None
    """How many tokens, input + output, such as 200000/minute."""
    streams: Off[Count] = None
    """How many streams open at the same time."""
    input_tokens: Off[Rates] = None
    """How many tokens of input."""
    output_tokens: Off[Rates] = None
    """How many tokens of output."""
    cost: Off[Budgets] = None
    """How many US dollars by `prices`, such as 5.00/day."""


RATES = ("requests", "tokens", "input_tokens", "output_tokens", "cost")
"""What is limited by rates."""


class RouteLimits(Limits):
    global_: Annotated[Empty[Limits], Field(alias="global")] = said({})
    """Limits that count everybody on this route together."""


class SharedLimits(Limits):
    by: Annotated[
        str,
        Field(pattern=r"^(key|ip|header:[!#$%&'*+\-.^_`|~0-9A-Za-z]+)$"),
    ] = "key"
    """Who is counted: key, ip or header:NAME; without keys: ip."""
    global_: Annotated[Empty[Limits], Field(alias="global")] = said({})
    """Limits that count everybody together."""
    on_exhausted: Literal["finish", "cut"] = "finish"
    """What becomes of a running stream that uses up its key's tokens."""


class Key(Section):
    name: Name
    """The key's name in logs and metrics."""
    hash: Annotated[str, Field(pattern=r"^sha256:[0-9a-fA-F]{64}$")] | None = None
    """The key's hash, from `ssegate key new NAME`."""
    value: Text | None = None
    """The key itself, such as ${OPS_KEY}."""
    routes: EmptyList[list[httpfields.RoutePath]] = []
    """Paths the key may use; default: all."""
    limits: Empty[Limits] = said({})
    """The key's own limits, in place of the top-level ones."""


class Batch(Section):
    size: Count = 5
    """How many deltas leave together at the most."""
    delay: Duration = said("40ms")
    """How long a delta is held at the most."""
    mode: Literal["fixed", "adaptive"] = "fixed"
    """adaptive: no delay while the gate is busy for less than half of its time, all of it at 90 %."""


class Timeouts(Section):
    connect: Off[Positive] = said("5s")
    """For the connection to the upstream."""
    first_token: Off[Positive] = said("10m")
    """From the request to the first content."""
    idle: Off[Positive] = said("5m")
    """Between one content event and the next."""
    total: Off[Positive] = said("1h")
    """For the whole stream."""
    write: Off[Positive] = said("60s")
    """For a client that has stopped reading."""


class Resume(Section):
    keep: Positive = said("2m")
    """How long an ended stream can still be read."""
    grace: Duration = said("30s")
    """How long the upstream runs on without a reader."""
    max_bytes: Size = said("4MiB")
    """Memory for each stream; the oldest events go first."""


def _prompted(body: dict[str, Any]) -> dict[str, Any]:
    # A ${…} that could not be replaced stands as it was written: what is in it is not known.
    if not any("{prompt}" in text or "${" in text for text in _texts(body)):
        raise ValueError(
            "no text in it holds {prompt}, so every request would be the same: say where the prompt goes, "
            'such as `messages: [{role: user, content: "{prompt}"}]`'
        )
    return body


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for item in inside:
        yield from _texts(item)


class FromPrompt(Section):
    default: str | None = None
    """The prompt of a request without one; null: such a request is refused."""
    body: Annotated[fields.JSONObject, AfterValidator(_prompted)]
    """The upstream's body; {prompt} in any string stands for the prompt."""
