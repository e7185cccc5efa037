"""
How clients in other languages read a stream, restated: what their code does with the bytes.

The first half is how each cuts bytes into events, the second what OpenAI's SDKs then do with them. Each
function names the code that it restates.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

Event = tuple[str, str]
"""Name (empty where there is none) and data."""

Reads = Iterable[bytes]
"""A body as the network brings it."""


class Broken(Exception):
    """The reader gives up on the stream, in words of its own."""


# ---- bytes to events -------------------------------------------------------------------------------


def go_scanner(reads: Reads) -> Iterator[Event]:
    """
    Cut lines as ``bufio.Scanner`` does and dispatch at blank ones.

    Source: openai/openai-go ``packages/ssestream/ssestream.go``, ``eventStreamDecoder.Next`` (v3); the same
    decoder is in anthropic-sdk-go.
    """
    body = b"".join(reads)
    lines = body.split(b"\n")
    if lines[-1] == b"":
        lines.pop()
    name, data = "", b""
    for line in lines:
        if len(line) > 64 * 1024 << 9:
            raise Broken("bufio.Scanner: token too long")
        line = line.removesuffix(b"\r")
        if not line:
            if data:
                # Go keeps the newline behind the last line; JSON does not mind.
                yield name, data.decode("utf-8", errors="replace").removesuffix("\n")
            name, data = "", b""
            continue
        key, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if key == b"event":
            name = value.decode()
        elif key == b"data":
            data += value + b"\n"


def java_lines(reads: Reads) -> Iterator[Event]:
    """
    Cut lines as ``BufferedReader`` does; a block without data makes no event, an empty ``data:`` does.

    Source: openai/openai-java ``core/handlers/SseHandler.kt``, ``SseState``.
    """
    text = b"".join(reads).decode("utf-8", errors="replace")
    lines = re.split("\r\n|\r|\n", text)
    if lines[-1] == "":
        lines.pop()
    name, data = "", []
    for line in lines:
        if line == "":
            if data:
                yield name, "\n".join(data)
            name, data = "", []
        elif not line.startswith(":"):
            key, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if key == "event":
                name = value
            elif key == "data":
                data.append(value)


def dotnet_parser(reads: Reads) -> Iterator[Event]:
    """
    Cut lines in what has been read so far; a CR at its end waits for what may be its LF.

    Source: dotnet/runtime ``System.Net.ServerSentEvents/SseParser_1.cs``, ``EnumerateAsync``.
    """
    buffer, name, data = b"", "", None
    is_first = True
    for read in [*reads, b""]:
        buffer += read
        if is_first and (len(buffer) >= 3 or not read):
            buffer, is_first = buffer.removeprefix(b"\xef\xbb\xbf"), False
        if is_first:
            continue
        while found := re.search(rb"\r\n|\n|\r(?!\Z)" if read else rb"\r\n|\n|\r", buffer):
            line, buffer = buffer[: found.start()], buffer[found.end() :]
            key, _, value = line.partition(b":")
            value = value.removeprefix(b" ")
            if line == b"":
                if data is not None:
                    yield name, data.decode("utf-8", errors="replace")
                    name, data = "", None
            elif key == b"data":
                data = value if data is None else data + b"\n" + value
            elif key == b"event":
                name = value.decode()


_RUST_LINE = re.compile(
    "(?::(?P<comment>[^\r\n]*)|(?P<name>[^\r\n:]+)(?::(?P<value>[^\r\n]*))?)?(?:\r\n|\r|\n)"
)


def rust_eventsource(reads: Reads) -> Iterator[Event]:
    """
    Parse whole lines of what is valid UTF-8 so far.

    A BOM makes it panic: the first *byte* of it is cut off. Half a character waits for its other half.

    Source: the crate eventsource-stream 0.2, ``parser.rs`` and ``event_stream.rs``, under reqwest-eventsource
    and async-openai.
    """
    pending, buffer, name, data = b"", "", "", ""
    for read in reads:
        pending += read
        text, pending = _utf8(pending)
        if buffer == "" and text.startswith("\ufeff"):
            raise Broken("panicked: byte index 1 is not a char boundary")
        buffer += text
        while found := _RUST_LINE.match(buffer):
            if found.group().endswith("\r") and found.end() == len(buffer):
                break
            buffer = buffer[found.end() :]
            value = (found["value"] or "").removeprefix(" ")
            match found["name"]:
                case "event":
                    name = value
                case "data":
                    data += value + "\n"
                case None if found["comment"] is None:
                    if data:
                        yield name, data[:-1]
                    name, data = "", ""


def _utf8(data: bytes) -> tuple[str, bytes]:
    """Return the valid beginning of *data*, and the rest, which is half a character."""
    try:
        return data.decode(), b""
    except UnicodeDecodeError as error:
        if error.end != len(data) or error.reason != "unexpected end of data":
            raise Broken("UTF8 error") from error
        return data[: error.start].decode(), data[error.start :]


EVENT_READERS: dict[str, Callable[[Reads], Iterator[Event]]] = {
    "Go": go_scanner,
    "Java": java_lines,
    ".NET": dotnet_parser,
    "Rust": rust_eventsource,
}


# ---- events to what a program gets -----------------------------------------------------------------


@dataclass
class Got:
    """What a program that loops over a stream gets."""

    said: list[dict[str, Any]] = field(default_factory=list)
    error: str | None = None
    """What was raised, if anything was."""

    ended: bool = False
    """By the stream's own mark; else the reader found the end of the body."""


