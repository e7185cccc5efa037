"""Cross checks, refusals, and what is not built yet."""

import re
from pathlib import Path
from textwrap import indent

import pytest

from ssegate.config import from_upstream, parse
from ssegate.wire.errors import ConfigError


def problems(text, **env):
    """The first line of each block of the report, without the file."""
    try:
        parse(text, "f", env)
    except ConfigError as exc:
        return [line[2:] for line in str(exc).split("\n") if line.startswith("f:")]
    return []


def routes(*lines, upstreams="{a: {url: 'http://h'}}"):
    return f"upstreams: {upstreams}\nroutes:\n" + "".join(f"  - {line}\n" for line in lines)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("{path: /a}", "{path: /a, name: b}"),
        ("{path: /*}", "{path: /v1/chat/completions}"),
        ("{path: /v1/*}", "{path: /v1/a/*}"),
        ("{path: /a, model: 'gpt-*'}", "{path: /a, name: b, model: 'gpt-*'}"),
        ("{path: /a}", "{path: /a, name: b, model: 'gpt-*'}"),
        ("{path: /a, methods: [GET, POST]}", "{path: /a, name: b}"),
        ("{path: /a/*}", "{path: /a/b, methods: [GET]}"),
    ],
)
def test_a_route_behind_one_that_takes_all_is_never_reached(first, second):
    """First match wins, so what comes second is dead."""
    assert problems(routes(first, second)) == [
        "4:5: routes[1]: is never reached: routes[0] takes its requests (first match wins: move this up)"
    ]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("{path: /a}", "{path: /b}"),
        ("{path: /v1/chat}", "{path: /*}"),
        ("{path: /a, model: 'gpt-*'}", "{path: /a, name: b}"),
        ("{path: /a, model: 'gpt-*'}", "{path: /a, name: b, model: 'claude-*'}"),
        ("{path: /a, methods: [GET]}", "{path: /a, name: b}"),
        ("{path: /a/*, methods: [POST]}", "{path: /a/b/*}"),
        ("{path: /a/*}", "{path: /a}"),
        ("{path: /a/*}", "{path: /ab}"),
        ("{path: /a}", "{path: /a/*}"),
    ],
)
def test_a_route_that_can_be_reached_is_fine(first, second):
    """Other paths, models or methods leave something over."""
    assert problems(routes(first, second)) == []


def test_names_of_routes_differ():
    """The name is a label in logs and metrics; unless said it is the path."""
    same = "has the same name (default: the path): say another `name`"

    assert problems(routes("{path: /a, model: x}", "{path: /a, model: y}")) == [
        f"4:5: routes[1]: routes[0] {same}"
    ]
    assert problems(routes("{path: /a, name: n}", "{path: /b, name: n}")) == [
        f"4:22: routes[1].name: routes[0] {same}"
    ]


def test_an_upstream_may_be_left_out_where_there_is_one():
    """With two of them it must be said."""
    two = "{a: {url: 'http://h'}, b: {url: 'http://i'}}"

    assert problems(routes("{path: /*}")) == []
    assert problems(routes("{path: /*}", upstreams=two)) == [
        "3:5: routes[0].upstream: is needed: one of a, b"
    ]
    assert problems("defaults: {upstream: b}\n" + routes("{path: /*}", upstreams=two)) == []


def test_a_wrong_default_is_told_where_it_stands():
    """Once, at the defaults, however many routes have it from there."""
    text = "defaults: {upstream: b, hold: x}\n" + routes("{path: /a}", "{path: /b}")
    assert problems(text) == [
        "1:22: defaults.upstream: there is no such upstream (known: a)",
        "1:31: defaults.hold: expected a duration such as 250ms, 30s, 2m, 1h30m, or a number of seconds",
    ]


