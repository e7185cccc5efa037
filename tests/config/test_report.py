"""How problems are shown: all at once, each with its place, line, caret and a suggestion."""

import hashlib

import pytest

from ssegate.config import parse
from ssegate.wire.errors import ConfigError

GOOD = "upstreams: {a: {url: 'http://h'}}\nroutes: [{path: /*}]\n"


def report(text, **env):
    with pytest.raises(ConfigError) as caught:
        parse(text, "ssegate.yaml", env)
    return str(caught.value)


def test_every_problem_is_told_at_once():
    """Reader, model and cross checks speak together, in the order of the file."""
    text = """\
listen: 8080
drain: 25 seconds
upstreams:
  openai:
    url: https://api.openai.com
    dialect: opneai
    headers: {Authorization: "Bearer ${OPENAI_API_KEY}"}
  other: {url: "ftp://x"}
routes:
  - path: /v1/chat/completions
    upstream: opena
    timeouts: {idle: 30x, idle_timout: 5s}
    metadata: never
    hold: 1s
    hold: 2s
  - path: v1/*
    resume: {}
"""
    assert report(text) == (
        """\
ssegate.yaml:1:9: listen: expected host:port, such as 127.0.0.1:8080 or [::1]:8080, or unix:/path
listen: 8080
        ^
ssegate.yaml:2:8: drain: expected a duration such as 250ms, 30s, 2m, 1h30m, \
or a number of seconds
drain: 25 seconds
       ^
ssegate.yaml:6:14: upstreams.openai.dialect: expected auto, openai, responses, anthropic, gemini, bedrock, \
ollama, cohere, tgi, llamacpp, replicate, watsonx or text (did you mean openai?)
    dialect: opneai
             ^
ssegate.yaml:7:30: upstreams.openai.headers.Authorization: OPENAI_API_KEY is not set \
(a default: ${OPENAI_API_KEY:-…})
    headers: {Authorization: "Bearer ${OPENAI_API_KEY}"}
                             ^
ssegate.yaml:8:16: upstreams.other.url: expected a URL that begins with http:// or https://
  other: {url: "ftp://x"}
               ^
ssegate.yaml:11:15: routes[0].upstream: there is no such upstream (did you mean openai?)
    upstream: opena
              ^
ssegate.yaml:12:22: routes[0].timeouts.idle: expected a duration such as 250ms, 30s, 2m, 1h30m, \
or a number of seconds, or off
    timeouts: {idle: 30x, idle_timout: 5s}
                     ^
ssegate.yaml:12:27: routes[0].timeouts.idle_timout: unknown key (did you mean idle?)
    timeouts: {idle: 30x, idle_timout: 5s}
                          ^
ssegate.yaml:13:15: routes[0].metadata: expected off, final or every (did you mean every?)
    metadata: never
              ^
ssegate.yaml:15:5: routes[0].hold: duplicate key (first on line 14)
    hold: 2s
    ^
ssegate.yaml:16:5: routes[1].upstream: is needed: one of openai, other
  - path: v1/*
    ^
ssegate.yaml:16:11: routes[1].path: a path begins with /
  - path: v1/*
          ^
ssegate.yaml:17:13: routes[1].resume: resume is not built yet in this version
    resume: {}
            ^"""
    )


def test_a_tab_before_the_place_stays_a_tab():
    """The caret stands under the value wherever the terminal puts its tab stops."""
    assert report('prices: {"a\tb": {input: x, output: 1}}\n' + GOOD) == (
        'ssegate.yaml:1:25: prices["a\tb"].input: expected a number\n'
        'prices: {"a\tb": {input: x, output: 1}}\n'
        "           \t            ^"
    )


