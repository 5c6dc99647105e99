from __future__ import annotations

import json

import pytest
from attrs import evolve

from marketpipe.ingestion.domain.official_days import OfficialDaysReport
from marketpipe.integration.domain.table_import import ImportPreview
from marketpipe.reports import ImportReport, IngestionReport
from marketpipe.shared_kernel.domain.errors import DatasetMismatchError
from marketpipe.shared_kernel.domain.symbol import Outcome, Symbol, SymbolDayOutcome
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.terminal.importing import naming_options, print_import, show_preview
from tests.support.builders import day

DAY = day("AAPL", "2024-01-02")
PREVIEW = ImportPreview(
    "import:mine",
    "raw",
    Timeframe.MINUTE_1,
    {"timestamp": "begin", "open": "open"},
    ignored=("Adj Close",),
    layout="Kibot",
    timezone="America/New_York",
    bars=390,
    symbols=(Symbol("AAPL"),),
    symbol_days=1,
    first=DAY.trading_date,
    last=DAY.trading_date,
    left_out={"days on which the exchange was closed": 2},
    notes=("a note",),
    sample=({"symbol": "AAPL", "open": 1.5},),
)
STORED = IngestionReport(1, "completed", 1, 0, 0, 0, 2.0, {DAY: SymbolDayOutcome(DAY, Outcome.COMPLETE, 390)})


def test_a_preview_shows_how_the_files_are_understood(capsys: pytest.CaptureFixture[str]) -> None:
    show_preview(PREVIEW)
    printed = capsys.readouterr().out
    for expected in (
        "store of    import:mine, prices raw\n",
        "columns     timestamp=begin, open\n",
        "ignored     Adj Close\n",
        "times       America/New_York, the left edge of each bar\n",
        "dates       2024-01-02 to 2024-01-02, 1 symbol-day\n",
        "left out: 2 bars of days on which the exchange was closed\n",
        "note: a note\n",
    ):
        assert expected in printed


def test_of_prices_only_what_is_known_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    show_preview(evolve(PREVIEW, price_unit="", adjustment="", questions=("the prices are whole numbers",)))
    shown = capsys.readouterr().out
    assert shown.startswith("store of    import:mine\n")
    assert "prices" not in shown


def test_what_was_stored_is_summed_up(capsys: pytest.CaptureFixture[str]) -> None:
    print_import(ImportReport(PREVIEW, STORED), as_json=False)
    printed = capsys.readouterr().out
    assert printed.startswith("job 1 completed. Symbol-days: 1 complete\n390 bars, 0 rejected, 2.0 s, 195 bars/s\n")
    assert "request" not in printed


def test_official_days_that_changed_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    official = OfficialDaysReport(1, 1, 0, (DAY,), {})
    report = ImportReport(evolve(PREVIEW, timeframe=Timeframe.DAY_1), evolve(STORED, official=official))
    print_import(report, as_json=False)
    assert "1 official day changed: if the store has minutes of them too" in capsys.readouterr().out


def test_what_failed_is_to_be_corrected_in_the_files(capsys: pytest.CaptureFixture[str]) -> None:
    official = OfficialDaysReport(1, 0, 0, (), {DAY: "its official day was rejected"})
    report = ImportReport(evolve(PREVIEW, timeframe=Timeframe.DAY_1), evolve(STORED, official=official))
    print_import(report, as_json=False)
    printed = capsys.readouterr().err
    assert printed.endswith("rejected\ncorrect what is wrong in the files, then run the same command again\n")


def test_questions_go_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    print_import(ImportReport(evolve(PREVIEW, questions=("which?",))), as_json=False)
    assert "question: which?\nnothing was written" in capsys.readouterr().err


def test_a_dry_run_says_that_nothing_was_written(capsys: pytest.CaptureFixture[str]) -> None:
    print_import(ImportReport(PREVIEW), as_json=False)
    assert "leave out --dry-run" in capsys.readouterr().out


def test_json_has_the_preview_and_the_ingestion(capsys: pytest.CaptureFixture[str]) -> None:
    print_import(ImportReport(PREVIEW, STORED), as_json=True)
    found = json.loads(capsys.readouterr().out)
    assert (found["ok"], found["preview"]["symbols"], found["ingestion"]["bars"]) == (True, ["AAPL"], 390)


@pytest.mark.parametrize(
    ("question", "shown"),
    [
        ('state it with timezone="…", such as UTC', "state it with --timezone …, such as UTC"),
        ('with columns={"open": "…", "low": "…"}', "with --map open=…,low=…"),
        ('state price_unit="dollars", "cents" or "nano-dollars"', "state --price-unit dollars, cents or nano-dollars"),
        ("State replace=True to replace them", "State --replace to replace them"),
        ('the table has a="1" and "b"', 'the table has a="1" and "b"'),
    ],
)
def test_questions_name_options(capsys: pytest.CaptureFixture[str], question: str, shown: str) -> None:
    report = ImportReport(evolve(PREVIEW, questions=(question,)))
    print_import(report, as_json=False)
    assert capsys.readouterr().err.startswith(f"question: {shown}\n")
    print_import(report, as_json=True)
    assert json.loads(capsys.readouterr().out)["preview"]["questions"] == [shown]
    with pytest.raises(DatasetMismatchError) as raised, naming_options():
        raise DatasetMismatchError(question)
    assert str(raised.value) == shown
