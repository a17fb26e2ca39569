"""Metrics are made of what is in the ledger and of what workers count; no end of a process makes one fall."""

from pathlib import Path

import pytest
from ledger_kit import attempt, ended, settlement
from metrics_kit import OK, World
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from proxyd.accounting.records import EndRecord
from proxyd.monitoring import names
from proxyd.monitoring.ledger_sums import dialect_of, listed_model
from proxyd.monitoring.page import WorkerPage
from proxyd.monitoring.worker_monitor import FOLDER
from shared.policy import Deny, Reason


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_it_works(world: World) -> None:
    usage = {"input_tokens": 100, "cache_read_tokens": 40, "output_tokens": 7, "web_searches": 2}
    first = settlement(usage=usage, cost_nanos=1_500_000_001, duration_ms=740, first_byte_ms=250)
    second = settlement(
        status=500, outcome="provider_error", usage={}, served_model=None, cost_nanos=0, first_byte_ms=None
    )
    world.metrics.on_ends(
        [
            EndRecord(1, 1, attempt(1, streamed=True), first),
            EndRecord(2, 2, attempt(2), second),
            EndRecord(3, 3, attempt(3), None),  # never sent
        ]
    )
    shown = world.shown()
    of = "dialect=openai,outcome={},provider=openai"
    assert shown[f"router_requests_total{{{of.format('ok')}}}"] == 1
    assert shown[f"router_requests_total{{{of.format('provider_error')}}}"] == 1
    assert shown["router_request_duration_seconds_count{dialect=openai,provider=openai}"] == 2
    assert shown["router_request_duration_seconds_sum{dialect=openai,provider=openai}"] == pytest.approx(0.752)
    assert shown["router_request_duration_seconds_bucket{dialect=openai,le=0.05,provider=openai}"] == 1
    assert shown["router_request_duration_seconds_bucket{dialect=openai,le=0.5,provider=openai}"] == 1
    assert shown["router_request_duration_seconds_bucket{dialect=openai,le=1.0,provider=openai}"] == 2
    assert shown["router_request_duration_seconds_bucket{dialect=openai,le=+Inf,provider=openai}"] == 2
    # A value that is a step belongs to it.
    first_byte = "router_time_to_first_byte_seconds_bucket{{dialect=openai,le={},provider=openai,streamed=true}}"
    assert [shown[first_byte.format(le)] for le in ("0.1", "0.25", "+Inf")] == [0, 1, 1]
    tokens = {
        kind: shown[f"router_tokens_total{{class={kind},model=gpt-4o,provider=openai}}"]
        for kind in ("input", "cache_read", "output")
    }
    assert tokens == {"input": 100, "cache_read": 40, "output": 7}
    assert shown["router_billed_units_total{model=gpt-4o,provider=openai,unit=web_searches}"] == 2
    assert shown["router_cost_dollars_total{model=gpt-4o,provider=openai}"] == 1.500000001
    assert shown["router_ledger_lag_seconds"] == 1.5


def test_every_metric_is_in_the_table_and_every_one_of_the_table_is_shown(world: World) -> None:
    WorkerPage(world.directory / FOLDER)
    page = WorkerPage(world.directory / FOLDER)
    page.count_deny(Deny(Reason.KEY_PAUSED))
    flagged = settlement(flags=("estimated",), usage={"input_tokens": 1, "web_searches": 1})
    world.metrics.on_ends([EndRecord(1, 1, attempt(1), flagged)])
    registry = CollectorRegistry(auto_describe=False)
    registry.register(world.metrics)
    shown = {
        f"{family.name}_total" if family.type == "counter" else family.name: family
        for family in text_string_to_metric_families(generate_latest(registry).decode())
    }
    assert set(shown) == {metric.name for metric in names.METRICS}
    for metric in names.METRICS:
        family = shown[metric.name]
        assert (family.type, family.documentation) == (metric.kind, metric.help)
        assert family.samples, metric.name
        assert {name for sample in family.samples for name in sample.labels} - {"le"} == set(metric.labels)
    assert not {"key", "key_id", "org_id", "client_ip"} & {label for metric in names.METRICS for label in metric.labels}


def test_made_up_models_are_one_series(world: World) -> None:
    for number in range(50):
        made_up = settlement(served_model=None, cost_nanos=1)
        world.metrics.on_ends(
            [EndRecord(number, number, attempt(number, requested_model=f"gpt-{number}-mine"), made_up)]
        )
    models = {name for name in world.shown() if name.startswith("router_cost_dollars_total")}
    assert models == {"router_cost_dollars_total{model=other,provider=openai}"}
    assert listed_model("openai", "gpt-4o-2024-08-06") == "gpt-4o"
    assert listed_model("nobody", "gpt-4o") == listed_model("openai", "") == "other"


