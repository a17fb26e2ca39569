"""Providers, and the credentials that the router has for them."""

from typing import Annotated

from pydantic import BeforeValidator, Field

from shared.keys import MANAGEMENT_TAG, PROXY_TAG
from webapp.schemas import Input, Output
from webapp.schemas.values import Moment

_LONGEST = 500


def _credential(raw: object) -> str:
    """A provider's own key; it goes into a header as it is."""
    if not isinstance(raw, str):
        raise ValueError("must be text")  # noqa: TRY004 - wrong input
    text = raw.strip()
    if not 8 <= len(text) <= _LONGEST or not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError(f"must have 8 to {_LONGEST} printable ASCII characters without space between them")
    if text.startswith((PROXY_TAG, MANAGEMENT_TAG)):
        raise ValueError("is a secret of this router; the provider's own key belongs here")
    return text


class NewCredential(Input):
    """A provider's own key."""

    credential: Annotated[str, BeforeValidator(_credential), Field(min_length=8, max_length=_LONGEST)] = Field(
        description="It is sealed, and never told again."
    )


class Credential(Output):
    """What is told of a credential."""

    last4: str
    created_at: Moment
    created_by: str


class ProviderInfo(Output):
    """A provider as this router knows it."""

    provider: str
    label: str
    base_url: str = Field(description="Where requests are sent.")
    credential: Credential | None = Field(description="Null: requests for it are refused.")


class ProviderList(Output):
    """All providers."""

    data: list[ProviderInfo]
