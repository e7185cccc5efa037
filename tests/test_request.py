"""What a request becomes on its way: without sockets, rule by rule."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict, CIMultiDictProxy

from ssegate.config import Route, Upstream
from ssegate.config.settings import FromPrompt
from ssegate.request import (
    Plan,
    accepts_json,
    forward_headers,
    plan,
    read_json,
    request_model,
    resolved_output,
)
from ssegate.wire.errors import ClientError

CHAT = "/v1/chat/completions"
PLAIN = Upstream("up", "http://up.test")
HOLDING = Upstream("up", "http://up.test", headers={"Authorization": "Bearer k"}, forward_client=False)


def route(path: str = "/*", upstream: Upstream = PLAIN, **settings: Any) -> Route:
    return Route("r", path, upstream, **settings)


def planned(
    to: Route, body: bytes | None = b"{}", *, method: str = "POST", path: str = CHAT, query: str = ""
) -> Plan:
    """Plan a request whose body is *body*; None: one that streams through."""
    return plan(to, method, path, query, read_json(body) if body else None, body)


def sent(to: Route, body: bytes, **rest: Any) -> Any:
    """Return the JSON that goes upstream."""
    made = planned(to, body, **rest).body
    assert made is not None
    return json.loads(made)


# Reading the body


@pytest.mark.parametrize("body", [b"[1]", b'"a"', b"1", b"null", b" [] "])
def test_json_of_another_kind_is_no_object(body: bytes):
    """Valid JSON that is no object is none of ours to judge."""
    assert read_json(body) is None


@pytest.mark.parametrize(
    ("body", "place"),
    [
        (b"{", 1),
        (b'{"a": }', 6),
        (b'{"a": 1', 7),
        (b'{"a": nul}', 6),
        (b'{"a": NaN}', 6),
        (b'{"a": 1, "b\xff": 1}', 11),
    ],
)
def test_broken_json_is_told_by_its_place(body: bytes, place: int):
    """The message names the byte and quotes nothing."""
    with pytest.raises(ClientError, match=rf"\b{place}\b|\b{place + 1}\b|\b{place + 3}\b") as caught:
        read_json(body)

    assert caught.value.failure.code == "bad_request"


def test_deep_json_is_refused():
    """Nesting beyond reason is the caller's fault, not ours."""
    with pytest.raises(ClientError, match="deep"):
        read_json(b'{"a":' * 10_000 + b"1" + b"}" * 10_000)


@pytest.mark.parametrize(
    ("body", "model"),
    [(b'{"model": "m"}', "m"), (b'{"model": "\\u00fc"}', "ü"), (b'{"model": 1}', None), (b"{}", None)],
)
def test_the_model_is_a_string(body: bytes, model: str | None):
    """Only a string names a model."""
    assert request_model(read_json(body)) == model


def test_what_is_no_text_names_no_model():
    """A model that is no text is no model; the body still passes."""
    assert request_model({"model": msgspec.Raw(b'"\xff"')}) is None
    assert request_model(None) is None


@pytest.mark.parametrize(
    ("media", "yes"),
    [
        ("application/json", True),
        ("Application/JSON; charset=utf-8", True),
        ("application/vnd.api+json", True),
        (None, True),
        ("text/plain;charset=UTF-8", False),
        ("application/x-ndjson", False),
        ("multipart/form-data; boundary=json", False),
    ],
)
def test_what_is_read_as_json(media: str | None, yes: bool):
    """JSON by any of its names, or by none; a prompt's route reads what browsers mislabel."""
    assert accepts_json(route(), "/v1/files", media) is yes
    assert accepts_json(route(from_prompt=FromPrompt(None, {})), "/chat", media)


@pytest.mark.parametrize(
    ("media", "yes"),
    [
        ("application/x-www-form-urlencoded", True),
        ("text/plain;charset=UTF-8", True),
        ("multipart/form-data; boundary=x", False),
        ("application/octet-stream", False),
    ],
)
@pytest.mark.parametrize("path", [CHAT, "/api/chat", "/api/generate", "/v1/messages"])
def test_what_curl_and_browsers_mislabel_is_read_on_llm_paths(media: str, yes: bool, path: str):
    """``curl -d`` calls every body a form, ``fetch`` every string plain text; files are no bodies of ours."""
    assert accepts_json(route(), path, media) is yes


# Outputs


