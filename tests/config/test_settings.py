"""What the rest of the program meets: addresses, upstreams, routes, and where they lead."""

import copy
import dataclasses
import functools
import json
from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssegate.config import Address, from_upstream, load, parse, route_lines
from ssegate.config.load import read
from ssegate.config.settings import Route, Upstream
from ssegate.wire.description import Description
from ssegate.wire.errors import ConfigError
from ssegate.wire.stats import Price


@pytest.mark.parametrize(
    ("text", "host", "port", "path", "loopback"),
    [
        ("127.0.0.1:8080", "127.0.0.1", 8080, None, True),
        ("0.0.0.0:0", "0.0.0.0", 0, None, False),
        ("[::1]:8080", "::1", 8080, None, True),
        ("[::]:65535", "::", 65535, None, False),
        ("[::ffff:127.0.0.1]:1", "::ffff:127.0.0.1", 1, None, True),
        ("localhost:80", "localhost", 80, None, True),
        ("gate_1.example.com:80", "gate_1.example.com", 80, None, False),
        ("unix:/run/gate.sock", "", 0, "/run/gate.sock", True),
        ("unix:gate.sock", "", 0, "gate.sock", True),
    ],
)
def test_an_address_is_host_and_port_or_a_socket(text, host, port, path, loopback):
    """Each form is read."""
    address = Address.parse(text)

    assert (address.host, address.port, address.path) == (host, port, path)
    assert address.is_loopback is loopback


