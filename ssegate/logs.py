"""
The log: one line at the end of each stream and request, and whatever else is worth telling.

    event ─► structlog: level, UTC time, JSON or console ─► bounded queue ─► writer thread ─► stdout

Writing never waits and never fails for those who log: a blocked or full stdout fills the queue, further lines
are dropped and counted, and one line tells how many once writing is possible again. The logs of libraries
(aiohttp, asyncio) take the same way; what hostile clients can provoke there is thinned out.

Settings are the process's own, as those of ``logging`` and structlog are: ``configure`` may be called again.
"""

from __future__ import annotations

import json
import logging
import re
import select
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import BinaryIO

import msgspec
import structlog
from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

from ssegate.report import RequestReport, StreamReport

__all__ = ["LEVELS", "configure", "dropped", "get_logger", "log_request", "log_stream", "shutdown"]

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
"""As ``logging`` counts them."""

MAX_QUEUED = 8192
"""Lines; about a second of 8 000 streams ending."""

MAX_BATCH = 256
"""Lines written at once."""

MAX_TEXT = 2000
"""Characters of an error's message or a model's name: the upstream chose them."""

FOREIGN_BURST, FOREIGN_PERIOD = 20, 10.0
"""Lines of a library's logger in so many seconds; the rest is counted and told with the next one."""


def configure(level: str, format: str, stream: BinaryIO | None = None) -> None:
    """
    Send all logs to *stream* from now on.

    Args:
        level: One of ``LEVELS``.
        format: ``json`` (one object a line) or ``console`` (for people).
        stream: Where bytes go, unbuffered if it can be; None: standard output.
    """
    global _writer, _logger
    stream = stream if stream is not None else _stdout()
    if _writer is None or _writer.stream is not stream:
        shutdown()
        _writer = _Writer(stream)
    line = _Line(_writer.put)
    structlog.configure(
        processors=_processors(format, stream),
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=lambda *_names: line,
        cache_logger_on_first_use=False,  # or loggers made before would keep the old level and stream
    )
    _logger = get_logger().bind()  # once, where a logger would do it for each line
    root = logging.getLogger()
    root.setLevel(LEVELS[level])
    root.addHandler(_library_handler)  # once, however often it is added
    logging.getLogger("aiohttp.access").disabled = True  # the request's own line says more


def shutdown(timeout: float = 0.5) -> None:
    """Write what is queued, waiting at most *timeout* seconds; later lines are lost."""
    global _writer
    logging.getLogger().removeHandler(_library_handler)
    if _writer is not None:
        _writer.stop(timeout)
        _writer = None


def get_logger() -> FilteringBoundLogger:
    """Return the logger: ``get_logger().info("listening", address=…)``."""
    logger: FilteringBoundLogger = structlog.get_logger()
    return logger


def dropped() -> int:
    """Return how many lines were dropped because they could not be written."""
    return _writer.dropped if _writer is not None else 0


def log_stream(report: StreamReport) -> None:
    """Write the one line of a counted stream."""
    level = _STREAM_LEVELS.get(report.outcome, logging.WARNING)
    if _logger.is_enabled_for(level):
        _logger.log(level, "stream", **_fields(report, _STREAM_FIELDS))


def log_request(report: RequestReport) -> None:
    """Write the one line of any other request."""
    level = logging.ERROR if report.code == "internal" else logging.INFO
    _logger.log(level, "request", **_fields(report, _REQUEST_FIELDS))


_STREAM_LEVELS = dict.fromkeys(("completed", "client_gone", "cancelled", "shutting_down"), logging.INFO)
_STREAM_LEVELS["internal"] = logging.ERROR

# fmt: off
_STREAM_FIELDS = (
    "stream_id", "request_id", "upstream_request_id", "route", "upstream", "key", "model", "outcome", "code",
    "error", "finish_reason", "usage_source", "status", "ttft", "duration", "tokens", "tokens_per_second",
    "events_in", "events_out", "bytes_out", "upstream_status",
)
_REQUEST_FIELDS = (
    "request_id", "upstream_request_id", "route", "method", "upstream", "key", "model", "code", "error",
    "usage_source", "status", "duration", "tokens", "bytes_out", "upstream_status",
)
# fmt: on


def _fields(report: StreamReport | RequestReport, names: tuple[str, ...]) -> dict[str, object]:
    """Return what is known of *names*, short enough for a line; ``tokens`` are those of the answer."""
    line: dict[str, object] = {}
    for name in names:
        value = getattr(report, "output_tokens" if name == "tokens" else name)
        if isinstance(value, str):
            line[name] = _clipped(value)
        elif value is not None:
            line[name] = round(value, 6)
    return line


def _clipped(text: str) -> str:
    return text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}…"


# What a line looks like


