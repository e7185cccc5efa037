"""Errors before the stream: status, headers, and a body in the client's own shape."""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp import web

from ssegate.simulate import Behaviour

from .asking import Answer, ask, everything_to, serving

CHAT, MESSAGES, OLLAMA = "/v1/chat/completions", "/v1/messages", "/api/chat"
GEMINI = "/v1beta/models/gemini-2.5-flash:streamGenerateContent"
TOO_LONG = "This model's maximum context length is 8192 tokens, your messages are longer."


def config(url: str, output: str = "auto", upstream: str = "", **route: str) -> str:
    extra = "".join(f", {name}: {value}" for name, value in route.items())
    return f"""
        upstreams: {{up: {{url: "{url}"{upstream}}}}}
        routes: [{{path: /*, output: {output}{extra}}}]
        """


SHAPES = {"native": ("native", CHAT), "openai": ("openai", MESSAGES), "same openai": ("same", CHAT)} | {
    "vercel": ("vercel", MESSAGES),
    "text": ("text", OLLAMA),
    "responses": ("responses", CHAT),
    "same responses": ("auto", "/v1/responses"),
    "output anthropic": ("anthropic", CHAT),
    "same completions": ("same", "/v1/completions"),
    "same elsewhere": ("same", "/predict"),
    "raw": ("raw", MESSAGES),
    "anthropic": ("same", MESSAGES),
    "gemini": ("same", GEMINI),
    "gemini interactions": ("auto", "/v1beta/interactions"),
    "bedrock": ("same", "/model/amazon.nova-lite-v1:0/converse-stream"),
    "bedrock invoke": ("auto", "/model/amazon.nova-lite-v1:0/invoke-with-response-stream"),
    "ollama": ("same", OLLAMA),
    "auto ollama": ("auto", "/api/generate"),
}


@pytest.mark.parametrize("name", list(SHAPES))
async def test_a_refusal_has_the_shape_of_the_format(gate: Any, simulator: Any, name: str):
    """Native, Anthropic, Ollama and OpenAI clients each read their own error; raw and the rest OpenAI's."""
    output, path = SHAPES[name]
    upstream = await simulator()
    running = await gate(config(upstream.url, output))

    answer = await ask(running.url, path, b"{", headers={"Content-Type": "application/json"})

    assert (answer.status, answer.header("Content-Type")) == (400, "application/json")
    body = answer.json
    match name:
        case "native":
            assert body.keys() == {"error", "type", "code"}
            assert (body["type"], body["code"]) == ("invalid_request_error", "bad_request")
            assert "JSON" in body["error"]
        case "anthropic" | "output anthropic":
            assert body.keys() == {"type", "error", "request_id"}
            assert body["type"] == "error"
            assert body["error"].keys() == {"type", "message"}
            assert body["error"]["type"] == "invalid_request_error"
            assert body["request_id"] == answer.header("X-Request-ID")
        case "gemini" | "gemini interactions":
            assert body.keys() == {"error"}
            assert (body["error"]["code"], body["error"]["status"]) == (400, "INVALID_ARGUMENT")
            assert body["error"]["details"][0]["reason"] == "bad_request"
        case "bedrock" | "bedrock invoke":
            assert body.keys() == {"message", "__type"}
            assert body["__type"] == "ValidationException"
        case "ollama" | "auto ollama":
            assert body.keys() == {"error"}
            assert "JSON" in body["error"]
        case _:
            assert body.keys() == {"error"}
            assert body["error"].keys() == {"message", "type", "param", "code"}
            assert (body["error"]["type"], body["error"]["code"]) == ("invalid_request_error", "bad_request")
            assert body["error"]["param"] is None


UNWANTED = [
    # route, method, path, shape – no stream is wanted
    ({}, "GET", "/v1/models", "openai"),
    ({}, "DELETE", "/v1/files/1", "openai"),
    ({}, "GET", "/v1/chat/completions", "openai"),
    ({}, "GET", "/v1/messages", "anthropic"),
    ({}, "POST", "/v1/messages/count_tokens", "anthropic"),
    ({}, "GET", "/api/tags", "ollama"),
    ({}, "GET", "/things", "openai"),
    ({"output": "same"}, "GET", "/v1/models", "openai"),
    ({"output": "native"}, "GET", "/v1/models", "native"),
    ({"output": "openai"}, "GET", "/api/tags", "openai"),
    (
        {"from_prompt": {"body": {"p": "{prompt}"}, "default": "a"}},
        "GET",
        "/v1/models?stream=false",
        "native",
    ),
]