@pytest.mark.parametrize("text", ["127.0.0.1:8080", "[::1]:80", "localhost:0", "unix:/a:b"])
def test_an_address_is_written_as_it_is_read(text):
    """`str` gives the form of the config."""
    assert str(Address.parse(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        *("", "8080", 8080, None, ":8080", "*:8080", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536"),
        *("::1:80", "[::1]", "[1.2.3.4]:80", "[::1]x:80", "a b:80", "http://h:80", "-a:80", "unix:"),
        *("h:٣", "h:-1"),
    ],
)
def test_what_is_no_address_is_refused(text):
    """Anything else is an error."""
    with pytest.raises(ValueError, match=r"expected host:port|say which interface|a port is at most"):
        Address.parse(text)


@pytest.mark.parametrize(
    ("url", "path", "upstream_path", "asked", "target"),
    [
        # as asked
        ("http://h", "/*", None, "/v1/chat", "http://h/v1/chat"),
        ("http://h:1", "/v1/chat", None, "/v1/chat", "http://h:1/v1/chat"),
        ("http://h", "/*", None, "/", "http://h/"),
        ("http://h/base", "/*", None, "/v1/chat", "http://h/base/v1/chat"),
        # not doubled
        ("http://h/v1", "/*", None, "/v1/chat", "http://h/v1/chat"),
        ("http://h/v1", "/*", None, "/v1", "http://h/v1"),
        ("http://h/v1", "/*", None, "/v1/", "http://h/v1/"),
        ("http://h/api/v1", "/*", None, "/v1/chat", "http://h/api/v1/chat"),
        ("http://h/api/v1", "/*", None, "/api/v1/chat", "http://h/api/v1/chat"),
        ("http://h/v1", "/*", None, "/chat", "http://h/v1/chat"),
        ("http://h/v1", "/*", None, "/v10/chat", "http://h/v1/v10/chat"),
        ("http://h/api/v1", "/*", None, "/api/chat", "http://h/api/v1/api/chat"),
        ("http://h/v1", "/*", None, "/v1/v1/chat", "http://h/v1/v1/chat"),
        # replaced
        ("http://h", "/chat", "/v1/chat", "/chat", "http://h/v1/chat"),
        ("http://h/v1", "/chat", "/v1/chat", "/chat", "http://h/v1/chat"),
        ("http://h", "/a/*", "/b", "/a/x/y", "http://h/b"),
        ("http://h", "/a/*", "/b/*", "/a/x/y", "http://h/b/x/y"),
        ("http://h", "/a/*", "/*", "/a/x/y", "http://h/x/y"),
        ("http://h", "/a/*", "/b/*/c", "/a/x", "http://h/b/x/c"),
        ("http://h", "/a/*", "/b/*", "/a/", "http://h/b/"),
        ("http://h/v1", "/a/*", "/v1/*", "/a/x", "http://h/v1/x"),
        ("http://h/v1", "/a/*", "/*", "/a/v1/x", "http://h/v1/x"),
        # raw, whatever is in it
        ("http://h", "/a/*", "/b/*", "/a/x%2Fy%20*", "http://h/b/x%2Fy%20*"),
        ("http://h", "/*", None, "/a//b/../c;d=@e", "http://h/a//b/../c;d=@e"),
        ("http://h", "/*", None, "//evil/x", "http://h//evil/x"),
    ],
)
def test_a_route_leads_to_a_url(url, path, upstream_path, asked, target):
    """The path asked for, or its replacement, behind the base URL; nothing is doubled."""
    route = Route("r", path, Upstream("u", url), upstream_path=upstream_path)
    assert route.target(asked) == target


SEGMENTS = st.lists(st.sampled_from(["v1", "api", "openai", "a%20b"]), max_size=4)


@given(SEGMENTS, SEGMENTS)
def test_a_path_is_put_behind_the_base_and_loses_nothing(base, asked):
    """The target begins with the base, ends with the path, and is as short as that allows."""
    base, asked = "".join(f"/{s}" for s in base), "".join(f"/{s}" for s in asked) or "/"
    target = Upstream("u", f"http://h{base}").join(asked).removeprefix("http://h")

    assert target.endswith(asked)
    assert target.startswith(base) or target == asked
    shorter = [
        base[:cut] + asked for cut in range(len(base)) if (base[:cut] + asked + "/").startswith(base + "/")
    ]
    assert target == min([*shorter, base + asked], key=len)


FULL = """
listen: "[::1]:0"
admin: {listen: 127.0.0.1:9000, token: t}
log: {level: debug, format: console}
on_store_error: local
drain: 1m
keepalive: 90
open: true
trusted_proxies: [10.0.0.0/8, 192.168.1.7, "::1"]
cors: {origins: [https://App.example.com, "*"]}
max_connections: 100.0
prices: {m: {input: 1, cached: 0.5, output: 2.5}, n: {input: 0, output: 0}}
upstreams:
  a:
    url: https://h/v1/
    dialect: openai
    headers: {Authorization: " Bearer x "}
    verify: false
    proxy: http://u:p@proxy:3128/
  b: {url: http://i, forward_client: false}
  c: {url: http://j, headers: {X-Api-Key: k}, forward_client: true}
defaults:
  batch: {size: 9}
  timeouts: {idle: 1m, total: off}
  heartbeat: 5s
  metadata: final
  models: {fast: x, slow: y}
  upstream: b
routes:
  - name: chat
    path: /chat
    model: gpt-*
    models: {fast: z}
    methods: [get, POST]
    upstream: a
    upstream_path: /v1/chat/completions
    output: native
    errors: stream
    batch: {delay: 0}
    metadata: null
    timeouts: {idle: off, connect: 1}
    hold: 0
    heartbeat: false
    on_disconnect: finish
    max_event: 1MiB
    max_stream: 2MiB
    max_body: 3MiB
    set: {temperature: 0, a: {b: [null]}}
    default: {max_tokens: 5}
    unset: [user]
    from_prompt: {default: hi, body: {messages: [{content: "{prompt}"}]}}
  - {path: /ask, from_prompt: {body: {p: "{prompt}"}}, batch: off, timeouts: null}
  - {path: /*}
"""


def test_a_full_config_becomes_settings():
    """Everything the file says is there, in seconds and bytes."""
    config = parse(FULL, "f", {})

    assert (config.listen, config.admin.listen, config.admin.token) == (
        Address("::1", 0),
        Address("127.0.0.1", 9000),
        "t",
    )
    assert (config.log.level, config.log.format, config.on_store_error) == ("debug", "console", "local")
    assert (config.drain, config.keepalive, config.open, config.max_connections) == (60.0, 90.0, True, 100)
    assert config.trusted_proxies == tuple(map(ip_network, ["10.0.0.0/8", "192.168.1.7/32", "::1/128"]))
    assert config.cors_origins == ("https://app.example.com", "*")
    assert config.prices == {"m": Price(1.0, 2.5, cached=0.5), "n": Price(0.0, 0.0, cached=None)}


def test_upstreams_know_whether_they_hold_a_credential():
    """`forward_client: auto` is no where they do."""
    upstreams = parse(FULL, "f", {}).upstreams
    a, b, c = upstreams["a"], upstreams["b"], upstreams["c"]

    assert (a.url, a.headers, a.verify, a.proxy) == (
        "https://h/v1",
        {"Authorization": "Bearer x"},
        False,
        "http://u:p@proxy:3128",
    )
    assert [(u.holds_credential, u.forward_client) for u in (a, b, c)] == [
        (True, False),
        (False, False),
        (True, True),
    ]
    assert from_upstream("http://h").upstreams["upstream"].forward_client is True


@pytest.mark.parametrize(
    "name",
    [
        *("Authorization", "authorization", "Proxy-Authorization", "X-Goog-Authenticated-User", "X-Auth"),
        *("X-Auth-Key", "x-api-key", "API-Key", "ApiKey", "x_api_key", "X-ApiKey-V2", "x-goog-api-key"),
        *("Ocp-Apim-Subscription-Key", "X-Vault-Token", "X-TOKEN-ID", "PRIVATE-TOKEN", "X-Client-Secret"),
        *("CF-Access-Client-Secret", "X-Amz-Security-Token", "X-Credentials", "X-Password", "X-Passwd"),
        *("Cookie", "Cookie2", "X-Session", "Session-Id", "X-Signature", "X-JWT-Assertion", "X-Bearer"),
    ],
)
def test_a_header_that_may_be_a_credential_is_one(name):
    """Judged by its name, generously: a no too many would let strangers spend the operator's money."""
    assert Upstream("u", "http://h", headers={"Content-Type": "a", name: "b"}).holds_credential


@pytest.mark.parametrize(
    "name",
    [
        *("Content-Type", "X-Title", "HTTP-Referer", "anthropic-version", "anthropic-beta", "OpenAI-Beta"),
        *(
            "OpenAI-Organization",
            "OpenAI-Project",
            "User-Agent",
            "Accept",
            "X-Team",
            "X-Region",
            "traceparent",
        ),
    ],
)
def test_a_header_that_only_describes_is_no_credential(name):
    """Such headers leave the caller's own credential where it is."""
    assert not Upstream("u", "http://h", headers={name: "b"}).holds_credential


def test_a_route_is_its_own_keys_over_the_defaults():
    """Mappings are merged key by key; `off`, false and null are one; null of a section says nothing."""
    chat, ask, rest = parse(FULL, "f", {}).routes

    assert (chat.name, chat.path, chat.prefix, chat.model) == ("chat", "/chat", None, "gpt-*")
    assert chat.models == {"fast": "z", "slow": "y"}
    assert chat.methods == {"GET", "POST"}
    assert (chat.upstream.name, chat.output, chat.errors) == ("a", "native", "stream")
    assert chat.target("/chat") == "https://h/v1/chat/completions"
    assert (chat.batch.size, chat.batch.delay) == (9, 0.0)
    assert dataclasses.astuple(chat.timeouts) == (1.0, 600.0, None, None, 60.0)
    assert (chat.metadata, chat.hold, chat.heartbeat, chat.on_disconnect) == ("off", 0.0, None, "finish")
    assert (chat.max_event, chat.max_stream, chat.max_body) == (1 << 20, 2 << 20, 3 << 20)
    assert (chat.set, chat.default, chat.unset) == (
        {"temperature": 0, "a": {"b": [None]}},
        {"max_tokens": 5},
        ("user",),
    )
    assert (chat.from_prompt.default, chat.from_prompt.body) == (
        "hi",
        {"messages": [{"content": "{prompt}"}]},
    )
    assert (ask.batch, ask.methods, ask.from_prompt.default) == (None, {"GET", "POST"}, None)
    assert dataclasses.astuple(ask.timeouts) == (5.0, 600.0, 60.0, None, 60.0)
    assert (rest.name, rest.prefix, rest.methods, rest.metadata, rest.heartbeat) == (
        "/*",
        "/",
        None,
        "final",
        5.0,
    )
    assert rest.upstream.name == "b"


def test_defaults_are_those_of_the_contract():
    """A config that says only where to go has the published defaults."""
    config = parse("upstreams: {a: {url: 'http://h'}}\nroutes: [{path: /v1/x}]\n", "f", {})
    route = config.routes[0]

    assert (str(config.listen), str(config.admin.listen)) == ("127.0.0.1:8080", "127.0.0.1:9464")
    assert (config.log.level, config.log.format, config.store) == ("info", "json", "memory")
    assert (config.on_store_error, config.drain, config.keepalive, config.open) == (
        "local",
        25.0,
        75.0,
        False,
    )
    assert (config.trusted_proxies, config.cors_origins, config.tls) == ((), (), None)
    assert (config.max_connections, config.prices, config.admin.token) == (None, {}, None)
    assert (route.upstream.dialect, route.upstream.verify, route.upstream.proxy) == ("auto", True, None)
    assert route.upstream.forward_client is True
    assert (route.name, route.model, route.models, route.methods) == ("/v1/x", None, {}, {"POST"})
    assert (route.output, route.errors, route.batch.size, route.batch.delay) == ("auto", "auto", 5, 0.04)
    assert dataclasses.astuple(route.timeouts) == (5.0, 600.0, 300.0, 3600.0, 60.0)
    assert (route.metadata, route.hold, route.heartbeat, route.on_disconnect) == (None, 10.0, 15.0, "cancel")
    assert (route.max_event, route.max_stream, route.max_body) == (16 << 20, 256 << 20, 64 << 20)
    assert (route.set, route.default, route.unset, route.from_prompt) == ({}, {}, (), None)


def places(tree, at=()):
    yield at
    inside = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in inside:
        yield from places(value, (*at, key))


TREE = read(FULL, "f", {}).tree
JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inside: st.lists(inside, max_size=2) | st.dictionaries(st.text(max_size=3), inside, max_size=2),
    max_leaves=3,
)


