from __future__ import annotations

import pytest

from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.storage.domain.compaction import CompactedMonth, CompactionReport, Condition
from marketpipe.storage.domain.data_partition import MonthPartition
from marketpipe.terminal.exports import print_compaction


@pytest.mark.parametrize("undo", [False, True])
def test_a_compaction_that_was_stopped_says_how_to_finish_it(undo: bool, capsys: pytest.CaptureFixture[str]) -> None:
    print_compaction(CompactionReport((), stopped=True), undo=undo, as_json=False)

    assert "run the same command again" in capsys.readouterr().err


def test_a_month_that_is_left_for_the_same_reason_is_named_once_for_all_symbols(
    capsys: pytest.CaptureFixture[str],
) -> None:
    months = [MonthPartition(Symbol(name), 2024, 2) for name in ("AAPL", "MSFT", *(f"X{n}" for n in range(11)))]
    left = (*(CompactedMonth.skipped(month, "it is running") for month in months[1:]),)

    print_compaction(CompactionReport((CompactedMonth.skipped(months[0], "busy"), *left)), undo=False, as_json=False)

    assert capsys.readouterr().err.splitlines()[:2] == [
        "AAPL 2024-02 skipped: busy",
        "MSFT, X0, X1, X2, X3, X4, X5, X6, X7, X8 and 2 others 2024-02 skipped: it is running",
    ]


def test_months_that_are_one_file_already_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    months = [CompactedMonth(MonthPartition(Symbol("AAPL"), 2024, n), Condition.UNCHANGED) for n in (1, 2)]

    print_compaction(CompactionReport(tuple(months)), undo=False, as_json=False)

    assert capsys.readouterr().err == "no month was written as one file. 2 months are one file already\n"
