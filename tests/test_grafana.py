"""The dashboard for Grafana and the page about monitoring speak of the metrics that there are, by the labels they have."""

import json
import re
from pathlib import Path
from typing import Any

from proxyd.monitoring.names import METRICS

DOCS = Path(__file__).parent.parent / "docs"
BOARD = json.loads((DOCS / "grafana" / "enterprise-router.json").read_text(encoding="utf-8"))
KNOWN = {metric.name: metric for metric in METRICS}
FROM_PROMETHEUS = {"instance", "le"}


def expressions() -> list[str]:
    return [target["expr"] for panel in BOARD["panels"] for target in panel.get("targets", ())]


def metric_of(series: str) -> str:
    """The metric that a series belongs to: a histogram has three."""
    base = re.sub(r"_(?:bucket|sum|count)$", "", series)
    return base if base in KNOWN and KNOWN[base].kind == "histogram" else series


def used() -> set[str]:
    return {metric_of(name) for text in expressions() for name in re.findall(r"\brouter_\w+", text)}


def test_it_works() -> None:
    assert len(expressions()) > 25
    assert used() <= set(KNOWN)


def test_every_metric_has_a_place_on_it() -> None:
    assert set(KNOWN) - used() == set()


def test_series_are_asked_for_by_labels_that_they_have() -> None:
    for text in expressions():
        for series, selector in re.findall(r"\b(router_\w+)\{([^}]*)\}", text):
            labels = set(re.findall(r"(\w+)(?:=~|!=|=)", selector))
            assert labels <= {*KNOWN[metric_of(series)].labels, *FROM_PROMETHEUS}, text
        grouped = {label for group in re.findall(r"by \(([^)]*)\)", text) for label in re.split(r",\s*", group)}
        of_all = {label for name in re.findall(r"\brouter_\w+", text) for label in KNOWN[metric_of(name)].labels}
        assert grouped <= of_all | FROM_PROMETHEUS, text


def test_counters_are_looked_at_as_rates_and_gauges_are_not() -> None:
    for text in expressions():
        for before, series in re.findall(r"(\w*\(?)(router_\w+)\{", text):
            gauge = KNOWN[metric_of(series)].kind == "gauge"
            assert (before in ("rate(", "increase(")) is not gauge, text


def test_legends_name_labels_that_are_left() -> None:
    for panel in BOARD["panels"]:
        for target in panel.get("targets", ()):
            text = target["expr"]
            grouped = re.findall(r"by \(([^)]*)\)", text)
            of_series: set[str] = {
                label for name in re.findall(r"\brouter_\w+", text) for label in KNOWN[metric_of(name)].labels
            }
            left = set(re.split(r",\s*", grouped[-1])) if grouped else of_series | FROM_PROMETHEUS
            assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) <= left, panel["title"]


def test_panels_do_not_cover_one_another() -> None:
    taken: set[tuple[int, int]] = set()
    ids = [panel["id"] for panel in BOARD["panels"]]
    assert len(set(ids)) == len(ids)
    for panel in BOARD["panels"]:
        at: dict[str, Any] = panel["gridPos"]
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells


def test_the_page_about_monitoring_tells_every_metric_with_its_labels() -> None:
    told = {}
    for line in (DOCS / "monitoring.md").read_text(encoding="utf-8").splitlines():
        if line.startswith("| `router_"):
            name, kind, labels, meaning = (cell.strip() for cell in line.strip("|").split("|"))
            told[name.strip("` ")] = kind, tuple(re.findall(r"`(\w+)`", labels)), meaning
    assert list(told) == list(KNOWN)
    for name, metric in KNOWN.items():
        assert told[name][:2] == (metric.kind, metric.labels), name
        assert len(told[name][2]) > 10, name


def test_the_rules_for_alerts_ask_for_metrics_that_there_are() -> None:
    text = (DOCS / "monitoring.md").read_text(encoding="utf-8")
    rules = re.findall(r"^\s+expr: (.+)$", text, re.MULTILINE)
    assert len(rules) >= 5
    asked = {metric_of(name) for rule in rules for name in re.findall(r"\brouter_\w+", rule)}
    assert asked <= set(KNOWN)
