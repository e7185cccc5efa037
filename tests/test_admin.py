"""The admin port over real sockets: who may do what, and what the page is made of."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientResponse, ClientSession, UnixConnector, web
from prometheus_client.parser import text_string_to_metric_families as parse_text

from ssegate.admin import GateView, admin_app
from ssegate.metrics import Metrics

TOKEN = "correct-horse"
ROW = {
    "id": "stream-1",
    "route": "chat",
    "key": "web",
    "model": "gpt-4o",
    "state": "streaming",
    "age": 1.5,
    "tokens": 40,
    "tokens_per_second": 33.3,
    "time_to_first_token": 0.3,
}


class Gate:
    """A gate with one live stream that remembers what it was told."""

    def __init__(self, admin_token: str | None = None) -> None:
        self.metrics = Metrics()
        self.draining = False
        self.admin_token = admin_token
        self.rows: list[dict[str, Any]] = [dict(ROW)]
        self.reload_answer = (True, "2 routes")
        self.told: list[str] = []

    def live(self) -> list[dict[str, Any]]:
        return self.rows

    def begin_drain(self) -> None:
        self.told.append("drain")
        self.draining = True

    def reload(self) -> tuple[bool, str]:
        self.told.append("reload")
        return self.reload_answer

    def cancel(self, stream_id: str) -> bool:
        self.told.append(f"cancel {stream_id}")
        return any(row["id"] == stream_id for row in self.rows)


class Port:
    """A served admin port and a client of it."""

    def __init__(self, session: ClientSession, number: int) -> None:
        self._session = session
        self.number = number

    async def ask(self, method: str, path: str, **headers: str) -> tuple[ClientResponse, Any]:
        """Return the answer and its body, decoded if it is JSON."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        url = f"http://127.0.0.1:{self.number}{path}"
        async with self._session.request(method, url, headers=named) as answer:
            body = await answer.read()
            is_json = answer.content_type == "application/json" and body
            return answer, json.loads(body) if is_json else body

    async def status(self, method: str, path: str, **headers: str) -> int:
        return (await self.ask(method, path, **headers))[0].status


@asynccontextmanager
async def served(gate: GateView, path: Path | None = None) -> AsyncIterator[Port]:
    """Serve on a free loopback port, or on the unix socket *path*."""
    runner = web.AppRunner(admin_app(gate), access_log=None)
    await runner.setup()
    try:
        if path is not None:
            await web.UnixSite(runner, str(path)).start()
            connector = UnixConnector(str(path))
            async with ClientSession(connector=connector) as session:
                yield Port(session, 80)
        else:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            async with ClientSession() as session:
                yield Port(session, runner.addresses[0][1])
    finally:
        await runner.cleanup()


async def test_metrics_are_prometheus_text():
    """A scrape gives what was counted, under the content type it is written in."""
    gate = Gate()
    gate.metrics.stream_started("chat")
    async with served(gate) as port:
        answer, body = await port.ask("GET", "/metrics")

    assert (answer.status, answer.headers["Content-Type"]) == (
        200,
        "text/plain; version=0.0.4; charset=utf-8",
    )
    samples = {sample.name: sample for family in parse_text(body.decode()) for sample in family.samples}
    assert samples["ssegate_streams_active"].labels == {"route": "chat"}
    assert samples["ssegate_streams_active"].value == 1


async def test_openmetrics_when_asked():
    """The scraper's Accept header decides."""
    async with served(Gate()) as port:
        answer, body = await port.ask("GET", "/metrics", Accept="application/openmetrics-text; version=1.0.0")

    assert answer.content_type == "application/openmetrics-text"
    assert body.endswith(b"# EOF\n")


class HeldMetrics(Metrics):
    """Metrics whose rendering takes until the loop, turning meanwhile, lets it go on."""

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.go_on = threading.Event(), threading.Event()

    def render(self, accept: str | None) -> tuple[bytes, str]:
        self.begun.set()
        assert self.go_on.wait(10)
        return super().render(accept)


async def test_a_scrape_does_not_hold_the_loop():
    """Series are rendered beside the loop: it goes on turning meanwhile."""
    gate = Gate()
    gate.metrics = held = HeldMetrics()
    async with served(gate) as port:
        scrape = asyncio.create_task(port.ask("GET", "/metrics"))
        while not held.begun.is_set():
            await asyncio.sleep(0.001)
        assert await port.status("GET", "/-/healthy") == 200
        held.go_on.set()
        answer, _ = await scrape

    assert answer.status == 200


async def test_health_and_readiness():
    """Draining is not ready, and is still healthy."""
    gate = Gate()
    async with served(gate) as port:
        before = [(await port.ask("GET", path))[1] for path in ("/-/healthy", "/-/ready")]
        gate.draining = True
        answer, body = await port.ask("GET", "/-/ready")
        healthy = await port.status("GET", "/-/healthy")

    assert before == [{"status": "healthy"}, {"status": "ready"}]
    assert (answer.status, body) == (503, {"status": "draining"})
    assert healthy == 200


