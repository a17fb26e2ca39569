"""How people log in: through a provider of OpenID Connect, which of its groups means which role, and if by passwords.

Only the dashboard needs these. A mistake in them must not shut everybody out, so what would leave no way in is refused.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

from shared.config.origins import origin
from shared.config.values import SettingError, shown
from shared.models import ROLES

SIGN_IN_SETTINGS = (
    "ROUTER_OIDC_ISSUER",
    "ROUTER_OIDC_CLIENT_ID",
    "ROUTER_OIDC_CLIENT_SECRET",
    "ROUTER_OIDC_SCOPES",
    "ROUTER_OIDC_GROUPS_CLAIM",
    "ROUTER_OIDC_ROLES",
    "ROUTER_OIDC_DEFAULT_ROLE",
    "ROUTER_OIDC_REQUIRED_CLAIMS",
    "ROUTER_PASSWORD_LOGIN",
)
_METADATA = "/.well-known/openid-configuration"
_LONGEST_ISSUER = 255  # what the database keeps of it
# Issuers at which anybody has an account, by host: all of them, or those that begin with one of these segments. Of
# Entra they are the tenants that are no company's, the last one that of personal accounts
# (https://learn.microsoft.com/entra/identity-platform/v2-protocols-oidc).
_PERSONAL_TENANT = "9188040d-6c67-4c5b-b112-36a304b66dad"
_EVERYBODYS: Mapping[str, tuple[str, ...]] = {
    "accounts.google.com": (),
    "api.login.yahoo.com": (),
    "appleid.apple.com": (),
    "gitlab.com": (),
    "id.twitch.tv": (),
    "limited.facebook.com": (),
    "login.live.com": (),
    "login.microsoftonline.com": ("common", "consumers", "organizations", _PERSONAL_TENANT),
    "login.salesforce.com": (),
    "slack.com": (),
    "sts.windows.net": (_PERSONAL_TENANT,),
    "www.facebook.com": (),
    "www.linkedin.com": (),
    "www.paypal.com": (),
}
_CLAIMS_OF_ALL = frozenset(("aud", "azp", "email_verified", "iss"))  # which tell nobody from anybody


@dataclass(frozen=True, slots=True, repr=False)
class SignIn:
    """A provider of OpenID Connect, and what its groups mean here. Not printable, because it holds a secret."""

    issuer: str
    client_id: str
    client_secret: str | None  # None: a public client, which PKCE alone protects
    scopes: str
    groups_claim: str
    roles: Mapping[str, str]  # group -> role; empty: roles are given on the dashboard
    default_role: str | None  # of whoever is in none of these groups; None: they are not let in
    required_claims: Mapping[str, tuple[str, ...]]  # claim -> values, one of which everybody must have who comes in

    def __repr__(self) -> str:
        return f"SignIn({self.issuer!r})"

    def role_of(self, groups: tuple[str, ...]) -> str | None:
        """The highest role that these groups give; None when they give none."""
        given = [self.roles[group] for group in groups if group in self.roles]
        return max(given, key=ROLES.index, default=self.default_role)


def sign_in(value: Mapping[str, str], defaults: Mapping[str, str]) -> tuple[SignIn | None, bool]:
    """The provider, if there is one, and whether passwords count. Takes all settings by name, and their defaults."""
    passwords = _switch("ROUTER_PASSWORD_LOGIN", value["ROUTER_PASSWORD_LOGIN"])
    provider = _provider(value)
    if provider is None:
        for name in SIGN_IN_SETTINGS[1:-1]:
            if value[name] != defaults[name]:
                raise SettingError(f"{name} is set, and ROUTER_OIDC_ISSUER is not: name the provider that it is about.")
        if not passwords:
            raise SettingError("ROUTER_PASSWORD_LOGIN is off, and there is no ROUTER_OIDC_ISSUER: nobody could log in.")
    elif not passwords and provider.roles and "admin" not in (*provider.roles.values(), provider.default_role):
        raise SettingError(
            "ROUTER_PASSWORD_LOGIN is off, and ROUTER_OIDC_ROLES makes nobody an administrator: give a group the role "
            "admin, or let passwords count."
        )
    return provider, passwords


def _provider(value: Mapping[str, str]) -> SignIn | None:
    issuer = _issuer("ROUTER_OIDC_ISSUER", value["ROUTER_OIDC_ISSUER"])
    parts = {name: _word(name, value[name]) for name in SIGN_IN_SETTINGS[1:3]}
    scopes = _scopes("ROUTER_OIDC_SCOPES", value["ROUTER_OIDC_SCOPES"])
    claim = _claim("ROUTER_OIDC_GROUPS_CLAIM", value["ROUTER_OIDC_GROUPS_CLAIM"])
    roles = _roles("ROUTER_OIDC_ROLES", value["ROUTER_OIDC_ROLES"])
    default = _role("ROUTER_OIDC_DEFAULT_ROLE", value["ROUTER_OIDC_DEFAULT_ROLE"])
    required = _claims("ROUTER_OIDC_REQUIRED_CLAIMS", value["ROUTER_OIDC_REQUIRED_CLAIMS"])
    if not issuer:
        return None
    if not parts["ROUTER_OIDC_CLIENT_ID"]:
        raise SettingError("ROUTER_OIDC_ISSUER is set, and ROUTER_OIDC_CLIENT_ID is not: both come from the provider.")
    if default is not None and _is_everybodys(issuer) and not _tells_apart(required):
        raise SettingError(
            "ROUTER_OIDC_DEFAULT_ROLE would let in whoever has an account at this provider, which is anybody: set "
            "ROUTER_OIDC_REQUIRED_CLAIMS beside it, such as hd=example.com."
        )
    return SignIn(
        issuer=issuer,
        client_id=parts["ROUTER_OIDC_CLIENT_ID"],
        client_secret=parts["ROUTER_OIDC_CLIENT_SECRET"] or None,
        scopes=scopes,
        groups_claim=claim,
        roles=roles,
        default_role=default,
        required_claims=required,
    )


def _issuer(name: str, text: str) -> str:
    """As the provider spells it, with or without a slash at its end: tokens must have the same."""
    if not text:
        return ""
    origin(name, text)
    if text.rstrip("/").endswith(_METADATA):
        raise SettingError(f"{name} must end before {_METADATA}.")
    if len(text) > _LONGEST_ISSUER:
        raise SettingError(f"{name} must have at most {_LONGEST_ISSUER} characters.")
    parts = urlsplit(text)
    if parts.scheme != "https" and not _is_loopback(parts.hostname or ""):
        raise SettingError(f"{name} must be an https address: whoever can change what it says could log in as anybody.")
    return text


def _is_everybodys(issuer: str) -> bool:
    """By its host, as resolvers read it: in lower case, with any port, with or without a point at its end."""
    parts = urlsplit(issuer)
    tenants = _EVERYBODYS.get((parts.hostname or "").rstrip("."))
    first = parts.path.strip("/").partition("/")[0].lower()
    return tenants is not None and (not tenants or first in tenants)


def _tells_apart(required: Mapping[str, tuple[str, ...]]) -> bool:
    """Whether some claim is not everybody's."""
    return any(name not in _CLAIMS_OF_ALL and _PERSONAL_TENANT not in values for name, values in required.items())


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _word(name: str, text: str) -> str:
    if not (text.isascii() and text.isprintable() and " " not in text):
        raise SettingError(f"{name} holds characters that do not belong into it, such as a space.")
    return text


