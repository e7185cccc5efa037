"""docs/upstreams.md says what is built and what it is tested with, and the tests say whether that is true."""

import re
from collections import Counter
from pathlib import Path

import pytest
from wire.recordings import recordings

from ssegate.config import parse
from ssegate.wire.dialects import DIALECTS

PAGE = Path(__file__).parents[1] / "docs" / "upstreams.md"
ROW = re.compile(r"^\| `([a-z]+)` \| `(.+?)` \| (.+?) \| (.+?) \| ?(.*?) ?\|$", re.MULTILINE)
ROWS = {row[0]: row for row in ROW.findall(PAGE.read_text("utf-8"))}


def counted(dialect):
    """How many recordings of which folder the tests have of *dialect*, as the page says it."""
    streams = Counter(body.folder for body in recordings() if body.dialect == dialect)
    documents = sum(body.dialect == dialect for body in recordings("documents"))
    said = [f"`{folder}` {count}" for folder, count in sorted(streams.items())]
    return ", ".join([*said, *([f"complete answers {documents}"] if documents else [])]) or "none found"


def test_the_page_has_every_dialect_and_no_other():
    """What can be named in a configuration has a row; a row that says it is not built is right, too."""
    text = PAGE.read_text("utf-8")

    assert set(ROWS) == set(DIALECTS)
    assert set(re.findall(r"^\| `([a-z]+)` \(not built yet\)", text, re.MULTILINE)).isdisjoint(DIALECTS)


@pytest.mark.parametrize("dialect", ROWS)
def test_a_row_names_the_recordings_there_are(dialect):
    """The last column is counted anew."""
    assert ROWS[dialect][4] == counted(dialect)


@pytest.mark.parametrize("dialect", ROWS)
def test_a_row_can_be_configured_as_it_stands(dialect):
    """The second column is YAML that the gate takes."""
    name, _, said = ROWS[dialect][1].partition(": ")
    text = f"upstreams:\n  {name}: {said}\nroutes:\n  - {{path: '/*', upstream: {name}}}\n"
    config = parse(text, "page.yaml", env={"KEY": "sk-1"})

    assert list(config.upstreams) == [name]
