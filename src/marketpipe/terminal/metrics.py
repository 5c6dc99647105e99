from __future__ import annotations

import time
from collections.abc import Iterable

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from marketpipe.metrics_server import MetricsServer
from marketpipe.pipeline import Pipeline
from marketpipe.shared_kernel.domain.symbol_day_outcome import Outcome
from marketpipe.terminal.output import err, out, print_json


class StoreCollector(Collector):
    """What the store holds, read anew at every scrape."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline

    def collect(self) -> Iterable[GaugeMetricFamily]:
        status = self._pipeline.status()
        days = GaugeMetricFamily("marketpipe_store_symbol_days", "Symbol-days by outcome.", labels=["outcome"])
        for outcome in Outcome:
            days.add_metric([str(outcome)], sum(getattr(symbol, str(outcome)) for symbol in status.symbols))
        yield days
        yield _gauge("symbols", "Symbols ever asked for.", len(status.symbols))
        yield _gauge("bars", "Minute bars stored.", sum(symbol.bars for symbol in status.symbols))
        yield _gauge("rejected_bars", "Bars in quarantine.", sum(symbol.rejected for symbol in status.symbols))
        yield _gauge("bytes", "Size of the minute bars on disk.", sum(symbol.size_bytes for symbol in status.symbols))


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"marketpipe_store_{name}", text, value=value)


def _registry(pipeline: Pipeline) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(StoreCollector(pipeline))
    return registry


def print_metrics(pipeline: Pipeline, *, as_json: bool) -> None:
    registry = _registry(pipeline)
    if as_json:
        samples = [sample for family in registry.collect() for sample in family.samples]
        print_json([{"name": s.name, "labels": s.labels, "value": s.value} for s in samples])
    else:
        out(generate_latest(registry).decode().rstrip())


def serve_metrics(pipeline: Pipeline) -> None:
    settings = pipeline.config.metrics
    with MetricsServer(_registry(pipeline), settings.host, settings.port) as server:
        err(f"metrics at {server.address}; Ctrl-C ends")
        while True:
            time.sleep(3600)