def openai_go(reads: Reads) -> Got:
    """
    A member ``error`` is an error, whatever it holds: ``gjson.GetBytes(event.Data, "error").Exists()``.

    Source: openai/openai-go ``packages/ssestream/ssestream.go``, ``Stream.Next`` (v3).
    """
    got = Got()
    for _, data in go_scanner(reads):
        if data.startswith("[DONE]"):
            got.ended = True
            return got
        said = json.loads(data)
        if "error" in said:
            got.error = f"received error while streaming: {_text(said['error'])}"
            return got
        got.said.append(said)
    return got


def openai_java(reads: Reads) -> Got:
    """
    A member ``error`` is an error, ``null`` too: Jackson's ``get`` returns a node for it.

    Source: openai/openai-java ``core/handlers/SseHandler.kt``, ``sseHandler``.
    """
    got = Got()
    for _, data in java_lines(reads):
        if data.startswith("[DONE]"):
            got.ended = True
            return got
        said = json.loads(data)
        if "error" in said:
            got.error = _text(said["error"])
            return got
        got.said.append(said)
    return got


def openai_dotnet(reads: Reads) -> Got:
    """
    Nothing but ``[DONE]`` and JSON is told apart: an error of a chat is an update with nothing in it.

    Source: openai/openai-dotnet ``AsyncSseUpdateCollection.cs``.
    """
    got = Got()
    for _, data in dotnet_parser(reads):
        if data == "[DONE]":
            got.ended = True
            return got
        got.said.append(json.loads(data))
    return got


def async_openai(reads: Reads) -> Got:
    """
    What is no chunk is an error, and reading goes on.

    Where the body ends without ``[DONE]``, reqwest-eventsource takes it for a lost connection and asks again:
    a second generation.

    Source: 64bit/async-openai ``client.rs``, ``stream``; ``CreateChatCompletionStreamResponse`` wants these
    members.
    """
    got = Got()
    for _, data in rust_eventsource(reads):
        if data == "[DONE]":
            got.ended = True
            return got
        said = json.loads(data)
        if {"id", "choices", "created", "model", "object"} <= said.keys():
            got.said.append(said)
        else:
            got.error = got.error or f"failed to deserialize api response: {data}"
    return got


def _text(error: Any) -> str:
    return json.dumps(error, ensure_ascii=False)


MAX_EMPTY_LINES = 300
"""go-openai's ``EmptyMessagesLimit`` unless its user says another."""


def go_openai(reads: Reads) -> Got:
    """
    Knows lines alone: what does not begin with ``data: `` is gathered as an error that may be told later.

    So a comment anywhere before an error makes it no JSON, and the program gets an empty chunk in its place.

    Source: sashabaranov/go-openai ``stream_reader.go``, ``processLines``.
    """
    got, gathered, is_error, empty = Got(), b"", False, 0
    for line in b"".join(reads).split(b"\n")[:-1]:
        if is_error:
            try:
                got.error = json.loads(gathered)["error"]["message"]
                return got
            except ValueError:
                got.said.append({})
                is_error, empty = False, 0
                continue
        line = line.strip()
        is_error = line.startswith(b'data: {"error":')
        if is_error or not line.startswith(b"data: "):
            gathered += line.removeprefix(b"data: ")
            empty += 1
            if empty > MAX_EMPTY_LINES:
                raise Broken("stream has sent too many empty messages")
            continue
        empty = 0
        if line == b"data: [DONE]":
            got.ended = True
            return got
        got.said.append(json.loads(line.removeprefix(b"data: ")))
    return got


SDKS: dict[str, Callable[[Reads], Got]] = {
    "openai-go": openai_go,
    "go-openai": go_openai,
    "openai-java": openai_java,
    "openai-dotnet": openai_dotnet,
    "async-openai": async_openai,
}
"""For chat completions; those of the Responses API read events, too."""