def _processors(format: str, stream: BinaryIO) -> list[Processor]:
    chain: list[Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    if format == "json":
        return [*chain, _as_json]
    return [*chain, _without_controls, _console(stream)]


def _as_json(_logger: WrappedLogger, _method: str, event: EventDict) -> bytes:
    """Render one line: time, level and event first, the rest in the order it was given."""
    line = {"timestamp": event.pop("timestamp"), "level": event.pop("level"), "event": event.pop("event")}
    line.update(event)
    try:
        return msgspec.json.encode(line, enc_hook=str)
    except (UnicodeEncodeError, TypeError, ValueError):
        # Half a surrogate pair from an upstream's JSON, a number beyond 64 bits, a key that is no string:
        # json.dumps() escapes the first and takes the others, three times slower.
        return json.dumps(line, default=str, skipkeys=True, separators=(",", ":")).encode()


_CONTROLS = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def _without_controls(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Escape what could steer the reader's terminal: clients and upstreams choose some of the text."""
    for name, value in event.items():
        if isinstance(value, str):
            text = _CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", value)
            event[name] = text if name == "exception" else text.replace("\n", "\\n")
    return event


def _console(stream: BinaryIO) -> Processor:
    render = structlog.dev.ConsoleRenderer(
        colors=stream.isatty(), exception_formatter=structlog.dev.plain_traceback
    )

    def encoded(logger: WrappedLogger, method: str, event: EventDict) -> bytes:
        return render(logger, method, event).encode(errors="backslashreplace")

    return encoded


# The way out


class _Writer:
    """
    A thread that writes lines, and the bounded queue before it.

    A thread because a write to a pipe nobody reads blocks, and the event loop must not; a daemon because
    such a write never ends, and the process must.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self.stream = stream
        self.dropped = 0
        self._told = 0
        self._torn = False
        self._lock = threading.Lock()
        self._queue: SimpleQueue[bytes | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="ssegate-log", daemon=True)
        self._thread.start()

    def put(self, line: bytes) -> None:
        """Queue *line*, or count it as dropped."""
        # qsize() and put() are two steps: threads that log at once may pass the bound by their number.
        if self._queue.qsize() < MAX_QUEUED:
            self._queue.put(line + b"\n")
        else:
            self._drop(1)

    def stop(self, timeout: float) -> None:
        self._queue.put(None)
        self._thread.join(timeout)

    def _drop(self, lines: int) -> None:
        with self._lock:
            self.dropped += lines

    def _run(self) -> None:
        going = True
        while going:
            lines, going = self._take()
            self._write(lines)
            self._tell()
        self._queue.put(None)  # what was told just now has to leave, too
        self._write(self._take()[0])

    def _tell(self) -> None:
        """Log how many lines were dropped, once there is room for it again."""
        if self.dropped > self._told and not self._torn and self._queue.qsize() < MAX_QUEUED // 2:
            lost, self._told = self.dropped - self._told, self.dropped
            get_logger().error("log lines dropped", dropped=lost)

    def _take(self) -> tuple[list[bytes], bool]:
        """Return the lines there are, waiting for the first; False after the last."""
        lines: list[bytes] = []
        line = self._queue.get()
        with suppress(Empty):
            while line is not None:
                lines.append(line)
                if len(lines) == MAX_BATCH:
                    break
                line = self._queue.get_nowait()
        return lines, line is not None

    def _write(self, lines: list[bytes]) -> None:
        # After a write that failed half-way its line has no end: it gets one before the next.
        data = (b"\n" if self._torn else b"") + b"".join(lines)
        try:
            _write_all(self.stream, data)
        except (OSError, ValueError):  # the disk is full, the reader has gone, the stream is closed
            self._torn = True
            self._drop(len(lines))
        else:
            self._torn = False


class _Line:
    """structlog's innermost logger: every level is the same."""

    __slots__ = ("msg",)

    def __init__(self, put: Callable[[bytes], None]) -> None:
        self.msg = put

    def __getattr__(self, _level: str) -> Callable[[bytes], None]:
        return self.msg


def _write_all(stream: BinaryIO, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        written: int | None = stream.write(rest)
        if written is None:  # somebody made the pipe non-blocking, and it is full
            select.select([], [stream], [])
        else:
            rest = rest[written:]
    stream.flush()


def _stdout() -> BinaryIO:
    """Return standard output without its buffer, whose lock a blocked thread would hold at exit."""
    sys.stdout.flush()
    buffer = sys.stdout.buffer
    raw: BinaryIO = getattr(buffer, "raw", buffer)
    return raw


# What libraries log


class _LibraryHandler(logging.Handler):
    """Takes the records of ``logging`` into the same pipe."""

    def __init__(self) -> None:
        super().__init__()
        self._windows: dict[tuple[str, int], tuple[float, int]] = {}

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._pass_on(record)
        except Exception:  # as logging's own handlers do: a log call never raises
            self.handleError(record)

    def _pass_on(self, record: logging.LogRecord) -> None:
        # structlog knows the five levels only; a library may invent others.
        level = min(max(record.levelno // 10 * 10, logging.DEBUG), logging.CRITICAL)
        exc_info = record.exc_info
        if _is_bad_request(record):
            level, exc_info = logging.DEBUG, None
        fields: dict[str, object] = {"logger": record.name, "exc_info": exc_info}
        suppressed = self._suppressed((record.name, level), time.monotonic())
        if suppressed:
            fields["suppressed"] = suppressed
        if suppressed is not None:
            get_logger().log(level, _clipped(record.getMessage()), **fields)

    def _suppressed(self, source: tuple[str, int], now: float) -> int | None:
        """Return how many records were left out since the last one told; None: leave this one out too."""
        started, count = self._windows.get(source, (now, 0))
        if now - started >= FOREIGN_PERIOD:
            self._windows[source] = (now, 1)
            return max(count - FOREIGN_BURST, 0)
        self._windows[source] = (started, count + 1)
        return 0 if count < FOREIGN_BURST else None


def _is_bad_request(record: logging.LogRecord) -> bool:
    """
    Tell whether aiohttp complains of a client's bytes: its parser's exceptions, all of one module.

    Anybody can send bytes that are no HTTP, and a traceback of the parser helps nobody.
    """
    kind = record.exc_info[0] if record.exc_info else None
    return (
        record.name == "aiohttp.server" and kind is not None and kind.__module__ == "aiohttp.http_exceptions"
    )


_writer: _Writer | None = None
_logger = get_logger()
_library_handler = _LibraryHandler()
