"""
What the simulated model says: one readable passage, cut into tokens, and a few tool calls.

The passage holds what breaks naive plumbing – accents, CJK, emoji beyond the BMP, quotes, backslashes,
newlines – and starts over when it is used up. Everything is a function of a count and a seed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

__all__ = ["PASSAGE", "THOUGHTS", "Call", "calls", "pieces"]

PASSAGE = """\
A stream is a promise kept in small instalments. The first word arrives while the last one is still \
unknown, and whoever reads along sees a thought take shape – "slowly", as my naïve café neighbour says, \
'but never late'.

Some words travel badly: Zürich, smørrebrød, façade, Ελλάδα, привет. Others need only two strokes: 東京 is \
a city, 水 is water, and 안녕 is how you greet a friend. A path such as C:\\temp\\new keeps its \
backslashes, a tab\tkeeps its place, and 100 % of the emoji survive: 🙂 🚀 👩‍🔬 🇨🇭.

```json
{"quoted": "\\"yes\\"", "list": [1, 2, 3], "empty": {}}
```

1. Nothing is lost.
2. Nothing is said twice.
3. When it is over, it says so.

"""

THOUGHTS = """\
The question is short, so the answer should be short as well. First, what is being asked? Probably «how \
does text travel», not «what is text». I could begin with an example … 例えば, a river. No: rivers have \
been used before. A letter sent word by word is better 🤔.
"""

_LONGEST = 8
"""Characters of the longest token."""

_TOOLS: tuple[tuple[str, dict[str, object]], ...] = (
    ("get_weather", {"city": "Zürich", "days": 3, "units": {"temperature": "°C", "wind": "km/h"}}),
    ("search_notes", {"query": 'trains to 東京, "express" only', "limit": 5, "tags": ["✈", "🚄"]}),
    ("list_timers", {}),  # a call without arguments is where readers of fragments stumble
    ("convert", {"amount": 12.5, "from": "CHF", "to": "JPY", "exact": True}),
)


@dataclass(frozen=True, slots=True)
class Call:
    """One tool call."""

    index: int
    name: str
    arguments: str
    """A JSON object, as text."""

    fragments: tuple[str, ...]
    """The same text, cut into tokens."""


def pieces(count: int, seed: int, passage: str = PASSAGE) -> Iterator[str]:
    """
    Yield *count* tokens of 1 to 8 characters from *passage*, which starts over as often as needed.

    Code points are never split; what looks like one character may be (a flag, a family).
    """
    random = Random(seed)
    endless = passage + passage[:_LONGEST]
    place = 0
    for _ in range(count):
        size = random.randint(1, _LONGEST)
        yield endless[place : place + size]
        place = (place + size) % len(passage)


def calls(count: int, seed: int) -> tuple[Call, ...]:
    """Return *count* parallel tool calls; the third of every four has no arguments."""
    return tuple(_call(index, seed) for index in range(count))


def _call(index: int, seed: int) -> Call:
    name, arguments = _TOOLS[index % len(_TOOLS)]
    text = json.dumps(arguments, ensure_ascii=False)
    return Call(index, name, text, tuple(_fragments(text, seed + index)))


def _fragments(text: str, seed: int) -> Iterator[str]:
    random = Random(seed)
    place = 0
    while place < len(text):
        size = random.randint(1, _LONGEST)
        yield text[place : place + size]
        place += size