@pytest.mark.parametrize(
    ("defaults", "route", "place"),
    [
        ("{}", "output: raw, batch: {size: 9}", "4:29: routes[0].batch"),
        ("{}", "output: raw, batch: {}", "4:29: routes[0].batch"),
        ("{}", "output: raw, metadata: final", "4:29: routes[0].metadata"),
        ("{output: raw}", "metadata: every", "4:16: routes[0].metadata"),
    ],
)
def test_raw_bytes_have_neither_batches_nor_metadata(defaults, route, place):
    """Nothing that a route says is silently ignored; the caret is at the key."""
    found = problems(f"defaults: {defaults}\n" + routes(f"{{path: /*, {route}}}"))

    what = "does nothing: raw output is the upstream's bytes, untouched (leave this out)"
    assert found == [f"{place}: {what}"]


@pytest.mark.parametrize(
    ("defaults", "route"),
    [
        ("{batch: {size: 9}, metadata: final}", "output: raw"),
        ("{output: raw, batch: {size: 9}, metadata: final}", "name: a"),
        ("{batch: {size: 9}, metadata: final}", "output: raw, batch: off, metadata: off"),
        ("{output: raw}", "output: native, batch: {size: 9}, metadata: final"),
    ],
)
def test_defaults_are_for_the_other_routes_and_off_is_what_raw_does(defaults, route):
    """Neither asks raw output for anything."""
    assert problems(f"defaults: {defaults}\n" + routes(f"{{path: /*, {route}}}")) == []


@pytest.mark.parametrize(
    "end", ["/chat/completions", "/v1/messages", "/v1/responses", "/api/chat", "/completions/"]
)
def test_an_endpoint_is_no_base_url(end):
    """Who pastes an endpoint hears that a base is wanted, before paths are doubled."""
    found = problems(routes("{path: /*}", upstreams=f"{{a: {{url: 'http://h{end}'}}}}"))

    assert len(found) == 1
    assert found[0].startswith("1:22: upstreams.a.url: a base URL is needed: leave out /")


@pytest.mark.parametrize(
    ("url", "route", "fine"),
    [
        ("https://h/v1beta/openai", "{path: /v1/chat/completions}", False),
        ("https://h/v1/openai", "{path: /v1/*}", False),
        ("https://h/v1beta/openai", "{path: /v1/*, upstream_path: /*}", True),
        ("https://h/v1/acct/gw/anthropic", "{path: /v1/messages, upstream_path: /v1/messages}", True),
        ("https://h/v1beta/openai", "{path: /*}", True),
        ("https://h/v1beta/openai", "{path: /chat/completions}", True),
        ("https://h/api/v1", "{path: /v1/chat/completions}", True),
        ("https://h/openai", "{path: /v1/chat/completions}", True),
        ("https://h/v1", "{path: /v1/*}", True),
    ],
)
def test_two_versions_in_one_path_are_told_unless_meant(url, route, fine):
    """`…/v1beta/openai/v1/chat/completions` is a mistake of base URLs; `upstream_path` says it is none."""
    found = problems(routes(route, upstreams=f"{{a: {{url: '{url}'}}}}"))

    assert (
        found == []
        if fine
        else found[0].startswith("3:12: routes[0].path: this path and the upstream's URL each")
    )


@pytest.mark.parametrize(
    ("listen", "url", "loops"),
    [
        ("127.0.0.1:8080", "http://127.0.0.1:8080", True),
        ("127.0.0.1:8080", "http://localhost:8080/v1", True),
        ("0.0.0.0:8080", "http://[::1]:8080", True),
        ("10.0.0.1:80", "http://10.0.0.1", True),
        ("127.0.0.1:8080", "http://127.0.0.1:8081", False),
        ("0.0.0.0:443", "https://api.openai.com", False),
        ("unix:/run/gate.sock", "http://127.0.0.1:8080", False),
    ],
)
def test_the_gate_is_not_its_own_upstream(listen, url, loops):
    """A request that comes back to the gate would go round for ever."""
    found = problems(f"listen: {listen}\n" + routes("{path: /*}", upstreams=f"{{a: {{url: '{url}'}}}}"))

    assert [line.split(": ")[1] for line in found] == (["upstreams.a.url"] if loops else [])