def test_one_mistake_under_an_anchor_is_told_once():
    """An alias repeats the value, not the complaint."""
    text = "x-t: &t {idle: 1x}\nupstreams: {a: {url: 'http://h'}}\nroutes:\n"
    text += "  - {path: /a, timeouts: *t}\n  - {path: /b, timeouts: *t}\n"

    assert report(text).count("expected a duration") == 1


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("lisen: 1", "1:1: lisen: unknown key (did you mean listen?)"),
        ("heartbeat: 5s", "1:1: heartbeat: unknown key (it belongs in a route, or in defaults)"),
        ("log: {lvl: info}", "1:7: log.lvl: unknown key (did you mean level?)"),
        ("log: {zzz: info}", "1:7: log.zzz: unknown key (known: level, format)"),
        ("cors: {origin: []}", "1:8: cors.origin: unknown key (did you mean origins?)"),
        ("admin: {port: 1}", "1:9: admin.port: unknown key (known: listen, token)"),
        (
            "prices: {gpt-4.1: {in: 1, input: 1, output: 1}}",
            '1:20: prices["gpt-4.1"].in: unknown key (known: ',
        ),
        ("defaults: {idle_timeout: 1}", "1:12: defaults.idle_timeout: unknown key (did you mean timeouts?)"),
        (
            "defaults: {heartbeat_interval: 1}",
            "1:12: defaults.heartbeat_interval: unknown key (did you mean h",
        ),
        ("limits: {global: {stream: 1}}", "1:19: limits.global.stream: unknown key (did you mean streams?)"),
        (
            "log: {level: warn}",
            "1:14: log.level: expected debug, info, warning or error (did you mean warning?)",
        ),
        (
            "log: {level: WARN}",
            "1:14: log.level: expected debug, info, warning or error (did you mean warning?)",
        ),
        ("log: {level: 5}", "1:14: log.level: expected debug, info, warning or error"),
        ("log: [info]", "1:6: log: expected a mapping"),
        ("open: yes", "1:7: open: expected true or false (yes, no, on and off are texts in YAML 1.2)"),
        ("open: 'true'", "1:7: open: expected true or false (without quotes)"),
        ("open: 1", "1:7: open: expected true or false"),
        (
            "admin: no",
            "1:8: admin: expected host:port, such as 127.0.0.1:8080 or [::1]:8080, or unix:/path, or off",
        ),
        ("admin: 9464", "1:8: admin: expected host:port"),
        ("admin: true", "1:8: admin: expected host:port"),
        ("admin: 0", "1:8: admin: expected host:port"),
        ("admin: [a]", "1:8: admin: expected host:port"),
        ("listen: 127.0.0.1:70000", "1:9: listen: a port is at most 65535 (0: any free one)"),
        ("admin: {listen: '[::1]:123456'}", "1:17: admin.listen: a port is at most 65535"),
        ("timeout: 5s", "1:1: timeout: unknown key (did you mean timeouts, in a route or in defaults?)"),
        ("dialect: openai", "1:1: dialect: unknown key (it belongs in an upstream)"),
        ("port: 80", "1:1: port: unknown key (`listen` says it, such as 127.0.0.1:8080)"),
        (
            "api_key: k",
            "1:1: api_key: unknown key (a credential stands in `headers` of an upstream, such as {Au",
        ),
        ("log: info", "1:6: log: expected a mapping of level and format\n"),
        ("tls: cert.pem", "1:6: tls: expected a mapping of cert and key\n"),
        (
            "log: level:info",
            "1:6: log: expected a mapping of level and format (a space is needed behind each `:`)",
        ),
        ("limits: off", "1:9: limits: expected a mapping with keys such as requests, tokens and streams\n"),
        (
            "limits: [{by: key}]",
            "1:9: limits: expected a mapping with keys such as requests, tokens and streams (with",
        ),
        (
            "limits: {global: {by: key}}",
            "1:19: limits.global.by: unknown key (known: requests, tokens, streams, input_tokens, ",
        ),
        ("prices: 5", "1:9: prices: expected a mapping such as `name: …`\n"),
        (
            "prices: {m: }",
            "1:13: prices.m: is empty: expected a mapping of input, cached and output, indented below",
        ),
        (
            "prices: {input: 1}",
            "1:17: prices.input: expected a mapping of input, cached and output (is `input` indented too",
        ),
        ("prices: {m: {input: '1', output: 1}}", "1:21: prices.m.input: expected a number (without quotes)"),
        (
            "keepalive: 1000000000",
            "1:12: keepalive: a duration must be at most 366d (a number without a unit is seconds)",
        ),
        ("trusted_proxies: {a: b}", "1:18: trusted_proxies: expected a list (each entry begins with `- `)"),
        ("trusted_proxies: 10.0.0.1", "1:18: trusted_proxies: expected a list, in [ ]"),
        ("store: rdis://x", "1:8: store: expected memory or redis://host:6379/0"),
        ("admin: nowhere", "1:8: admin: expected host:port"),
        ("admin: {listen: ''}", "1:17: admin.listen: expected host:port"),
        ("listen: ':8080'", "1:9: listen: say which interface: 127.0.0.1:PORT, or 0.0.0.0:PORT for all"),
        ("keepalive: 0", "1:12: keepalive: must be more than 0"),
        ("max_connections: 0", "1:18: max_connections: expected auto or a whole number of at least 1"),
        ("trusted_proxies: [10.0.0.0/99]", "1:19: trusted_proxies[0]: expected a network such as 10.0.0.0/8"),
        ("trusted_proxies: 10.0.0.0/8", "1:18: trusted_proxies: expected a list"),
        ("cors: {origins: [https://a.b/]}", "1:18: cors.origins[0]: expected an origin such as https://app"),
        ("tls: {cert: a}", "1:6: tls.key: is needed"),
        ("prices: {m: {input: -1, output: 1}}", "1:21: prices.m.input: must be at least 0"),
        ("prices: {m: {input: .nan, output: 1}}", "1:21: prices.m.input: expected a finite number"),
        ("prices: {m: {input: a, output: 1}}", "1:21: prices.m.input: expected a number"),
        ("keys: []", "1:7: keys: must not be empty"),
        ("keys: [{name: a, hash: abc}]", "1:24: keys[0].hash: expected sha256: and 64 hexadecimal digits"),
        ("keys: [{name: a}]", "1:8: keys[0]: exactly one of `hash` and `value` is needed"),
        (
            f"keys: [{{name: a, hash: sha256:{hashlib.sha256().hexdigest()}}}]",
            "1:24: keys[0].hash: is the hash of nothing at all: the key was empty",
        ),
        ("keys: [{name: '-', value: a}]", "1:15: keys[0].name: expected a name"),
        ("keys: [{name: a, value: a}, {name: a, value: b}]", "1:36: keys[1].name: keys[0] has the same name"),
        ("limits: {by: user}", "1:14: limits.by: expected key, ip or header:NAME"),
        ("limits: {requests: 5}", "1:20: limits.requests: expected a rate"),
        ("limits: {streams: 1.5}", "1:19: limits.streams: expected a whole number"),
    ],
)
def test_each_mistake_has_its_words(text, line):
    """What is wrong at the top level is told with its place, and with a suggestion where there is one."""
    assert f"ssegate.yaml:{line}" in report(f"{text}\n{GOOD}")


