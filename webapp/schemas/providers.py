"""Providers, and the credentials that the router has for them."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field

from shared.models import LABEL_LENGTH, MOST_WEIGHT
from shared.provider_credential import LONGEST, SHORTEST, problem
from webapp.schemas import Input, Output
from webapp.schemas.custom_providers import Custom, CustomPatch, NewCustom
from webapp.schemas.values import Moment, read_name, whole


def _credential(raw: object) -> str:
    """A provider's own key; it goes into a header as it is."""
    if not isinstance(raw, str):
        raise ValueError("must be text")  # noqa: TRY004 - wrong input
    text = raw.strip()
    if (wrong := problem(text)) is not None:
        raise ValueError(wrong)
    return text


def _label(raw: object) -> str:
    label = read_name(raw)
    if len(label) > LABEL_LENGTH:
        raise ValueError(f"must have at most {LABEL_LENGTH} characters, not {len(label)}")
    return label


Secret = Annotated[str, BeforeValidator(_credential), Field(min_length=SHORTEST, max_length=LONGEST)]
Label = Annotated[str, BeforeValidator(_label), Field(min_length=1, max_length=LABEL_LENGTH)]
Share = Annotated[int, BeforeValidator(whole(1, MOST_WEIGHT)), Field(ge=1, le=MOST_WEIGHT)]


def _are_credentials(said: Any, served: Mapping[str, Any]) -> bool:
    """Whether they are those that there are: what providers say to them moves by itself."""
    return (
        isinstance(said, list) and len(said) == len(served["credentials"]) and all(_is_one(one, served) for one in said)
    )


def _is_one(said: Any, served: Mapping[str, Any]) -> bool:
    return isinstance(said, dict) and any(said.get("id") == one["id"] for one in served["credentials"])


class NewCredential(Input):
    """A provider's own key."""

    credential: Secret = Field(description="It is sealed, and never told again.")


class NewProvider(NewCustom):
    """A server that speaks OpenAI's dialect, under a name of the organisation's choosing."""

    credential: Secret | None = Field(default=None, description="Becomes its `default` credential, sealed.")


class ProviderPatch(CustomPatch):
    """What is to change of a provider of the organisation's own; what is not named stays."""

    # `custom` repeats what may be set here; `credential` is told as an object, and set as a text.
    read_only: ClassVar = frozenset(
        ("provider", "label", "base_url_setting", "custom", "at_sandbox", "credential", "credentials")
    )
    moving: ClassVar = {"credential": _is_one, "credentials": _are_credentials}

    credential: Secret | None = Field(
        default=None,
        description="Becomes its `default` credential, sealed and switched on. Needed where `base_url` leads to "
        "another server and some are stored, which were given for the one before: it takes the place of all of them.",
    )


class AddedCredential(NewCredential):
    """A further credential of a provider, and how it is used."""

    label: Label = Field(description="For people; no two of one provider have the same.", examples=["team-b"])
    weight: Share = Field(default=1, description="Its share of the requests, among those of the same priority.")
    priority: Share = Field(default=1, description="The lowest goes first; others are for when none of those is taken.")
    enabled: bool = Field(default=True, description="False: no request is sent with it.")


class CredentialPatch(Input):
    """What is to change of a credential; what is not named stays."""

    read_only: ClassVar = frozenset(("id", "last4", "created_at", "created_by", "source", "readable", "refused"))
    moving: ClassVar = {"refused": lambda said, _: said is None or isinstance(said, dict)}

    credential: Secret | None = Field(default=None, description="Replaces it. It is sealed, and never told again.")
    label: Label = Field(
        default="", description="The one called `default`, which the environment sets, keeps its label."
    )
    weight: Share = Field(default=1, description="Its share of the requests, among those of the same priority.")
    priority: Share = Field(default=1, description="The lowest goes first.")
    enabled: bool = Field(default=True, description="False: no request is sent with it.")


class Refused(Output):
    """That a provider does not take a credential."""

    at: Moment = Field(description="When it said so last.")
    status: int
    message: str = Field(description="Its own words; empty when it gave none.")


class Credential(Output):
    """What is told of a credential."""

    id: str
    label: str = Field(description="`default` is the one that the environment, and `PUT .../credential`, set.")
    weight: int = Field(description="Its share of the requests, among those of the same priority.")
    priority: int = Field(description="The lowest goes first.")
    enabled: bool = Field(description="False: no request is sent with it.")
    last4: str
    created_at: Moment
    created_by: str
    source: str = Field(
        description="`system`: from the environment at a start, or a command; `staff`: set by a member or a token; "
        "`sandbox`: of the built-in provider, which bills nothing.",
        json_schema_extra={"enum": ["system", "staff", "sandbox"]},
    )
    readable: bool = Field(description="False: no key of ROUTER_ENCRYPTION_KEY opens it; set it anew.")
    refused: Refused | None = Field(description="Null: the provider takes it, as far as anybody has heard.")


class ProviderInfo(Output):
    """A provider as this router knows it."""

    provider: str
    label: str
    base_url: str = Field(description="Where requests are sent.")
    base_url_setting: str | None = Field(
        description="The setting that tells it; null for one of the organisation's own.", examples=["ROUTER_OPENAI_URL"]
    )
    custom: Custom | None = Field(description="What was set of one of the organisation's own. Null: it is built in.")
    at_sandbox: bool = Field(
        description="True: the sandbox of `make run` answers for it until the router is started again, and refuses the "
        "provider's own credentials."
    )
    credential: Credential | None = Field(description="The one that is tried first. Null: requests are refused.")
    credentials: list[Credential] = Field(description="All, in the order in which they are tried.")


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
