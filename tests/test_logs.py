"""The log as its reader sees it: bytes of a pipe or a file, and nobody waits for them."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from aiohttp import ClientSession, web
from aiohttp.http_exceptions import BadStatusLine
from aiohttp.test_utils import TestServer

from ssegate import logs
from ssegate.report import RequestReport, StreamReport

STREAM = StreamReport(
    stream_id="s-1",
    request_id="r-1",
    route="chat",
    method="POST",
    upstream="openai",
    outcome="completed",
    status=200,
    duration=2.5,
    key="web",
    model="gpt-4o",
    finish_reason="stop",
    usage_source="reported",
    upstream_request_id="req_9",
    upstream_status=200,
    ttft=0.41200000001,
    input_tokens=100,
    output_tokens=41,
    tokens_per_second=19.6,
    events_in=42,
    events_out=21,
    bytes_out=4000,
)
REQUEST = RequestReport(
    "r-2", "chat", "POST", 429, 0.01, key="web", code="rate_limit_exceeded", error="slow down"
)


@pytest.fixture(autouse=True)
def quiet_afterwards() -> Iterator[None]:
    root = logging.getLogger()
    level = root.level
    yield
    logs.shutdown()
    root.setLevel(level)


def written(out: io.BytesIO) -> list[dict[str, object]]:
    """Return the lines there are once the writer has ended."""
    logs.shutdown(timeout=5)
    return [json.loads(line) for line in out.getvalue().splitlines()]


def eventually(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline, "not within 5 s"
        time.sleep(0.005)


def test_a_stream_is_one_line_with_its_fields():
    """Level, UTC time, event, and each field of the reference; the answer's tokens are ``tokens``."""
    out = io.BytesIO()
    logs.configure("info", "json", out)
    logs.log_stream(STREAM)

    [line] = written(out)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", str(line.pop("timestamp")))
    assert line == {
        "level": "info",
        "event": "stream",
        "stream_id": "s-1",
        "request_id": "r-1",
        "upstream_request_id": "req_9",
        "route": "chat",
        "upstream": "openai",
        "key": "web",
        "model": "gpt-4o",
        "outcome": "completed",
        "finish_reason": "stop",
        "usage_source": "reported",
        "status": 200,
        "ttft": 0.412,
        "duration": 2.5,
        "tokens": 41,
        "tokens_per_second": 19.6,
        "events_in": 42,
        "events_out": 21,
        "bytes_out": 4000,
        "upstream_status": 200,
    }


def test_a_failed_stream_says_why():
    """Code and error stand beside the outcome, and the level rises."""
    out = io.BytesIO()
    logs.configure("info", "json", out)
    logs.log_stream(replace(STREAM, outcome="idle_timeout", code="idle_timeout", error="silent for 300 s"))
    logs.log_stream(replace(STREAM, outcome="internal", code="internal", error="a bug"))
    logs.log_stream(replace(STREAM, outcome="client_gone", code="client_gone"))

    lines = written(out)
    assert [line["level"] for line in lines] == ["warning", "error", "info"]
    assert lines[0]["error"] == "silent for 300 s"
    assert lines[0]["code"] == lines[0]["outcome"] == "idle_timeout"


def test_a_request_is_one_line():
    """Refused and passed-through requests have their own event; what is not known is left out."""
    out = io.BytesIO()
    logs.configure("info", "json", out)
    logs.log_request(REQUEST)

    [line] = written(out)
    del line["timestamp"]
    assert line == {
        "level": "info",
        "event": "request",
        "request_id": "r-2",
        "route": "chat",
        "method": "POST",
        "upstream": "-",
        "key": "web",
        "code": "rate_limit_exceeded",
        "error": "slow down",
        "status": 429,
        "duration": 0.01,
        "bytes_out": 0,
    }


@pytest.mark.parametrize(
    "text", ['two\nlines "quoted"', "half \ud83d pair", "\x1b[2J\x00", "é漢😀", "x" * 100_000]
)
def test_a_line_stays_one_line_of_json_whatever_is_in_it(text):
    """An upstream's words neither break the line nor the JSON, and cannot fill the disk."""
    out = io.BytesIO()
    logs.configure("info", "json", out)
    logs.log_stream(replace(STREAM, outcome="upstream_error", code="upstream_error", error=text, model=text))

    [line] = written(out)
    assert len(out.getvalue()) < 10_000
    assert str(line["error"])[:2000] == text[:2000]


def test_odd_values_are_written_somehow():
    """A value JSON does not know is its text, and numbers may be large."""
    out = io.BytesIO()
    logs.configure("info", "json", out)
    logs.get_logger().info("odd", error=ValueError("x"), number=10**30)

    [line] = written(out)
    assert line["error"] == "x"
    assert line["number"] == 10**30


