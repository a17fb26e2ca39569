"""Clients behind proxies, and ranges as people type them."""

from ipaddress import ip_address, ip_network

import pytest

from shared.addresses import client_address, parse, parse_network

PROXIES = (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))


def test_it_works() -> None:
    assert client_address("203.0.113.7", [], ()) == ip_address("203.0.113.7")


def test_the_header_of_a_stranger_does_not_count() -> None:
    assert client_address("203.0.113.7", ["198.51.100.1"], PROXIES) == ip_address("203.0.113.7")


def test_behind_a_trusted_proxy_the_first_untrusted_hop_from_the_right_is_the_client() -> None:
    lines = ["6.6.6.6, 198.51.100.1", "203.0.113.9, 10.1.1.1", "10.2.2.2"]
    assert client_address("10.0.0.1", lines, PROXIES) == ip_address("203.0.113.9")


def test_when_all_hops_are_trusted_the_leftmost_is_the_client() -> None:
    assert client_address("10.0.0.1", ["10.5.5.5, 10.6.6.6"], PROXIES) == ip_address("10.5.5.5")


def test_a_trusted_proxy_without_the_header_is_its_own_client() -> None:
    assert client_address("10.0.0.1", [], PROXIES) == ip_address("10.0.0.1")


def test_a_mapped_peer_is_the_address_it_maps() -> None:
    assert client_address("::ffff:10.1.2.3", [], ()) in ip_network("10.0.0.0/8")


@pytest.mark.parametrize("hop", ["198.51.100.1:80", "[::ffff:198.51.100.1]:80", " 198.51.100.1 "])
def test_hops_may_carry_a_port(hop: str) -> None:
    assert client_address("10.0.0.1", [hop], PROXIES) == ip_address("198.51.100.1")


@pytest.mark.parametrize("line", ["unknown", "", "198.51.100.1, junk", "198.51.100.1,", "300.1.1.1", "a" * 100_000])
def test_junk_in_the_way_means_that_nobody_knows(line: str) -> None:
    assert client_address("10.0.0.1", [line], PROXIES) is None


def test_ten_thousand_hops_are_not_walked() -> None:
    assert client_address("10.0.0.1", [",".join(["10.0.0.1"] * 10_000)], PROXIES) is None


def test_an_unknown_peer_is_nobody() -> None:
    assert client_address("", [], ()) is None


def test_a_zone_is_dropped() -> None:
    assert parse("fe80::1%eth0") == ip_address("fe80::1")


@pytest.mark.parametrize("text", ["64:ff9b::102:304", "2002:102:304::", "::1.2.3.4"])
def test_only_mapped_addresses_are_unmapped(text: str) -> None:
    assert parse(text) == ip_address(text)


@pytest.mark.parametrize(
    ("text", "network"),
    [
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("203.0.113.7", "203.0.113.7/32"),
        ("2001:db8::/32", "2001:db8::/32"),
        (" ::1 ", "::1/128"),
    ],
)
def test_ranges(text: str, network: str) -> None:
    assert parse_network(text) == ip_network(network)


def test_host_bits_are_refused_with_a_hint() -> None:
    with pytest.raises(ValueError, match=r"10\.0\.0\.1/8.*did you mean 10\.0\.0\.0/8"):
        parse_network("10.0.0.1/8")


@pytest.mark.parametrize(
    "text",
    [
        "10.0.0.0/0.255.255.255", "10.0.0.0/255.0.0.0", "10.0.0.0/08", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/+8",
        "010.0.0.1", "127.1", "0x7f.1", "::1%eth0", "::ffff:10.0.0.0/104", "example.com", "", "10.0.0.0/",
        "1.2.3.4/24/24", "*",
    ],
)  # fmt: skip
def test_what_is_in_dispute_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"address|host bits|IPv4"):
        parse_network(text)


def test_everything_in_one_family_does_not_cover_the_other() -> None:
    assert ip_address("::1") not in parse_network("0.0.0.0/0")
    assert ip_address("10.0.0.1") not in parse_network("::/0")
