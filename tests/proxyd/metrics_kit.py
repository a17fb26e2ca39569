"""The metrics of a data directory, as Prometheus would read them."""

from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from proxyd.accounting.observing import WriterStatus
from proxyd.monitoring.metrics import Metrics

OK = "router_requests_total{dialect=openai,outcome=ok,provider=openai}"

Shown = dict[str, float]


class World:
    """The metrics of a data directory, at a moment that a test chooses."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.at = 100.0
        self.status = WriterStatus(caught_up_at=98.5)
        self.metrics = self.another()

    def another(self) -> Metrics:
        """As another process of the ledger writer makes them."""
        return Metrics(self.directory, lambda: self.status, monotonic=lambda: self.at)

    def keep(self) -> None:
        self.at += 1.0
        self.metrics.keep()

    def shown(self, metrics: Metrics | None = None) -> Shown:
        registry = CollectorRegistry(auto_describe=False)
        registry.register(metrics or self.metrics)
        return read(generate_latest(registry).decode())


def read(text: str) -> Shown:
    """Each sample by its name and labels, as one would write them."""
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found
