"""
The Lua scripts: what they take and answer, and how they are sent, by their hash, and by their text where the
server does not know it.

SCRIPT LOAD is never sent, as some proxies in front of Redis refuse it.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha1
from pathlib import Path
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import NoScriptError

from ssegate.limits.gcra import RateLimit
from ssegate.limits.ground import Limit
from ssegate.limits.store import Bucket, Hold, Verdict
from ssegate.limits.windows import WindowLimit

__all__ = ["PREFIX", "REDIS_TIME", "Script", "five", "verdict_of"]

PREFIX = "ssegate:{limits}:"
"""The braces keep all keys of a decision on one node of a cluster."""

REDIS_TIME = "local t = redis.call('TIME'); local now = t[1] * 100000 + math.floor(t[2] / 10)\n"
"""All replicas go by one clock, the server's."""

_FOLDER = Path(__file__).parent


class Script:
    """One script with the common arithmetic before it."""

    def __init__(self, name: str, clock: str = REDIS_TIME) -> None:
        parts = (_FOLDER / file for file in ("common.lua", f"{name}.lua"))
        self._text = clock + "\n".join(part.read_text("utf-8") for part in parts)
        # What Redis itself calls a script; nothing is kept secret by it.
        self._hash = sha1(self._text.encode(), usedforsecurity=False).hexdigest()

    async def run(self, client: Redis, keys: Sequence[str], args: Sequence[str | int]) -> Any:
        """Run it on the server."""
        try:
            return await client.evalsha(self._hash, len(keys), *keys, *args)
        except NoScriptError:
            return await client.eval(self._text, len(keys), *keys, *args)


def five(limit: Limit, units: int) -> list[str | int]:
    """Return the arguments of one bucket: kind, units, amount, burst, period."""
    match limit:
        case RateLimit():
            return ["rate", units, limit.amount, limit.burst, limit.period]
        case WindowLimit():
            return ["window", units, limit.amount, 0, limit.period]
        case _:
            return ["streams", units, limit.capacity, 0, ""]


def verdict_of(buckets: Sequence[Bucket], answer: list[int]) -> Verdict:
    """Return what ``take.lua`` has answered."""
    wait_ms, refused, *rest = answer
    holds = [
        Hold(
            bucket,
            PREFIX + bucket.key,
            min(bucket.units, bucket.limit.capacity),
            mark=rest[3 * at + 2],
            remaining=rest[3 * at],
            reset_ms=rest[3 * at + 1],
        )
        for at, bucket in enumerate(buckets)
    ]
    return Verdict(holds, wait_ms, buckets[refused - 1] if refused else None)
