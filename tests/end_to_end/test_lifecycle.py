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

from ssegate.simulate import Behaviour
from ssegate.simulate.text import pieces

from . import leaks
from .conftest import on_free_ports
from .scripted import calling, self_signed

# One after the other, by one worker: neighbours that take the processor would move the clocks.
pytestmark = pytest.mark.xdist_group("clocks")

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
    if how == "POST /-/drain":
        running.send(signal.SIGTERM)
    assert await running.ended(within=5) == 0
    assert not running.errors
    (ended,) = [line for line in running.log if line["event"] == "stream"]
    assert ended["outcome"] == "completed"


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
    assert await running.ended(within=5) == 0
    assert [line["outcome"] for line in running.log if line["event"] == "stream"] == ["shutting_down"] * 2
    await until(lambda: upstream.open_streams == 0)


@pytest.mark.parametrize("second", ["SIGTERM", "SIGINT"])
async def test_the_second_signal_hurries(second: str, run_gate: Any, simulator: Any):
    """A second signal ends the drain within a second, with 1; readers are told."""
    upstream = await simulator(Behaviour(fault="infinite", rate=50))
    running = await run_gate(config(upstream.url))
    stream = streaming(running.url)
    await until(lambda: upstream.open_streams == 1)
    running.send(signal.SIGTERM)
    await until(lambda: any(line["event"] == "draining" for line in running.log))
    assert not stream.done()

    loop = asyncio.get_running_loop()
    hurried_at = loop.time()
    running.send(signal.Signals[second])

    assert told(await stream) == ("error", "shutting_down")
    assert await running.ended(within=5) == 1
    assert loop.time() - hurried_at < 2.5  # a second, and what a busy machine adds


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

        assert await running.ended(within=5) == 1


async def test_nothing_to_drain(run_gate: Any, simulator: Any):
    """Without streams it ends at once with 0, idle connections notwithstanding."""
    upstream = await simulator(Behaviour(tokens=3))
    running = await run_gate(config(upstream.url))
    async with calling(running.url) as client:
        client.ask(PATH)
        await client.until(b"\r\n0\r\n\r\n")

        running.send(signal.SIGTERM)

        assert await running.ended(within=5) == 0
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
    assert await running.ended(within=5) == 0


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
        self.running, self._file = running, file
        ports = {"listen": running.url, "admin": running.admin_url}
        self._ports = "".join(f"{key}: {url.removeprefix('http://')}\n" for key, url in ports.items())

    async def write(self, text: str, how: str = "SIGHUP") -> Any:
        """Change the file, keeping the ports, and have it read; return the answer if it was asked for."""
        self._file.write_text(self._ports + text, "utf-8")
        return await self.read(how)

    async def read(self, how: str = "SIGHUP") -> Any:
        if how == "POST":
            return await asked(f"{self.running.admin_url}/-/reload", "POST")
        seen = len(self.running.log)
        self.running.send(signal.SIGHUP)
        await until(lambda: any("reload" in line["event"] for line in self.running.log[seen:]))
        return next(line for line in self.running.log[seen:] if "reload" in line["event"])

    async def last_worked(self) -> float:
        return leaks.total(await metrics(self.running), "ssegate_config_last_reload_successful")


@pytest.fixture
async def reloading(run_gate: Any, tmp_path: Path) -> Any:
    async def start(text: str) -> Reloaded:
        # The ports that were free at the start have to stand in the file: listeners need a restart.
        first = Reloaded(await run_gate(text), tmp_path / "gate1.yaml")
        first._file.write_text(first._ports.replace("127.0.0.1:0", "") + text, "utf-8")
        return first

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

    gate._file.unlink()
    assert (await gate.read())["event"] == "reload_failed"
    assert told(await stream) == ("", None)
    assert (await gate.write(good))["event"] == "reloaded"
    assert await gate.last_worked() == 1
    text = await metrics(gate.running)
    assert leaks.total(text, "ssegate_config_reloads_total", result="error") == 11
    assert leaks.total(text, "ssegate_config_reloads_total", result="success") == 1


async def test_what_needs_a_restart_says_so(reloading: Any, simulator: Any):
    """Another ``listen`` or ``admin`` is no error, but the listeners stay and it is said."""
    upstream = await simulator(Behaviour(tokens=2))
    gate = await reloading(config(upstream.url))
    gate._ports = "listen: 127.0.0.1:1\nadmin: 127.0.0.1:2\n"

    status, _, body = await gate.write(config(upstream.url), "POST")

    assert status == 200
    assert "restart" in body["message"]
    assert "listen" in body["message"]
    assert "admin" in body["message"]
    assert told(await talk(gate.running.url, PATH, {"stream": True})) == ("", None)
    assert (await asked(f"{gate.running.admin_url}/-/ready"))[0] == 200


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
    self_signed(tmp_path / "good.pem")
    first_lines = {
        "listen": f"listen: {taken}",
        "admin": f"admin: {taken}",
        "directory": "listen: unix:/nonexistent/dir/socket",
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
    assert taken.rpartition(":")[2] in results["listen"][2]
    assert taken.rpartition(":")[2] in results["admin"][2]
    assert "bad.pem" in results["certificate"][2]


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
        await until(lambda: upstream.gone == 1, patience=1)
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

    await run_gate(text)

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
