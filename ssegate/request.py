"""
What a client's request becomes on its way to the upstream: is a stream wanted, which body, which headers.

Bodies are edited key by key at the top level; every value that is not named stays the bytes the client wrote,
so numbers and keys unknown to the gate come through unharmed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import parse_qsl, unquote, unquote_plus

import msgspec
from multidict import CIMultiDict, CIMultiDictProxy

from ssegate.config import Route
from ssegate.wire.errors import ClientError

__all__ = [
    "CREDENTIALS",
    "JSONObject",
    "Plan",
    "accepts_json",
    "forward_headers",
    "is_labelled_json",
    "plan",
    "read_json",
    "request_model",
    "resolved_output",
]

_T = TypeVar("_T")

JSONObject = dict[str, msgspec.Raw]

CREDENTIALS = ("Authorization", "x-api-key", "x-goog-api-key", "api-key")
"""The headers a caller's key may stand in; the fifth place is the query's ``key``."""

_CREDENTIALS = frozenset(name.lower() for name in CREDENTIALS)

_HOP_BY_HOP = frozenset(
    {
        "connection",
        "content-length",
        "expect",
        "host",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
"""RFC 9110 section 7.6.1, and what our own client writes anew."""

_OF_A_STREAM = frozenset({"x-stream-id", "last-event-id"})
"""Between client and gate where a stream is wanted; elsewhere they are none of the gate's."""

_FORWARDED = ("forwarded", "x-real-ip", "x-forwarded-")
"""What proxies say of the client; we write it ourselves."""

_OF_THE_CLIENT = ("cookie", "origin", "referer", "sec-fetch-", *_FORWARDED)

_STREAM_SUFFIXES = (
    ":streamGenerateContent",
    "/converse-stream",
    "/invoke-with-response-stream",
    "/generate_stream",
    "/text/generation_stream",
)
_STREAMS_UNASKED = ("/api/chat", "/api/generate")
"""Ollama streams unless told not to."""

_LLM_SUFFIXES = (
    "/chat/completions",
    "/completions",
    "/responses",
    "/messages",
    "/v1/chat",
    "/v2/chat",
    "/completion",
)
_OPENAI_SUFFIXES = ("/chat/completions", "/completions")
_MODEL_IN_PATH = re.compile(
    r"/(?:tunedM|m)odels?/([^/]+?)(?::[A-Za-z]+|/(?:converse|invoke)[a-z-]*)$|/deployments/([^/]+)/"
)
"""
Where Gemini, Vertex, Bedrock and Azure are told the model: ``/models/NAME:verb``, ``/model/NAME/converse``,
``/deployments/NAME/chat/completions``.
"""

_UNLABELLED = frozenset({"application/x-www-form-urlencoded", "text/plain"})
"""What clients call a body when nobody has told them what it is."""

_TRUE, _FALSE, _NULL = msgspec.Raw(b"true"), msgspec.Raw(b"false"), msgspec.Raw(b"null")
_decode_object = msgspec.json.Decoder(JSONObject).decode


@dataclass(slots=True)
class Plan:
    """What is to be asked of the upstream."""

    wants_stream: bool
    method: str
    url: str
    body: bytes | None
    """The edited JSON body; None where the client's body is to be streamed through."""

    output: str
    """The route's output, with ``auto`` decided."""

    wants_usage: bool = True
    """The client asked for a usage chunk, or its format tells usage anyway."""

    choices: int = 1
    from_prompt: bool = False
    model: str | None = None
    """The model that the upstream is asked for."""

    json: JSONObject | None = field(default=None, repr=False)
    """What ``body`` holds, where that is an object."""


def is_labelled_json(content_type: str | None) -> bool:
    """Tell whether *content_type* is one of JSON's."""
    media_type = _media_type(content_type)
    return media_type in ("application/json", "text/json") or media_type.endswith("+json")


def accepts_json(route: Route, path: str, content_type: str | None) -> bool:
    """
    Tell whether a body of *content_type* is to be read as JSON.

    Browsers' ``fetch`` labels a string ``text/plain`` and ``curl -d`` everything a form, so a route with
    ``from_prompt`` reads whatever comes, and LLM paths all but files.
    """
    if route.from_prompt is not None or not content_type or is_labelled_json(content_type):
        return True
    is_llm = path.endswith((*_LLM_SUFFIXES, *_STREAM_SUFFIXES, *_STREAMS_UNASKED))
    return is_llm and _media_type(content_type) in _UNLABELLED