def test_the_admin_port_is_another_one():
    """Both on one address cannot be opened; two free ports can."""
    text = routes("{path: /*}")
    assert problems("listen: 127.0.0.1:9464\n" + text) == [
        "1:1: admin: is the address of `listen`: the admin port is another one"
    ]
    assert problems("listen: 127.0.0.1:0\nadmin: 127.0.0.1:0\n" + text) == []
    assert problems("listen: 127.0.0.1:9464\nadmin: off\n" + text) == []


CREDENTIALS = [
    "Authorization",
    "x-api-key",
    "API-Key",
    "x-goog-api-key",
    "Cookie",
    "X-My-Token",
    "Ocp-Apim-Key",
    "X-Auth",
    "X-Client-Secret",
]


def guarded(listen, header, extra=""):
    upstreams = f"{{a: {{url: 'http://h', headers: {{{header}: s}}}}, b: {{url: 'http://i'}}}}"
    return problems(f"listen: '{listen}'\n{extra}\n" + routes("{path: /*, upstream: a}", upstreams=upstreams))


@pytest.mark.parametrize("header", CREDENTIALS)
def test_a_credential_is_not_spent_for_everybody(header):
    """Others can reach the gate, and it would pay for them: refused."""
    (line,) = guarded("0.0.0.0:8080", header)
    assert line.startswith(
        "1:9: listen: others can reach this address and spend the credential of upstream a, "
    )


@pytest.mark.parametrize(
    "listen", ["127.0.0.1:8080", "localhost:8080", "[::1]:8080", "127.9.9.9:1", "unix:/a"]
)
def test_on_this_machine_a_credential_may_be_spent(listen):
    """Loopback and Unix sockets are for this machine only."""
    assert guarded(listen, "Authorization") == []


@pytest.mark.parametrize("listen", ["0.0.0.0:8080", "[::]:8080", "10.0.0.5:8080", "gate.example.com:80"])
def test_everywhere_else_it_may_not(listen):
    """Any other address can be reached by others."""
    assert len(guarded(listen, "Authorization")) == 1


def test_open_says_that_it_is_meant():
    """`open: true` takes the refusal away, and nothing else does."""
    assert guarded("0.0.0.0:8080", "Authorization", "open: true") == []
    assert guarded("0.0.0.0:8080", "X-Team") == []


def test_a_credential_that_no_route_spends_is_no_danger():
    """Only upstreams that a route uses count."""
    upstreams = "{a: {url: 'http://h', headers: {Authorization: s}}, b: {url: 'http://i'}}"
    text = "listen: 0.0.0.0:8080\n" + routes("{path: /*, upstream: b}", upstreams=upstreams)
    assert problems(text) == []


def test_keys_or_limits_guard_a_credential():
    """With either of them the refusal is silent."""
    for extra in (
        "keys: [{name: a, value: b}]",
        "limits: {requests: 1/second}",
        "limits: {global: {streams: 1}}",
    ):
        assert not [line for line in guarded("0.0.0.0:8080", "Cookie", extra) if "listen" in line]
    assert len(guarded("0.0.0.0:8080", "Cookie", "limits: {by: key}")) == 1


@pytest.mark.parametrize(
    ("extra", "path", "what"),
    [
        ("defaults: {resume: {keep: 1m}}", "defaults.resume", "resume is"),
        ("defaults: {upstream: [a]}", "defaults.upstream", "failover over a list of upstreams is"),
    ],
)
def test_a_feature_of_later_is_an_error_that_says_so(extra, path, what):
    """Nothing that is asked for is silently ignored."""
    (line,) = problems(f"{extra}\n" + routes("{path: /*}"))
    assert line.split(": ", 1)[1] == f"{path}: {what} not built yet in this version"


