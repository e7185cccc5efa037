"""${…} in values."""

import pathlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssegate.config import parse
from ssegate.config.interpolate import InterpolationError, interpolate
from ssegate.config.load import read
from ssegate.wire.errors import ConfigError

ENV = {"A": "one", "EMPTY": "", "SIGN": "${A}$$", "PORT": "8080", "BRACE": "}"}
HERE = pathlib.Path()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("${A}", "one"),
        ("<${A}${A}>", "<oneone>"),
        ("${EMPTY}", ""),
        ("${EMPTY:-two}", "two"),
        ("${NONE:-two}", "two"),
        ("${NONE:-}", ""),
        ("${A:-two}", "one"),
        ("${A:?no}", "one"),
        ("${NONE:-${A}!}", "one!"),
        ("${NONE:-${EMPTY:-${A}}}", "one"),
        ("${NONE:-a:-b:?c}", "a:-b:?c"),
        ("$$", "$"),
        ("$${A}", "${A}"),
        ("$$${A}", "$one"),
        ("$$$$", "$$"),
        ("$A $ 5$", "$A $ 5$"),
        ("a}b", "a}b"),
        # What was put in is not read again.
        ("${SIGN}", "${A}$$"),
        ("${NONE:-${BRACE}}", "}"),
    ],
)
def test_each_form_is_replaced(text, expected):
    """Variables, defaults, escapes; a $ before anything else is itself."""
    assert interpolate(text, ENV, HERE) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("${NONE}", "NONE is not set (a default: ${NONE:-…})"),
        ("${NONE:?get one from ops}", "NONE is not set: get one from ops"),
        ("${EMPTY:?}", "EMPTY is not set"),
        ("${A", "${ without its }"),
        ("${}", "expected ${VAR}"),
        ("${1A}", "expected ${VAR}"),
        ("${A-x}", "expected ${VAR}"),
        ("${A:+x}", "expected ${VAR}"),
        ("${A B}", "expected ${VAR}"),
        ("${file:}", "cannot read"),
        ("${file:/no/such/file}", "cannot read /no/such/file: No such file or directory"),
    ],
)
def test_what_cannot_be_replaced_says_why(text, message):
    """An unset variable is an error, never an empty text."""
    with pytest.raises(InterpolationError) as caught:
        interpolate(text, ENV, HERE)
    assert str(caught.value).startswith(message)


def test_a_file_is_read_without_its_line_end(tmp_path):
    """Secrets in files end in a newline that is not part of them; relative paths begin at the config."""
    (tmp_path / "secret").write_text("s3\ncret\r\n")

    assert interpolate("${file:secret}!", {}, tmp_path) == "s3\ncret!"
    assert interpolate(f"${{file:{tmp_path}/secret}}", {}, HERE) == "s3\ncret"


def test_a_file_that_is_no_text_is_refused_without_its_bytes(tmp_path):
    """The reason is told, the content is not."""
    (tmp_path / "secret").write_bytes(b"s3cret\xff")

    with pytest.raises(InterpolationError, match="it is not UTF-8 text") as caught:
        interpolate("${file:secret}", {}, tmp_path)
    assert "s3cret" not in str(caught.value)


@given(st.text())
def test_a_value_is_put_in_as_it_is(value):
    """No value of a variable is changed or read as syntax."""
    assert interpolate("<${X}>", {"X": value}, HERE) == f"<{value}>"


@given(st.text())
def test_an_escaped_text_comes_out_as_it_was(text):
    """Doubling each $ protects any text."""
    assert interpolate(text.replace("$", "$$"), {}, HERE) == text


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("${PORT}", 8080),
        ("${YES}", True),
        ("${OFF}", "off"),
        ("${NOTHING:-}", None),
        ("${NONE:-1e3}", 1000.0),
        ("1${PORT}", 18080),
        ("'${PORT}'", "8080"),
        ("'${YES}'", "true"),
        ("${LIST}", "[1, 2]"),
        ("${MAP}", "a: b\nc: d"),
        ("${ALIAS}", "*a"),
        ("$$5", "$5"),
    ],
)
def test_a_value_gets_its_type_after_it_is_replaced(text, value):
    """A plain scalar is typed by what came out, a quoted one is text; structure is never made."""
    env = {"PORT": "8080", "YES": "true", "OFF": "off", "LIST": "[1, 2]", "MAP": "a: b\nc: d", "ALIAS": "*a"}
    document = read(f"key: {text}\n", "f", env)

    assert document.problems == []
    assert document.tree == {"key": value}
    assert type(document.tree["key"]) is type(value)


BASE = "upstreams: {{a: {{url: 'http://h', headers: {headers}}}}}\nroutes: [{{path: /*, {route}}}]\n"


def config(headers="{}", route="", **env):
    return parse(BASE.format(headers=headers, route=route), "ssegate.yaml", env)


def test_a_number_for_a_text_is_its_text():
    """A key that happens to be a number keeps its zeros."""
    headers = "{A-Key: '${KEY}', B-Key: 007, C-Key: '${KEY}x'}"
    assert config(headers, KEY="007").upstreams["a"].headers == {
        "A-Key": "007",
        "B-Key": "007",
        "C-Key": "007x",
    }


