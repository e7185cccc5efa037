"""
The shape of a config file: every key, its type, its default in the words of the file.

The smaller sections are in ``sections.py``, cross checks (names that must exist, what may not be
combined) in ``check.py``, what is not built yet in ``unbuilt.py``.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag

from ssegate.config import fields, httpfields
from ssegate.config.custom import CustomDialect
from ssegate.config.fields import Also, Duration, Name, Off, Positive, Size, either
from ssegate.config.sections import (
    Admin,
    Batch,
    Cors,
    Empty,
    EmptyList,
    FromPrompt,
    Key,
    Log,
    Price,
    Resume,
    RouteLimits,
    Section,
    SharedLimits,
    Text,
    Timeouts,
    Tls,
    null_is_no_entry,
    said,
)  # fmt: skip
from ssegate.wire.dialects import DIALECTS
from ssegate.wire.formats import FORMATS

__all__ = ["BUILT_DIALECTS", "BUILT_OUTPUTS", "File", "Route", "Upstream"]

# The parts of DialectName and Output that this version can do: what is in the tables, and the words that
# stand for a choice.
BUILT_DIALECTS = ("auto", *DIALECTS)
BUILT_OUTPUTS = ("auto", *FORMATS, "same", "raw")

DialectName = Literal[
    "auto", "openai", "responses", "anthropic", "gemini", "bedrock", "ollama", "cohere", "tgi", "llamacpp",
    "replicate", "watsonx", "text",
]  # fmt: skip
Output = Literal["auto", "native", "openai", "anthropic", "responses", "vercel", "text", "same", "raw"]
Method = Annotated[
    Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"],
    BeforeValidator(lambda value: value.upper() if isinstance(value, str) else value),
]


def _admin(value: object) -> object:
    """Return what is neither a section nor ``off`` as the section it is short for."""
    return value if isinstance(value, dict) or value in (None, "off") or value is False else {"listen": value}


class Upstream(Section):
    url: httpfields.URL
    """Base URL; may end in a path such as /v1, which is not doubled."""
    dialect: Annotated[
        Annotated[DialectName, Tag("<text>")] | Annotated[CustomDialect, Tag("<mapping>")],
        Discriminator(lambda value: "<mapping>" if isinstance(value, dict) else "<text>"),
    ] = "auto"
    """What the upstream speaks; auto finds out from its answers."""
    headers: Empty[httpfields.Headers] = said({})
    """Headers added to each request, such as the gate's own credential."""
    verify: Annotated[
        bool | str,
        # YAML 1.1 had booleans of these names, and nobody calls a file so.
        either(
            lambda value: isinstance(value, bool | str) and value not in ("yes", "no", "on", "off"),
            "expected true, false or a CA file",
        ),
    ] = True
    """Check the certificate; or the file of the CAs to trust."""
    proxy: Annotated[str, AfterValidator(lambda value: httpfields.url(value, userinfo=True))] | None = None
    """HTTP proxy on the way to the upstream, such as http://proxy:3128."""
    forward_client: Annotated[
        bool | Literal["auto"],
        either(lambda value: value == "auto" or isinstance(value, bool), "expected true, false or auto"),
    ] = "auto"
    """Pass Cookie, Origin, Referer, X-Forwarded-* on; auto: not where headers hold a credential."""


