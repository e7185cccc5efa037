"""
The Origin rule and CORS: no web page may spend money through a gate unless the operator names its origin.

A page may give its own name the address 127.0.0.1 (DNS rebinding); the browser then takes a gate on this
machine for the page's own server and says so in good faith. What the page cannot change is the name in
``Host``. So a browser that comes from this machine must have asked for ``localhost``, an address, or a host
whose origin is listed. Programs may use any name: a proxy on this machine often passes its own on.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from urllib.parse import urlsplit

from multidict import CIMultiDict

from ssegate.wire.errors import ClientError

__all__ = [
    "check",
    "cors_headers",
    "is_fixed_host",
    "is_preflight",
    "preflight_headers",
]

_TOLD = ("limit", "remaining", "reset")
_ANTHROPIC = ("requests", "tokens", "input-tokens", "output-tokens")
_EXPOSED = ", ".join(
    [
        *("X-Stream-ID", "X-Request-ID", "Retry-After", "retry-after-ms", "x-should-retry"),
        *(f"x-ratelimit-{what}-{of}" for of in ("requests", "tokens") for what in _TOLD),
        *(f"anthropic-ratelimit-{of}-{what}" for of in _ANTHROPIC for what in _TOLD),
        *("RateLimit-Policy", "RateLimit"),
    ]
)
_DEFAULT_PORTS = {"http": 80, "https": 443}


def check(headers: Mapping[str, str], origins: tuple[str, ...], *, is_local: bool) -> None:
    """
    Let a request pass that no foreign web page can have sent.

    Args:
        is_local: The peer is on this machine, and no proxy that the operator trusts.

    Raises:
        ClientError: ``forbidden_origin``.
    """
    origin, host = headers.get("Origin"), headers.get("Host", "")
    if origin is not None and _is_allowed(origin, origins):
        return
    if origin is None:
        if headers.get("Sec-Fetch-Site", "").lower() == "cross-site":
            raise ClientError("forbidden_origin", "cross-site requests are not allowed")
    elif not _is_own(origin, host):
        raise ClientError("forbidden_origin", "this origin is not allowed; list it under cors.origins")
    if is_local and _is_browser(headers) and not (is_fixed_host(host) or _is_listed_host(host, origins)):
        raise ClientError(
            "forbidden_origin",
            "a browser on this machine asked for a host that is neither localhost nor an address; "
            "list its origin under cors.origins, or the proxy in front under trusted_proxies",
        )


def is_preflight(method: str, headers: Mapping[str, str]) -> bool:
    """Tell whether the browser only asks for leave (Fetch standard, CORS-preflight request)."""
    return method == "OPTIONS" and "Origin" in headers and "Access-Control-Request-Method" in headers


def cors_headers(headers: Mapping[str, str], origins: tuple[str, ...]) -> CIMultiDict[str]:
    """Return what lets the page that asked read the answer; empty when there is no such page."""
    origin = headers.get("Origin")
    if origin is None or not _is_allowed(origin, origins):
        return CIMultiDict()
    return CIMultiDict(
        {"Access-Control-Allow-Origin": origin, "Vary": "Origin", "Access-Control-Expose-Headers": _EXPOSED}
    )


def preflight_headers(
    headers: Mapping[str, str], origins: tuple[str, ...], methods: list[str]
) -> CIMultiDict[str]:
    """Return the answer to a preflight for a route that takes *methods*."""
    out = cors_headers(headers, origins)
    out["Access-Control-Allow-Methods"] = ", ".join(dict.fromkeys([*methods, "DELETE"]))
    out["Access-Control-Allow-Headers"] = (
        "Authorization, Content-Type, Last-Event-ID, X-Stream-ID, x-api-key, x-goog-api-key, api-key"
    )
    out["Access-Control-Max-Age"] = "600"
    return out


def _is_allowed(origin: str, origins: tuple[str, ...]) -> bool:
    return origin.lower() in origins or "*" in origins


def _is_own(origin: str, host: str) -> bool:
    """Tell whether *origin* is the very host that was asked; a proxy in front may have taken TLS off."""
    try:
        page, asked = urlsplit(origin), urlsplit(f"//{host}")
        port = _DEFAULT_PORTS.get(page.scheme)
        is_host = page.hostname is not None and page.hostname == asked.hostname
        return is_host and (page.port or port) == (asked.port or port)
    except ValueError:
        return False


def _is_browser(headers: Mapping[str, str]) -> bool:
    """Tell whether a browser may have sent this: for a plain http page it says no more than its own name."""
    if "Origin" in headers or "Sec-Fetch-Site" in headers:
        return True
    return headers.get("User-Agent", "").startswith("Mozilla/")


def _is_listed_host(host: str, origins: tuple[str, ...]) -> bool:
    return "*" in origins or any(_is_own(origin, host) for origin in origins)


def is_fixed_host(host: str) -> bool:
    """Tell whether no name server decides where *host* (with or without a port) leads."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
