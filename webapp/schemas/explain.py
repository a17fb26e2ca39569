"""What a key did, what it was refused, and what it would be."""

from datetime import datetime
from ipaddress import IPv4Address, IPv6Address
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field, WithJsonSchema

from shared.addresses import parse
from shared.policy import Reason
from webapp.schemas import Input, Output
from webapp.schemas.lists import FOREIGN_CURSOR, Pages, as_moment, as_text, cursor_of, read_cursor
from webapp.schemas.provider_names import Provider
from webapp.schemas.values import Moment, Money, whole

LONGEST_MODEL, LONGEST_PATH, MOST_TOKENS = 200, 500, 1_000_000_000
_REASONS: list[Any] = [reason.value for reason in Reason]


class _OfKey(Pages):
    """A page by time and, within a moment, by id."""

    kind: ClassVar[str]  # of the list, so that its cursors are of no other

    def place(self) -> tuple[datetime, str] | None:
        """Of the last row of the page before."""
        if self.cursor is None:
            return None
        kind, at, row_id = read_cursor(self.cursor)
        if kind != self.kind:
            raise ValueError(FOREIGN_CURSOR)
        return as_moment(at), as_text(row_id)

    def cursor_behind(self, at: datetime, row_id: str) -> str:
        return cursor_of(self.kind, at, row_id)


class RequestQuery(_OfKey):
    """Which requests of a key."""

    kind = "requests"


class RefusalQuery(_OfKey):
    """Which refusals of a key."""

    kind = "refusals"


def _address(raw: object) -> IPv4Address | IPv6Address:
    address = parse(raw) if isinstance(raw, str) else None
    if address is None:
        raise ValueError("is neither an IPv4 nor an IPv6 address")
    return address


def _model(raw: object) -> str:
    if not isinstance(raw, str) or not 0 < len(raw) <= LONGEST_MODEL or not raw.isprintable() or raw.strip() != raw:
        raise ValueError(f"must be 1 to {LONGEST_MODEL} printable characters without space around them")
    return raw


def _path(raw: object) -> str:
    fits = isinstance(raw, str) and raw.startswith("/") and len(raw) <= LONGEST_PATH
    if not isinstance(raw, str) or not fits or not raw.isprintable() or set(raw) & set("?# "):
        raise ValueError("must be a path such as /v1/messages, without a query")
    return raw


class CheckRequest(Input):
    """The request that might be made, as far as somebody has said."""

    ip: Annotated[IPv4Address | IPv6Address, BeforeValidator(_address), WithJsonSchema({"type": "string"})] | None = (
        Field(default=None, description="Of the client. Needed where the key has `allowed_ips`.")
    )
    provider: Provider | None = Field(
        default=None, description="Told by the path or the model where it is absent, else by the SDK that calls."
    )
    model: Annotated[str, BeforeValidator(_model), Field(max_length=LONGEST_MODEL)] | None = None
    path: Annotated[str, BeforeValidator(_path), Field(max_length=LONGEST_PATH)] | None = Field(
        default=None,
        description="As it is sent to the proxy, /v1/messages or /openai/embeddings, and beside `provider` also the "
        "provider's own. It is judged as a POST. The provider's chat where it is absent.",
    )
    max_tokens: Annotated[int, BeforeValidator(whole(1, MOST_TOKENS)), Field(ge=1, le=MOST_TOKENS)] | None = Field(
        default=None, description="The output limit of the request."
    )


class CheckRefusal(Output):
    """What would be sent."""

    code: str = Field(json_schema_extra={"enum": _REASONS})
    status: int
    retry: bool = Field(description="Whether the same request may pass later.")
    message: str = Field(description="The sentence that would be sent.")
    facts: dict[str, Any] = Field(description="The fields that would stand beside it.")


class Check(Output):
    """What would become of a request."""

    allowed: bool
    provider: str | None
    model: str | None
    endpoint: str | None = Field(description="The path at the provider.")
    needed_usd: Money | None = Field(description="The most such a request without any text can cost.")
    max_tokens: int | None = Field(description="The output limit that the router would set.")
    refusal: CheckRefusal | None


class Tried(Output):
    """A credential that a request was sent with."""

    label: str
    last4: str
    why: str | None = Field(
        description="Why the request went on with the next one, or with none. Null: this one got the answer.",
        json_schema_extra={"enum": ["refused", "rate_limited", "unavailable", "unreachable", "timeout", None]},
    )


class Request(Output):
    """One attempt at a provider."""

    id: str = Field(description="The request's id, x-router-request-id where the provider sent one of its own.")
    key_id: str = Field(description="Of the key that made it.")
    at: Moment = Field(description="Of its admission.")
    provider: str
    endpoint: str
    model: str | None = Field(description="As asked for.")
    served_model: str | None
    streamed: bool
    status: int | None = Field(description="That the client was given. Null: none.")
    provider_status: int | None = Field(description="Null: the provider gave none.")
    outcome: str
    flags: list[str]
    input_tokens: int
    output_tokens: int
    usage: dict[str, int] = Field(description="Tokens and calls by class.")
    latency_ms: int = Field(description="From the request's head until its answer was complete.")
    first_byte_ms: int | None = Field(description="Until the provider's answer began.")
    client_ip: str | None
    provider_request_id: str | None
    label: str | None = Field(description="What the client said in `x-router-tag`.")
    adjusts: str | None = Field(description="The id of a request whose estimated cost this row corrects.")
    tried: list[Tried] = Field(
        description="The credentials that it was sent with, in order; empty where the provider has one only."
    )
    cost_usd: Money = Field(description="Less than nothing where an estimate was too high.")


class RequestList(Output):
    """A page of requests."""

    data: list[Request]
    has_more: bool
    next_cursor: str | None


class Refusal(Output):
    """How often a key was refused for a reason, and the last time of it."""

    key_id: str
    reason: str = Field(json_schema_extra={"enum": _REASONS})
    count: int
    last_at: Moment
    status: int
    message: str = Field(description="The sentence that was sent last.")
    model: str | None
    client_ip: str | None
    request_id: str


class RefusalList(Output):
    """A page of refusals."""

    data: list[Refusal]
    has_more: bool
    next_cursor: str | None
