"""
Leaves bytes lying in the operating system until there are enough of them to be worth a reading.

A socket's low-water mark (``SO_RCVLOWAT``) is the number of bytes from which on it counts as readable. Linux
heeds it, shows a connection's end at once all the same, and shows what lies there as soon as the mark is
lowered. The last point is not the same everywhere (kernels in user space), so it is tried before it is used.

Source: https://man7.org/linux/man-pages/man7/socket.7.html
"""

from __future__ import annotations

import asyncio
import os
import select
import socket
import sys
from functools import cache

__all__ = ["MOST", "descriptor_of", "is_heeded", "read", "set_mark"]

_FAMILIES = (socket.AF_INET, socket.AF_INET6)

_ROOM = 32 << 10
"""Bytes of one call: more than mostly lie there, so that a second is rare."""

MOST = 256 << 10
"""Bytes that are read in one go, as by the loop: a flood is held back by a client that cannot take it."""

try:
    import ctypes

    # The transport's socket has the method, at three times the cost.
    _setsockopt = ctypes.PyDLL(None).setsockopt
except (ImportError, OSError, AttributeError, TypeError):  # a Python without it, another system
    _IS_THERE = False
else:
    _IS_THERE = sys.platform.startswith("linux")
    _LEVEL, _OPTION = int(socket.SOL_SOCKET), int(socket.SO_RCVLOWAT)
    _size = ctypes.c_int()
    _REFERENCE, _LENGTH = ctypes.byref(_size), ctypes.sizeof(_size)


@cache
def is_heeded() -> bool:
    """Return whether marks work here, tried once with a connection of our own."""
    if not _IS_THERE:
        return False
    try:
        with (
            select.epoll() as poll,
            socket.create_server(("127.0.0.1", 0)) as server,
            socket.create_connection(server.getsockname()) as writer,
            server.accept()[0] as reader,
        ):
            return _shows_what_lies(writer, reader, poll)
    except OSError:
        return False


def _shows_what_lies(writer: socket.socket, reader: socket.socket, poll: select.epoll) -> bool:
    set_mark(reader.fileno(), 2)
    poll.register(reader, select.EPOLLIN)
    writer.send(b"x")
    if poll.poll(0.001):
        return False
    set_mark(reader.fileno(), 1)
    return bool(poll.poll(0.01))


def descriptor_of(transport: asyncio.BaseTransport) -> int | None:
    """Return the descriptor of *transport* if marks work there."""
    sock = transport.get_extra_info("socket")
    return sock.fileno() if sock is not None and sock.family in _FAMILIES and is_heeded() else None


def set_mark(descriptor: int, size: int) -> bool:
    """Have the open *descriptor* count as readable from *size* bytes on; tell whether it does."""
    _size.value = size
    return bool(_setsockopt(descriptor, _LEVEL, _OPTION, _REFERENCE, _LENGTH) == 0)


def read(descriptor: int) -> bytes:
    """
    Return what lies at the open *descriptor*, up to ``MOST`` bytes.

    Nothing also at its end, and where it has failed: the error is taken with it, then there is an end.
    """
    found = []
    try:
        for _ in range(MOST // _ROOM):
            data = os.read(descriptor, _ROOM)
            found.append(data)
            if len(data) < _ROOM:
                break
    except OSError:  # there is no more
        pass
    return b"".join(found)
