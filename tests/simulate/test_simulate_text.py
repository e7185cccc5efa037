"""The simulated model's words."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssegate.simulate.text import PASSAGE, calls, pieces


@given(count=st.integers(0, 2000), seed=st.integers(0, 2**32))
def test_tokens_are_the_passage_from_its_beginning(count: int, seed: int):
    """Any number of tokens, each of 1 to 8 characters, make the passage, over and over."""
    tokens = list(pieces(count, seed))

    text = "".join(tokens)
    assert len(tokens) == count
    assert all(1 <= len(token) <= 8 for token in tokens)
    assert text == (PASSAGE * (len(text) // len(PASSAGE) + 1))[: len(text)]
    assert all(token.encode().decode() == token for token in tokens)


def test_a_seed_decides_the_cuts():
    """The same seed cuts alike, another one differently."""
    assert list(pieces(50, 1)) == list(pieces(50, 1))
    assert list(pieces(50, 1)) != list(pieces(50, 2))


@pytest.mark.parametrize("piece", ["é", "東京", "🙂", "👩‍🔬", '"', "\\", "\n", "\t", "Ελ"])
def test_the_passage_holds_what_breaks_plumbing(piece: str):
    """Accents, CJK, emoji beyond the BMP, quotes, backslashes, tabs and newlines are all in it."""
    assert piece in PASSAGE


def test_arguments_are_json_objects_in_fragments():
    """Every call's fragments make its arguments, and those are a JSON object."""
    made = calls(7, seed=3)

    assert [call.index for call in made] == list(range(7))
    assert all("".join(call.fragments) == call.arguments for call in made)
    assert all(isinstance(json.loads(call.arguments), dict) for call in made)
    assert json.loads(made[2].arguments) == {}
    assert len(made[0].fragments) > 5