@given(st.sampled_from(list(places(TREE))[1:]), JUNK)
def test_any_value_in_any_place_is_taken_or_refused(path, junk):
    """No config, however wrong, makes another error than ConfigError."""
    tree = copy.deepcopy(TREE)
    parent = functools.reduce(lambda inside, key: inside[key], path[:-1], tree)
    parent[path[-1]] = junk

    try:
        config = parse(json.dumps(tree), "f", {})
    except ConfigError as exc:
        assert str(exc).startswith("f:1:")
    else:
        assert len(config.routes) == len(tree["routes"])


@pytest.mark.parametrize("word", ["off", "false", "null", "~", ""])
def test_off_false_and_null_mean_the_same(word):
    """Wherever `off` is allowed."""
    keys = ["batch", "heartbeat", "resume", "metadata"]
    text = f"admin: {word}\nupstreams: {{a: {{url: 'http://h'}}}}\nroutes:\n  - path: /*\n"
    text += "".join(f"    {key}: {word}\n" for key in keys)
    text += "    timeouts:\n" + "".join(
        f"      {key}: {word}\n" for key in ["connect", "idle", "total", "write"]
    )
    config = parse(text, "f", {})

    assert config.admin is None
    route = config.routes[0]
    assert (route.batch, route.heartbeat, route.metadata) == (None, None, "off")
    assert dataclasses.astuple(route.timeouts) == (None, 600.0, None, None, None)


