"""Keys of every kind on either database, and what a list of them must show, reckoned in plain Python."""

import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from flask import Flask
from sqlalchemy import delete

from shared.keys import PROXY_TAG
from shared.models import KeySpend, ProxyKey, Refusal
from shared.periods import FIRST_DAY
from webapp.db import writing
from webapp.queries.key_pages import find_page
from webapp.schemas.lists import KeyQuery, cursor_of
from webapp.validation import read

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
DAY = timedelta(days=1)
OF_MODELS = {"model": "gpt-*", "spend_limit_nanos": 10**9, "spend_reset": "never", "since": 0}
NONE_ARE_FEW = -1
# How many are few, and how far is walked: all are looked up, all are walked through, all are walked through in steps.
WAYS = [(5_000, 20_000), (NONE_ARE_FEW, 20_000), (NONE_ARE_FEW, 9)]


@dataclass(frozen=True)
class Fact:
    """A key, and what the ledger and the refusals have of it."""

    key: dict[str, Any]
    spent_nanos: int | None
    refused_at: datetime | None
    reason: str

    @property
    def status(self) -> str:
        if self.key["revoked_at"] is not None:
            return "revoked"
        if self.key["expires_at"] is not None and self.key["expires_at"] <= NOW:
            return "expired"
        return "paused" if self.key["paused"] else "active"

    @property
    def dormant(self) -> bool:
        return self.status == "active" and (self.key["last_used_at"] or self.key["created_at"]) <= NOW - 30 * DAY

    @property
    def near_limit(self) -> bool:
        ends = self.key["spend_limit_boost_until"]
        return self._is_near(self.key["spend_limit_boost_nanos"] if ends is not None and ends > NOW else 0)

    @property
    def near_own_limit(self) -> bool:
        """Without a raise."""
        return self._is_near(0)

    def _is_near(self, boost: int) -> bool:
        limit = self.key["spend_limit_nanos"]
        return limit is not None and (self.spent_nanos or 0) * 100 >= (limit + boost) * 80

    @property
    def has_limit(self) -> bool:
        return self.key["spend_limit_nanos"] is not None or bool(self.key["model_limits"])

    @property
    def expiring(self) -> bool:
        expiry = self.key["expires_at"]
        return self.status == "active" and expiry is not None and expiry <= NOW + 7 * DAY

    @property
    def refused(self) -> bool:
        return self.status == "active" and self.refused_at is not None and self.refused_at >= NOW - DAY

    @property
    def blocked(self) -> bool:
        used, refused = self.key["last_used_at"], self.refused_at
        return (
            refused is not None
            and refused >= NOW - 7 * DAY
            and self.reason == "model_not_allowed"
            and (used is None or used < refused)
        )

    @property
    def attention(self) -> bool:
        return self.status == "active" and (
            not self.has_limit or self.expiring or self.dormant or self.refused or self.blocked or self.near_limit
        )

    def has(self, text: str) -> bool:
        models = str(self.key["allowed_models"])
        return text.lower() in self.key["name"].lower() or text.lower() in models or self.key["prefix"].startswith(text)


def make_keys(app: Flask, org_id: str, count: int) -> list[Fact]:
    """They take the place of the organisation's own; the database's triggers see all of them come."""
    chosen = random.Random(count)
    facts = [_fact(chosen, org_id, number) for number in range(count)]
    with app.app_context(), writing() as session:
        session.execute(delete(ProxyKey))
        session.add_all(ProxyKey(**fact.key) for fact in facts)
        session.flush()
        for fact in facts:
            if fact.spent_nanos is not None:
                for day in (FIRST_DAY, NOW.date()):
                    total = {"generation": 0, "base_nanos": 0, "total_nanos": fact.spent_nanos}
                    session.add(KeySpend(key_id=fact.key["id"], day=day, **total))
            if fact.refused_at is not None:
                told = {"count": 1, "status": 429, "sentence": "No.", "request_id": "req_1"}
                session.add(
                    Refusal(key_id=fact.key["id"], reason=fact.reason, org_id=org_id, last_at=fact.refused_at, **told)
                )
    return facts


