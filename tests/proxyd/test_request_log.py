"""One line of JSON a request, of what is in the ledger; and nobody waits for whoever reads it."""

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from accounting_kit import Router, Worker
from ledger_kit import attempt, ended, settlement
from pool_kit import until
from refusal_kit import KEY, refused
from sqlalchemy import Engine, event

from proxyd.accounting.records import EndRecord
from proxyd.accounting.refusal_log import RefusalCount, RefusalLog
from proxyd.monitoring.lines import MOST_WAITING, LineOutput
from proxyd.monitoring.monitor import Monitor
from proxyd.monitoring.request_log import KeyPrefixes, RequestLog
from shared.keys import NewKey
from shared.secret_text import MASK


class Written:
    """A request log into a file, and what stands in it."""

    def __init__(self, path: Path, engine: Engine) -> None:
        self.path = path
        self.output = LineOutput(path)
        self.prefixes = KeyPrefixes(engine)

    def log(self, share: float = 1.0) -> RequestLog:
        return RequestLog(share, self.output, self.prefixes)

    def lines(self) -> list[dict[str, Any]]:
        """All there are, once nobody writes any more."""
        self.output.close()
        return [orjson.loads(line) for line in self.path.read_bytes().splitlines()] if self.path.exists() else []


@pytest.fixture
def written(tmp_path: Path, engine: Engine) -> Iterator[Written]:
    written = Written(tmp_path / "requests.log", engine)
    yield written
    written.output.close()


def end(number: int, **fields: Any) -> EndRecord:
    return EndRecord(number, number, attempt(number), settlement(**fields))


def test_it_works(written: Written, make_key: Callable[..., tuple[str, NewKey]]) -> None:
    key_id, secret = make_key()
    one = settlement(flags=("estimated",), cost_nanos=700_000)
    written.log().on_ends([EndRecord(1, 1, attempt(1, key_id=key_id), one), ended(2, cost_nanos=None)])
    assert written.lines() == [
        {
            "event": "request", "time": "2026-11-24T12:00:00.000Z", "request_id": "req_00000001", "key_id": key_id,
            "key_prefix": secret.prefix, "org_id": "org_1", "client_ip": "203.0.113.7", "provider": "openai",
            "endpoint": "/v1/chat/completions", "model": "gpt-4o", "served_model": "gpt-4o-2024-08-06", "streamed": False,
            "status": 200, "sent_status": 200, "outcome": "ok", "flags": ["estimated"],
            "usage": {"input_tokens": 3, "output_tokens": 5}, "cost_usd": "0.0007", "latency_ms": 12, "first_byte_ms": 7,
            "provider_request_id": "p-1",
        }
    ]  # fmt: skip
    assert secret.raw not in written.path.read_text()
    assert written.path.stat().st_mode & 0o777 == 0o600


def test_no_secret_that_was_sent_as_a_model(written: Written) -> None:
    secret = "gsk_" + "q1" * 26
    written.log().on_ends(
        [EndRecord(1, 1, attempt(1, requested_model=secret), settlement(served_model=f"models/{secret}"))]
    )
    (line,) = written.lines()
    assert (line["model"], line["served_model"]) == (MASK, f"models/{MASK}")


def test_only_what_did_not_go_well(written: Written) -> None:
    written.log(share=0.0).on_ends(
        [end(1), end(2, status=400), end(3, outcome="client_gone"), end(4, status=None, outcome="unknown"), end(5)]
    )
    assert [line["request_id"][-1] for line in written.lines()] == ["2", "3", "4"]


def test_a_share_of_the_rest_is_the_same_on_every_machine(written: Written, tmp_path: Path, engine: Engine) -> None:
    other = Written(tmp_path / "other.log", engine)
    many = [end(number) for number in range(2_000)] + [end(9_000, status=503)]
    for log in (written.log(0.1), other.log(0.1)):
        log.on_ends(many)
    lines = written.lines()
    assert lines == other.lines()
    assert 120 < len(lines) < 280
    assert lines[-1]["status"] == 503


def test_refusals_are_added_up(written: Written, tmp_path: Path) -> None:
    refusals = RefusalLog(tmp_path / "refusals")
    for number in range(5):
        refusals.note(KEY, refused(number))
    refusals.hand_over()
    (path,) = (tmp_path / "refusals").glob("*.json")
    written.log().on_refusals([RefusalCount(**fields) for fields in orjson.loads(path.read_bytes())])
    (line,) = written.lines()
    assert line == {
        "event": "refusal", "time": "2026-11-24T12:00:04.000Z", "request_id": "req_4", "key_id": "key_1", "key_prefix": None,
        "org_id": "org_1", "client_ip": "203.0.113.7", "model": "gpt-4o", "status": 403, "reason": "key_paused", "count": 5,
    }  # fmt: skip


def test_the_ledger_writer_tells_of_both(router: Router, worker: Worker, written: Written) -> None:
    monitor = Monitor()
    monitor.add(written.log())
    router.writer = router.new_writer(observer=monitor)
    router.writer.start()
    refusals = RefusalLog(router.directory / "refusals")
    refusals.note(KEY, refused())
    refusals.hand_over()
    worker.settle(worker.begin(), 300)
    router.rounds(2)
    assert sorted(line["event"] for line in written.lines()) == ["refusal", "request"]


def test_prefixes_are_asked_for_once_a_minute(engine: Engine, make_key: Callable[..., tuple[str, NewKey]]) -> None:
    clock = [0.0]
    asked: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda *arguments: asked.append(arguments[2]))
    prefixes = KeyPrefixes(engine, monotonic=lambda: clock[0])
    first, second = make_key(), make_key()
    asked.clear()
    for clock[0] in (0.0, 59.0, 61.0):
        found = prefixes.of([first[0], second[0], first[0]])
        assert (found[first[0]], found[second[0]]) == (first[1].prefix, second[1].prefix)
    assert [one.split()[0] for one in asked] == ["BEGIN", "SELECT"] * 2
    engine.dispose()


def test_a_line_is_written_without_a_prefix_while_the_database_is_away(
    written: Written, engine: Engine, tmp_path: Path
) -> None:
    (tmp_path / "router.db").unlink(missing_ok=True)
    engine.dispose()  # what is connected to anew has no tables
    written.log().on_ends([end(1)])
    assert [line["key_prefix"] for line in written.lines()] == [None]


def test_a_file_that_was_moved_away_is_made_anew(written: Written) -> None:
    log = written.log()
    log.on_ends([end(1)])
    until(written.path.exists)
    until(lambda: written.path.stat().st_size > 0)
    moved = written.path.rename(written.path.with_suffix(".1"))
    log.on_ends([end(2)])
    assert [line["request_id"] for line in written.lines()] == ["req_00000002"]
    assert moved.read_bytes().count(b"\n") == 1


def test_what_nobody_takes_is_dropped_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    """A pipe that is full: the thread waits for its reader, and whoever hands lines over does not."""
    reader, writer = os.pipe()
    output = LineOutput(None, writer)
    for _ in range(MOST_WAITING + 20):
        output.put([b"x" * 100_000, b"y"])
    assert output.dropped >= 2 * 19  # the thread has one in hand
    assert caplog.text.count("are dropped") == 1
    drain = threading.Thread(target=_drain, args=(reader,))
    drain.start()
    output.close()
    os.close(writer)
    drain.join()


def _drain(reader: int) -> None:
    while os.read(reader, 1 << 20):
        pass
    os.close(reader)


def test_a_disk_without_room_drops_lines(tmp_path: Path) -> None:
    output = LineOutput(Path("/dev/full"))
    output.put([b"x"])
    output.close()
    assert output.dropped == 1
