"""
What a config says of the world around the gate: URLs that come out wrong, addresses that meet, a
credential that anybody could spend, files that are not there.

Each check takes the draft and yields problems; ``check.py`` lists them.
"""

from __future__ import annotations

import pathlib
import re
import ssl
from collections.abc import Iterator
from urllib.parse import urlsplit

from ssegate.config import settings
from ssegate.config.draft import Draft
from ssegate.config.problems import Path, Problem
from ssegate.config.unbuilt import limits_anything

__all__ = [
    "credentials_are_guarded",
    "files_can_be_read",
    "listeners_differ",
    "paths_have_one_version",
    "urls_are_bases",
]

_VERSION = re.compile(r"v[0-9]+[a-z0-9]*")
_ENDPOINTS = (
    "/chat/completions",
    "/completions",
    "/responses",
    "/messages",
    "/embeddings",
    "/api/chat",
    "/api/generate",
    "/generate_stream",
)


def urls_are_bases(draft: Draft) -> Iterator[Problem]:
    """The URL of an upstream is where paths are put behind, not one endpoint."""
    for name, upstream in draft.upstreams.items():
        endpoint = next((end for end in _ENDPOINTS if urlsplit(upstream.url).path.endswith(end)), None)
        if endpoint:
            yield Problem(
                ("upstreams", name, "url"),
                f"a base URL is needed: leave out {endpoint} here, `path` or `upstream_path` says it",
            )


def paths_have_one_version(draft: Draft) -> Iterator[Problem]:
    """``…/v1beta/openai`` and ``/v1/chat/completions`` are not put together unless that is said."""
    for route in draft.routes:
        if route.made is None or route.said.upstream_path is not None or "upstream_path" in route.wrong:
            continue
        base = urlsplit(route.made.upstream.url).path
        path = urlsplit(route.made.target(route.made.path)).path
        if path.startswith(base) and _has_version(base) and _has_version(path.removeprefix(base)):
            yield Problem(
                draft.place(route.index, "path"),
                "this path and the upstream's URL each bring a version (/v1), and both would be sent: "
                "say `upstream_path` without it, or with it if that is meant",
            )


def _has_version(path: str) -> bool:
    return any(_VERSION.fullmatch(segment) for segment in path.split("/"))


def listeners_differ(draft: Draft) -> Iterator[Problem]:
    """The admin port is another one, and no upstream is the gate itself."""
    listen, admin = draft.file.listen, draft.file.admin
    if admin and admin.listen == listen and (listen.port or listen.path):
        yield Problem(("admin",), "is the address of `listen`: the admin port is another one")
    for name, upstream in draft.upstreams.items():
        if _is_here(upstream, listen):
            yield Problem(
                ("upstreams", name, "url"), "is the gate itself (`listen`): requests would go round"
            )


def _is_here(upstream: settings.Upstream, listen: settings.Address) -> bool:
    url = urlsplit(upstream.url)
    port = url.port or {"http": 80, "https": 443}[url.scheme]
    if listen.path is not None or port != listen.port or not url.hostname:
        return False
    there = settings.Address(url.hostname, port)
    everywhere = listen.host in ("0.0.0.0", "::")
    return there.host == listen.host or (there.is_loopback and (listen.is_loopback or everywhere))


def credentials_are_guarded(draft: Draft) -> Iterator[Problem]:
    """Nobody from outside spends the gate's credential without a key or a limit."""
    file = draft.file
    # An `open` that is no boolean has its own problem.
    if file.listen.is_loopback or draft.tree.get("open", False) is not False:
        return
    if draft.tree.get("keys") or limits_anything(draft.tree.get("limits")):
        return
    spent = {
        route.made.upstream.name
        for route in draft.routes
        if route.made
        if route.made.upstream.holds_credential
    }
    if spent:
        yield Problem(
            ("listen",),
            f"others can reach this address and spend the credential of upstream {', '.join(sorted(spent))}, "
            "with neither `keys` nor `limits`: listen on 127.0.0.1, or say `open: true` if that is meant",
        )


def files_can_be_read(draft: Draft) -> Iterator[Problem]:
    """Certificates and keys are there, and the authorities to trust are some."""
    named: list[tuple[Path, str]] = []
    if draft.file.tls:
        named += [(("tls", "cert"), draft.file.tls.cert), (("tls", "key"), draft.file.tls.key)]
    for path, said in named:
        if problem := _unreadable(draft.folder / said):
            yield Problem(path, problem)
    for name, upstream in draft.upstreams.items():
        if isinstance(upstream.verify, str):
            file = pathlib.Path(upstream.verify)
            if problem := _unreadable(file) or _no_authorities(file):
                yield Problem(("upstreams", name, "verify"), problem)


def _unreadable(file: pathlib.Path) -> str | None:
    try:
        file.open("rb").close()
    except (OSError, ValueError) as exc:
        return f"cannot read this file: {exc.strerror if isinstance(exc, OSError) else 'not a file name'}"
    return None


def _no_authorities(file: pathlib.Path) -> str | None:
    # Else each request would fail with it, long after the start.
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(file)
    except OSError:
        return "there is no certificate in this file: expected PEM, with BEGIN CERTIFICATE lines"
    return None