def test_the_level_holds():
    """What is below the level is not written, and the level may be changed while running."""
    out = io.BytesIO()
    logs.configure("warning", "json", out)
    logger = logs.get_logger()
    logs.log_stream(STREAM)
    logger.warning("seen")
    logs.configure("debug", "json", out)
    logger.debug("seen too")

    assert [line["event"] for line in written(out)] == ["seen", "seen too"]


def test_console_is_for_people():
    """Not JSON, one line, no colours where there is no terminal, and nothing that steers one."""
    out = io.BytesIO()
    logs.configure("info", "console", out)
    logs.log_stream(replace(STREAM, model="\x1b[2Jgpt\ud83d", outcome="truncated", error="a\nb"))
    logs.get_logger().info("one\nline")
    logs.shutdown(timeout=5)

    first, second = out.getvalue().decode().splitlines()
    assert "stream" in first and "outcome=truncated" in first and "route=chat" in first
    assert "\x1b" not in first
    assert "one\\nline" in second


def test_an_exception_has_its_traceback():
    """In JSON it is one field, on the console it is readable lines."""
    for format, newline in (("json", "\\n"), ("console", "\n")):
        out = io.BytesIO()
        logs.configure("info", format, out)
        try:
            raise ValueError("kaputt")
        except ValueError:
            logs.get_logger().exception("failed")
        logs.shutdown(timeout=5)

        text = out.getvalue().decode()
        assert "Traceback (most recent call last):" + newline in text
        assert "ValueError: kaputt" in text


def filled_pipe() -> tuple[int, int]:
    """Return a pipe that nobody reads and that holds nothing more."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with pytest.raises(BlockingIOError):
        while True:
            os.write(writer, b" " * 4096)
    os.set_blocking(writer, True)
    return reader, writer


class Drain(threading.Thread):
    """Reads a pipe to its end."""

    def __init__(self, reader: int) -> None:
        super().__init__(daemon=True)
        self._reader = reader
        self.text = b""
        self.start()

    def run(self) -> None:
        while data := os.read(self._reader, 65536):
            self.text += data

    def lines(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.text.splitlines()]


@pytest.mark.parametrize("blocking", [True, False])
def test_a_blocked_pipe_stops_nobody(blocking):
    """Logging goes on at its pace; what found no room is counted and told in one line later."""
    reader, writer = filled_pipe()
    os.set_blocking(writer, blocking)
    count = logs.MAX_QUEUED + logs.MAX_BATCH + 1000
    with os.fdopen(writer, "wb", buffering=0) as stream:
        logs.configure("info", "json", stream)
        slowest = 0.0
        for n in range(count):
            started = time.monotonic()
            logs.get_logger().info("line", n=n)
            slowest = max(slowest, time.monotonic() - started)
        lost = logs.dropped()
        drain = Drain(reader)
        eventually(lambda: b"log lines dropped" in drain.text)
        logs.get_logger().info("again")
        logs.shutdown(timeout=5)
    drain.join(5)
    os.close(reader)

    lines = drain.lines()
    assert slowest < 3
    assert 1000 <= lost <= count - logs.MAX_QUEUED
    assert [line["n"] for line in lines if line["event"] == "line"] == list(range(count - lost))
    assert [line["dropped"] for line in lines if line["event"] == "log lines dropped"] == [lost]
    assert lines[-1]["event"] == "again"


def test_the_end_does_not_wait_for_a_blocked_pipe():
    """Shutdown gives up after its time."""
    reader, writer = filled_pipe()
    stream = os.fdopen(writer, "wb", buffering=0)
    logs.configure("info", "json", stream)
    logs.get_logger().info("stuck")
    started = time.monotonic()
    logs.shutdown(timeout=0.05)
    took = time.monotonic() - started
    drain = Drain(reader)
    eventually(lambda: b"stuck" in drain.text)
    stream.close()
    drain.join(5)
    os.close(reader)

    assert 0.05 <= took < 3


def test_a_process_with_a_blocked_stdout_ends():
    """Neither logging nor the interpreter's own exit hangs on a pipe nobody reads."""
    reader, writer = filled_pipe()
    program = (
        "from ssegate import logs\nlogs.configure('info', 'json')\n"
        "for n in range(20_000): logs.get_logger().info('line', n=n)\nlogs.shutdown(0.05)"
    )
    try:
        ended = subprocess.run(
            [sys.executable, "-c", program], stdout=writer, stderr=subprocess.PIPE, timeout=20, check=False
        )
    finally:
        os.close(reader)
        os.close(writer)

    assert (ended.returncode, ended.stderr) == (0, b"")


def test_what_is_queued_is_written_at_the_end():
    """Nothing is lost by an orderly shutdown, to standard output too."""
    program = (
        "from ssegate import logs\nlogs.configure('info', 'json')\n"
        "for n in range(5000): logs.get_logger().info('line', n=n)\nlogs.shutdown(10)"
    )
    out = subprocess.run(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, timeout=30, check=True
    ).stdout

    assert [json.loads(line)["n"] for line in out.splitlines()] == list(range(5000))