@pytest.mark.parametrize(
    ("output", "method", "path", "query", "prompt", "resolved"),
    [
        ("auto", "POST", CHAT, "", False, "openai"),
        ("auto", "POST", "/x/completions", "", False, "openai"),
        ("auto", "POST", "/v1/messages", "", False, "same"),
        ("auto", "GET", CHAT, "stream=true", False, "native"),
        ("auto", "GET", "/v1/models/g:streamGenerateContent", "", False, "native"),
        ("auto", "GET", CHAT, "", False, "openai"),
        ("auto", "GET", "/v1/models", "", False, "same"),
        ("auto", "GET", "/v1/models", "stream=false", True, "native"),
        ("auto", "POST", CHAT, "", True, "native"),
        ("native", "GET", "/v1/models", "", False, "native"),
        ("raw", "GET", CHAT, "", True, "raw"),
    ],
)
def test_auto_output(output: str, method: str, path: str, query: str, prompt: bool, resolved: str):
    """A prompt or a GET of a stream is native, the rest goes by the path; a word is a word."""
    chosen = route(output=output, from_prompt=FromPrompt(None, {}) if prompt else None)

    assert resolved_output(chosen, method, path, query) == resolved


# The model


@pytest.mark.parametrize(
    ("path", "model"),
    [
        ("/v1beta/models/gemini-2.5-pro:streamGenerateContent", "gemini-2.5-pro"),
        ("/v1beta/tunedModels/mine-1:streamGenerateContent", "mine-1"),
        ("/v1/projects/p/locations/l/publishers/google/models/g-2@001:streamGenerateContent", "g-2@001"),
        ("/v1/projects/p/locations/l/publishers/anthropic/models/claude:streamRawPredict", "claude"),
        ("/model/amazon.nova-lite-v1:0/converse-stream", "amazon.nova-lite-v1:0"),
        ("/model/anthropic.claude-v2%3A1/invoke-with-response-stream", "anthropic.claude-v2:1"),
        ("/model/arn%3Aaws%3Abedrock%3A%3A1%3Ax%2Fy/converse", "arn:aws:bedrock::1:x/y"),
        ("/v1/models", None),
        ("/v1/models/gpt-4o", None),
        ("/v1/models/a/b:streamGenerateContent", None),
        (CHAT, None),
    ],
)
@pytest.mark.parametrize("body", [b"{}", None])
def test_a_path_may_name_the_model(path: str, model: str | None, body: bytes | None):
    """Gemini's, Vertex's and Bedrock's requests name it there, and their streams hardly ever."""
    assert planned(route(), body, path=path).model == model


def test_the_body_names_the_model_before_the_path():
    """What the upstream is asked for in so many words counts more; an alias has been followed."""
    path = "/v1beta/models/gemini-2.5-pro:streamGenerateContent"

    assert planned(route(models={"a": "b"}), b'{"model": "a"}', path=path).model == "b"


def test_the_model_is_that_of_the_path_that_is_asked_for():
    """A route may hide where it goes."""
    path = "/v1beta/models/gemini-2.5-pro:streamGenerateContent"
    prompt = FromPrompt(None, {"contents": "{prompt}"})

    assert planned(route("/chat", upstream_path=path), path="/chat").model == "gemini-2.5-pro"
    to = route("/chat", upstream_path=path, from_prompt=prompt)
    assert planned(to, b'{"prompt": "hi"}', path="/chat").model == "gemini-2.5-pro"


# Bodies


def test_an_unedited_body_goes_out_to_the_byte():
    """A body that nothing is to be done to keeps its spaces, order and doubles."""
    body = b'{ "a":1.0,\n "b" : [ ] , "a": 2 }'

    assert planned(route(), body).body == body


def test_an_edited_body_keeps_the_bytes_of_other_values():
    """What is not named stays as it was written."""
    body = b'{"n": 1E400, "big": 123456789012345678901234567890, "s": "\\u00e9\\/", "o": { "x" : 1 }}'

    made = planned(route(set={"temperature": 0}), body).body

    assert made is not None
    for part in (b"1E400", b"123456789012345678901234567890", b'"\\u00e9\\/"', b'{ "x" : 1 }'):
        assert part in made


HALVES = [r"cut \ud83d", r"\ude42 y", r"\uD83Dabcdefgh", r"\ud83d\ud83d\ude00", r"\\\ud83d", r"\ud83d\\ude00"]


@pytest.mark.parametrize("text", HALVES)
def test_half_a_character_is_no_fault_of_the_body(text: str):
    """A page that cuts a text inside an emoji sends one: it passes as it came, once edited as U+FFFD."""
    body = b'{"model":"m","stream":true,"messages":[{"content":"%b"}]}' % text.encode()

    assert planned(route(), body, path="/x").body == body
    edited = sent(route(set={"n": 2}), body, path="/x")["messages"]
    said = json.loads(body)["messages"][0]["content"]
    # What is in pairs is read as one, what stands alone is replaced.
    paired = said.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
    assert edited == [{"content": "".join("\ufffd" if "\ud800" <= c <= "\udfff" else c for c in paired)}]


