"""What operators see of a running router: metrics over all workers, a line for each request; through kills."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from calls import MODEL, chat, code, marker
from collector_kit import Collector, attributes
from harness import Router, eventually, free_port
from prometheus_client.parser import text_string_to_metric_families

from proxyd import cli
from shared import keys, money


class Watched(Router):
    """A router with metrics and a request log."""

    def __init__(self, folder: Path) -> None:
        self.metrics_url = f"http://127.0.0.1:{free_port()}/metrics"
        self.lines_path = folder / "requests.log"
        self.collector = Collector()
        super().__init__(
            folder / "data",
            ROUTER_METRICS_BIND=self.metrics_url.split("/")[2],
            ROUTER_REQUEST_LOG="all",
            ROUTER_REQUEST_LOG_PATH=str(self.lines_path),
            ROUTER_OTLP_ENDPOINT=self.collector.url,
            OTEL_BSP_SCHEDULE_DELAY="100",
        )

    def value(self, name: str, **labels: str) -> float:
        """The sum of a metric's series that have these labels."""
        answer = requests.get(self.metrics_url, timeout=10)
        assert answer.status_code == 200
        return sum(
            sample.value
            for family in text_string_to_metric_families(answer.text)
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    def lines(self, key_id: str) -> list[dict[str, Any]]:
        found = [json.loads(line) for line in self.lines_path.read_text().splitlines()]
        return [line for line in found if line["key_id"] == key_id]


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    router = Watched(tmp_path_factory.mktemp("watched"))
    try:
        router.start_all()
        yield router
    finally:
        router.stop_all()
        router.collector.close()
    assert router.leaks() == []


def test_it_works(watched: Watched) -> None:
    """Numbers and lines agree with the ledger, whichever worker it was."""
    key_id, key = watched.create_key(name="seen")
    before = {
        name: watched.value(name)
        for name in ("router_requests_total", "router_cost_dollars_total", "router_admitted_requests_total")
    }
    for _ in range(5):
        assert chat(watched, key, marker()).status_code == 200
    watched.wait_for_ledger(key_id, 5)
    eventually(lambda: watched.value("router_requests_total") == before["router_requests_total"] + 5)
    spent = money.from_usd(watched.key(key_id)["spend"]["lifetime_usd"])
    cost = watched.value("router_cost_dollars_total") - before["router_cost_dollars_total"]
    assert round(cost * 1e9) == spent > 0
    assert watched.value("router_admitted_requests_total") == before["router_admitted_requests_total"] + 5
    assert watched.value("router_tokens_total", model=MODEL, **{"class": "output"}) > 0
    assert watched.value("router_workers", state="joined") == 2
    assert watched.value("router_process_resident_memory_bytes", process="worker-1") > 10_000_000
    assert watched.value("router_counters_live") == 1
    assert watched.value("router_ledger_lag_seconds") < 60
    eventually(lambda: len(watched.lines(key_id)) == 5)
    assert sum(money.from_usd(line["cost_usd"]) for line in watched.lines(key_id)) == spent
    assert {line["key_prefix"] for line in watched.lines(key_id)} == {key[:13]}


def test_refusals_are_seen_with_and_without_a_key(watched: Watched) -> None:
    reason = {"reason": "invalid_proxy_key"}
    before = watched.value("router_refused_requests_total", **reason)
    for _ in range(3):
        assert code(chat(watched, keys.mint(keys.PROXY_TAG).raw, marker())) == "invalid_proxy_key"
    assert watched.value("router_refused_requests_total", **reason) == before + 3
    key_id, key = watched.create_key(name="paused", paused=True)
    for _ in range(3):
        assert code(chat(watched, key, marker())) == "key_paused"
    eventually(lambda: sum(line["count"] for line in watched.lines(key_id)) == 3)
    assert watched.value("router_refused_requests_total", reason="key_paused") == 3


def test_a_call_stands_in_the_trace_of_whoever_made_it(watched: Watched) -> None:
    trace_id, parent = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
    key_id, key = watched.create_key(name="traced")
    chat(watched, key, marker(), headers={"traceparent": f"00-{trace_id}-{parent}-01"})
    chat(watched, key, marker())

    def mine() -> list[Any]:
        return [span for span in watched.collector.spans if attributes(span)["router.key_id"] == key_id]

    eventually(lambda: len(mine()) == 2)
    assert sorted(span.parent_span_id.hex() for span in mine()) == ["", parent]
    assert trace_id in {span.trace_id.hex() for span in mine()}


def test_no_kill_makes_a_counter_fall(watched: Watched) -> None:
    key_id, key = watched.create_key(name="kills")
    names = ("router_requests_total", "router_refused_requests_total", "router_admitted_requests_total")
    chat(watched, key, marker())
    chat(watched, keys.mint(keys.PROXY_TAG).raw, marker())
    watched.wait_for_ledger(key_id, 1)
    eventually(lambda: len(watched.lines(key_id)) == 1)
    before = [watched.value(name) for name in names]
    old = set(watched.worker_pids())
    for pid in old:
        os.kill(pid, signal.SIGKILL)
    eventually(lambda: len(set(watched.worker_pids()) - old) == 2, what="other workers")
    eventually(lambda: watched.value("router_workers", state="joined") == 2)
    assert [watched.value(name) for name in names] == before
    watched.kill_writer()
    eventually(lambda: _answers(watched), what="the metrics of another ledger writer")
    assert [watched.value(name) for name in names] == before
    chat(watched, key, marker())
    eventually(lambda: watched.value("router_requests_total") == before[0] + 1)


def test_workers_are_replaced_and_nothing_is_lost(watched: Watched) -> None:
    before = watched.value("router_refused_requests_total")
    old = set(watched.worker_pids())
    os.kill(watched.processes["proxy"].pid, signal.SIGHUP)
    eventually(lambda: len(watched.worker_pids()) == 2 and not old & set(watched.worker_pids()), 20)
    eventually(lambda: _answers(watched), what="the metrics of another ledger writer")
    assert watched.value("router_refused_requests_total") == before


def _answers(watched: Watched) -> bool:
    try:
        return requests.get(watched.metrics_url, timeout=10).status_code == 200
    except requests.ConnectionError:
        return False


def test_what_cannot_be_observed_stops_the_start(
    watched: Watched, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A second proxy, which does not come to the point where it would be processes."""
    for name, value in watched.environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("ROUTER_PROXY_BIND", f"127.0.0.1:{free_port()}")
    assert cli.main() == 2
    taken = watched.environ["ROUTER_METRICS_BIND"]
    assert capsys.readouterr().err.startswith(f"ROUTER_METRICS_BIND: Cannot listen on {taken}")
    monkeypatch.setenv("ROUTER_METRICS_BIND", f"127.0.0.1:{free_port()}")
    monkeypatch.setenv("ROUTER_REQUEST_LOG_PATH", "/proc/requests.log")
    assert cli.main() == 2
    assert capsys.readouterr().err.startswith("ROUTER_REQUEST_LOG_PATH: /proc/requests.log cannot be written")
