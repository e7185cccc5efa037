"""A gate as a process: how it starts, drains, reloads and ends, and what its listeners bear."""

from __future__ import annotations

import asyncio
import json
import signal
import ssl
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from simulate.peer import Heard, events, talk, until

from ssegate.config import parse
from ssegate.gate import Gate
from ssegate.simulate import Behaviour
from ssegate.simulate.text import pieces

from . import leaks
from .conftest import on_free_ports
from .scripted import calling, self_signed

PATH = "/v1/chat/completions"
CONFIG = """
drain: {drain}
upstreams: {{up: {{url: "{url}"}}}}
defaults: {{output: native, heartbeat: off}}
routes:
  - {{name: chat, path: {path}}}
"""


def config(url: str, drain: str = "20s", path: str = PATH) -> str:
    return CONFIG.format(url=url, drain=drain, path=path)


async def asked(url: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], Any]:
    """Return status, headers and JSON body."""
    async with aiohttp.ClientSession() as session, session.request(method, url, headers=headers) as answer:
        return answer.status, dict(answer.headers), await answer.json()


async def over_socket(path: Path, target: str, body: Any = None) -> tuple[int, bytes]:
    """Ask a Unix socket, by POST if there is a body."""
    async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(path))) as session:
        asking = session.get if body is None else session.post
        async with asking(f"http://gate{target}", json=body) as answer:
            return answer.status, await answer.read()


async def metrics(running: Any) -> str:
    async with aiohttp.ClientSession() as session, session.get(f"{running.admin_url}/metrics") as answer:
        return await answer.text()


def streaming(url: str, **headers: str) -> asyncio.Task[Heard]:
    return asyncio.create_task(talk(url, PATH, {"stream": True}, **headers))


def told(heard: Heard) -> tuple[str, str | None]:
    """Return name and code of the last event, of a body that ended well."""
    assert heard.last_chunk
    name, data = events(heard.body)[-1]
    assert data["finished"] is True
    return name, data.get("code")


# Draining


@pytest.mark.parametrize("how", ["SIGTERM", "SIGINT", "POST /-/drain"])
async def test_draining(how: str, run_gate: Any, simulator: Any):
    """New requests are told to go, running streams finish, then the process ends with 0."""
    upstream = await simulator(Behaviour(tokens=30, rate=20))
    running = await run_gate(config(upstream.url))
    stream = streaming(running.url)
    await until(lambda: upstream.open_streams == 1)

    if how == "POST /-/drain":
        assert (await asked(f"{running.admin_url}/-/drain", "POST"))[0] == 202
    else:
        running.send(signal.Signals[how])
    await until(lambda: any(line["event"] == "draining" for line in running.log))

    refused = await talk(running.url, PATH, {"stream": True}, Connection="keep-alive")
    assert refused.status == 503
    assert json.loads(refused.body)["code"] == "draining"
    assert (refused.header("retry-after"), refused.header("connection")) == ("1", "close")
    assert refused.end == "fin", "the connection is closed, not kept"
    status, _, body = await asked(f"{running.url}/health")
    assert (status, body) == (503, {"status": "draining"})
    assert (await asked(f"{running.admin_url}/-/ready"))[0] == 503
    assert (await asked(f"{running.admin_url}/-/healthy"))[0] == 200
    status, _, body = await asked(f"{running.admin_url}/-/streams")
    assert (body["draining"], len(body["streams"])) == (True, 1)

    assert told(heard := await stream) == ("", None)
    assert "".join(data.get("token", "") for _, data in events(heard.body)) == "".join(pieces(30, 0))
    assert await running.ended() == 0
    assert not running.errors
    (ended,) = [line for line in running.log if line["event"] == "stream"]
    assert ended["outcome"] == "completed"


async def drained_by_hook(running: Any) -> None:
    """Ask to drain over the admin port, as a preStop hook does, and wait until the log says so."""
    assert (await asked(f"{running.admin_url}/-/drain", "POST"))[0] == 202
    await until(lambda: any(line["event"] == "draining" for line in running.log))