@pytest.mark.parametrize(("route", "method", "path", "shape"), UNWANTED)
@pytest.mark.parametrize("why", ["upstream", "draining"])
async def test_errors_where_no_stream_is_wanted(
    gate: Any, simulator: Any, route: dict[str, Any], method: str, path: str, shape: str, why: str
):
    """Its path tells whose client asks, unless the route says what it speaks; whoever it is that refuses."""
    upstream = await simulator(Behaviour(fault="refuse"))
    running = await gate(everything_to(upstream.url, **route))
    if why == "draining":
        running.begin_drain()

    answer = await ask(running.url, path, method=method)

    code = "upstream_connect" if why == "upstream" else "draining"
    assert answer.status == (502 if why == "upstream" else 503)
    match shape:
        case "native":
            assert (answer.json.keys(), answer.json["code"]) == ({"error", "type", "code"}, code)
        case "openai":
            assert (answer.json.keys(), answer.json["error"]["code"]) == ({"error"}, code)
        case "anthropic":
            assert answer.json["type"] == "error"
            assert answer.json["error"].keys() == {"type", "message"}
        case "ollama":
            assert isinstance(answer.json["error"], str)
            assert answer.json.keys() == {"error"}


async def test_a_get_that_wants_a_stream_hears_native(gate: Any, simulator: Any):
    """Who asks for a stream by GET is a page: its errors are what its events would be."""
    upstream = await simulator(Behaviour(fault="refuse"))
    running = await gate(config(upstream.url))

    answer = await ask(running.url, f"{CHAT}?stream=true", method="GET")

    assert (answer.status, answer.json["code"]) == (502, "upstream_connect")


@pytest.mark.parametrize(
    ("path", "members"),
    [
        ("/v1/chat", {"id", "message"}),
        ("/v2/chat", {"id", "message"}),
        ("/generate_stream", {"error", "error_type"}),
        ("/ml/v1/text/generation_stream", {"errors", "trace", "status_code"}),
        ("/v1/predictions", {"detail", "status"}),
    ],
)
async def test_a_refusal_has_the_shape_of_the_path(gate: Any, simulator: Any, path: str, members: set[str]):
    """Clients of Cohere, TGI, watsonx and Replicate read their own error too."""
    upstream = await simulator()
    running = await gate(config(upstream.url, "same"))

    answer = await ask(running.url, path, b"{", headers={"Content-Type": "application/json"})

    assert answer.status == 400
    assert answer.json.keys() == members
    assert b"JSON" in answer.body


async def test_an_error_of_llama_cpp_has_the_status_for_code(gate: Any, simulator: Any):
    """Its own path is told from OpenAI's."""
    upstream = await simulator()
    running = await gate(config(upstream.url, "same"))

    answer = await ask(running.url, "/completion", b"{", headers={"Content-Type": "application/json"})

    assert answer.json["error"].keys() == {"code", "message", "type"}
    assert (answer.json["error"]["code"], answer.json["error"]["type"]) == (400, "invalid_request_error")


async def test_no_route_is_told_in_openais_shape(gate: Any, simulator: Any):
    """Where no route says otherwise the error is one that most clients can read."""
    upstream = await simulator()
    running = await gate(config(upstream.url).replace("/*", "/v1/*"))

    answer = await ask(running.url, OLLAMA, {})

    assert (answer.status, answer.json["error"]["code"]) == (404, "not_found")


# The upstream's own errors


async def failing(
    gate: Any, simulator: Any, fault: str, path: str, output: str = "auto", **rest: str
) -> Answer:
    """Ask an upstream that fails so for a stream."""
    upstream = await simulator(Behaviour(fault=fault, retry_after=7))
    running = await gate(config(upstream.url, output, **rest))
    answer = await ask(running.url, path, {"stream": True})
    assert answer.header("X-Request-ID")
    return answer


