"""The commands, as somebody at a terminal meets them: what they print, and the code they end with."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import jsonschema
import pytest
import yaml
from click.testing import CliRunner
from simulate.peer import events, talk, until

import ssegate
from ssegate.cli import main
from ssegate.simulate import FAULTS, Behaviour
from ssegate.simulate.text import pieces

from .scripted import DONE, sse

ROOT = Path(__file__).parents[2]
STREAMS = next(
    (d for d in (ROOT / "tests" / "streams", ROOT.parent / "shared" / "streams") if d.is_dir()), None
)
PATH = "/v1/chat/completions"
PATIENCE = 15.0


class Command:
    """A running command; ``out`` grows as it prints."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.out = self.err = ""
        assert process.stdout
        assert process.stderr
        self._reading = asyncio.gather(self._read(process.stdout, "out"), self._read(process.stderr, "err"))

    async def _read(self, stream: asyncio.StreamReader, where: str) -> None:
        while data := await stream.read(1 << 16):
            setattr(self, where, getattr(self, where) + data.decode())

    async def says(self, pattern: str) -> re.Match[str]:
        """Wait until its output has *pattern*."""
        with suppress(TimeoutError):
            await until(lambda: re.search(pattern, self.out) or self._reading.done(), patience=PATIENCE)
        found = re.search(pattern, self.out)
        assert found, f"no {pattern!r} in:\n{self.out}\n{self.err}"
        return found

    async def ended(self) -> int:
        async with asyncio.timeout(PATIENCE):
            code = await self.process.wait()
            await self._reading
        return code

    async def terminated(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return await self.ended()

    async def end(self) -> None:
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()
        await self._reading


@asynccontextmanager
async def running(*arguments: str, cwd: Path | None = None, **env: str) -> AsyncIterator[Command]:
    """Run ``python -m ssegate`` with *arguments*, and no SSEGATE_* variables but those of *env*."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("SSEGATE_")}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "ssegate", *arguments),
        cwd=cwd,
        env={**inherited, **env},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    command = Command(process)
    try:
        yield command
    finally:
        await command.end()


def invoke(*arguments: str) -> tuple[int, str, str]:
    """The same in this process, for what ends before anything is served: forty times as fast."""
    clean = {name: None for name in os.environ if name.startswith("SSEGATE_")}
    result = CliRunner().invoke(main, arguments, prog_name="ssegate", env=clean)
    return result.exit_code, result.stdout, result.stderr


async def run(*arguments: str, cwd: Path | None = None, **env: str) -> tuple[int, str, str]:
    """Run a command to its end; return exit code, stdout and stderr."""
    async with running(*arguments, cwd=cwd, **env) as command:
        return await command.ended(), command.out, command.err


@pytest.fixture
def good(tmp_path: Path) -> Path:
    """A file that is well."""
    file = tmp_path / "ssegate.yaml"
    file.write_text(
        "listen: 127.0.0.1:0\n"
        "admin: 127.0.0.1:0\n"
        "upstreams: {up: {url: http://127.0.0.1:9/v1}}\n"
        "routes:\n"
        "  - {path: /v1/chat/completions}\n"
        "  - {path: /ollama/*, upstream_path: /*}\n"
    )
    return file


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# What every command has in common


async def test_version_and_help():
    """``--version`` and ``--help`` print and end with 0; the help names every command."""
    version, help_ = await asyncio.gather(run("--version"), run("--help"))

    assert (version[0], help_[0]) == (0, 0)
    assert ssegate.__version__ in version[1]
    for command in ("run", "demo", "simulate", "check", "schema", "decode", "healthcheck"):
        assert re.search(rf"^  {command}\b", help_[1], re.MULTILINE), command


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nonsense"],
        ["run", "--nonsense"],
        ["run", "--listen", "127.0.0.1:0"],
        ["run", "-c", "x.yaml", "--upstream", "http://127.0.0.1:9"],
        ["run", "--upstream", "no url"],
        ["run", "--upstream", "http://127.0.0.1:9", "--output", "nonsense"],
        ["run", "--upstream", "http://127.0.0.1:9", "--listen", "nonsense"],
        ["run", "-c", "/nonexistent.yaml"],
        ["check", "-c", "/nonexistent.yaml"],
        ["decode"],
        ["decode", "/nonexistent"],
        ["simulate", "--fault", "nonsense"],
        ["simulate", "--rate", "-1"],
        ["simulate", "--dialect", "nonsense"],
        ["simulate", "--listen", "nonsense"],
        ["demo", "--listen", "nonsense"],
        ["healthcheck", "--admin", "nonsense:nonsense"],
    ],
    ids=" ".join,
)
def test_wrong_usage(arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """What cannot be meant ends with 2, says why on stderr, prints nothing else and no traceback."""
    monkeypatch.chdir(tmp_path)

    code, out, err = invoke(*arguments)

    assert code == 2, err
    assert err.strip()
    assert out == ""
    assert "Traceback" not in err


async def test_wrong_usage_of_the_process():
    """The exit code is that of the process."""
    code, _, err = await run("simulate", "--fault", "nonsense")

    assert (code, "Usage: ssegate simulate" in err or "Usage: python -m ssegate simulate" in err) == (2, True)


async def test_the_command_and_the_module_are_the_same_program(good: Path):
    """``ssegate`` is ``python -m ssegate``."""
    script = Path(sys.executable).with_name("ssegate")
    if not script.exists():
        pytest.skip("the package is not installed, only importable")
    process = await asyncio.create_subprocess_exec(
        str(script), "check", "-c", str(good), stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()

    assert (process.returncode, out.decode()) == (await run("check", "-c", str(good)))[:2]


# run


@pytest.fixture
def admin_is_free() -> None:
    """Without a file the admin port is 9464, and only one gate of a machine can have it."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", 9464))
        except OSError:
            pytest.skip("another program of this machine has port 9464")


