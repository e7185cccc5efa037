"""
The settings as the rest of the program meets them: plain, frozen, complete.

Whatever the file left out has its default here, whatever it said in units is a number: durations are
seconds, sizes are bytes. Values that may be secrets are not in any ``repr``.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlsplit

from ssegate.config.address import Address
from ssegate.config.units import Rate
from ssegate.wire.description import Description
from ssegate.wire.stats import Price

__all__ = [
    "Address",
    "Admin",
    "Batch",
    "Config",
    "FromPrompt",
    "Key",
    "Limits",
    "Log",
    "Network",
    "Route",
    "SharedLimits",
    "Timeouts",
    "Tls",
    "Upstream",
]

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# What the name of a header that holds a credential has in it: Authorization and X-Auth, api-key, apikey
# and Ocp-Apim-Subscription-Key, X-Vault-Token, CF-Access-Client-Secret … Judged generously, because the
# two mistakes do not cost the same: a yes too many keeps the caller's own credential here, a no too many
# lets strangers spend the operator's money.
_CREDENTIAL = re.compile(
    "auth|bearer|cookie|credential|jwt|key|passw|secret|session|signature|token", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Admin:
    """The admin port."""

    listen: Address
    token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Log:
    """How the log is written."""

    level: str
    """``debug``, ``info``, ``warning`` or ``error``."""

    format: Literal["json", "console"]


@dataclass(frozen=True, slots=True)
class Limits:
    """
    What one section says of limits.

    A dimension (``requests tokens input_tokens output_tokens cost streams``) that it does not name is not
    there; one that it switches off is empty.
    """

    rates: Mapping[str, tuple[Rate, ...]] = field(default_factory=dict)
    streams: tuple[int, ...] | None = None
    """None: not said; empty: off."""


@dataclass(frozen=True, slots=True)
class SharedLimits:
    """The limits of the whole gate."""

    by: str = "key"
    """``key``, ``ip`` or ``header:NAME``: who is counted."""

    each: Limits = Limits()
    everybody: Limits = Limits()
    cuts: bool = False
    """A running stream that uses up its tokens is ended."""


@dataclass(frozen=True, slots=True)
class Key:
    """Somebody who may use the gate."""

    name: str
    hash: bytes = field(repr=False)
    """SHA-256 of the key."""

    routes: tuple[str, ...] = ()
    """Paths, exact or with ``/*`` at the end; empty: all."""

    limits: Limits = Limits()


@dataclass(frozen=True, slots=True)
class Tls:
    """Files of the data port's certificate, PEM."""

    cert: str
    key: str


@dataclass(frozen=True, slots=True)
class Batch:
    """How deltas are joined."""

    size: int
    """Upstream deltas."""

    delay: float
    """Seconds."""

    adapts: bool = False
    """The delay grows with the gate's load, and is 0 while there is little."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds each; None: for ever."""

    connect: float | None
    first_token: float | None
    idle: float | None
    total: float | None
    write: float | None


@dataclass(frozen=True, slots=True)
class FromPrompt:
    """How an upstream's body is built from a prompt."""

    default: str | None
    """The prompt of a request without one; None: such a request is refused."""

    body: Any = field(repr=False)
    """A JSON object; ``{prompt}`` in its strings stands for the prompt."""


# eq=False: upstreams and routes are told apart by identity, so that they can be keys of a dict.
@dataclass(frozen=True, eq=False)
class Upstream:
    """Where requests go."""

    name: str
    url: str
    """Scheme, host and perhaps a path; no slash at the end."""

    dialect: str | Description = "auto"
    headers: dict[str, str] = field(default_factory=dict, repr=False)
    verify: bool | str = True
    """Check the certificate; a text is the file of the CAs to trust."""

    proxy: str | None = field(default=None, repr=False)
    forward_client: bool = True
    _overlaps: tuple[tuple[str, str], ...] = field(default=(), init=False, repr=False)
    """What the URL ends in, longest first, each with the URL before it."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "_overlaps", tuple(_overlaps(self.url)))

    @property
    def holds_credential(self) -> bool:
        """The gate adds a credential of its own to every request."""
        return any(_CREDENTIAL.search(name) for name in self.headers)

    def join(self, path: str) -> str:
        """
        Return the URL of *path*, doubling nothing: ``…/api/v1`` and ``/v1/chat`` make ``…/api/v1/chat``.

        The longest run of whole segments that the URL ends in and the path begins with is written once.
        """
        for overlap, before in self._overlaps:
            if path.startswith(overlap) and path[len(overlap) : len(overlap) + 1] in ("", "/"):
                return before + path
        return self.url + path


@dataclass(frozen=True, eq=False)
class Route:
    """What is done with the requests of one path."""

    name: str
    path: str
    """As written: exact, or a prefix that ends in ``/*``."""

    upstream: Upstream
    model: str | None = None
    """A glob over the model that the JSON body names."""

    models: dict[str, str] = field(default_factory=dict)
    """What the client says → what the upstream gets."""

    methods: frozenset[str] | None = frozenset({"POST"})
    """None: all."""

    upstream_path: str | None = None
    output: str = "auto"
    errors: str = "auto"
    """``status``, ``stream`` or ``auto``."""

    batch: Batch | None = Batch(5, 0.04)
    metadata: str | None = None
    """``off``, ``final`` or ``every``; None: not said, the output decides."""

    timeouts: Timeouts = Timeouts(5.0, 600.0, 300.0, 3600.0, 60.0)
    hold: float = 10.0
    heartbeat: float | None = 15.0
    on_disconnect: Literal["cancel", "finish"] = "cancel"
    max_event: int = 16 << 20
    max_stream: int = 256 << 20
    max_body: int = 64 << 20
    set: dict[str, Any] = field(default_factory=dict, repr=False)
    default: dict[str, Any] = field(default_factory=dict, repr=False)
    unset: tuple[str, ...] = ()
    from_prompt: FromPrompt | None = None
    limits: Limits = Limits()
    """For each caller on this route."""

    everybody: Limits = Limits()
    """For all callers on this route together."""

    @property
    def prefix(self) -> str | None:
        """The part before the ``*``, slash included; None on an exact route."""
        return self.path[:-1] if self.path.endswith("/*") else None

    def target(self, request_path: str) -> str:
        """
        Return the upstream's URL for a request.

        Args:
            request_path: Raw, still percent-encoded, without query; one that this route matches.
        """
        path = request_path
        if self.upstream_path is not None:
            # len(path) - 1: what the `*` of the route's path matched.
            path = self.upstream_path.replace("*", request_path[len(self.path) - 1 :])
        return self.upstream.join(path)


@dataclass(frozen=True)
class Config:
    """Everything that a config file says."""

    listen: Address
    admin: Admin | None
    log: Log
    store: str
    on_store_error: Literal["local", "allow", "deny"]
    drain: float
    keepalive: float
    open: bool
    trusted_proxies: tuple[Network, ...]
    cors_origins: tuple[str, ...]
    """Lower case; may hold ``*``."""

    tls: Tls | None
    max_connections: int | None
    """None: half of the file-descriptor limit."""

    keys: tuple[Key, ...] | None
    """None: nobody is asked for one."""

    limits: SharedLimits
    prices: dict[str, Price]
    upstreams: dict[str, Upstream]
    routes: tuple[Route, ...]
    """In the order of the file: the first match wins."""


def _overlaps(url: str) -> Iterator[tuple[str, str]]:
    path = urlsplit(url).path
    for at, char in enumerate(path):
        if char == "/":
            yield path[at:], url[: len(url) - len(path) + at]
