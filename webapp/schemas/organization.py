"""The organisation itself: its name, what its keys may use together, what new keys get, and the most for each."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field

from shared import zones
from shared.models import ZONE_LENGTH
from shared.zones import UTC_NAME
from webapp.schemas import Fault, Output, Stored
from webapp.schemas.key_rules import KeyRules
from webapp.schemas.keys import Spend, is_spend
from webapp.schemas.values import MAX_RPM, MAX_TPM, Dollars, Moment, Money, Name, Reset, read_flag

MAX_DAYS = 3650
# Which column a field is stored in, where it is not the one of its name.
_COLUMNS = {
    "spend_limit_usd": "spend_limit_nanos",
    "default_spend_limit_usd": "default_spend_limit_nanos",
    "max_spend_limit_usd": "max_spend_limit_nanos",
}
# What a column holds when nothing was set; the others hold NULL.
_NOTHING: Mapping[str, Any] = {
    "spend_reset": "never",
    "default_spend_reset": "never",
    "spend_limit_required": False,
    "time_zone": UTC_NAME,
}


def _number(most: int) -> Callable[[object], int]:
    """A reader of a whole number from 1 on."""

    def read(raw: object) -> int:
        if not isinstance(raw, int) or isinstance(raw, bool) or not 1 <= raw <= most:
            raise ValueError(f"must be a whole number from 1 to {most:,}, or null for none")
        return raw

    return read


def _read_zone(raw: object) -> str:
    if not isinstance(raw, str):
        raise ValueError("must be the name of a time zone, such as Europe/Berlin, or null for UTC")  # noqa: TRY004 - wrong input
    return zones.read(raw)


Days = Annotated[int, BeforeValidator(_number(MAX_DAYS)), Field(ge=1, le=MAX_DAYS)]
Rpm = Annotated[int, BeforeValidator(_number(MAX_RPM)), Field(ge=1, le=MAX_RPM)]
Tpm = Annotated[int, BeforeValidator(_number(MAX_TPM)), Field(ge=1, le=MAX_TPM)]

Zone = Annotated[str, BeforeValidator(_read_zone), Field(max_length=ZONE_LENGTH)]


class OrganizationPatch(Stored):
    """A merge patch: what is absent stays, null is none. A default cannot be above its maximum."""

    read_only: ClassVar = frozenset(("id", "created_at", "spend"))
    moving: ClassVar = {"spend": is_spend}
    renamed = _COLUMNS
    nothing = _NOTHING

    name: Name = Field(default_factory=str)
    time_zone: Zone | None = Field(
        default=None,
        description="By its IANA name, such as Europe/Berlin: days and periods of limits begin there. Null: UTC.",
    )
    spend_limit_usd: Dollars | None = Field(
        default=None, description="The most that all keys together may spend per period. 0: nothing may be spent."
    )
    spend_reset: Reset | None = Field(default=None, description="Period of that limit. Null: never.")
    rate_limit_rpm: Rpm | None = Field(default=None, description="Requests per minute of all keys together.")
    default_spend_limit_usd: Dollars | None = Field(
        default=None, description="Of a new key that leaves `spend_limit_usd` out."
    )
    default_spend_reset: Reset | None = Field(
        default=None, description="Of a new key that leaves `spend_reset` out. Null: never."
    )
    default_expiry_days: Days | None = Field(
        default=None, description="When a new key expires that leaves `expires_at` out, counted from its creation."
    )
    default_rate_limit_rpm: Rpm | None = Field(
        default=None, description="Of a new key that leaves `rate_limit_rpm` out."
    )
    default_rate_limit_tpm: Tpm | None = Field(
        default=None, description="Of a new key that leaves `rate_limit_tpm` out."
    )
    max_spend_limit_usd: Dollars | None = Field(
        default=None, description="The most that a spend limit may be, whatever its period; then every key needs one."
    )
    max_expiry_days: Days | None = Field(
        default=None, description="How far ahead an expiry may be; then every key needs one."
    )
    max_rate_limit_rpm: Rpm | None = Field(
        default=None, description="The most that a rate limit may be; then every key needs one."
    )
    max_rate_limit_tpm: Tpm | None = Field(
        default=None, description="The most that a limit of tokens per minute may be; then every key needs one."
    )
    spend_limit_required: Annotated[bool, BeforeValidator(read_flag)] | None = Field(
        default=None, description="Whether every key needs a spend limit. Null: false."
    )

    def judge(self, wrong: frozenset[str], context: Mapping[str, Any]) -> Iterator[Fault]:
        """With what stands already (`rules`)."""
        yield from super().judge(wrong, context)
        rules: KeyRules = context["rules"]
        said = {column: value for column, value in self.columns().items() if hasattr(rules, column)}
        for usual, most, words in replace(rules, **said).contradictions():
            if not wrong & {usual, most}:
                yield usual if usual in self.model_fields_set else most, f"cannot be: {words}"


class OrganizationInfo(Output):
    """An organisation, with what its keys may use together, and defaults and maxima of each. Null: none."""

    id: str
    name: str
    created_at: Moment
    time_zone: str
    spend_limit_usd: Money | None
    spend_reset: str
    rate_limit_rpm: int | None
    spend: Spend
    default_spend_limit_usd: Money | None
    default_spend_reset: str
    default_expiry_days: int | None
    default_rate_limit_rpm: int | None
    default_rate_limit_tpm: int | None
    max_spend_limit_usd: Money | None
    max_expiry_days: int | None
    max_rate_limit_rpm: int | None
    max_rate_limit_tpm: int | None
    spend_limit_required: bool