def walk(org_id: str, asked: str, limit: int) -> list[str]:
    """The whole list, joined from its pages."""
    joined: list[str] = []
    asking = query(f"{asked}&limit={limit}")
    for _ in range(1_000):
        page = find_page(org_id, asking, NOW)
        shown = page.rows[:limit]
        joined += [row[0].id for row in shown]
        place = (shown[-1][1], shown[-1][0].id) if len(page.rows) > limit else page.ended_at
        if place is None:
            return joined
        asking = query(f"{asked}&limit={limit}&cursor={cursor_of(asking.sort, *place)}")
    raise AssertionError("it does not end")


def _fact(chosen: random.Random, org_id: str, number: int) -> Fact:
    def one_of(*values: Any) -> Any:
        return chosen.choice(values)

    limit = one_of(None, 0, 100, 1_000, 1_000)
    boost = one_of((None, None), (None, None), (500, NOW), (500, NOW + DAY)) if limit is not None else (None, None)
    key = {
        "id": f"key_{chosen.randrange(16**6):06x}{number:03}",
        "org_id": org_id,
        "name": f"{one_of('Alpha', 'beta', 'GAMMA', 'same')} {one_of('', 'ci', number)}".strip(),
        "prefix": f"{PROXY_TAG}{chosen.randrange(16**4):04x}",
        "allowed_providers": one_of([], ["openai"], ["gemini", "anthropic"]),
        "allowed_models": one_of([], ["gpt-4o*"], ["claude-*", "o3"]),
        "allowed_ips": [],
        "spend_limit_nanos": limit,
        "spend_limit_boost_nanos": boost[0],
        "spend_limit_boost_until": boost[1],
        "spend_reset": one_of("never", "daily", "weekly", "monthly"),
        "expires_at": one_of(None, None, NOW - DAY, NOW + 3 * DAY, NOW + 90 * DAY),
        "created_at": NOW - DAY * one_of(1, 2, 29, 31, 400),
        "created_by": one_of("a@example.com", "b@example.com"),
        "last_used_at": one_of(None, NOW, NOW - 29 * DAY, NOW - 31 * DAY),
        "revoked_at": one_of(None, None, None, NOW - DAY),
        "paused": one_of(False, False, False, True),
        "model_limits": (None, [], [OF_MODELS])[number % 3],
    }
    spent = one_of(None, None, 1, 79, 80, 850, 5_000)
    refused_at = one_of(None, None, NOW - 8 * DAY, NOW - 6 * DAY, NOW - 2 * DAY, NOW - timedelta(hours=1))
    return Fact(key, spent, refused_at, one_of("rate_limited", "model_not_allowed", "key_paused"))


def expected(facts: list[Fact], asked: KeyQuery) -> list[str]:
    """The ids in the order of the list."""
    found = [fact for fact in facts if _is_wanted(fact, asked)]
    return [fact.key["id"] for fact in sorted(found, key=lambda fact: _place(fact, asked.by), reverse=asked.descending)]


def query(text: str) -> KeyQuery:
    """Of a query as it stands in an address."""
    said: dict[str, Any] = dict(part.split("=", 1) for part in text.split("&") if part)
    if "status" in said:
        said["status"] = said["status"].split(",")
    return read(KeyQuery, said)


def _is_wanted(fact: Fact, asked: KeyQuery) -> bool:
    key, has_limit = fact.key, fact.has_limit
    providers = key["allowed_providers"]
    return (
        (not asked.status or fact.status in asked.status)
        and (not asked.q or fact.has(asked.q))
        and (asked.provider is None or not providers or asked.provider in providers)
        and (asked.created_by is None or key["created_by"] == asked.created_by)
        and (asked.has_limit is None or has_limit == asked.has_limit)
        and (not asked.dormant or fact.dormant)
        and (not asked.near_limit or (fact.status == "active" and fact.near_limit))
        and (not asked.expiring or fact.expiring)
        and (not asked.refused or fact.refused)
        and (not asked.attention or fact.attention)
    )


def _place(fact: Fact, by: str) -> tuple[Any, ...]:
    key = fact.key
    if by == "name":
        return key["name"].lower(), key["id"]
    value = fact.spent_nanos if by == "spend" else key[by]
    without_last = by == "expires_at"
    return (value is None) == without_last, value or NOW if by != "spend" else value or 0, key["id"]