async def test_run_without_a_file(admin_is_free: None, simulator: Any, tmp_path: Path):
    """``run --upstream URL`` sends every path there, finds the dialect, and picks the output by the path."""
    upstream = await simulator(Behaviour(tokens=5))
    arguments = ["run", "--upstream", upstream.url, "--listen", f"127.0.0.1:{free_port()}"]
    async with running(*arguments, cwd=tmp_path) as command:
        url = json.loads((await command.says(r'\{.*"listening".*\}'))[0])["listen"]

        chat = await talk(url, PATH, {"stream": True})
        ollama = await talk(url, "/api/chat", {})
        models = await talk(url, "/v1/models", {}, method="GET")
        command.process.send_signal(signal.SIGHUP)
        await command.says(r'"reload_failed".*started without a file')

        assert await command.terminated() == 0
    assert chat.body.endswith(b"data: [DONE]\n\n")
    assert json.loads(ollama.body.splitlines()[-1])["done"] is True
    assert json.loads(models.body)["data"][0]["id"] == "simulated-1"
    assert command.err == ""


async def test_run_by_environment(admin_is_free: None, simulator: Any, tmp_path: Path):
    """``SSEGATE_UPSTREAM``, ``SSEGATE_LISTEN`` and ``SSEGATE_OUTPUT`` say the same."""
    upstream = await simulator(Behaviour(tokens=5))
    env = {
        "SSEGATE_UPSTREAM": upstream.url,
        "SSEGATE_LISTEN": f"127.0.0.1:{free_port()}",
        "SSEGATE_OUTPUT": "native",
    }
    async with running("run", cwd=tmp_path, **env) as command:
        url = json.loads((await command.says(r'\{.*"listening".*\}'))[0])["listen"]
        assert url == f"http://{env['SSEGATE_LISTEN']}"

        heard = await talk(url, PATH, {"messages": []})

        assert await command.terminated() == 0
    assert events(heard.body)[-1][1]["finished"] is True