def _media_type(content_type: str | None) -> str:
    return (content_type or "").partition(";")[0].strip().lower()


def read_json(body: bytes) -> JSONObject | None:
    """
    Return the object in *body*; None when it is valid JSON of another kind.

    Raises:
        ClientError: ``bad_request``, with the place of the fault and nothing of the body.
    """
    try:
        return _decode_object(body)
    except msgspec.ValidationError:
        return None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        if (whole := _without_halves(body)) != body:
            return read_json(whole)
        raise ClientError("bad_request", f"the body is not valid JSON: {_fault(body, error)}") from None
    except RecursionError:
        raise ClientError("bad_request", "the body is nested too deeply") from None


def _fault(body: bytes, error: Exception) -> str:
    """Return what is wrong with *body* and at which byte, which *error* does not say of all."""
    if broken := _broken_character(body):
        return broken
    return f"{error} (byte {len(body)})" if "truncated" in str(error) else str(error)


def _broken_character(body: bytes) -> str | None:
    try:
        body.decode()
    except UnicodeDecodeError as invalid:
        return f"invalid UTF-8 (byte {invalid.start})"
    return None


_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)
"""An escape in a JSON string; the group is half of a surrogate pair whose other half is not there."""


def _without_halves(body: bytes) -> bytes:
    """
    Return *body* with U+FFFD for each half of a surrogate pair that stands alone.

    JSON's grammar allows them (RFC 8259 section 8.2), and a page that cuts a text inside an emoji sends them.
    What is not edited goes on as it came all the same; what the upstream makes of it is its business.
    """
    return _ESCAPE.sub(lambda found: rb"\ufffd" if found[1] else found[0], body)


def request_model(body: JSONObject | None) -> str | None:
    """Return the model that *body* names."""
    return None if body is None else _string(body.get("model"))


def _path_model(target: str) -> str | None:
    """Return the model that *target*, a URL without its query, names."""
    found = _MODEL_IN_PATH.search(target)
    return None if found is None else unquote(found[1] or found[2])


def plan(
    route: Route,
    method: str,
    path: str,
    query: str,
    body: JSONObject | None,
    raw: bytes | None,
    *,
    hides_key: bool = False,
) -> Plan:
    """
    Decide what goes upstream.

    Args:
        path: As it came, percent-encoded; *query* likewise, without ``?``.
        body: The client's JSON object, None where there is none.
        raw: The client's body as it came; None when it was not read because it streams through.
        hides_key: The query's ``key`` was for the gate.

    Raises:
        ClientError: ``bad_request``, a prompt is missing or not a string.
    """
    if route.from_prompt is not None and method in ("GET", "POST"):
        return _plan_from_prompt(route, method, path, query, body)
    output = resolved_output(route, method, path, query, body)
    wanted = _wants_stream(route, output, method, path, query, body)
    url = _target(route, path, query, wanted, hides_key=hides_key)
    target = route.target(path)
    if body is None:
        return Plan(wanted, method, url, raw, output, model=_path_model(target))
    # The body's language is that of the path it goes to, whatever the client's path is called.
    edited, wants_usage = _edit(route, body, target, wanted)
    # An unedited body goes out as it came in, to the byte.
    encoded = raw if edited == body else msgspec.json.encode(edited)
    model = request_model(edited) or _path_model(target)
    return Plan(wanted, method, url, encoded, output, wants_usage, _choices(edited), model=model, json=edited)