@pytest.mark.parametrize(
    ("upstream", "line"),
    [
        ("{}", "upstreams.a.url: is needed"),
        ("http://h", "upstreams.a: expected a mapping"),
        ("{url: }", "upstreams.a.url: is empty: expected text"),
        ("{url: 5}", "upstreams.a.url: expected a URL that begins with http:// or https://"),
        (
            "url:http://h",
            "upstreams.a: expected a mapping with keys such as url, dialect and headers (a space is n",
        ),
        (
            "[{url: 'http://h'}]",
            "upstreams.a: expected a mapping with keys such as url, dialect and headers (without",
        ),
        (
            "",
            "upstreams.a: is empty: expected a mapping with keys such as url, dialect and headers, indented",
        ),
        (
            "{url: 'http://h', api_key: k}",
            "upstreams.a.api_key: unknown key (a credential stands in `headers`",
        ),
        (
            "{url: 'http://h', timeout: 5s}",
            "upstreams.a.timeout: unknown key (did you mean timeouts, in a route or",
        ),
        (
            "{url: 'http://h', hold: 5s}",
            "upstreams.a.hold: unknown key (it belongs in a route, or in defaults)",
        ),
        ("{url: 'http://h', tls: {}}", "upstreams.a.tls: unknown key (it belongs at the top of the file)"),
        ("{url: 'http://h', verify: no}", "upstreams.a.verify: expected true, false or a CA file"),
        (
            "{url: 'http://h', headers: [a]}",
            "upstreams.a.headers: expected a mapping such as `name: …` (without",
        ),
        ("{url: 'localhost:8000'}", "upstreams.a.url: expected a URL that begins with http:// or https://"),
        ("{url: 'http://'}", "upstreams.a.url: not a URL"),
        ("{url: 'http://h:99999'}", "upstreams.a.url: not a URL: its host or port cannot be read"),
        ("{url: 'http://[::1'}", "upstreams.a.url: not a URL: its host or port cannot be read"),
        ("{url: 'http://h/a b'}", "upstreams.a.url: not a URL"),
        ("{url: 'http://u:p@h'}", "upstreams.a.url: no user or password here: say them in `headers`"),
        ("{url: 'http://:p@h'}", "upstreams.a.url: no user or password here: say them in `headers`"),
        ("{url: 'http://@h'}", "upstreams.a.url: no user or password here: say them in `headers`"),
        ("{url: 'http://h/v1/*'}", "upstreams.a.url: no * here: a path is put behind this URL as it is ("),
        ("{url: 'http://*.h/v1'}", "upstreams.a.url: no * here"),
        ("{url: 'http://h?a=b'}", "upstreams.a.url: no query and no fragment here"),
        ("{url: 'http://h#a'}", "upstreams.a.url: no query and no fragment here"),
        ("{url: 'http://h', headers: {'a b': c}}", 'upstreams.a.headers["a b"]: not a header name'),
        ("{url: 'http://h', headers: {a: ''}}", "upstreams.a.headers.a: must not be empty"),
        (
            "{url: 'http://h', headers: {a: \"b\\r\\nc: d\"}}",
            "upstreams.a.headers.a: a header's value must not",
        ),
        ("{url: 'http://h', headers: {A: b, a: c}}", "upstreams.a.headers: the same header twice"),
        (
            "{url: 'http://h', headers: {Content-Length: '5'}}",
            "upstreams.a.headers.Content-Length: the gate sets",
        ),
        (
            "{url: 'http://h', headers: {a: 'Bearer '}}",
            "headers.a: nothing stands behind the scheme: is a va",
        ),
        ("{url: 'http://h', headers: {a: [b]}}", "upstreams.a.headers.a: expected text"),
        ("{url: 'http://h', verify: 5.5}", "upstreams.a.verify: cannot read this file"),
        ("{url: 'http://h', verify: [a]}", "upstreams.a.verify: expected true, false or a CA file"),
        ("{url: 'http://h', forward_client: 1}", "upstreams.a.forward_client: expected true, false or auto"),
        (
            "{url: 'http://h', proxy: 'socks5://x'}",
            "upstreams.a.proxy: expected a URL that begins with http://",
        ),
        ("{url: 'http://h', dialect: {framing: sses}}", "upstreams.a.dialect.framing: expected sse, ndjson"),
        ("{url: 'http://h', dialect: {txt: a}}", "upstreams.a.dialect.txt: unknown key (did you mean text?)"),
        ("{url: 'http://h', dialect: {}}", "upstreams.a.dialect.framing: is needed"),
        (
            "{url: 'http://h', dialect: {framing: sse, usage: {in: a}}}",
            "upstreams.a.dialect.usage.in: unknown",
        ),
        (
            "{url: 'http://h', dialect: {framing: sse, text: $.a.b}}",
            "upstreams.a.dialect.text: leave out the $ in front",
        ),
        (
            "{url: 'http://h', dialect: {framing: sse, text: [a, /a/b]}}",
            "upstreams.a.dialect.text[1]: names are joined by dots, not by /",
        ),
        (
            "{url: 'http://h', dialect: {framing: sse, text: 'choices[0].text'}}",
            "upstreams.a.dialect.text: an element of a list is a number between dots, such as choices.0.text",
        ),
        (
            "{url: 'http://h', dialect: {framing: sse, text: a..b}}",
            "upstreams.a.dialect.text: expected names joined by single dots",
        ),
        (
            "{url: 'http://h', dialect: {framing: sse, text: a, usage: {input: 'a. b'}}}",
            "upstreams.a.dialect.usage.input: expected names joined by single dots, without blanks",
        ),
        (
            "{url: 'http://h', dialect: {framing: sse, text: a, error: '.a'}}",
            "upstreams.a.dialect.error: expected names joined by single dots",
        ),
        (
            "{url: 'http://h', dialect: {framing: sse, text: a, done: [DONE]}}",
            'upstreams.a.dialect.done: expected text (in quotes: "[DONE]", which else is a list)',
        ),
        (
            "{url: 'http://h', dialect: {framing: sse, text: a, done: ' '}}",
            'upstreams.a.dialect.done: expected a payload, such as "[DONE]"',
        ),
    ],
)
def test_each_mistake_in_an_upstream_has_its_words(upstream, line):
    """The same for upstreams."""
    assert line in report(f"upstreams: {{a: {upstream}}}\nroutes: [{{path: /*}}]\n")


