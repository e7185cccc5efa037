"""What is shipped: the distribution's metadata and the image's recipe agree with the files there are."""

from __future__ import annotations

import json
import re
import tomllib
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")
REQUIREMENTS = {"": PROJECT["project"]["dependencies"], **PROJECT["project"]["optional-dependencies"]}


def instructions(name: str) -> list[str]:
    """Return the arguments of every *name* instruction of the Dockerfile."""
    joined = DOCKERFILE.replace("\\\n", " ")
    return re.findall(rf"^{name}\s+(.*)$", joined, re.MULTILINE)


COPIED = [
    source
    for copy in instructions("COPY")
    if "--from=" not in copy
    for source in copy.split()[:-1]  # the last word is the place in the image
]


@pytest.mark.parametrize("extra", REQUIREMENTS)
def test_every_requirement_can_be_read(extra: str):
    """Each requirement is well formed and names a lowest version, so that pip cannot go back for ever."""
    for line in REQUIREMENTS[extra]:
        assert any(bound.operator in (">=", "==") for bound in Requirement(line).specifier), line


def test_the_command_is_installed():
    """The console script ``ssegate`` can be loaded and called."""
    (script,) = entry_points(group="console_scripts", name="ssegate")

    assert callable(script.load())


def test_what_the_sdist_names_exists():
    """No file that the source distribution promises is missing."""
    promised = PROJECT["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]

    assert [name for name in promised if not (ROOT / name).exists()] == []


def test_what_is_to_be_compiled_exists():
    """Each pattern that the build compiles finds a file, and the way of a token is among them."""
    patterns = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["hooks"]["mypyc"]["include"]
    found = {pattern: list(ROOT.glob(pattern)) for pattern in patterns}

    assert [pattern for pattern, files in found.items() if not files] == []
    assert {"pipeline.py", "runs.py", "relay.py"} <= {file.name for files in found.values() for file in files}


@pytest.mark.parametrize("source", COPIED)
def test_the_image_copies_what_exists(source: str):
    """Each file the Dockerfile copies is there and let in by .dockerignore."""
    ignore = (ROOT / ".dockerignore").read_text("utf-8").splitlines()

    assert (ROOT / source).exists()
    assert f"!{source}" in ignore


def test_the_image_holds_what_the_build_needs():
    """The build backend reads pyproject.toml, the readme, the licence and the package: all are copied."""
    project = PROJECT["project"]

    assert {"pyproject.toml", project["readme"], *project["license-files"], project["name"]} <= set(COPIED)


def test_the_image_runs_the_gate_itself():
    """No shell stands between the orchestrator's signal and the gate, and it is not root."""
    assert [json.loads(words) for words in instructions("ENTRYPOINT")] == [["ssegate"]]
    assert [json.loads(words) for words in instructions("CMD")] == [["run"]]
    assert instructions("STOPSIGNAL") == ["SIGTERM"]
    assert instructions("USER") == ["65532:65532"]
    assert all(
        json.loads(words[words.index("[") :]) == ["ssegate", "healthcheck"]
        for words in instructions("HEALTHCHECK")
    )


def test_the_image_has_a_python_the_project_allows():
    """Both stages stand on the same Python, new enough for ``requires-python``."""
    versions = {re.match(r"python:(\d+)\.(\d+)-slim", base).groups() for base in instructions("FROM")}  # type: ignore[union-attr]
    needed = tuple(map(int, PROJECT["project"]["requires-python"].removeprefix(">=").split(".")))

    assert len(versions) == 1
    assert tuple(map(int, *versions)) >= needed