@pytest.mark.parametrize("found", ["-c", "SSEGATE_CONFIG", "./ssegate.yaml"])
async def test_where_the_file_is_looked_for(found: str, good: Path, tmp_path: Path):
    """``-c``, else the variable, else the file in the directory."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    arguments = ["-c", str(good)] if found == "-c" else []
    env = {"SSEGATE_CONFIG": str(good)} if found == "SSEGATE_CONFIG" else {}
    cwd = good.parent if found == "./ssegate.yaml" else elsewhere
    async with running("run", *arguments, cwd=cwd, **env) as command:
        await command.says("listening")

        assert await command.terminated() == 0


# check


async def test_check_good(good: Path):
    """A good file: exit 0, and where each route goes."""
    code, out, err = await run("check", "-c", str(good))

    assert (code, err) == (0, "")
    assert "/v1/chat/completions" in out
    assert "http://127.0.0.1:9/v1/chat/completions" in out, "not doubled"
    assert "http://127.0.0.1:9/v1/*" in out


def replaced(old: str, new: str) -> Callable[[str], str]:
    return lambda text: text.replace(old, new)


BREAKAGE: dict[str, tuple[Callable[[str], str], int, str]] = {
    # what is done to the file, the line it is told for, and a word of the message
    "unknown key": (replaced("listen:", "lisen:"), 1, "listen"),
    "duplicate key": (replaced("admin:", "listen:"), 2, "listen"),
    "wrong type": (replaced("admin: 127.0.0.1:0", "drain: soon"), 2, "drain"),
    "no such upstream": (replaced("completions}", "completions, upstream: other}"), 5, "routes[0].upstream"),
    "unset variable": (replaced("http://127.0.0.1:9/v1", '"${SSEGATE_TEST_UNSET}"'), 3, "SSEGATE_TEST_UNSET"),
    "not YAML": (replaced("routes:", "routes: ["), 5, ""),
    "not built yet": (replaced("completions}", "completions, resume: {keep: 1m}}"), 5, "resume"),
    "open to the world": (
        replaced(
            "listen: 127.0.0.1:0\nadmin: 127.0.0.1:0\nupstreams: {up: {",
            'listen: 0.0.0.0:0\nadmin: 127.0.0.1:0\nupstreams: {up: {headers: {x-api-key: "k"}, ',
        ),
        1,
        "open",
    ),
}


@pytest.mark.parametrize("what", list(BREAKAGE))
def test_check_bad(what: str, good: Path):
    """Exit 2, and ``FILE:LINE:COL: path: message`` with the line and a caret."""
    change, line, word = BREAKAGE[what]
    text = change(good.read_text())
    assert text != good.read_text()
    good.write_text(text)

    code, out, err = invoke("check", "-c", str(good))

    said = out + err
    assert code == 2
    place = re.search(rf"^{re.escape(str(good))}:(\d+):(\d+): (.+)$", said, re.MULTILINE)
    assert place, said
    assert int(place[1]) == line or what == "not YAML"
    assert word in place[3]
    shown = said[place.end() :].splitlines()
    assert shown[1].strip() in text
    assert re.fullmatch(r" *\^", shown[2])
    assert "Traceback" not in said


async def test_every_problem_at_once(good: Path):
    """Many problems in a file are told in one go, each with its place; ``run`` says the same, exit 2."""
    good.write_text(
        "lisen: 127.0.0.1:0\n"
        "drain: soon\n"
        "upstreams: {up: {url: nowhere}}\n"
        "routes:\n"
        "  - {path: v1, upstream: other}\n"
        "  - {path: /x, heartbeat: often}\n"
    )
    check, start = await asyncio.gather(run("check", "-c", str(good)), run("run", "-c", str(good)))

    said = check[1] + check[2]
    places = re.findall(rf"^{re.escape(str(good))}:(\d+):\d+: (\S+):", said, re.MULTILINE)
    assert check[0] == start[0] == 2
    assert {int(line) for line, _ in places} == {1, 2, 3, 5, 6}
    assert len(places) >= 6
    assert start[1] + start[2] == said


# schema


async def test_schema(good: Path):
    """A JSON Schema that is one, and that a good file fulfils and a bad one does not."""
    code, out, err = await run("schema")

    assert (code, err) == (0, "")
    schema = json.loads(out)
    jsonschema.validators.validator_for(schema).check_schema(schema)
    config = yaml.safe_load(good.read_text())
    jsonschema.validate(config, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**config, "lisen": 1}, schema)


# decode


def recordings(dialect: str) -> list[Path]:
    if STREAMS is None:
        pytest.skip("no recorded streams next to the tests")
    found = sorted(
        file
        for file in (STREAMS / dialect).rglob("*")
        if file.suffix in (".sse", ".raw", ".txt", ".ndjson", ".bin") and b"[DONE]" in file.read_bytes()
    )
    if not found:
        pytest.skip(f"no recorded streams of {dialect}")
    return found[:3]


async def test_decode_a_recording():
    """A recorded body comes out whole, natively and OpenAI-shaped, with the text it had."""
    for file in recordings("openai_chat"):
        native, openai = await asyncio.gather(
            run("decode", str(file)), run("decode", str(file), "--output", "openai")
        )

        chunks = [
            json.loads(line[5:])
            for line in file.read_text("utf-8").splitlines()
            if line.startswith("data:") and "[DONE]" not in line
        ]
        if any("error" in chunk for chunk in chunks):
            continue
        text = "".join(
            choice["delta"].get("content") or ""
            for chunk in chunks
            for choice in chunk["choices"]
            if choice["index"] == 0
        )
        assert (native[0], openai[0]) == (0, 0), (file, native[2])
        said = events(native[1].encode())
        assert "".join(data.get("token", "") for _, data in said if not data.get("choice")) == text, file
        assert said[-1][1]["finished"] is True
        assert openai[1].endswith("data: [DONE]\n\n")


async def test_decode_what_is_cut(tmp_path: Path):
    """A truncated body: what there was, the error a client would get, and exit 1."""
    file = tmp_path / "cut.sse"
    file.write_bytes(sse("hel") + sse("lo") + sse(" world")[:30])

    native, openai = await asyncio.gather(
        run("decode", str(file)), run("decode", "--output", "openai", str(file))
    )

    assert (native[0], openai[0]) == (1, 1)
    *tokens, (name, error) = events(native[1].encode())
    assert "".join(data["token"] for _, data in tokens) == "hello"
    assert (name, error["code"], error["finished"]) == ("error", "upstream_truncated", True)
    assert "upstream_truncated" in native[2]
    assert openai[1].endswith("data: [DONE]\n\n")


@pytest.mark.parametrize(
    "body",
    [b"", b"<html></html>", b'{"error":{"message":"no"}}', b"\x00\x01\x02\xff" * 40],
    ids=["empty", "html", "error", "binary"],
)
async def test_decode_what_is_no_stream(body: bytes, tmp_path: Path):
    """Nothing, a page, an error or noise: exit 1 and a word why, no traceback."""
    file = tmp_path / "body"
    file.write_bytes(body)

    code, _, err = await run("decode", str(file))

    assert code == 1
    assert err.startswith("ssegate: ")
    assert "Traceback" not in err


async def test_decode_a_document(tmp_path: Path):
    """A complete JSON answer becomes a stream of one delta."""
    file = tmp_path / "answer.json"
    message = {"role": "assistant", "content": "hello"}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    file.write_text(json.dumps({"id": "a", "object": "chat.completion", "model": "m", "choices": [choice]}))

    code, out, _ = await run("decode", str(file))

    (_, first), (_, last) = events(out.encode())
    assert (code, first["token"], last["finish_reason"]) == (0, "hello", "stop")


# healthcheck


async def test_healthcheck(run_gate: Any, simulator: Any, tmp_path: Path):
    """Ready 0, draining 1, nothing there 1; the address from the option or the configuration."""
    upstream = await simulator(Behaviour(fault="stall"))
    gate = await run_gate(
        f"upstreams: {{up: {{url: '{upstream.url}'}}}}\nroutes: [{{path: /*}}]\ndrain: 20s\n"
    )
    admin = gate.admin_url.removeprefix("http://")
    config = tmp_path / "found.yaml"
    config.write_text(
        f"admin: {admin}\nupstreams: {{up: {{url: 'http://127.0.0.1:9'}}}}\nroutes: [{{path: /*}}]\n"
    )

    ready, by_config, nothing = await asyncio.gather(
        run("healthcheck", "--admin", admin),
        run("healthcheck", SSEGATE_CONFIG=str(config)),
        run("healthcheck", "--admin", f"127.0.0.1:{free_port()}"),
    )
    stream = asyncio.create_task(talk(gate.url, PATH, {"stream": True}))
    await until(lambda: upstream.open_streams == 1)
    gate.send(signal.SIGTERM)
    await until(lambda: any(line["event"] == "draining" for line in gate.log))
    draining = await run("healthcheck", "--admin", admin)

    assert (ready[0], by_config[0]) == (0, 0)
    assert nothing[0] == 1
    assert draining[0] == 1
    assert "Traceback" not in nothing[2] + draining[2]
    gate.send(signal.SIGTERM)
    await stream


async def test_healthcheck_of_a_unix_socket(run_gate: Any, tmp_path: Path):
    """The admin port may be a Unix socket."""
    await run_gate(
        f"admin: unix:{tmp_path}/admin\n"
        "upstreams: {up: {url: 'http://127.0.0.1:9'}}\n"
        "routes: [{path: /*}]\n"
    )

    here, nothing = await asyncio.gather(
        run("healthcheck", "--admin", f"unix:{tmp_path}/admin"),
        run("healthcheck", "--admin", f"unix:{tmp_path}/nothing"),
    )

    assert (here[0], nothing[0]) == (0, 1)


# simulate


@asynccontextmanager
async def simulating(*arguments: str) -> AsyncIterator[str]:
    """Run ``ssegate simulate``; yields its URL and checks that SIGTERM ends it with 0."""
    async with running("simulate", "--listen", "127.0.0.1:0", *arguments) as command:
        yield (await command.says(r"http://127\.0\.0\.1:\d+"))[0]
        assert await command.terminated() == 0
        assert command.err == ""


async def test_simulate_by_itself():
    """Without options: an OpenAI-shaped stream of 64 tokens at 30 a second, on the path of that name."""
    async with simulating() as url:
        loop = asyncio.get_running_loop()
        began = loop.time()
        heard = await talk(url, PATH, {"stream": True, "max_tokens": 8})

    assert loop.time() - began >= 7 / 30
    said = "".join(c["delta"].get("content") or "" for _, d in events(heard.body)[:-1] for c in d["choices"])
    assert said == "".join(pieces(8, 0))


async def test_simulate_options(tmp_path: Path):
    """``--dialect``, ``--rate``, ``--tokens``, ``--fault`` and ``--replay`` do what they say."""
    recording = tmp_path / "recorded.sse"
    recording.write_bytes(sse("recorded") + DONE)
    async with (
        simulating("--rate", "0", "--tokens", "12", "--dialect", "anthropic") as anthropic,
        simulating("--rate", "0", "--fault", "401") as fault,
        simulating("--replay", str(recording)) as replay,
    ):
        spoken = await talk(anthropic, "/any/path", {"stream": True})
        refused = await talk(fault, PATH, {"stream": True})
        replayed = await talk(replay, "/any/path", {})

    deltas = [data["delta"]["text"] for name, data in events(spoken.body) if name == "content_block_delta"]
    assert "".join(deltas) == "".join(pieces(12, 0))
    assert refused.status == 401
    assert replayed.body == recording.read_bytes()


async def test_simulate_tells_its_faults():
    """The help names every fault."""
    code, out, _ = await run("simulate", "--help")

    assert code == 0
    squeezed = re.sub(r"\s", "", out)
    assert all(fault in squeezed for fault in FAULTS)


async def test_simulate_on_a_taken_port(simulator: Any):
    """Exit 1 with one clear line."""
    upstream = await simulator()

    taken = upstream.url.removeprefix("http://")
    code, _, err = await run("simulate", "--listen", taken)

    assert (code, err) == (1, f"ssegate: cannot listen on {taken}: Address already in use\n")


async def shell(line: str) -> str:
    """Run *line* as somebody who copies it from the terminal does; return what it prints."""
    if shutil.which("curl") is None:
        pytest.skip("there is no curl here")
    pipe, nothing = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_shell(line, stdout=pipe, stderr=nothing)
    async with asyncio.timeout(PATIENCE):
        out, _ = await process.communicate()
    assert process.returncode == 0, line
    return out.decode()


@pytest.fixture
def awkward(tmp_path: Path) -> Path:
    """A path for a socket that means something to shells and to YAML."""
    directory = tmp_path / 'it\'s a "${place}"'
    directory.mkdir()
    return directory / "socket"


async def test_simulate_on_a_unix_socket(awkward: Path):
    """It prints a curl line that works as it is; SIGTERM ends it with 0 and leaves no socket."""
    async with running("simulate", "--tokens", "3", "--listen", f"unix:{awkward}") as command:
        line = (await command.says(r"curl .*"))[0]

        assert "--unix-socket" in line
        assert (await shell(line)).endswith("data: [DONE]\n\n")

        code, _, err = await run("simulate", "--listen", f"unix:{awkward}")
        assert (code, err) == (1, f"ssegate: cannot listen on unix:{awkward}: Address already in use\n")
        assert await command.terminated() == 0
    assert f"unix:{awkward}" in command.out
    assert not awkward.exists()
    assert command.err == ""


async def test_simulate_prints_a_line_to_copy():
    """On a port, too."""
    async with running("simulate", "--tokens", "3", "--listen", "127.0.0.1:0") as command:
        line = (await command.says(r"curl .*"))[0]

        assert (await shell(line)).endswith("data: [DONE]\n\n")


# demo


async def body_of(asking: Any) -> bytes:
    async with asking as answer:
        assert answer.status == 200
        return await answer.read()


async def test_demo():
    """It prints a stream, curl lines that work and a live page that answers; SIGTERM ends it with 0."""
    async with running("demo", "--listen", f"127.0.0.1:{free_port()}") as command:
        await command.says('"finished":true')
        page = (await command.says(r"[Ll]ive page: (http://\S+)"))[1]
        await command.says("Ctrl-C")
        posted = re.search(r"curl -N (http://\S+) -H '([^:]+): ([^']+)' -d '(.+)'", command.out)
        got = re.search(r"curl -N '(http://\S+)'", command.out)
        assert posted
        assert got

        async with aiohttp.ClientSession() as session:
            by_post = session.post(posted[1], data=posted[4], headers={posted[2]: posted[3]})
            for said in await asyncio.gather(*map(body_of, (by_post, session.get(got[1])))):
                blocks = [line[6:] for line in said.decode().splitlines() if line.startswith("data: ")]
                assert json.loads(blocks[-1])["finished"] is True
                assert any(json.loads(block).get("token") for block in blocks)
            async with session.get(page) as answer:
                assert answer.status == 200
                assert answer.content_type == "text/html"
            async with session.get(f"{page}metrics") as answer:
                assert "ssegate_streams_total" in await answer.text()

        assert await command.terminated() == 0
    printed = [line[6:] for line in command.out.splitlines() if line.startswith("data: ")]
    assert "".join(json.loads(line).get("token", "") for line in printed) == "".join(pieces(60, 0))
    assert "Traceback" not in command.err


async def test_demo_on_a_unix_socket(awkward: Path):
    """The same over a socket: a stream is printed, the curl lines work, SIGTERM ends it with 0."""
    async with running("demo", "--listen", f"unix:{awkward}") as command:
        await command.says('"finished":true')
        await command.says("Ctrl-C")

        lines = re.findall(r"curl -N --unix-socket .*", command.out)
        for said in await asyncio.gather(*map(shell, lines)):
            assert events(said.encode())[-1][1]["finished"] is True

        assert await command.terminated() == 0
    assert len(lines) == 2
    printed = [line[6:] for line in command.out.splitlines() if line.startswith("data: ")]
    assert "".join(json.loads(line).get("token", "") for line in printed) == "".join(pieces(60, 0))
    assert not awkward.exists()
    assert command.err == ""


async def test_demo_on_a_taken_port(simulator: Any):
    """Exit 1 with one clear line, and no stream of somebody else's."""
    upstream = await simulator()
    taken = upstream.url.removeprefix("http://")

    code, out, err = await run("demo", "--listen", taken)

    assert (code, out, err) == (1, "", f"ssegate: cannot listen on {taken}: Address already in use\n")


async def test_demo_ends_while_it_streams():
    """SIGTERM in the middle of its own first stream ends it with 0 all the same."""
    async with running("demo", "--listen", f"127.0.0.1:{free_port()}") as command:
        await command.says('"token"')

        assert await command.terminated() == 0
    assert "Traceback" not in command.err
