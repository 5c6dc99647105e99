"""What ``load`` says of a range that is not complete, and of names that the store does not have."""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from marketpipe.config import StoreConfig
from marketpipe.ingestion.domain.coverage.verdict import Verdict
from marketpipe.loader import load_ohlcv
from marketpipe.place_parts import known_state
from marketpipe.shared_kernel.domain.errors import (
    ConfigurationError,
    IncompleteError,
    IncompleteWarning,
    ProviderUnavailableError,
    ValidationError,
)
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.store import Store
from marketpipe.testing import FakeClock
from tests.support.pipeline_ring import config, minutes, pipeline
from tests.support.scripted_provider import ScriptedProvider

DATES = ["2024-01-02", "2024-01-03", "2024-01-04", "2024-01-05"]
FIRST, LAST = DATES[0], DATES[-1]


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A complete store of two symbols with daily bars and those of 1h."""
    root = tmp_path_factory.mktemp("complete")
    provider = ScriptedProvider({name: {date: minutes(date, 390) for date in DATES} for name in ("AAPL", "MSFT")})
    with pipeline(config(root, ["AAPL", "MSFT"], FIRST, LAST, timeframes=["1h", "1d"]), provider) as made:
        assert made.ingest().ok
    return root


@pytest.fixture
def copy(stored: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(stored, tmp_path / "store"))


@pytest.fixture(autouse=True)
def no_other_warning() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error", IncompleteWarning)
        yield


def load(root: Path, *arguments: Any, **options: Any) -> int:
    return load_ohlcv(*arguments, root=root, **options).num_rows


def day_file(root: Path, symbol: str, date: str) -> Path:
    year, month, day = date.split("-")
    return root / "data" / f"symbol={symbol}" / f"year={year}" / f"month={month}" / f"day={day}.parquet"


@pytest.mark.parametrize("complete", ["ignore", "warn", "require"])
@pytest.mark.parametrize(("timeframe", "rows"), [("1m", 8 * 390), ("1h", 8 * 7), ("1d", 8), ("30m", 8 * 13)])
def test_a_complete_range_is_loaded_without_a_warning(stored: Path, complete: str, timeframe: str, rows: int) -> None:
    assert load(stored, ["AAPL", "MSFT"], FIRST, LAST, timeframe, complete=complete) == rows


@pytest.mark.parametrize("timeframe", ["1m", "1h", "1d"])
def test_what_was_never_requested_is_warned_of_with_the_command_that_requests_it(stored: Path, timeframe: str) -> None:
    with pytest.warns(IncompleteWarning) as caught:
        load(stored, "AAPL", "2023-12-28", "2024-01-09", timeframe)

    (warning,) = [each for each in caught if each.category is IncompleteWarning]
    message = str(warning.message)
    assert "is not complete for AAPL from 2023-12-28 to 2024-01-09: 4 symbol-days" in message
    assert "\n  AAPL 2023-12-28 to 2023-12-29 (2 sessions) missing: never requested\n" in message
    options = f"--root {stored} --symbols AAPL --start 2023-12-28 --end 2024-01-09"
    assert f"'marketpipe ingest {options}' requests them; 'marketpipe coverage {options}' shows" in message
    assert warning.filename == __file__


def test_the_warning_is_on_the_line_of_the_caller_of_store_and_pipeline_too(stored: Path) -> None:
    with Store(StoreConfig(output_path=stored / "data")) as store, pytest.warns(IncompleteWarning) as caught:
        store.load("AAPL", FIRST, "2024-01-09")

    assert caught[0].filename == __file__


def test_a_week_is_complete_if_all_its_days_are(tmp_path: Path) -> None:
    provider = ScriptedProvider({"AAPL": {date: minutes(date, 390) for date in DATES}})
    with pipeline(config(tmp_path, ["AAPL"], FIRST, DATES[2], timeframes=["1d"]), provider) as made:
        made.ingest()

        assert made.load("AAPL", FIRST, DATES[2], "1d").num_rows == 3
        with pytest.warns(IncompleteWarning, match=f"AAPL {LAST} missing"):
            assert made.load("AAPL", FIRST, DATES[2], "1w").num_rows == 1


def test_ignore_warns_of_nothing(stored: Path) -> None:
    assert load(stored, "AAPL", "2023-12-28", "2024-01-09", complete="ignore") == 4 * 390


def test_require_raises_with_the_gaps(stored: Path) -> None:
    with pytest.raises(IncompleteError, match="2023-12-28 to 2023-12-29") as caught:
        load(stored, "AAPL", "2023-12-28", LAST, complete="require")

    (gap,) = caught.value.gaps
    assert (str(gap.symbol), str(gap.first), str(gap.last), gap.sessions) == ("AAPL", "2023-12-28", "2023-12-29", 2)
    assert gap.finding.verdict is Verdict.MISSING


def test_a_lost_file_is_missing_from_minutes_and_from_what_is_made_of_them(copy: Path) -> None:
    day_file(copy, "AAPL", DATES[1]).unlink()

    for timeframe in ("1m", "30m"):
        with pytest.warns(IncompleteWarning, match=f"AAPL {DATES[1]} missing: its file is gone"):
            load(copy, "AAPL", FIRST, LAST, timeframe)
    assert load(copy, "AAPL", FIRST, LAST, "1d") == 4  # stored before the file was lost
    with pytest.raises(IncompleteError, match=f"AAPL {DATES[1]} missing: its file is gone"):
        load(copy, "AAPL", FIRST, LAST, "1d", complete="require")


def test_a_file_that_is_not_the_recorded_one_is_suspect(copy: Path) -> None:
    shutil.copy(day_file(copy, "AAPL", DATES[2]), day_file(copy, "AAPL", DATES[1]))

    with pytest.warns(IncompleteWarning, match=f"AAPL {DATES[1]} suspect .file altered") as caught:
        load(copy, "AAPL", FIRST, LAST)
    assert "--retry-suspect" not in str(caught[0].message)  # a plain ingestion requests it


def test_what_only_the_bars_show_is_left_to_require(tmp_path: Path) -> None:
    dates = [f"2024-01-{day:02d}" for day in (*range(2, 6), *range(8, 13), *range(16, 20), *range(22, 27))]
    bars = {date: minutes(date, 390) for date in dates}
    bars[dates[8]] = [*minutes(dates[8], 100), *minutes(dates[8], 150, start="18:30")]
    with pipeline(config(tmp_path, ["AAPL"], dates[0], dates[-1]), ScriptedProvider({"AAPL": bars})) as made:
        made.ingest()

        made.load("AAPL", dates[0], dates[-1])
        with pytest.raises(IncompleteError, match=f"(?s)AAPL {dates[8]} suspect .holes.*--retry-suspect"):
            made.load("AAPL", dates[0], dates[-1], complete="require")


def test_a_failed_session_is_missing_for_its_reason(tmp_path: Path) -> None:
    provider = ScriptedProvider({}, errors={"AAPL": ProviderUnavailableError("the provider is on fire")})
    with pipeline(config(tmp_path, ["AAPL"], FIRST, FIRST), provider) as made:
        made.ingest()

        with pytest.warns(IncompleteWarning, match=f"AAPL {FIRST} missing: the provider is on fire"):
            assert made.load("AAPL", FIRST, FIRST).num_rows == 0


def test_a_session_that_was_not_final_is_partial_and_one_that_is_not_final_is_no_gap(tmp_path: Path) -> None:
    provider = ScriptedProvider({"AAPL": {date: minutes(date) for date in DATES}})
    clock = FakeClock(f"{DATES[1]}T16:00:00Z")
    with pipeline(config(tmp_path, ["AAPL"], FIRST, DATES[1]), provider, clock) as made:
        made.ingest(end=FIRST)
        assert made.load("AAPL", FIRST, DATES[1]).num_rows == 4
        made.ingest()

        with pytest.warns(IncompleteWarning, match=f"AAPL {DATES[1]} partial: requested before it was final"):
            made.load("AAPL", FIRST, DATES[1])
        with pytest.raises(IncompleteError, match="partial"):
            made.load("AAPL", FIRST, DATES[1], complete="require")


def test_only_the_hours_that_are_loaded_count(tmp_path: Path) -> None:
    provider, settings = ScriptedProvider({"AAPL": {FIRST: minutes(FIRST, 390)}}), {"timeframes": ["1d"]}
    with pipeline(config(tmp_path, ["AAPL"], FIRST, FIRST, session="regular", **settings), provider) as made:
        made.ingest()
    with pipeline(config(tmp_path, ["MSFT"], FIRST, FIRST, **settings), provider) as made:
        made.ingest()  # the store holds the extended session from now on

        for timeframe, session in (("1m", "regular"), ("1d", None)):
            assert made.load("AAPL", FIRST, FIRST, timeframe, session=session).num_rows
        with pytest.warns(IncompleteWarning, match="only the regular session was requested"):
            made.load("AAPL", FIRST, FIRST)


def test_as_of_an_earlier_moment_what_was_stored_later_is_missing(stored: Path) -> None:
    early = "2024-01-01T00:00:00Z"

    with pytest.warns(
        IncompleteWarning, match=f"4 sessions. missing: not stored yet at {early}\na later as_of"
    ) as caught:
        assert load(stored, "AAPL", FIRST, LAST, as_of=early) == 0
    with pytest.raises(IncompleteError, match="not stored yet"):
        load(stored, "AAPL", FIRST, LAST, as_of=early, complete="require")

    assert "ingest" not in str(caught[0].message)
    assert load(stored, "AAPL", FIRST, LAST, as_of="2030-01-01T00:00:00Z", complete="require") == 4 * 390


def test_without_a_record_it_cannot_be_told(copy: Path) -> None:
    shutil.rmtree(copy / "state")

    with pytest.warns(IncompleteWarning, match=r"cannot be told whether .*'marketpipe recover'"):
        assert load(copy, "AAPL", FIRST, LAST) == 4 * 390
    with pytest.raises(IncompleteError, match=r"cannot be told whether .*'marketpipe recover'") as caught:
        load(copy, "AAPL", FIRST, LAST, complete="require")

    assert caught.value.gaps == ()
    assert not (copy / "state").exists()
    assert load(copy, "AAPL", FIRST, LAST, complete="ignore") == 4 * 390


def test_a_damaged_record_does_not_keep_the_bars_from_being_loaded(copy: Path) -> None:
    for file in (copy / "state").glob("marketpipe.sqlite*"):
        file.write_bytes(b"no database" * 1000)

    with pytest.warns(IncompleteWarning, match="cannot be told"):
        assert load(copy, "AAPL", FIRST, LAST) == 4 * 390


def test_complete_is_one_of_three_words(stored: Path) -> None:
    with pytest.raises(ValidationError, match="complete: 'required' is not allowed; did you mean 'require'"):
        load(stored, "AAPL", FIRST, LAST, complete="required")


def test_a_symbol_that_the_store_does_not_have_is_an_error_with_the_nearest(stored: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"has nothing of APPL: did you mean 'AAPL'\?"):
        load(stored, ["MSFT", "APPL"], FIRST, LAST)


def test_a_symbol_without_bars_that_was_requested_is_none(tmp_path: Path) -> None:
    with pipeline(config(tmp_path, ["THIN"], FIRST, FIRST), ScriptedProvider({})) as made:
        made.ingest()
        assert made.load("THIN", FIRST, FIRST).num_rows == 0


@pytest.mark.parametrize("complete", ["ignore", "warn", "require"])
def test_a_root_without_a_store_is_an_error(tmp_path: Path, complete: str) -> None:
    with pytest.raises(ConfigurationError, match=r"there is no store at .*nowhere/data"):
        load(tmp_path / "nowhere", "AAPL", FIRST, LAST, complete=complete)

    assert list(tmp_path.iterdir()) == []


def test_no_symbols_and_an_end_before_the_start_are_errors(stored: Path) -> None:
    with pytest.raises(ConfigurationError, match="symbols: name at least one"):
        load(stored, [], FIRST, LAST)
    with pytest.raises(ConfigurationError, match=f"end {FIRST} is before start {LAST}"):
        load(stored, "AAPL", LAST, FIRST)


@pytest.mark.parametrize("all_minutes_are_gone", ["folder", "files"])
def test_a_timeframe_without_bars_and_without_minutes_is_an_error_with_the_nearest(
    copy: Path, all_minutes_are_gone: str
) -> None:
    if all_minutes_are_gone == "folder":
        shutil.rmtree(copy / "data" / "symbol=AAPL")
    else:
        for date in DATES:
            day_file(copy, "AAPL", date).unlink()

    for timeframe, near in (("1m", "1h"), ("4h", "1h"), ("15m", "1h")):
        message = f"no bars of {timeframe} of AAPL, and no minutes .* did you mean '{near}'. It has 1h, 1d, 1w, 1mo"
        with pytest.raises(ConfigurationError, match=message):
            load(copy, "AAPL", FIRST, LAST, timeframe, complete="ignore")
    for timeframe, rows in (("1h", 28), ("1d", 4), ("1w", 1)):
        assert load(copy, "AAPL", "2024-01-01", LAST, timeframe, complete="ignore") == rows


def test_an_open_store_sees_what_changed_since_it_was_complete(copy: Path) -> None:
    with Store(StoreConfig(output_path=copy / "data")) as store:
        for _ in range(3):
            assert store.load(["AAPL", "MSFT"], FIRST, LAST).num_rows == 8 * 390
        path = day_file(copy, "MSFT", DATES[1])
        content, found = path.read_bytes(), path.stat()
        path.write_bytes(content[:40] + bytes([content[40] ^ 1]) + content[41:])  # in its place, as long as before
        with pytest.warns(IncompleteWarning, match="MSFT 2024-01-03 "):
            store.load(["AAPL", "MSFT"], FIRST, LAST, columns=["symbol", "close"])
        path.write_bytes(content)
        os.utime(path, ns=(found.st_mtime_ns, found.st_mtime_ns))
        assert store.load(["AAPL", "MSFT"], FIRST, LAST).num_rows == 8 * 390


@pytest.mark.parametrize("by", ["the same store", "another process"])
def test_an_open_store_sees_what_was_recorded_since_it_was_complete(copy: Path, by: str) -> None:
    with Store(StoreConfig(output_path=copy / "data")) as store, Store(StoreConfig(output_path=copy / "data")) as other:
        for _ in range(3):
            assert store.load("AAPL", FIRST, LAST).num_rows == 4 * 390
        writer = known_state(store._parts if by == "the same store" else other._parts)
        writer.checkpoints.mark_suspect(Symbol("AAPL"), {TradingDate.parse(DATES[2]): "doubted"})

        with pytest.warns(IncompleteWarning, match="AAPL 2024-01-04 "):
            store.load("AAPL", FIRST, LAST)
