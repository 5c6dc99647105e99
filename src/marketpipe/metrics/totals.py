"""What a run has counted, so that the totals of short runs can be added up in the state."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Mapping
from typing import Final

from marketpipe.metrics.series import LATENCY, LATENCY_BUCKETS, Series
from marketpipe.shared_kernel.domain.store_inventory import TotalKey

BUCKET, SUM, INFINITY = f"{LATENCY.name}_bucket", f"{LATENCY.name}_sum", "+Inf"
BUCKETS: Final = (*map(str, LATENCY_BUCKETS), INFINITY)
"""The values of the label ``le``."""


class RunTotals:
    """Adds up counters since the last ``take``; safe to call from any thread. A bucket counts its own range only."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values = defaultdict[TotalKey, float](float)

    def add(self, series: Series, labels: tuple[str, ...], amount: float) -> None:
        with self._lock:
            self._values[series.name, labels] += amount

    def add_latency(self, seconds: float) -> None:
        with self._lock:
            self._values[BUCKET, (BUCKETS[bisect_left(LATENCY_BUCKETS, seconds)],)] += 1
            self._values[SUM, ()] += seconds

    def take(self) -> Mapping[TotalKey, float]:
        """Return what was counted, and begin at nothing."""
        with self._lock:
            taken, self._values = self._values, defaultdict(float)
            return taken

    def put_back(self, taken: Mapping[TotalKey, float]) -> None:
        """Add what was taken and could not be kept, so that the next run keeps it."""
        with self._lock:
            for key, value in taken.items():
                self._values[key] += value
