"""
Who is measured: how each proxy is configured, started on its own core, and ended.

Each is given what suits it: nginx buffers nothing and keeps its upstream connections, Envoy has no timeouts.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import pwd
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from bench.others import ENVOY, LITELLM
from bench.process import CACHE, Proxy, Site, free_port, max_descriptors
from ssegate.wire import pipeline

# ---- ssegate and the bare relay -----------------------------------------------------------------------


def _ssegate(batch: object) -> Callable[[Site], list[str | Path]]:
    def command(site: Site) -> list[str | Path]:
        upstream = {"url": site.upstream, **({"verify": str(certificate()[0])} if site.tls else {})}
        route = {"path": site.path, "output": "native", "metadata": "every", "batch": batch}
        config = {
            "listen": f"127.0.0.1:{site.port}",
            "admin": f"127.0.0.1:{free_port()}",
            "drain": "1s",
            # Held, never reached.
            "limits": {"requests": "1000000/second", "tokens": "500000000/minute", "streams": 100_000},
            "upstreams": {"llm": upstream},
            "routes": [route],
        }
        file = site.write("ssegate.yaml", json.dumps(config, indent=2))
        return [sys.executable, "-m", "ssegate", "run", "-c", file]

    return command


def _relay(site: Site) -> list[str | Path]:
    return [sys.executable, Path(__file__).with_name("bare_relay.py"), str(site.port), site.upstream]


def _ssegate_version() -> str:
    made = "as Python" if pipeline.__file__.endswith(".py") else "compiled"
    python = f"Python {platform.python_version()}{' of the system' if sys.base_prefix == '/usr' else ''}"
    return f"ssegate {importlib.metadata.version('ssegate')} ({made}), {python}"


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
        Proxy("relay", _relay),
        Proxy("ssegate", _ssegate({}), version=_ssegate_version, ready_path="/health"),
        Proxy("ssegate-wide", _ssegate({"size": 5, "delay": "100ms"}), ready_path="/health"),
        Proxy("ssegate-off", _ssegate("off"), ready_path="/health"),
        Proxy("ssegate-adaptive", _ssegate({"mode": "adaptive", "delay": "100ms"}), ready_path="/health"),
        ENVOY,
        LITELLM,
    )
}
"""By name. ssegate has the batching it is shipped with, -wide holds for 100 ms, -off sends all at once,
-adaptive holds for up to 100 ms as far as it is busy."""