async def test_an_upstreams_400_in_native(gate: Any, simulator: Any):
    """Native keeps the upstream's words beside ours."""
    answer = await failing(gate, simulator, "400", CHAT, "native")

    assert answer.status == 400
    assert answer.json == {
        "error": TOO_LONG,
        "type": "invalid_request_error",
        "code": "upstream_error",
        "upstream_code": "context_length_exceeded",
        "upstream_type": "invalid_request_error",
    }


async def test_an_upstreams_400_in_openai(gate: Any, simulator: Any):
    """SDKs look at ``code`` to learn that the context is too long: it stays the upstream's."""
    answer = await failing(gate, simulator, "400", CHAT)

    assert answer.status == 400
    assert answer.json["error"] == {
        "message": TOO_LONG,
        "type": "invalid_request_error",
        "param": None,
        "code": "context_length_exceeded",
    }


async def test_an_upstreams_400_in_anthropic_and_ollama(gate: Any, simulator: Any):
    """Both keep status, message and, where there is one, the type."""
    anthropic = await failing(gate, simulator, "400", MESSAGES)
    ollama = await failing(gate, simulator, "400", OLLAMA)

    assert (anthropic.status, ollama.status) == (400, 400)
    assert anthropic.json["error"] == {"type": "invalid_request_error", "message": TOO_LONG}
    assert ollama.json == {"error": TOO_LONG}


async def test_what_the_upstream_says_of_a_parameter_stays(gate: Any):
    """``param`` and an unknown ``code`` reach OpenAI's clients."""
    said = {"message": "bad", "type": "their_type", "param": "messages[0]", "code": "their_code"}

    async def refusing(request: web.BaseRequest) -> web.Response:
        return web.json_response({"error": said}, status=422)

    async with serving(refusing) as upstream:
        running = await gate(config(upstream.url))
        answer = await ask(running.url, CHAT, {"stream": True})

    assert (answer.status, answer.json["error"]) == (422, said)


ANTHROPIC = {
    400: "invalid_request_error",
    401: "authentication_error",
    429: "rate_limit_error",
    502: "api_error",
    503: "overloaded_error",
    504: "timeout_error",
}
FAULTS: list[tuple[str, int, str, bool, str | None]] = [
    # fault, status, code, may be retried, Retry-After
    ("400", 400, "upstream_error", True, None),
    ("401", 401, "upstream_error", True, None),
    ("429", 429, "upstream_rate_limited", True, "7"),
    ("500_html", 502, "upstream_error", True, None),
    ("503", 503, "upstream_error", True, "7"),
    ("529", 503, "upstream_error", True, None),
    ("redirect", 502, "upstream_redirect", False, None),
    ("html_200", 502, "upstream_content_type", False, None),
    ("empty", 502, "upstream_empty", True, None),
    ("error_200", 502, "upstream_error", True, None),
    ("garbage", 502, "upstream_protocol", False, None),
    ("close", 502, "upstream_disconnected", True, None),
    ("refuse", 502, "upstream_connect", True, None),
    ("silence", 504, "first_token_timeout", False, None),
    ("headers_then_silence", 504, "first_token_timeout", False, None),
]


@pytest.mark.parametrize(("fault", "status", "code", "retry", "after"), FAULTS)
async def test_status_and_headers_of_a_failure(
    gate: Any, simulator: Any, fault: str, status: int, code: str, retry: bool, after: str | None
):
    """Each failure has its status, says whether a retry would only pay again, and when to come back."""
    timeouts = "{first_token: 1s}"
    native = await failing(gate, simulator, fault, CHAT, "native", timeouts=timeouts)
    anthropic = await failing(gate, simulator, fault, MESSAGES, timeouts=timeouts)

    for answer in (native, anthropic):
        assert answer.status == status
        assert answer.header("x-should-retry") == (None if retry else "false")
        assert answer.header("Retry-After") == after
        assert answer.header("Content-Type") == "application/json"
        assert "Location" not in answer.headers
        assert b"<html" not in answer.body.lower()
    assert native.json["code"] == code
    own = anthropic.json["error"]["type"]
    assert own == ANTHROPIC[status] or fault in ("503", "error_200")  # there the upstream's own word stays


