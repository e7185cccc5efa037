"""The HTTP errors the simulator knows, in the words of the vendors it speaks for."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["PROBLEMS", "Problem"]


class Problem(NamedTuple):
    """An error as vendors word it."""

    status: int
    message: str
    openai_type: str
    openai_code: str | None
    anthropic_type: str


PROBLEMS: dict[int, Problem] = {
    400: Problem(
        400,
        "This model's maximum context length is 8192 tokens, your messages are longer.",
        "invalid_request_error",
        "context_length_exceeded",
        "invalid_request_error",
    ),
    401: Problem(
        401, "Incorrect API key provided.", "invalid_request_error", "invalid_api_key", "authentication_error"
    ),
    404: Problem(404, "Nothing is simulated here.", "invalid_request_error", None, "not_found_error"),
    405: Problem(405, "Only POST is allowed.", "invalid_request_error", None, "invalid_request_error"),
    429: Problem(
        429, "Rate limit reached for requests.", "requests", "rate_limit_exceeded", "rate_limit_error"
    ),
    500: Problem(500, "The server had an error.", "server_error", None, "api_error"),
    503: Problem(503, "The server is not ready yet.", "service_unavailable_error", None, "api_error"),
    529: Problem(529, "Overloaded", "server_error", "overloaded", "overloaded_error"),
}
