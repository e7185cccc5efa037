"""
Limits that hold: what a request may take, from which buckets, and what keeps them.

The arithmetic (``gcra``, ``windows``, ``leases``) is pure; ``rules`` says which buckets a request has;
``memory`` and ``redis`` keep them, behind the one interface of ``store``.
"""

from ssegate.limits.gcra import RateLimit
from ssegate.limits.ground import Dimension, Limit, Moment
from ssegate.limits.leases import StreamLimit
from ssegate.limits.memory import MemoryStore
from ssegate.limits.rules import Rules
from ssegate.limits.store import Actual, Bucket, Hold, Store, StoreDown, Verdict
from ssegate.limits.windows import WindowLimit

__all__ = [
    "Actual",
    "Bucket",
    "Dimension",
    "Hold",
    "Limit",
    "MemoryStore",
    "Moment",
    "RateLimit",
    "Rules",
    "Store",
    "StoreDown",
    "StreamLimit",
    "Verdict",
    "WindowLimit",
]
