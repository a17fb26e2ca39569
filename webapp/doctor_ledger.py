"""What the doctor looks at between the proxy and the ledger: what journals hold that the ledger lacks; the metrics."""

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from struct import Struct

import requests
from sqlalchemy import select

from shared.config import Settings
from shared.counters import is_in_use
from shared.models import JournalState
from webapp.db import db
from webapp.doctor import Finding

_POSTED_SECONDS = 2.0  # in which a ledger writer that works has posted what ended; it looks four times a second
_LATE_SECONDS = 30.0
_ASK_SECONDS = 5.0
_MOST_BYTES = 4 * 1024 * 1024
_RECORD = Struct("<II")  # of a journal: the length of what follows, and its sum
_LAG = re.compile(r"^router_ledger_lag_seconds ([0-9.e+-]+)$", re.MULTILINE)
_PENDING = re.compile(r"^router_journal_pending_requests ([0-9.e+-]+)$", re.MULTILINE)


def look_at_ledger(settings: Settings, pause: Callable[[float], None] = time.sleep) -> Iterator[Finding]:
    """Whether what has ended is posted: what is unread now must be read in a moment, or nobody reads."""
    before = _unread(settings.data_dir / "journals")
    if not before:
        yield Finding("ledger", "ok", "It has all that the journals tell.")
        return
    count = sum(before.values())
    lacking = f"It lacks {count} request{'s' * (count > 1)} that ended"
    if not is_in_use(settings.data_dir):
        yield Finding("ledger", "warning", f"{lacking}. A proxy on this data directory brings home what there is.")
        return
    pause(_POSTED_SECONDS)
    db.session.rollback()  # so that what was posted meanwhile is seen
    after = _unread(settings.data_dir / "journals")
    if any(after.get(place) == unread for place, unread in before.items()):
        yield Finding(
            "ledger",
            "fault",
            f"{lacking}, and nothing was posted within {_POSTED_SECONDS:.0f} s. Nothing is lost, but usage is "
            "late: the proxy's log says what keeps the ledger writer from the database.",
        )
    else:
        yield Finding("ledger", "ok", "What the journals tell is being posted.")


def _unread(directory: Path) -> dict[tuple[str, int, int], int]:
    """Requests that have ended and are not in the ledger yet, by journal and how far it was read."""
    found = {}
    states = db.session.scalars(select(JournalState).where(JournalState.closed_at.is_(None)))
    for state in states:
        unread = 0
        for path in directory.glob(f"{state.worker_id}.*.journal"):
            number = int(path.name.split(".")[1])
            if number >= state.segment:
                unread += _ends_behind(path, state.position if number == state.segment else 0)
        if unread:
            found[state.worker_id, state.segment, state.position] = unread
    return found


def _ends_behind(path: Path, position: int) -> int:
    """How many ENDs stand behind a position of a segment: each record has its length, a sum, and a letter for its kind.

    A length of zero is the end so far. What is only begun stands there as well, and is nothing that the ledger lacks.
    """
    try:
        with path.open("rb") as file:
            file.seek(position)
            data = file.read()
    except FileNotFoundError:
        return 0
    found = at = 0
    while at + _RECORD.size < len(data) and (length := _RECORD.unpack_from(data, at)[0]):
        at += _RECORD.size
        found += data[at : at + 1] == b"E" and at + length <= len(data)
        at += length
    return found


def look_at_metrics(settings: Settings) -> Iterator[Finding]:
    """Whether Prometheus would be answered, and what it would be told of the ledger."""
    bind = settings.metrics_bind
    if bind is None:
        yield Finding("metrics", "ok", "They are off. ROUTER_METRICS_BIND turns them on.")
        return
    url = f"{bind.url}/metrics"
    try:
        with requests.Session() as session:
            session.trust_env = False  # nobody's proxy knows the way to this machine's own address
            with session.get(url, timeout=_ASK_SECONDS, allow_redirects=False, stream=True) as answer:
                told = answer.raw.read(_MOST_BYTES, decode_content=True).decode(errors="replace")
    except (requests.RequestException, OSError):
        yield Finding(
            "metrics", "warning", f"Nothing answers at {url}. Does the proxy run, and with this ROUTER_METRICS_BIND?"
        )
        return
    lag, pending = _LAG.search(told), _PENDING.search(told)
    if answer.status_code != 200 or lag is None or pending is None:
        yield Finding("metrics", "fault", f"What answers at {url} is not this router. Set another ROUTER_METRICS_BIND.")
    elif float(lag[1]) > _LATE_SECONDS:
        late, count = float(lag[1]), int(float(pending[1]))
        yield Finding(
            "metrics",
            "fault",
            f"The ledger is {late:.0f} s behind, by {count} requests at least. The proxy's log says what its ledger "
            "writer waits for.",
        )
    else:
        yield Finding("metrics", "ok", f"They are at {url}.")
