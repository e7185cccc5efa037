"""Why a model stopped, in the vendors' words and in ours."""

from __future__ import annotations

from ssegate.wire.events import Finish, FinishReason

__all__ = ["Finishes", "finish_reason"]

WORDS: dict[FinishReason, str] = {
    "stop": """
        stop end_turn stop_sequence eos eos_token complete completed finish finished stop_criteria_met
        endoftext word
    """,
    "length": """
        length max_tokens model_length model_context_window_exceeded max_output_tokens
        max_completion_tokens max_prompt_tokens token_limit error_limit limit incomplete
    """,
    "tool_calls": "tool_calls tool_call tool_use function_call requires_action",
    "content_filter": """
        content_filter content_filtered guardrail_intervened error_toxic sensitive safety recitation
        blocklist prohibited_content spii model_armor image_safety image_prohibited_content
        image_recitation
    """,
    "refusal": "refusal",
}
"""
In lower case. ``word`` and ``limit`` are llama.cpp's, ``complete`` and ``error_…`` Cohere's, ``completed``,
``incomplete`` and ``requires_action`` the states of Responses, Assistants and Interactions, where no closer
reason is given; what is in no line (``other``, ``malformed_function_call``, ``timeout``) is ``other``.
"""

NUMBERS: dict[FinishReason, tuple[int, ...]] = {
    "stop": (1,),
    "length": (2,),
    "content_filter": (3, 4, 6, 7, 8, 10, 11, 12, 13),
}
"""
Vertex's numbers for its words, where enums are asked for as integers.

Source: googleapis, google/cloud/aiplatform/v1beta1/content.proto. The Developer API's numbers are others
from 5 on; nobody has been seen to ask it for them.
"""

UNFINISHED = "not_finished"
"""What watsonx says where others say nothing."""

REASONS: dict[str, FinishReason] = {
    **{word: reason for reason, words in WORDS.items() for word in words.split()},
    **{str(number): reason for reason, numbers in NUMBERS.items() for number in numbers},
}


def finish_reason(upstream_reason: str | int) -> FinishReason:
    """Return our word for the vendor's, or for its number; ``other`` for one that is not known."""
    return REASONS.get(str(upstream_reason).lower(), "other")


class Finishes:
    """The finishes of one stream, each choice's told once; an upstream may repeat them."""

    def __init__(self) -> None:
        self._told: set[int] = set()

    def add(self, upstream_reason: object, choice: int = 0) -> list[Finish]:
        """Return the finish of *choice*; nothing if it is known or *upstream_reason* is no word for one."""
        is_word = isinstance(upstream_reason, (str, int)) and not isinstance(upstream_reason, bool)
        if not is_word or upstream_reason == "" or choice in self._told:
            return []
        word = str(upstream_reason)
        if word.lower() == UNFINISHED:
            return []
        self._told.add(choice)
        return [Finish(finish_reason(word), word, choice)]