def _plan_from_prompt(route: Route, method: str, path: str, query: str, body: JSONObject | None) -> Plan:
    assert route.from_prompt is not None
    parameters = dict(parse_qsl(query, keep_blank_values=True))
    prompt = parameters.get("prompt") or _prompt_of(body) or route.from_prompt.default
    if not prompt:
        raise ClientError("bad_request", "prompt is required")
    built = _decode_object(msgspec.json.encode(_filled(route.from_prompt.body, prompt)))
    wanted = _asked(query, body) != _FALSE
    edited, wants_usage = _edit(route, built, route.target(path), wanted)
    url = _target(route, path, query, wanted, hides_key=True)
    if not wanted:
        # Said aloud, because some upstreams stream unless they are told not to.
        edited["stream"] = _FALSE
    return Plan(
        wants_stream=wanted,
        method="POST",
        url=url,
        body=msgspec.json.encode(edited),
        output=resolved_output(route, method, path, query),
        wants_usage=wants_usage,
        choices=_choices(edited),
        from_prompt=True,
        model=request_model(edited) or _path_model(route.target(path)),
        json=edited,
    )


def _prompt_of(body: JSONObject | None) -> str | None:
    if body is None or "prompt" not in body or body["prompt"] == _NULL:
        return None
    prompt = _string(body["prompt"])
    if prompt is None:
        broken = _broken_character(bytes(body["prompt"])[1:])  # without its quote
        raise ClientError("bad_request", f"prompt has {broken}" if broken else "prompt must be a string")
    return prompt


def _filled(value: Any, prompt: str) -> Any:
    """Return *value* with ``{prompt}`` in its strings replaced; nothing else is a placeholder."""
    match value:
        case str():
            return value.replace("{prompt}", prompt)
        case list() | tuple():
            return [_filled(item, prompt) for item in value]
        case Mapping():
            return {key: _filled(item, prompt) for key, item in value.items()}
        case _:
            return value


def resolved_output(route: Route, method: str, path: str, query: str, body: JSONObject | None = None) -> str:
    """Return the output of *route*; ``auto``: native for a prompt or a stream by GET, else by the path."""
    if route.output != "auto":
        return route.output
    # Of a GET the output does not say whether a stream is wanted, so any will do.
    if route.from_prompt is not None or (
        method == "GET" and _wants_stream(route, "native", method, path, query, body)
    ):
        return "native"
    return "openai" if path.endswith(_OPENAI_SUFFIXES) else "same"


def _wants_stream(
    route: Route, output: str, method: str, path: str, query: str, body: JSONObject | None
) -> bool:
    """Decide from the request alone whether a stream is wanted."""
    if method == "HEAD":
        return False
    asked = _asked(query, body)
    if asked in (_TRUE, _FALSE):
        return asked == _TRUE
    if path.endswith(_STREAM_SUFFIXES):
        return True
    if method != "POST" or body is None:
        return False
    if path.endswith(_STREAMS_UNASKED):
        return True
    return output in ("native", "vercel", "text") and (route.prefix is None or path.endswith(_LLM_SUFFIXES))


def _asked(query: str, body: JSONObject | None) -> msgspec.Raw | None:
    """Return what the client itself says of ``stream``, in its body or else in its query."""
    asked = body.get("stream") if body is not None else None
    if asked is None and "stream=" in query:
        value = dict(parse_qsl(query)).get("stream", "").lower()
        asked = {"true": _TRUE, "1": _TRUE, "false": _FALSE, "0": _FALSE}.get(value)
    return asked


def _edit(route: Route, body: JSONObject, target: str, wants_stream: bool) -> tuple[JSONObject, bool]:
    """Return the body for the upstream, and whether the client itself asked for a usage chunk."""
    edited = dict(body)
    for key, value in route.default.items():
        if edited.get(key, _NULL) == _NULL:
            edited[key] = _raw(value)
    for key in route.unset:
        edited.pop(key, None)
    for key, value in route.set.items():
        edited[key] = _raw(value)
    alias = route.models.get(request_model(edited) or "")
    if alias is not None:
        edited["model"] = _raw(alias)
    if not wants_stream:
        return edited, True
    if edited.get("stream") != _TRUE and not target.endswith((*_STREAM_SUFFIXES, *_STREAMS_UNASKED)):
        edited["stream"] = _TRUE
    return edited, _ask_for_usage(route, edited, body, target)


