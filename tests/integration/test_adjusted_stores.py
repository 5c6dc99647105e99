"""A store of adjusted prices has one scale, whatever the provider adjusts, and wherever a run is killed."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from marketpipe import Pipeline, Suspicion, Symbol
from marketpipe.ingestion.domain.restatement import FORMER_SCALE, RestatementKind
from marketpipe.shared_kernel.domain.errors import BadRequestError, ProviderUnavailableError
from marketpipe.shared_kernel.events import BarsStored, SymbolDaysRecorded
from marketpipe.testing import FakeClock, sessions
from tests.support.adjusting_provider import Action, AdjustingProvider
from tests.support.builders import day
from tests.support.examples import some
from tests.support.pipeline_ring import config, minutes, pipeline

SESSIONS = [str(session.trading_date) for session in sessions("2024-01-02", "2024-01-12")]
AFTERWARDS = "2024-02-01T12:00:00Z"
PRICES = ("open", "high", "low", "close", "vwap")
SPLIT, REVERSE, DIVIDEND, TINY = (0.1, 10.0), (3.0, 1 / 3), (0.985, 1.0), (0.9999, 1.0)


class Killed(BaseException):
    """Not a MarketPipeError: nothing handles it."""


def history(symbols: Sequence[str], bars: int = 12) -> dict[str, dict[str, list[dict[str, Any]]]]:
    return {
        symbol: {date: minutes(date, bars, price=140.01 + 7 * i + n) for n, date in enumerate(SESSIONS)}
        for i, symbol in enumerate(symbols)
    }


def store(
    root: Path, provider: AdjustingProvider, symbols: Sequence[str] = ("AAPL", "MSFT"), **changes: Any
) -> Pipeline:
    clock = FakeClock(AFTERWARDS)
    return pipeline(config(root, symbols, SESSIONS[0], SESSIONS[-1], **{"workers": 1, **changes}), provider, clock)


def expected(provider: AdjustingProvider, symbol: str, dates: Sequence[str]) -> list[float]:
    raw = provider.bars[symbol]
    return [provider.adjusted(symbol, date, row)["close"] for date in dates for row in raw[date]]


def in_former_scale(made: Pipeline, end: str) -> list[str]:
    days = (found for found in made.coverage(end=end).days() if found.finding.suspicion is Suspicion.FORMER_SCALE)
    return [str(found.symbol_day.trading_date) for found in days]


def loaded(made: Pipeline, symbol: str, as_of: Any = None) -> list[float]:
    found: list[float] = made.load(symbol, SESSIONS[0], SESSIONS[-1], as_of=as_of)["close"].to_pylist()
    return found


POSITIONS = st.integers(1, len(SESSIONS) - 1)
ACTIONS = st.tuples(POSITIONS, st.sampled_from([SPLIT, REVERSE, DIVIDEND, TINY]))


@settings(max_examples=2)
@given(st.lists(ACTIONS, min_size=1, max_size=2), st.lists(POSITIONS, min_size=1, max_size=2, unique=True))
@example([(1, TINY)], [8])
@example([(8, SPLIT)], [8])
@example([(3, DIVIDEND), (6, SPLIT)], [2, 5])
def test_after_every_ingestion_all_bars_are_in_the_scale_of_the_provider(
    actions: list[tuple[int, tuple[float, float]]], ends: list[int]
) -> None:
    """The provider learns of an action between two ingestions, of days before or after those that are stored."""
    with tempfile.TemporaryDirectory() as folder:
        provider = AdjustingProvider(history(["AAPL"]))
        with store(Path(folder), provider, ["AAPL"]) as made:
            known = [None, *actions]
            for number, end in enumerate([*sorted(ends), len(SESSIONS)]):
                if number < len(known) and (action := known[number]) is not None:
                    place, factors = action
                    provider.actions.setdefault("AAPL", []).append(Action(SESSIONS[place], *factors))
                made.ingest(end=SESSIONS[end - 1])

                assert loaded(made, "AAPL") == expected(provider, "AAPL", SESSIONS[:end])
                assert not in_former_scale(made, SESSIONS[end - 1])


@pytest.mark.parametrize(
    ("factors", "kind"),
    [(SPLIT, RestatementKind.SPLIT), (DIVIDEND, RestatementKind.DIVIDEND), (TINY, RestatementKind.DIVIDEND)],
)
def test_the_report_names_the_symbol_and_no_other_is_requested_again(
    tmp_path: Path, factors: tuple[float, float], kind: RestatementKind
) -> None:
    provider = AdjustingProvider(history(["AAPL", "MSFT"]))
    with store(tmp_path, provider) as made:
        made.ingest(end=SESSIONS[4])
        before, moment = loaded(made, "AAPL"), FakeClock(AFTERWARDS).now()
        provider.actions["AAPL"] = [Action(SESSIONS[5], *factors)]
        provider.forget()

        report = made.ingest()

        (found,) = report.readjusted
        assert (found.symbol, found.restatement.kind, report.ok) == (Symbol("AAPL"), kind, True)
        assert found.restatement.ratio == pytest.approx(factors[0], rel=1e-3)
        assert (str(found.first), str(found.last)) == (SESSIONS[0], SESSIONS[4])
        assert loaded(made, "AAPL") == expected(provider, "AAPL", SESSIONS)
        again = [asked for asked in provider.asked if asked.split()[1] in SESSIONS[:5]]
        assert len(again) == 4 + 5  # the oldest and the newest day of both, and all days of one
        assert made.load("AAPL", SESSIONS[0], SESSIONS[4], as_of=moment)["close"].to_pylist() == before
        assert made.ingest().readjusted == ()


def test_a_correction_of_single_bars_is_no_adjustment(tmp_path: Path) -> None:
    provider = AdjustingProvider(history(["AAPL"], bars=60))
    with store(tmp_path, provider, ["AAPL"]) as made:
        made.ingest(end=SESSIONS[4])
        for number in (7, 8, 30):
            row = provider.bars["AAPL"][SESSIONS[0]][number]
            row.update({"close": row["close"] + 0.02, "high": row["high"] + 0.02})

        assert made.ingest().readjusted == ()


def test_a_run_that_lacks_nothing_compares_nothing_and_raw_prices_are_never_compared(tmp_path: Path) -> None:
    provider = AdjustingProvider(history(["AAPL"]))
    with store(tmp_path, provider, ["AAPL"]) as made:
        made.ingest()
        provider.forget()
        made.ingest()

        assert provider.requests == []


@pytest.mark.parametrize("way", ["hole", "update", "retry"])
def test_whatever_makes_the_store_grow_it_is_compared_before(tmp_path: Path, way: str) -> None:
    provider = AdjustingProvider(history(["AAPL"]))
    with store(tmp_path, provider, ["AAPL"]) as made:
        made.ingest(end=SESSIONS[2])
        made.ingest(start=SESSIONS[5])
        provider.actions["AAPL"] = [Action("2024-01-16", *SPLIT)]
        if way == "update":
            provider.bars["AAPL"]["2024-01-16"] = minutes("2024-01-16", 12, price=15.0)
            made.update()
        else:
            made.ingest(start=SESSIONS[3], end=SESSIONS[4], retry_suspect=way == "retry")
        stored = [date for date in SESSIONS if way != "update" or date not in SESSIONS[3:5]]

        assert loaded(made, "AAPL") == expected(provider, "AAPL", stored)


def kill(made: Pipeline, event: type, number: int) -> None:
    """Stop the handlers at the ``number``-th of these events, as if the process had died there."""
    seen = []

    def note(_: object) -> None:
        seen.append(1)
        if len(seen) == number:
            raise Killed

    made._parts.bus.subscribe(event, note)


@pytest.mark.parametrize(("number", "keeps_state"), some([(3, False), (1, True), (6, True), (2, False)]))
def test_a_run_that_is_killed_is_finished_by_the_next_one(tmp_path: Path, number: int, keeps_state: bool) -> None:
    page = 12  # one symbol-day
    provider = AdjustingProvider(history(["AAPL"]), page=page)
    clock = FakeClock(AFTERWARDS)
    settings_ = config(tmp_path, ["AAPL"], SESSIONS[0], SESSIONS[-1], workers=1)
    with pipeline(settings_, provider, clock) as made:
        made.ingest(end=SESSIONS[-2])
        before, moment = loaded(made, "AAPL"), clock.now()
    clock.advance(60)
    provider.actions["AAPL"] = [Action(SESSIONS[-1], *SPLIT)]
    with pipeline(settings_, provider, clock) as made:
        kill(made, SymbolDaysRecorded if number % 2 else BarsStored, number)
        with pytest.raises(Killed):
            made.ingest()
        assert in_former_scale(made, SESSIONS[-2])
        assert loaded(made, "AAPL", as_of=moment) == before
    if not keeps_state:
        for file in settings_.state_path.parent.iterdir():
            file.unlink()
        with pipeline(settings_, provider, clock) as made:
            made.recover()

    with pipeline(settings_, provider, clock) as made:
        assert made.ingest().ok

        assert loaded(made, "AAPL") == expected(provider, "AAPL", SESSIONS)
        assert loaded(made, "AAPL", as_of=moment) == before
        assert not in_former_scale(made, SESSIONS[-1])


def test_a_symbol_whose_history_cannot_be_renewed_does_not_grow(tmp_path: Path) -> None:
    provider = AdjustingProvider(history(["AAPL", "MSFT"]))
    with store(tmp_path, provider) as made:
        made.ingest(end=SESSIONS[4])
        provider.errors["AAPL"] = ProviderUnavailableError("down")

        report = made.ingest()

        assert not report.ok
        assert any("could not be compared" in reason for reason in report.failures.values())
        assert len(loaded(made, "AAPL")) == 5 * 12
        assert loaded(made, "MSFT") == expected(provider, "MSFT", SESSIONS)
        provider.errors.clear()
        assert made.ingest().ok
        assert loaded(made, "AAPL") == expected(provider, "AAPL", SESSIONS)


def test_an_adopted_audit_renews_the_whole_history_of_a_symbol_that_was_adjusted(tmp_path: Path) -> None:
    provider = AdjustingProvider(history(["AAPL"]))
    with store(tmp_path, provider, ["AAPL"]) as made:
        made.ingest()
        provider.actions["AAPL"] = [Action("2024-01-16", *DIVIDEND)]

        report = made.audit(start=SESSIONS[3], end=SESSIONS[3], adopt=True)

        assert report.adopted is not None
        assert report.adopted.ok
        assert loaded(made, "AAPL") == expected(provider, "AAPL", SESSIONS)


def with_a_late_day(provider: AdjustingProvider, made: Pipeline) -> None:
    """The provider had no bars of one day at first; when it has them, it has adjusted the prices too."""
    late, provider.bars = provider.bars, {"AAPL": {**provider.bars["AAPL"], SESSIONS[2]: []}}
    made.ingest()
    assert len(loaded(made, "AAPL")) == 12 * (len(SESSIONS) - 1)
    provider.bars = late
    provider.actions["AAPL"] = [Action(SESSIONS[5], *SPLIT)]


def test_an_adopted_audit_stores_a_late_day_of_a_symbol_that_was_adjusted_too(tmp_path: Path) -> None:
    provider = AdjustingProvider(history(["AAPL"]))
    with store(tmp_path, provider, ["AAPL"]) as made:
        with_a_late_day(provider, made)

        report = made.audit(start=SESSIONS[0], adopt=True)

        assert report.adopted is not None
        assert report.adopted.ok
        assert loaded(made, "AAPL") == expected(provider, "AAPL", SESSIONS)
        assert not any(each.differs for each in made.audit(start=SESSIONS[0]).compared.values())


def test_a_late_day_is_not_stored_beside_days_whose_renewal_fails(tmp_path: Path) -> None:
    provider = AdjustingProvider(history(["AAPL"]))
    with store(tmp_path, provider, ["AAPL"]) as made:
        with_a_late_day(provider, made)
        provider.forget()
        provider.errors[2] = ProviderUnavailableError("down")  # the first request is the audit's own

        report = made.audit(start=SESSIONS[0], adopt=True)

        assert report.adopted is not None
        assert not report.adopted.ok
        assert len(loaded(made, "AAPL")) == 12 * (len(SESSIONS) - 1)
        provider.errors.clear()
        assert made.ingest().ok
        made.audit(start=SESSIONS[0], adopt=True)
        assert loaded(made, "AAPL") == expected(provider, "AAPL", SESSIONS)


def test_a_withdrawn_day_of_a_symbol_that_was_adjusted_stays_until_the_next_ingestion(tmp_path: Path) -> None:
    provider = AdjustingProvider(history(["AAPL"]))
    with store(tmp_path, provider, ["AAPL"]) as made:
        made.ingest()
        provider.actions["AAPL"] = [Action("2024-01-16", *SPLIT)]
        provider.bars["AAPL"][SESSIONS[2]] = []

        report = made.audit(start=SESSIONS[0], adopt=True)

        assert report.adopted is not None
        assert report.adopted.ok
        assert len(loaded(made, "AAPL")) == 12 * len(SESSIONS)
        made.ingest()
        assert loaded(made, "AAPL") == expected(provider, "AAPL", SESSIONS)


def test_one_day_in_another_scale_is_renewed_though_another_was_withdrawn(tmp_path: Path) -> None:
    provider = AdjustingProvider(history(["AAPL"]))
    with store(tmp_path, provider, ["AAPL"]) as made:
        made.ingest()
        provider.bars["AAPL"][SESSIONS[2]] = []
        scaled = [{**row, **{name: row[name] / 10 for name in PRICES}} for row in provider.bars["AAPL"][SESSIONS[4]]]
        provider.bars["AAPL"][SESSIONS[4]] = scaled

        made.audit(start=SESSIONS[0], adopt=True)
        made.ingest()

        assert loaded(made, "AAPL") == expected(provider, "AAPL", SESSIONS)


def test_days_in_the_former_scale_are_suspect_and_name_the_reason(tmp_path: Path) -> None:
    provider = AdjustingProvider(history(["AAPL"]), page=12)
    with store(tmp_path, provider, ["AAPL"]) as made:
        made.ingest(end=SESSIONS[4])
        provider.actions["AAPL"] = [Action(SESSIONS[5], *SPLIT)]
        kill(made, SymbolDaysRecorded, 2)
        with pytest.raises(Killed):
            made.ingest()

        findings = {str(f.symbol_day.trading_date): f.finding for f in made.coverage(end=SESSIONS[4]).days()}

        assert findings[SESSIONS[0]].suspicion is Suspicion.FORMER_SCALE
        assert FORMER_SCALE in str(findings[SESSIONS[0]].detail)


def official_of(bars: dict[str, dict[str, list[dict[str, Any]]]]) -> dict[str, dict[str, dict[str, Any]]]:
    """Return a daily bar for each day, stamped at midnight in New York."""
    return {
        symbol: {
            date: {
                **rows[0],
                "timestamp": day(symbol, date).trading_date.midnight.moment,
                "high": max(row["high"] for row in rows),
                "low": min(row["low"] for row in rows),
                "close": rows[-1]["close"],
                "vwap": rows[0]["close"],
                "volume": sum(row["volume"] for row in rows),
            }
            for date, rows in days.items()
        }
        for symbol, days in bars.items()
    }


@pytest.mark.parametrize("command", ["ingest", "update"])
def test_official_days_are_renewed_with_the_minutes(tmp_path: Path, command: str) -> None:
    bars = history(["AAPL"])
    provider = AdjustingProvider(bars, official=official_of(bars))
    with store(tmp_path, provider, ["AAPL"]) as made:
        made.ingest(end=SESSIONS[5])
        provider.actions["AAPL"] = [Action(SESSIONS[6], *SPLIT)]

        report = made.ingest() if command == "ingest" else made.update()

        assert [str(found.symbol) for found in report.readjusted] == ["AAPL"]
        file = tmp_path / "official" / "symbol=AAPL" / "year=2024.parquet"
        closes = [
            provider.adjusted("AAPL", date, provider.official["AAPL"][date])["close"]  # type: ignore[arg-type]
            for date in SESSIONS
        ]
        assert pq.ParquetFile(file).read()["close"].to_pylist()[: len(SESSIONS)] == closes
        assert loaded(made, "AAPL") == expected(provider, "AAPL", SESSIONS)
        provider.forget()
        assert made.ingest().readjusted == ()
        assert (provider.requests, provider.official_requests) == ([], [])


def test_official_days_whose_renewal_fails_do_not_stay_in_the_former_scale(tmp_path: Path) -> None:
    bars = history(["AAPL"])
    provider = AdjustingProvider(bars, official=official_of(bars))
    with store(tmp_path, provider, ["AAPL"]) as made:
        made.ingest()
        provider.actions["AAPL"] = [Action("2024-01-16", *SPLIT)]
        provider.forget()
        provider.official_errors[1] = BadRequestError("not now")
        assert made.audit(start=SESSIONS[3], end=SESSIONS[3], adopt=True).adopted

        report = made.ingest()

        assert report.ok
        assert report.official.answered == len(SESSIONS)
        found = made.load("AAPL", SESSIONS[0], SESSIONS[-1], "1d")
        assert set(found["source"].to_pylist()) == {"official"}
        assert found["close"].to_pylist() == [
            provider.adjusted("AAPL", date, provider.official["AAPL"][date])["close"]  # type: ignore[arg-type]
            for date in SESSIONS
        ]


def test_two_processes_at_once_leave_one_scale(tmp_path: Path) -> None:
    bars = history(["AAPL", "MSFT"])
    provider = AdjustingProvider(bars)
    with store(tmp_path, provider) as made:
        made.ingest(end=SESSIONS[4])
        provider.actions["AAPL"] = [Action(SESSIONS[5], *DIVIDEND)]
        with store(tmp_path, provider) as other, ThreadPoolExecutor(2) as threads:
            reports = [future.result() for future in [threads.submit(each.ingest) for each in (made, other)]]

        assert all(report.ok for report in reports)
        for symbol in ("AAPL", "MSFT"):
            assert loaded(made, symbol) == expected(provider, symbol, SESSIONS)
        assert not in_former_scale(made, SESSIONS[-1])
