"""Which headers of an upstream's answer its client gets."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiohttp import ClientResponse
from multidict import CIMultiDict, CIMultiDictProxy

from ssegate.passing import passed_headers, stream_headers

NO_CORS: CIMultiDict[str] = CIMultiDict()


def response(*pairs: tuple[str, str]) -> ClientResponse:
    """Return as much of an answer as is looked at: its headers."""
    return cast(ClientResponse, SimpleNamespace(headers=CIMultiDictProxy(CIMultiDict(pairs))))


def passed(*pairs: tuple[str, str], ours: CIMultiDict[str] = NO_CORS, **said: Any) -> list[tuple[str, str]]:
    settings: dict[str, Any] = {"forward_client": True, "decoded": False}
    return list(passed_headers(response(*pairs), ours, **(settings | said)).items())


def test_end_to_end_headers_pass_in_their_order():
    """Names, values, order and repetition stay."""
    pairs = [("Content-Type", "a/b"), ("Set-Cookie", "a=b"), ("X-Own", "1"), ("set-cookie", "c=d")]

    assert passed(*pairs) == pairs


@pytest.mark.parametrize(
    "name", ["Connection", "KEEP-ALIVE", "Transfer-Encoding", "TE", "Trailer", "Upgrade"]
)
def test_hop_by_hop_headers_do_not_pass(name: str):
    """RFC 9110, section 7.6.1, in any spelling."""
    assert passed((name, "x"), ("X-Own", "1")) == [("X-Own", "1")]


def test_headers_named_in_connection_do_not_pass():
    """All lines of ``Connection`` count."""
    named = [("Connection", "close, X-A"), ("connection", " x-b ,"), ("X-A", "1"), ("X-B", "2"), ("X-C", "3")]

    assert passed(*named) == [("X-C", "3")]


def test_what_binds_a_browser_to_the_upstream():
    """Cookies and policies pass only where the client is meant to meet the upstream."""
    pairs = [("Set-Cookie", "a"), ("Strict-Transport-Security", "b"), ("Alt-Svc", "c")]
    pairs.append(("Content-Security-Policy", "d"))

    assert passed(*pairs) == pairs
    assert passed(*pairs, ("X-Own", "1"), forward_client=False) == [("X-Own", "1")]


def test_length_and_coding_of_a_decoded_body():
    """They were those of the coded bytes; without a coding nothing was undone and the length holds."""
    coded = [("Content-Encoding", "gzip"), ("Content-Length", "9"), ("X-Own", "1")]

    assert passed(*coded) == coded
    assert passed(*coded, decoded=True) == [("X-Own", "1")]
    assert passed(("Content-Length", "9"), decoded=True) == [("Content-Length", "9")]


def test_cors_is_one_mans_business():
    """Where the gate answers for CORS the upstream's headers go; else they are the upstream's."""
    theirs = [("Access-Control-Allow-Origin", "*"), ("Vary", "Accept")]
    ours = CIMultiDict({"Access-Control-Allow-Origin": "https://app.test", "Vary": "Origin"})

    assert passed(*theirs) == theirs
    assert sorted(passed(*theirs, ours=ours)) == sorted([("Vary", "Accept"), *ours.items()])


def test_a_streams_client_gets_id_and_limits():
    """Request ids and rate limits in all their spellings, and nothing else."""
    kept = [
        ("X-Request-ID", "1"),
        ("request-id", "2"),
        ("x-ratelimit-remaining-tokens", "3"),
        ("anthropic-ratelimit-requests-reset", "4"),
        ("RateLimit", '"a";r=1'),
        ("RateLimit-Policy", '"a";q=1'),
    ]
    dropped = [("X-Request-ID-2", "5"), ("Retry-After", "6"), ("Set-Cookie", "7"), ("X-Own", "8")]

    assert list(stream_headers(response(*kept, *dropped)).items()) == kept
    assert not stream_headers(None)
