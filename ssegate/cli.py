"""
The ``ssegate`` command.

Exit codes: 0 fine, 1 failed while running, 2 wrong usage or configuration.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import click

import ssegate
from ssegate import config as configuration
from ssegate import logs
from ssegate.config import Address, Config
from ssegate.decoding import decode_body
from ssegate.demo import run_demo
from ssegate.gate import Gate
from ssegate.keys import new_key
from ssegate.lifecycle import asked_to_end, run_loop, serve
from ssegate.listening import curl
from ssegate.simulate import DIALECTS, FAULTS, Behaviour, Simulator
from ssegate.wire.errors import ConfigError
from ssegate.wire.formats import FORMATS

__all__ = ["main"]

_DEFAULT_ADMIN = "127.0.0.1:9464"
_config_option = click.option(
    "-c",
    "--config",
    "file",
    type=click.Path(path_type=Path),
    envvar="SSEGATE_CONFIG",
    help="The YAML file; default: $SSEGATE_CONFIG, then ./ssegate.yaml.",
)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(ssegate.__version__, "--version", prog_name="ssegate")
def main() -> None:
    """A streaming sidecar for LLM endpoints: any upstream stream in, normalized Server-Sent Events out."""


@main.command()
@_config_option
@click.option("--upstream", envvar="SSEGATE_UPSTREAM", help="No file at all: every path goes to this URL.")
@click.option("--listen", envvar="SSEGATE_LISTEN", help="With --upstream: host:port or unix:/path.")
@click.option("--output", envvar="SSEGATE_OUTPUT", help="With --upstream: the output format; default auto.")
def run(file: Path | None, upstream: str | None, listen: str | None, output: str | None) -> None:
    """Serve until SIGTERM."""
    from_command_line = click.get_current_context().get_parameter_source("file")
    if upstream is None and (listen or output):
        raise click.UsageError("--listen and --output go with --upstream; a file says them itself")
    if upstream is not None and file is not None and _is_typed(from_command_line):
        raise click.UsageError("give either -c FILE or --upstream URL, not both")
    read: Callable[[], Config]
    if upstream is not None:
        read = lambda: configuration.from_upstream(upstream, listen, output)  # noqa: E731
    else:
        read = lambda: configuration.load(file or Path("ssegate.yaml"))  # noqa: E731
    config = _or_exit(read)
    logs.configure(config.log.level, config.log.format)
    _run(lambda: serve(Gate(config, read if upstream is None else None)))


def _is_typed(source: object) -> bool:
    return source is click.core.ParameterSource.COMMANDLINE


def _run(main: Callable[[], Awaitable[int]]) -> None:
    """Run *main* to its exit code; an address that cannot be had is one clear line."""
    try:
        code = run_loop(main)
    except OSError as error:
        click.echo(f"ssegate: {error}", err=True)
        sys.exit(1)
    sys.exit(code)


def _or_exit(read: Callable[[], Config]) -> Config:
    try:
        return read()
    except ConfigError as problem:
        click.echo(str(problem), err=True)
        sys.exit(2)


@main.command()
@_config_option
def check(file: Path | None) -> None:
    """Validate the configuration; print every problem at once, or where each route goes."""
    config = _or_exit(lambda: configuration.load(file or Path("ssegate.yaml")))
    for line in configuration.route_lines(config):
        click.echo(line)


@main.command()
def schema() -> None:
    """Print the JSON Schema of the configuration."""
    click.echo(json.dumps(configuration.schema(), indent=2, ensure_ascii=False))


@main.group("key")
def key_group() -> None:
    """Keys of those who may use the gate."""


@key_group.command("new")
@click.argument("name")
def key_new(name: str) -> None:
    """Print a new random key, once, and the lines of the configuration with its hash."""
    key, digest = new_key()
    click.echo(f"# The key itself, for whoever is to use it; it is shown this once:\n{key}\n")
    click.echo("# For the configuration:\nkeys:")
    click.echo(f"  - name: {json.dumps(name, ensure_ascii=False)}\n    hash: {digest}")


@main.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--output", type=click.Choice(sorted([*FORMATS, "same"])), default="native", show_default=True)
def decode(file: Path, output: str) -> None:
    """Read a recorded upstream body, print what the gate would send."""
    sent, problem = decode_body(file.read_bytes(), output)
    click.echo(sent, nl=False)
    if problem is not None:
        click.echo(f"ssegate: {problem}", err=True)
        sys.exit(1)


@main.command()
@click.option(
    "--admin", help="The admin address; default: the one of the configuration, else 127.0.0.1:9464."
)
def healthcheck(admin: str | None) -> None:
    """Exit 0 if a gate on this machine is ready; for Docker's HEALTHCHECK."""
    given = _address(admin, "--admin") if admin else None
    try:
        status = _ready_status(given or _configured_admin())
    except (OSError, ValueError, http.client.HTTPException) as error:
        click.echo(f"ssegate: not ready: {error}", err=True)
        sys.exit(1)
    click.echo("ready" if status == 200 else f"not ready: HTTP {status}", err=status != 200)
    sys.exit(0 if status == 200 else 1)


