"""The exchange's official days from the provider to disk, state and planning, with small real stores."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from marketpipe import composition, place_parts
from marketpipe.pipeline import Pipeline
from marketpipe.shared_kernel.domain.errors import (
    BadRequestError,
    CredentialsError,
    DatasetMismatchError,
    EntitlementError,
    ProviderUnavailableError,
)
from marketpipe.shared_kernel.domain.ohlcv_bar import OfficialDay
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.storage.domain.integrity import Damage
from marketpipe.storage.infrastructure.official.official_reader import OfficialRows
from marketpipe.testing import FakeClock, bar
from tests.support.pipeline_ring import config, contents, minutes, pipeline
from tests.support.scripted_provider import Row, ScriptedProvider

FRIDAY, MONDAY, TUESDAY = "2024-03-08", "2024-03-11", "2024-03-12"  # clocks changed on the Sunday between
DATES = (FRIDAY, MONDAY, TUESDAY)
EVENING = "2024-03-13T02:00:00Z"
AAPL, MSFT = "AAPL", "MSFT"


def official(date: str, price: float = 100.0, **changes: Any) -> Row:
    return bar(str(TradingDate.parse(date).midnight), price, **changes)


def market(*symbols: str, dates: tuple[str, ...] = DATES, **more: Any) -> ScriptedProvider:
    bars = {symbol: {date: minutes(date) for date in dates} for symbol in symbols}
    days = {symbol: {date: official(date) for date in dates} for symbol in symbols}
    return ScriptedProvider(bars, **{"official": days, **more})


def made(
    root: Path, provider: ScriptedProvider, *symbols: str, clock: FakeClock | None = None, **more: Any
) -> Pipeline:
    settings = config(
        root,
        symbols or (AAPL, MSFT),
        DATES[0],
        more.pop("end", DATES[-1]),
        **{"official_path": root / "official", **more},
    )
    return pipeline(settings, provider, clock or FakeClock(EVENING))


def rows(root: Path, symbol: str = AAPL, year: int = 2024) -> list[Row]:
    return list(pq.ParquetFile(root / "official" / f"symbol={symbol}" / f"year={year}.parquet").read().to_pylist())


def closes(root: Path, symbol: str = AAPL) -> dict[str, float]:
    return {str(TradingDate.of(Timestamp(row["timestamp"]))): row["close"] for row in rows(root, symbol)}


def known(opened: Pipeline, symbol: str = AAPL, first: str = FRIDAY, last: str = TUESDAY) -> dict[str, Any]:
    parts = opened._parts
    reader = composition.stored_official_days(parts, place_parts.state(parts))
    found = reader.between(Symbol(symbol), TradingDate.parse(first), TradingDate.parse(last))
    return {str(date): None if day is None else day.close for date, day in found.items()}


def asked(provider: ScriptedProvider) -> list[str]:
    return sorted(str(day) for request in provider.official_requests for day in request.symbol_days)


def test_one_request_brings_the_days_of_all_symbols_and_a_second_ingestion_requests_nothing(tmp_path: Path) -> None:
    provider = market(AAPL, MSFT)
    with made(tmp_path, provider) as opened:
        report = opened.ingest()
        assert known(opened) == dict.fromkeys(DATES, 100.5)
        provider.forget()
        again = opened.ingest()

    assert report.ok
    assert (report.official.requested, report.official.answered) == (6, 6)
    assert closes(tmp_path, MSFT) == dict.fromkeys(DATES, 100.5)
    assert again.ok
    assert provider.requests == provider.official_requests == []


def test_a_provider_without_official_days_is_asked_for_minutes_only(tmp_path: Path) -> None:
    provider = market(AAPL, official=None)
    with made(tmp_path, provider, AAPL) as opened:
        assert opened.plan().official_days == 0
        assert opened.ingest().ok
        assert opened.update().ok

    assert provider.official_requests == []
    assert not (tmp_path / "official").exists()


def test_the_plan_says_what_official_days_cost(tmp_path: Path) -> None:
    with made(tmp_path, market(AAPL, MSFT)) as opened:
        plan = opened.plan()
        assert (plan.official_days, plan.official_requests) == (6, 1)
        opened.ingest()
        plan = opened.plan()
        assert (plan.official_days, plan.official_requests) == (0, 0)


def test_a_day_that_is_not_final_is_not_requested(tmp_path: Path) -> None:
    clock = FakeClock("2024-03-12T18:00:00Z")
    provider = market(AAPL, delay=timedelta(minutes=15))
    with made(tmp_path, provider, AAPL, clock=clock) as opened:
        opened.ingest()
        assert known(opened) == dict.fromkeys(DATES[:2], 100.5)

    assert asked(provider) == [f"AAPL {FRIDAY}", f"AAPL {MONDAY}"]


def test_a_day_without_a_bar_is_known_to_have_none(tmp_path: Path) -> None:
    provider = market(AAPL, MSFT)
    del provider.official[AAPL][MONDAY], provider.official[MSFT]
    with made(tmp_path, provider) as opened:
        assert opened.ingest().ok
        assert known(opened) == {FRIDAY: 100.5, MONDAY: None, TUESDAY: 100.5}
        assert known(opened, MSFT) == dict.fromkeys(DATES)
        provider.forget()
        opened.ingest()

    assert provider.official_requests == []
    assert not (tmp_path / "official" / "symbol=MSFT").exists()


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ([official(MONDAY, high=90.0)], "a high below"),
        ([official(MONDAY, low=200.0)], "a low above"),
        ([official(MONDAY, open=-1.0, low=-2.0)], "minimum of 0"),
        ([official(MONDAY, volume=-1.0)], "volume"),
        ([official(MONDAY), official(MONDAY, 101.0)], "one of several"),
        ([bar("2024-03-11T05:00:00Z")], "not stamped New York midnight"),  # the midnight of winter time
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_rejected_day_fails_alone_and_is_requested_again(tmp_path: Path, wrong: list[Row], reason: str) -> None:
    provider = market(AAPL, MSFT)
    provider.official[AAPL][MONDAY] = wrong
    with made(tmp_path, provider) as opened:
        report = opened.ingest()
        assert known(opened) == {FRIDAY: 100.5, TUESDAY: 100.5}
        assert known(opened, MSFT) == dict.fromkeys(DATES, 100.5)
        provider.forget()
        provider.official[AAPL][MONDAY] = official(MONDAY, 50.0)
        healed = opened.ingest()
        assert known(opened) == {FRIDAY: 100.5, MONDAY: 50.5, TUESDAY: 100.5}

    ((day, why),) = report.official.failures.items()
    assert not report.ok
    assert report.state == "completed"  # no minute failed
    assert str(day) == f"AAPL {MONDAY}"
    assert reason in why
    assert asked(provider) == [f"AAPL {MONDAY}"]
    assert healed.ok
    assert not (tmp_path / "quarantine" / "symbol=AAPL" / "year=2024.parquet").exists()


def test_rejected_days_are_in_quarantine_with_rule_and_reason(tmp_path: Path) -> None:
    provider = market(AAPL)
    provider.official[AAPL][MONDAY] = official(MONDAY, high=90.0)
    with made(tmp_path, provider, AAPL) as opened:
        opened.ingest()

    (row,) = pq.ParquetFile(tmp_path / "quarantine" / "symbol=AAPL" / "year=2024.parquet").read().to_pylist()
    assert (row["rule"], row["severity"]) == ("high_is_highest", "error")
    assert row["high"] == 90.0


@pytest.mark.parametrize("error", [ProviderUnavailableError("down"), EntitlementError("plan"), BadRequestError("what")])
def test_failing_official_days_lose_no_minute_and_are_requested_next_time(tmp_path: Path, error: Exception) -> None:
    provider = market(AAPL, MSFT, official_errors=dict.fromkeys(range(1, 40), error))
    with made(tmp_path, provider) as opened:
        report = opened.ingest()
        provider.official_errors.clear()
        healed = opened.ingest()
        assert known(opened) == dict.fromkeys(DATES, 100.5)

    assert report.state == "completed"
    assert not report.ok
    assert len(report.official.failures) == 6
    assert len(report.outcomes) == 6
    assert healed.ok
    assert healed.planned == 0


def test_refused_keys_end_the_ingestion(tmp_path: Path) -> None:
    with made(tmp_path, market(AAPL, official_errors={1: CredentialsError("no")}), AAPL) as opened:
        with pytest.raises(CredentialsError):
            opened.ingest()
        assert opened.ingest().ok


def test_a_refused_symbol_blocks_no_other(tmp_path: Path) -> None:
    provider = market(AAPL, MSFT, refused={MSFT: "invalid symbol: MSFT"})
    with made(tmp_path, provider) as opened:
        report = opened.ingest()
        assert known(opened) == dict.fromkeys(DATES, 100.5)
        assert known(opened, MSFT) == {}

    assert {str(day) for day in report.official.failures} == {f"MSFT {date}" for date in DATES}


def test_an_update_finds_what_the_provider_has_changed_and_requests_its_minutes_again(tmp_path: Path) -> None:
    provider = market(AAPL, MSFT)
    clock = FakeClock(EVENING)
    with made(tmp_path, provider, clock=clock) as opened:
        opened.ingest()
        before = clock.now()
        clock.advance(3600.0)
        provider.forget()
        provider.official[AAPL][MONDAY] = official(MONDAY, 70.0)
        provider.bars[AAPL][MONDAY] = minutes(MONDAY, 5)
        report = opened.update()
        assert len(provider.official_requests) == 1
        assert provider.asked == [f"AAPL {MONDAY}"]
        reader = OfficialRows(place_parts.layout(opened._parts))

    assert report.ok
    assert [str(day) for day in report.official.changed] == [f"AAPL {MONDAY}"]
    assert closes(tmp_path) == {FRIDAY: 100.5, MONDAY: 70.5, TUESDAY: 100.5}
    former = reader.of(Symbol(AAPL), 2024, 2024, before)
    assert former["close"].to_pylist() == [100.5, 100.5, 100.5]
    assert reader.of(Symbol(AAPL), 2024, 2024)["close"].to_pylist() == [100.5, 70.5, 100.5]
    assert len(reader.of(Symbol(AAPL), 2024, 2024, before.plus(timedelta(days=-9)))) == 0


def test_a_suspect_day_is_requested_again_with_its_official_day(tmp_path: Path) -> None:
    provider = market(AAPL, MSFT)
    provider.official[AAPL][FRIDAY] = official(FRIDAY, 50.0)
    with made(tmp_path, provider) as opened:
        opened.ingest()
        provider.forget()
        provider.official[AAPL][FRIDAY] = official(FRIDAY)
        assert opened.plan(retry_suspect=True).official_days == 1
        report = opened.ingest(retry_suspect=True)

        assert asked(provider) == provider.asked == [f"AAPL {FRIDAY}"]
        assert [str(day) for day in report.official.changed] == [f"AAPL {FRIDAY}"]
        assert opened.coverage().ok


def test_a_withdrawn_day_is_gone_now_and_there_as_of_then(tmp_path: Path) -> None:
    provider = market(AAPL)
    clock = FakeClock(EVENING)
    with made(tmp_path, provider, AAPL, clock=clock) as opened:
        opened.ingest()
        before = clock.now()
        for date in DATES:
            clock.advance(3600.0)
            del provider.official[AAPL][date]
            opened.update()
        assert known(opened) == dict.fromkeys(DATES)
        reader = OfficialRows(place_parts.layout(opened._parts))
        assert len(reader.of(Symbol(AAPL), 2024, 2024, before)) == 3
        assert len(reader.of(Symbol(AAPL), 2024, 2024, clock.now())) == 0
        provider.official[AAPL][FRIDAY] = official(FRIDAY, 10.0)
        opened.update()
        assert known(opened) == {FRIDAY: 10.5, MONDAY: None, TUESDAY: None}


def test_minutes_of_a_changed_day_are_requested_by_the_next_job_if_this_one_dies(tmp_path: Path) -> None:
    provider = market(AAPL)
    with made(tmp_path, provider, AAPL) as opened:
        opened.ingest()
    provider.official[AAPL][MONDAY] = official(MONDAY, 70.0)
    provider.errors[AAPL] = ProviderUnavailableError("down")
    with made(tmp_path, provider, AAPL) as opened:
        assert not opened.update().ok
        provider.errors.clear()
        provider.forget()
        assert opened.ingest().ok

    assert provider.asked == [f"AAPL {MONDAY}"]


@pytest.mark.parametrize("change", ["gone", "altered", "cut", "other values"])
def test_days_of_a_lost_file_are_not_known_and_are_requested_again(tmp_path: Path, change: str) -> None:
    provider = market(AAPL, MSFT)
    path = tmp_path / "official" / "symbol=AAPL" / "year=2024.parquet"
    with made(tmp_path, provider) as opened:
        opened.ingest()
        whole = path.read_bytes()
        damage = {"gone": None, "altered": whole + b"x", "cut": whole[:200], "other values": b"nothing"}[change]
        path.unlink()
        if damage is not None:
            path.write_bytes(damage)
        assert known(opened) == {}
        assert known(opened, MSFT) == dict.fromkeys(DATES, 100.5)
        provider.forget()
        assert opened.ingest().ok
        assert known(opened) == dict.fromkeys(DATES, 100.5)

    assert asked(provider) == [f"AAPL {date}" for date in DATES]
    assert path.read_bytes() == whole


def test_a_file_that_a_crash_left_without_a_record_keeps_its_days(tmp_path: Path) -> None:
    provider = market(AAPL)
    with made(tmp_path, provider, AAPL) as opened:
        opened.ingest(end=MONDAY)
        place_parts.state(opened._parts).official_years.forget(Symbol(AAPL))
        assert known(opened) == {}
        opened.ingest(start=TUESDAY)
        assert known(opened) == dict.fromkeys(DATES, 100.5)

    assert closes(tmp_path) == dict.fromkeys(DATES, 100.5)


def test_a_copy_without_times_is_believed(tmp_path: Path) -> None:
    provider = market(AAPL)
    path = tmp_path / "official" / "symbol=AAPL" / "year=2024.parquet"
    with made(tmp_path, provider, AAPL) as opened:
        opened.ingest()
        path.write_bytes(path.read_bytes())
        assert known(opened) == dict.fromkeys(DATES, 100.5)


def test_a_file_of_another_dataset_is_not_overwritten(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    with made(tmp_path / "one", market(AAPL), AAPL, official_path=shared) as opened:
        assert opened.ingest().ok
    before = contents(shared)
    with (
        made(tmp_path / "other", market(AAPL, feed="other"), AAPL, official_path=shared) as opened,
        pytest.raises(DatasetMismatchError, match="give another official_path"),
    ):
        opened.ingest()

    assert contents(shared) == before


def test_years_have_files_of_their_own(tmp_path: Path) -> None:
    dates = ("2023-12-29", "2024-01-02")
    provider = market(AAPL, dates=dates)
    with made(tmp_path, provider, AAPL) as opened:
        assert opened.ingest(start=dates[0], end=dates[1]).ok
        assert known(opened, first=dates[0], last=dates[1]) == dict.fromkeys(dates, 100.5)
        assert known(opened, first=dates[1], last=dates[1]) == {dates[1]: 100.5}

    assert len(rows(tmp_path, year=2023)) == len(rows(tmp_path, year=2024)) == 1
    assert len(provider.official_requests) == 1


def test_all_values_come_back(tmp_path: Path) -> None:
    provider = market(AAPL)
    provider.official[AAPL][FRIDAY] = official(FRIDAY, 0.1, volume=2.5, trade_count=None, vwap=None, low=0.05, high=7.3)
    with made(tmp_path, provider, AAPL) as opened:
        opened.ingest()
        parts = opened._parts
        reader = composition.stored_official_days(parts, place_parts.state(parts))
        friday = TradingDate.parse(FRIDAY)
        assert reader.between(Symbol(AAPL), friday, friday) == {friday: OfficialDay(0.1, 7.3, 0.05, 0.6, 2.5)}


@pytest.mark.parametrize("verified", [False, True])
def test_a_file_that_is_newer_than_its_record_is_requested_again_and_healed(tmp_path: Path, verified: bool) -> None:
    """As after a process that was killed between the two."""
    provider, state = market(AAPL), tmp_path / "state" / "marketpipe.sqlite"
    with made(tmp_path, provider, AAPL, end=MONDAY) as opened:
        opened.ingest()
    with closing(sqlite3.connect(state)) as connection:
        (former,) = connection.execute("SELECT * FROM official_years").fetchall()
    with made(tmp_path, provider, AAPL) as opened:
        opened.ingest()
    before = contents(tmp_path)
    with closing(sqlite3.connect(state)) as connection, connection:
        connection.execute(f"REPLACE INTO official_years VALUES ({', '.join('?' * len(former))})", former)

    with made(tmp_path, provider, AAPL) as opened:
        assert known(opened) == {}, "the record is of another file"
        assert not verified or not opened.verify().ok
        assert opened.ingest().ok
        assert known(opened) == dict.fromkeys(DATES, 100.5)
        assert opened.verify().ok
        assert opened.coverage().ok
    assert contents(tmp_path) == before


def test_verify_reads_the_files_of_official_days(tmp_path: Path) -> None:
    provider = market(AAPL)
    provider.official[AAPL][MONDAY] = official(MONDAY, high=90.0)
    with made(tmp_path, provider, AAPL) as opened:
        opened.ingest()
        assert opened.verify().ok
        (tmp_path / "official" / "symbol=AAPL" / "year=24.parquet").write_bytes(b"?")
        history = tmp_path / "revisions" / "symbol=AAPL" / "year=2024" / "known_since.csv"
        history.write_bytes(history.read_bytes().replace(b"100.5", b"100.6", 1))
        problems = {problem.path for problem in opened.verify().problems}

    assert problems == {"official/symbol=AAPL/year=24.parquet", "revisions/symbol=AAPL/year=2024/known_since.csv"}


@pytest.mark.parametrize("change", ["gone", "altered", "rotted"])
def test_verify_compares_official_days_with_their_record_and_the_next_ingestion_heals_them(
    tmp_path: Path, change: str
) -> None:
    provider = market(AAPL)
    path = tmp_path / "official" / "symbol=AAPL" / "year=2024.parquet"
    with made(tmp_path, provider, AAPL) as opened:
        opened.ingest()
        content, times = path.read_bytes(), path.stat()
        path.unlink()
        if change != "gone":
            path.write_bytes(content.replace(content[40:44], bytes(4), 1))
        if change == "rotted":
            os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
        problems = {problem.path: problem.damage for problem in opened.verify().problems}
        opened.ingest()
        assert opened.verify().ok

    expected = Damage.GONE if change == "gone" else Damage.ALTERED
    assert expected in problems.values()
    assert set(problems) == {"official/symbol=AAPL/year=2024.parquet"}
    assert path.read_bytes() == content


def test_recover_records_the_official_days_of_the_files(tmp_path: Path) -> None:
    provider = market(AAPL, MSFT)
    with made(tmp_path, provider) as opened:
        opened.ingest()
    for file in (tmp_path / "state").glob("marketpipe.sqlite*"):
        file.unlink()
    provider.forget()
    with made(tmp_path, provider) as opened:
        assert opened.recover().ok
        assert known(opened) == dict.fromkeys(DATES, 100.5)
        assert opened.verify().ok
        opened.ingest()

    assert provider.official_requests == []


@pytest.mark.parametrize("shift", [5.0, -20.0])
def test_an_adopted_day_gets_the_official_day_that_was_restated_with_it(tmp_path: Path, shift: float) -> None:
    """It is older than what updates request again: nothing else would ever ask for it."""
    provider = market(AAPL, MSFT)
    with made(tmp_path, provider) as opened:
        opened.ingest()
        restated = [
            {**row, **{name: row[name] + shift for name in ("open", "high", "low", "close", "vwap")}}
            for row in minutes(MONDAY)
        ]
        provider.bars[AAPL][MONDAY], provider.official[AAPL][MONDAY] = restated, official(MONDAY, 100.0 + shift)
        provider.forget()
        report = opened.audit(AAPL, FRIDAY, TUESDAY, adopt=True)
        assert known(opened) == {FRIDAY: 100.5, MONDAY: 100.5 + shift, TUESDAY: 100.5}
        assert report.adopted is not None
        assert report.adopted.ok
        assert [str(day) for day in report.adopted.official.changed] == [f"AAPL {MONDAY}"]
        assert asked(provider) == [f"AAPL {MONDAY}"]
        assert opened.ingest().planned == 0


def test_a_day_between_adopted_ones_whose_official_day_has_changed_is_requested_too(tmp_path: Path) -> None:
    provider = market(AAPL)
    with made(tmp_path, provider, AAPL) as opened:
        opened.ingest()
        for date in (FRIDAY, TUESDAY):
            provider.bars[AAPL][date] = [{**row, "volume": row["volume"] + 1} for row in minutes(date)]
        provider.official[AAPL][MONDAY] = official(MONDAY, 70.0)
        provider.forget()
        report = opened.audit(AAPL, FRIDAY, TUESDAY, adopt=True)
        assert known(opened)[MONDAY] == 70.5
        assert report.adopted is not None
        assert {str(day) for day in report.adopted.outcomes} == {f"AAPL {date}" for date in DATES}
        assert opened.ingest().planned == 0
