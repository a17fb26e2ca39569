"""What operators see of a running router: metrics over all workers, a line for each request; through kills.

It is the router of the other tests, whose last requests may still be on their way into the ledger. So what is counted
when it is there is looked at by a model that nobody else asks for.
"""

import os
import signal
from typing import Any

import pytest
from calls import chat, code, marker
from collector_kit import attributes
from harness import eventually, free_port
from observed_kit import ObservedRouter

from proxyd import cli
from shared import keys, money

MODEL = "gpt-4.1-nano"  # of these tests alone
REFUSED, ADMITTED, COST = "router_refused_requests_total", "router_admitted_requests_total", "router_cost_dollars_total"


def test_it_works(router: ObservedRouter) -> None:
    """Numbers and lines agree with the ledger, whichever worker it was."""
    key_id, key = router.create_key(name="seen")
    requests, admitted = router.value("router_requests_total"), router.value(ADMITTED)
    cost = router.value(COST, model=MODEL)
    for _ in range(5):
        assert chat(router, key, marker(), model=MODEL).status_code == 200
    router.wait_for_ledger(key_id, 5)
    eventually(lambda: router.value("router_requests_total") >= requests + 5)
    spent = money.from_usd(router.key(key_id)["spend"]["lifetime_usd"])
    assert round((router.value(COST, model=MODEL) - cost) * 1e9) == spent > 0
    assert router.value(ADMITTED) == admitted + 5
    assert router.value("router_tokens_total", model=MODEL, **{"class": "output"}) > 0
    eventually(lambda: router.value("router_workers", state="joined") == 2)
    assert router.value("router_process_resident_memory_bytes", process="worker-1") > 10_000_000
    assert router.value("router_counters_live") == 1
    assert router.value("router_ledger_lag_seconds") < 60
    eventually(lambda: len(router.lines(key_id)) == 5)
    assert sum(money.from_usd(line["cost_usd"]) for line in router.lines(key_id)) == spent
    assert {line["key_prefix"] for line in router.lines(key_id)} == {key[:13]}


def test_refusals_are_seen_with_and_without_a_key(router: ObservedRouter) -> None:
    unknown, paused = (router.value(REFUSED, reason=reason) for reason in ("invalid_proxy_key", "key_paused"))
    for _ in range(3):
        assert code(chat(router, keys.mint(keys.PROXY_TAG).raw, marker())) == "invalid_proxy_key"
    assert router.value(REFUSED, reason="invalid_proxy_key") == unknown + 3
    key_id, key = router.create_key(name="paused", paused=True)
    for _ in range(3):
        assert code(chat(router, key, marker())) == "key_paused"
    eventually(lambda: sum(line["count"] for line in router.lines(key_id)) == 3)
    assert router.value(REFUSED, reason="key_paused") == paused + 3


def test_a_call_stands_in_the_trace_of_whoever_made_it(router: ObservedRouter) -> None:
    trace_id, parent = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
    key_id, key = router.create_key(name="traced")
    chat(router, key, marker(), headers={"traceparent": f"00-{trace_id}-{parent}-01"})
    chat(router, key, marker())

    def mine() -> list[Any]:
        return [span for span in router.collector.spans if attributes(span)["router.key_id"] == key_id]

    eventually(lambda: len(mine()) == 2)
    assert sorted(span.parent_span_id.hex() for span in mine()) == ["", parent]
    assert trace_id in {span.trace_id.hex() for span in mine()}


def test_no_end_of_a_process_makes_a_counter_fall(router: ObservedRouter) -> None:
    key_id, key = router.create_key(name="kills")
    for _ in range(3):
        chat(router, key, marker(), model=MODEL)
    chat(router, keys.mint(keys.PROXY_TAG).raw, marker())
    router.wait_for_ledger(key_id, 3)
    eventually(lambda: len(router.lines(key_id)) == 3)

    def counted() -> list[float]:
        return [router.value(REFUSED), router.value(ADMITTED), router.value(COST, model=MODEL)]

    before = counted()
    old = set(router.worker_pids())
    for pid in old:
        os.kill(pid, signal.SIGKILL)
    eventually(lambda: len(set(router.worker_pids()) - old) == 2, what="other workers")
    eventually(lambda: router.value("router_workers", state="joined") == 2)
    assert counted() == before
    router.kill_writer()
    eventually(router.answers, what="the metrics of another ledger writer")
    assert counted() == before

    # Nor does a reload, with which all of them are replaced.
    old = set(router.worker_pids())
    os.kill(router.processes["proxy"].pid, signal.SIGHUP)
    eventually(lambda: len(router.worker_pids()) == 2 and not old & set(router.worker_pids()), 20, "other workers")
    eventually(router.answers, what="the metrics of another ledger writer")
    assert counted() == before
    chat(router, key, marker(), model=MODEL)
    eventually(lambda: router.value(COST, model=MODEL) > before[-1])


def test_what_cannot_be_observed_stops_the_start(
    router: ObservedRouter, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A second proxy, which does not come to the point where it would be processes."""
    for name, value in router.environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("ROUTER_PROXY_BIND", f"127.0.0.1:{free_port()}")
    assert cli.main() == 2
    taken = router.environ["ROUTER_METRICS_BIND"]
    assert capsys.readouterr().err.startswith(f"ROUTER_METRICS_BIND: Cannot listen on {taken}")
    monkeypatch.setenv("ROUTER_METRICS_BIND", f"127.0.0.1:{free_port()}")
    monkeypatch.setenv("ROUTER_REQUEST_LOG_PATH", "/proc/requests.log")
    assert cli.main() == 2
    assert capsys.readouterr().err.startswith("ROUTER_REQUEST_LOG_PATH: /proc/requests.log cannot be written")
