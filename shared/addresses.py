"""Who is calling: the client's address behind trusted proxies, and the ranges a key may list."""

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from shared.policy.values import Address, Network

_MAX_HOPS = 100
_ROUTED_IPV6 = ip_network("2000::/3")  # RFC 4291
_NAT64 = ip_network("64:ff9b::/96")  # RFC 6052: the last 32 bits are an IPv4 address
_PLAIN_PREFIX = re.compile(r"/(0|[1-9]\d{0,2})")


@lru_cache(maxsize=4096)  # the same few clients over and over
def parse(text: str) -> Address | None:
    """One address; an IPv4-mapped IPv6 one becomes IPv4 and a zone is dropped. None when it is not an address.

    Other IPv6 forms that embed IPv4 (NAT64, 6to4) stay what they are: they are other hosts' addresses.
    """
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def parse_network(text: str) -> Network:
    """An address or a CIDR range as a person types it. Raises ValueError with a sentence that names the input.

    Host bits are refused rather than cleared, because 10.0.0.1/8 is more likely a mistake than a wish for 10.0.0.0/8;
    masks in dotted form, octal numbers and zones are refused because their meaning is in dispute.
    """
    text = text.strip()
    base, slash, _ = text.partition("/")
    if "%" in text or (slash and not _PLAIN_PREFIX.fullmatch(text[len(base) :])):
        raise ValueError(f"{text!r} is neither an address nor a CIDR range")
    try:
        network = ip_network(text)
    except ValueError:
        try:
            wider = ip_network(text, strict=False)
        except ValueError:
            raise ValueError(f"{text!r} is neither an address nor a CIDR range") from None
        raise ValueError(f"{text!r} has host bits set; did you mean {wider}?") from None
    if isinstance(network.network_address, IPv6Address) and network.network_address.ipv4_mapped is not None:
        raise ValueError(f"{text!r} is an IPv4-mapped range; write it as IPv4")
    return network


def _hop(text: str) -> Address | None:
    """One entry of X-Forwarded-For: an address, perhaps with a port as some balancers write it."""
    text = text.strip()
    if text.startswith("["):
        return parse(text[1:].partition("]")[0])
    if text.count(":") == 1:
        text = text.partition(":")[0]
    return parse(text)


def client_address(peer: str, forwarded_for: Sequence[str], trusted: Iterable[Network]) -> Address | None:
    """The client's address: the peer's, unless the peer is a trusted proxy.

    Then the lines of X-Forwarded-For are walked from the right to the first hop that is not trusted. When all are
    trusted, the leftmost is the client. Junk in the way, or more than 100 hops, yields None: nobody knows.
    """
    address = parse(peer)
    networks = tuple(trusted)
    if not networks:
        return address
    if address is None or not any(address in network for network in networks):
        return address
    hops = [hop for line in forwarded_for for hop in line.split(",")]
    if len(hops) > _MAX_HOPS:
        return None
    for hop in reversed(hops):
        address = _hop(hop)
        if address is None or not any(address in network for network in networks):
            return address
    return address


def is_public(address: Address) -> bool:
    """Whether an address is one of the whole internet's, and leads to no network of ours by another spelling of it."""
    if isinstance(address, IPv6Address):
        if address.teredo is not None:
            return False
        inner = address.ipv4_mapped or address.sixtofour
        if address in _NAT64:
            inner = IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(inner)
        if address not in _ROUTED_IPV6:
            return False
    return address.is_global and not address.is_multicast


def may_be_reached(address: Address, allowed: Iterable[Network]) -> bool:
    """Whether something that others chose may be sent there: to public addresses, and to what is allowed besides."""
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return is_public(address) or any(address in network for network in allowed)
