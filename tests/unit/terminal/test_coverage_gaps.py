"""Tests of the lines that ``coverage`` prints of gaps."""

from __future__ import annotations

from marketpipe.ingestion.domain.coverage.verdict import Evidence, Finding, Gap, Verdict
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.trading_date import as_trading_date
from marketpipe.terminal.coverage import lines_of

FIRST, LAST = as_trading_date("2024-01-02"), as_trading_date("2024-01-03")


def gaps(symbols: str, detail: str, evidence: Evidence = Evidence.RECORD) -> list[Gap]:
    finding = Finding(Verdict.MISSING, detail, evidence=evidence)
    return [Gap(Symbol(symbol), FIRST, LAST, 2, finding) for symbol in symbols]


def test_three_symbols_have_a_line_each() -> None:
    assert list(lines_of(gaps("ABC", "never requested")))[1:] == [
        "B 2024-01-02 to 2024-01-03 (2 sessions) missing: never requested",
        "C 2024-01-02 to 2024-01-03 (2 sessions) missing: never requested",
    ]


def test_a_gap_that_many_symbols_have_alike_is_one_line_with_all_their_names() -> None:
    found = [*gaps("ABCD", "never requested"), *gaps("E", "its file is gone"), *gaps("F", "never requested")]
    assert list(lines_of(found)) == [
        "5 symbols 2024-01-02 to 2024-01-03 (2 sessions) missing: never requested: A, B, C, D, F",
        "E 2024-01-02 to 2024-01-03 (2 sessions) missing: its file is gone",
    ]


def test_gaps_with_other_evidence_are_not_alike() -> None:
    found = [*gaps("ABC", "why", Evidence.NEIGHBOURS), *gaps("DEF", "why", Evidence.MARKET)]
    assert [line[0] for line in lines_of(found)] == [*"ABCDEF"]


def test_the_gaps_of_few_symbols_stay_in_their_order() -> None:
    found = [*gaps("A", "one"), *gaps("A", "two"), *gaps("B", "one"), *gaps("B", "two")]
    assert [line[0] + line[-3:] for line in lines_of(found)] == ["Aone", "Atwo", "Bone", "Btwo"]
