"""What a provider of OpenID Connect says of somebody, as the claims of an ID token and of the userinfo tell it.

Pure functions: whether the claims are the provider's, and of now, was looked at before (`webapp.oidc`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shared.config import SignIn

_LONGEST_SUBJECT = 255  # OpenID Connect Core 1.0, 2


@dataclass(frozen=True, slots=True)
class Person:
    """Who came back, as the provider says. `groups` is None when it says nothing of groups.

    `lacking` are the claims that everybody must have here, and that they have not, or with another value.
    """

    issuer: str
    subject: str
    email: str
    email_verified: bool
    groups: tuple[str, ...] | None
    lacking: tuple[str, ...] = ()


def lacks_something(settings: SignIn, claims: Mapping[str, Any]) -> bool:
    """Some providers tell only in the userinfo what a token would be too large for."""
    wanted = [
        "email",
        "email_verified",
        *settings.required_claims,
        *([settings.groups_claim] if settings.roles else ()),
    ]
    return any(_found(claims, name) is None for name in wanted)


def person_of(settings: SignIn, issuer: str, claims: Mapping[str, Any]) -> Person | None:
    """Who they are about; None: nobody that could be known again."""
    subject, email = claims["sub"], claims.get("email")
    if not subject or len(subject) > _LONGEST_SUBJECT or not subject.isprintable():
        return None
    told, verified = _found(claims, settings.groups_claim), claims.get("email_verified")
    groups = (told,) if isinstance(told, str) else told
    required = settings.required_claims.items()
    return Person(
        issuer=issuer,
        subject=subject,
        email=email if isinstance(email, str) else "",
        email_verified=verified is True or verified == "true",  # some spell it as a text
        groups=tuple(one for one in groups if isinstance(one, str)) if isinstance(groups, list | tuple) else None,
        lacking=tuple(name for name, values in required if not _values(_found(claims, name)) & set(values)),
    )


def _found(claims: Mapping[str, Any], name: str) -> Any:
    """A claim by its name, or by its path, such as `realm_access.roles`; None when it is not there."""
    if name in claims:
        return claims[name]
    found: Any = claims
    for part in name.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found


def _values(told: Any) -> set[str]:
    """A claim's values, as a setting spells them: of a list any of its own."""
    listed = told if isinstance(told, list) else [told]
    return {str(one).lower() if isinstance(one, bool) else str(one) for one in listed if isinstance(one, str | int)}
