"""What an organisation gives keys that say nothing of a limit, and the most that it lets them have.

Defaults are for creations alone: a field that is absent gets its default, null is none. Maxima are for whatever sets a
field, in a creation or an edit; a key that stands above one stays as it is until somebody sets that field.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

from pydantic import ValidationInfo

from shared import money
from webapp.schemas.values import to_json_moment

T = TypeVar("T")
_NOT_KEPT = object()


@dataclass(frozen=True, slots=True)
class KeyRules:
    """Defaults and maxima; None is none of it. An expiry counts from the moment of the creation or the edit."""

    default_spend_limit_nanos: int | None = None
    default_spend_reset: str = "never"
    default_expiry_days: int | None = None
    default_rate_limit_rpm: int | None = None
    default_rate_limit_tpm: int | None = None
    max_spend_limit_nanos: int | None = None
    max_expiry_days: int | None = None
    max_rate_limit_rpm: int | None = None
    max_rate_limit_tpm: int | None = None
    spend_limit_required: bool = False

    def completed(self, document: Mapping[str, object], now: datetime) -> dict[str, object]:
        """A document of a creation in which every limit stands: as it was said, else the default, else none."""
        spend, days = self.default_spend_limit_nanos, self.default_expiry_days
        return {
            "spend_limit_usd": None if spend is None else money.to_usd(spend),
            "spend_reset": self.default_spend_reset,
            "expires_at": None if days is None else to_json_moment(in_days(now, days)),
            "rate_limit_rpm": self.default_rate_limit_rpm,
            "rate_limit_tpm": self.default_rate_limit_tpm,
            **document,
        }

    def fault_of(self, field: str, value: object, now: datetime) -> str | None:
        """What is wrong with a value of a field, as the end of a sentence about it; None if nothing is."""
        if field == "expires_at":
            return self._fault_of_expiry(value, now)
        maxima = {"spend_limit_usd": self.max_spend_limit_nanos, "rate_limit_tpm": self.max_rate_limit_tpm}
        most = maxima.get(field, self.max_rate_limit_rpm)
        told = "" if most is None else money.to_usd(most) if field == "spend_limit_usd" else f"{most:,}"
        if value is None:
            if most is not None:
                return f"must have a limit here, at most {told}: this organisation's maximum"
            required = field == "spend_limit_usd" and self.spend_limit_required
            return "must have a limit: this organisation wants one for every key" if required else None
        if most is not None and isinstance(value, int) and value > most:
            return f"must be at most {told}, this organisation's maximum"
        return None

    def _fault_of_expiry(self, value: object, now: datetime) -> str | None:
        if self.max_expiry_days is None:
            return None
        days = f"{self.max_expiry_days} day{'s' * (self.max_expiry_days > 1)}"
        if value is None:
            return f"must have an end here, within {days}: this organisation's maximum"
        if isinstance(value, datetime) and value > in_days(now, self.max_expiry_days):
            return f"must be within {days}, this organisation's maximum"
        return None

    def contradictions(self) -> Iterator[tuple[str, str, str]]:
        """Defaults above their maxima: the JSON name of each, that of its maximum, and both in words."""
        pairs = (
            ("spend_limit_usd", self.default_spend_limit_nanos, self.max_spend_limit_nanos),
            ("expiry_days", self.default_expiry_days, self.max_expiry_days),
            ("rate_limit_rpm", self.default_rate_limit_rpm, self.max_rate_limit_rpm),
            ("rate_limit_tpm", self.default_rate_limit_tpm, self.max_rate_limit_tpm),
        )
        for name, usual, most in pairs:
            if usual is not None and most is not None and usual > most:
                shown = money.to_usd if name == "spend_limit_usd" else str
                yield (
                    f"default_{name}",
                    f"max_{name}",
                    f"the default, {shown(usual)}, is above the maximum, {shown(most)}",
                )

    def sentences(self) -> tuple[str, ...]:
        """The maxima for people who fill in a form."""
        told = []
        if self.max_spend_limit_nanos is not None:
            told.append(f"a spend limit of at most ${money.to_usd(self.max_spend_limit_nanos)} a period")
        elif self.spend_limit_required:
            told.append("a spend limit")
        if self.max_expiry_days is not None:
            told.append(f"an expiry within {self.max_expiry_days} day{'s' * (self.max_expiry_days > 1)}")
        if self.max_rate_limit_rpm is not None:
            told.append(f"at most {self.max_rate_limit_rpm:,} requests per minute")
        if self.max_rate_limit_tpm is not None:
            told.append(f"at most {self.max_rate_limit_tpm:,} tokens per minute")
        return tuple(told)


def in_days(now: datetime, days: int) -> datetime:
    """A moment so many days from now, to the full hour upwards, so that a form that is sent twice says the same."""
    return now.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1, days=days)


def within(field: str) -> Callable[[T, ValidationInfo], T]:
    """A judge of a field by the context's `rules`; a value that the key has already (`kept`) may stay."""

    def judge(value: T, info: ValidationInfo) -> T:
        context = info.context or {}
        rules: KeyRules | None = context.get("rules")
        if rules is None or context.get("kept", {}).get(field, _NOT_KEPT) == value:
            return value
        if (fault := rules.fault_of(field, value, context["now"])) is not None:
            raise ValueError(fault)
        return value

    return judge
