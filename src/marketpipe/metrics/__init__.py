"""Prometheus metrics of pipelines, updated from the events on their bus.

The table of all series is series.py. The constants ``REQUESTS``, ``ERRORS``, ``LATENCY`` and ``BACKLOG`` belong to the
default registry of prometheus_client; ``metrics_in`` gives the same metrics in another registry.
"""

from __future__ import annotations

from typing import Final

from prometheus_client import REGISTRY

from marketpipe.metrics.observer import MetricsObserver, StoreLabels
from marketpipe.metrics.registered import PipelineMetrics, Registry, metrics_in
from marketpipe.metrics.series import LATENCY_BUCKETS
from marketpipe.metrics.totals import RunTotals

__all__ = [
    "BACKLOG",
    "DEFAULT",
    "ERRORS",
    "LATENCY",
    "LATENCY_BUCKETS",
    "REQUESTS",
    "MetricsObserver",
    "PipelineMetrics",
    "Registry",
    "RunTotals",
    "StoreLabels",
    "metrics_in",
]

DEFAULT: Final = metrics_in(REGISTRY)
REQUESTS, ERRORS, LATENCY, BACKLOG = DEFAULT.requests, DEFAULT.errors, DEFAULT.latency, DEFAULT.backlog
