"""Which route takes a request: path, method, model, in the order of the file."""

from __future__ import annotations

from typing import Any

import pytest

from ssegate.config import Route, Upstream
from ssegate.routing import Router
from ssegate.wire.errors import ClientError

UP = Upstream("up", "http://up.test")


def route(path: str, **settings: Any) -> Route:
    return Route(path, path, UP, **settings)


def test_paths_are_compared_as_they_came():
    """An exact path is one path, a prefix is what begins with it and its slash."""
    exact, prefix, everything = route("/v1/chat"), route("/v1/*"), route("/*")
    router = Router([exact, prefix, everything])

    assert router.candidates("/v1/chat") == [exact, prefix, everything]
    assert router.candidates("/v1/") == [prefix, everything]
    for path in ("/v1", "/v10", "/V1/chat", "/", "/v2/a%2Fb//c", "/https://x.test"):
        assert router.candidates(path) == [everything]


@pytest.mark.parametrize("path", ["/v%31/chat", "//v1/chat", "/v1//chat", "/v1%2fchat", "/v1/ch%61t"])
def test_no_spelling_slips_past_a_route(path: str):
    """A path that an upstream may read as that of another route is refused, not sent to a catch-all."""
    router = Router([route("/v1/chat"), route("/v1/*"), route("/*")])

    with pytest.raises(ClientError) as caught:
        router.candidates(path)

    assert caught.value.failure.code == "bad_request"


def test_no_path_fits():
    """A path of no route is not found."""
    with pytest.raises(ClientError) as caught:
        Router([route("/v1/*")]).candidates("/v2")

    assert caught.value.failure.code == "not_found"


@pytest.mark.parametrize("path", ["/a/../b", "/a/..", "/../a", "/./a", "/%2e%2e/a", "/a/%2E./b", "/a/..%2Fb"])
def test_segments_of_dots_are_refused(path: str):
    """An upstream would read such a path as another one than the route was found for."""
    with pytest.raises(ClientError) as caught:
        Router([route("/*")]).candidates(path)

    assert caught.value.failure.code == "bad_request"


@pytest.mark.parametrize("path", ["/a..b", "/...", "/a/.well-known", "/..a"])
def test_dots_in_a_name_are_fine(path: str):
    """Only a whole segment climbs."""
    assert Router([route("/*")]).candidates(path)


def test_methods():
    """A route says which methods it takes; None is all but those about the connection."""
    posts, gets, everything = route("/a"), route("/a", methods=frozenset({"GET"})), route("/a", methods=None)

    assert Router.allowed([posts, gets], "GET") == [gets]
    assert Router.allowed([posts, everything], "DELETE") == [everything]
    for routes, method in (([posts, gets], "PUT"), ([everything], "TRACE"), ([everything], "CONNECT")):
        with pytest.raises(ClientError) as caught:
            Router.allowed(routes, method)
        assert caught.value.failure.code == "method_not_allowed"
        assert caught.value.headers["Allow"] == ", ".join(Router.methods(routes))


def test_the_methods_of_several_routes():
    """``Allow`` names what any of them takes."""
    gets, posts = route("/a", methods=frozenset({"GET", "DELETE"})), route("/a")

    assert Router.methods([gets, posts]) == ["DELETE", "GET", "POST"]
    assert {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"} <= set(
        Router.methods([posts, route("/*", methods=None)])
    )


def test_routes_behind_one_that_takes_every_model_are_out_of_reach():
    """They must not say how large a body may be."""
    named, open_, behind = route("/a", model="x"), route("/a"), route("/a")

    assert Router.allowed([named, open_, behind], "POST") == [named, open_]
    assert Router.allowed([named], "POST") == [named]


@pytest.mark.parametrize(
    ("model", "found"),
    [("gpt-4o", 0), ("gpt-", 0), ("GPT-4o", 2), ("o3", 1), ("o3-mini", 2), ("", 2), (None, 2)],
)
def test_models_are_globs(model: str | None, found: int):
    """The first route whose pattern fits takes the request; one without a pattern takes what is left."""
    routes = [route("/a", model="gpt-*"), route("/a", model="o3"), route("/a")]

    assert Router.choose(routes, model) is routes[found]


@pytest.mark.parametrize("model", ["llama", None])
def test_no_route_for_the_model(model: str | None):
    """Where every route asks for a model, another one, or none, is not found."""
    with pytest.raises(ClientError) as caught:
        Router.choose([route("/a", model="gpt-*")], model)

    assert caught.value.failure.code == "not_found"
