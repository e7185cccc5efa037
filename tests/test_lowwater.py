"""Sockets whose bytes are left lying until there are enough of them."""

import select
import socket
import sys
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from ssegate import lowwater


@contextmanager
def connected():
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as writer,
        server.accept()[0] as reader,
    ):
        yield reader, writer


def kernel_heeds():
    """Ask the system itself, by the ordinary call."""
    if not sys.platform.startswith("linux"):
        return False
    with connected() as (reader, writer), select.epoll() as poll:
        poll.register(reader, select.EPOLLIN)
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 2)
        writer.send(b"x")
        lies = not is_readable(poll)
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
        return lies and is_readable(poll)


def transport_of(sock):
    return SimpleNamespace(get_extra_info=lambda name: sock if name == "socket" else None)


def is_readable(poll):
    return bool(poll.poll(0.05))


def test_they_are_used_where_the_system_heeds_them():
    """And nowhere else."""
    assert lowwater.is_heeded() == kernel_heeds()


heeded = pytest.mark.skipif("not kernel_heeds()", reason="this system heeds no low-water marks")


@heeded
def test_a_connection_is_shown_when_enough_has_come():
    """Then all of it; and at once when the mark is lowered, by the poll that waits already."""
    with connected() as (reader, writer), select.epoll() as poll:
        poll.register(reader, select.EPOLLIN)
        assert lowwater.set_mark(reader.fileno(), 10)
        writer.send(b"123456789")
        assert not is_readable(poll)
        writer.send(b"0")
        assert is_readable(poll)
        assert reader.recv(100) == b"1234567890"

        writer.send(b"x")
        assert not is_readable(poll)
        assert lowwater.set_mark(reader.fileno(), 1)
        assert is_readable(poll)


@heeded
@pytest.mark.parametrize("how", ["closed", "reset"])
def test_the_end_is_shown_at_once(how):
    """With what lies there before it."""
    with connected() as (reader, writer), select.epoll() as poll:
        poll.register(reader, select.EPOLLIN)
        lowwater.set_mark(reader.fileno(), 1000)
        writer.send(b"x")
        assert not is_readable(poll)
        if how == "reset":
            writer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        writer.close()

        assert is_readable(poll)


@heeded
def test_a_descriptor_that_is_none():
    """The caller is told."""
    with connected() as (reader, _):
        descriptor = reader.detach()
    socket.close(descriptor)

    assert not lowwater.set_mark(descriptor, 2)


@heeded
def test_where_there_are_no_marks():
    """Pipes and sockets of files know none: whatever comes is read."""
    left, right = socket.socketpair()
    with left, right:
        assert lowwater.descriptor_of(transport_of(left)) is None
    assert lowwater.descriptor_of(transport_of(None)) is None
    with connected() as (reader, _):
        assert lowwater.descriptor_of(transport_of(reader)) == reader.fileno()


@heeded
@pytest.mark.parametrize("size", [1, lowwater._ROOM - 1, lowwater._ROOM, 3 * lowwater._ROOM + 1])
def test_all_that_lies_there_is_read(size):
    """Also where it is more than is read in one go; then nothing is there."""
    with connected() as (reader, writer):
        reader.setblocking(False)
        writer.sendall(b"x" * size)
        found = b""
        while len(found) < size:
            found += lowwater.read(reader.fileno())

        assert found == b"x" * size
        assert lowwater.read(reader.fileno()) == b""


@heeded
def test_of_a_flood_only_so_much_is_read(monkeypatch):
    """The rest stays where it is."""
    monkeypatch.setattr(lowwater, "MOST", 2 * lowwater._ROOM)
    with connected() as (reader, writer):
        writer.sendall(b"x" * (2 * lowwater._ROOM + 1))

        assert len(reader.recv(2 * lowwater._ROOM, socket.MSG_PEEK | socket.MSG_WAITALL)) == lowwater.MOST
        assert len(lowwater.read(reader.fileno())) == lowwater.MOST
        assert reader.recv(2) == b"x"


@heeded
@pytest.mark.parametrize("how", ["closed", "reset"])
def test_what_lies_before_the_end_is_read(how):
    """The end itself is nothing, and stays to be seen by others."""
    with connected() as (reader, writer), select.epoll() as poll:
        poll.register(reader, select.EPOLLIN)
        reader.setblocking(False)
        writer.sendall(b"last")
        if how == "reset":
            assert lowwater.read(reader.fileno()) == b"last"
            writer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        writer.close()
        assert is_readable(poll)

        assert lowwater.read(reader.fileno()) == (b"last" if how == "closed" else b"")
        assert lowwater.read(reader.fileno()) == b""
        assert is_readable(poll) and reader.recv(1) == b""
