"""
What no single value shows: names that must exist, routes that are never reached, keys that do nothing.

Each check takes the draft and yields problems; ``CHECKS`` lists them and those of ``outside.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from hashlib import sha256
from typing import get_args

from ssegate.config import counting, outside, settings
from ssegate.config.custom import CustomDialect, Framing
from ssegate.config.draft import Draft
from ssegate.config.problems import Path, Problem, did_you_mean
from ssegate.wire.formats import OF_OWN_DIALECT

__all__ = ["CHECKS"]


def upstreams_exist(draft: Draft) -> Iterator[Problem]:
    """Every route knows its upstream."""
    if not draft.names:
        if not draft.tree.get("upstreams"):
            yield Problem(("upstreams",), "is needed: at least one, such as `upstreams: {local: {url: …}}`")
        return
    for route in draft.routes:
        name = route.said.upstream
        if name is None and len(draft.names) > 1 and "upstream" not in route.wrong:
            known = ", ".join(draft.names)
            yield Problem(("routes", route.index, "upstream"), f"is needed: one of {known}")
        elif isinstance(name, str) and name not in draft.names:
            hint = did_you_mean(name, draft.names) or f" (known: {', '.join(draft.names)})"
            if "://" in name:
                hint = " (this is its name; its URL stands under `upstreams`)"
            yield Problem(draft.place(route.index, "upstream"), f"there is no such upstream{hint}")


def routes_exist(draft: Draft) -> Iterator[Problem]:
    """There is a route, and each has a path of its own or of the defaults."""
    # A gate without routes would answer 404 to everything: no catch-all is made up, because what it
    # lets through is spent with the operator's credential.
    if not draft.tree.get("routes"):
        yield Problem(("routes",), "is needed: at least one; for every path `routes: [{path: /*}]`")
    for route in draft.routes:
        if route.said.path is None and "path" not in route.wrong:
            yield Problem(("routes", route.index, "path"), "is needed, such as /v1/chat/completions or /v1/*")


def names_differ(draft: Draft) -> Iterator[Problem]:
    """No two routes, and no two keys, have the same name."""
    seen: dict[str, int] = {}
    for route in draft.routes:
        name = route.said.name or route.said.path
        if name is None or "name" in route.wrong:
            continue
        first = seen.setdefault(name, route.index)
        if first != route.index:
            place = draft.place(route.index, "name") if route.said.name else ("routes", route.index)
            yield Problem(place, f"routes[{first}] has the same name (default: the path): say another `name`")
    keys: dict[str, int] = {}
    for index, key in enumerate(draft.file.keys or []):
        if keys.setdefault(key.name, index) != index:
            yield Problem(("keys", index, "name"), f"keys[{keys[key.name]}] has the same name")


_HASH_OF_NOTHING = "sha256:" + sha256(b"").hexdigest()


def keys_have_a_secret(draft: Draft) -> Iterator[Problem]:
    """A key is given by its hash or by its value."""
    for index, key in enumerate(draft.file.keys or []):
        if (key.hash is None) == (key.value is None):
            yield Problem(("keys", index), "exactly one of `hash` and `value` is needed")
        elif key.hash is not None and key.hash.lower() == _HASH_OF_NOTHING:
            yield Problem(("keys", index, "hash"), "is the hash of nothing at all: the key was empty")


def routes_are_reached(draft: Draft) -> Iterator[Problem]:
    """No route stands behind one that takes all of its requests."""
    judged = {"path", "model", "methods", "from_prompt"}
    made = [(route.index, route.made) for route in draft.routes if route.made and not route.wrong & judged]
    for at, (index, route) in enumerate(made):
        for before, other in made[:at]:
            if _covers(other, route):
                yield Problem(
                    ("routes", index),
                    f"is never reached: routes[{before}] takes its requests (first match wins: move this up)",
                )
                break


def _covers(first: settings.Route, second: settings.Route) -> bool:
    if first.prefix is None:
        path = first.path == second.path
    else:
        path = (second.prefix or second.path).startswith(first.prefix)
    methods = first.methods is None or (second.methods is not None and first.methods >= second.methods)
    return path and methods and first.model in (None, second.model)


def raw_is_left_alone(draft: Draft) -> Iterator[Problem]:
    """A route whose output is raw says nothing about events: there are none."""
    for route in draft.routes:
        if route.said.output != "raw":
            continue
        # From the defaults both are for the other routes, and `off` is what raw does.
        said = {"batch": route.said.batch is not None, "metadata": route.said.metadata != "off"}
        for key in draft.tree["routes"][route.index].keys() & said.keys() - route.wrong:
            if said[key]:
                message = "does nothing: raw output is the upstream's bytes, untouched (leave this out)"
                yield Problem(("routes", route.index, key), message, at_key=True)


def outputs_have_their_upstream(draft: Draft) -> Iterator[Problem]:
    """An output for upstreams of one dialect has such an upstream, or one that has not been named."""
    for route in draft.routes:
        output, made = route.said.output, route.made
        if output not in OF_OWN_DIALECT or made is None or made.upstream.dialect in ("auto", output):
            continue
        seen = f"the upstream `{made.upstream.name}` speaks {made.upstream.dialect}"
        message = (
            f"is for upstreams that speak {output}, and {seen} (native, openai, vercel and text fit all)"
        )
        yield Problem(draft.place(route.index, "output"), message)


def stars_stand_for_something(draft: Draft) -> Iterator[Problem]:
    """A ``*`` in an upstream path needs one in the route's path."""
    for route in draft.routes:
        path, target = route.said.path, route.said.upstream_path
        if path and target and "*" in target and not path.endswith("/*"):
            place = draft.place(route.index, "upstream_path")
            yield Problem(place, "a * stands for what the * of `path` matched, and this path has none")


def custom_dialects_say_enough(draft: Draft) -> Iterator[Problem]:
    """A described dialect says where the answer is, unless its body is the answer."""
    for name in draft.names:
        upstream = draft.tree["upstreams"][name]
        dialect = upstream.get("dialect") if isinstance(upstream, dict) else None
        if not isinstance(dialect, dict) or dialect.get("framing") not in get_args(Framing):
            continue
        place: Path = ("upstreams", name, "dialect")
        said = [key for key, value in dialect.items() if value is not None]
        if dialect["framing"] != "text" and not {"text", "reasoning"} & set(said):
            needed = "is needed: the path of the answer in each payload, such as output.token"
            yield Problem((*place, "text"), needed)
        for key in said if dialect["framing"] == "text" else ():
            if key in CustomDialect.model_fields.keys() - {"framing"}:
                message = "does nothing: with framing text the body is the answer, without payloads"
                yield Problem((*place, key), f"{message} (leave this out)", at_key=True)


CHECKS: tuple[Callable[[Draft], Iterator[Problem]], ...] = (
    upstreams_exist,
    routes_exist,
    names_differ,
    keys_have_a_secret,
    routes_are_reached,
    raw_is_left_alone,
    outputs_have_their_upstream,
    stars_stand_for_something,
    custom_dialects_say_enough,
    counting.keys_differ,
    counting.costs_have_prices,
    counting.counting_has_limits,
    counting.cutting_has_tokens,
    counting.stores_can_be_used,
    outside.urls_are_bases,
    outside.paths_have_one_version,
    outside.listeners_differ,
    outside.credentials_are_guarded,
    outside.files_can_be_read,
)