async def test_a_signal_after_the_hook_does_not_hurry(run_gate: Any, simulator: Any):
    """POST /-/drain is no signal, however often it comes: the SIGTERM that follows lets the drain go on."""
    upstream = await simulator(Behaviour(tokens=30, rate=20))
    running = await run_gate(config(upstream.url))
    stream = streaming(running.url)
    await until(lambda: upstream.open_streams == 1)

    await drained_by_hook(running)
    await drained_by_hook(running)
    running.send(signal.SIGTERM)

    assert told(heard := await stream) == ("", None)
    assert "".join(data.get("token", "") for _, data in events(heard.body)) == "".join(pieces(30, 0))
    assert await running.ended() == 0


async def test_the_second_signal_after_the_hook_hurries(run_gate: Any, simulator: Any):
    """Whoever signals twice means it: exit 1 at once."""
    upstream = await simulator(Behaviour(fault="infinite", rate=50))
    running = await run_gate(config(upstream.url))
    stream = streaming(running.url)
    await until(lambda: upstream.open_streams == 1)

    await drained_by_hook(running)
    running.send(signal.SIGTERM)
    assert (await asked(f"{running.admin_url}/-/ready"))[0] == 503  # the two are not to arrive as one
    running.send(signal.SIGTERM)

    assert told(await stream) == ("error", "shutting_down")
    assert await running.ended() == 1


async def test_the_hook_alone_ends_an_idle_gate(run_gate: Any):
    """With nothing to wait for, POST /-/drain is answered and the process ends with 0."""
    running = await run_gate(config("http://127.0.0.1:9"))

    assert (await asked(f"{running.admin_url}/-/drain", "POST"))[::2] == (202, {"status": "draining"})

    assert await running.ended() == 0
    assert not running.errors


async def test_the_drain_has_an_end(run_gate: Any, simulator: Any):
    """What still runs after ``drain`` is told ``shutting_down``, and the process ends with 0."""
    upstream = await simulator(Behaviour(fault="infinite", rate=50))
    running = await run_gate(config(upstream.url, drain="300ms"))
    mid_stream = streaming(running.url)
    in_hold = streaming(running.url, X_Simulate="fault=silence")
    await until(lambda: upstream.open_streams == 2)

    running.send(signal.SIGTERM)

    assert told(await mid_stream) == ("error", "shutting_down")
    refused = await in_hold
    assert (refused.status, json.loads(refused.body)["code"]) == (503, "shutting_down")
    assert await running.ended() == 0
    assert [line["outcome"] for line in running.log if line["event"] == "stream"] == ["shutting_down"] * 2
    await until(lambda: upstream.open_streams == 0)


@pytest.mark.parametrize("second", ["SIGTERM", "SIGINT"])
async def test_the_second_signal_hurries(second: str, run_gate: Any, simulator: Any):
    """A second signal ends the drain long before its time, with 1; readers are told."""
    upstream = await simulator(Behaviour(fault="infinite", rate=50))
    running = await run_gate(config(upstream.url))
    stream = streaming(running.url)
    await until(lambda: upstream.open_streams == 1)
    running.send(signal.SIGTERM)
    await until(lambda: any(line["event"] == "draining" for line in running.log))
    assert not stream.done()

    running.send(signal.Signals[second])

    assert told(await stream) == ("error", "shutting_down")
    assert await running.ended() == 1


async def test_a_reader_that_does_not_read_does_not_hold_the_end_up(run_gate: Any, simulator: Any):
    """After a second signal a client that takes nothing is cut: the process still ends."""
    upstream = await simulator(Behaviour(fault="infinite"))
    running = await run_gate(config(upstream.url))
    async with calling(running.url, receive_buffer=4096) as client:
        client.ask(PATH)
        await client.until(b"token")
        await asyncio.sleep(0.2)

        running.send(signal.SIGTERM)
        await until(lambda: any(line["event"] == "draining" for line in running.log))
        running.send(signal.SIGTERM)

        assert await running.ended() == 1


async def test_nothing_to_drain(run_gate: Any, simulator: Any):
    """Without streams it ends at once with 0, idle connections notwithstanding."""
    upstream = await simulator(Behaviour(tokens=3))
    running = await run_gate(config(upstream.url))
    async with calling(running.url) as client:
        client.ask(PATH)
        await client.until(b"\r\n0\r\n\r\n")

        running.send(signal.SIGTERM)

        assert await running.ended() == 0
        assert await client.rest() == b""
    assert not running.errors


