"""docs/limits.md can be copied from, and its table is what is decided."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ssegate.config import parse

PAGE = (Path(__file__).parents[1] / "docs" / "limits.md").read_text("utf-8")
RECIPES = re.findall(r"^### (.*?)\n.*?```yaml\n(.*?)```", PAGE, re.DOTALL | re.MULTILINE)
ENV = {name: f"{name}-of-the-reader" for name in re.findall(r"\$\{(\w+)\}", PAGE)}


def test_there_are_three_recipes():
    """A public demo, a team, replicas."""
    assert [name.split(",")[0] for name, _ in RECIPES] == [
        "A public demo",
        "A team with keys",
        "Replicas with Redis",
    ]


@pytest.mark.parametrize("text", [text for _, text in RECIPES], ids=[name for name, _ in RECIPES])
def test_a_recipe_can_be_copied(text: str):
    """``ssegate check`` has nothing to say of it, and it limits somebody."""
    config = parse(text, "ssegate.yaml", ENV)

    assert config.limits.each.rates and config.limits.each.streams
