"""verify, freeze and recover of the library, with a scripted provider."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from attrs import evolve

from marketpipe.config import StoreConfig
from marketpipe.shared_kernel.domain.errors import ConfigurationError
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.storage.domain.dataset_lock import DatasetLock
from marketpipe.storage.domain.integrity import Damage
from marketpipe.store import Store
from marketpipe.testing import FakeClock, bar
from tests.support.examples import some
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
)
from tests.support.scripted_provider import ScriptedProvider

NO_BARS = "2024-01-08"
EARLY = [bar(f"{THURSDAY}T10:00:00Z")]
BAD = [bar(f"{WEDNESDAY}T15:00:00Z", high=1.0)]


def provider() -> ScriptedProvider:
    return ScriptedProvider(
        {
            "AAPL": {
                TUESDAY: minutes(TUESDAY),
                WEDNESDAY: [*minutes(WEDNESDAY), *BAD],
                THURSDAY: [*EARLY, *minutes(THURSDAY)],
                FRIDAY: [bar(f"{FRIDAY}T15:00:00Z", high=1.0)],
            },
            "MSFT": {date: minutes(date) for date in (TUESDAY, WEDNESDAY, THURSDAY, FRIDAY)},
        }
    )


@pytest.fixture
def asked(tmp_path: Path) -> ScriptedProvider:
    """Of a store that was ingested whole."""
    made = provider()
    with pipeline(config(tmp_path, ["AAPL", "MSFT"], TUESDAY, NO_BARS, timeframes=["1d"]), made) as store:
        store.ingest()
    made.forget()
    return made


def path_of(root: Path, symbol: str, date: str) -> Path:
    year, month, day = date.split("-")
    return root / "data" / f"symbol={symbol}" / f"year={year}" / f"month={month}" / f"day={day}.parquet"


def at_rest(root: Path) -> Store:
    names = ("output", "aggregates", "quarantine", "revisions")
    folders = {f"{name}_path": root / name.replace("output", "data") for name in names}
    return Store(StoreConfig(state_path=root / "state" / "marketpipe.sqlite", **folders), clock=FakeClock())


def rot(path: Path) -> None:
    look, content = path.stat(), bytearray(path.read_bytes())
    content[100] ^= 8
    path.write_bytes(content)
    os.utime(path, ns=(look.st_atime_ns, look.st_mtime_ns))


def test_verify_reads_everything_and_changes_nothing(tmp_path: Path, asked: ScriptedProvider) -> None:
    before, done = fingerprints(tmp_path), list[tuple[int, int]]()
    with at_rest(tmp_path) as store:
        report = store.verify(on_symbol=lambda *step: done.append(step))

    assert report.ok
    assert done == [(0, 2), (1, 2), (2, 2)]
    assert report.files == len(before)
    assert fingerprints(tmp_path) == before


@pytest.mark.parametrize("damage", ["a folder", "a folder with a file", "foreign lines"])
def test_verify_reports_a_version_index_that_is_none_and_its_advice_helps(
    tmp_path: Path, asked: ScriptedProvider, damage: str
) -> None:
    path = tmp_path / "revisions" / "symbol=AAPL" / "known_since.csv"
    before = path.read_bytes()
    if damage == "foreign lines":
        path.write_bytes(before + b"symbol,price\n")
    else:
        path.unlink()
        path.mkdir()
        if damage != "a folder":
            (path / "x").touch()

    with at_rest(tmp_path) as store:
        (problem,) = store.verify().problems
    assert (problem.path, problem.damage) == ("revisions/symbol=AAPL/known_since.csv", Damage.UNREADABLE)
    assert "move it away" in problem.reason

    path.rename(tmp_path / "away")
    path_of(tmp_path, "AAPL", TUESDAY).unlink()
    with pipeline(config(tmp_path, ["AAPL", "MSFT"], TUESDAY, NO_BARS, timeframes=["1d"]), asked) as ingesting:
        ingesting.ingest()
        assert ingesting.verify().ok
    versions, known = ({line for line in each.splitlines() if line[:1] != b","} for each in (path.read_bytes(), before))
    assert versions == known


@pytest.mark.parametrize("position", some([60, 100, 140, 200]))
def test_whatever_bit_rots_the_day_is_healed_to_the_same_bytes_and_the_rot_is_no_revision(
    tmp_path: Path, asked: ScriptedProvider, position: int
) -> None:
    whole, path = contents(tmp_path), path_of(tmp_path, "AAPL", THURSDAY)
    known_since = path.stat().st_mtime_ns
    for bit in range(8):
        look, content = path.stat(), bytearray(path.read_bytes())
        content[position] ^= 1 << bit
        path.write_bytes(content)
        os.utime(path, ns=(look.st_atime_ns, look.st_mtime_ns))
        asked.forget()
        with pipeline(config(tmp_path, ["AAPL", "MSFT"], TUESDAY, NO_BARS, timeframes=["1d"]), asked) as store:
            report = store.verify()
            assert ([str(found.symbol_day) for found in report.problems], report.suspect) == ([f"AAPL {THURSDAY}"], 1)
            store.ingest()
            assert asked.asked == [f"AAPL {THURSDAY}"]
            assert store.verify().ok
            assert f"AAPL {THURSDAY}" not in {f"{gap.symbol} {gap.first}" for gap in store.coverage().gaps()}
        assert contents(tmp_path) == whole
        assert path.stat().st_mtime_ns == known_since


def test_a_second_check_reports_the_same_damage(tmp_path: Path, asked: ScriptedProvider) -> None:
    rot(path_of(tmp_path, "AAPL", THURSDAY))
    with at_rest(tmp_path) as store:
        first, second = store.verify(), store.verify()
    assert first.problems == second.problems
    assert [problem.reason for problem in first.problems] == ["its bytes are not those that were recorded"]


def test_a_recovered_state_asks_only_for_the_days_that_left_no_file(tmp_path: Path, asked: ScriptedProvider) -> None:
    with at_rest(tmp_path) as store:
        before = {item.symbol: (item.complete, item.bars, item.rejected) for item in store.status().symbols}
    whole, done = fingerprints(tmp_path), list[tuple[int, int]]()
    shutil.rmtree(tmp_path / "state")

    with at_rest(tmp_path) as store:
        report = store.recover(on_symbol=lambda *step: done.append(step))
        after = {item.symbol: (item.complete, item.bars, item.rejected) for item in store.status().symbols}
        assert store.coverage(["MSFT"], TUESDAY, FRIDAY).ok
        assert store.verify().ok

    assert (report.symbol_days, report.partial, report.bars, report.rejected) == (8, 0, 29, 2)
    assert (str(report.session), report.set_aside, report.ok) == ("extended", None, True)
    assert done == [(0, 2), (1, 2), (2, 2)]
    assert after == before
    with pipeline(config(tmp_path, ["AAPL", "MSFT"], TUESDAY, NO_BARS, timeframes=["1d"]), asked) as again:
        again.ingest()
    assert sorted(set(asked.asked)) == [f"AAPL {NO_BARS}", f"MSFT {NO_BARS}"]
    assert fingerprints(tmp_path) == whole


def test_a_store_without_bars_outside_the_regular_sessions_is_a_regular_one(tmp_path: Path) -> None:
    made = ScriptedProvider({"AAPL": {TUESDAY: minutes(TUESDAY)}})
    settings = config(tmp_path, ["AAPL"], TUESDAY, TUESDAY, session="regular")
    with pipeline(settings, made) as store:
        store.ingest()
    shutil.rmtree(tmp_path / "state")
    with at_rest(tmp_path) as store:
        assert str(store.recover().session) == "regular"
    made.forget()
    with pipeline(settings, made) as store:
        assert store.ingest().planned == 0


@pytest.mark.parametrize("session", ["regular", "extended"])
def test_a_store_of_official_days_alone_ingests_any_session_when_it_is_recovered(tmp_path: Path, session: str) -> None:
    made = ScriptedProvider({}, official={"AAPL": {TUESDAY: bar(str(TradingDate.parse(TUESDAY).midnight))}})
    settings = config(tmp_path, ["AAPL"], TUESDAY, TUESDAY, session=session, official_path=tmp_path / "official")
    with pipeline(settings, made) as store:
        store.ingest()
    with pipeline(settings, made) as store:
        assert store.recover(force=True).official_days == 1
    made.bars = {"AAPL": {TUESDAY: minutes(TUESDAY)}}
    with pipeline(settings, made) as store:
        assert store.ingest(retry_suspect=True).failures == {}
        assert len(store.load(["AAPL"], TUESDAY, TUESDAY)) == len(minutes(TUESDAY))


def test_what_was_stored_before_its_session_was_final_is_partial(tmp_path: Path) -> None:
    made = ScriptedProvider({"AAPL": {TUESDAY: minutes(TUESDAY)}})
    settings = config(tmp_path, ["AAPL"], TUESDAY, TUESDAY)
    with pipeline(settings, made, FakeClock(f"{TUESDAY}T20:00:00Z")) as store:
        store.ingest()
    shutil.rmtree(tmp_path / "state")
    with at_rest(tmp_path) as store:
        report = store.recover()
    assert (report.symbol_days, report.partial) == (1, 1)
    with pipeline(settings, made) as store:
        assert store.ingest().planned == 1


def test_files_of_another_dataset_are_named_and_not_recorded(tmp_path: Path, asked: ScriptedProvider) -> None:
    other = tmp_path / "other"
    stranger = ScriptedProvider({"MSFT": {TUESDAY: minutes(TUESDAY)}}, feed="another")
    with pipeline(config(other, ["MSFT"], TUESDAY, TUESDAY), stranger) as made:
        made.ingest()
    shutil.copy(path_of(other, "MSFT", TUESDAY), path_of(tmp_path, "MSFT", TUESDAY))
    with at_rest(tmp_path) as store:
        (problem,) = store.verify().problems
        assert problem.damage is Damage.ALTERED
    shutil.rmtree(tmp_path / "state")
    with at_rest(tmp_path) as store:
        report = store.recover()
        assert list(map(str, report.damaged)) == [f"MSFT {TUESDAY}"]
        assert "feed another" in "".join(report.damaged.values())
        assert {problem.damage for problem in store.verify().problems} == {Damage.MISLABELLED}


def test_nothing_is_recovered_where_nothing_is_stored(tmp_path: Path) -> None:
    with at_rest(tmp_path) as store, pytest.raises(ConfigurationError, match="nothing was recovered"):
        store.recover()
    assert list(tmp_path.iterdir()) == []


def test_a_pipeline_that_has_its_state_open_does_not_recover(tmp_path: Path, asked: ScriptedProvider) -> None:
    with at_rest(tmp_path) as store:
        store.status()
        with pytest.raises(ConfigurationError, match="recover with a new one"):
            store.recover(force=True)


def test_a_lock_is_the_same_whatever_the_folders_are_called(tmp_path: Path, asked: ScriptedProvider) -> None:
    with at_rest(tmp_path) as store:
        lock = store.freeze()
    other = tmp_path / "copy"
    shutil.copytree(tmp_path / "data", other / "bars")
    shutil.copytree(tmp_path / "aggregates", other / "aggs")
    moved = StoreConfig(
        output_path=other / "bars", aggregates_path=other / "aggs", state_path=other / "state" / "no.sqlite"
    )
    with Store(moved) as store:
        assert store.verify(lock=lock).ok
        assert store.freeze().files == lock.files
    assert not (other / "state").exists()


def test_a_day_that_comes_between_the_frozen_dates_is_a_difference(tmp_path: Path) -> None:
    bars = {symbol: {date: minutes(date, 5) for date in (TUESDAY, FRIDAY)} for symbol in ("AAPL", "MSFT")}
    settings = config(tmp_path, ("AAPL", "MSFT"), TUESDAY, FRIDAY)
    with pipeline(settings, ScriptedProvider(bars)) as store:
        store.ingest()
        of_one, of_all, older = store.freeze("AAPL"), store.freeze(), evolve(store.freeze("MSFT"), scope=None)
    bars["MSFT"][WEDNESDAY] = minutes(WEDNESDAY, 3)
    with pipeline(settings, ScriptedProvider(bars)) as store:
        assert store.audit("MSFT", WEDNESDAY, WEDNESDAY, adopt=True).adopted
        came = f"data/symbol=MSFT/year=2024/month=01/day={WEDNESDAY[-2:]}.parquet"

        for lock in (of_all, older, DatasetLock.parse(of_all.text())):
            found = store.verify(lock=lock)
            assert [(problem.path, str(problem.damage)) for problem in found.problems] == [(came, "added")]
            assert came not in found.extra
        assert store.verify(lock=of_one).ok
        assert came in store.verify(lock=of_one).extra