async def test_head_is_an_answer_without_a_body():
    """For every path that GET knows."""
    async with served(Gate()) as port:
        answers = [await port.ask("HEAD", path) for path in ("/metrics", "/-/ready", "/-/streams", "/")]

    assert [(answer.status, body) for answer, body in answers] == [(200, b"")] * 4


async def test_live_streams_are_listed():
    """Rows are given on as they are."""
    async with served(Gate()) as port:
        answer, body = await port.ask("GET", "/-/streams")

    assert body == {"draining": False, "streams": [ROW]}
    assert answer.headers["Cache-Control"] == "no-store"


async def test_a_model_of_half_a_surrogate_pair_is_listed():
    """No upstream can break the list by a name."""
    gate = Gate()
    gate.rows[0]["model"] = "half \ud83d"
    async with served(gate) as port:
        answer, body = await port.ask("GET", "/-/streams")

    assert answer.status == 200
    assert body["streams"][0]["model"] == "half \ud83d"


async def test_an_operator_can_act():
    """Cancel, reload and drain reach the gate, each once."""
    gate = Gate()
    async with served(gate) as port:
        cancelled = await port.ask("DELETE", "/-/streams/stream-1")
        unknown = await port.ask("DELETE", "/-/streams/nobody")
        reloaded = await port.ask("POST", "/-/reload")
        drained = await port.ask("POST", "/-/drain")

    assert (cancelled[0].status, cancelled[1]) == (200, {"status": "closed"})
    assert (unknown[0].status, unknown[1]["code"]) == (404, "not_found")
    assert (reloaded[0].status, reloaded[1]) == (200, {"status": "reloaded", "message": "2 routes"})
    assert (drained[0].status, drained[1]) == (202, {"status": "draining"})
    assert gate.told == ["cancel stream-1", "cancel nobody", "reload", "drain"]


async def test_a_reload_that_fails_says_why():
    """The report of the configuration's problems is the answer."""
    gate = Gate()
    gate.reload_answer = (False, "ssegate.yaml:3:1: route: unknown key")
    async with served(gate) as port:
        answer, body = await port.ask("POST", "/-/reload")

    assert answer.status == 500
    assert body == {"error": "ssegate.yaml:3:1: route: unknown key", "code": "bad_config"}


async def test_what_is_not_there_is_json_too():
    """Unknown paths and methods answer in the common shape; no file but the page's is served."""
    async with served(Gate()) as port:
        missing = await port.ask("GET", "/page/..%2fadmin.py")
        wrong = await port.ask("POST", "/metrics")

    assert (missing[0].status, missing[1]["code"]) == (404, "not_found")
    assert (wrong[0].status, wrong[1]["code"]) == (405, "method_not_allowed")
    assert set(wrong[0].headers["Allow"].split(",")) == {"GET", "HEAD"}


GUARDED = [
    ("GET", "/-/streams"),
    ("DELETE", "/-/streams/stream-1"),
    ("POST", "/-/reload"),
    ("POST", "/-/drain"),
    ("GET", "/"),
    ("GET", "/page/page.js"),
    ("GET", "//metrics"),
]
STRANGERS = [
    {"X_Forwarded_For": "203.0.113.9"},
    {"Forwarded": "for=203.0.113.9"},
    {"X_Real_IP": "203.0.113.9"},
    {"Host": "evil.example"},
    {"Host": "localhost.evil.example"},
    {"Host": "127.0.0.1.evil.example"},
    {"Host": "[::1"},
    {"Host": ""},
]


@pytest.mark.parametrize("headers", STRANGERS, ids=str)
@pytest.mark.parametrize("method_path", GUARDED, ids=" ".join)
async def test_only_loopback_looks_are_not_enough(method_path, headers):
    """What came through a proxy or under a strange name is not from this machine, whatever its address."""
    gate = Gate()
    async with served(gate) as port:
        answer, body = await port.ask(*method_path, **headers)

    assert (answer.status, body["code"]) == (403, "forbidden")
    assert gate.told == []


@pytest.mark.parametrize("path", ["/metrics", "/-/healthy", "/-/ready"])
async def test_scrapers_and_probes_need_nothing(path):
    """They come from anywhere, under any name."""
    async with served(Gate(TOKEN)) as port:
        assert (
            await port.status("GET", path, Host="ssegate.monitoring.svc", X_Forwarded_For="10.0.0.7") == 200
        )


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:9464", "gate.localhost:1", "127.0.0.1:9464", "[::1]:9464"]
)
async def test_local_names_and_addresses_are_local(host):
    """What no name server can point elsewhere is trusted from this machine."""
    async with served(Gate()) as port:
        assert await port.status("GET", "/-/streams", Host=host) == 200


@pytest.mark.parametrize("headers", STRANGERS, ids=str)
async def test_the_token_opens_from_anywhere(headers):
    """Scheme in any case; a browser's page from elsewhere has no token."""
    async with served(Gate(TOKEN)) as port:
        assert await port.status("GET", "/-/streams", Authorization=f"bearer {TOKEN}", **headers) == 200


