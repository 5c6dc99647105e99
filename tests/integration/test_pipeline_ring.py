"""A whole pipeline on real files: what is requested, what is stored, and what is recorded."""

from __future__ import annotations

from pathlib import Path

import pytest

from marketpipe.shared_kernel.domain.errors import (
    CredentialsError,
    DatasetMismatchError,
    ProviderUnavailableError,
)
from marketpipe.shared_kernel.domain.symbol import Outcome
from tests.support.builders import day
from tests.support.pipeline_ring import (
    FRIDAY,
    THURSDAY,
    TUESDAY,
    WEDNESDAY,
    config,
    contents,
    fingerprints,
    minutes,
    pipeline,
    stored_rows,
)
from tests.support.scripted_provider import Row, ScriptedProvider

WEEK = (TUESDAY, WEDNESDAY, THURSDAY, FRIDAY)


def market(*symbols: str, dates: tuple[str, ...] = WEEK) -> dict[str, dict[str, list[Row]]]:
    """A few bars for each symbol on each date, all of them different."""
    return {
        symbol: {date: minutes(date, 3, price=100.0 + 50 * i + j) for j, date in enumerate(dates)}
        for i, symbol in enumerate(symbols)
    }


def test_what_the_provider_says_is_what_is_stored(tmp_path: Path) -> None:
    provider = ScriptedProvider(market("AAPL", "MSFT"), page_size=5)

    with pipeline(config(tmp_path, ["AAPL", "MSFT"], TUESDAY, FRIDAY), provider) as made:
        report = made.ingest()
        loaded = made.load(["AAPL", "MSFT"], TUESDAY, FRIDAY)

    assert report.ok
    assert len(provider.requests) > 1
    assert provider.asked == [f"{symbol} {date}" for symbol in ("AAPL", "MSFT") for date in WEEK]
    for symbol, dates in provider.bars.items():
        for date, rows in dates.items():
            assert stored_rows(tmp_path, symbol, date) == rows
    everything = [{"symbol": s, **row} for s, dates in provider.bars.items() for rows in dates.values() for row in rows]
    assert loaded.to_pylist() == everything
    assert provider.closed


def test_the_report_counts_what_happened(tmp_path: Path) -> None:
    bars = market("AAPL", "MSFT", "NVDA", dates=(TUESDAY, WEDNESDAY))
    bars["MSFT"].pop(WEDNESDAY)
    bars["NVDA"][TUESDAY][0]["low"] = 500.0
    settings = config(tmp_path, ["AAPL", "MSFT", "NVDA", "BAD"], TUESDAY, WEDNESDAY)
    provider = ScriptedProvider(bars, errors={"BAD": ProviderUnavailableError("503")}, symbols_per_request=1)

    with pipeline(settings, provider) as made:
        made.ingest("AAPL")
        report = made.ingest()
        status = made.status()

    assert (report.state, report.ok) == ("failed", False)
    assert (report.planned, report.already_settled, report.bars, report.rejected) == (6, 2, 8, 1)
    assert {outcome: report.count(outcome) for outcome in Outcome} == {
        Outcome.COMPLETE: 3,
        Outcome.EMPTY: 1,
        Outcome.PARTIAL: 0,
        Outcome.FAILED: 2,
    }
    assert report.failures == {day("BAD", TUESDAY): "503", day("BAD", WEDNESDAY): "503"}
    assert [(s.symbol.value, s.complete, s.empty, s.failed, s.bars, s.rejected) for s in status.symbols] == [
        ("AAPL", 2, 0, 0, 6, 0),
        ("BAD", 0, 0, 2, 0, 0),
        ("MSFT", 1, 1, 0, 3, 0),
        ("NVDA", 2, 0, 0, 5, 1),
    ]
    assert [(job.state, job.planned, job.done, job.failed) for job in status.jobs] == [
        ("failed", 6, 4, 2),
        ("completed", 2, 2, 0),
    ]


def test_running_again_asks_for_nothing_and_changes_no_byte(tmp_path: Path) -> None:
    settings = config(tmp_path, ["AAPL", "MSFT"], TUESDAY, FRIDAY, timeframes=["5m", "1d"])
    bars = market("AAPL", "MSFT")
    bars["AAPL"][TUESDAY][1]["low"] = 500.0
    with pipeline(settings, ScriptedProvider(bars)) as first:
        first.ingest()
    before = fingerprints(tmp_path)
    assert {name.split("/")[0] for name in before} == {"data", "aggregates", "quarantine"}
    provider = ScriptedProvider(bars)

    with pipeline(settings, provider) as second:
        report = second.ingest()

    assert provider.requests == []
    assert (report.state, report.planned, report.already_settled) == ("completed", 0, 8)
    assert (report.aggregates.written, report.aggregates.unchanged) == (0, 4)
    assert fingerprints(tmp_path) == before


def test_extending_the_range_at_both_ends_asks_for_the_new_days_alone(tmp_path: Path) -> None:
    provider = ScriptedProvider(market("AAPL"))
    with pipeline(config(tmp_path, ["AAPL"], WEDNESDAY, THURSDAY), provider) as made:
        made.ingest()
        before = fingerprints(tmp_path)
        provider.forget()

        report = made.ingest(start=TUESDAY, end=FRIDAY)

    assert provider.asked == [f"AAPL {TUESDAY}", f"AAPL {FRIDAY}"]
    assert (report.planned, report.already_settled) == (2, 2)
    assert {name: stamp for name, stamp in fingerprints(tmp_path).items() if name in before} == before
    assert stored_rows(tmp_path, "AAPL", FRIDAY) == provider.bars["AAPL"][FRIDAY]


