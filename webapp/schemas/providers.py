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
    source: str = Field(
        description="`system`: from the environment at a start, or a command; `staff`: set by a member or a token; "
        "`sandbox`: of the built-in provider, which bills nothing.",
        json_schema_extra={"enum": ["system", "staff", "sandbox"]},
    )
    readable: bool = Field(description="False: no key of ROUTER_ENCRYPTION_KEY opens it; set it anew.")


class ProviderInfo(Output):
    """A provider as this router knows it."""

    provider: str
    label: str
    base_url: str = Field(description="Where requests are sent.")
    base_url_setting: str = Field(description="The setting that tells it.", examples=["ROUTER_OPENAI_URL"])
    credential: Credential | None = Field(description="Null: requests for it are refused.")


class Connection(Output):
    """What a provider said to its credential."""

    provider: str
    ok: bool = Field(description="Whether it takes the credential.")
    status: int | None = Field(description="Its HTTP status; null when it was not reached.")
    message: str = Field(description="What that means, with the provider's own words.")
    latency_ms: int | None


class ProviderList(Output):
    """All providers."""

    data: list[ProviderInfo]
