"""What a request may take, before anybody has counted."""

from __future__ import annotations

import base64
import json

import msgspec
import pytest

from ssegate.estimate import expected_input, expected_output

IMAGE = base64.b64encode(bytes(range(256)) * 100).decode()


def output(**body):
    return expected_output(msgspec.json.decode(json.dumps(body), type=dict[str, msgspec.Raw]))


@pytest.mark.parametrize(
    ("body", "tokens"),
    [
        (b"", 0),
        (b"{}", 1),
        (b"x" * 4001, 1001),
        (b'{"text": "%b"}' % (b"word " * 2000), 2503),
    ],
    ids=["nothing", "empty", "odd", "text"],
)
def test_four_bytes_are_a_token(body: bytes, tokens: int):
    """Rounded up."""
    assert expected_input(body) == tokens


@pytest.mark.parametrize(
    "image",
    [
        IMAGE,
        f"data:image/png;base64,{IMAGE}",
        IMAGE.replace("/", "_").replace("+", "-"),
        IMAGE.replace("/", "\\/"),
    ],
    ids=["plain", "data-url", "url-safe", "escaped"],
)
def test_images_are_no_text(image: str):
    """A long string of base64 is left out, in either alphabet, escaped or as a data URL."""
    body = b'{"type": "image_url", "url": "%b"}' % image.encode()
    assert expected_input(body) == -(-(len(body) - len(image)) // 4)


def test_short_base64_counts_as_text():
    """Nobody can tell it from a word."""
    body = b'{"a": "%b"}' % (b"A" * 4000)
    assert expected_input(body) == -(-len(body) // 4)


@pytest.mark.parametrize(
    ("body", "tokens"),
    [
        ({}, 1000),
        ({"max_tokens": 7}, 7),
        ({"max_completion_tokens": 5, "max_tokens": 7}, 5),
        ({"max_completion_tokens": 0, "max_tokens": 7}, 7),
        ({"max_output_tokens": 9.0}, 9),
        ({"max_tokens": "7"}, 1000),
        ({"max_tokens": -1}, 1000),
        ({"generationConfig": {"maxOutputTokens": 11}}, 11),
        ({"options": {"num_predict": 12}}, 12),
        ({"options": {"num_predict": -1}}, 1000),
        ({"inferenceConfig": {"maxTokens": 13}}, 13),
        ({"parameters": {"max_new_tokens": 14}}, 14),
        ({"max_tokens": 7, "options": {"num_predict": 12}}, 7),
        ({"options": [1]}, 1000),
    ],
)
def test_the_answer_is_as_long_as_the_client_allows(body: dict[str, object], tokens: int):
    """In whichever words it says so; a thousand where it does not."""
    assert output(**body) == tokens


def test_a_number_beyond_all_numbers_is_none():
    """``1e400`` is JSON, and infinite as soon as it is a float."""
    assert expected_output({"max_tokens": msgspec.Raw(b"1e400")}) == 1000
