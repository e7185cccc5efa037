"""
Nothing secret gets out: not the upstream's credential, not the caller's key, not what was asked.

A prompt reaches an error body in one way only: where the upstream itself quotes it in its own error, which
is the caller's to read. The log and the metrics never hold it.
"""

from __future__ import annotations

import asyncio
import json
import signal
from typing import Any

import aiohttp
import pytest
from simulate.peer import Heard, talk, until

from ssegate.simulate import FAULTS, Behaviour

from .logbook import Log
from .scripted import DONE, HEAD, Peer, calling, chunk, scripted, sse

PATH = "/v1/chat/completions"
CREDENTIAL = "sk-upstream-0123456789abcdef"
CALLER = "sk-caller-fedcba9876543210"
PROMPT = "my-bank-pin-is-4711-please"
SECRETS = (CREDENTIAL, CALLER, PROMPT)
BODY = {"model": "m", "stream": True, "messages": [{"role": "user", "content": PROMPT}]}

CONFIG = """
log: {{level: debug, format: {form}}}
upstreams:
  up:
    url: "{url}"
    {headers}
defaults: {{heartbeat: off, hold: {hold}, timeouts: {{first_token: 1200ms, idle: 600ms, total: 2s}}}}
routes:
  - {{path: {path}, output: {output}}}
  - {{path: /*, output: same}}
"""
OWN = f'headers: {{Authorization: "Bearer {CREDENTIAL}"}}'
"""The gate holds the upstream's credential; else the caller's own passes through."""


def config(
    url: str, *, own: bool = True, output: str = "native", hold: str = "5s", form: str = "json"
) -> str:
    headers = OWN if own else "verify: true"
    return CONFIG.format(url=url, headers=headers, output=output, hold=hold, path=PATH, form=form)


async def shown(running: Any) -> bytes:
    """Return all that the admin port tells without being asked for a secret."""
    said = b""
    async with aiohttp.ClientSession() as session:
        for path in ("/metrics", "/-/streams", "/-/healthy", "/-/ready", "/"):
            async with session.get(f"{running.admin_url}{path}") as answer:
                said += str(answer.headers).encode() + await answer.read()
    return said


async def reload(running: Any) -> bytes:
    """Have the file read again; return what is said about it."""
    target = f"{running.admin_url}/-/reload"
    async with aiohttp.ClientSession() as session, session.post(target) as answer:
        return await answer.read()


def assert_silent(*where: bytes, about: tuple[str, ...] = SECRETS) -> None:
    for said in where:
        for secret in about:
            at = said.find(secret.encode())
            assert at < 0, f"{secret!r} in …{said[max(0, at - 200) : at + 80]!r}…"


def ask(url: str, path: str = PATH, body: Any = BODY, **headers: str) -> Any:
    """Ask with the caller's key in every place that a key can stand in."""
    keys = {"Authorization": f"Bearer {CALLER}", "x_api_key": CALLER, "api_key": CALLER}
    return talk(url, f"{path}?key={CALLER}", body, **keys, x_goog_api_key=CALLER, **headers)


@pytest.mark.parametrize("output", ["native", "openai", "same"])
@pytest.mark.parametrize("log", ["json", "console"], indirect=True)
async def test_no_fault_tells_a_secret(output: str, log: Log, gate: Any, simulator: Any):
    """Every fault: answers, log, metrics and live page say nothing of credential, key and prompt."""
    upstream = await simulator(Behaviour(tokens=6, rate=100))
    running = await gate(config(upstream.url, output=output))

    heard = await asyncio.gather(
        *(ask(running.url, X_Simulate=f"fault={fault}; fault_after=2") for fault in FAULTS)
    )

    metrics = await shown(running)
    assert any(CREDENTIAL in str(request.headers) for request in upstream.requests), "it was used"
    assert not any(CALLER in f"{request.headers} {request.query}" for request in upstream.requests)
    said = log.whole()
    assert said.count(b"outcome") >= len(FAULTS), "the log was looked at"
    assert_silent(said, metrics, *(one.raw for one in heard))


