"""Where alerts go from: the mail server, and addresses that webhooks may lead to although they are not public."""

from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import unquote, urlsplit

from shared.addresses import parse_network
from shared.config import values
from shared.config.origins import is_host
from shared.config.values import SettingError, shown
from shared.policy.values import Network
from shared.sentences import ended

Security = Literal["tls", "starttls", "none"]
# By scheme: how the connection is kept safe, and the usual port (RFC 8314, RFC 6409, RFC 5321).
_SCHEMES: dict[str, tuple[Security, int]] = {
    "smtps": ("tls", 465),
    "smtp": ("starttls", 587),
    "smtp+insecure": ("none", 25),
}


@dataclass(frozen=True, slots=True)
class MailServer:
    """A server that takes mail, and as whom it knows us."""

    host: str
    port: int
    security: Security
    user: str | None = None
    password: str | None = field(default=None, repr=False)


def mail_server(name: str, text: str) -> MailServer | None:
    """The server of a URL. Repeats nothing of one that cannot be read, because a password may stand anywhere in it."""
    if not text:
        return None
    wrong = SettingError(f"{name} must look like smtp://user:password@host:587, smtps://host or smtp+insecure://host.")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise wrong from None
    if parts.scheme not in _SCHEMES or not parts.hostname or port == 0 or not (text.isascii() and text.isprintable()):
        raise wrong
    if parts.netloc.count("@") > 1:
        raise SettingError(f"{name}: write @ : / in a user or a password as %40 %3A %2F.")
    if parts.path.strip("/") or parts.query or parts.fragment or " " in text:
        raise wrong
    if not is_host(parts.hostname, in_brackets="[" in parts.netloc):
        raise wrong
    security, usual_port = _SCHEMES[parts.scheme]
    if (parts.username is None) != (parts.password is None):
        raise SettingError(f"{name} must have a user and a password, or neither.")
    if security == "none" and parts.password is not None:
        raise SettingError(f"{name}: smtp+insecure:// would send the password in clear. Use smtp:// or smtps://.")
    user, password = (None if part is None else unquote(part) for part in (parts.username, parts.password))
    if not all(part is None or (part.isascii() and part.isprintable() and part) for part in (user, password)):
        raise SettingError(f"{name} must have a user and a password of ASCII characters.")
    return MailServer(parts.hostname, port or usual_port, security, user, password)


def mail_from(name: str, text: str, server_name: str, server: MailServer | None) -> str | None:
    """The address that mail comes from; there is one where there is a server."""
    address = values.email(name, text)
    if address is not None and (not address.isascii() or set(address) & set("<>,;:\"'()[]\\")):
        raise SettingError(f"{name} must be a plain address, such as router@example.com.")
    if (server is None) != (address is None):
        raise SettingError(f"{server_name} and {name} belong together: set both, or neither.")
    return address


def private_networks(name: str, text: str) -> tuple[Network, ...]:
    """Ranges to which something that people typed may lead although they are not public."""
    found = []
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        try:
            found.append(parse_network(part))
        except ValueError as error:
            reason = f"{shown(part)} is neither an address nor a CIDR range" if len(part) > 60 else error
            raise SettingError(f"{name}: {ended(reason)}") from None
    return tuple(found)
