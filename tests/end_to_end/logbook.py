"""All that a test's gates have logged."""

from __future__ import annotations

import io
import json
from typing import Any

from simulate.peer import until

from ssegate import logs

__all__ = ["Log"]


class Log(io.BytesIO):
    """Every byte that is logged, also after ``close``."""

    def close(self) -> None: ...

    def lines(self, event: str | None = None) -> list[dict[str, Any]]:
        """Return the lines so far, in JSON form; only those of *event* if one is named."""
        found = [json.loads(line) for line in self.getvalue().splitlines(keepends=True) if b"\n" in line]
        return [line for line in found if event in (None, line["event"])]

    async def line(self, event: str) -> dict[str, Any]:
        """Return the one line of *event*, as soon as the writer's thread has come to it."""
        await until(lambda: self.lines(event))
        [line] = self.lines(event)
        return line

    def whole(self) -> bytes:
        """Return all of it, to the last line; nothing is logged afterwards."""
        logs.shutdown()
        return self.getvalue()