class FullDisk(io.BytesIO):
    """A stream that takes half a line and then fails, as long as it is full."""

    full = True

    def write(self, data: object) -> int:
        assert isinstance(data, memoryview)
        if not self.full:
            return super().write(data)
        if len(data) > 10:
            return super().write(data[:10])
        raise OSError(28, "No space left on device")


def test_a_full_disk_fails_nobody_and_is_told_later():
    """Lines that could not be written are counted; the next whole line starts on a line of its own."""
    out = FullDisk()
    logs.configure("info", "json", out)
    logs.get_logger().info("lost")
    eventually(lambda: logs.dropped() == 1)
    out.full = False
    logs.get_logger().info("kept")
    logs.shutdown(timeout=5)

    torn, *lines = out.getvalue().splitlines()
    assert b"kept" not in torn
    assert [json.loads(line)["event"] for line in lines] == ["kept", "log lines dropped"]
    assert json.loads(lines[-1])["dropped"] == 1


def test_library_logs_take_the_same_way():
    """asyncio and aiohttp end up as lines of ours; levels structlog does not know are rounded down."""
    out = io.BytesIO()
    logs.configure("info", "json", out)
    logging.getLogger("asyncio").warning("slow callback: %s", "f()")
    logging.getLogger("asyncio").log(25, "in between")
    logging.getLogger("asyncio").debug("not asked for")
    logging.getLogger("aiohttp.access").info("GET / 200")

    lines = written(out)
    assert [(line["level"], line["logger"], line["event"]) for line in lines] == [
        ("warning", "asyncio", "slow callback: f()"),
        ("info", "asyncio", "in between"),
    ]


def test_after_the_end_library_logs_are_left_alone():
    """Shutdown takes the handler back."""
    before = list(logging.getLogger().handlers)
    logs.configure("info", "json", io.BytesIO())
    logs.configure("debug", "console", io.BytesIO())
    assert len(logging.getLogger().handlers) == len(before) + 1
    logs.shutdown()

    assert logging.getLogger().handlers == before


@pytest.mark.parametrize(("level", "events"), [("info", []), ("debug", ["debug"])])
def test_bytes_that_are_no_http_make_no_traceback(level, events):
    """aiohttp logs an error for what any stranger may send; here it is a line for debugging."""
    out = io.BytesIO()
    logs.configure(level, "json", out)
    try:
        raise BadStatusLine("junk")
    except BadStatusLine as exc:
        logging.getLogger("aiohttp.server").exception("Error handling request from %s", "x", exc_info=exc)

    lines = written(out)
    assert [line["level"] for line in lines] == events
    assert not any("exception" in line for line in lines)


async def test_a_real_server_is_told_apart_from_its_strangers():
    """Over a socket: junk is silent at info, a handler's bug is an error with its traceback."""
    out = io.BytesIO()
    logs.configure("info", "json", out)

    async def buggy(_request: web.Request) -> web.Response:
        raise ZeroDivisionError("a bug")

    app = web.Application()
    app.router.add_get("/", buggy)
    async with TestServer(app) as server, ClientSession() as session:
        async with session.get(server.make_url("/")) as answer:
            assert answer.status == 500
        assert await junk_answered(server)

    lines = [line for line in written(out) if line["level"] != "debug"]
    [line] = [line for line in lines if line.get("logger") == "aiohttp.server"]
    assert line["level"] == "error"
    assert "ZeroDivisionError: a bug" in str(line["exception"])


async def junk_answered(server: TestServer) -> bytes:
    """Send what is no HTTP after a whole request (aiohttp logs an error then) and return the answer."""
    reader, writer = await asyncio.open_connection(server.host, server.port)
    writer.write(b"HEAD /none HTTP/1.1\r\nHost: x\r\n\r\n" + b"GET / HTTP/1.1\r\nbad header\r\n\r\n")
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


def test_a_flood_of_library_errors_is_thinned_out(monkeypatch):
    """So many in a period, then silence; the next one after it tells how many were left out."""
    monkeypatch.setattr(logs, "FOREIGN_PERIOD", 0.2)
    out = io.BytesIO()
    logs.configure("info", "json", out)
    flooding = logging.getLogger("flooding.library")
    for n in range(logs.FOREIGN_BURST + 30):
        flooding.error("again %d", n)
    logging.getLogger("quiet.library").error("heard")
    time.sleep(0.25)
    flooding.error("later")

    lines = written(out)
    assert len(lines) == logs.FOREIGN_BURST + 2
    assert lines[-2]["event"] == "heard"
    assert lines[-1]["event"] == "later" and lines[-1]["suppressed"] == 30