async def test_requests_without_a_stream_are_waited_for(run_gate: Any, simulator: Any):
    """A whole answer that is on its way when the drain begins arrives."""
    upstream = await simulator(Behaviour(tokens=5, first_token_delay=0.6))
    running = await run_gate(config(upstream.url))
    answer = asyncio.create_task(talk(running.url, PATH, {"stream": False}))
    await until(lambda: upstream.open_streams == 1)

    running.send(signal.SIGTERM)

    heard = await answer
    assert heard.status == 200
    assert json.loads(heard.body)["choices"][0]["message"]["content"] == "".join(pieces(5, 0))
    assert await running.ended() == 0


BODY = json.dumps({"stream": True}).encode()


def post(length: int, *rest: str) -> bytes:
    head = [f"POST {PATH} HTTP/1.1", "Host: gate", "Content-Type: application/json", *rest]
    return "\r\n".join([*head, f"Content-Length: {length}", "", ""]).encode()


@pytest.mark.parametrize("sent", [0, 5], ids=["head only", "half a body"])
async def test_a_request_that_is_being_read_is_waited_for(sent: int, run_gate: Any, simulator: Any):
    """A request counts from its head on: it is served to its end. Half a head does not count."""
    upstream = await simulator(Behaviour(tokens=10, rate=20))
    running = await run_gate(config(upstream.url))
    async with calling(running.url) as client, calling(running.url) as half_a_head:
        half_a_head.send(b"POST / HTTP/1.1\r\nHo")
        client.send(post(len(BODY), "Connection: close", "Expect: 100-continue") + BODY[:sent])
        await client.until(b"100 Continue\r\n\r\n")

        running.send(signal.SIGTERM)
        await until(lambda: any(line["event"] == "draining" for line in running.log))
        refused = await talk(running.url, PATH, {"stream": True})
        await asyncio.sleep(0.2)
        client.send(BODY[sent:])

        heard = Heard(await client.rest(), "fin")
        assert await half_a_head.rest() == b""
    assert (refused.status, json.loads(refused.body)["code"]) == (503, "draining")
    assert (heard.status, told(heard)) == (200, ("", None))
    assert await running.ended() == 0


async def test_a_request_that_is_never_sent_whole_is_not_waited_for_longer(run_gate: Any, simulator: Any):
    """After ``drain`` a request that is still being read is told ``shutting_down``; the exit code is 0."""
    upstream = await simulator()
    running = await run_gate(config(upstream.url, drain="300ms"))
    async with calling(running.url) as client:
        client.send(post(len(BODY), "Expect: 100-continue") + BODY[:5])
        await client.until(b"100 Continue\r\n\r\n")

        running.send(signal.SIGTERM)

        heard = Heard(await client.rest(), "fin")
    assert (heard.status, json.loads(heard.body)["code"]) == (503, "shutting_down")
    assert await running.ended() == 0
    (line,) = [line for line in running.log if line["event"] == "request"]
    assert (line["status"], line["code"]) == (503, "shutting_down")
    assert not [line for line in running.log if line["level"] == "error"]
    assert not upstream.requests


@pytest.mark.parametrize("asked_for", ["an answer", "more of it", "an upload"])
async def test_what_is_no_stream_ends_with_the_drain(asked_for: str, run_gate: Any, simulator: Any):
    """After ``drain`` those without a stream are told ``shutting_down``; an answer begun breaks off."""
    fault = {"an answer": "silence", "more of it": "stall", "an upload": None}[asked_for]
    upstream = await simulator(Behaviour(fault=fault))
    running = await run_gate(config(upstream.url, drain="300ms"))
    async with calling(running.url) as client:
        if asked_for == "an upload":
            begun = post(1000, "Expect: 100-continue").replace(b"application/json", b"audio/wav")
            client.send(begun + b"half")
            await client.until(b"100 Continue\r\n\r\n")
        else:
            client.ask(PATH, {"stream": False})
            await until(lambda: upstream.open_streams == 1)
        await asyncio.sleep(0.1)

        running.send(signal.SIGTERM)

        heard = Heard(await client.rest(), "fin")
    assert await running.ended() == 0
    if asked_for == "more of it":
        assert (heard.status, heard.last_chunk) == (200, False)
    else:
        assert (heard.status, json.loads(heard.body)["code"]) == (503, "shutting_down")
        assert heard.header("connection") == "close"
    (line,) = [line for line in running.log if line["event"] == "request"]
    assert (line["status"], line["code"]) == (heard.status, "shutting_down")
    assert not [line for line in running.log if line["level"] == "error"]