TYPES = {400: "invalid_request_error", 401: "authentication_error", 502: "upstream_error"} | {
    503: "overloaded_error",
    504: "upstream_error",
}


@pytest.mark.parametrize(("fault", "status"), [("401", 401), ("close", 502), ("silence", 504), ("529", 503)])
async def test_the_types_of_openai(gate: Any, simulator: Any, fault: str, status: int):
    """Where the upstream names no type of its own, the status does. (Native is always ours.)"""
    answer = await failing(gate, simulator, fault, CHAT, "native", timeouts="{first_token: 1s}")

    assert (answer.status, answer.json["type"]) == (status, TYPES[status])


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("wanted", [True, False])
async def test_the_gates_own_key_is_not_the_callers_affair(gate: Any, status: int, wanted: bool):
    """The gate's credential is refused: 502 ``upstream_auth``, and no word of the upstream's gets out."""

    async def refusing(request: web.BaseRequest) -> web.Response:
        said = f"Incorrect API key provided: {request.headers['Authorization'][-8:]}"
        return web.json_response({"error": {"message": said, "code": "invalid_api_key"}}, status=status)

    async with serving(refusing) as upstream:
        key = ', headers: {Authorization: "Bearer sk-secret-12345678"}'
        running = await gate(config(upstream.url, "openai", key))
        answer = await ask(running.url, CHAT, {"stream": wanted})

    assert (answer.status, answer.json["error"]["code"]) == (502, "upstream_auth")
    assert answer.header("x-should-retry") == "false"
    assert b"Incorrect" not in answer.body
    assert b"12345678" not in answer.body


async def test_an_error_that_quotes_a_key_does_not_pass_it_on(gate: Any):
    """Credentials of ours and of the caller's are struck out of what an upstream says."""

    async def quoting(request: web.BaseRequest) -> web.Response:
        message = f"cannot use {request.headers['Authorization']} here"
        return web.json_response({"error": {"message": message}}, status=400)

    async with serving(quoting) as upstream:
        running = await gate(config(upstream.url))
        caller = {"Authorization": "Bearer sk-caller-12345678"}
        answer = await ask(running.url, CHAT, {"stream": True}, headers=caller)

    assert answer.status == 400
    assert b"sk-caller" not in answer.body
    assert answer.json["error"]["message"].startswith("cannot use")


async def test_an_error_inside_a_200_has_its_own_status(gate: Any):
    """An integer status in the upstream's error object is the answer's status."""

    async def failing_late(request: web.BaseRequest) -> web.Response:
        body = b'data: {"error": {"message": "too many", "code": 429}}\n\n'
        return web.Response(body=body, headers={"Content-Type": "text/event-stream"})

    async with serving(failing_late) as upstream:
        running = await gate(config(upstream.url, "native"))
        answer = await ask(running.url, CHAT, {"stream": True})

    assert (answer.status, answer.json["code"]) == (429, "upstream_rate_limited")


async def test_a_409_is_not_to_be_retried(gate: Any):
    """A conflict will be one again: the SDKs are told, also when it is the upstream's."""

    async def conflicting(request: web.BaseRequest) -> web.Response:
        return web.json_response({"error": {"message": "busy"}}, status=409)

    async with serving(conflicting) as upstream:
        running = await gate(config(upstream.url))
        answer = await ask(running.url, CHAT, {"stream": True})

    assert (answer.status, answer.header("x-should-retry")) == (409, "false")


async def test_an_error_keeps_the_upstreams_request_id(gate: Any, simulator: Any):
    """SDKs show the request id of a failure; the upstream's is the one its support asks for."""
    openai = await failing(gate, simulator, "429", CHAT)
    anthropic = await failing(gate, simulator, "429", MESSAGES)

    assert str(openai.header("X-Request-ID")).startswith("req_")
    assert str(anthropic.header("request-id")).startswith("req_")
