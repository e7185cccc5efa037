"""
The values of a config that end up on the wire of HTTP: addresses, paths, URLs, headers, origins.

As in ``fields.py``, what is wrong is a ``ValueError`` that never repeats the value.
"""

from __future__ import annotations

import re
from ipaddress import ip_network
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, PlainValidator, WithJsonSchema

from ssegate.config.address import Address
from ssegate.config.settings import Network

__all__ = ["URL", "Headers", "Listen", "Net", "Origin", "RoutePath", "UpstreamPath", "url"]

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_ORIGIN = re.compile(r"\*|null|[a-z][a-z0-9+.-]*://[^\s/?#@]+")
_URL_PATH = re.compile(r"/[!-~]*")
_PER_REQUEST = frozenset([
    "accept-encoding", "connection", "content-length", "expect", "keep-alive", "proxy-connection", "te",
    "trailer", "transfer-encoding", "upgrade",
])  # fmt: skip


Listen = Annotated[Address, PlainValidator(Address.parse), WithJsonSchema({"type": "string", "pattern": ":"})]


def _network(value: object) -> Network:
    try:
        return ip_network(value if isinstance(value, str) else "", strict=False)
    except ValueError:
        raise ValueError("expected a network such as 10.0.0.0/8, or an address") from None


Net = Annotated[Network, PlainValidator(_network), WithJsonSchema({"type": "string"})]


def _origin(value: str) -> str:
    origin = value.lower()
    if not _ORIGIN.fullmatch(origin):
        raise ValueError("expected an origin such as https://app.example.com (no path, no slash at the end)")
    return origin


Origin = Annotated[str, AfterValidator(_origin)]


def _route_path(value: str) -> str:
    if not value.startswith("/"):
        raise ValueError("a path begins with /" + (" (for every path: /*)" if value == "*" else ""))
    _check_path(value)
    if "*" in value.removesuffix("/*"):
        raise ValueError("a path is exact, or a prefix that ends in /*: a * can stand nowhere else")
    return value


def _upstream_path(value: str) -> str:
    if not value.startswith("/"):
        raise ValueError("a path begins with /")
    _check_path(value)
    if value.count("*") > 1:
        raise ValueError("at most one *")
    return value


def _check_path(value: str) -> None:
    if "?" in value or "#" in value:
        raise ValueError("a path without query and fragment: the query of the request is passed on as it is")
    if not _URL_PATH.fullmatch(value):
        raise ValueError("only printable ASCII without spaces: percent-encode the rest")


RoutePath = Annotated[str, AfterValidator(_route_path)]
UpstreamPath = Annotated[str, AfterValidator(_upstream_path)]


def url(value: str, *, userinfo: bool = False) -> str:
    """
    Return an ``http`` or ``https`` URL without the slashes at its end.

    Args:
        userinfo: ``user:password@`` may stand in it.

    Raises:
        ValueError: It is no such URL, or has a query, a fragment or a ``*``.
    """
    if not value.lower().startswith(("http://", "https://")):
        raise ValueError("expected a URL that begins with http:// or https://")
    try:
        parts = urlsplit(value)
        host, _port = parts.hostname, parts.port
    except ValueError:
        raise ValueError("not a URL: its host or port cannot be read") from None
    if not host or not value.isascii() or not value.isprintable() or " " in value or "\\" in value:
        raise ValueError("not a URL: a host is needed, and only printable ASCII without spaces")
    if "?" in value or "#" in value:
        raise ValueError("no query and no fragment here: the query of each request is passed on as it is")
    if "*" in value:
        raise ValueError("no * here: a path is put behind this URL as it is (`upstream_path` may hold a *)")
    if "@" in parts.netloc and not userinfo:
        raise ValueError("no user or password here: say them in `headers`, as Authorization")
    return value.rstrip("/")


URL = Annotated[str, AfterValidator(url)]


def _headers(value: dict[str, str]) -> dict[str, str]:
    if len({name.lower() for name in value}) < len(value):
        raise ValueError("the same header twice: upper and lower case are one")
    return value


def _header_name(name: str) -> str:
    if not _TOKEN.fullmatch(name):
        raise ValueError("not a header name")
    if name.lower() in _PER_REQUEST:
        raise ValueError("the gate sets this header itself, for each request")
    return name


def _header_value(value: str) -> str:
    value = value.strip(" \t")
    if not value:
        raise ValueError("must not be empty")
    if value.lower() in ("bearer", "basic"):
        raise ValueError("nothing stands behind the scheme: is a variable empty?")
    if any(char != "\t" and (char < " " or char == "\x7f") for char in value):
        raise ValueError("a header's value must not hold line ends or control characters")
    return value


Headers = Annotated[
    dict[Annotated[str, AfterValidator(_header_name)], Annotated[str, AfterValidator(_header_value)]],
    AfterValidator(_headers),
]
