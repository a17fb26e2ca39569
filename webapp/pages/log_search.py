"""What the addresses of pages with long lists by time have in common: texts, periods, sizes. No nonsense is kept."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from flask import request

from shared.secret_text import MASK, holds_secret, masked
from webapp.schemas.values import to_json_moment

PERIODS = {
    "1h": ("Last hour", timedelta(hours=1)),
    "24h": ("Last 24 hours", timedelta(days=1)),
    "7d": ("Last 7 days", timedelta(days=7)),
    "30d": ("Last 30 days", timedelta(days=30)),
}
SIZES = ("50", "100", "200")
LONGEST_SEARCH = 80
_LONGEST = 128  # what providers call a request
_LONGEST_CURSOR = 500
_TO_THE_MINUTE, _TO_THE_SECOND = len("2026-11-24T12:00"), len("2026-11-24T12:00:00")


@dataclass(frozen=True, slots=True)
class Choice:
    """A select above the table; the first of its choices is what goes without saying."""

    name: str
    label: str
    choices: Sequence[tuple[str, str]]
    value: str


def said_by(texts: Sequence[str], choices: Sequence[Choice]) -> dict[str, str]:
    """What the address asks for, by name: these texts, and of what is offered what does not go without saying."""
    said = {name: value for name in texts if (value := _text(name))}
    for choice in choices:
        value = request.args.get(choice.name, "")
        if value in [offered for offered, _ in choice.choices[1:]]:
            said[choice.name] = value
    return said


def has_secret() -> bool:
    """Whether somebody has pasted a whole secret, which must not stay in an address."""
    return any(holds_secret(value) for value in request.args.values())


def without_secret(text: str) -> str:
    """Of a secret what is shown everywhere: whoever pastes one wants to know which key it is.

    One that only a closer look finds, such as in full-width letters, cannot be cut out: nothing of such a text stays.
    """
    plain = masked(text).removesuffix("...").replace(MASK, "").strip()
    return "" if holds_secret(plain) else plain


def period_choice(said: Mapping[str, str]) -> Choice:
    periods = [(name, label) for name, (label, _) in PERIODS.items()]
    return Choice("period", "Period", [("", "Any time"), *periods], said.get("period", ""))


def size_choice(said: Mapping[str, str]) -> Choice:
    return Choice("limit", "Rows a page", [(size, f"{size} a page") for size in SIZES], said.get("limit", SIZES[0]))


def range_of(said: Mapping[str, str], at: datetime) -> dict[str, str]:
    """From when and to when, as a query of the API has it: the moments that are told, else a period until now."""
    told = {name: _as_moment(said[name]) for name in ("from", "to") if name in said}
    if not told and "period" in said:
        told["from"] = to_json_moment(at - PERIODS[said["period"]][1]) or ""
    return told


def _text(name: str) -> str:
    raw = "".join(character for character in request.args.get(name, "") if character.isprintable())
    if name == "cursor":
        return "" if holds_secret(raw) else raw[:_LONGEST_CURSOR]
    return without_secret(raw)[: LONGEST_SEARCH if name == "q" else _LONGEST]


def _as_moment(text: str) -> str:
    """What a browser's field for a moment sends is taken for UTC."""
    if len(text) == _TO_THE_MINUTE:
        return f"{text}:00Z"
    return f"{text}Z" if len(text) == _TO_THE_SECOND else text
