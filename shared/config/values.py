"""What the text of a setting means by itself: each function answers with the value or raises SettingError."""

import os
import re
import stat
import unicodedata
from collections.abc import Mapping
from ipaddress import IPv6Address, ip_address, ip_network
from pathlib import Path
from typing import Literal

from msgspec import Struct

from shared.addresses import is_nearly_everything, parse_network
from shared.keys import MANAGEMENT_TAG, looks_like_ours
from shared.policy.values import Network
from shared.secret_text import holds_secret
from shared.sentences import ended

ANY_IPV4, ANY_IPV6 = ip_network("0.0.0.0/0"), ip_network("::/0")
_SHOWN_LENGTH = 60
_MOST_WORKERS = 256
_SHARE = re.compile(r"\d{0,4}(?:\.\d{1,9})?", re.ASCII)
_LIKE_A_SECRET = re.compile(r"sk-|AIza")  # their beginnings alone: somebody may have cut one off


class SettingError(ValueError):
    """A setting is missing or makes no sense; the text names it."""


class Bind(Struct, frozen=True):
    """An address to listen on."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """The http address a person on this machine would use."""
        local = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104 - compared, not bound
        return f"http://{Bind(local, self.port)}"


def shown(text: str) -> str:
    """A value as a message may repeat it: quoted, not endless, and no secret that went into the wrong variable."""
    if _LIKE_A_SECRET.search(text) or holds_secret(text):
        return "what looks like a secret"
    return repr(text if len(text) <= _SHOWN_LENGTH else f"{text[:_SHOWN_LENGTH]}...")


def plain_text(name: str, text: str) -> str:
    """The text, unless it holds control characters (Cc) or bytes that are no UTF-8 (which Python reads as Cs)."""
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in text):
        raise SettingError(f"{name} holds control characters or bytes that are not UTF-8.")
    return text


def bind(name: str, text: str) -> Bind:
    host, _, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    try:
        address = ip_address("127.0.0.1" if host == "localhost" else host)
    except ValueError:
        raise SettingError(
            f"{name} must be an address and a port, such as 127.0.0.1:8080 or [::1]:8080, not {shown(text)}."
        ) from None
    if address.is_multicast or (isinstance(address, IPv6Address) and address.ipv4_mapped is not None):
        raise SettingError(f"{name} must be an address of one machine, IPv4 in its own form, not {shown(text)}.")
    if (number := _number(port, 65535)) is None:
        raise SettingError(f"{name} must end with a port from 1 to 65535, not {shown(text)}.")
    return Bind(host, number)


def bind_or_none(name: str, text: str) -> Bind | None:
    return bind(name, text) if text else None


def refuse_one_port(name: str, own: Bind | None, others: Mapping[str, Bind]) -> None:
    """Two programs of ours cannot listen on one port."""
    for other, bound in others.items():
        if own is not None and own.port == bound.port:
            raise SettingError(f"{name} and {other} name the same port. Give each its own.")


def request_log(name: str, text: str) -> float | None:
    """Which share of the requests that went well is written beside all others; None: nothing is written."""
    if text == "off":
        return None
    words = {"errors": 0.0, "all": 1.0}
    if text in words:
        return words[text]
    if _SHARE.fullmatch(text) and 0 < float(text) <= 1:
        return float(text)
    raise SettingError(f"{name} must be off, all, errors or a share such as 0.01, not {shown(text)}.")


def log_path(name: str, text: str) -> Path | None:
    """A file in a directory that is there. Whether it can be written is for whoever writes it to find out."""
    if not text:
        return None
    path = Path(text).absolute()
    try:
        fits = len(os.fsencode(path.name)) <= 255 and path.parent.is_dir() and _takes_lines(path)
    except (OSError, RuntimeError):  # a name that no file system takes; RuntimeError: a link to itself
        fits = False
    if not fits:
        raise SettingError(f"{name} must be a file in a directory that is there, not {shown(text)}.")
    return path


def _takes_lines(path: Path) -> bool:
    """Nothing there yet, a file, a pipe or a terminal. A socket cannot be opened, and a disk is nobody's log."""
    place = path.resolve()
    if not place.exists():
        return True
    mode = place.stat().st_mode
    return stat.S_ISREG(mode) or stat.S_ISFIFO(mode) or stat.S_ISCHR(mode)


def workers(name: str, text: str) -> int:
    if not text:
        return min(os.cpu_count() or 1, _MOST_WORKERS)
    if (number := _number(text, _MOST_WORKERS)) is None:
        raise SettingError(f"{name} must be a number from 1 to {_MOST_WORKERS}, not {shown(text)}.")
    return number


def _number(text: str, most: int) -> int | None:
    """A whole number from 1 to `most`, or None. The length is looked at first: `int` raises at thousands of digits."""
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(most))):
        return None
    return int(text) if 1 <= int(text) <= most else None


def journal_sync(name: str, text: str) -> Literal["none", "batch"]:
    if text == "none":
        return "none"
    if text == "batch":
        return "batch"
    raise SettingError(f"{name} must be none or batch, not {shown(text)}.")


def is_header_safe(text: str) -> bool:
    return text.isascii() and text.isprintable() and " " not in text


def networks(name: str, text: str) -> tuple[Network, ...]:
    found = []
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        try:
            found.append(parse_network(part))
        except ValueError as error:
            reason = f"{shown(part)} is neither an address nor a CIDR range" if len(part) > _SHOWN_LENGTH else error
            raise SettingError(f"{name}: {ended(reason)}") from None
    if is_nearly_everything(found):
        raise SettingError(
            f"{name} holds {shown(text)}: then nearly anybody could claim any address. Name your proxies."
        )
    return tuple(found)


def email(name: str, text: str) -> str | None:
    local, _, domain = text.partition("@")
    fits = local and domain and "@" not in domain and len(text) <= 254 and text.isprintable() and " " not in text
    if text and not fits:
        raise SettingError(f"{name} is not an email address.")
    if holds_secret(text):
        raise SettingError(f"{name} looks like a secret, or has one in it, and would be shown to many.")
    return text or None


def password(name: str, text: str) -> str | None:
    # The rule is 12 characters, and the first start judges by it (`webapp.passwords`). Here only what no release took:
    # an installation that was made with a shorter one must not stop at its next start for a variable it does not need.
    if text and not 8 <= len(text.encode()) <= 1024:
        raise SettingError(f"{name} must have at least 12 characters, and at most 1024 bytes.")
    return text or None


def token(name: str, text: str) -> str | None:
    if text and not looks_like_ours(text.encode(), MANAGEMENT_TAG):
        raise SettingError(f"{name} must be sk-mgmt- and 64 hex digits, the last 8 of them their CRC32.")
    return text or None