@pytest.mark.parametrize("log", ["json", "console"], indirect=True)
async def test_refused_connections_tell_no_secret(log: Log, gate: Any, simulator: Any):
    """No connection, no name, no TLS: the reasons hold nothing of the request."""
    closed = await simulator(Behaviour(fault="refuse"))
    plain = await simulator()
    urls = (closed.url, "http://nobody.invalid", plain.url.replace("http:", "https:"))
    gates = [await gate(config(url)) for url in urls]

    heard = [await ask(running.url) for running in gates]

    assert [one.status for one in heard] == [502] * 3
    assert_silent(log.whole(), *[await shown(running) for running in gates], *(one.raw for one in heard))


# Upstreams that echo what they were sent


def echoing(status: bytes, shape: str) -> Any:
    """A script that quotes the whole request in its error."""

    async def script(peer: Peer) -> None:
        said = (await peer.request()).decode()
        error = {"message": f"cannot take {said}", "type": said, "code": said, "param": said}
        told: Any = {"error": error} if shape == "openai" else {"error": f"cannot take {said}"}
        body = json.dumps(told).encode() if shape != "text" else said.encode()
        kind = b"text/plain" if shape == "text" else b"application/json"
        head = b"HTTP/1.1 %b\r\nContent-Type: %b\r\nContent-Length: %d\r\nX-Echo: %b\r\n\r\n"
        await peer.say(head % (status, kind, len(body), CREDENTIAL.encode()) + body)

    return script


@pytest.mark.parametrize("shape", ["openai", "bare", "text"])
@pytest.mark.parametrize(
    "status", [b"400 Bad", b"401 No", b"403 No", b"404 None", b"422 No", b"500 Oh", b"503 No"]
)
async def test_an_echo_in_an_error(status: bytes, shape: str, log: Log, gate: Any):
    """An error that quotes its request: keys are struck out, and the log and metrics hold nothing of it."""
    async with scripted(echoing(status, shape)) as upstream:
        for own in (True, False):
            for output in ("native", "openai", "same"):
                running = await gate(config(upstream.url, own=own, output=output))
                heard = await ask(running.url)

                assert heard.status >= 400
                assert_silent(heard.raw, about=(CREDENTIAL, CALLER))
                assert_silent(await shown(running))
                if own and status[:3] in (b"401", b"403"):
                    assert json.loads(heard.body)
                    assert_silent(heard.raw)
                elif status[:1] == b"4" and output == "native":
                    assert "***" in heard.body.decode() or own is False, "the upstream's message is passed on"
    assert_silent(log.whole())


@pytest.mark.parametrize("hold", ["5s", "0s"])
@pytest.mark.parametrize("after", [b"", sse("hello")], ids=["at once", "in mid-stream"])
@pytest.mark.parametrize("log", ["json", "console"], indirect=True)
async def test_an_echo_in_the_stream(after: bytes, hold: str, log: Log, gate: Any):
    """An error event that quotes its request: the same, in the stream and inside the hold."""

    async def script(peer: Peer) -> None:
        said = (await peer.request()).decode()
        error = json.dumps({"error": {"message": said, "type": said, "code": said}}).encode()
        await peer.say(HEAD + chunk(after + b"data: " + error + b"\n\n") + b"0\r\n\r\n")

    async with scripted(script) as upstream:
        for own in (True, False):
            for output in ("native", "openai", "same"):
                running = await gate(config(upstream.url, own=own, output=output, hold=hold))
                heard = await ask(running.url)

                assert b"error" in heard.body
                assert_silent(heard.raw, about=(CREDENTIAL, CALLER))
                assert_silent(await shown(running))
    assert_silent(log.whole())


