"""Who is calling: the client's address behind trusted proxies, and the ranges a key may list."""

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, collapse_addresses, ip_address, ip_network
from typing import TypeVar

from shared.policy.values import Address, Network

_MAX_HOPS = 100
_N = TypeVar("_N", IPv4Network, IPv6Network)
_ROUTED_IPV6 = IPv6Network("2000::/3")  # RFC 4291
# So many that nobody has proxies in all of them: a sixteenth of IPv4, and of routed IPv6 as much as stands for all of
# IPv4 in 2002::/16 (RFC 3056). All private IPv6 may be trusted, so of all IPv6 it is an eighth.
_TOO_MANY_IPV4, _TOO_MANY_ROUTED, _TOO_MANY_IPV6 = 2**28, 2**112, 2**125
_NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052: the last 32 bits are an IPv4 address
# Nobody's on the internet, whatever `is_global` says of them.
_NOT_PUBLIC = (
    ip_network("168.63.129.16/32"),  # Azure's host, to its machines (Microsoft: What is IP address 168.63.129.16?)
    ip_network("192.88.99.0/24"),  # relays from 6to4 to IPv4, given up (RFC 7526)
    ip_network("3fff::/20"),  # documentation (RFC 9637)
)
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


def scheme_told(forwarded_proto: str) -> str:
    """By what the client came, in small letters, as X-Forwarded-Proto says; "" where nobody says.

    Several proxies each add a word, and the nearest one's is the last.
    """
    return forwarded_proto.rpartition(",")[2].strip().lower()


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
    if any(address in network for network in _NOT_PUBLIC):
        return False
    return address.is_global and not address.is_multicast


def is_nearly_everything(found: Sequence[Network]) -> bool:
    """Whether nearly anybody comes from these. Judged together: 0.0.0.0/1 and 128.0.0.0/1 are everything as well."""
    four = [network for network in found if isinstance(network, IPv4Network)]
    six = [network for network in found if isinstance(network, IPv6Network)]
    # Behind a NAT64 anybody of IPv4 comes by an address of its prefix.
    mapped = ((int(part.network_address) & 0xFFFFFFFF, part.prefixlen - 96) for part in _within(_NAT64, six))
    four += map(IPv4Network, mapped)
    too_many = _size(six) >= _TOO_MANY_IPV6 or _size(_within(_ROUTED_IPV6, six)) >= _TOO_MANY_ROUTED
    return too_many or _size(four) >= _TOO_MANY_IPV4


def _within(whole: IPv6Network, found: Iterable[IPv6Network]) -> list[IPv6Network]:
    """What is in both."""
    return [max(network, whole, key=lambda one: one.prefixlen) for network in found if network.overlaps(whole)]


def _size(found: Iterable[_N]) -> int:
    return sum(network.num_addresses for network in collapse_addresses(found))


def may_be_reached(address: Address, allowed: Iterable[Network]) -> bool:
    """Whether something that others chose may be sent there: to public addresses, and to what is allowed besides."""
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return is_public(address) or any(address in network for network in allowed)