def _ask_for_usage(route: Route, edited: JSONObject, body: JSONObject, target: str) -> bool:
    """Have OpenAI-shaped upstreams tell their usage; return whether the client had asked for it itself."""
    asked = _options(body).get("include_usage") == _TRUE
    if not target.endswith(_OPENAI_SUFFIXES) or route.output == "raw":
        return asked  # raw: what is asked for would reach the client
    if "stream_options" in route.set and route.set["stream_options"] is None:
        # The way to say that this upstream does not know the option.
        edited.pop("stream_options", None)
        return asked
    edited["stream_options"] = _raw({**_options(edited), "include_usage": True})
    return asked


def _choices(body: JSONObject) -> int:
    """Return how many answers were asked for: ``n`` for each prompt where legacy completions have several."""
    prompts = _decoded(body.get("prompt"), list[str | list[int]])
    return (_integer(body.get("n")) or 1) * len(prompts or [""])


def _options(body: JSONObject) -> JSONObject:
    try:
        return _decode_object(body.get("stream_options", b"{}"))
    except msgspec.DecodeError:
        return {}


def _raw(value: Any) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(value))


def _string(value: msgspec.Raw | None) -> str | None:
    return _decoded(value, str)


def _integer(value: msgspec.Raw | None) -> int | None:
    return _decoded(value, int)


def _decoded(value: msgspec.Raw | None, kind: type[_T]) -> _T | None:
    """Return *value* read as *kind*; None for anything else."""
    try:
        return None if value is None else msgspec.json.decode(value, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _target(route: Route, path: str, query: str, wants_stream: bool, *, hides_key: bool) -> str:
    """Return the upstream's URL without the parameters for the gate alone; the rest stays as it is."""
    url = route.target(path)
    if not query:
        return url
    ours = {"stream_id"} if wants_stream else set()
    if route.from_prompt is not None:
        ours.add("prompt")
    if hides_key or route.upstream.holds_credential:
        ours.add("key")
    rest = "&".join(pair for pair in query.split("&") if unquote_plus(pair.partition("=")[0]) not in ours)
    return f"{url}?{rest}" if rest else url


def forward_headers(
    route: Route,
    headers: CIMultiDictProxy[str],
    *,
    peer: str,
    is_trusted: bool,
    scheme: str,
    wants_stream: bool,
    is_json: bool,
    hides_key: bool = False,
) -> CIMultiDict[str]:
    """
    Return the headers of the request to the upstream.

    Hop-by-hop headers, those named in ``Connection`` and those with ``_`` in their name are dropped, the
    caller's credential too where the gate holds its own or has asked for it.

    Args:
        peer: The client's IP address.
        is_trusted: The peer is a proxy whose word on the client before it is believed.
        is_json: The body is JSON that the gate has read, whatever the client called it.
        hides_key: The caller's credential was for the gate.
    """
    upstream = route.upstream
    named = {name.strip().lower() for line in headers.getall("Connection", ()) for name in line.split(",")}
    dropped = _HOP_BY_HOP.union(
        named - _CREDENTIALS,
        _OF_A_STREAM if wants_stream else (),
        _CREDENTIALS if upstream.holds_credential or hides_key else (),
    )
    hidden = _FORWARDED if upstream.forward_client else _OF_THE_CLIENT
    out: CIMultiDict[str] = CIMultiDict()
    for name, value in headers.items():
        lower = name.lower()
        if not (lower in dropped or "_" in lower or lower.startswith(hidden)):
            out.add(name, value)
    out["Accept-Encoding"] = "identity"
    if is_json:
        out["Content-Type"] = "application/json"
    if upstream.forward_client:
        out.update(_forwarded(headers, peer=peer, scheme=scheme, is_trusted=is_trusted))
    for name, value in upstream.headers.items():
        out[name] = value
    return out


def _forwarded(headers: CIMultiDictProxy[str], *, peer: str, scheme: str, is_trusted: bool) -> dict[str, str]:
    """Return who asked, by our own eyes and, if the peer is trusted, by its word too."""
    said = headers if is_trusted else {}
    before = headers.getall("X-Forwarded-For", ()) if is_trusted else ()
    return {
        "X-Forwarded-For": ", ".join([*before, peer]),
        "X-Forwarded-Proto": said.get("X-Forwarded-Proto", scheme),
        "X-Forwarded-Host": said.get("X-Forwarded-Host", headers.get("Host", "")),
    }