def test_a_list_of_which_every_line_is_commented_out_says_nothing():
    """It is null to YAML, like a section; in a route it leaves the default as it is."""
    text = "trusted_proxies:\ncors:\n  origins:\ndefaults: {unset: [user]}\n"
    text += "upstreams: {a: {url: 'http://h'}}\nroutes:\n  - path: /*\n    unset:\n"
    config = parse(text, "f", {})

    assert (config.trusted_proxies, config.cors_origins, config.routes[0].unset) == ((), (), ("user",))


def test_settings_cannot_be_changed_and_routes_can_be_keys():
    """Running streams keep the config they began with."""
    config = from_upstream("http://h")

    with pytest.raises(dataclasses.FrozenInstanceError):
        config.open = True
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.routes[0].hold = 1.0
    assert {config.routes[0]: 1, config.routes[0].upstream: 2}


def test_one_url_is_a_whole_config():
    """`run --upstream`: every path goes there, all methods, the rest is default."""
    config = from_upstream("http://h/v1/", "0.0.0.0:80", "native")
    (route,) = config.routes

    assert (config.listen, route.path, route.methods, route.output) == (
        Address("0.0.0.0", 80),
        "/*",
        None,
        "native",
    )
    assert route.target("/v1/chat/completions") == "http://h/v1/chat/completions"
    assert from_upstream("http://h").routes[0].output == "auto"
    assert str(from_upstream("http://h").listen) == "127.0.0.1:8080"
    assert from_upstream("http://h/$$/${X}").routes[0].target("/a") == "http://h/$$/${X}/a"