class Route(Section):
    name: Name | None = None
    """Label in logs and metrics; default: the path."""
    path: httpfields.RoutePath | None = None
    """Exact, or a prefix that ends in /*."""
    model: Text | None = None
    """Only requests whose JSON body names such a model; * and ? are wildcards."""
    models: Empty[dict[str, Text]] = said({})
    """Aliases: what the client says, and what the upstream gets."""
    methods: Annotated[list[Method], Field(min_length=1)] | None = None
    """Default: POST; with from_prompt GET and POST; on a prefix all."""
    upstream: (
        Annotated[
            Annotated[Text, Tag("<text>")] | Annotated[list[Text], Field(min_length=1), Tag("<list>")],
            Discriminator(lambda value: "<list>" if isinstance(value, list) else "<text>"),
        ]
        | None
    ) = None
    """Name of the upstream; may be left out where there is only one."""
    upstream_path: httpfields.UpstreamPath | None = None
    """Path to ask the upstream for; * stands for what the prefix's * matched; default: as asked."""
    output: Output = "auto"
    """What the client gets; auto: a prompt or a GET native, chat and completions openai, else same."""
    errors: Literal["auto", "status", "stream"] = "auto"
    """Errors before the stream: as HTTP status, or as a stream with one error event."""
    batch: Off[Batch] = said({})
    """How deltas are joined."""
    metadata: Annotated[
        Literal["off", "final", "every"] | None,
        BeforeValidator(lambda value: "off" if value is None or value is False else value),
        Also({"const": False}),
    ] = Field(None, validate_default=False)
    """Token counts and times beside the text; default: every for native, final for the others."""
    timeouts: Empty[Timeouts] = said({})
    """Each may be off."""
    hold: Duration = said("10s")
    """How long the 200 may wait for the first event."""
    heartbeat: Off[Positive] = said("15s")
    """A comment after so much silence."""
    limits: Empty[RouteLimits] = said({})
    """Limits of this route, for each key."""
    on_disconnect: Literal["cancel", "finish"] = "cancel"
    """A client has left: cancel the upstream, or read on to learn the usage."""
    resume: Off[Resume] = None
    """Keep streams so that a client can come back."""
    max_event: Size = said("16MiB")
    """The largest event of an upstream."""
    max_stream: Size = said("256MiB")
    """The largest stream of an upstream."""
    max_body: Size = said("64MiB")
    """The largest JSON body of a client."""
    set: Empty[fields.JSONObject] = said({})
    """Merged over the client's JSON body."""
    default: Empty[fields.JSONObject] = said({})
    """Put into the client's JSON body only where absent."""
    unset: EmptyList[list[Text]] = said([])
    """Keys removed from the client's JSON body."""
    from_prompt: FromPrompt | None = None
    """Accept {"prompt": …} and ?prompt=… and build the upstream's body from it."""


class File(Section):
    listen: httpfields.Listen = said("127.0.0.1:8080")
    """Where clients connect: host:port or unix:/path."""
    admin: Annotated[
        Off[Admin],
        BeforeValidator(_admin),
        Also({"type": "string"}),
    ] = said("127.0.0.1:9464")
    """Metrics, health, live page, stream control: host:port, or listen and token."""
    log: Empty[Log] = said({})
    """The log on stdout."""
    store: Annotated[str, Field(pattern=r"^(memory|rediss?://.+)$")] = "memory"
    """memory, or redis://host:6379/0 for limits, streams and cancels shared by replicas."""
    on_store_error: Literal["local", "allow", "deny"] = "local"
    """When the shared store fails: an own share in memory, allow all, or deny all."""
    drain: Duration = said("25s")
    """How long running streams may go on after SIGTERM."""
    keepalive: Positive = said("75s")
    """For idle client connections; keep it above your load balancer's."""
    open: bool = False
    """Allow a listener that others can reach and that spends the gate's own credential for anybody."""
    trusted_proxies: EmptyList[list[httpfields.Net]] = said([])
    """Networks whose X-Forwarded-For is believed."""
    cors: Empty[Cors] = said({})
    """Cross-origin use by web pages."""
    tls: Tls | None = None
    """Certificate of the data port."""
    max_connections: Annotated[
        int | Literal["auto"],
        either(
            lambda value: value == "auto" or (type(value) is int and value > 0),
            "expected auto or a whole number of at least 1",
        ),
        BeforeValidator(fields.integral),
    ] = "auto"
    """Client connections at the same time; auto: half of the file-descriptor limit."""
    keys: Annotated[list[Key], Field(min_length=1)] | None = None
    """Who may use the gate; without: everybody who can reach it."""
    limits: Empty[SharedLimits] = said({})
    """For each key or address, over all routes."""
    prices: Empty[dict[str, Price]] = said({})
    """US dollars per million tokens, by model."""
    upstreams: Empty[dict[Name, Upstream]] = said({})
    """Where requests go, by name."""
    defaults: Empty[Route] = said({})
    """Any route key, for routes that do not say it themselves."""
    routes: Annotated[list[Route], BeforeValidator(null_is_no_entry)] = said([])
    """First match wins."""
