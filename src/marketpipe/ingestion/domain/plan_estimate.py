"""What a plan will cost, before it does: a guess where nothing is known, and it says so."""

from __future__ import annotations

import math
from collections.abc import Sequence

from attrs import frozen

from marketpipe.ingestion.domain.batch_packing import PackingLimits
from marketpipe.ingestion.domain.typical_volume import TypicalVolume, TypicalVolumes
from marketpipe.shared_kernel.domain.bars_request import AskedSession, BarsRequest
from marketpipe.shared_kernel.domain.trading_session import SessionHours

GUESS = TypicalVolume(bars_a_day=390.0, bytes_a_bar=32.0, days=0)
"""Of a liquid symbol: a bar a minute of the regular session."""
SHARES = {SessionHours.REGULAR: 0.9, SessionHours.EARLY: 0.05, SessionHours.LATE: 0.05}
"""How a day's bars are spread over its hours, roughly."""


@frozen
class PlanEstimate:
    """``known_days``: stored symbol-days from which it was made, 0 for a guess of 390 bars a symbol-day."""

    symbol_days: int
    bars: int
    requests: int
    size_bytes: int
    known_days: int

    def minutes_at(self, requests_per_minute: int | None) -> float | None:
        """How long the provider's rate makes it last at least; None where it has none."""
        return self.requests / requests_per_minute if requests_per_minute else None


def estimate(batches: Sequence[BarsRequest], volumes: TypicalVolumes, limits: PackingLimits) -> PlanEstimate:
    bars = size = 0.0
    requests = symbol_days = 0
    for batch in batches:
        days = sum(map(_share, batch.sessions))
        expected = [(volumes.of(symbol) or GUESS) for symbol in batch.symbols]
        in_batch = sum(volume.bars_a_day for volume in expected) * days
        requests += max(1, math.ceil(in_batch / limits.bars_per_page))
        symbol_days += len(batch.symbols) * len(batch.sessions)
        bars += in_batch
        size += sum(volume.bars_a_day * volume.bytes_a_bar for volume in expected) * days
    known = volumes.overall.days if volumes.overall else 0
    return PlanEstimate(symbol_days, round(bars), requests, round(size), known)


def _share(asked: AskedSession) -> float:
    """Of a day's bars; the whole of it where the regular session is among the hours that are asked for."""
    if SessionHours.REGULAR in asked.hours:
        return 1.0
    return sum(share for part, share in SHARES.items() if part in asked.hours)
