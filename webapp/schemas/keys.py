"""Proxy keys: what may be set of one, and what is told of one."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from webapp.schemas import Fault, Output, Stored
from webapp.schemas.key_rules import within
from webapp.schemas.model_limits import ModelBudgets, ModelLimit
from webapp.schemas.provider_names import ModelPatterns, Providers
from webapp.schemas.spend_boost import Boost, BoostEnd, settle
from webapp.schemas.texts import Email, Note, Tags
from webapp.schemas.values import (
    Addresses,
    ConcurrentRequests,
    Dollars,
    Expiry,
    Moment,
    Money,
    Name,
    RequestsPerMinute,
    Reset,
    TokensPerMinute,
    is_none,
    read_flag,
    was_moment_before,
)

# Which column a field is stored in, where it is not the one of its name.
_COLUMNS = {"spend_limit_usd": "spend_limit_nanos", "spend_limit_boost_usd": "spend_limit_boost_nanos"}
# What a column holds when nothing was set; the others hold NULL.
_NOTHING: Mapping[str, Any] = {
    "allowed_providers": [],
    "allowed_models": [],
    "allowed_ips": [],
    "spend_reset": "never",
    "paused": False,
    "tags": [],
}
# What the router sets.
_STAMPS = ("created_at", "created_by", "last_used_at", "revoked_at")
_TOLD_ONCE = ("key", "secrets", "notice")  # beside a key that was just made, or given another secret
READ_ONLY = frozenset(("id", "prefix", "status", "spend", *_STAMPS, *_TOLD_ONCE))


def _was_status(said: Any, served: Mapping[str, Any]) -> bool:
    """Whether a key that has expired had this status until then."""
    return bool(served["status"] == "expired" and said == ("paused" if served["paused"] else "active"))


def is_spend(said: Any, served: Mapping[str, Any]) -> bool:
    """Whether it is spend as it is served, which moves by itself."""
    return isinstance(said, dict) and said.keys() == served["spend"].keys()


def _are_secrets(said: Any, _: Mapping[str, Any]) -> bool:
    return isinstance(said, list) and all(
        isinstance(one, dict) and one.keys() == Secret.model_fields.keys() for one in said
    )


class _Settings(Stored):
    """What may be set of a key besides its name. Null is the same as nothing."""

    read_only: ClassVar = READ_ONLY
    renamed = _COLUMNS
    nothing = _NOTHING

    allowed_providers: Providers | None = Field(default=None, description="Empty: all.")
    allowed_models: ModelPatterns | None = Field(
        default=None, description="Globs with * and ?, perhaps provider/model (google/ is gemini/). Empty: all."
    )
    allowed_ips: Addresses | None = Field(
        default=None, description="Addresses and CIDR ranges, IPv4 and IPv6. Empty: any."
    )
    rate_limit_rpm: Annotated[RequestsPerMinute | None, AfterValidator(within("rate_limit_rpm"))] = Field(
        default=None, description="Requests per minute. Null: no limit. To stop a key, set `paused`."
    )
    rate_limit_tpm: Annotated[TokensPerMinute | None, AfterValidator(within("rate_limit_tpm"))] = Field(
        default=None, description="Tokens per minute, of input and output together. Null: no limit."
    )
    max_concurrent_requests: ConcurrentRequests | None = Field(
        default=None, description="Requests in flight at once. Null: no limit."
    )
    spend_limit_usd: Annotated[Dollars | None, AfterValidator(within("spend_limit_usd"))] = Field(
        default=None, description="The most that may be spent per period. Null: no limit. 0: nothing may be spent."
    )
    spend_reset: Reset | None = Field(
        default=None, description="Period of the spend limit, in the organisation's time zone. Null: never."
    )
    spend_limit_boost_usd: Boost | None = Field(
        default=None,
        description="Temporary raise: how much more than the spend limit may be spent in a period. Null: no raise.",
    )
    spend_limit_boost_until: BoostEnd | None = Field(
        default=None, description="When the raise ends by itself: in the future, within 90 days. Null: no raise."
    )
    model_limits: ModelBudgets | None = Field(
        default=None,
        description="Spend limits for models, beside the key's own; a request has to fit all that its model matches. "
        "They stand in the place of those before. Empty: none.",
    )
    expires_at: Annotated[Expiry | None, AfterValidator(within("expires_at"))] = Field(
        default=None, description="In the future. Null: never."
    )
    paused: Annotated[bool, BeforeValidator(read_flag)] | None = Field(
        default=None, description="Stopped for now. Null: false."
    )
    tags: Tags | None = Field(default=None, description="What usage is summed by besides keys; in small letters.")
    owner_email: Email | None = Field(default=None, description="Whom to ask about it. Null: nobody is named.")
    note: Note | None = Field(default=None, description="For people. Null: none.")

    def judge(self, wrong: frozenset[str], context: Mapping[str, Any]) -> Iterator[Fault]:
        yield from super().judge(wrong, context)
        yield from settle(self, wrong, context)

    def columns(self) -> dict[str, Any]:
        """As of any; of limits for models all but since when the counters know what counts against them."""
        found = super().columns()
        if "model_limits" in found:
            found["model_limits"] = [limit.column() for limit in self.model_limits or ()]
        return found


class NewKey(_Settings):
    """A proxy key to be made. A limit that is absent is the organisation's default; null is none."""

    name: Name = Field(description="A label for people.")

    def columns(self) -> dict[str, Any]:
        """Every column that can be set."""
        nothing = {_COLUMNS.get(name, name): _NOTHING.get(name) for name in EDITABLE}
        return nothing | super().columns()


