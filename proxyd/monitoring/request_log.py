"""A line of JSON for each attempt, of what is in the ledger; and for refusals, added up by key and reason.

Nothing that a prompt or an answer says stands in one, and no secret: a key is told by its id and by the beginning by
which people know it.
"""

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from zlib import crc32

import orjson
import structlog
from sqlalchemy import Engine, select
from sqlalchemy.exc import SQLAlchemyError

from proxyd.accounting.ledger_rows import told_model
from proxyd.accounting.records import Attempt, EndRecord, Settlement
from proxyd.accounting.refusal_log import RefusalCount
from proxyd.monitoring.lines import LineOutput
from proxyd.monitoring.part import Part
from shared import money
from shared.models import ProxyKey

BELIEVE_SECONDS = 60.0  # a key's prefix; rotating a key changes it
MOST_KEYS = 50_000
_ASK_AT_ONCE = 500
_ALL = 2**32


class KeyPrefixes:
    """The beginnings of secrets by which people know keys, as the database has them."""

    def __init__(self, engine: Engine, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._engine = engine
        self._monotonic = monotonic
        self._known: dict[str, str] = {}
        self._since = float("-inf")

    def of(self, key_ids: Iterable[str]) -> Mapping[str, str]:
        """The prefixes of these keys. Those that cannot be found, or not now, are missing."""
        at = self._monotonic()
        if at - self._since >= BELIEVE_SECONDS or len(self._known) > MOST_KEYS:
            self._since = at
            self._known.clear()
        unknown = sorted(set(key_ids).difference(self._known))
        try:
            for first in range(0, len(unknown), _ASK_AT_ONCE):
                self._ask(unknown[first : first + _ASK_AT_ONCE])
        except SQLAlchemyError:
            pass  # the id says which key it is
        return self._known

    def _ask(self, key_ids: Sequence[str]) -> None:
        wanted = select(ProxyKey.id, ProxyKey.prefix).where(ProxyKey.id.in_(key_ids))
        with self._engine.connect() as connection:
            self._known.update((key_id, prefix) for key_id, prefix in connection.execute(wanted))


class _Collected:
    """What structlog writes to: the lines of one hand-over."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []

    def info(self, line: bytes) -> None:
        self.lines.append(line)


class RequestLog(Part):
    """Writes all that did not go well, and a `share` of the rest: the same attempts on all machines."""

    def __init__(self, share: float, output: LineOutput, prefixes: KeyPrefixes) -> None:
        self._below = int(share * _ALL)
        self._output = output
        self._prefixes = prefixes
        self._collected = _Collected()
        # Bound, because one that is not is made anew for each line.
        self._log = structlog.wrap_logger(
            self._collected,
            processors=[structlog.processors.JSONRenderer(serializer=orjson.dumps)],
            wrapper_class=structlog.BoundLogger,
        ).bind()

    def on_ends(self, ends: Sequence[EndRecord]) -> None:
        wanted = [
            (attempt, settlement)
            for _, _, attempt, settlement in ends
            if settlement is not None and self._is_wanted(attempt, settlement)
        ]
        prefixes = self._prefixes.of([attempt.key_id for attempt, _ in wanted]) if wanted else {}
        for attempt, settlement in wanted:
            self._log.info("request", **_of_attempt(attempt, settlement, prefixes.get(attempt.key_id)))
        self._hand_over()

    def on_refusals(self, counts: Collection[RefusalCount]) -> None:
        prefixes = self._prefixes.of([count.key_id for count in counts])
        for count in counts:
            self._log.info("refusal", **_of_refusal(count, prefixes.get(count.key_id)))
        self._hand_over()

    def close(self) -> None:
        self._output.close()

    def _hand_over(self) -> None:
        if self._collected.lines:
            lines, self._collected.lines = self._collected.lines, []
            self._output.put(lines)

    def _is_wanted(self, attempt: Attempt, settlement: Settlement) -> bool:
        went_well = settlement.outcome == "ok" and (settlement.status or 0) < 400
        return not went_well or crc32(attempt.id.encode()) < self._below


def _of_attempt(attempt: Attempt, settlement: Settlement, prefix: str | None) -> dict[str, Any]:
    return {
        "time": _moment(attempt.admitted_at),
        "request_id": attempt.id,
        "key_id": attempt.key_id,
        "key_prefix": prefix,
        "org_id": attempt.org_id,
        "client_ip": attempt.client_ip,
        "provider": attempt.provider,
        "endpoint": attempt.endpoint,
        "model": told_model(attempt.requested_model),
        "served_model": told_model(settlement.served_model),
        "streamed": attempt.streamed,
        "status": settlement.status,
        "sent_status": settlement.sent_status,
        "outcome": settlement.outcome,
        "flags": settlement.flags,
        "usage": settlement.usage,
        "cost_usd": money.to_usd(settlement.cost_nanos),
        "latency_ms": settlement.duration_ms,
        "first_byte_ms": settlement.first_byte_ms,
        "provider_request_id": settlement.provider_request_id,
    }


def _of_refusal(count: RefusalCount, prefix: str | None) -> dict[str, Any]:
    """`count` refusals within a moment, of which the last one tells the rest."""
    return {
        "time": _moment(count.last_at),
        "request_id": count.request_id,
        "key_id": count.key_id,
        "key_prefix": prefix,
        "org_id": count.org_id,
        "client_ip": count.client_ip,
        "model": count.model,
        "status": count.status,
        "reason": count.reason,
        "count": count.count,
    }


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