def test_a_new_symbol_asks_for_its_own_days_alone(tmp_path: Path) -> None:
    provider = ScriptedProvider(market("AAPL", "MSFT"))
    with pipeline(config(tmp_path, ["AAPL"], TUESDAY, FRIDAY), provider) as made:
        made.ingest()
        provider.forget()

        made.ingest(["AAPL", "MSFT"])

    assert provider.asked == [f"MSFT {date}" for date in WEEK]


def test_failed_symbol_days_are_asked_for_again_and_only_those(tmp_path: Path) -> None:
    provider = ScriptedProvider(
        market("AAPL", "MSFT"), errors={"MSFT": ProviderUnavailableError("503")}, symbols_per_request=1
    )
    with pipeline(config(tmp_path, ["AAPL", "MSFT"], TUESDAY, FRIDAY), provider) as made:
        assert made.ingest().count(Outcome.FAILED) == 4
        provider.forget()
        provider.errors.clear()

        report = made.ingest()

    assert provider.asked == [f"MSFT {date}" for date in WEEK]
    assert report.ok
    assert stored_rows(tmp_path, "MSFT", TUESDAY) == provider.bars["MSFT"][TUESDAY]


def test_empty_days_are_remembered_and_not_asked_for_again(tmp_path: Path) -> None:
    provider = ScriptedProvider(market("AAPL", dates=(TUESDAY, FRIDAY)))
    with pipeline(config(tmp_path, ["AAPL"], TUESDAY, FRIDAY), provider) as made:
        assert made.ingest().count(Outcome.EMPTY) == 2
        provider.forget()

        report = made.ingest()

    assert provider.requests == []
    assert (report.ok, report.already_settled) == (True, 4)


def test_a_lost_state_file_costs_requests_and_never_a_bar(tmp_path: Path) -> None:
    settings = config(tmp_path, ["AAPL"], TUESDAY, FRIDAY)
    provider = ScriptedProvider(market("AAPL"))
    with pipeline(settings, provider) as made:
        made.ingest()
    before = contents(tmp_path)
    settings.state_path.unlink()
    provider.forget()

    with pipeline(settings, provider) as made:
        report = made.ingest()

    assert provider.asked == [f"AAPL {date}" for date in WEEK]
    assert (report.ok, report.bars) == (True, 12)
    assert contents(tmp_path) == before


def test_a_refused_symbol_fails_alone(tmp_path: Path) -> None:
    provider = ScriptedProvider(market("AAPL", "MSFT", dates=(TUESDAY,)), refused={"OOPS": "invalid symbol: OOPS"})
    with pipeline(config(tmp_path, ["AAPL", "MSFT", "OOPS"], TUESDAY, TUESDAY), provider) as made:
        report = made.ingest()

    assert len(provider.requests) == 1
    assert report.failures == {day("OOPS", TUESDAY): "invalid symbol: OOPS"}
    assert report.count(Outcome.COMPLETE) == 2


def test_refused_credentials_are_raised_and_what_came_before_stays(tmp_path: Path) -> None:
    settings = config(tmp_path, ["AAPL", "MSFT"], TUESDAY, TUESDAY, workers=1)
    bars = market("AAPL", "MSFT", dates=(TUESDAY,))
    provider = ScriptedProvider(bars, errors={2: CredentialsError("401")}, symbols_per_request=1)

    with pipeline(settings, provider) as made:
        with pytest.raises(CredentialsError, match="401"):
            made.ingest()
        assert [(job.state, job.planned, job.done, job.failed) for job in made.status().jobs] == [("failed", 2, 1, 1)]
        report = made.ingest()

    assert stored_rows(tmp_path, "AAPL", TUESDAY) == bars["AAPL"][TUESDAY]
    assert (report.planned, report.already_settled) == (1, 1)


def test_another_dataset_is_refused_before_anything_is_touched(tmp_path: Path) -> None:
    settings = config(tmp_path, ["AAPL"], TUESDAY, FRIDAY)
    with pipeline(settings, ScriptedProvider(market("AAPL"))) as made:
        made.ingest()
    before, state_before = fingerprints(tmp_path), settings.state_path.read_bytes()
    provider = ScriptedProvider(market("AAPL"), feed="another")

    with (
        pipeline(settings, provider) as made,
        pytest.raises(DatasetMismatchError, match="adjustment raw, not that of provider scripted, feed another"),
    ):
        made.ingest(end="2024-01-08")

    assert provider.requests == []
    assert fingerprints(tmp_path) == before
    assert settings.state_path.read_bytes() == state_before


def test_empty_days_of_one_feed_say_nothing_of_another(tmp_path: Path) -> None:
    settings = config(tmp_path, ["AAPL"], TUESDAY, FRIDAY)
    with pipeline(settings, ScriptedProvider({})) as made:
        assert made.ingest().count(Outcome.EMPTY) == len(WEEK)

    provider = ScriptedProvider(market("AAPL"), feed="another")
    with pipeline(settings, provider) as made, pytest.raises(DatasetMismatchError, match="has checkpoints of"):
        made.ingest()
    assert provider.requests == []


def test_the_same_bars_give_the_same_bytes_whatever_the_pages_and_the_workers(tmp_path: Path) -> None:
    trees = []
    for number, (page_size, workers) in enumerate([(10_000, 1), (1, 1), (2, 4), (5, 3)]):
        root = tmp_path / str(number)
        settings = config(root, ["AAPL", "MSFT"], TUESDAY, FRIDAY, workers=workers, timeframes=["1h"])
        with pipeline(settings, ScriptedProvider(market("AAPL", "MSFT"), page_size=page_size)) as made:
            assert made.ingest().ok
        trees.append(contents(root))

    assert len(trees[0]) == 8 + 2
    assert trees == [trees[0]] * 4
