"""A place to listen, as it is written: ``host:port``, ``[ipv6]:port``, ``unix:/path``."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from functools import lru_cache

__all__ = ["Address", "is_loopback"]

_HOST = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?")
_NO_ADDRESS = "expected host:port, such as 127.0.0.1:8080 or [::1]:8080, or unix:/path"


@dataclass(frozen=True, slots=True)
class Address:
    """A place to listen: a TCP port, or a Unix socket when ``path`` is set."""

    host: str
    port: int
    """0: any free one."""

    path: str | None = None

    @classmethod
    def parse(cls, text: object) -> Address:
        """
        Return the address ``host:port``, ``[ipv6]:port`` or ``unix:/path``.

        Raises:
            ValueError: It is none; the message does not repeat it.
        """
        if not isinstance(text, str):
            raise ValueError(_NO_ADDRESS)
        if text.startswith("unix:"):
            if len(text) <= len("unix:") or "\0" in text:
                raise ValueError(_NO_ADDRESS)
            return cls("", 0, text.removeprefix("unix:"))
        host, colon, port = text.rpartition(":")
        if colon and host in ("", "*"):
            raise ValueError("say which interface: 127.0.0.1:PORT, or 0.0.0.0:PORT for all of them")
        if not (port.isascii() and port.isdigit()):
            raise ValueError(_NO_ADDRESS)
        if len(port) > 5 or int(port) > 65535:
            raise ValueError("a port is at most 65535 (0: any free one)")
        return cls(_host(host), int(port))

    @property
    def is_loopback(self) -> bool:
        """Only this machine can reach it; a Unix socket counts."""
        return self.path is not None or is_loopback(self.host)

    def __str__(self) -> str:
        if self.path is not None:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def _host(text: str) -> str:
    if text.startswith("[") and text.endswith("]"):
        text = text[1:-1]
        try:
            ipaddress.IPv6Address(text)
        except ValueError:
            raise ValueError(_NO_ADDRESS) from None
    elif not _HOST.fullmatch(text):
        raise ValueError(_NO_ADDRESS)
    return text


@lru_cache(maxsize=4096)
def is_loopback(host: str) -> bool:
    """Tell whether *host*, a name or an address, leads to this machine alone."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host.lower().rstrip(".") == "localhost"
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback
