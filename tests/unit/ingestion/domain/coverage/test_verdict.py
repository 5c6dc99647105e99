from __future__ import annotations

import pytest

from marketpipe.ingestion.domain.coverage.verdict import STRAY, Finding, Gap, Verdict
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.trading_date import TradingDate

FIRST, LAST = TradingDate.parse("2024-01-05"), TradingDate.parse("2024-01-08")


@pytest.mark.parametrize(
    ("last", "sessions", "finding", "text"),
    [
        (FIRST, 1, Finding(Verdict.MISSING, "never requested"), "AAPL 2024-01-05 missing: never requested"),
        (LAST, 2, Finding(Verdict.MISSING), "AAPL 2024-01-05 to 2024-01-08 (2 sessions) missing"),
        (FIRST, 0, STRAY, f"AAPL 2024-01-05 suspect ({STRAY.suspicion}): {STRAY.detail}"),
    ],
)
def test_a_gap_is_a_sentence(last: TradingDate, sessions: int, finding: Finding, text: str) -> None:
    assert str(Gap(Symbol("AAPL"), FIRST, last, sessions, finding)) == text
