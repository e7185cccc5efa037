"""
What the scripted model says, and what a client of the real server must get for it.

A user message that is a script's name is answered with that script; any other message with ``plain``.
The raw prompt of a completion endpoint names its script as ``<|say:NAME|>``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

__all__ = ["SCRIPTS", "Call", "Script"]


@dataclass(frozen=True, slots=True)
class Call:
    """One tool call; ``arguments`` is the JSON text exactly as the model writes it."""

    name: str
    arguments: str

    @property
    def value(self) -> object:
        """The arguments as the tool gets them."""
        return json.loads(self.arguments)


@dataclass(frozen=True, slots=True)
class Script:
    """
    One answer in its three parts, each of which may be missing.

    The server hands on the line end before a closing mark, so reasoning, and text before calls, end in one.
    """

    text: str = ""
    reasoning: str = ""
    calls: tuple[Call, ...] = ()

    @property
    def raw(self) -> str:
        """The model's own words, marks included: what the template teaches the server to take apart."""
        thought = f"<think>\n{self.reasoning}</think>\n\n" if self.reasoning else ""
        calls = (
            f'<tool_call>\n{{"name": "{call.name}", "arguments": {call.arguments}}}\n</tool_call>'
            for call in self.calls
        )
        return thought + self.text + "\n".join(calls)


SCRIPTS: dict[str, Script] = {
    "plain": Script("The gate is open. Every word you read here has gone through it, one after the other."),
    "unicode": Script(
        "Astral 🚀🦊𝒜𝄞, joined 👩‍👩‍👧‍👦 🏳️‍🌈 👍🏽, combining e\u0301 n\u0303 ẫ, "
        "日本語と中文 한국어, עברית ואז العربية\u200f, Ωμέγα, ещё, "
        "a line\u2028and a paragraph\u2029apart, next\u0085line, no\u00a0break, \ufeffmark."
    ),
    # About 4 kB: long enough for hundreds of events and for cancelling in the middle.
    "long": Script("\n".join(f"{n} squared is {n * n}, cubed it is {n**3}." for n in range(1, 121))),
    # Text that looks like the wire it travels on.
    "json": Script(
        '{"token": "mine", "finished": true, "quote": "\\"", "path": "C:\\\\temp", "tab": "\\t"}\n\n'
        'data: [DONE]\n\nevent: error\ndata: {"error": null}\n\n: ping\n\nid: 7\r\nretry: 1\r\n\r\nstill text'
    ),
    "reasoning": Script(
        text="It is 42 — сорок два.",
        reasoning="Seven times six 🤔.\nSix sevens make 四十二, so much is sure.\n",
    ),
    "tool": Script(calls=(Call("get_weather", '{"city": "Oslo", "days": 3}'),)),
    "parallel": Script(
        calls=(
            Call("get_weather", '{"city": "Lima", "days": 1}'),
            Call("look_up", '{"query": "the second of two"}'),
        )
    ),
    "unicode_tool": Script(
        text="One moment, I ask.\n",
        calls=(Call("look_up", '{"query": "東京 🗼 naïve \\"café\\" \\u00e9 \\\\ e\u0301"}'),),
    ),
    "thinking_tool": Script(
        reasoning="Nobody knows this by heart.\n",
        calls=(Call("look_up", '{"query": "by heart"}'),),
    ),
}
