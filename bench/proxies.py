"""
Who is measured: how each proxy is configured, started on its own core, and ended.

Each is given what suits it: nginx buffers nothing and keeps its upstream connections, Envoy has no timeouts.
"""

from __future__ import annotations

import contextlib
import http.client
import importlib.metadata
import json
import os
import platform
import pwd
import random
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
CACHE = ROOT / ".cache" / "bench"
START_TIMEOUT = 90.0
"""Seconds; LiteLLM takes ten or more."""


class StartError(Exception):
    """A proxy did not come up; the message says why, as far as it told us."""


@dataclass(frozen=True)
class Site:
    """Where a proxy stands between clients and upstream, for one run."""

    port: int
    upstream_port: int
    path: str
    tls: bool
    folder: Path

    @property
    def upstream(self) -> str:
        """URL of the upstream."""
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.upstream_port}"

    def write(self, name: str, text: str) -> Path:
        """Write a file of the proxy's configuration."""
        file = self.folder / name
        file.write_text(text)
        return file


@dataclass(frozen=True)
class Proxy:
    """
    One contender.

    Attributes:
        command: Writes its configuration and returns how it is started.
        missing: Why it cannot run on this machine; None: it can.
        ready_path: What answers 200 once it serves; None: it serves when it takes connections.
        optional: Runs only when asked for.
    """

    name: str
    command: Callable[[Site], list[str | Path]]
    missing: Callable[[], str | None] = lambda: None
    version: Callable[[], str] = lambda: ""
    ready_path: str | None = None
    optional: bool = False


# ---- ssegate and the bare relay -----------------------------------------------------------------------


def _ssegate(batch: object) -> Callable[[Site], list[str | Path]]:
    def command(site: Site) -> list[str | Path]:
        upstream = {"url": site.upstream, **({"verify": str(certificate()[0])} if site.tls else {})}
        route = {"path": site.path, "output": "native", "metadata": "every", "batch": batch}
        config = {
            "listen": f"127.0.0.1:{site.port}",
            "admin": f"127.0.0.1:{free_port()}",
            "drain": "1s",
            "upstreams": {"llm": upstream},
            "routes": [route],
        }
        file = site.write("ssegate.yaml", json.dumps(config, indent=2))
        return [sys.executable, "-m", "ssegate", "run", "-c", file]

    return command


def _relay(site: Site) -> list[str | Path]:
    return [sys.executable, Path(__file__).with_name("bare_relay.py"), str(site.port), site.upstream]


def _relay_version() -> str:
    return ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("aiohttp", "uvloop"))


def _ssegate_version() -> str:
    return f"ssegate {importlib.metadata.version('ssegate')}, Python {platform.python_version()}"


# ---- nginx --------------------------------------------------------------------------------------------

_NGINX = """\
{user}
daemon off;
worker_processes 1;
worker_rlimit_nofile {descriptors};
pid {folder}/nginx.pid;
error_log {folder}/nginx.log;
events {{ worker_connections {descriptors}; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    client_max_body_size 64m;
    client_body_buffer_size 1m;
    keepalive_requests 100000000;
    upstream llm {{
        server 127.0.0.1:{upstream_port};
        keepalive 8192;
        keepalive_requests 100000000;
    }}
    server {{
        listen 127.0.0.1:{port} {listen};
        location / {{
            proxy_pass {scheme}://llm;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_buffering off;
            proxy_read_timeout 600s;
        }}
    }}
}}
"""


def _write_nginx(site: Site, listen: str = "backlog=4096") -> list[str | Path]:
    user = f"user {pwd.getpwuid(0).pw_name};" if os.geteuid() == 0 else ""
    text = _NGINX.format(
        user=user,
        folder=site.folder,
        descriptors=max_descriptors(),
        port=site.port,
        listen=listen,
        upstream_port=site.upstream_port,
        scheme="https" if site.tls else "http",
    )
    file = site.write("nginx.conf", text)
    return [_nginx() or "nginx", "-p", site.folder, "-e", site.folder / "nginx.log", "-c", file]


def _nginx() -> str | None:
    # Debian keeps it where only root's PATH leads.
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")


def _nginx_missing() -> str | None:
    return None if _nginx() else "nginx is not installed (Debian and Ubuntu: apt-get install nginx-light)"


