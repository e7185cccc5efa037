"""
Look for inputs that break a stream, guided by what of the wire they reach: ``make fuzz``.

``ARGS="--seconds 300"`` says for how long. The corpus begins with the recordings and is kept in ``.cache``.
An input that fails is written to ``.cache/fuzz/failed``; ``--run FILE`` runs it again, and copied to
``tests/wire/found`` it is a test.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

HERE = Path(__file__).parent
CACHE = HERE.parents[1] / ".cache" / "fuzz"
LONGEST_INPUT = 64 << 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--run", type=Path, metavar="FILE", help="run one input again")
    asked = parser.parse_args()
    sys.path.insert(0, str(HERE.parent))
    if asked.run:
        from wire import fuzzing

        fuzzing.run(asked.run.read_bytes())
        return
    try:
        import atheris
    except ImportError:
        print("fuzz: there is no atheris for this Python on this machine, so nothing was run")
        return
    with atheris.instrument_imports(include=["ssegate.wire"]):
        from wire import fuzzing
    corpus, failed = CACHE / "corpus", CACHE / "failed"
    for folder in (corpus, failed):
        folder.mkdir(parents=True, exist_ok=True)
    for name, data in fuzzing.seeds().items():
        (corpus / name).write_bytes(data)
    options = [
        f"-max_total_time={asked.seconds}",
        f"-artifact_prefix={failed}/",
        f"-max_len={LONGEST_INPUT}",
        "-timeout=20",
        "-rss_limit_mb=2048",
        "-print_final_stats=1",
    ]
    atheris.Setup([sys.argv[0], *options, str(corpus)], fuzzing.run)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
