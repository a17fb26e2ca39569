"""Addresses of programs that speak HTTP: what a URL may say in each setting, and which lead to this router itself."""

import re
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import SplitResult, unquote, urlsplit

from shared.config.values import Bind, SettingError, is_header_safe

_HOST = re.compile(r"(?=.{1,253}\.?$)[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,62})(?:\.[A-Za-z0-9_-]{1,63})*\.?")
_PATH = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=:@/-]|%[0-9A-Fa-f]{2})*", re.ASCII)  # RFC 3986, 3.3
_SHOWN_PATH = re.compile(r"[A-Za-z0-9._~:@/-]*", re.ASCII)  # what means nothing in a shell, in HTML or in a program
_PORTS = {"http": 80, "https": 443}
_LOCAL_NAMES = ("localhost", "ip6-localhost", "ip6-loopback")  # the latter as Debian's /etc/hosts has them
_LOOPBACKS = ("127.0.0.1", "::1")
_NUMBER = re.compile(r"0x[0-9a-f]{1,8}|0[0-7]{0,11}|[1-9][0-9]{0,9}", re.ASCII)
_VERSION = re.compile(r"v\d+(?:(?:alpha|beta)\d*)?", re.IGNORECASE | re.ASCII)
# What follows the version in the providers' own addresses. A gateway may have a version further in front, such as
# Cloudflare's /v1/ACCOUNT/GATEWAY/openai, and there an account follows.
_BEHIND_A_VERSION = frozenset(
    (
        "audio", "batches", "cachedcontents", "chat", "complete", "completions", "embeddings", "files", "images",
        "messages", "models", "moderations", "openai", "organization", "realtime", "responses", "videos",
    )
)  # fmt: skip
_SIGNALS = ("/v1/traces", "/v1/metrics", "/v1/logs")  # OTLP/HTTP, which the address of a collector stands in front of
_Address = IPv4Address | IPv6Address


def origin(name: str, text: str) -> str:
    """A base address, without a slash at its end."""
    wrong = SettingError(f"{name} must be an http or https address, such as https://api.example.com.")
    try:
        parts = urlsplit(text)
        port_is_fine = parts.port is None or parts.port > 0
    except ValueError:  # of a port or of brackets
        raise wrong from None
    if parts.scheme not in ("http", "https") or not port_is_fine or not is_header_safe(text):
        raise wrong
    if "@" in parts.netloc or "?" in text or "#" in text:
        raise SettingError(f"{name} must hold neither credentials nor a query.")
    if not is_host(parts.hostname or "", in_brackets="[" in parts.netloc):
        raise wrong
    if _PATH.fullmatch(parts.path) is None or {".", ".."} & set(_segments(parts)):
        raise SettingError(f"{name} has a path that cannot be read without doubt: take letters, digits and - . _ ~.")
    return text.rstrip("/")


def collector(name: str, text: str) -> str | None:
    """The address of a collector of OpenTelemetry, in front of what each kind of signal is sent to."""
    if not text:
        return None
    url = origin(name, text)
    if found := next((path for path in _SIGNALS if unquote(url).endswith(path)), None):
        raise SettingError(f"{name} must end before {found}: that is put behind it.")
    return url


def reached_at(name: str, text: str) -> str | None:
    """An address at which the router itself is reached. It ends where a client's own path begins."""
    if not text:
        return None
    url = _before_version(name, origin(name, text))
    parts = urlsplit(url)
    if _SHOWN_PATH.fullmatch(parts.path) is None:
        raise SettingError(f"{name} stands in examples to copy: its path must be letters, digits and - . _ ~.")
    if (address := _address(parts)) is not None and address.is_unspecified:
        raise SettingError(f"{name} names no machine: {address} means all addresses of whoever asks.")
    return url


def provider_origin(name: str, text: str) -> str:
    """Where a built-in provider is reached. Paths bring their version along, so that one in it would be sent twice."""
    return _before_version(name, origin(name, text))