async def test_refused_requests_do_not_prolong_the_drain(run_gate: Any, simulator: Any):
    """However many are refused meanwhile, the process ends with the last answer it owes."""
    upstream = await simulator(Behaviour(tokens=10, rate=20))
    running = await run_gate(config(upstream.url))
    stream = streaming(running.url)
    await until(lambda: upstream.open_streams == 1)
    running.send(signal.SIGTERM)
    await until(lambda: any(line["event"] == "draining" for line in running.log))
    async with calling(running.url) as pest:
        pest.send(post(1 << 20))  # refused at once, and its body never comes
        assert b" 503 " in await pest.until(b"\r\n\r\n")

        assert told(await stream) == ("", None)
        assert await running.ended() == 0


async def test_a_slow_reader_gets_the_end_of_its_answer(run_gate: Any, simulator: Any):
    """The process does not end before the last bytes of an answer have left, though its stream is over."""
    upstream = await simulator(Behaviour(tokens=6000, rate=0))
    running = await run_gate(config(upstream.url).replace("heartbeat: off", "batch: off"))

    async def states() -> list[str]:
        return [row["state"] for row in (await asked(f"{running.admin_url}/-/streams"))[2]["streams"]]

    async with calling(running.url, receive_buffer=4096) as client:
        client.ask(PATH, Connection="close")
        while await states() != ["blocked"]:
            await asyncio.sleep(0.01)
        while await states():
            await client.reader.read(1 << 10)

        running.send(signal.SIGTERM)
        await until(lambda: any(line["event"] == "draining" for line in running.log))
        await asyncio.sleep(0.3)

        rest = await client.rest()
    assert len(rest) > 1 << 16, "the client had not read all of it before"
    assert rest.endswith(b"\r\n0\r\n\r\n")
    assert await running.ended() == 0


async def test_a_kill_looks_like_one(run_gate: Any, simulator: Any):
    """SIGKILL leaves the body without its end, so that no client takes it for whole (G3)."""
    upstream = await simulator(Behaviour(fault="infinite", rate=50))
    running = await run_gate(config(upstream.url))
    async with calling(running.url) as client:
        client.ask(PATH)
        await client.until(b"token")

        running.send(signal.SIGKILL)

        assert not (await client.rest()).endswith(b"0\r\n\r\n")
    await until(lambda: upstream.gone == 1)


# Reloading


class Reloaded:
    """A running gate and the file it was started with."""

    def __init__(self, running: Any, file: Path) -> None:
        self.running, self.file = running, file
        self._times = 0

    async def write(self, text: str, how: str = "SIGHUP") -> Any:
        """Change the file and have it read; return the answer if it was asked for, else the log line."""
        self.file.write_text(on_free_ports(text), "utf-8")
        return await self.read(how)

    async def read(self, how: str = "SIGHUP") -> Any:
        self._times += 1
        answer = None
        if how == "POST":
            answer = await asked(f"{self.running.admin_url}/-/reload", "POST")
        else:
            self.running.send(signal.SIGHUP)
        await until(lambda: len(self._told) == self._times)
        return answer or self._told[-1]

    @property
    def _told(self) -> list[dict[str, Any]]:
        return [line for line in self.running.log if "reload" in line["event"]]

    async def last_worked(self) -> float:
        return leaks.total(await metrics(self.running), "ssegate_config_last_reload_successful")


@pytest.fixture
async def reloading(run_gate: Any, tmp_path: Path) -> Any:
    async def start(text: str) -> Reloaded:
        return Reloaded(await run_gate(text), tmp_path / "gate1.yaml")

    return start


@pytest.mark.parametrize("how", ["SIGHUP", "POST"])
async def test_a_good_file_is_taken(how: str, reloading: Any, simulator: Any):
    """New requests see the new file, a running stream goes on as it began, though its route is gone (G5)."""
    upstream = await simulator(Behaviour(tokens=20, rate=20))
    gate = await reloading(config(upstream.url))
    stream = streaming(gate.running.url)
    await until(lambda: upstream.open_streams == 1)

    answer = await gate.write(config(upstream.url, path="/v1/completions"), how)

    if how == "POST":
        assert (answer[0], answer[2]["status"]) == (200, "reloaded")
    assert await gate.last_worked() == 1
    assert (await talk(gate.running.url, PATH, {"stream": True})).status == 404
    other = await talk(
        gate.running.url, "/v1/completions", {"stream": True, "prompt": "x"}, X_Simulate="rate=0"
    )
    assert told(other) == ("", None)
    assert told(await stream) == ("", None)


