"""
Passes the head of an upstream's answer on: status and headers, as they are.
"""

from __future__ import annotations

from collections.abc import Mapping

from aiohttp import ClientResponse
from aiohttp.web import BaseRequest, StreamResponse
from multidict import CIMultiDict

__all__ = ["lay_over", "passed_headers", "send_head", "stream_headers"]

_HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
_OF_THE_UPSTREAM = frozenset(
    {"set-cookie", "strict-transport-security", "alt-svc", "content-security-policy"}
)
"""Headers that bind the client's browser to the upstream's host."""

_REQUEST_IDS = ("x-request-id", "request-id")
_LIMITED = ("-requests", "-tokens")
_RATE_LIMITS = ("x-ratelimit-", "anthropic-ratelimit-", "ratelimit")


def passed_headers(
    response: ClientResponse, ours: CIMultiDict[str], *, forward_client: bool, decoded: bool
) -> CIMultiDict[str]:
    """
    Return the end-to-end headers of an answer that passes as it is.

    Args:
        ours: CORS headers and limits that the gate adds. Where it adds the former, the upstream's own are
            left out: a browser refuses an answer with two of them.
        decoded: The body's content coding has been undone, so its length and coding no longer hold.
    """
    named = {
        part.strip().lower() for line in response.headers.getall("Connection", ()) for part in line.split(",")
    }
    dropped = _HOP_BY_HOP | named
    if not forward_client:
        dropped |= _OF_THE_UPSTREAM
    if decoded and response.headers.get("Content-Encoding"):
        dropped |= {"content-encoding", "content-length"}
    has_cors = "Access-Control-Allow-Origin" in ours
    passed: CIMultiDict[str] = CIMultiDict()
    for name, value in response.headers.items():
        lower = name.lower()
        if lower not in dropped and not (has_cors and lower.startswith("access-control-")):
            passed.add(name, value)
    lay_over(passed, ours)
    return passed


def lay_over(theirs: CIMultiDict[str], ours: CIMultiDict[str]) -> None:
    """Add *ours* to *theirs*; the upstream's limits are left out where the gate has its own on the same."""
    told = [name for name in theirs if name.lower().startswith(_RATE_LIMITS)]
    limited = [what for what in _LIMITED if any(what in name.lower() for name in ours)] if told else []
    for name in told if limited else ():
        # The draft's headers name no dimension; ours are told whole.
        if name in theirs and (
            name.lower().startswith("ratelimit") or any(w in name.lower() for w in limited)
        ):
            del theirs[name]
    theirs.extend(ours)


def stream_headers(response: ClientResponse | None) -> CIMultiDict[str]:
    """Return what a stream's client gets of the upstream's headers: its request id and its rate limits."""
    out: CIMultiDict[str] = CIMultiDict()
    for name, value in response.headers.items() if response is not None else ():
        lower = name.lower()
        if lower in _REQUEST_IDS or lower.startswith(_RATE_LIMITS):
            out.add(name, value)
    return out


async def send_head(
    request: BaseRequest, status: int, reason: str | None, headers: Mapping[str, str]
) -> StreamResponse:
    """Send the head of an answer whose body follows."""
    answer = StreamResponse(status=status, reason=reason, headers=headers)
    if request.version < (1, 1) and answer.content_length is None:
        answer.force_close()  # nothing but the close can tell the end
    await answer.prepare(request)
    return answer