def _before_version(name: str, url: str) -> str:
    """Nor with an endpoint behind it, or with Google's `/openai`, which SDKs want to be told."""
    segments = _segments(urlsplit(url))
    for place, segment in enumerate(segments):
        following = segments[place + 1 :]
        if _VERSION.fullmatch(segment) and (not following or following[0].lower() in _BEHIND_A_VERSION):
            raise SettingError(f"{name} must end before /{segment}: it is the address in front of every path.")
    return url


def _segments(parts: SplitResult) -> list[str]:
    """Of its path, as a server reads them: %76 is v."""
    return [segment for segment in unquote(parts.path).split("/") if segment]


def is_host(host: str, *, in_brackets: bool) -> bool:
    """Whether it can be looked up at all: the resolver raises UnicodeError for labels that are empty or too long."""
    if in_brackets:
        try:
            return ip_address(host).version == 6
        except ValueError:
            return False
    return _HOST.fullmatch(host) is not None


def refuse_itself(name: str, url: str, proxy: Bind, reached: Mapping[str, str | None]) -> None:
    """A provider that is this proxy would be asked by itself, without end. `reached`: our own addresses by setting."""
    if leads_to(url, proxy):
        raise SettingError(
            f"{name} is the address of ROUTER_PROXY_BIND: the proxy would ask itself. Name the provider."
        )
    place, path = _place(url)
    for own_name, own in reached.items():
        if own is None:
            continue
        own_place, own_path = _place(own)
        # The dashboard has nothing there, and whoever gives both one host may lead such a path to a gateway.
        below = ("", "/openai", "/anthropic", "/gemini") if own_name == "ROUTER_PUBLIC_URL" else ("",)
        if place == own_place and path in {own_path + end for end in below}:
            raise SettingError(f"{name} is the address of {own_name}: the router would ask itself. Name the provider.")


def leads_to(url: str, bind: Bind) -> bool:
    """Whether a request for a URL arrives at what listens there on this machine, however its host is spelled.

    Names are not looked up, but for those of every machine itself.
    """
    parts = urlsplit(url)
    address, listens = _address(parts), ip_address(_LOOPBACKS[0] if bind.host == "localhost" else bind.host)
    if address is None or _port(parts) != bind.port:
        return False
    here = address.is_loopback or address.is_unspecified  # whoever connects to 0.0.0.0 reaches their own machine
    if address == listens or (listens.is_unspecified and here):
        return True
    # A name such as localhost may be either of the two.
    return str(listens) in _LOOPBACKS and here and (address.is_unspecified or str(address) in _LOOPBACKS)


def _address(parts: SplitResult) -> _Address | None:
    """The address that a URL spells; None: a name that others give."""
    host = (parts.hostname or "").rstrip(".")
    if host in _LOCAL_NAMES or host.endswith(".localhost"):  # RFC 6761, 6.3
        return IPv4Address(_LOOPBACKS[0])
    try:
        address = ip_address(host)
    except ValueError:
        return _short_address(host)
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return address if mapped is None else mapped


def _short_address(host: str) -> IPv4Address | None:
    """One with fewer than four numbers, or in other notations, as resolvers take them: 127.1, 0x7f000001 (inet(3))."""
    parts = host.split(".")
    if len(parts) > 4 or not all(_NUMBER.fullmatch(part) for part in parts):
        return None
    *first, last = (int(part, 16 if part[:2] == "0x" else 8 if part[:1] == "0" else 10) for part in parts)
    if max(first, default=0) > 255 or last >= 256 ** (4 - len(first)):
        return None
    return IPv4Address(sum(number << 8 * (3 - place) for place, number in enumerate(first)) + last)


def _port(parts: SplitResult) -> int:
    return parts.port or _PORTS[parts.scheme]


def _place(url: str) -> tuple[tuple[str, int | None], str]:
    """Host and port, and the path. The port of https is that of http: one leads to the other."""
    parts = urlsplit(url)
    port = None if _port(parts) == _PORTS[parts.scheme] else parts.port
    address = _address(parts)
    host = (parts.hostname or "").rstrip(".") if address is None else str(address)
    return (host, port), "/".join(["", *_segments(parts)])