class KeyPatch(_Settings):
    """A merge patch (RFC 7396): what is absent stays, null clears.

    What the router sets is ignored if it is sent back as it was served, so that a whole object may be sent back.
    """

    moving: ClassVar = {
        "status": _was_status,
        "spend": is_spend,
        "last_used_at": was_moment_before("last_used_at"),
        "secrets": _are_secrets,
        "notice": lambda said, _: isinstance(said, str),
    }

    name: Name = Field(default_factory=str, description="A label for people.")


EDITABLE = ("name", *_Settings.model_fields)


class Spend(Output):
    """What a key, or all of an organisation, have spent in the running period, and ever."""

    limit_usd: Money | None = Field(
        description="The spend limit, with the raise as long as that runs. Null without a limit."
    )
    spent_usd: Money
    held_usd: Money = Field(description="Held by requests in flight.")
    remaining_usd: Money | None = Field(description="Null without a limit.")
    period_start: Moment | None
    resets_at: Moment | None
    lifetime_usd: Money


class Key(Output):
    """A proxy key."""

    id: str = Field(examples=["key_01KB0000000000000000000000"])
    name: str
    prefix: str = Field(examples=["sk-proxy-a1b2"])
    status: Literal["active", "paused", "expired", "revoked"]
    paused: bool
    allowed_providers: tuple[str, ...]
    allowed_models: tuple[str, ...]
    allowed_ips: tuple[str, ...]
    rate_limit_rpm: int | None
    rate_limit_tpm: int | None
    max_concurrent_requests: int | None
    spend_limit_usd: Money | None
    spend_reset: Literal["never", "daily", "weekly", "monthly"]
    spend_limit_boost_usd: Money | None = Field(description="Null without a raise, or when it has ended.")
    spend_limit_boost_until: Moment | None
    model_limits: tuple[ModelLimit, ...]
    expires_at: Moment | None
    created_at: Moment
    created_by: str
    last_used_at: Moment | None
    revoked_at: Moment | None
    tags: tuple[str, ...]
    owner_email: str | None
    note: str | None
    spend: Spend


class CreatedKey(Key):
    """A proxy key, and its secret at the only moment that it can be seen."""

    key: str | None = Field(
        default=None, exclude_if=is_none, description="The secret. Absent when a request is replayed."
    )
    notice: str | None = Field(
        default=None, exclude_if=is_none, description="What to do when a replay left you without the secret."
    )


class Secret(Output):
    """A secret that opens a key, without itself."""

    prefix: str = Field(examples=["sk-proxy-a1b2"])
    created_at: Moment
    valid_until: Moment | None = Field(description="Null: it is not to die.")


class KeyList(Output):
    """A page of keys."""

    data: list[Key]
    has_more: bool
    next_cursor: str | None
    total: int | None = Field(default=None, exclude_if=is_none, description="How many match, if asked for.")
