from __future__ import annotations

from typing import Protocol

from marketpipe.shared_kernel.domain.ohlcv_bar import ColumnarBars
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.validation.domain.validation_rule import ValidationResult


class BarJudge(Protocol):
    def judge(self, bars: ColumnarBars, now: Timestamp) -> ValidationResult:
        """Holds every bar against the schema and every rule in force. ``now`` tells the future from the past."""
        ...
