"""
The gate as a whole: listeners, configuration and its reload, drain and end.

A gate drains by refusing new requests while those that it has read the head of are served to their end; its
listeners stay open, so that who asks is told to come back instead of meeting a closed port.
"""

from __future__ import annotations

import asyncio
import contextlib
import resource
from collections.abc import Callable
from typing import Any

from aiohttp.web import AppRunner

from ssegate import logs
from ssegate.admin import admin_app
from ssegate.certificate import Certificate, load
from ssegate.config import Config
from ssegate.connection import ConnectionServer
from ssegate.exchange import World
from ssegate.limits import MemoryStore, Store
from ssegate.listening import Listener
from ssegate.loopwatch import watch
from ssegate.metrics import Metrics
from ssegate.server import DataPort
from ssegate.streams import Streams
from ssegate.upstream import Upstreams
from ssegate.wire.batching import Load
from ssegate.wire.errors import ConfigError
from ssegate.wire.events import Failure

__all__ = ["Gate"]

_FAREWELL_SECONDS = 0.5
"""How long the last streams may take to tell their readers ``shutting_down``."""

_CUT_SECONDS = 0.1
"""How long aiohttp waits, twice, for what did not end by itself: the whole end takes less than a second."""

_LOOK_SECONDS = 0.05
"""How often a drain looks whether the last answers have left."""


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
        self.store: Store = _store(config, self.metrics)
        self.load = Load()
        self.draining = False
        self._read_config = read_config
        self._bound = config
        """What listeners were started with; a reload does not move them."""

        self._port = DataPort(self)
        self._certificate: Certificate | None = None
        self._connections: ConnectionServer | None = None
        self._listener: Listener | None = None
        self._admin: AppRunner | None = None
        self._admin_listener: Listener | None = None
        self._drain_begun = asyncio.Event()
        self._watch: asyncio.Task[None] | None = None
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
        config = self._bound = self.config
        if config.tls is not None:
            self._certificate = Certificate(load(config.tls))
        await self.upstreams.start()
        await self.store.start()
        try:
            await self._take_addresses(config)
            for listener in (self._listener, self._admin_listener):
                if listener is not None:
                    await listener.open()
        except BaseException:
            await self.stop()
            raise
        self._watch = asyncio.create_task(watch(self.metrics.loop_lag, self.load.note), name="loop watch")
        self._log.info("listening", listen=self.url, admin=self.admin_url)

    async def _take_addresses(self, config: Config) -> None:
        tls = self._certificate.context if self._certificate is not None else None
        self._connections = ConnectionServer(
            self._port.handle, max_connections=_max_connections(config), keepalive=config.keepalive
        )
        self._listener = await Listener.take(config.listen, self._connections, tls)
        if config.admin is not None:
            self._admin = AppRunner(
                admin_app(self), access_log=None, handle_signals=False, shutdown_timeout=_CUT_SECONDS
            )
            await self._admin.setup()
            assert self._admin.server is not None
            self._admin_listener = await Listener.take(config.admin.listen, self._admin.server)

    async def stop(self) -> None:
        """Close everything at once; what still runs is told ``shutting_down``."""
        if self._listener is not None:
            self._listener.close()
        if self._connections is not None:
            await self._end_connections(self._connections)
        if self._admin_listener is not None:
            self._admin_listener.close()
        if self._admin is not None:
            await self._admin.cleanup()
        if self._watch is not None:
            self._watch.cancel()
        await self.upstreams.stop()
        await self.store.stop()

    async def _end_connections(self, connections: ConnectionServer) -> None:
        self.streams.end_all(Failure("shutting_down", "the gate is shutting down"))
        self._port.end_all()
        # Readers that do not read are cut with their connections.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_FAREWELL_SECONDS):
                await self._quiet(connections)
        # Idle connections close by themselves when told to; only those that do not are waited for.
        connections.pre_shutdown()
        await asyncio.sleep(0)
        await connections.shutdown(_CUT_SECONDS)

    async def drain_begun(self) -> None:
        """Wait until somebody says ``begin_drain``."""
        await self._drain_begun.wait()

    async def drained(self) -> None:
        """Wait until all that was asked before is answered, at most ``drain`` seconds."""
        assert self._connections is not None
        try:
            async with asyncio.timeout(self.config.drain):
                await self._quiet(self._connections)
        except TimeoutError:
            requests = len(self._connections.busy())
            self._log.warning("drain_timeout", streams=len(self.streams), requests=requests)

    async def _quiet(self, connections: ConnectionServer) -> None:
        """Wait until no stream runs, and each request that is in flight now has its whole answer."""
        # Who asks later is refused at once; however many do, the end does not wait for them.
        busy = connections.busy()
        while len(self.streams) or any(connection.is_busy for connection in busy):
            await self.streams.drained()
            await asyncio.sleep(_LOOK_SECONDS)

    @property
    def streams_started(self) -> int:
        """How many streams have been taken in since the start."""
        return self.streams.started

    # ---- addresses -----------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """Where the data port listens, as a client writes it."""
        assert self._listener is not None, "the gate has not been started"
        return self._listener.url("http" if self._certificate is None else "https")

    @property
    def admin_url(self) -> str | None:
        """Where the admin port listens; None when there is none."""
        return None if self._admin_listener is None else self._admin_listener.url("http")

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
        """Refuse new requests from now on, and end with the last answer."""
        if not self.draining:
            self.draining = True
            self._drain_begun.set()
            self._log.info("draining", streams=len(self.streams))

    def reload(self) -> tuple[bool, str]:
        """
        Take the configuration anew; on any problem the old one stays in force.

        Returns:
            Whether it is in force, and what is to be said about it.
        """
        if self._read_config is None:
            said = "this gate was started without a file"
            self._log.warning("reload_failed", error=said)
            return False, said
        try:
            config = self._read_config()
            pair = None if config.tls is None else load(config.tls)
        except (ConfigError, OSError) as problem:
            self.metrics.reloaded(False)
            self._log.error("reload_failed", error=str(problem))
            return False, str(problem)
        self.world = World.of(config)
        if self._connections is not None:
            self._connections.max_connections = _max_connections(config)
            self._connections.keepalive = config.keepalive
        if self._certificate is not None and pair is not None:
            self._certificate.show(pair)
        self.metrics.know_models(_models(config))
        logs.configure(config.log.level, config.log.format)
        self.metrics.reloaded(True)
        kept = [name for name, bound in _listeners(self._bound).items() if bound != _listeners(config)[name]]
        self._log.info("reloaded", restart_for=kept or None)
        return True, f"reloaded; restart for: {', '.join(kept)}" if kept else "reloaded"


def _store(config: Config, metrics: Metrics) -> Store:
    """Return what keeps the limits; the library of the shared one is loaded only where it is used."""
    if config.store == "memory":
        return MemoryStore()
    from ssegate.limits.redis import RedisStore

    return RedisStore(config.store, config.on_store_error, failed=metrics.store_failed)


def _listeners(config: Config) -> dict[str, object]:
    """Return what only a restart changes: an admin token or another certificate is taken as it comes."""
    return {
        "listen": config.listen,
        "admin": None if config.admin is None else config.admin.listen,
        "store": config.store,
        "on_store_error": config.on_store_error,
        "tls": config.tls is not None,
    }


def _models(config: Config) -> set[str]:
    """Return the model names that the configuration knows: they are labels of their own."""
    aliases = {model for route in config.routes for pair in route.models.items() for model in pair}
    return aliases | set(config.prices)


def _max_connections(config: Config) -> int:
    """Return the cap on client connections: each may need one descriptor more towards its upstream."""
    return config.max_connections or max(16, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2)
