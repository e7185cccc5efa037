"""The Origin rule, header by header."""

from __future__ import annotations

import pytest
from multidict import CIMultiDict

from ssegate.origin import check, cors_headers, is_preflight, preflight_headers
from ssegate.wire.errors import ClientError

LISTED = ("https://app.test", "http://localhost:3000")


def is_refused(origins: tuple[str, ...] = LISTED, *, is_local: bool = False, **headers: str) -> bool:
    """Tell whether a request with *headers* (``_`` for ``-``) is refused, with the right code."""
    fields = CIMultiDict((name.replace("_", "-"), value) for name, value in headers.items())
    try:
        check(fields, origins, is_local=is_local)
    except ClientError as refusal:
        assert refusal.failure.code == "forbidden_origin"
        return True
    return False


@pytest.mark.parametrize(
    ("origin", "host", "refused"),
    [
        ("http://gate.test", "gate.test", False),
        ("http://gate.test", "GATE.test", False),
        ("https://gate.test", "gate.test", False),
        ("https://gate.test", "gate.test:443", False),
        ("http://gate.test:8080", "gate.test:8080", False),
        ("http://127.0.0.1:8080", "127.0.0.1:8080", False),
        ("http://[::1]:8080", "[::1]:8080", False),
        ("https://app.test", "gate.test", False),
        ("HTTPS://APP.test", "gate.test", False),
        ("http://gate.test:8080", "gate.test", True),
        ("http://gate.test", "gate.test:8080", True),
        ("http://[::1]:8080", "[::2]:8080", True),
        ("http://gate.test.evil", "gate.test", True),
        ("http://evil/gate.test", "gate.test", True),
        ("http://gate.test@evil", "gate.test", True),
        ("null", "gate.test", True),
        ("null", "", True),
        ("", "", True),
        ("file://", "", True),
        ("http://[", "[", True),
        ("http://gate.test:x", "gate.test:x", True),
        ("http://app.test", "gate.test", True),
    ],
)
def test_whose_page_may_ask(origin: str, host: str, refused: bool):
    """Our own host with its port, over TLS or not, and what is listed; nothing that only looks like them."""
    assert is_refused(Origin=origin, Host=host) is refused


def test_programs_have_no_origin():
    """A request without Origin passes unless a browser says that it comes from another site."""
    assert not is_refused(Host="gate.test")
    assert not is_refused(Sec_Fetch_Site="same-origin")
    assert not is_refused(Sec_Fetch_Site="none")
    assert is_refused(Sec_Fetch_Site="cross-site")
    assert is_refused(Sec_Fetch_Site="Cross-Site")


@pytest.mark.parametrize(
    ("host", "headers", "refused"),
    [
        ("localhost:8080", {"Origin": "http://localhost:8080"}, False),
        ("gate.localhost", {"Origin": "http://gate.localhost"}, False),
        ("127.0.0.1:8080", {"Origin": "http://127.0.0.1:8080"}, False),
        ("[::1]:8080", {"User-Agent": "Mozilla/5.0"}, False),
        ("app.test:443", {"Sec-Fetch-Site": "same-origin"}, False),  # listed
        ("app.test", {"User-Agent": "Mozilla/5.0"}, False),
        ("rebound.test", {"Origin": "http://rebound.test"}, True),
        ("rebound.test:8080", {"Origin": "http://rebound.test:8080"}, True),
        ("rebound.test", {"Sec-Fetch-Site": "same-origin"}, True),
        ("rebound.test", {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64)"}, True),
        ("", {"User-Agent": "Mozilla/5.0"}, True),
        ("rebound.test", {"User-Agent": "curl/8.5"}, False),
        ("rebound.test", {}, False),
    ],
)
def test_a_rebound_name_opens_no_gate_on_this_machine(host: str, headers: dict[str, str], refused: bool):
    """A page whose own name leads here is no page of ours; programs may use any name."""
    assert is_refused(is_local=True, Host=host, **headers) is refused
    assert not is_refused(is_local=False, Host=host, **headers)


def test_a_star_lets_everybody_in():
    """``*`` is every origin, ``null`` too."""
    assert not is_refused(("*",), Origin="null")
    assert not is_refused(("*",), Origin="https://evil.test", Sec_Fetch_Site="cross-site")


def test_only_the_listed_may_read():
    """Pages of others, our own and programs get no CORS headers: they need none, or shall have none."""
    assert not cors_headers({}, LISTED)
    assert not cors_headers({"Origin": "https://evil.test"}, LISTED)
    assert not cors_headers({"Origin": "http://gate.test", "Host": "gate.test"}, LISTED)

    found = cors_headers({"Origin": "https://app.test"}, LISTED)
    assert found["Access-Control-Allow-Origin"] == "https://app.test"
    assert found["Vary"] == "Origin"
    assert "Access-Control-Allow-Credentials" not in found


@pytest.mark.parametrize(
    ("method", "names", "yes"),
    [
        ("OPTIONS", ("Origin", "Access-Control-Request-Method"), True),
        ("OPTIONS", ("Origin",), False),
        ("OPTIONS", ("Access-Control-Request-Method",), False),
        ("POST", ("Origin", "Access-Control-Request-Method"), False),
    ],
)
def test_what_is_a_preflight(method: str, names: tuple[str, ...], yes: bool):
    """OPTIONS with both headers, as the Fetch standard says."""
    assert is_preflight(method, dict.fromkeys(names, "x")) is yes


def test_a_preflight_names_each_method_once():
    """The route's methods and DELETE, for the cancel of a stream."""
    headers = {"Origin": "https://app.test"}

    for methods in (["POST"], ["DELETE", "POST"]):
        allowed = preflight_headers(headers, LISTED, methods)["Access-Control-Allow-Methods"].split(", ")
        assert sorted(allowed) == ["DELETE", "POST"]