async def test_a_broken_file_changes_nothing(reloading: Any, simulator: Any):
    """Whatever is wrong, the old file stays in force in full, it is told where, and a metric says so (G4)."""
    upstream = await simulator(Behaviour(tokens=40, rate=20))
    good = config(upstream.url)
    gate = await reloading(good)
    stream = streaming(gate.running.url)
    await until(lambda: upstream.open_streams == 1)
    broken = {
        "unknown key": (f"{good}nonsense: 1\n", "nonsense"),
        "not YAML": (f"{good}routes: [\n", ""),
        "no routes": ("# nothing here\n", "routes"),
        "no such upstream": (good.replace("{name: chat,", "{name: chat, upstream: missing,"), "missing"),
        "a variable that is not set": (
            good.replace(upstream.url, "${SSEGATE_TEST_UNSET}"),
            "SSEGATE_TEST_UNSET",
        ),
    }

    for what, (text, word) in broken.items():
        line = await gate.write(text)
        assert (line["event"], line["level"]) == ("reload_failed", "error"), what
        assert word in line["error"], what
        assert "gate1.yaml:" in line["error"], what
        assert await gate.last_worked() == 0, what
        status, _, body = await gate.write(text, "POST")
        assert (status, body["code"]) == (500, "bad_config"), what
        assert word in body["error"], what
        heard = await talk(gate.running.url, PATH, {"stream": True}, X_Simulate="rate=0; tokens=2")
        assert told(heard) == ("", None), what

    gate.file.unlink()
    assert (await gate.read())["event"] == "reload_failed"
    assert told(await stream) == ("", None)
    assert (await gate.write(good))["event"] == "reloaded"
    assert await gate.last_worked() == 1
    text = await metrics(gate.running)
    assert leaks.total(text, "ssegate_config_reloads_total", result="error") == 11
    assert leaks.total(text, "ssegate_config_reloads_total", result="success") == 1


async def test_what_needs_a_restart_says_so(reloading: Any, simulator: Any, tmp_path: Path):
    """Listeners stay where they were started; every reload whose file wants them elsewhere says so."""
    upstream = await simulator(Behaviour(tokens=2))
    same = config(upstream.url)
    gate = await reloading(same)
    certificate = self_signed(tmp_path / "both.pem")
    elsewhere = "listen: 127.0.0.1:1\nadmin: 127.0.0.1:2\n" + same

    async def hint(text: str) -> str:
        status, _, body = await gate.write(text, "POST")
        assert status == 200
        return body["message"]

    assert await hint(elsewhere) == "reloaded; restart for: listen, admin"
    assert await hint(elsewhere) == "reloaded; restart for: listen, admin", "still not where it should be"
    assert await hint("admin: off\n" + same) == "reloaded; restart for: admin"
    assert await hint(f"tls: {{cert: {certificate}, key: {certificate}}}\n" + same) == (
        "reloaded; restart for: tls"
    )
    assert (await gate.write(elsewhere))["restart_for"] == ["listen", "admin"]
    assert told(await talk(gate.running.url, PATH, {"stream": True})) == ("", None)
    assert (await asked(f"{gate.running.admin_url}/-/ready"))[0] == 200
    assert await hint(same) == "reloaded"


async def test_an_admin_token_is_changed_at_once(reloading: Any):
    """A new token is taken, the old one is worth nothing, and nothing asks for a restart."""
    text = "admin: {listen: 127.0.0.1:0%s}\n" + config("http://127.0.0.1:9")
    gate = await reloading(text % "")
    far = {"X-Forwarded-For": "203.0.113.9"}

    async def statuses(*tokens: str) -> list[int]:
        url = f"{gate.running.admin_url}/-/streams"
        return [(await asked(url, Authorization=f"Bearer {token}", **far))[0] for token in tokens]

    assert await statuses("first", "second") == [403, 403]
    assert (await gate.write(text % ", token: first"))["restart_for"] is None
    assert await statuses("first", "second") == [200, 401]
    assert (await gate.write(text % ", token: second", "POST"))[2]["message"] == "reloaded"
    assert await statuses("first", "second") == [401, 200]
    assert (await gate.write("admin: off\n" + config("http://127.0.0.1:9")))["restart_for"] == ["admin"]
    assert await statuses("first", "second") == [403, 403]