@pytest.mark.parametrize(
    ("route", "path", "what"),
    [
        ("resume: {}", "resume", "resume is"),
        ("resume: {keep: 2m, grace: 30s, max_bytes: 4MiB}", "resume", "resume is"),
        ("upstream: [a, a]", "upstream", "failover over a list of upstreams is"),
    ],
)
def test_a_feature_of_later_in_a_route_is_an_error_that_says_so(route, path, what):
    """The same for routes."""
    (line,) = problems(routes(f"{{path: /*, {route}}}"))
    assert line.split(": ", 1)[1] == f"routes[0].{path}: {what} not built yet in this version"


@pytest.mark.parametrize("output", ["anthropic", "responses"])
@pytest.mark.parametrize("dialect", ["openai", "gemini", "bedrock", "{framing: sse, text: a}"])
def test_an_output_of_one_dialect_has_an_upstream_that_speaks_it(output, dialect):
    """What can be told before any request is told then: no other stream fits these outputs."""
    upstreams = f"{{a: {{url: 'http://h', dialect: {dialect}}}}}"
    seen = "custom (sse)" if dialect.startswith("{") else dialect

    (line,) = problems(routes(f"{{path: /*, output: {output}}}", upstreams=upstreams))

    assert line.split(": ", 1)[1] == (
        f"routes[0].output: is for upstreams that speak {output}, and the upstream `a` speaks {seen} "
        "(native, openai, vercel and text fit all)"
    )


@pytest.mark.parametrize("output", ["anthropic", "responses"])
def test_an_output_of_one_dialect_may_wait_and_see(output):
    """What an upstream speaks that is its own, or is found out by itself, shows in its streams."""
    for dialect in ("auto", output):
        upstreams = f"{{a: {{url: 'http://h', dialect: {dialect}}}}}"
        assert problems(routes(f"{{path: /*, output: {output}}}", upstreams=upstreams)) == []


def described(dialect):
    return problems(routes("{path: /*}", upstreams=f"{{a: {{url: 'http://h', dialect: {dialect}}}}}"))


@pytest.mark.parametrize(
    "dialect",
    [
        "{framing: sse, text: [a.b, c.0], usage: {input: a, output: b}, error: e, done: '[DONE]'}",
        "{framing: ndjson, reasoning: a, text: null}",
        "{framing: json-array, text: a}",
        "{framing: eventstream, text: a}",
        "{framing: text}",
        "{framing: text, done: null, usage: null}",
    ],
)
def test_a_custom_dialect_is_fine(dialect):
    """It says where the answer is; plain text has nothing to say."""
    assert described(dialect) == []


def test_the_documented_custom_dialect_is_fine():
    """What docs/configuration.md shows can be copied."""
    page = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text("utf-8")
    (block,) = re.findall(r"```yaml\n(dialect:\n.*?)```", page, re.DOTALL)
    upstream = indent("url: http://h\n" + block, "    ")

    assert problems(f"upstreams:\n  a:\n{upstream}\nroutes: [{{path: /*}}]\n") == []


def test_a_custom_dialect_says_where_the_answer_is():
    """Without a path to any of it there would be none."""
    for dialect in ("{framing: sse}", "{framing: ndjson, finish_reason: a, text: null}"):
        (line,) = described(dialect)
        assert "dialect.text: is needed: the path of the answer in each payload, such as output.token" in line


def test_plain_text_has_no_payloads_to_look_into():
    """What stands beside that framing would do nothing."""
    found = described("{framing: text, text: a, done: x}")

    assert [line.split(": ")[1] for line in found] == ["upstreams.a.dialect.text", "upstreams.a.dialect.done"]
    assert all("does nothing: with framing text the body is the answer" in line for line in found)


def test_a_path_that_could_not_be_replaced_is_complained_of_once():
    """The variable is missing; what the path would be is not known."""
    (line,) = described("{framing: sse, text: '${TEXT_PATH}'}")

    assert line.endswith("TEXT_PATH is not set (a default: ${TEXT_PATH:-…})")


