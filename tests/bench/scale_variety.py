"""What differs between the keys of a full database: everything that a list is filtered and sorted by.

All of it follows from a key's number, so that a test knows which keys to expect.
"""

import json
from datetime import datetime, timedelta
from typing import Any

YEARS = timedelta(days=730)  # over which the keys were made
TEAMS = ("billing", "search", "support", "mobile", "research", "growth", "platform", "legal", "data", "ops")
APPS = ("backend", "worker", "ci", "notebook", "chatbot", "crawler", "Summaries", "eval", "gateway", "demo")
PROVIDERS: tuple[list[str], ...] = ([], [], [], [], ["openai"], ["openai", "anthropic"], ["anthropic"], ["gemini"])
MODELS: tuple[list[str], ...] = ([], [], ["gpt-4o*"], ["claude-*", "gpt-4o-mini"], ["gemini-2.5-flash"])
TAGS = 200  # of teams, beside one of three places
LABELS = 500
MEMBERS = 20
RARE = 50_000  # one key of so many is of a kind of which there are few


def varied(number: int, key_count: int, now: datetime, cost_nanos: int) -> dict[str, Any]:
    """Columns of a key. One in twenty is revoked, one in a hundred paused, one in fifty has expired."""
    rare, mixed = number % RARE == 17, number * 2_654_435_761 >> 9  # so that names have nothing to do with the rest
    created_at = now - YEARS * ((key_count - number) / key_count)
    return {
        "name": f"{TEAMS[mixed % 10]} {APPS[mixed // 10 % 10]} {number}",
        "created_at": created_at,
        "created_by": "rare@example.com" if rare else f"member{number % MEMBERS}@example.com",
        "allowed_providers": json.dumps(PROVIDERS[number % 8]),
        "allowed_models": json.dumps(["o3-deep-research"] if rare else MODELS[number % 5]),
        "spend_limit_nanos": _limit(number, cost_nanos),
        "spend_reset": ("never", "daily", "weekly", "monthly")[number // 2 % 4],
        "expires_at": _expiry(number, now),
        "last_used_at": None if number % 7 == 0 else now - timedelta(days=60) * (number % 997 / 997),
        "revoked_at": max(created_at, now - timedelta(days=30)) if number % 20 == 7 else None,
        "paused": number % 100 == 3,
        "tags": json.dumps(tags_of(number)),
    }


def tags_of(number: int) -> list[str]:
    """One key in three has two."""
    return [] if number % 3 else [("dev", "prod", "test")[number // 3 % 3], f"team {number // 9 % TAGS}"]


def label_of(number: int) -> str | None:
    """What the requests of a key are labelled with: of one key in ten."""
    return f"run {number // 10 % LABELS}" if number % 10 == 4 else None


def _limit(number: int, cost_nanos: int) -> int | None:
    if number % 2:
        return None
    return max(1, cost_nanos) if number % 1_000 == 0 else 10**12  # what one request costs is more than 80 % of that


def _expiry(number: int, now: datetime) -> datetime | None:
    if number % 50 == 9:
        return now - timedelta(days=1 + number % 300)
    return now + timedelta(days=1 + number % 400) if number % 10 == 1 else None


def label_rows(plan: Any) -> Any:
    """What was used under labels."""
    labelled = {number: label for number in plan.numbers() if plan.varied and (label := label_of(number))}
    for number, label in labelled.items():
        for day, count in plan.rows_by_day(number):
            yield {
                "key_id": plan.key_id_of(number), "day": day, "label": label, "org_id": plan.org_id, "requests": count,
                "input_tokens": 30 * count, "output_tokens": 20 * count, "cost_nanos": plan.cost_nanos * count,
            }  # fmt: skip


def tag_rows(plan: Any) -> Any:
    """The tags of keys, as triggers keep them."""
    for number in plan.numbers() if plan.varied else ():
        for tag in tags_of(number):
            yield {"org_id": plan.org_id, "tag": tag, "key_id": plan.key_id_of(number)}


def refusal_rows(plan: Any, count: int) -> Any:
    """Refusals: as many for each key, of different reasons, over two months; the latest in the last hours."""
    reasons = ("rate_limited", "spend_exceeded", "model_not_allowed", "ip_blocked", "provider_not_allowed")
    for number in range(count):
        key, reason = number % plan.key_count, reasons[(number // plan.key_count + number) % len(reasons)]
        yield {
            "key_id": plan.key_id_of(key), "reason": reason, "org_id": plan.org_id, "count": 1 + number % 90,
            "last_at": plan.now - timedelta(days=60) * (number % 9_973 / 9_973), "status": 429 if reason == "rate_limited" else 403,
            "sentence": f"This key was refused: {reason}.", "model": "gpt-4o-mini", "client_ip": "10.1.2.3",
            "request_id": f"req_00SCR{number:021d}",
        }  # fmt: skip


def audit_rows(plan: Any, count: int) -> Any:
    """Edits of keys by members, over two years."""
    actions = ("key.create", "key.update", "key.revoke", "login", "key.rotate")
    for number in range(count):
        yield {
            "id": f"aud_00SCA{number:021d}", "org_id": plan.org_id,
            "at": plan.now - YEARS * ((count - number) / count), "actor": f"member{number % MEMBERS}@example.com",
            "action": actions[number % 5], "target": plan.key_id_of(number % plan.key_count),
            "before": json.dumps({"name": "before"}), "after": json.dumps({"name": f"after {number}"}), "ip": "10.1.2.3",
        }  # fmt: skip
