"""What is counted while a pipeline works, for the reports at its end. Events come on several threads."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping

from marketpipe.reports import ValidationReport
from marketpipe.shared_kernel.domain.severity import Severity
from marketpipe.shared_kernel.domain.symbol_day import SymbolDay
from marketpipe.shared_kernel.event_bus import EventBus
from marketpipe.shared_kernel.events.bar_events import BarsValidated, RuleFinding
from marketpipe.shared_kernel.events.provider_events import RequestCompleted
from marketpipe.shared_kernel.events.store_events import PartitionFoundDamaged, StoredBarsJudged


class RunTally:
    """Requests made and warnings found since ``reset``."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.reset()

    def reset(self) -> None:
        self._requests, self._warnings = 0, Counter[str]()

    def listen(self, bus: EventBus) -> None:
        bus.observe(RequestCompleted, self._on_request)
        bus.observe(BarsValidated, self._on_validated)

    @property
    def requests(self) -> int:
        return self._requests

    @property
    def warnings(self) -> Mapping[str, int]:
        return dict(self._warnings)

    def _on_request(self, _: RequestCompleted) -> None:
        with self._lock:
            self._requests += 1

    def _on_validated(self, event: BarsValidated) -> None:
        with self._lock:
            for finding in event.findings:
                if finding.severity is Severity.WARNING:
                    self._warnings[finding.rule] += finding.count


class ReviewTally:
    """What a review of stored bars has found since ``reset``."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self._bars, self._symbol_days = 0, 0
        self._findings: list[RuleFinding] = []
        self._damaged: dict[SymbolDay, str] = {}

    def listen(self, bus: EventBus) -> None:
        bus.subscribe(StoredBarsJudged, self._on_judged)
        bus.subscribe(PartitionFoundDamaged, self._on_damaged)

    def report(self) -> ValidationReport:
        return ValidationReport(self._bars, self._symbol_days, tuple(self._findings), self._damaged)

    def _on_judged(self, event: StoredBarsJudged) -> None:
        self._bars += event.bars
        self._symbol_days += event.symbol_days
        self._findings.extend(event.findings)

    def _on_damaged(self, event: PartitionFoundDamaged) -> None:
        self._damaged[event.symbol_day] = event.reason