async def test_new_connections_have_the_new_limits(reloading: Any, simulator: Any):
    """``keepalive`` and ``max_connections`` are those of the file when a client connects."""
    upstream = await simulator(Behaviour(tokens=2))
    gate = await reloading(config(upstream.url))
    async with calling(gate.running.url) as before:
        before.ask("/health", method="GET")
        await before.until(b"healthy")

        await gate.write("keepalive: 300ms\nmax_connections: 2\n" + config(upstream.url))

        async with calling(gate.running.url) as second, calling(gate.running.url) as third:
            third.ask("/health", method="GET")
            assert await third.rest() == b"", "one more than may be"
            second.ask("/health", method="GET")
            await second.until(b"healthy")
            assert await second.rest() == b'"}', "closed after the new keepalive"
        before.ask("/health", method="GET")
        await before.until(b"healthy")


def shown_by(url: str) -> bytes:
    """Return the certificate that a new connection to *url* is shown."""
    host, _, port = url.removeprefix("https://").rpartition(":")
    return ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate((host, int(port)), timeout=5))


def in_file(file: Path) -> bytes:
    """Return the certificate in *file*."""
    text = file.read_text()
    return ssl.PEM_cert_to_DER_cert(text[text.index("-----BEGIN CERT") :])


async def test_a_renewed_certificate_is_shown(reloading: Any, simulator: Any, tmp_path: Path):
    """After a reload new connections see the new pair, of whatever kind; a running stream does not notice."""
    upstream = await simulator(Behaviour(tokens=20, rate=20))
    file = self_signed(tmp_path / "both.pem", key="rsa")
    text = f"tls: {{cert: {file}, key: {file}}}\n" + config(upstream.url)
    gate = await reloading(text)
    url, rsa = gate.running.url, in_file(file)
    async with calling(url, tls=ssl.create_default_context(cafile=file)) as client:
        client.ask(PATH, Connection="close")
        await client.until(b"token")
        assert await asyncio.to_thread(shown_by, url) == rsa

        for key in ("ec", "rsa"):
            renewed = in_file(self_signed(file, key=key))
            assert await asyncio.to_thread(shown_by, url) != renewed
            assert (await gate.write(text))["event"] == "reloaded"
            assert await asyncio.to_thread(shown_by, url) == renewed

        assert b'"finish_reason":"stop"' in await client.rest()


async def test_a_bad_certificate_changes_nothing(reloading: Any, simulator: Any, tmp_path: Path):
    """A pair that cannot be used keeps the whole old file in force, and it is told like any other problem."""
    upstream = await simulator(Behaviour(tokens=2))
    file, other = self_signed(tmp_path / "both.pem"), self_signed(tmp_path / "other.pem")
    text = f"tls: {{cert: {file}, key: {file}}}\n" + config(upstream.url)
    gate = await reloading(text)
    good = in_file(file)
    certificate = file.read_text()[file.read_text().index("-----BEGIN CERT") :]
    key_of_another = other.read_text().partition("-----BEGIN CERT")[0]
    bad = {"none": "this is no certificate", "another's key": key_of_another + certificate}

    for what, content in bad.items():
        file.write_text(content)
        line = await gate.write(text.replace(PATH, "/elsewhere"))
        assert (line["event"], line["level"]) == ("reload_failed", "error"), what
        assert str(file) in line["error"], what
        assert await gate.last_worked() == 0, what
        status, _, body = await gate.read("POST")
        assert (status, body["code"]) == (500, "bad_config"), what
        assert await asyncio.to_thread(shown_by, gate.running.url) == good, what


# Starting