def test_what_only_looks_like_half_a_character_stays():
    """An escaped backslash is no beginning of an escape."""
    read = read_json(rb'{"a":"\\ud83d","b":"\ud83d"}')
    assert read == {"a": msgspec.Raw(rb'"\\ud83d"'), "b": msgspec.Raw(rb'"\ufffd"')}


def test_a_body_that_streams_through_is_no_body():
    """None stays None, and wants nothing by itself."""
    made = planned(route(output="native"), None)

    assert (made.body, made.wants_stream) == (None, False)


def test_set_default_and_unset_in_their_order():
    """``default`` fills what is absent or null, ``unset`` removes, ``set`` wins, then the alias."""
    to = route(
        default={"a": 1, "b": 1, "c": 1}, unset=("b", "d"), set={"c": 2, "model": "x"}, models={"x": "y"}
    )

    assert sent(to, b'{"a": null, "b": 5, "d": 1, "e": 0}') == {"a": 1, "c": 2, "e": 0, "model": "y"}


def test_an_alias_is_followed_once():
    """``a → b`` and ``b → c`` make a call for a a call for b."""
    to = route(models={"a": "b", "b": "c"})

    assert [sent(to, b'{"model": "%b"}' % name)["model"] for name in (b"a", b"b", b"d")] == ["b", "c", "d"]


@pytest.mark.parametrize("options", [b"null", b"5", b"[]", b'"x"', b"{}"])
def test_odd_stream_options_are_replaced(options: bytes):
    """Whatever a client has put there, the upstream is asked for usage and the client did not."""
    body = b'{"stream": true, "stream_options": %b}' % options

    assert sent(route(), body)["stream_options"] == {"include_usage": True}
    assert not planned(route(), body).wants_usage


@pytest.mark.parametrize("asked", [b"false", b"null", b"1", b'"true"'])
def test_only_true_asks_for_usage(asked: bytes):
    """``include_usage`` is a boolean."""
    body = b'{"stream": true, "stream_options": {"include_usage": %b}}' % asked

    assert not planned(route(), body).wants_usage


def test_who_asks_for_usage():
    """Asking is the client's own body, not what the gate adds."""
    asking = b'{"stream": true, "stream_options": {"include_usage": true}}'

    assert planned(route(), asking).wants_usage
    assert not planned(route(set={"stream_options": {"include_usage": True}}), b'{"stream":true}').wants_usage


@pytest.mark.parametrize(
    ("body", "choices"),
    [
        (b'{"n": 3}', 3),
        (b"{}", 1),
        (b'{"n": null}', 1),
        (b'{"n": "2"}', 1),
        (b'{"n": 2, "prompt": ["a", "b", "c"]}', 6),
    ],
)
def test_how_many_choices_are_asked_for(body: bytes, choices: int):
    """The stream ends when that many have finished."""
    assert planned(route(), body).choices == choices


# Prompts


PROMPTED = FromPrompt(None, {"a": ["{prompt}", {"b": "<{prompt}>"}], "{prompt}": 1, "n": 2, "t": True})


@given(prompt=st.text(min_size=1))
def test_a_prompt_arrives_as_it_was(prompt: str):
    """Any text fills the body's strings and nothing else, whatever it looks like."""
    prompt = prompt.encode("utf-8", "replace").decode()
    made = sent(route(from_prompt=PROMPTED), msgspec.json.encode({"prompt": prompt}))

    assert made["a"] == [prompt, {"b": f"<{prompt}>"}]
    assert (made["{prompt}"], made["n"], made["t"]) == (1, 2, True)


def test_a_prompts_request():
    """The upstream is asked by POST, without prompt and key in its query, for a stream."""
    to = route("/ask", from_prompt=PROMPTED, upstream_path=CHAT)

    made = planned(to, b"", method="GET", path="/ask", query="x=%20&prompt=a+b%21&key=k&y")

    assert (made.method, made.url) == ("POST", f"http://up.test{CHAT}?x=%20&y")
    assert (made.wants_stream, made.output, made.from_prompt) == (True, "native", True)
    assert json.loads(made.body or b"")["a"][0] == "a b!"


def test_the_query_is_asked_before_the_body():
    """``?prompt=`` wins, an empty one is none."""
    to = route(from_prompt=PROMPTED)

    assert sent(to, b'{"prompt": "body"}', query="prompt=query")["a"][0] == "query"
    assert sent(to, b'{"prompt": "body"}', query="prompt=")["a"][0] == "body"


