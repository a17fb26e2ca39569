"""A router that tells operators all there is: metrics, a line for each request, and traces."""

import json
from pathlib import Path
from typing import Any

import requests
from collector_kit import Collector
from harness import Router, free_port
from prometheus_client.parser import text_string_to_metric_families


class ObservedRouter(Router):
    """To be closed at the end, beside `stop_all`."""

    dashboard_workers = 2

    def __init__(self, data_dir: Path) -> None:
        self.metrics_url = f"http://127.0.0.1:{free_port()}/metrics"
        self.lines_path = data_dir.parent / f"{data_dir.name}-logs" / "requests.log"
        self.collector = Collector()
        super().__init__(
            data_dir,
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

    def answers(self) -> bool:
        """Whether the metrics are told."""
        try:
            return requests.get(self.metrics_url, timeout=10).status_code == 200
        except requests.ConnectionError:
            return False

    def lines(self, key_id: str) -> list[dict[str, Any]]:
        """What was written down of a key's requests."""
        found = [json.loads(line) for line in self.lines_path.read_text().splitlines()]
        return [line for line in found if line["key_id"] == key_id]

    def close(self) -> None:
        self.collector.close()