def test_providers_of_organisations_own_are_one_series(world: World) -> None:
    for number in range(20):
        one = attempt(number, provider=f"lab-{number}", endpoint="/v1/chat/completions")
        world.metrics.on_ends([EndRecord(number, number, one, settlement(cost_nanos=1))])
    shown = [name for name in world.shown() if name.startswith(("router_cost_dollars", "router_requests_total"))]
    assert len(shown) == 2
    assert all("provider=other" in name for name in shown)
    assert all("lab" not in name for name in world.shown())


@pytest.mark.parametrize(
    ("provider", "endpoint", "dialect"),
    [
        ("anthropic", "/v1/messages", "anthropic"), ("anthropic", "/v1/chat/completions", "openai"),
        ("gemini", "/v1beta/models/{model}:generateContent", "gemini"), ("gemini", "/v1beta/openai/embeddings", "openai"),
        ("gemini", "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent"[:64], "gemini"),
        ("gemini", "unlisted", "gemini"), ("groq", "/v1/chat/completions", "openai"),
    ],
)  # fmt: skip
def test_the_dialect_is_that_of_the_endpoint(provider: str, endpoint: str, dialect: str) -> None:
    assert dialect_of(provider, endpoint) == dialect


def test_what_a_dead_worker_has_counted_stays(world: World) -> None:
    for _ in range(3):
        page = WorkerPage(world.directory / FOLDER)
        page.count_deny(Deny(Reason.RATE_LIMITED))
        page.write(slot=0, cpu_us=2_000_000, in_flight=5)
        before = world.shown()
        del page
        after = world.shown()
        assert (
            after["router_refused_requests_total{reason=rate_limited}"]
            == before["router_refused_requests_total{reason=rate_limited}"]
        )
        assert (
            after["router_process_cpu_seconds_total{process=worker-0}"]
            == before["router_process_cpu_seconds_total{process=worker-0}"]
        )
        assert after["router_requests_in_flight"] == 0
    shown = world.shown(world.another())
    assert shown["router_refused_requests_total{reason=rate_limited}"] == 3
    assert shown["router_process_cpu_seconds_total{process=worker-0}"] == 6
    assert list((world.directory / FOLDER).glob("*.page")) == []


def test_what_was_shown_is_not_less_after_the_ledger_writer_was_killed(world: World) -> None:
    world.metrics.on_ends([ended(1), ended(2)])
    assert world.shown()[OK] == 2
    world.metrics.on_ends([ended(3)])  # it is killed before it has saved this
    other = world.another()
    assert world.shown(other)[OK] == 2
    other.on_ends([ended(4)])
    world.at += 1.0
    other.keep()
    assert world.shown(world.another())[OK] == 3


def test_a_page_is_added_once_though_it_could_not_be_deleted(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ledger writer is killed between saving the sums and deleting the page that is in them."""
    page = WorkerPage(world.directory / FOLDER)
    page.count_deny(Deny(Reason.KEY_EXPIRED))
    del page
    monkeypatch.setattr(Path, "unlink", lambda self, missing_ok=False: None)
    world.keep()
    monkeypatch.undo()
    shown = world.shown(world.another())
    assert shown["router_refused_requests_total{reason=key_expired}"] == 1
    assert list((world.directory / FOLDER).glob("*.page")) == []


def test_sums_that_cannot_be_saved_are_shown_all_the_same(world: World, caplog: pytest.LogCaptureFixture) -> None:
    (world.directory / FOLDER).touch()  # where the folder would be
    world.metrics.on_ends([ended(1)])
    for _ in range(2):
        assert world.shown()[OK] == 1
    assert caplog.text.count("cannot be saved") == 1


def test_sums_that_cannot_be_read_begin_anew(world: World, caplog: pytest.LogCaptureFixture) -> None:
    for nonsense in (b"{", b"[]", b'{"counts": 5, "spreads": [], "folded": []}', b'{"counts": []}'):
        (world.directory / FOLDER).mkdir(exist_ok=True)
        (world.directory / FOLDER / "sums.json").write_bytes(nonsense)
        caplog.clear()
        assert world.shown(world.another())["router_counters_generation"] == 0
        assert "begin anew" in caplog.text