@pytest.mark.parametrize(
    "shown",
    ["", "Bearer", "Bearer ", "Bearer wrong", f"Bearer {TOKEN}x", f"Basic {TOKEN}", TOKEN, "Bearer \udcff"],
)
async def test_a_wrong_token_is_none(shown):
    """A stranger is told which proof is missing; nothing happens."""
    gate = Gate(TOKEN)
    async with served(gate) as port:
        answer, body = await port.ask("POST", "/-/drain", Authorization=shown, X_Forwarded_For="203.0.113.9")

    assert (answer.status, body["code"]) == (401, "unauthorized")
    assert answer.headers["WWW-Authenticate"].startswith("Bearer ")
    assert gate.told == []


@pytest.mark.parametrize("token", [None, ""])
async def test_no_token_configured_opens_nothing(token):
    """An empty token is no token."""
    async with served(Gate(token)) as port:
        assert await port.status("GET", "/-/streams", Authorization="Bearer ", Host="evil.example") == 403


CROSS_SITE = [
    {"Origin": "https://evil.example"},
    {"Origin": "http://127.0.0.1:3000"},
    {"Origin": "null"},
    {"Origin": ""},
    {"Sec_Fetch_Site": "cross-site"},
    {"Sec_Fetch_Site": "same-site"},
]


@pytest.mark.parametrize("token", [None, TOKEN])
@pytest.mark.parametrize("headers", CROSS_SITE, ids=str)
@pytest.mark.parametrize("method_path", [pair for pair in GUARDED if pair[0] != "GET"], ids=" ".join)
async def test_pages_of_others_change_nothing(method_path, headers, token):
    """A browser that acts for another origin is refused, with or without the token."""
    gate = Gate(token)
    proof = {"Authorization": f"Bearer {token}"} if token else {}
    async with served(gate) as port:
        answer, body = await port.ask(*method_path, **headers, **proof)

    assert (answer.status, body["code"]) == (403, "forbidden_origin")
    assert gate.told == []


async def test_the_page_itself_may_act():
    """Its requests carry our own origin."""
    gate = Gate()
    async with served(gate) as port:
        own = {"Origin": f"http://localhost:{port.number}", "Host": f"localhost:{port.number}"}
        status = await port.status("DELETE", "/-/streams/stream-1", Sec_Fetch_Site="same-origin", **own)

    assert (status, gate.told) == (200, ["cancel stream-1"])


async def test_a_unix_socket_is_this_machine(tmp_path):
    """Its file's permissions say who may; no browser gets there, so the name does not matter."""
    async with served(Gate(), tmp_path / "admin.sock") as port:
        assert await port.status("GET", "/-/streams", Host="whatever") == 200
        assert await port.status("GET", "/-/streams", X_Forwarded_For="203.0.113.9") == 403


async def test_another_machine_is_not_this_one():
    """A peer of another address is refused. Skipped where there is only loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing: it only asks for the way
        except OSError:
            pytest.skip("no address but loopback")
        own = probe.getsockname()[0]
    if own.startswith("127."):
        pytest.skip("no address but loopback")
    runner = web.AppRunner(admin_app(Gate()), access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, own, 0).start()
        async with ClientSession() as session:
            url = f"http://{own}:{runner.addresses[0][1]}"
            async with session.get(f"{url}/-/streams") as refused, session.get(f"{url}/metrics") as scraped:
                assert (refused.status, scraped.status) == (403, 200)
    finally:
        await runner.cleanup()


async def test_the_page_stands_on_its_own():
    """Every file it names is served with its type; nothing is inline or from elsewhere."""
    async with served(Gate()) as port:
        answer, html = await port.ask("GET", "/")
        linked = re.findall(r'(?:src|href)="([^"]+)"', html.decode())
        files = {
            link: (await port.ask("GET", f"/{link}"))[0] for link in linked if not link.startswith("data:")
        }

    assert answer.content_type == "text/html"
    assert answer.headers["Content-Security-Policy"] == (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src 'self' data:; frame-ancestors 'none'"
    )
    assert {link: (file.status, file.content_type) for link, file in files.items()} == {
        "page/page.css": (200, "text/css"),
        "page/page.js": (200, "text/javascript"),
    }
    assert all(file.headers["X-Content-Type-Options"] == "nosniff" for file in files.values())
    assert not re.search(r"<style|<script(?![^>]*src)|\son\w+=|\sstyle=", html.decode())


async def test_the_script_writes_text_only():
    """Models' and keys' names are strangers' words: no way of the script turns them into HTML or code."""
    async with served(Gate()) as port:
        _, script = await port.ask("GET", "/page/page.js")
        _, html = await port.ask("GET", "/")

    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|\.style\b",
        script.decode(),
    )
    asked = set(re.findall(r'find\("(\w+)"\)', script.decode()))
    assert asked and asked <= set(re.findall(r'id="(\w+)"', html.decode()))