def _claim(name: str, text: str) -> str:
    """The name of a claim, or the path to one."""
    if not all(_word(name, text).split(".")):
        raise SettingError(f"{name} must be a claim, or a path to one such as realm_access.roles, not {shown(text)}.")
    return text


def _scopes(name: str, text: str) -> str:
    if not (text.isascii() and text.isprintable() and "openid" in text.split()):
        raise SettingError(f"{name} must be words with spaces between them, openid among them, not {shown(text)}.")
    return " ".join(text.split())


def _roles(name: str, text: str) -> Mapping[str, str]:
    found: dict[str, str] = {}
    for part in text.split(",") if text else ():
        group, _, role = (piece.strip() for piece in part.rpartition("="))
        if not group or role not in ROLES:
            raise SettingError(
                f"{name} must be groups with their roles (viewer, member or admin), such as "
                f"platform=admin,staff=member, not {shown(part.strip())}."
            )
        if group == "*":
            raise SettingError(f"{name} takes groups as they are. For everybody there is ROUTER_OIDC_DEFAULT_ROLE.")
        if found.setdefault(group, role) != role:
            raise SettingError(f"{name} gives the group {shown(group)} two roles.")
    return found


def _claims(name: str, text: str) -> Mapping[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for part in text.split(",") if text else ():
        claim, _, wanted = (piece.strip() for piece in part.partition("="))
        if not all(claim.split(".")) or not wanted or not claim.isascii() or " " in claim:
            raise SettingError(
                f"{name} must be claims with the value that they must have, such as hd=example.com, not "
                f"{shown(part.strip())}."
            )
        if wanted == "*":
            raise SettingError(f"{name} takes values as they are, and no * for any of them.")
        found[claim] = (*found.get(claim, ()), wanted)
    return found


def _role(name: str, text: str) -> str | None:
    if text and text not in ROLES:
        raise SettingError(f"{name} must be viewer, member or admin, not {shown(text)}.")
    return text or None


def _switch(name: str, text: str) -> bool:
    if text not in ("on", "off"):
        raise SettingError(f"{name} must be on or off, not {shown(text)}.")
    return text == "on"
