"""Cases X of the catalogue, at a router that trusts 127.0.0.1 and 10.9.0.0/16 to name their clients."""

import pytest
from harness import Router
from raw_http import bearer, dial, request


@pytest.fixture(scope="module")
def key(lab: Router) -> str:
    """It may be used from 203.0.113.0/24 and 10.0.0.0/8."""
    return lab.create_key(name="placed", allowed_ips=["203.0.113.0/24", "10.0.0.0/8"])[1]


def verdict(router: Router, key: str, *forwarded: bytes) -> tuple[int, str]:
    """The status of a request with these lines of X-Forwarded-For, and the address that was judged, where told."""
    with dial(router) as line:
        fields = [b"X-Forwarded-For: " + value for value in forwarded]
        line.send(request(b"GET /v1/key", bearer(key), *fields))
        answer = line.answer()
        assert answer.status in (200, 403), answer
        assert answer.code in (None, "ip_blocked")
        return answer.status, answer.body.decode()


@pytest.mark.parametrize(
    "forwarded",
    [
        (b"203.0.113.5",),
        (b"192.0.2.1, 203.0.113.5",),  # the left one is the client's own invention
        (b"192.0.2.1", b"203.0.113.5"),
        (b"192.0.2.1", b"203.0.113.5, 10.9.1.1", b"127.0.0.1"),
        (b"203.0.113.5, 10.9.1.1,10.9.2.2",),
        (b"203.0.113.5:4711",),
    ],
)
def test_x02_the_first_stranger_from_the_right_is_the_client(
    lab: Router, key: str, forwarded: tuple[bytes, ...]
) -> None:
    assert verdict(lab, key, *forwarded)[0] == 200


@pytest.mark.parametrize(
    ("forwarded", "client"),
    [
        ((b"203.0.113.5, 192.0.2.1",), "192.0.2.1"),
        ((b"203.0.113.5", b"192.0.2.1"), "192.0.2.1"),
        ((b"203.0.113.5, 192.0.2.1, 10.9.1.1",), "192.0.2.1"),
        ((b"203.0.113.5, 192.0.2.1", b"10.9.1.1", b"127.0.0.1"), "192.0.2.1"),
        ((), "127.0.0.1"),  # a trusted proxy that names nobody is its own client
    ],
)
def test_x02_an_allowed_address_further_left_helps_nobody(
    lab: Router, key: str, forwarded: tuple[bytes, ...], client: str
) -> None:
    status, body = verdict(lab, key, *forwarded)
    assert status == 403
    assert client in body


@pytest.mark.parametrize("junk", [b"unknown", b"", b"203.0.113.5, ", b"203.0.113.5, junk", b"_hidden", b"999.1.1.1"])
def test_x04_junk_at_the_right_is_nobody(lab: Router, key: str, junk: bytes) -> None:
    assert verdict(lab, key, junk)[0] == 403


def test_x03_a_stranger_names_nobody(router: Router) -> None:
    _, key = router.create_key(name="elsewhere", allowed_ips=["203.0.113.0/24"])
    assert verdict(router, key, b"203.0.113.5")[0] == 403
    _, here = router.create_key(name="here", allowed_ips=["127.0.0.1"])
    assert verdict(router, here, b"203.0.113.5")[0] == 200


@pytest.mark.parametrize("mapped", [b"::ffff:10.1.2.3", b"[::ffff:10.1.2.3]:4711", b"::FFFF:0A01:0203"])
def test_x05_a_mapped_address_is_the_one_it_maps(lab: Router, key: str, mapped: bytes) -> None:
    assert verdict(lab, key, mapped)[0] == 200


@pytest.mark.parametrize(
    "other", [b"64:ff9b::10.1.2.3", b"2002:a01:203::1", b"::10.1.2.3", b"::ffff:0:10.1.2.3", b"::ffff:192.0.2.1"]
)
def test_x05_other_forms_that_embed_an_address_are_not_unmapped(lab: Router, key: str, other: bytes) -> None:
    assert verdict(lab, key, other)[0] == 403