def _nginx_version() -> str:
    said = subprocess.run([_nginx() or "nginx", "-v"], capture_output=True, text=True).stderr
    return said.strip().rpartition(": ")[2].replace("/", " ")


def _tls_front(site: Site) -> list[str | Path]:
    """Terminate TLS before the upstream; not measured, it runs beside the load."""
    chain, key = certificate()
    listen = f"ssl backlog=4096; ssl_certificate {chain}; ssl_certificate_key {key}"
    return _write_nginx(site, listen)


def certificate() -> tuple[Path, Path]:
    """Return certificate and key of the upstream; they are made the first time."""
    folder = CACHE / "tls"
    files = folder / "cert.pem", folder / "key.pem"
    if not files[1].exists():
        folder.mkdir(parents=True, exist_ok=True)
        words = (
            "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3650 "
            f"-subj /CN=localhost -addext subjectAltName=IP:127.0.0.1 -out {files[0]} -keyout {files[1]}"
        )
        subprocess.run(words.split(), check=True, capture_output=True)
    return files


def tls_missing() -> str | None:
    """Say why there can be no TLS upstream here."""
    return _nginx_missing() or (None if shutil.which("openssl") else "openssl is not installed")


TLS_FRONT = Proxy("tls front", _tls_front)

PROXIES = {
    proxy.name: proxy
    for proxy in (
        Proxy("nginx", _write_nginx, _nginx_missing, _nginx_version),
        Proxy("relay", _relay, version=_relay_version),
        Proxy("ssegate", _ssegate({}), version=_ssegate_version, ready_path="/health"),
        Proxy("ssegate-wide", _ssegate({"size": 5, "delay": "100ms"}), ready_path="/health"),
        Proxy("ssegate-off", _ssegate("off"), ready_path="/health"),
    )
}
"""By name. ssegate has the batching it is shipped with, -wide holds for 100 ms, -off sends all at once."""


# ---- a proxy's life -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Running:
    """A proxy that serves."""

    pids: list[int]
    ready_s: float
    """From its start."""
    rest_mib: float
    """Resident memory before the first request."""


@contextlib.contextmanager
def running(proxy: Proxy, site: Site, core: int) -> Iterator[Running]:
    """Start *proxy* at *site*, on *core* alone; end it on leaving."""
    site.folder.mkdir(parents=True, exist_ok=True)
    log = site.folder / f"{proxy.name.replace(' ', '-')}.out"
    command = [str(word) for word in proxy.command(site)]
    began = time.monotonic()
    with log.open("w") as out:
        process = subprocess.Popen(
            command, stdout=out, stderr=out, cwd=ROOT, preexec_fn=lambda: _settle(core), process_group=0
        )
    try:
        _wait_until_ready(proxy, site, process, log)
        ready = time.monotonic() - began
        time.sleep(0.1)  # what is left of starting is not the load's
        pids = _family(process.pid)
        yield Running(pids, ready, sum(map(_rss_mib, pids)))
    finally:
        _end(process)


def _settle(core: int) -> None:
    """Run in the new process: on its core, with all the descriptors it may have."""
    os.sched_setaffinity(0, {core})
    limit = max_descriptors()
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))


def max_descriptors() -> int:
    """How many files a process may have open."""
    return min(resource.getrlimit(resource.RLIMIT_NOFILE)[1], 1 << 18)


def _wait_until_ready(proxy: Proxy, site: Site, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise StartError(f"{proxy.name} ended at once: {log.read_text(errors='replace')[-600:].strip()}")
        if _answers(site.port, proxy.ready_path):
            return
        time.sleep(0.005)
    raise StartError(f"{proxy.name} did not serve within {START_TIMEOUT:.0f} s; see {log}")


def _answers(port: int, path: str | None) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.connect()
        if path is None:
            return True
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _family(pid: int) -> list[int]:
    """Return *pid* and all its descendants."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(one for child in children for one in _family(int(child)))]


def _rss_mib(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE") / (1 << 20)


def _end(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def free_port() -> int:
    """Return a port nobody listens on just now, below those the kernel gives to connections."""
    while True:
        port = random.randrange(20000, 30000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