@pytest.mark.parametrize(
    ("route", "line"),
    [
        ("{}", "3:4: routes[0].path: is needed, such as /v1/chat/completions or /v1/*"),
        ("/v1/*", "routes[0]: expected a mapping"),
        ("{path: v1}", "routes[0].path: a path begins with /"),
        ("{path: '*'}", "routes[0].path: a path begins with / (for every path: /*)"),
        ("{path: /v1*}", "routes[0].path: a path is exact, or a prefix that ends in /*"),
        ("{path: /*/a}", "routes[0].path: a path is exact, or a prefix that ends in /*"),
        ("{path: '/a?b'}", "routes[0].path: a path without query and fragment"),
        ("{path: /ü}", "routes[0].path: only printable ASCII without spaces: percent-encode the rest"),
        ("{path: /*, name: '-'}", "routes[0].name: expected a name"),
        ("{path: /*, model: ''}", "routes[0].model: must not be empty"),
        ("{path: /*, models: [a]}", "routes[0].models: expected a mapping"),
        ("{path: /*, methods: POST}", "routes[0].methods: expected a list"),
        ("{path: /*, methods: []}", "routes[0].methods: must not be empty"),
        (
            "{path: /*, methods: [PSOT]}",
            "routes[0].methods[0]: expected GET, HEAD, POST, PUT, PATCH, DELETE or",
        ),
        ("{path: /*, upstream: b}", "routes[0].upstream: there is no such upstream (known: a)"),
        ("{path: /*, upstream: 'http://i'}", "no such upstream (this is its name; its URL stands under `ups"),
        ("{path: /*, upstream: {url: 'http://i'}}", "routes[0].upstream: expected the name of an upstream"),
        ("{path: /*, rewrite: /x}", "routes[0].rewrite: unknown key (`upstream_path` of a route says it)"),
        ("{path: /*, heartbeat: yes}", "1h30m, or a number of seconds, or off"),
        ("{path: /*, heartbeat: 15 s}", "1h30m, or a number of seconds (without spaces), or off"),
        ("{path: /*, hold: 1h 30m}", "1h30m, or a number of seconds (without spaces)\n"),
        ("{path: /*, batch: yes}", "routes[0].batch: expected a mapping of size, delay and mode, or off"),
        ("{path: /*, batch: {size: '5'}}", "routes[0].batch.size: expected a whole number (without quotes)"),
        ("{path: /*, batch: {size: five}}", "routes[0].batch.size: expected a whole number\n"),
        ("{path: /*, upstream_path: a}", "routes[0].upstream_path: a path begins with /"),
        ("{path: /*, upstream_path: /*/*}", "routes[0].upstream_path: at most one *"),
        (
            "{path: /a, upstream_path: /b/*}",
            "routes[0].upstream_path: a * stands for what the * of `path` matched",
        ),
        ("{path: /*, output: opnai}", "routes[0].output: expected auto, native"),
        ("{path: /*, errors: 5}", "routes[0].errors: expected auto, status or stream"),
        ("{path: /*, batch: 5}", "routes[0].batch: expected a mapping"),
        ("{path: /*, batch: on}", "routes[0].batch: expected a mapping"),
        ("{path: /*, batch: {size: 0}}", "routes[0].batch.size: must be at least 1"),
        ("{path: /*, batch: {delay: -1}}", "routes[0].batch.delay: a duration must not be negative"),
        ("{path: /*, timeouts: {idle: 0s}}", "routes[0].timeouts.idle: must be more than 0"),
        ("{path: /*, timeouts: off}", "routes[0].timeouts: expected a mapping"),
        ("{path: /*, hold: off}", "routes[0].hold: expected a duration"),
        ("{path: /*, max_event: 0}", "routes[0].max_event: must be more than 0"),
        ("{path: /*, max_body: 1k}", "routes[0].max_body: expected a size"),
        ("{path: /*, resume: {keep: 0}}", "routes[0].resume.keep: must be more than 0"),
        (
            "{path: /*, limits: {by: key}}",
            "routes[0].limits.by: unknown key (known: requests, tokens, streams, input_tokens, ",
        ),
        ("{path: /*, set: {a: [.inf]}}", "routes[0].set: JSON has no infinite number"),
        (
            "{path: /*, default: {a: 99999999999999999999}}",
            "routes[0].default: a number of more than 64 bits",
        ),
        ("{path: /*, unset: a}", "routes[0].unset: expected a list"),
        ("{path: /*, from_prompt: {}}", "routes[0].from_prompt.body: is needed"),
        ("{path: /*, from_prompt: {body: x}}", "routes[0].from_prompt.body: expected a mapping"),
        (
            "{path: /*, from_prompt: {body: {}}}",
            "3:35: routes[0].from_prompt.body: no text in it holds {prompt}",
        ),
        (
            "{path: /*, from_prompt: {body: {'{prompt}': [{a: 'prompt'}, 5]}}}",
            "3:35: routes[0].from_prompt.body: no text in it holds {prompt}, so every request would be the "
            'same: say where the prompt goes, such as `messages: [{role: user, content: "{prompt}"}]`',
        ),
    ],
)
def test_each_mistake_in_a_route_has_its_words(route, line):
    """The same for routes."""
    assert line in report(f"upstreams: {{a: {{url: 'http://h'}}}}\nroutes:\n [ {route} ]\n")


