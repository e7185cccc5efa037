import pytest

from ssegate.wire.dialects.usage import UsageSoFar, read_usage
from ssegate.wire.events import Usage


@pytest.mark.parametrize(
    ("counts", "usage"),
    [
        pytest.param(
            {
                "prompt_tokens": 9,
                "completion_tokens": 5,
                "prompt_tokens_details": {"cached_tokens": 4},
                "completion_tokens_details": {"reasoning_tokens": 3},
            },
            Usage(9, 5, 3, 4),
            id="OpenAI",
        ),
        pytest.param(
            {"prompt_tokens": 12, "completion_tokens": 2, "reasoning_tokens": 340, "total_tokens": 354},
            Usage(12, 342, 340),
            id="xAI leaves reasoning out",
        ),
        pytest.param(
            {"prompt_tokens": 9, "completion_tokens": 1, "cache_read_input_tokens": 8},
            Usage(9, 1, None, 8),
            id="OpenAI's count with Anthropic's details includes them",
        ),
        pytest.param(
            {"prompt_tokens": 381, "completion_tokens": 88, "prompt_token_details": {"cached_tokens": 1}},
            Usage(381, 88, None, 1),
            id="Assistants",
        ),
        pytest.param(
            {
                "input_tokens": 9,
                "output_tokens": 5,
                "input_tokens_details": {"cached_tokens": 4},
                "output_tokens_details": {"reasoning_tokens": 3},
            },
            Usage(9, 5, 3, 4),
            id="Responses",
        ),
        pytest.param(
            {
                "input_tokens": 1,
                "cache_creation_input_tokens": 2,
                "cache_read_input_tokens": 4,
                "output_tokens": 9,
                "output_tokens_details": {"thinking_tokens": 5},
            },
            Usage(7, 9, 5, 4),
            id="Anthropic",
        ),
        pytest.param(
            {
                "promptTokenCount": 438,
                "candidatesTokenCount": 81,
                "totalTokenCount": 1177,
                "toolUsePromptTokenCount": 619,
                "thoughtsTokenCount": 39,
                "cachedContentTokenCount": 7,
            },
            Usage(1057, 120, 39, 7),
            id="Gemini",
        ),
        pytest.param(
            {"promptTokenCount": 5, "thoughtsTokenCount": 6}, Usage(5, 6, 6), id="Gemini still thinks"
        ),
        pytest.param(
            {
                "total_input_tokens": 266,
                "total_output_tokens": 3,
                "total_thought_tokens": 57,
                "total_cached_tokens": 0,
            },
            Usage(266, 60, 57, 0),
            id="Interactions",
        ),
        pytest.param(
            {
                "cacheReadInputTokenCount": 2752,
                "cacheReadInputTokens": 2752,
                "cacheWriteInputTokens": 1,
                "inputTokens": 433,
                "outputTokens": 16,
            },
            Usage(3186, 16, None, 2752),
            id="Bedrock says some twice",
        ),
        pytest.param(
            {"inputTextTokenCount": 4, "totalOutputTextTokenCount": 188.0}, Usage(4, 188), id="Titan"
        ),
        pytest.param({"inputTokenCount": 4, "outputTokenCount": 5}, Usage(4, 5), id="Bedrock's metrics"),
        pytest.param({"prompt_token_count": 4, "generation_token_count": 5}, Usage(4, 5), id="Llama"),
        pytest.param({"prompt_eval_count": 4, "eval_count": 5}, Usage(4, 5), id="Ollama"),
        pytest.param(
            {"tokens_evaluated": 5, "tokens_predicted": 82, "tokens_cached": 86}, Usage(5, 82), id="llama.cpp"
        ),
        pytest.param({"input_token_count": 8, "generated_token_count": 11}, Usage(8, 11), id="watsonx"),
        pytest.param({"input_length": 8, "generated_tokens": 11}, Usage(8, 11), id="TGI"),
        pytest.param(
            {
                "billed_units": {"input_tokens": 12, "output_tokens": 47},
                "tokens": {"input_tokens": 212, "output_tokens": 48},
                "cached_tokens": 208,
            },
            Usage(212, 48, None, 208),
            id="Cohere",
        ),
        pytest.param({"billed_units": {"input_tokens": 7}}, Usage(7), id="Cohere of old"),
    ],
)
def test_every_spelling_is_read(counts, usage):
    """Input includes caches, output includes reasoning, whatever the vendor counts in."""
    assert read_usage(counts) == usage


@pytest.mark.parametrize(
    "counts",
    [
        {},
        {"trafficType": "ON_DEMAND"},
        {"prompt_tokens": None, "completion_tokens": "7", "total_tokens": 3},
        {"prompt_tokens": True, "completion_tokens": 1.5, "completion_tokens_details": 3},
        {"completion_tokens_details": {"reasoning_tokens": None}, "tokens": 7},
    ],
)
def test_what_is_no_count_is_not_told(counts):
    """None is never made a zero."""
    assert read_usage(counts) is None


def test_later_reports_are_laid_over_earlier_ones():
    """What a later report leaves out or has as null stays; what is no object says nothing."""
    so_far = UsageSoFar()

    assert so_far.add({"promptTokenCount": 5, "cachedContentTokenCount": 2}) == [Usage(5, None, None, 2)]
    assert so_far.add({"candidatesTokenCount": 3, "promptTokenCount": None}) == [Usage(5, 3, None, 2)]
    assert so_far.add({"candidatesTokenCount": 4, "thoughtsTokenCount": 1}) == [Usage(5, 5, 1, 2)]
    assert so_far.add(None) == so_far.add("7") == []
    assert UsageSoFar().add({}) == []