@pytest.mark.parametrize(
    "said",
    [
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: %b\n\n",
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: {%b\n\n",
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<html>%b</html>",
        b"HTTP/1.1 500 Oh\r\nContent-Type: text/html\r\n\r\n<html>%b</html>",
        b"HTTP/1.1 302 There\r\nLocation: http://127.0.0.1:9/%b\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: %b\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nbroken header %b\r\n\r\n",
        b"%b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n%b\r\n",
    ],
    ids=["bad event", "bad JSON", "page", "error page", "redirect", "coding", "header", "no HTTP", "chunk"],
)
async def test_an_echo_in_something_else(said: bytes, log: Log, gate: Any):
    """Whatever cannot be read is not quoted with what it quotes."""
    secrets = f"{CREDENTIAL}-{CALLER}".encode()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.say(said % secrets)

    async with scripted(script) as upstream:
        running = await gate(config(upstream.url))
        heard = await ask(running.url)

        assert heard.status == 502
        assert_silent(heard.raw, await shown(running), about=(CREDENTIAL, CALLER))
    assert_silent(log.whole(), about=(CREDENTIAL, CALLER))


@pytest.mark.parametrize("log", ["json", "console"], indirect=True)
async def test_a_prompt_in_what_cannot_be_read(log: Log, gate: Any):
    """A broken event that quotes the prompt does not bring it into the log."""

    async def script(peer: Peer) -> None:
        await peer.request()
        body = sse("hello") + f'data: {{"choices": "{PROMPT}\n\n'.encode()
        await peer.say(HEAD + chunk(body) + b"0\r\n\r\n")

    async with scripted(script) as upstream:
        for output in ("native", "openai", "same"):
            running = await gate(config(upstream.url, output=output))
            await ask(running.url)
            assert_silent(await shown(running))
    assert_silent(log.whole())


@pytest.mark.parametrize("log", ["json", "console"], indirect=True)
async def test_a_stream_that_cannot_be_told_begins_in_the_log(log: Log, gate: Any):
    """Its first 200 bytes, escaped, credentials struck out; its client learns that it is unknown."""

    async def script(peer: Peer) -> None:
        await peer.request()
        body = b"data: \x1b[31m\xff %b %b\n\n" % (CREDENTIAL.encode(), b"y" * 300)
        await peer.say(HEAD + chunk(body) + b"0\r\n\r\n")

    async with scripted(script) as upstream:
        running = await gate(config(upstream.url))
        heard = await ask(running.url)

        assert json.loads(heard.body)["code"] == "upstream_content_type"
        assert b"yyy" not in heard.raw and b"[31m" not in heard.raw
        assert b"yyy" not in await shown(running)
    said = log.whole().decode().replace("\\\\", "\\")
    assert r"data: \x1b[31m\xff *** yyy" in said
    assert said.count("y" * 100) > 0 and "y" * 200 not in said
    assert_silent(said.encode())


# What passes through


async def test_passing_through_tells_no_secret(log: Log, gate: Any, simulator: Any):
    """Requests without a stream: their faults say as little in log and metrics."""
    upstream = await simulator(Behaviour(tokens=3, rate=100))
    running = await gate(config(upstream.url))
    body = {**BODY, "stream": False}

    # Those two never end: no clock bounds the whole of an answer that only passes through.
    faults = set(FAULTS) - {"infinite", "pings_only"}

    heard = await asyncio.gather(
        *(ask(running.url, body=body, X_Simulate=f"fault={fault}; fault_after=1") for fault in faults),
        ask(running.url, "/v1/models", None),
        ask(running.url, f"/v1/{PROMPT}"),
    )

    assert_silent(await shown(running), log.whole())
    assert_silent(*(one.raw for one in heard), about=(CREDENTIAL, CALLER))


# Requests that are refused


def raw(head: str, body: str = "") -> bytes:
    return f"{head}\r\nHost: gate\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}".encode()


MALFORMED = {
    "no HTTP": f"{CALLER} {PROMPT}\r\n\r\n".encode(),
    "bad method": raw(f"{CALLER}@ /{PROMPT} HTTP/1.1"),
    "bad header": f"POST {PATH} HTTP/1.1\r\nHost: gate\r\nAuthorization {CALLER}\r\n\r\n".encode(),
    "control character": f"POST {PATH} HTTP/1.1\r\nHost: g\r\nx-api-key: {CALLER}\x00\r\n\r\n".encode(),
    "bad length": f"POST {PATH} HTTP/1.1\r\nHost: g\r\nContent-Length: {CALLER}\r\n\r\n{PROMPT}".encode(),
    "long header": f"POST {PATH} HTTP/1.1\r\nHost: g\r\nX: {CALLER}{'a' * 70_000}\r\n\r\n".encode(),
    "bad JSON": raw(f"POST {PATH} HTTP/1.1\r\nx-api-key: {CALLER}", f'{{"messages": "{PROMPT}'),
    "bad UTF-8": raw(f"POST {PATH} HTTP/1.1", f'{{"messages": "{PROMPT}__"}}').replace(b"__", b"\xff\xfe"),
    "wrong type": raw(f"POST {PATH} HTTP/1.1", f'["{PROMPT}"]'),
    "bad stream id": raw(f"POST {PATH} HTTP/1.1\r\nX-Stream-ID: {CALLER}!!", "{}"),
    "foreign origin": raw(f"POST {PATH} HTTP/1.1\r\nOrigin: http://{CALLER}", json.dumps(BODY)),
    "no such method": raw(f"TRACE {PATH}?key={CALLER} HTTP/1.1"),
    "bad expectation": raw(f"POST {PATH} HTTP/1.1\r\nExpect: {CALLER}", json.dumps(BODY)),
    "bad coding": raw(f"POST {PATH} HTTP/1.1\r\nContent-Encoding: {CALLER}", PROMPT),
    "bad chunk": f"POST {PATH} HTTP/1.1\r\nHost: g\r\nTransfer-Encoding: chunked\r\n\r\n{PROMPT}".encode()
    + b"\r\n",
}


@pytest.mark.parametrize("what", list(MALFORMED))
async def test_a_malformed_request_is_not_repeated(what: str, log: Log, gate: Any, simulator: Any):
    """What a client sends wrongly stands in no answer, no log line and no metric."""
    upstream = await simulator(Behaviour(tokens=2))
    running = await gate(config(upstream.url))
    async with calling(running.url) as client:
        client.send(MALFORMED[what])
        if what == "wrong type":
            heard = Heard(await client.rest(), "fin")  # an array may mean something to an upstream
        else:
            heard = Heard(await client.until(b"\r\n\r\n"), "fin")
            assert 400 <= heard.status < 502
            heard.raw += await client.rest()

        assert_silent(heard.raw, await shown(running))
    assert_silent(log.whole())


async def test_a_prompt_in_the_query(log: Log, gate: Any, simulator: Any):
    """A prompt that comes by GET goes into the upstream's body and nowhere else."""
    upstream = await simulator(Behaviour(tokens=2))
    running = await gate(
        f"""
        log: {{level: debug}}
        upstreams: {{up: {{url: "{upstream.url}", {OWN}}}}}
        routes:
          - path: /chat
            upstream_path: {PATH}
            from_prompt: {{body: {{messages: [{{role: user, content: "{{prompt}}"}}]}}}}
        """
    )
    target = f"/chat?prompt={PROMPT}&key={CALLER}"
    heard = [
        await talk(running.url, target, None, method="GET", X_Simulate=simulate)
        for simulate in ("fault=none", "fault=400", "fault=cut", "fault=close")
    ]
    heard.append(await talk(running.url, f"{target}&stream_id=x", None, method="GET"))

    assert all(request.path == PATH and not request.query for request in upstream.requests)
    assert PROMPT in upstream.requests[0].body.decode()
    assert_silent(await shown(running), log.whole(), *(one.raw for one in heard))


# Of the gate itself


async def test_a_live_stream_shows_no_secret(log: Log, gate: Any, simulator: Any):
    """While a stream runs, its row, the feed of the live page and the metrics name it, not its words."""
    upstream = await simulator(Behaviour(fault="infinite", rate=50))
    running = await gate(config(upstream.url).replace("total: 600ms", "total: 20s"))
    async with calling(running.url) as client:
        keys = {"Authorization": f"Bearer {CALLER}"}
        client.ask(PATH, BODY, **keys)
        await client.until(b"token")
        rows = await shown(running)
        url = f"{running.admin_url}/-/events"
        async with aiohttp.ClientSession() as session, session.get(url) as feed:
            said = b"" if feed.status == 404 else await feed.content.readuntil(b"\n\n")

    assert b'"model"' in rows
    assert_silent(rows, said, log.whole())


async def test_a_process_tells_no_secret(run_gate: Any, simulator: Any):
    """Start, traffic, a failed reload, drain: stdout and stderr of the whole process hold none of it."""
    upstream = await simulator(Behaviour(tokens=4))
    running = await run_gate(
        config(upstream.url).replace(CREDENTIAL, "${UPSTREAM_KEY}"), {"UPSTREAM_KEY": CREDENTIAL}
    )
    heard = [
        await ask(running.url, X_Simulate=f"fault={fault}")
        for fault in ("none", "401", "400", "bad_json", "cut", "close")
    ]
    file = next(line for line in running.log if line["event"] == "listening")
    assert CREDENTIAL not in json.dumps(file)
    metrics = await shown(running)
    url = f"{running.admin_url}/-/reload"
    async with aiohttp.ClientSession() as session, session.post(url) as answer:
        reloaded = await answer.read()

    assert await running.stop() == 0
    assert any(CREDENTIAL in str(request.headers) for request in upstream.requests)
    assert_silent(
        json.dumps(running.log).encode(), running.errors.encode(), metrics, reloaded, *(h.raw for h in heard)
    )


@pytest.mark.parametrize(
    "broken",
    [
        "headers: {{Authorization: [{secret}]}}",
        "headers: {{Authorization: {{a: {secret}}}}}",
        'headers: "{secret}"',
        'proxy: "not a url {secret}"',
        "heders: {{Authorization: {secret}}}",
    ],
)
async def test_a_broken_file_does_not_repeat_what_it_took_in(broken: str, run_gate: Any, tmp_path: Any):
    """A credential that came from the environment or a file is not in what is said of a broken file."""
    (tmp_path / "secret").write_text(CREDENTIAL)
    good = "upstreams: {up: {url: 'http://127.0.0.1:9'}}\nroutes: [{path: /*}]\n"
    running = await run_gate(good, {"UPSTREAM_KEY": CREDENTIAL})
    for secret in ("${UPSTREAM_KEY}", f"${{file:{tmp_path}/secret}}"):
        entry = broken.format(secret=f'"{secret}"' if "[" in broken or "{" in broken else secret)
        text = f"upstreams:\n  up:\n    url: http://127.0.0.1:9\n    {entry}\nroutes: [{{path: /*}}]\n"
        (tmp_path / "gate1.yaml").write_text(text)
        seen = len(running.log)
        running.send(signal.SIGHUP)
        await until(lambda seen=seen: any("reload" in line["event"] for line in running.log[seen:]))
        url = f"{running.admin_url}/-/reload"
        async with aiohttp.ClientSession() as session, session.post(url) as answer:
            assert_silent(await answer.read())

    assert await running.stop() == 0
    assert any(line["event"] == "reload_failed" for line in running.log)
    assert_silent(json.dumps(running.log).encode(), running.errors.encode())


async def test_a_stream_that_works_is_not_logged_in_words(log: Log, gate: Any):
    """What was asked and what was answered is in no log line, at any level."""
    answer = "the-answer-nobody-else-may-read"

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.stream(sse(answer), DONE)

    async with scripted(script) as upstream:
        running = await gate(config(upstream.url))
        heard = await ask(running.url)

        assert answer in heard.body.decode()
        assert_silent(await shown(running), about=(*SECRETS, answer))
    assert_silent(log.whole(), about=(*SECRETS, answer))
