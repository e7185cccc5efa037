"""
Addresses to listen on: taken first, opened to clients later, so that what fails to start has served nobody.

A Unix socket is more careful than the loop's own: one that a crash left behind is taken over, one that
somebody answers on is not, and it is gone when its listener is closed.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import socket
import ssl
from collections.abc import Callable
from pathlib import Path

from ssegate.config import Address

__all__ = ["Listener", "cannot_listen", "curl", "remove_unix_socket", "unix_socket"]

_BACKLOG = 4096
"""With the usual 128, thousands of clients that connect together wait seconds for a repeated SYN."""

_SEND_BUFFER = 64 << 10
"""The kernel's own 2.9 MB would hide for minutes that a client has stopped reading."""


class Listener:
    """An address that is ours; nobody is let in before ``open``."""

    def __init__(self, address: Address, server: asyncio.Server) -> None:
        self._address, self._server = address, server
        # After the close there is nothing left to ask.
        self._port = address.port if address.path is not None else server.sockets[0].getsockname()[1]

    @classmethod
    async def take(
        cls, address: Address, protocol: Callable[[], asyncio.Protocol], tls: ssl.SSLContext | None = None
    ) -> Listener:
        """
        Take *address*.

        Raises:
            OSError: It cannot be had; the message names it.
        """
        try:
            return cls(address, await _bound(address, protocol, tls))
        except OSError as error:
            raise cannot_listen(address, error) from error

    async def open(self) -> None:
        """Let clients in."""
        try:
            await self._server.start_serving()
        except OSError as error:
            raise cannot_listen(self._address, error) from error

    def close(self) -> None:
        """Let nobody in any more; connections that are there stay."""
        if self._address.path is not None and self._server.sockets:
            remove_unix_socket(self._address.path)
        self._server.close()

    def url(self, scheme: str) -> str:
        """Return where it listens, as a client writes it."""
        host, path = self._address.host, self._address.path
        if path is not None:
            return f"unix:{path}"
        return f"{scheme}://[{host}]:{self._port}" if ":" in host else f"{scheme}://{host}:{self._port}"


def curl(url: str, path: str) -> str:
    """Return a command for a shell that asks for *path* of what listens on *url*."""
    socket_path = url.removeprefix("unix:")
    if socket_path == url:
        return f"curl -N {shlex.quote(url + path)}"
    # Some host has to be named, though nobody looks at it.
    return f"curl -N --unix-socket {shlex.quote(socket_path)} {shlex.quote(f'http://localhost{path}')}"


def cannot_listen(address: Address, error: OSError) -> OSError:
    """Return *error* as one clear line: the libraries name the address in many ways, or not at all."""
    reason = error.strerror or str(error)
    # A name that cannot be resolved has a negative number, a path that is too long none.
    if error.errno is not None and error.errno > 0:
        reason = os.strerror(error.errno)
    return OSError(f"cannot listen on {address}: {reason}")


def unix_socket(path: str) -> socket.socket:
    """
    Return a socket bound to *path*.

    Raises:
        OSError: Somebody listens there, or the system does not want it.
    """
    sock = socket.socket(socket.AF_UNIX)
    try:
        if _is_abandoned(path):
            os.unlink(path)
        sock.bind(path)
    except BaseException:
        sock.close()
        raise
    return sock


def remove_unix_socket(path: str) -> None:
    """Remove the file of a socket that is about to be closed."""
    with contextlib.suppress(OSError):  # somebody was faster
        os.unlink(path)


def _is_abandoned(path: str) -> bool:
    """Tell whether a socket lies there that nobody listens on."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)  # a listener whose queue is full is one all the same
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            return Path(path).is_socket()  # a plain file refuses, too
        except OSError:
            pass
    return False


async def _bound(
    address: Address, protocol: Callable[[], asyncio.Protocol], tls: ssl.SSLContext | None
) -> asyncio.Server:
    loop = asyncio.get_running_loop()
    if address.path is not None:
        sock = unix_socket(address.path)
        return await loop.create_unix_server(
            protocol, sock=sock, backlog=_BACKLOG, ssl=tls, start_serving=False
        )
    server = await loop.create_server(
        protocol, address.host, address.port, backlog=_BACKLOG, ssl=tls, start_serving=False
    )
    for listener in server.sockets:
        # Connections inherit it.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
    return server