def test_other_methods_have_no_prompt():
    """A prompt's route that takes DELETE passes it."""
    made = planned(route(from_prompt=PROMPTED), b"", method="DELETE")

    assert (made.wants_stream, made.method) == (False, "DELETE")


@pytest.mark.parametrize(
    ("body", "query"), [(b'{"prompt": "a", "stream": false}', ""), (b"", "stream=false")]
)
def test_a_prompt_may_refuse_the_stream(body: bytes, query: str):
    """``stream: false`` is said to the upstream, too: some stream unasked."""
    to = route(from_prompt=FromPrompt("b", {"stream": True}))

    made = planned(to, body, query=query)

    assert not made.wants_stream
    assert json.loads(made.body or b"") == {"stream": False}


# Where to


@pytest.mark.parametrize(
    ("upstream", "query", "kept"),
    [
        (PLAIN, "", ""),
        (PLAIN, "a=1&key=k&b=%3D&&c", "?a=1&key=k&b=%3D&&c"),
        (PLAIN, "stream=true&stream_id=x&a=1", "?stream=true&a=1"),
        (PLAIN, "stream=1&stream%5Fid=x", "?stream=1"),
        (PLAIN, "stream=1&my_stream_id=x", "?stream=1&my_stream_id=x"),
        (PLAIN, "stream_id=x&a=1", "?stream_id=x&a=1"),
        (HOLDING, "key=k&a=1&monkey=2", "?a=1&monkey=2"),
        (HOLDING, "k%65y=k&key=j", ""),
        (HOLDING, "prompt=p", "?prompt=p"),
    ],
)
def test_what_is_left_of_the_query(upstream: Upstream, query: str, kept: str):
    """Only what is the gate's own is taken out, however it is spelt; the rest stays to the byte."""
    made = planned(route(upstream=upstream), method="GET", query=query)

    assert made.url == f"http://up.test{CHAT}{kept}"


# Headers


def forwarded(to: Route, *pairs: tuple[str, str], **said: Any) -> CIMultiDict[str]:
    settings: dict[str, Any] = {"peer": "10.0.0.9", "is_trusted": False, "scheme": "http"}
    settings |= {"wants_stream": True, "is_json": False}
    return forward_headers(to, CIMultiDictProxy(CIMultiDict(pairs)), **(settings | said))


PROXIED = (
    ("Host", "gate.test"),
    ("X-Forwarded-For", "1.1.1.1"),
    ("X-Forwarded-For", "2.2.2.2"),
    ("X-Forwarded-Proto", "https"),
    ("X-Forwarded-Host", "public.test"),
    ("X-Forwarded-Port", "443"),
    ("Forwarded", "for=1.1.1.1"),
)


@pytest.mark.parametrize(
    ("is_trusted", "expected"),
    [
        (False, ("10.0.0.9", "http", "gate.test")),
        (True, ("1.1.1.1, 2.2.2.2, 10.0.0.9", "https", "public.test")),
    ],
)
def test_who_asked_is_told_by_our_own_eyes(is_trusted: bool, expected: tuple[str, str, str]):
    """Only a trusted proxy is believed what it says of the client before it."""
    out = forwarded(route(), *PROXIED, is_trusted=is_trusted)

    names = ("X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host")
    assert tuple(out[name] for name in names) == expected
    assert all(len(out.getall(name)) == 1 for name in names)
    assert "Forwarded" not in out


def test_nobody_is_told_who_asked_where_the_gate_pays():
    """An upstream that is asked with the gate's credential learns nothing of the client."""
    out = forwarded(route(upstream=HOLDING), *PROXIED, ("Cookie", "a"), ("Origin", "b"), ("Referer", "c"))

    assert set(out) == {"Accept-Encoding", "Authorization"}


def test_a_prompts_body_is_labelled():
    """The gate has built JSON, whatever the browser called what it sent."""
    out = forwarded(route(), ("Content-Type", "text/plain"), ("Content-Length", "9"), is_json=True)

    assert out.getall("Content-Type") == ["application/json"]
    assert "Content-Length" not in out


def test_the_five_places_of_a_key():
    """Four headers hold the caller's key; each is removed, however it is written."""
    keys = [("AUTHORIZATION", "a"), ("X-API-Key", "b"), ("X-Goog-Api-Key", "c"), ("Api-Key", "d")]

    kept = forwarded(route(), *keys)
    removed = forwarded(route(upstream=HOLDING), *keys)

    assert [kept[name] for name, _ in keys] == ["a", "b", "c", "d"]
    assert removed.getall("Authorization") == ["Bearer k"]
    assert not {"X-API-Key", "X-Goog-Api-Key", "Api-Key"} & set(removed)
