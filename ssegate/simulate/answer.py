"""
One answer before it is written in a vendor's language, and the seam every vendor's endpoint fills.

    Behaviour + Ask ─► Answer ─► Endpoint.steps ─► Step, Step, … ─► bytes on the wire, paced by Exchange

Nothing here or in the endpoints does I/O; the one clock they read comes with the answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from random import Random
from sys import maxsize
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

import msgspec

from ssegate.simulate.problems import Problem
from ssegate.simulate.text import PASSAGE, THOUGHTS, Call, calls, pieces

if TYPE_CHECKING:
    from ssegate.simulate.behaviour import Behaviour

__all__ = ["Answer", "Ask", "Endpoint", "Finish", "Kind", "Offer", "Step", "ask", "prepare"]

Kind = Literal["mark", "token", "finish", "end"]
Finish = Literal["stop", "length", "tool_calls"]
Offer = Literal["choices", "reasoning", "tools"]


class Step(NamedTuple):
    """One event of a stream, whole, in the vendor's framing."""

    kind: Kind
    """
    ``token``: content, paced by the rate. ``mark``: openings, closings, pings, at once.
    ``finish``: says why it is over, or what it cost. ``end``: the end mark.
    """

    data: bytes


@dataclass(frozen=True, slots=True)
class Ask:
    """What of a request shapes the answer."""

    model: str
    stream: bool
    input_tokens: int
    """Bytes of the body / 4, rounded up: nobody counts tokens here."""

    usage: bool = False
    """OpenAI's ``stream_options.include_usage``."""

    choices: int = 1
    limit: int | None = None
    """The request's own bound on generated text, in tokens."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Everything an endpoint needs to write one answer."""

    ask: Ask
    key: str
    """Hexadecimal digits that make this answer's ids, 24 of them."""

    created: float
    """Unix seconds."""

    clock: Callable[[], float]
    """The time now, in Unix seconds; Ollama stamps every line."""

    seed: int
    tokens: int
    thoughts: int
    calls: tuple[Call, ...]
    finish: Finish

    def text(self, choice: int = 0) -> Iterator[str]:
        """Yield the answer's text token by token; each choice is cut at places of its own."""
        return pieces(self.tokens, self.seed + choice, PASSAGE)

    def reasoning(self, choice: int = 0) -> Iterator[str]:
        """Yield the thinking before the text."""
        return pieces(self.thoughts, self.seed + choice, THOUGHTS)

    @property
    def output_tokens(self) -> int:
        """Tokens generated over all choices, reasoning included."""
        spoken = self.tokens + self.thoughts + sum(1 + len(call.fragments) for call in self.calls)
        return spoken * self.ask.choices

    def endless(self) -> Answer:
        """Return the same answer, never ending."""
        return replace(self, tokens=maxsize)


class Endpoint(Protocol):
    """One path of one vendor's API. Stateless: every method is a function of its arguments."""

    suffix: str
    """How a request's path ends that means this endpoint."""

    content_type: str
    """Of a stream."""

    streams: bool
    """Whether a request that does not say gets a stream."""

    offers: frozenset[Offer]
    """What it has room for beside one text."""

    ping: bytes
    """Keeps a connection alive and says nothing."""

    def steps(self, answer: Answer) -> Iterator[Step]:
        """Yield the stream event by event."""

    def whole(self, answer: Answer) -> dict[str, Any]:
        """Return the same answer as the vendor's one JSON document."""

    def headers(self, answer: Answer) -> dict[str, str]:
        """Return the vendor's own response headers."""

    def error(self, problem: Problem) -> bytes:
        """Return the JSON body of an HTTP error."""

    def error_event(self, problem: Problem) -> bytes:
        """Return the event that ends a stream which failed."""


def ask(body: bytes, endpoint: Endpoint) -> Ask:
    """
    Read a request's body as far as it shapes the answer.

    Raises:
        ValueError: It is no JSON object, or asks for a number of choices outside 1 … 128.
    """
    try:
        said = msgspec.json.decode(body)
    except msgspec.DecodeError as exc:
        raise ValueError(f"We could not parse the JSON body of your request: {exc}") from exc
    if not isinstance(said, dict):
        raise ValueError("The JSON body of your request must be an object.")
    stream = said.get("stream")
    options = said.get("stream_options")
    return Ask(
        model=str(said.get("model") or "simulated-1"),
        stream=stream if isinstance(stream, bool) else endpoint.streams,
        input_tokens=-(-len(body) // 4),
        usage=isinstance(options, dict) and options.get("include_usage") is True,
        choices=_choices(said) if "choices" in endpoint.offers else 1,
        limit=_limit(said),
    )


def prepare(
    behaviour: Behaviour, endpoint: Endpoint, ask: Ask, *, serial: int, clock: Callable[[], float]
) -> Answer:
    """
    Decide what is said. A request's own limit cuts the text, and then no tool is called.

    Args:
        serial: Number of the request; ids are made of it and the seed.
        clock: Unix seconds.
    """
    tokens = behaviour.tokens if ask.limit is None else min(behaviour.tokens, ask.limit)
    is_cut = tokens < behaviour.tokens
    tools = calls(behaviour.tools, behaviour.seed) if "tools" in endpoint.offers and not is_cut else ()
    return Answer(
        ask=ask,
        key=f"{Random(f'{behaviour.seed}/{serial}').getrandbits(96):024x}",
        created=clock(),
        clock=clock,
        seed=behaviour.seed,
        tokens=tokens,
        thoughts=behaviour.reasoning if "reasoning" in endpoint.offers else 0,
        calls=tools,
        finish="length" if is_cut else "tool_calls" if tools else "stop",
    )


def _choices(said: dict[str, Any]) -> int:
    n = said.get("n")
    count = 1 if n is None else n
    prompts = said.get("prompt")
    if not isinstance(count, int) or not 1 <= count <= 128:
        raise ValueError(f"n must be an integer from 1 to 128, not {count!r}.")
    # Legacy completions take several prompts at once and answer each n times.
    if isinstance(prompts, list) and prompts and all(isinstance(p, str) for p in prompts):
        return count * len(prompts)
    return count


def _limit(said: dict[str, Any]) -> int | None:
    options = said.get("options")
    asked = [said.get("max_completion_tokens"), said.get("max_tokens")]
    if isinstance(options, dict):
        asked.append(options.get("num_predict"))  # Ollama: -1 and -2 mean "no limit"
    return next((n for n in asked if isinstance(n, int) and n > 0), None)