@pytest.mark.parametrize(
    "extra",
    [
        "limits: {by: key, on_exhausted: finish}",
        "limits: {by: key, global: {}}",
        "limits: {requests: off, tokens: null, streams: false}",
        "limits:",
        "store: memory",
        "on_store_error: local",
        "defaults: {resume: off, limits: {}, batch: {mode: fixed}, output: raw}",
        "defaults: {resume: false}",
        "defaults: {resume: null}",
        "prices: {gpt-4o: {input: 2.50, cached: 1.25, output: 10.00}}",
    ],
)
def test_leaving_a_feature_of_later_at_its_default_is_no_use_of_it(extra):
    """What limits, keeps or shares nothing is fine."""
    assert problems(f"{extra}\n" + routes("{path: /*}")) == []


@pytest.mark.parametrize(
    "dialect",
    ["auto", "openai", "anthropic", "ollama", "cohere", "tgi", "llamacpp", "replicate", "watsonx", "text"],
)
def test_built_dialects_are_fine(dialect):
    """Each can be named."""
    assert problems(routes("{path: /*}", upstreams=f"{{a: {{url: 'http://h', dialect: {dialect}}}}}")) == []


@pytest.mark.parametrize("output", ["auto", "native", "openai", "same", "raw"])
def test_built_outputs_are_fine(output):
    """Each can be named."""
    assert problems(routes(f"{{path: /*, output: {output}}}")) == []


# Of a key that nobody has any more.
AUTHORITY = """\
-----BEGIN CERTIFICATE-----
MIIBbTCCAROgAwIBAgIUIraTxKy0uIYlqg+mA+YHvNEY7WMwCgYIKoZIzj0EAwIw
DDEKMAgGA1UEAwwBYTAeFw0yNjExMjUxMDE2NDlaFw0yNjExMjcxMDE2NDlaMAwx
CjAIBgNVBAMMAWEwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAAQ3a2Ne1/fVzBVp
Yy3Nl4nY4U+cFIGwd4duND8Zkh0qxX81C8UmR4TcibyEpypZz3c7Nv6Nnxc3WJ5O
xwhPS6L9o1MwUTAdBgNVHQ4EFgQUnQcMlxrgVo4WhN9xcs6dLpPpU70wHwYDVR0j
BBgwFoAUnQcMlxrgVo4WhN9xcs6dLpPpU70wDwYDVR0TAQH/BAUwAwEB/zAKBggq
hkjOPQQDAgNIADBFAiB5YpxHkfIXnakjKAnwO9AncgKyc0hfU2cD+QkeVWjKdQIh
ANCxakph6jPS0VkAbHEoiZ+/LyutukQWv8KkIKn9M0Rj
-----END CERTIFICATE-----
"""


@pytest.mark.parametrize("content", ["", "hello", AUTHORITY.replace("MIIB", "XXXX"), AUTHORITY[:200]])
def test_a_file_without_authorities_is_told(tmp_path, content):
    """Each request to the upstream would fail with it, long after the start."""
    (tmp_path / "ca.pem").write_text(content)
    upstreams = f"{{a: {{url: 'https://h', verify: {tmp_path}/ca.pem}}}}"

    (line,) = problems(routes("{path: /*}", upstreams=upstreams))
    assert line.startswith("1:43: upstreams.a.verify: there is no certificate in this file: expected PEM")


def test_files_are_looked_for_beside_the_config(tmp_path):
    """A certificate that is not there is told before the gate starts."""
    text = "tls: {cert: cert.pem, key: key.pem}\n"
    text += routes("{path: /*}", upstreams="{a: {url: 'https://h', verify: ca.pem}}")
    (tmp_path / "cert.pem").write_text("")
    (tmp_path / "ca.pem").write_text(AUTHORITY)

    with pytest.raises(ConfigError) as caught:
        parse(text, str(tmp_path / "f.yaml"))
    assert str(caught.value).startswith(
        f"{tmp_path}/f.yaml:1:28: tls.key: cannot read this file: No such file"
    )
    (tmp_path / "key.pem").write_text("")
    config = parse(text, str(tmp_path / "f.yaml"))
    assert (config.tls.cert, config.tls.key) == (f"{tmp_path}/cert.pem", f"{tmp_path}/key.pem")
    assert config.upstreams["a"].verify == f"{tmp_path}/ca.pem"