def test_a_fault_does_not_hide_a_fault_of_another_kind():
    """A route with a wrong value still has its upstream, its name and its path checked."""
    text = "upstreams: {a: {url: 'http://h'}}\nroutes: [{path: /a}, {path: /a, hold: x, upstream: b}]\n"
    found = report(text)

    assert "routes[1].hold: expected a duration" in found
    assert "routes[1].upstream: there is no such upstream" in found
    assert "routes[1]: routes[0] has the same name" in found


@pytest.mark.parametrize("text", ["", "# nothing\n", "{}", "x-a: 1\n", "upstreams:\nroutes:\n"])
def test_an_empty_file_says_what_is_needed(text):
    """Upstreams and routes: a catch-all is never made up."""
    found = report(text)
    assert ": upstreams: is needed: at least one" in found
    assert ": routes: is needed: at least one; for every path `routes: [{path: /*}]`" in found
    assert found.count("ssegate.yaml:") == 2


def test_a_file_of_an_unknown_tag_is_one_problem():
    """Nothing is read below it."""
    assert report("!config {a: 1}") == (
        "ssegate.yaml:1:1: unknown tag: only plain values, lists and mappings are read\n!config {a: 1}\n^"
    )


def test_a_key_that_nobody_knows_is_told_those_that_there_are():
    """At the top also where anchors may stand."""
    first = report(f"common: &a {{}}\n{GOOD}").split("\n")[0]

    assert first.startswith("ssegate.yaml:1:1: common: unknown key (known: listen, admin, log, ")
    assert first.endswith(", defaults, routes; keys that only hold anchors begin with x-)")


