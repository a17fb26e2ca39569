"""What observes a ledger writer, put together as the settings say. What they do not ask for is not imported."""

import logging
from collections.abc import Callable, Collection, Sequence

from sqlalchemy import Engine

from proxyd.accounting.observing import WriterStatus
from proxyd.accounting.records import EndRecord
from proxyd.accounting.refusal_log import RefusalCount
from proxyd.monitoring.part import Part
from shared.config import Settings

log = logging.getLogger(__name__)


class Monitor:
    """Passes on to each of its parts. An observer, as the ledger writer has one."""

    def __init__(self) -> None:
        self._parts: list[Part] = []

    def add(self, part: Part) -> None:
        self._parts.append(part)

    def on_ends(self, ends: Sequence[EndRecord]) -> None:
        self._each(lambda part: part.on_ends(ends))

    def on_refusals(self, counts: Collection[RefusalCount]) -> None:
        if counts:
            self._each(lambda part: part.on_refusals(counts))

    def keep(self) -> None:
        self._each(lambda part: part.keep())

    def close(self) -> None:
        self._each(lambda part: part.close())

    def _each(self, tell: Callable[[Part], None]) -> None:
        for part in self._parts:
            try:
                tell(part)
            except Exception:  # A process edge: the ledger must be written whoever cannot be told of it.
                log.exception("something could not be told to operators, and is left out")


def watch(
    monitor: Monitor, settings: Settings, engine: Engine, status: Callable[[], WriterStatus], standard_output: int
) -> None:
    """Add to `monitor` what the settings ask for.

    `status` tells how the ledger writer stands; `standard_output` is where lines go that have no file.
    """
    dropped_lines: Callable[[], int] = int
    if settings.request_log is not None:
        from proxyd.monitoring.lines import LineOutput  # noqa: PLC0415 - structlog, for who wants it
        from proxyd.monitoring.request_log import KeyPrefixes, RequestLog  # noqa: PLC0415 - the same

        output = LineOutput(settings.request_log_path, standard_output)
        dropped_lines = lambda: output.dropped  # noqa: E731 - it counts
        monitor.add(RequestLog(settings.request_log, output, KeyPrefixes(engine)))
    if settings.otlp_endpoint is not None:
        from proxyd.monitoring.traces import Traces  # noqa: PLC0415 - OpenTelemetry, for who wants it

        monitor.add(Traces(settings.otlp_endpoint))
    if settings.metrics_bind is not None:
        from proxyd.monitoring.endpoint import MetricsEndpoint  # noqa: PLC0415 - prometheus-client, for who wants it
        from proxyd.monitoring.metrics import Metrics  # noqa: PLC0415 - the same

        metrics = Metrics(settings.data_dir, status, dropped_lines=dropped_lines)
        monitor.add(metrics)
        monitor.add(MetricsEndpoint(settings.metrics_bind, metrics))