def test_files_are_looked_for_beside_a_config_in_a_folder_below(tmp_path, monkeypatch):
    """The folder is not put before their names twice."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "ca.pem").write_text(AUTHORITY)
    text = routes("{path: /*}", upstreams="{a: {url: 'https://h', verify: ca.pem}}")

    assert parse(text, "conf/f.yaml", {}).upstreams["a"].verify == "conf/ca.pem"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"url": "localhost:8000"}, "--upstream: expected a URL that begins with http:// or https://"),
        (
            {"url": "http://h/v1/chat/completions"},
            "--upstream: a base URL is needed: leave out /chat/completions",
        ),
        ({"url": "http://h", "listen": "8080"}, "--listen: expected host:port"),
        (
            {"url": "http://h", "output": "opnai"},
            "--output: expected auto, native, openai, anthropic, responses, ",
        ),
        ({"url": "http://127.0.0.1:8080"}, "--upstream: is the gate itself"),
    ],
)
def test_a_command_line_has_the_same_checks(options, message):
    """Problems are named by their options; there is no line to show."""
    with pytest.raises(ConfigError) as caught:
        from_upstream(**{"listen": None, "output": None} | options)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "keys: [{name: a, value: b}]",
        "limits: {by: ip, requests: [10/second, 1000/hour], streams: 5}",
        "limits: {by: 'header:X-User'}\ndefaults: {limits: {global: {tokens: 1/day}}}",
        "limits: {on_exhausted: cut}\nkeys: [{name: a, value: b, limits: {tokens: 1/day}}]",
        "limits: {by: ip}\nkeys: [{name: a, value: b, limits: {requests: 1/day}}]",
        "limits: {cost: [5.00/day, 100 per month], tokens: 9/day}\nprices: {m: {input: 1, output: 1}}",
        "store: rediss://:secret@localhost:6379/0\non_store_error: deny",
    ],
)
def test_keys_and_limits_that_count_are_fine(text):
    """In every form."""
    assert problems(f"{text}\n" + routes("{path: /*}")) == []


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            "limits: {on_exhausted: cut, requests: 1/day}",
            "limits.on_exhausted: does nothing: there is no limit",
        ),
        ("limits: {by: ip}", "limits.by: does nothing: there is no limit (such as `requests: 60/minute`)"),
        ("limits: {by: 'header:X-User', requests: off}", "limits.by: does nothing: there is no limit"),
        ("on_store_error: deny", "on_store_error: does nothing without a shared store: `store: redis://…`"),
        ("limits: {cost: 5/day}", "limits.cost: needs `prices`: without them nothing costs anything"),
        ("defaults: {limits: {global: {cost: 5/day}}}", "defaults.limits.global.cost: needs `prices`"),
        ("keys: [{name: a, value: b}, {name: c, value: b}]", "keys[1]: keys[0] is the same key"),
        ("limits: {requests: [1/second, 2/second]}", "limits.requests: a period may stand in the list only"),
        ("limits: {requests: []}", "limits.requests: expected a rate"),
        ("limits: {requests: 600000000/minute}", "limits.requests: a rate per minute and its burst must be"),
        ("limits: {cost: 5}\nprices: {m: {input: 1, output: 1}}", "limits.cost: expected dollars a period"),
    ],
)
def test_what_counts_nothing_or_wrongly_is_told(text, line):
    """Nobody believes in a limit that is none."""
    (found,) = problems(f"{text}\n" + routes("{path: /*}"))
    assert found.split(": ", 1)[1].startswith(line)
