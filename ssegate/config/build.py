"""Make settings of a config that is in order, or of those parts of one that are."""

from __future__ import annotations

import hashlib
import pathlib
from dataclasses import replace
from typing import Any

from ssegate.config import model, sections, settings
from ssegate.config.custom import described
from ssegate.wire.stats import Price

__all__ = ["config", "merged", "route", "upstream"]

_SECTIONS = ("models", "timeouts", "limits", "set", "default", "unset")
"""Keys of a route whose null says nothing (elsewhere it may say ``off``)."""


def merged(defaults: Any, said: Any) -> Any:
    """
    Return a route as the file says it, over the defaults.

    A mapping is merged key by key, one level deep: ``timeouts: {idle: 1m}`` keeps the default's ``total``,
    a ``body`` of ``from_prompt`` is never mixed of two.
    """
    if not isinstance(defaults, dict) or not isinstance(said, dict):
        return said
    whole = dict(defaults)
    for key, value in said.items():
        below = defaults.get(key)
        if isinstance(value, dict) and isinstance(below, dict):
            whole[key] = below | value
        elif value is not None or key not in _SECTIONS:
            whole[key] = value
    return whole


def upstream(name: str, said: model.Upstream, folder: pathlib.Path) -> settings.Upstream:
    """Return one upstream; relative files are looked for in *folder*."""
    made = settings.Upstream(
        name,
        said.url,
        dialect=said.dialect if isinstance(said.dialect, str) else described(said.dialect),
        headers=dict(said.headers),
        verify=str(folder / said.verify) if isinstance(said.verify, str) else said.verify,
        proxy=said.proxy,
    )
    forward = not made.holds_credential if said.forward_client == "auto" else said.forward_client
    return replace(made, forward_client=forward)


def route(said: model.Route, to: settings.Upstream) -> settings.Route:
    """Return one route; *said* has its defaults in it and a path."""
    assert said.path is not None
    timeouts = said.timeouts
    return settings.Route(
        name=said.name or said.path,
        path=said.path,
        upstream=to,
        model=said.model,
        models=dict(said.models),
        methods=_methods(said),
        upstream_path=said.upstream_path,
        output=said.output,
        errors=said.errors,
        batch=_batch(said.batch),
        metadata=said.metadata,
        timeouts=settings.Timeouts(
            timeouts.connect, timeouts.first_token, timeouts.idle, timeouts.total, timeouts.write
        ),
        hold=said.hold,
        heartbeat=said.heartbeat,
        on_disconnect=said.on_disconnect,
        max_event=said.max_event,
        max_stream=said.max_stream,
        max_body=said.max_body,
        set=said.set,
        default=said.default,
        unset=tuple(said.unset),
        from_prompt=settings.FromPrompt(said.from_prompt.default, said.from_prompt.body)
        if said.from_prompt
        else None,
        limits=_limits(said.limits),
        everybody=_limits(said.limits.global_),
    )


def config(
    said: model.File,
    upstreams: dict[str, settings.Upstream],
    routes: tuple[settings.Route, ...],
    folder: pathlib.Path,
) -> settings.Config:
    """Return the whole, from the file's top level and the parts made before."""
    return settings.Config(
        listen=said.listen,
        admin=settings.Admin(said.admin.listen, said.admin.token) if said.admin else None,
        log=settings.Log(said.log.level, said.log.format),
        store=said.store,
        on_store_error=said.on_store_error,
        drain=said.drain,
        keepalive=said.keepalive,
        open=said.open,
        trusted_proxies=tuple(said.trusted_proxies),
        cors_origins=tuple(said.cors.origins),
        tls=settings.Tls(str(folder / said.tls.cert), str(folder / said.tls.key)) if said.tls else None,
        max_connections=None if said.max_connections == "auto" else said.max_connections,
        keys=None if said.keys is None else tuple(map(_key, said.keys)),
        limits=settings.SharedLimits(
            said.limits.by,
            _limits(said.limits),
            _limits(said.limits.global_),
            said.limits.on_exhausted == "cut",
        ),
        prices={name: Price(p.input, p.output, p.cached) for name, p in said.prices.items()},
        upstreams=upstreams,
        routes=routes,
    )


def _limits(said: sections.Limits) -> settings.Limits:
    """Return what is said; whatever is not leaves to others what holds."""
    named = said.model_fields_set
    rates = {name: getattr(said, name) or () for name in sections.RATES if name in named}
    streams = None if "streams" not in named else () if said.streams is None else (said.streams,)
    return settings.Limits(rates, streams)


def _key(said: sections.Key) -> settings.Key:
    shown = "" if said.value is None else said.value
    digest = hashlib.sha256(shown.encode()).digest()
    if said.hash is not None:
        digest = bytes.fromhex(said.hash.removeprefix("sha256:"))
    return settings.Key(said.name, digest, tuple(said.routes), _limits(said.limits))


def _batch(said: sections.Batch | None) -> settings.Batch | None:
    return None if said is None else settings.Batch(said.size, said.delay, said.mode == "adaptive")


def _methods(said: model.Route) -> frozenset[str] | None:
    if said.methods is not None:
        return frozenset(said.methods)
    if said.from_prompt is not None:
        return frozenset({"GET", "POST"})
    return None if said.path and said.path.endswith("/*") else frozenset({"POST"})