def test_an_empty_line_is_not_shown():
    """There is nothing to see in it."""
    assert report("").split("\n") == [
        "ssegate.yaml:1:1: upstreams: is needed: at least one, such as `upstreams: {local: {url: …}}`",
        "ssegate.yaml:1:1: routes: is needed: at least one; for every path `routes: [{path: /*}]`",
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("listen: !env LISTEN", "1:9: listen: unknown tag: only plain values, lists and mappings are read"),
        ("drain: !!int x", "1:8: drain: cannot be read as int"),
        ("${KEY}: 1", '1:1: ["${KEY}"]: ${…} is replaced in values only, not in keys'),
        ("cors: &c {origins: *c}", "1:7: cors.origins: refers to itself"),
    ],
)
def test_what_cannot_be_read_is_complained_of_once(text, problem):
    """That it does not fit its place either is no news."""
    assert report(f"{text}\n{GOOD}").split("\n")[::3] == [f"ssegate.yaml:{problem}"]


@pytest.mark.parametrize("text", ["[]", "hello", "5"])
def test_a_file_that_is_no_mapping_says_so(text):
    """One problem, not one for each key."""
    assert report(text).startswith("ssegate.yaml:1:1: expected a mapping of settings")


@pytest.mark.parametrize(
    "routes",
    [
        "{path: 5}",
        "{path: /a, model: m}, {path: /a, name: '-'}",
        "{path: /a}, {path: /a, name: b, model: ''}",
        "{path: /a}, {path: /a, name: b, methods: [PSOT]}",
        "{path: /a}, {path: /a, name: b, from_prompt: {}}",
        "{path: /v1/a, upstream_path: b}",
        "{path: /a, upstream: {}}",
    ],
)
def test_a_wrong_value_is_one_problem(routes):
    """Nothing is concluded from a value that does not fit."""
    text = f"upstreams: {{a: {{url: 'http://h/v1/x'}}, b: {{url: 'http://i'}}}}\nroutes: [{routes}]\n"
    found = report("defaults: {upstream: a}\n" + text)

    assert found.count("ssegate.yaml:") == 1


def test_a_wrong_open_is_one_problem():
    """It is not taken for a no."""
    text = "listen: 0.0.0.0:1\nopen: yes\nupstreams: {a: {url: 'http://h', headers: {x-api-key: k}}}\n"
    assert report(text + "routes: [{path: /*}]\n").count("ssegate.yaml:") == 1
