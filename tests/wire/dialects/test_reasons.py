from typing import get_args

import pytest

from ssegate.wire.dialects.reasons import REASONS, Finishes, finish_reason
from ssegate.wire.events import Finish, FinishReason


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        (
            "stop",
            "stop end_turn stop_sequence eos eos_token STOP COMPLETE STOP_SEQUENCE FINISH completed word",
        ),
        ("length", "length max_tokens MAX_TOKENS model_length max_output_tokens limit"),
        ("length", "model_context_window_exceeded incomplete"),
        ("tool_calls", "tool_calls tool_use TOOL_CALL function_call requires_action"),
        ("content_filter", "content_filter content_filtered guardrail_intervened SAFETY RECITATION"),
        ("content_filter", "BLOCKLIST PROHIBITED_CONTENT SPII IMAGE_SAFETY"),
        ("refusal", "refusal"),
        (
            "other",
            "OTHER LANGUAGE MALFORMED_FUNCTION_CALL UNEXPECTED_TOOL_CALL TOO_MANY_TOOL_CALLS FAKE_ENUM",
        ),
        (
            "other",
            "ERROR TIMEOUT error pause_turn insufficient_system_resource malformed_model_output load none",
        ),
    ],
)
def test_every_vendor_s_words_have_ours(reason, words):
    """Upper or lower case; an unknown word is no guess."""
    assert {word: finish_reason(word) for word in words.split()} == dict.fromkeys(words.split(), reason)


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (0, "other"),
        (1, "stop"),
        (2, "length"),
        (3, "content_filter"),
        (5, "other"),
        (8, "content_filter"),
        (99, "other"),
    ],
)
def test_vertex_s_numbers_are_its_words(number, reason):
    """Its enums are integers where they are asked for so."""
    assert finish_reason(number) == finish_reason(str(number)) == reason


def test_the_table_has_only_our_words():
    """In lower case on the vendor's side."""
    assert set(REASONS.values()) <= set(get_args(FinishReason))
    assert all(word == word.lower() for word in REASONS)


def test_each_choice_finishes_once():
    """Whatever repeats it; what is no word, or a word for "not yet", is no finish."""
    finishes = Finishes()

    for word in (None, "", "not_finished", "NOT_FINISHED", True, [], {}):
        assert finishes.add(word) == []
    assert finishes.add("MAX_TOKENS") == [Finish("length", "MAX_TOKENS")]
    assert finishes.add("stop") == []
    assert finishes.add(1, choice=1) == [Finish("stop", "1", 1)]
