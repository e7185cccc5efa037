"""
The gate as a whole: listeners, configuration and its reload, drain and end.

A gate drains by refusing new requests while the running streams go on; its listeners stay open, so that who
asks is told to come back instead of meeting a closed port.
"""

from __future__ import annotations

import asyncio
import os
import resource
import socket
import ssl
from collections.abc import Callable
from typing import Any

from aiohttp.web import AppRunner

from ssegate import logs
from ssegate.admin import admin_app
from ssegate.config import Address, Config
from ssegate.connection import ConnectionServer
from ssegate.exchange import World
from ssegate.metrics import Metrics
from ssegate.server import DataPort
from ssegate.streams import Streams
from ssegate.upstream import Upstreams
from ssegate.wire.errors import ConfigError
from ssegate.wire.events import Failure

__all__ = ["Gate"]

_BACKLOG = 4096
"""With the usual 128, thousands of clients that connect together wait seconds for a repeated SYN."""

_SEND_BUFFER = 64 << 10
"""The kernel's own 2.9 MB would hide for minutes that a client has stopped reading."""

_LAG_SECONDS = 0.5
_FAREWELL_SECONDS = 1.0
"""How long the last streams may take to tell their readers ``shutting_down``."""


class Gate:
    """
    One running gate. Implements ``server.Shared`` and ``admin.GateView``.

    Attributes:
        draining: New requests are refused.
    """

    def __init__(self, config: Config, read_config: Callable[[], Config] | None = None) -> None:
        self.world = World.of(config)
        self.upstreams = Upstreams()
        self.streams = Streams()
        self.metrics = Metrics(_models(config))
        self.draining = False
        self._read_config = read_config
        self._port = DataPort(self)
        self._server: asyncio.Server | None = None
        self._connections: ConnectionServer | None = None
        self._admin: AppRunner | None = None
        self._admin_server: asyncio.Server | None = None
        self._lag: asyncio.Task[None] | None = None
        self._log = logs.get_logger()

    @property
    def config(self) -> Config:
        """The configuration in force."""
        return self.world.config

    # ---- start and stop ------------------------------------------------------------------------

    async def start(self) -> None:
        """
        Listen.

        Raises:
            OSError: An address cannot be had, or the certificate not be read; nothing listens then.
        """
        config = self.config
        tls = _tls(config)
        await self.upstreams.start()
        try:
            self._connections = ConnectionServer(
                self._port.handle,
                max_connections=config.max_connections or _half_of_the_descriptors(),
                keepalive=config.keepalive,
            )
            self._server = await _listen(self._connections, config.listen, tls)
            if config.admin is not None:
                self._admin = AppRunner(admin_app(self), access_log=None, handle_signals=False)
                await self._admin.setup()
                assert self._admin.server is not None
                self._admin_server = await _listen(self._admin.server, config.admin.listen, None)
        except BaseException:
            await self.stop()
            raise
        self._lag = asyncio.create_task(self._watch_loop(), name="loop lag")
        self._log.info("listening", listen=self.url, admin=self.admin_url)

    async def stop(self) -> None:
        """Close everything at once; what still runs is told ``shutting_down``."""
        self.streams.end_all(Failure("shutting_down", "the gate is shutting down"))
        if self._server is not None:
            self._server.close()
        try:
            async with asyncio.timeout(_FAREWELL_SECONDS):
                await self.streams.drained()
        except TimeoutError:
            pass  # readers that do not read are cut with their connections below
        if self._connections is not None:
            # Idle connections close by themselves when told to; only those that do not are waited for.
            self._connections.pre_shutdown()
            await asyncio.sleep(0)
            await self._connections.shutdown(_FAREWELL_SECONDS / 4)
        if self._admin_server is not None:
            self._admin_server.close()
        if self._admin is not None:
            await self._admin.cleanup()
        if self._lag is not None:
            self._lag.cancel()
        await self.upstreams.stop()

    async def drained(self) -> None:
        """Wait until nothing runs any more, at most ``drain`` seconds."""
        try:
            async with asyncio.timeout(self.config.drain):
                await self.streams.drained()
                while self._port.in_flight:
                    await asyncio.sleep(0.05)
        except TimeoutError:
            self._log.warning("drain_timeout", streams=len(self.streams))

    async def _watch_loop(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + _LAG_SECONDS
            await asyncio.sleep(_LAG_SECONDS)
            self.metrics.loop_lag(max(0.0, loop.time() - due))

    @property
    def streams_started(self) -> int:
        """How many streams have been taken in since the start."""
        return self.streams.started

    # ---- addresses -----------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """Where the data port listens, as a client writes it."""
        scheme = "http" if self.config.tls is None else "https"
        return _url(scheme, self.config.listen, self._server)

    @property
    def admin_url(self) -> str | None:
        """Where the admin port listens; None when there is none."""
        if self.config.admin is None:
            return None
        return _url("http", self.config.admin.listen, self._admin_server)

    # ---- what the admin port asks (admin.GateView) ---------------------------------------------

    @property
    def admin_token(self) -> str | None:
        """The token that opens the admin port to others than loopback peers."""
        return self.config.admin.token if self.config.admin is not None else None

    def live(self) -> list[dict[str, Any]]:
        """Return one row for each running stream."""
        return [stream.row() for stream in self.streams]

    def cancel(self, stream_id: str) -> bool:
        """End a running stream; return whether there was one."""
        stream = self.streams.find(stream_id)
        if stream is not None:
            stream.end(Failure("cancelled", "the stream was cancelled"))
        return stream is not None

    def begin_drain(self) -> None:
        """Refuse new requests from now on."""
        if not self.draining:
            self.draining = True
            self._log.info("draining", streams=len(self.streams))

    def reload(self) -> tuple[bool, str]:
        """
        Take the configuration anew; on any problem the old one stays in force.

        Returns:
            Whether it is in force, and what is to be said about it.
        """
        if self._read_config is None:
            return False, "this gate was started without a file"
        try:
            config = self._read_config()
        except ConfigError as problem:
            self.metrics.reloaded(False)
            self._log.error("reload_failed", error=str(problem))
            return False, str(problem)
        old, self.world = self.config, World.of(config)
        self.metrics.know_models(_models(config))
        logs.configure(config.log.level, config.log.format)
        self.metrics.reloaded(True)
        kept = [name for name in ("listen", "admin", "store") if getattr(old, name) != getattr(config, name)]
        said = f"reloaded; restart for: {', '.join(kept)}" if kept else "reloaded"
        self._log.info("reloaded", restart_for=kept or None)
        return True, said


def _models(config: Config) -> set[str]:
    """Return the model names that the configuration knows: they are labels of their own."""
    aliases = {model for route in config.routes for pair in route.models.items() for model in pair}
    return aliases | set(config.prices)


def _half_of_the_descriptors() -> int:
    """Return the cap on client connections: each may need one descriptor more towards its upstream."""
    return max(16, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2)


def _tls(config: Config) -> ssl.SSLContext | None:
    if config.tls is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(config.tls.cert, config.tls.key)
    except OSError as error:
        # The library's own words name no file.
        said = f"tls: {config.tls.cert} with {config.tls.key} cannot be used: {error}"
        raise OSError(said) from error
    return context


async def _listen(
    protocol: Callable[[], asyncio.Protocol], address: Address, tls: ssl.SSLContext | None
) -> asyncio.Server:
    loop = asyncio.get_running_loop()
    if address.path is not None:
        return await loop.create_unix_server(protocol, address.path, backlog=_BACKLOG, ssl=tls)
    server = await loop.create_server(protocol, address.host, address.port, backlog=_BACKLOG, ssl=tls)
    for listener in server.sockets:
        # Connections inherit it.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
    return server


def _url(scheme: str, address: Address, server: asyncio.Server | None) -> str:
    if address.path is not None:
        return f"unix:{os.fspath(address.path)}"
    port = address.port
    if server is not None and server.sockets:
        port = server.sockets[0].getsockname()[1]
    host = f"[{address.host}]" if ":" in address.host else address.host
    return f"{scheme}://{host}:{port}"
