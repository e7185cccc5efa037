"""
Build the scripted model in DIRECTORY and serve it: ``python -m end_to_end.realserver DIRECTORY``.

Prints one JSON line, ``{"url": …}`` once requests are answered, or ``{"missing": …}``, and ends when its
standard input does: with the parent, however that dies.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

from .scripts import SCRIPTS

LIFETIME = 1800
"""Seconds after which the server ends even if its input never does."""

SLOTS = 4
THREADS = 1


def main(directory: Path) -> None:
    signal.alarm(LIFETIME)
    try:
        import xllamacpp

        from .model import CONTEXT, build
    except ImportError as exc:
        print(json.dumps({"missing": str(exc)}), flush=True)
        return
    path = directory / "scripted.gguf"
    names = ", ".join(f"'{name}'" for name in SCRIPTS)
    template = Path(__file__).with_name("template.jinja").read_text("utf-8").replace("@NAMES@", names)
    build(path, {name: script.raw for name, script in SCRIPTS.items()}, template)

    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.n_ctx = CONTEXT * SLOTS
    params.n_parallel = SLOTS
    params.cpuparams.n_threads = THREADS
    params.warmup = False
    params.use_jinja = True
    params.ui = False
    server = xllamacpp.Server(params)
    print(json.dumps({"url": server.listening_address}), flush=True)

    sys.stdin.read()
    # The server's threads do not end while a stream of theirs runs.
    os._exit(0)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