def test_check_prints_where_each_route_goes():
    """One line a route, with the whole URL."""
    assert route_lines(parse(FULL, "f", {})) == [
        "GET,POST /chat (model gpt-*) → https://h/v1/chat/completions  dialect openai, output native",
        "GET,POST /ask → http://i/ask  dialect auto, output auto",
        "* /* → http://i/*  dialect auto, output auto",
    ]


def test_a_file_is_loaded_with_the_environment(tmp_path, monkeypatch):
    """The process's environment, unless another one is given; a byte order mark is no fault."""
    path = tmp_path / "ssegate.yaml"
    path.write_bytes(b"\xef\xbb\xbfupstreams: {a: {url: '${GATE_TEST_URL}'}}\nroutes: [{path: /*}]\n")
    monkeypatch.setenv("GATE_TEST_URL", "http://one")

    assert load(path).upstreams["a"].url == "http://one"
    assert load(path, {"GATE_TEST_URL": "http://two"}).upstreams["a"].url == "http://two"


def test_a_file_that_cannot_be_read_is_a_config_error(tmp_path):
    """Missing, a folder, or no text."""
    bad = tmp_path / "bad.yaml"
    bad.write_bytes(b"a: 1\nb: \xff\n")

    with pytest.raises(
        ConfigError, match=r"cannot read: No such file or directory \(name another with -c FILE"
    ):
        load(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match="cannot read: Is a directory"):
        load(tmp_path)
    with pytest.raises(ConfigError) as caught:
        load(bad)
    assert str(caught.value) == f"{bad}:2:1: not UTF-8 text (save the file as UTF-8)"


CUSTOM = """
upstreams:
  a:
    url: http://h
    dialect:
      framing: ndjson
      text: [output.token, choices.0.text]
      reasoning: output.thought
      finish_reason: output.stop
      usage: {input: stats.in, output: [stats.out, n]}
      error: error.message
      done: " [DONE] "
  b: {url: "http://h", dialect: {framing: sse, text: t}}
  c: {url: "http://h", dialect: {framing: text}}
routes: [{path: /a, upstream: a}, {path: /b, upstream: b}, {path: /c, upstream: c}]
"""


def test_a_custom_dialect_is_a_description():
    """Paths are cut into their parts, one or several; what is not said is not looked for."""
    config = parse(CUSTOM, "f", {})

    assert config.upstreams["a"].dialect == Description(
        framing="ndjson",
        text=(("output", "token"), ("choices", "0", "text")),
        reasoning=(("output", "thought"),),
        finish_reason=(("output", "stop"),),
        input_tokens=(("stats", "in"),),
        output_tokens=(("stats", "out"), ("n",)),
        error=(("error", "message"),),
        done=b"[DONE]",
    )
    assert config.upstreams["b"].dialect == Description("sse", text=(("t",),))
    assert config.upstreams["c"].dialect == "text"
    assert [line.partition("dialect ")[2] for line in route_lines(config)] == [
        "custom (ndjson), output auto",
        "custom (sse), output auto",
        "text, output auto",
    ]