def test_a_quoted_variable_may_be_a_number():
    """Inside {…} YAML makes people quote `${…}`; a number in it still is one."""
    route = config(route="batch: {size: '${SIZE}', delay: '${DELAY}'}", SIZE="9", DELAY="0.5").routes[0]
    assert (route.batch.size, route.batch.delay) == (9, 0.5)


def test_a_quoted_variable_may_be_a_boolean():
    """The same for true and false."""
    text = "open: '${OPEN}'\n" + BASE.format(headers="{}", route="")
    assert parse(text, "f", {"OPEN": "true"}).open is True


def test_a_quoted_number_that_is_no_variable_stays_text():
    """Who quotes a plain number gets told."""
    with pytest.raises(ConfigError, match="expected a whole number"):
        config(route="batch: {size: '9'}")


SECRET = "hunter2-hunter2"


@pytest.mark.parametrize(
    "text",
    [
        "listen: ${S}",
        "admin: ${S}",
        "admin: {listen: '${S}'}",
        "log: {level: '${S}', format: '${S}'}",
        "store: ${S}",
        "on_store_error: ${S}",
        "drain: ${S}",
        "open: ${S}",
        "trusted_proxies: ['${S}']",
        "cors: {origins: ['${S}']}",
        "tls: {cert: '${S}', key: '${S}'}",
        "max_connections: ${S}",
        "keys: [{name: '${S}', hash: '${S}', routes: ['${S}']}, {name: '${S}', value: '${S}'}]",
        "limits: {by: '${S}', requests: '${S}', streams: '${S}'}",
        "prices: {a: {input: '${S}', output: '${S}'}}",
        "upstreams: {a: {url: '${S}'}}",
        "upstreams: {a: {url: 'http://${S}@h'}}",
        "upstreams: {a: {url: 'http://h/v1/${S}/chat/completions'}}",
        "upstreams: {a: {url: 'http://h?${S}'}}",
        "upstreams: {a: {url: 'http://h', dialect: '${S}', verify: '${S}', proxy: '${S}'}}",
        "upstreams: {a: {url: 'http://h', forward_client: '${S}'}}",
        'upstreams: {a: {url: http://h, headers: {Authorization: "Bearer ${S}\\n"}}}',
        "routes: [{path: '/${S}/*', upstream: '${S}'}, {path: '/${S}/x', name: '/${S}/*'}]",
        "routes: [{path: '${S}', output: '${S}', errors: '${S}', batch: '${S}', hold: '${S}'}]",
        "routes: [{path: /a, metadata: '${S}'}]",
        "routes: [{path: /a, timeouts: {idle: '${S}'}, max_event: '${S}', methods: ['${S}'], model: 5}]",
        "routes: [{path: /v1/a, upstream_path: 'x${S}', set: '${S}', from_prompt: '${S}'}]",
        "routes: [{path: '/v1/${S}'}]\nupstreams: {a: {url: 'http://h/v1beta/${S}'}}",
        "unknown: ${S}",
        "defaults: {heartbeat: '${S}', on_disconnect: '${S}', resume: '${S}', limits: '${S}'}",
        "listen: ${NONE:?${S}}",
        "listen: ${file:${S}}",
    ],
)
def test_what_a_variable_holds_is_never_shown(text):
    """A report shows the line as it stands in the file, and no message repeats a value."""
    with pytest.raises(ConfigError) as caught:
        parse(text + "\n", "ssegate.yaml", {"S": SECRET})

    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None and caught.value.__context__ is None


def test_the_settings_do_not_show_secrets():
    """Headers, tokens, bodies and proxies are not in any repr."""
    text = f"""
admin: {{listen: "127.0.0.1:1", token: {SECRET}}}
upstreams:
  a: {{url: "http://h", headers: {{Authorization: "{SECRET}"}}, proxy: "http://u:{SECRET}@p:1"}}
routes:
  - path: /*
    set: {{key: "{SECRET}"}}
    default: {{a: "{SECRET}"}}
    from_prompt: {{body: {{b: "{SECRET}{{prompt}}"}}}}
"""
    config = parse(text, "f", {})

    assert config.upstreams["a"].headers == {"Authorization": SECRET}
    assert config.admin.token == config.routes[0].set["key"] == SECRET
    assert SECRET not in repr(config)


def test_a_variable_that_is_not_set_is_complained_of_once():
    """What else the missing value would break is no news."""
    text = "upstreams: {a: {url: '${URL}'}}\nroutes:\n"
    text += "  - {path: /*, upstream: '${UP}', from_prompt: {body: {a: '${ASK}'}}}\n"
    with pytest.raises(ConfigError) as caught:
        parse(text, "f", {})

    lines = str(caught.value).split("\n")
    assert lines[0::3] == [
        "f:1:22: upstreams.a.url: URL is not set (a default: ${URL:-…})",
        "f:3:26: routes[0].upstream: UP is not set (a default: ${UP:-…})",
        "f:3:59: routes[0].from_prompt.body.a: ASK is not set (a default: ${ASK:-…})",
    ]
