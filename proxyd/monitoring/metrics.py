"""The metrics of a data directory: what is kept, and what is looked up when somebody asks."""

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

from proxyd.accounting.observing import WriterStatus
from proxyd.accounting.records import EndRecord
from proxyd.monitoring import names
from proxyd.monitoring.ledger_sums import add_ends
from proxyd.monitoring.names import METRICS, MetricName
from proxyd.monitoring.page import BATCH_STEPS, FAILURES, REFUSALS, SUFFIX, PageReading, read_pages
from proxyd.monitoring.part import Part
from proxyd.monitoring.processes import cpu_us, resident_bytes
from proxyd.monitoring.sums import Series, Sums, Tally
from proxyd.monitoring.worker_monitor import FOLDER

KEEP_SECONDS = 1.0
_FILE = "sums.json"
_STEPS = {
    names.DURATION.name: names.DURATION_STEPS,
    names.FIRST_BYTE.name: names.FIRST_BYTE_STEPS,
    names.BATCH.name: BATCH_STEPS,
}


class Metrics(Part):
    """Observes a ledger writer, and is asked by other threads."""

    def __init__(
        self,
        data_dir: Path,
        status: Callable[[], WriterStatus],
        *,
        dropped_lines: Callable[[], int] = lambda: 0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder = data_dir / FOLDER
        self._status = status
        self._dropped_lines = dropped_lines
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._sums = Sums(self._folder / _FILE)
        self._sums.folded.intersection_update(path.name for path in self._folder.glob(f"*{SUFFIX}"))
        self._kept_at = float("-inf")

    def on_ends(self, ends: Sequence[EndRecord]) -> None:
        with self._lock:
            add_ends(self._sums, ends)

    def keep(self) -> None:
        """Save what has come, if a second is over, and take over the sums of workers that have died."""
        at = self._monotonic()
        if at - self._kept_at >= KEEP_SECONDS:
            self._kept_at = at
            with self._lock:
                self._read_pages()

    def close(self) -> None:
        """Save the last of it."""
        self._kept_at = float("-inf")
        self.keep()

    def collect(self) -> Iterable[Metric]:
        with self._lock:
            living = self._read_pages()
            shown = self._sums.copy()
        for page in living:
            _add_counters(shown, page)
        gauges = dict(self._gauges(living))
        for metric in METRICS:
            yield _family(metric, shown, gauges)

    def _read_pages(self) -> list[PageReading]:
        """The pages of the living. Those of the dead are added to the sums, saved, and then deleted."""
        pages = list(read_pages(self._folder))
        dead = [page for page in pages if not page.alive]
        for page in dead:
            if page.path.name not in self._sums.folded:
                _add_counters(self._sums, page)
                self._sums.fold(page.path.name)
        self._sums.save()
        if not self._sums.changed:
            for page in dead:
                page.path.unlink(missing_ok=True)
                self._sums.folded.discard(page.path.name)
        return [page for page in pages if page.alive]

    def _gauges(self, living: list[PageReading]) -> Iterator[tuple[Series, int]]:
        """What is so at this moment."""
        status = self._status()
        yield (names.IN_FLIGHT.name,), _total(living, "in_flight")
        yield (names.STREAMS.name,), _total(living, "streams")
        idle = _total(living, "upstream_idle")
        yield (names.UPSTREAM.name, "idle"), idle
        yield (names.UPSTREAM.name, "busy"), _total(living, "upstream_connections") - idle
        yield (names.WORKERS.name, "living"), len(living)
        yield (names.WORKERS.name, "joined"), _total(living, "joined")
        yield (names.LAG.name,), max(0, int((self._monotonic() - status.caught_up_at) * 1e6))
        yield (
            (names.PENDING.name,),
            sum(max(0, page.values["journal_ends"] - status.imported.get(page.journal, 0)) for page in living),
        )
        yield (names.COUNTERS_UP.name,), int(status.counters_reachable)
        yield (names.COUNTERS_LIVE.name,), int(status.counters_live)
        yield (names.GENERATION.name,), status.generation
        yield (names.LOG_DROPPED.name,), self._dropped_lines()
        for page in living:
            yield (names.LOOP_DELAY.name, str(page.values["slot"])), page.values["late_us"]
        memory: dict[str, int] = {}
        for page in living:  # while one takes over from another, both have the same place
            process = _worker(page)
            memory[process] = memory.get(process, 0) + (resident_bytes(page.values["pid"]) or 0)
        for process, pid in (("ledger-writer", os.getpid()), ("supervisor", os.getppid())):
            if (resident := resident_bytes(pid)) is not None:
                memory[process] = resident
            if (used := cpu_us(pid)) is not None:
                yield (names.CPU.name, process), used
        for process, resident in memory.items():
            yield (names.MEMORY.name, process), resident


def _worker(page: PageReading) -> str:
    return f"worker-{page.values['slot']}"


def _total(pages: list[PageReading], name: str) -> int:
    return sum(page.values[name] for page in pages)


def _add_counters(sums: Tally, page: PageReading) -> None:
    """Add what a worker has counted to what others have."""
    values = page.values
    sums.add((names.ADMITTED.name,), values["admitted"])
    sums.add((names.SKIPPED.name,), values["rate_limits_skipped"])
    sums.add((names.DIALS.name,), values["upstream_dials"])
    sums.add((names.CPU.name, _worker(page)), values["cpu_us"])
    for reason in REFUSALS:
        sums.add((names.REFUSED.name, reason.value), values[f"refused_{reason.value}"])
    for provider, reason in FAILURES:
        sums.add((names.FAILED.name, provider, reason.value), values[f"failed_{provider}_{reason.value}"])
    steps = [values[f"batches_to_{step}"] for step in BATCH_STEPS]
    sums.add_spread((names.BATCH.name,), [*steps, 0, values["batched_with_others"] + steps[0]])


def _family(metric: MetricName, sums: Tally, gauges: dict[Series, int]) -> Metric:
    """A metric with all its series, in the units that are shown."""
    if metric.kind == "histogram":
        histogram = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
        for (name, *labels), spread in sums.spreads.items():
            if name == metric.name:
                histogram.add_metric(labels, buckets=_buckets(spread, metric), sum_value=spread[-1] / metric.per)
        return histogram
    family: CounterMetricFamily | GaugeMetricFamily
    if metric.kind == "counter":
        family = CounterMetricFamily(metric.name.removesuffix("_total"), metric.help, labels=metric.labels)
    else:
        family = GaugeMetricFamily(metric.name, metric.help, labels=metric.labels)
    for values in (sums.counts, gauges):
        for (name, *labels), value in values.items():
            if name == metric.name:
                family.add_metric(labels, value / metric.per)
    return family


def _buckets(spread: list[int], metric: MetricName) -> list[tuple[str, float]]:
    """Cumulative, as Prometheus has them."""
    found: list[tuple[str, float]] = []
    total = 0
    for step, count in zip(_STEPS[metric.name], spread, strict=False):
        total += count
        found.append((str(step / metric.per), total))
    return [*found, ("+Inf", total + spread[-2])]