def _configured_admin() -> Address:
    """Return the admin address of the configuration that ``run`` would read, else the default one."""
    file = Path(os.environ.get("SSEGATE_CONFIG", "ssegate.yaml"))
    if not file.is_file():
        return Address.parse(_DEFAULT_ADMIN)
    admin = _or_exit(lambda: configuration.load(file)).admin
    if admin is None:
        raise ValueError(f"{file} has no admin port to ask")
    return admin.listen


def _ready_status(admin: Address) -> int:
    """Ask the gate behind *admin*."""
    connection = http.client.HTTPConnection(_reachable(admin.host), admin.port, timeout=2)
    if admin.path is not None:
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(2)
        connection.sock.connect(admin.path)
    try:
        connection.request("GET", "/-/ready", headers={"Host": "localhost"})
        return connection.getresponse().status
    finally:
        connection.close()


def _reachable(host: str) -> str:
    """An address to listen on everywhere is reached on this machine."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)


@main.command()
@click.option("--listen", default="127.0.0.1:8080", show_default=True)
def demo(listen: str) -> None:
    """Run a simulated LLM, a gate and a live page: no key, no network."""
    address = _address(listen)
    logs.configure("warning", "console")
    _run(lambda: run_demo(address))


@main.command()
@click.option("--listen", default="127.0.0.1:8081", show_default=True)
@click.option("--dialect", type=click.Choice(["auto", *DIALECTS]), default="auto", show_default=True)
@click.option("--rate", type=float, default=30, show_default=True, help="Tokens a second; 0: no pauses.")
@click.option("--tokens", type=int, default=64, show_default=True, help="Length of an answer.")
@click.option("--fault", type=click.Choice(sorted(FAULTS)), help="Break every answer this way.")
@click.option(
    "--replay", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="A recorded body."
)
def simulate(
    listen: str, dialect: str, rate: float, tokens: int, fault: str | None, replay: Path | None
) -> None:
    """Run only the simulated upstream, to try clients on."""
    address = _address(listen)
    try:
        behaviour = Behaviour(rate=rate, tokens=tokens, dialect=dialect, fault=fault, replay=replay)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    _run(lambda: _simulate(behaviour, address))


async def _simulate(behaviour: Behaviour, address: Address) -> int:
    ended = asked_to_end()
    async with Simulator(behaviour, address.host, address.port, path=address.path) as simulator:
        click.echo(f"simulated upstream on {simulator.url}; Ctrl-C ends it")
        click.echo(f"""  {curl(simulator.url, "/v1/chat/completions")} -d '{{"stream": true}}'""")
        await ended.wait()
    return 0


def _address(text: str, option: str = "--listen") -> Address:
    try:
        return Address.parse(text)
    except ValueError as error:
        raise click.UsageError(f"{option}: {error}") from None