async def run(file: Path, *arguments: str) -> tuple[int, str, str]:
    """Run the command to its end; return exit code, stdout and stderr."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "ssegate", "run", "-c", str(file), *arguments),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(15):
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def test_what_cannot_be_had_is_one_clear_line(tmp_path: Path, simulator: Any):
    """A port in use, a certificate that is none: exit 1, one line that names it, no traceback (G11)."""
    upstream = await simulator()
    taken = upstream.url.removeprefix("http://")
    (tmp_path / "bad.pem").write_text("this is no certificate")
    (tmp_path / "file").write_text("this is no socket")
    self_signed(tmp_path / "good.pem")
    first_lines = {
        "listen": f"listen: {taken}",
        "admin": f"admin: {taken}",
        "directory": "listen: unix:/nonexistent/dir/socket",
        "file": f"listen: unix:{tmp_path}/file",
        "long": f"listen: unix:{tmp_path}/{'x' * 200}",
        "certificate": f"tls: {{cert: {tmp_path}/bad.pem, key: {tmp_path}/bad.pem}}",
        "no certificate": f"tls: {{cert: {tmp_path}/no.pem, key: {tmp_path}/no.pem}}",
    }
    files = {}
    for what, line in first_lines.items():
        files[what] = tmp_path / f"{what}.yaml"
        files[what].write_text(on_free_ports(line + config("http://127.0.0.1:9")))

    results = dict(zip(files, await asyncio.gather(*(run(file) for file in files.values())), strict=True))

    for what, (code, out, err) in results.items():
        assert "listening" not in out, what
        assert "Traceback" not in out + err, what
        if what == "no certificate" and code == 2:
            continue  # found when the file was checked
        assert code == 1, (what, err)
        assert len(err.strip().splitlines()) == 1, (what, err)
        assert err.startswith("ssegate: "), what
    for what in ("listen", "admin"):
        assert results[what][2] == f"ssegate: cannot listen on {taken}: Address already in use\n"
    said = "cannot listen on unix:/nonexistent/dir/socket: No such file or directory"
    assert results["directory"][2] == f"ssegate: {said}\n"
    assert (tmp_path / "file").read_text() == "this is no socket"
    assert "bad.pem" in results["certificate"][2]


@pytest.mark.parametrize("what", ["admin", "tls"])
async def test_what_fails_to_start_leaves_nothing(what: str, simulator: Any, tmp_path: Path):
    """The address that could be had is free again; no session, task or descriptor stays."""
    upstream = await simulator()
    (tmp_path / "bad.pem").write_text("this is no certificate")
    line = {
        "admin": f"admin: {upstream.url.removeprefix('http://')}",
        "tls": f"tls: {{cert: {tmp_path}/bad.pem, key: {tmp_path}/bad.pem}}",
    }[what]
    text = on_free_ports(f"listen: unix:{tmp_path}/socket\n{line}\n" + config(upstream.url))
    gate = Gate(parse(text, "test.yaml", env={}))

    with pytest.raises(OSError, match=r"cannot listen on|bad\.pem"):
        await gate.start()

    assert not (tmp_path / "socket").exists()


# Listeners


async def test_a_tls_listener(gate: Any, simulator: Any, tmp_path: Path):
    """With ``tls`` the data port speaks HTTPS: streams, disconnects and all."""
    certificate = self_signed(tmp_path / "both.pem")
    upstream = await simulator(Behaviour(tokens=20))
    running = await gate(f"tls: {{cert: {certificate}, key: {certificate}}}" + config(upstream.url))
    trusting = ssl.create_default_context(cafile=certificate)

    assert running.url.startswith("https://")
    async with calling(running.url, tls=trusting) as client:
        client.ask(PATH, Connection="close")
        heard = Heard(await client.rest(), "fin")
    assert told(heard) == ("", None)
    async with calling(running.url, tls=trusting) as client:
        client.ask(PATH, X_Simulate="fault=stall")
        await client.until(b"token")
        client.close()
        await until(lambda: upstream.gone == 1)
    await until(lambda: not running.live())
    assert leaks.outcomes(await gate.metrics(running)) == {"completed": 1, "client_gone": 1}


async def test_a_unix_listener(gate: Any, simulator: Any, tmp_path: Path):
    """Data and admin port on Unix sockets."""
    upstream = await simulator(Behaviour(tokens=5))
    data, admin = tmp_path / "data", tmp_path / "admin"
    running = await gate(f"listen: unix:{data}\nadmin: off\n" + config(upstream.url))
    other = await gate(f"listen: unix:{tmp_path}/other\nadmin: unix:{admin}\n" + config(upstream.url))
    # The fixture asks for metrics over TCP.
    gate._running.remove(other)
    try:
        _, body = await over_socket(data, PATH, {"stream": True})
        ready, _ = await over_socket(admin, "/-/ready")
    finally:
        await other.stop()

    assert events(body)[-1][1]["finish_reason"] == "stop"
    assert ready == 200
    assert running.url == f"unix:{data}"


async def test_a_socket_left_by_a_crash_is_no_obstacle(run_gate: Any, simulator: Any, tmp_path: Path):
    """After SIGKILL the file of the socket is still there; the next start takes it over."""
    upstream = await simulator(Behaviour(tokens=2))
    text = f"listen: unix:{tmp_path}/socket\n" + config(upstream.url)
    crashed = await run_gate(text)
    crashed.send(signal.SIGKILL)
    await crashed.ended()
    assert (tmp_path / "socket").exists()

    again = await run_gate(text)

    assert (await over_socket(tmp_path / "socket", "/health"))[0] == 200
    assert await again.stop() == 0
    assert not (tmp_path / "socket").exists()


async def test_the_socket_of_another_gate_is_taken(run_gate: Any, tmp_path: Path):
    """A socket that somebody answers on is left to him: exit 1 with one clear line, as with a port."""
    text = f"listen: unix:{tmp_path}/socket\n" + config("http://127.0.0.1:9")
    await run_gate(text)
    (tmp_path / "second.yaml").write_text(on_free_ports(text))

    code, _, err = await run(tmp_path / "second.yaml")

    said = f"ssegate: cannot listen on unix:{tmp_path}/socket: Address already in use\n"
    assert (code, err) == (1, said)
    assert (await over_socket(tmp_path / "socket", "/health"))[0] == 200


async def test_max_connections(gate: Any, simulator: Any):
    """Beyond ``max_connections`` a client is closed at once; who is in stays in, and room is given back."""
    upstream = await simulator(Behaviour(fault="stall"))
    running = await gate("max_connections: 2" + config(upstream.url))
    async with calling(running.url) as first, calling(running.url) as second:
        first.ask(PATH)
        await first.until(b"token")
        second.ask("/health", method="GET")
        await second.until(b"healthy")

        async with calling(running.url) as third:
            third.ask("/health", method="GET")
            assert await third.rest() == b""
        second.ask("/health", method="GET")
        await second.until(b"healthy")
        assert len(running.live()) == 1
        second.close()

        async with asyncio.timeout(5):
            while True:
                async with calling(running.url) as fourth:
                    fourth.ask("/health", method="GET", Connection="close")
                    if await fourth.rest():
                        break


@pytest.mark.parametrize("sent", [b"", b"GET /health HTTP/1.1\r\nHost: ga"], ids=["nothing", "half a head"])
async def test_idle_connections_are_closed(sent: bytes, gate: Any, simulator: Any):
    """A connection that asks nothing, or never finishes asking, is closed after ``keepalive`` (D1)."""
    upstream = await simulator()
    running = await gate("keepalive: 300ms" + config(upstream.url))
    async with calling(running.url) as client:
        client.send(sent)

        assert await client.rest() == b""


async def test_keepalive(gate: Any, simulator: Any):
    """Between two requests a connection waits for ``keepalive``, a stream in between as long as it takes."""
    upstream = await simulator(Behaviour(tokens=8, rate=10))
    running = await gate("keepalive: 400ms" + config(upstream.url))
    async with calling(running.url) as client:
        client.ask(PATH)
        await client.until(b"\r\n0\r\n\r\n")
        await asyncio.sleep(0.1)
        client.ask("/health", method="GET")
        assert b"200 OK" in await client.until(b"healthy")
        assert (await client.rest()).strip() == b'"}'


async def test_stopping_tells_every_stream(gate: Any, simulator: Any):
    """Whatever runs when the gate is stopped is told ``shutting_down``, in its own format."""
    upstream = await simulator(Behaviour(fault="infinite", rate=50))
    running = await gate(config(upstream.url))
    streams = [streaming(running.url) for _ in range(5)]
    await until(lambda: [row["state"] for row in running.live()] == ["streaming"] * 5)
    gate._running.remove(running)

    await running.stop()

    assert [told(await stream) for stream in streams] == [("error", "shutting_down")] * 5
    assert leaks.outcomes(running.metrics.render(None)[0].decode()) == {"shutting_down": 5}
