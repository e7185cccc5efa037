"""Who is asking: keys and addresses."""

from __future__ import annotations

import hashlib
import ipaddress

import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from ssegate.config import Key
from ssegate.keys import MAX_KEY_LENGTH, Keys, client_address, counted, may_use, new_key, shown_keys


def key(name, secret, *routes):
    return Key(name, hashlib.sha256(secret.encode()).digest(), routes)


KEYS = Keys([key("a", "secret-a"), key("b", "secret-b"), key("long", "k" * MAX_KEY_LENGTH)])


@pytest.mark.parametrize(
    ("shown", "name"),
    [
        (["secret-a"], "a"),
        (["wrong", "secret-b"], "b"),
        (["k" * MAX_KEY_LENGTH], "long"),
        (["k" * (MAX_KEY_LENGTH + 1)], None),
        (["secret-a "], None),
        ([""], None),
        ([], None),
        (["\udcff"], None),
    ],
)
def test_a_key_is_known_by_its_hash(shown: list[str], name: str | None):
    """What is too long is wrong, even if it begins like a key."""
    found = KEYS.find(shown)
    assert (found and found.name) == name


@pytest.mark.parametrize("shown", [[], [""]])
def test_who_shows_nothing_has_no_key(shown: list[str]):
    """Even where the file holds the hash of nothing."""
    assert Keys([Key("empty", hashlib.sha256(b"").digest())]).find(shown) is None


def test_every_key_is_compared_whatever_is_shown(monkeypatch: pytest.MonkeyPatch):
    """The number of comparisons, and with it the time, does not depend on what is shown."""
    import hmac

    calls = []
    real = hmac.compare_digest
    monkeypatch.setattr("hmac.compare_digest", lambda a, b: calls.append(1) or real(a, b))
    counts = []
    for shown in (["secret-a"], ["secret-b"], ["wrong"], [], ["x" * 100_000]):
        calls.clear()
        KEYS.find(shown)
        counts.append(len(calls))

    assert counts == [3] * 5


def test_new_keys_are_random_and_their_hash_fits():
    """256 bits, never the same twice."""
    made = [new_key() for _ in range(100)]
    assert len({secret for secret, _ in made}) == 100
    for secret, digest in made:
        assert digest == "sha256:" + hashlib.sha256(secret.encode()).hexdigest()
        assert len(secret.removeprefix("ssk_")) == 43


def test_all_five_places_are_looked_at():
    """Other schemes than Bearer are no keys."""
    headers = [("Authorization", "Basic x"), ("authorization", "BEARER 1"), ("X-API-Key", "2")]
    headers += [("x-goog-api-key", "3"), ("api-key", "4")]
    assert shown_keys(CIMultiDictProxy(CIMultiDict(headers)), "5") == ["1", "2", "3", "4", "5"]


def test_no_more_keys_are_looked_at_than_a_client_shows():
    """Each costs a comparison with every key there is."""
    headers = [("x-api-key", str(number)) for number in range(1000)]
    assert len(shown_keys(CIMultiDictProxy(CIMultiDict(headers)), "last")) == 8


@pytest.mark.parametrize(
    ("routes", "path", "may"),
    [
        ((), "/anything", True),
        (("/v1/chat",), "/v1/chat", True),
        (("/v1/chat",), "/v1/chat/", False),
        (("/v1/*",), "/v1/chat", True),
        (("/v1/*",), "/v1", False),
        (("/v1/*",), "/v10", False),
        (("/a", "/b/*"), "/b/c", True),
    ],
)
def test_a_key_is_for_its_paths(routes: tuple[str, ...], path: str, may: bool):
    """Exact ones, and prefixes that end in a star."""
    assert may_use(key("a", "a", *routes), path) is may


PROXIES = [ipaddress.ip_network(net) for net in ("10.0.0.0/8", "fd00::/8")]


@pytest.mark.parametrize(
    ("forwarded", "client"),
    [
        ([], "10.0.0.1"),
        (["1.2.3.4"], "1.2.3.4"),
        (["9.9.9.9, 1.2.3.4"], "1.2.3.4"),
        (["9.9.9.9", "1.2.3.4, 10.0.0.2"], "1.2.3.4"),
        (["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        (["1.2.3.4:5678"], "1.2.3.4"),
        (["[2001:db8::1]:443, fd00::1"], "2001:db8::1"),
        (["::ffff:1.2.3.4"], "1.2.3.4"),
        (["unknown"], "10.0.0.1"),
        (["1.2.3.4, unknown, 10.0.0.2"], "10.0.0.2"),
        (["fe80::1%eth0"], "fe80::1"),
        ([""], "10.0.0.1"),
    ],
)
def test_the_client_is_read_from_the_end_of_the_list(forwarded: list[str], client: str):
    """As far as those who wrote it are trusted; what a client invents at the beginning is not reached."""
    assert client_address("10.0.0.1", forwarded, PROXIES) == client


@pytest.mark.parametrize(
    ("address", "as_what"),
    [
        ("1.2.3.4", "1.2.3.4"),
        ("::ffff:1.2.3.4", "1.2.3.4"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::", "2001:db8:1:3::/64"),
        ("unix", "unix"),
    ],
)
def test_an_address_is_counted_by_whom_it_belongs_to(address: str, as_what: str):
    """One machine has a whole /64 of IPv6."""
    assert counted(address) == as_what
