"""
Who is asking: which key was shown, what it may do, and from which address it came.

Keys are known by their SHA-256 only: they are 256 random bits, which no table and no guessing finds. Whatever
is shown costs the same, be it right, wrong, missing or too long.
"""

from __future__ import annotations

import hmac
import ipaddress
import secrets
from collections.abc import Iterable, Sequence
from functools import lru_cache
from hashlib import sha256

from multidict import CIMultiDictProxy

from ssegate.config import Key, Network

__all__ = ["MAX_KEY_LENGTH", "Keys", "client_address", "counted", "may_use", "new_key", "shown_keys"]

MAX_KEY_LENGTH = 512
"""Bytes; no key is longer, and no more of what is shown is read."""

_HEADERS = ("x-api-key", "x-goog-api-key", "api-key")
_MAX_SHOWN = 8
"""So many are looked at: a client shows one or two, and each costs a comparison with every key there is."""


class Keys:
    """The keys of one configuration."""

    def __init__(self, keys: Iterable[Key]) -> None:
        self._keys = tuple(keys)

    def find(self, shown: Sequence[str]) -> Key | None:
        """Return the key of which one of *shown* is the secret; the time it takes does not tell which."""
        found = None
        for text in shown or ("",):
            secret = text.encode(errors="surrogateescape")
            digest = sha256(secret[:MAX_KEY_LENGTH]).digest()
            for key in self._keys:
                # All of them, always: where the search ends would tell something.
                is_same = hmac.compare_digest(digest, key.hash)
                if (
                    is_same and 0 < len(secret) <= MAX_KEY_LENGTH
                ):  # nothing shown is no key, whatever the file says
                    found = found or key
        return found


def new_key() -> tuple[str, str]:
    """Return a new random key of 256 bits, and its hash as the config says it."""
    key = "ssk_" + secrets.token_urlsafe(32)
    return key, "sha256:" + sha256(key.encode()).hexdigest()


def shown_keys(headers: CIMultiDictProxy[str], query_key: str | None) -> list[str]:
    """Return what a caller shows in any of the five places."""
    shown = []
    for line in headers.getall("Authorization", ()):
        scheme, _, token = line.partition(" ")
        if scheme.lower() == "bearer":
            shown.append(token.strip())
    for name in _HEADERS:
        shown += headers.getall(name, ())
    if query_key is not None:
        shown.append(query_key)
    return shown[:_MAX_SHOWN]


def may_use(key: Key, path: str) -> bool:
    """Tell whether *key* may ask for *path*, which is written plainly: without ``..`` or doubled slashes."""
    return not key.routes or any(_fits(allowed, path) for allowed in key.routes)


def _fits(allowed: str, path: str) -> bool:
    return path.startswith(allowed[:-1]) if allowed.endswith("/*") else path == allowed


def client_address(peer: str, forwarded: Iterable[str], trusted: Sequence[Network]) -> str:
    """
    Return the address of the client that proxies speak for.

    Each proxy writes at the end of ``X-Forwarded-For`` whom it was asked by, so the list is read from there,
    as far as those who wrote it are trusted. What a client has put at its beginning is never reached.

    Args:
        peer: Who is connected to us, and trusted.
        forwarded: The lines of the header.
    """
    address = peer
    for said in reversed([part for line in forwarded for part in line.split(",")]):
        parsed = _address(said.strip())
        if parsed is None:
            break
        address = str(parsed)
        if not any(parsed in network for network in trusted):
            break
    return address


@lru_cache(4096)
def counted(address: str) -> str:
    """Return what an address is counted as: an IPv6 one by its /64, which one household or machine has."""
    parsed = _address(address)
    if isinstance(parsed, ipaddress.IPv6Address):
        return str(ipaddress.IPv6Network((int(parsed) >> 64 << 64, 64)))
    return address if parsed is None else str(parsed)


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return the address in *text*, without port, brackets and zone; None if it is none."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        found = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    # An IPv4 client of a socket that listens on both.
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return mapped or found
