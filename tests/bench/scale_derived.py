"""What triggers keep beside the rows of a full database, filled at once: one by one a million rows would take minutes."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from sqlalchemy import Connection, text

from shared.models import USAGE_CLASSES

# As migrations 0009, 0011 and 0031 have it.
_ALL_DAYS = "1970-01-01"
_SUMS = ", ".join(("requests", "input_tokens", "output_tokens", "cost_nanos", *USAGE_CLASSES))
_PLACE = "org_id, day, provider, model"


def _summed(place: str, source: str) -> str:
    return f"SELECT {place}, {', '.join(f'SUM({name})' for name in _SUMS.split(', '))} FROM {source} GROUP BY {place}"


_TAGGED = (
    "(SELECT tag, key_id FROM key_tags UNION SELECT '', key_id FROM key_tags) AS tagged JOIN usage_daily USING (key_id)"
)
DERIVED = {
    "sums of the organisation": f"INSERT INTO organization_usage ({_PLACE}, {_SUMS}) {_summed(_PLACE, 'usage_daily')}",
    "sums of labels": (
        f"INSERT INTO organization_labels (org_id, day, label, {_SUMS}) {_summed('org_id, day, label', 'label_usage')}"
    ),
    "sums of tags": f"INSERT INTO tag_usage (org_id, day, tag, {_SUMS}) {_summed('org_id, day, tag', _TAGGED)}",
    "texts of keys": (
        "INSERT INTO key_search (key_id, text) SELECT id, lower(name || ' ' || prefix || ' ' || "
        "CAST(allowed_models AS text)) FROM proxy_keys WHERE NOT EXISTS "
        "(SELECT 1 FROM key_search WHERE key_id = proxy_keys.id) ORDER BY created_at"
    ),
    "keys without costs": (
        "INSERT INTO uncharged_keys (key_id, org_id) SELECT id, org_id FROM proxy_keys WHERE NOT EXISTS "
        f"(SELECT 1 FROM key_spend WHERE key_id = proxy_keys.id AND day = '{_ALL_DAYS}') "
        "AND NOT EXISTS (SELECT 1 FROM uncharged_keys WHERE key_id = proxy_keys.id)"
    ),
    "keys near their limit": (
        "INSERT INTO keys_near_limit (key_id, org_id, day) SELECT id, org_id, max(day) FROM proxy_keys JOIN key_spend "
        "ON key_id = id WHERE spend_limit_nanos * 80 <= total_nanos * 100 GROUP BY id, org_id"
    ),
}


def without_triggers(connection: Connection) -> list[str]:
    """Drop the triggers of SQLite, which has no other way to let them rest. How to make them again."""
    if connection.dialect.name != "sqlite":
        return []
    with connection.begin():
        found = connection.exec_driver_sql("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").all()
        for name, _ in found:
            connection.exec_driver_sql(f"DROP TRIGGER {name}")
    return [sql for _, sql in found]


def fill_derived(connection: Connection, triggers: Sequence[str]) -> None:
    """All that triggers would have kept; then make them again."""
    for name, statement in DERIVED.items():
        with connection.begin(), timed(name) as counted:
            counted.append(connection.execute(text(statement)).rowcount)
    with connection.begin(), timed("triggers and trigrams"):
        for trigger in triggers:
            connection.exec_driver_sql(trigger)
        if any("key_search_trigrams" in trigger for trigger in triggers):
            connection.exec_driver_sql("INSERT INTO key_search_trigrams (key_search_trigrams) VALUES ('rebuild')")


@contextmanager
def timed(name: str) -> Iterator[list[int]]:
    """Say how long a part took, and how many rows it has, if somebody puts that into the list."""
    started = time.perf_counter()
    counted: list[int] = []
    yield counted
    rows = f": {sum(counted):,}" if counted else ""
    print(f"{name}{rows} in {time.perf_counter() - started:.1f} s", flush=True)
