"""What the doctor looks at in addresses: whether secrets go in clear, and whether others reach what we tell them."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.exceptions import SSLError

from shared.config import URL_SETTINGS, Settings
from webapp.doctor import Finding

_ASK_SECONDS = 5.0
_ENDS_SOON = timedelta(days=14)
_CERTIFICATE_TIME = "%b %d %H:%M:%S %Y %Z"  # as OpenSSL tells the end of a certificate, always in GMT


def look_at_addresses(settings: Settings, now: datetime, *, offline: bool) -> Iterator[Finding]:
    """Those that settings name. Only those of this router itself are asked, unless `offline`."""
    found = [*_in_clear(settings), *_behind_nobody(settings)]
    if not offline:
        for name, url in _public(settings):
            found += _reached(name, url, now)
    yield from found
    if not found:
        yield Finding("addresses", "ok", "Those that are set fit together.")


def _public(settings: Settings) -> list[tuple[str, str]]:
    both = (("ROUTER_PUBLIC_URL", settings.public_url), ("ROUTER_DASHBOARD_URL", settings.dashboard_url))
    return [(name, url) for name, url in both if url is not None]


def _in_clear(settings: Settings) -> Iterator[Finding]:
    """Keys, passwords and credentials that anybody on the way could read."""
    theirs = [(URL_SETTINGS[slug], url) for slug, url in settings.provider_urls.items()]
    for name, url in [*_public(settings), *theirs]:
        host = urlsplit(url).hostname or ""
        if url.startswith("http://") and not _is_near(host):
            secret = "the provider's credential" if name in URL_SETTINGS.values() else "keys and passwords"
            yield Finding("addresses", "warning", f"{name} is not https: {secret} can be read on the way to {host}.")


def _is_near(host: str) -> bool:
    """Whether nobody else can be on the way: this machine, or a private network."""
    try:
        address = ip_address(host)
    except ValueError:
        return host == "localhost" or "." not in host  # a name without a dot is one of a local network
    return address.is_loopback or address.is_private


def _behind_nobody(settings: Settings) -> Iterator[Finding]:
    """The router speaks no TLS itself, so that with https something stands in front of it."""
    secure = [name for name, url in _public(settings) if url.startswith("https://")]
    if secure and not settings.trusted_proxies:
        yield Finding(
            "addresses",
            "warning",
            f"{secure[0]} is https, so a proxy stands in front, and ROUTER_TRUSTED_PROXIES does not name it: every "
            "client has its address, and the dashboard takes itself for plain HTTP.",
        )


def _reached(name: str, url: str, now: datetime) -> Iterator[Finding]:
    """Whether it leads here, as others see it, and for how long its certificate is good."""
    try:
        with requests.get(f"{url}/healthz", timeout=_ASK_SECONDS, allow_redirects=False, stream=True) as answer:
            ends = _end_of_certificate(answer)
    except SSLError as error:
        yield Finding("addresses", "fault", f"{name}: TLS with {url} fails, for clients too: {_reason(error)}.")
        return
    except (requests.RequestException, OSError):
        yield Finding("addresses", "warning", f"{name}: nothing answers at {url}, as far as it is seen from here.")
        return
    if answer.status_code != 200:
        yield Finding(
            "addresses", "warning", f"{name}: {url}/healthz answers with {answer.status_code}: does it lead here?"
        )
    if ends is not None and ends - now < _ENDS_SOON:
        yield Finding("addresses", "warning", f"{name}: the certificate of {url} ends on {ends:%Y-%m-%d}. Renew it.")


def _end_of_certificate(answer: requests.Response) -> datetime | None:
    """Of the connection that the answer came by; None without TLS."""
    connection = getattr(answer.raw, "connection", None)
    certificate: Any = getattr(getattr(connection, "sock", None), "getpeercert", dict)()
    text = (certificate or {}).get("notAfter")
    return None if text is None else datetime.strptime(text, _CERTIFICATE_TIME).replace(tzinfo=UTC)


def _reason(error: SSLError) -> str:
    """OpenSSL's own words out of those of three libraries around them."""
    _, found, why = str(error).rpartition("certificate verify failed: ")
    return why.partition(" (_ssl")[0] if found else "it cannot be established"
