"""Stores whose months are one file each, beside equal stores whose days are files: no command tells them apart."""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.dataset as ds
import pytest
from attrs import evolve, frozen

from marketpipe import Pipeline, StoreBusyError
from marketpipe.ingestion.infrastructure.locks import ExclusiveFileLock
from marketpipe.ingestion.infrastructure.sqlite_state import SQLiteState
from marketpipe.shared_kernel.domain.errors import ConfigurationError
from marketpipe.shared_kernel.domain.trading_date import SessionHours
from marketpipe.storage.domain.dataset_lock import DatasetLock
from marketpipe.storage.domain.integrity import Damage
from marketpipe.testing import FakeClock
from tests.support.builders import day
from tests.support.cli_process import marketpipe
from tests.support.examples import ALL, tries_more
from tests.support.pipeline_ring import config, minutes, pipeline
from tests.support.scripted_provider import Row, ScriptedProvider
from tests.support.store_on_disk import tree

DAYS = ["2024-01-02", "2024-01-03", "2024-01-04", "2024-02-01", "2024-02-02", "2024-02-05", "2024-02-06"]
SYMBOLS = ["AAPL", "MSFT"]
MONTHS = 4
Ask = Callable[[Pipeline], Any]
Bars = dict[str, dict[str, list[Row]]]


def bars(price: float = 100.0) -> Bars:
    return {
        symbol: {date: minutes(date, 6 + number, price=price + number) for number, date in enumerate(DAYS)}
        for symbol in SYMBOLS
    }


@frozen
class Twins:
    """Two stores with one history, of which one is compacted after each step."""

    plain: Pipeline
    compacted: Pipeline
    clock: FakeClock
    provider: ScriptedProvider

    def both(self, act: Callable[[Pipeline], Any]) -> tuple[Any, Any]:
        """Return what a step returns for both stores; then compact the second one."""
        found = act(self.plain), act(self.compacted)
        self.compacted.compact()
        self.clock.advance(60)
        return found

    def agree(self, *, as_of: tuple[Any, ...] = (), by: tuple[Ask, ...] = ()) -> None:
        """Check that the answers are the same."""
        for ask in (_all_bars, *by, *(lambda p, at=at: p.load(SYMBOLS, DAYS[0], DAYS[-1], as_of=at) for at in as_of)):
            assert ask(self.compacted) == ask(self.plain)


def _all_bars(made: Pipeline) -> Any:
    return made.load(SYMBOLS, DAYS[0], DAYS[-1]).to_pydict()


EVERYTHING: tuple[Ask, ...] = (
    lambda p: p.load(SYMBOLS, DAYS[1], DAYS[1], columns=["timestamp", "close"]).to_pydict(),
    lambda p: p.load(SYMBOLS, DAYS[0], DAYS[-1], "5m").to_pydict(),
    lambda p: p.load(SYMBOLS, DAYS[0], DAYS[-1], "1d").to_pydict(),
    lambda p: p.query("SELECT * FROM bars ORDER BY symbol, timestamp").to_pydict(),
    lambda p: p.query("SELECT * FROM bars_30m ORDER BY symbol, timestamp").to_pydict(),
    lambda p: p.query("SELECT * FROM bars_1d ORDER BY symbol, timestamp").to_pydict(),
    lambda p: p.freeze().text(),
    lambda p: evolve(p.verify(), identity=None),
    lambda p: p.status().symbols,
    lambda p: p.coverage().symbols,
    lambda p: p.validate(),
    lambda p: p.plan().planned,
)


@contextmanager
def twins(root: Path) -> Iterator[Twins]:
    clock, provider = FakeClock(), ScriptedProvider(bars())
    with ExitStack() as opened:
        plain, compacted = (
            opened.enter_context(
                pipeline(config(root / name, SYMBOLS, DAYS[0], DAYS[-1], timeframes=["5m", "1d"]), provider, clock)
            )
            for name in ("plain", "compacted")
        )
        yield Twins(plain, compacted, clock, provider)


def month_files(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in (root / "data").rglob("*.parquet"))


def with_times(root: Path) -> dict[str, tuple[bytes, int]]:
    return {name: (content, (root / name).stat().st_mtime_ns) for name, content in tree(root).items()}


def test_a_history_of_corrections_withdrawals_and_new_days_is_the_same(tmp_path: Path) -> None:
    with twins(tmp_path) as both:
        both.both(lambda p: p.ingest())
        assert len(month_files(tmp_path / "compacted")) == MONTHS
        assert all(name.endswith("/days.parquet") for name in month_files(tmp_path / "compacted"))
        both.agree()
        first, locks = both.clock.now(), [p.freeze() for p in (both.plain, both.compacted)]
        both.clock.advance(60)

        both.provider.bars["AAPL"][DAYS[1]] = minutes(DAYS[1], 5, price=300.0)
        both.both(lambda p: p.audit(SYMBOLS, DAYS[0], DAYS[-1], adopt=True))
        both.agree(as_of=(first,))
        assert [p.verify(lock=lock).problems for p, lock in zip((both.plain, both.compacted), locks, strict=True)] == [
            p.verify(lock=locks[0]).problems for p in (both.plain, both.compacted)
        ]

        second = both.clock.now()
        both.clock.advance(60)
        both.both(lambda p: p.ingest(SYMBOLS, "2024-02-05", "2024-02-09"))
        both.agree(as_of=(first, second), by=EVERYTHING)

        both.compacted.compact(undo=True)
        plain, compacted = (with_times(tmp_path / name / "data") for name in ("plain", "compacted"))
        assert plain == compacted
        plain, compacted = (tree(tmp_path / name / "revisions") for name in ("plain", "compacted"))
        assert plain == compacted


def test_aggregates_stay_fresh_and_a_dropped_symbol_leaves_nothing_but_revisions(tmp_path: Path) -> None:
    with twins(tmp_path) as both:
        both.both(lambda p: p.ingest())
        assert both.compacted.aggregate().written == 0
        then = both.clock.now()
        both.clock.advance(60)
        reports = both.both(lambda p: p.drop("AAPL"))
        assert reports[0] == reports[1]
        assert not (tmp_path / "compacted" / "data" / "symbol=AAPL").exists()
        found = [p.load("AAPL", DAYS[0], DAYS[-1], as_of=then).to_pydict() for p in (both.plain, both.compacted)]
        assert found[0] == found[1]
        assert len(found[0]["close"]) > 50


def test_a_new_state_is_the_same_from_either_form(tmp_path: Path) -> None:
    with twins(tmp_path) as both:
        both.both(lambda p: p.ingest())
    for name in ("plain", "compacted"):
        shutil.rmtree(tmp_path / name / "state")
    with twins(tmp_path) as both:
        reports = [p.recover() for p in (both.plain, both.compacted)]
        assert reports[0] == reports[1]
        assert reports[0].symbol_days == len(SYMBOLS) * len(DAYS)
        both.agree()


def test_a_lock_of_day_files_is_kept_by_month_files_and_the_other_way_round(tmp_path: Path) -> None:
    with twins(tmp_path) as both:
        both.both(lambda p: p.ingest())
        text = both.plain.freeze().text()
        assert both.compacted.freeze().text() == text
        assert both.compacted.verify(lock=DatasetLock.parse(text)).ok
        both.compacted.compact(undo=True)
        assert both.compacted.verify(lock=DatasetLock.parse(text)).ok


def test_rot_in_a_day_of_a_month_file_is_found_and_healed_by_the_next_ingestion(tmp_path: Path) -> None:
    with twins(tmp_path) as both:
        both.both(lambda p: p.ingest())
        path = tmp_path / "compacted/data/symbol=MSFT/year=2024/month=02/days.parquet"
        content, times = bytearray(path.read_bytes()), path.stat()
        content[len(both.plain.config.provider) + 40] ^= 255
        path.write_bytes(bytes(content))
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))

        (problem,) = both.compacted.verify().problems
        assert problem.path == "data/symbol=MSFT/year=2024/month=02/day=01.parquet"
        assert problem.damage in (Damage.ALTERED, Damage.UNREADABLE)
        assert both.compacted.ingest().ok
        assert both.compacted.verify().ok
        both.compacted.compact()
        both.agree()


def test_other_readers_find_each_bar_once_by_the_glob(tmp_path: Path) -> None:
    polars = pytest.importorskip("polars")
    with twins(tmp_path) as both:
        both.both(lambda p: p.ingest())
        wanted = sorted(both.plain.query("SELECT symbol, timestamp, close FROM bars").to_pylist(), key=repr)
    pattern, names = f"{tmp_path}/compacted/data/**/*.parquet", ["symbol", "timestamp", "close"]

    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        by_duckdb = connection.sql(f"SELECT symbol, timestamp, close FROM read_parquet('{pattern}')").to_arrow_table()
    by_arrow = ds.dataset(tmp_path / "compacted" / "data", partitioning="hive").to_table(columns=names)
    by_polars = polars.scan_parquet(pattern, hive_partitioning=True).select(names).collect().to_arrow()

    for found in (by_duckdb, by_arrow, by_polars):
        assert sorted(({**row, "symbol": str(row["symbol"])} for row in found.to_pylist()), key=repr) == wanted


def test_a_month_in_both_forms_has_each_bar_once(tmp_path: Path) -> None:
    """As after a copy of one store over another one."""
    with twins(tmp_path) as both:
        both.both(lambda p: p.ingest())
        for path in (tmp_path / "plain/data").rglob("day=0[25].parquet"):
            shutil.copy2(path, tmp_path / "compacted/data" / path.relative_to(tmp_path / "plain/data"))
        both.agree(by=EVERYTHING[4:7])
        assert {month.files_before for month in both.compacted.compact().changed} == {2, 3}
        both.agree()


def test_only_months_that_are_settled_and_in_the_range_become_one_file(tmp_path: Path) -> None:
    clock = FakeClock("2024-02-08T12:00:00Z")
    with pipeline(config(tmp_path, SYMBOLS, DAYS[0], DAYS[-2]), ScriptedProvider(bars()), clock) as made:
        assert made.ingest().ok
        (part,) = made.compact("MSFT", "2024-01-02", "2024-01-31").left
        assert str(part.reason) == "only a part of it is between the dates that were given"
        counted = list[tuple[int, int]]()
        report = made.compact(on_month=lambda done, of: counted.append((done, of)))
        assert counted == [(done, 2 * len(SYMBOLS)) for done in range(2 * len(SYMBOLS) + 1)]
        assert [(str(each.month.symbol), str(each.month)) for each in report.changed] == [
            (symbol, "2024-01") for symbol in SYMBOLS
        ]
        assert {(str(each.month), each.reason) for each in report.left} == {
            ("2024-02", "it ends on 2024-02-29, and is settled a week later: providers still complete and correct it")
        }
        assert report.ok
        for first, last in (("2024-01-02", "2024-01-31"), ("2024-01-01", "2024-01-30")):
            undone = made.compact("MSFT", first, last, undo=True)
            assert [(str(each.condition), each.reason) for each in undone.months] == [("skipped", part.reason)]
        assert len(made.compact("MSFT", "2024-01-01", "2024-01-31", undo=True).changed) == 1
        with pytest.raises(ConfigurationError, match="NVDA"):
            made.compact("NVDA")


def test_a_month_of_which_another_process_has_leased_a_day_is_left_and_so_is_a_store_that_is_updated(
    tmp_path: Path,
) -> None:
    with pipeline(config(tmp_path, SYMBOLS, DAYS[0], DAYS[-1]), ScriptedProvider(bars()), clock := FakeClock()) as made:
        assert made.ingest().ok
        other, now = SQLiteState(made.config.state_path, "../data"), clock.now()
        lease = other.leases.take(
            {day("AAPL", "2024-02-29"): SessionHours.REGULAR}, None, now, now.plus(timedelta(minutes=10))
        )
        report = made.compact()
        assert [str(each.reason) for each in report.left] == [
            "another process works on AAPL 2024-02-29; try again when it has ended"
        ]
        assert len(report.changed) == MONTHS - 1
        other.leases.release(lease.lease)
        other.close()
        assert len(made.compact().changed) == 1
    with made_busy(made), pipeline(made.config, ScriptedProvider(bars())) as second, pytest.raises(StoreBusyError):
        second.compact(undo=True)


def test_the_command_line_tells_what_changes_and_what_stays(tmp_path: Path) -> None:
    (tmp_path / "marketpipe.yaml").write_text(
        "provider: synthetic\nsymbols: [AAPL, MSFT]\nstart: 2024-01-02\nend: 2024-01-05\ntimeframes: []\n"
    )
    assert marketpipe("ingest", "--quiet", cwd=tmp_path).returncode == 0
    (tmp_path / "data/symbol=MSFT/year=2024/month=01/notes.txt").write_text("mine")

    dry = marketpipe("compact", "--dry-run", cwd=tmp_path)
    done = marketpipe("compact", cwd=tmp_path)
    undone = marketpipe("compact", "--undo", "--symbols", "AAPL", "--json", cwd=tmp_path)
    unknown = marketpipe("compact", "--symbols", "NVDA", cwd=tmp_path)

    assert [each.returncode for each in (dry, done, undone, unknown)] == [0, 0, 0, 2]
    assert "1 month would be written as one file each: 4 files" in dry.stderr
    assert "1 month written as one file each: 4 files" in done.stderr
    for printed in (dry.stderr, done.stderr):
        assert "MSFT 2024-01 skipped: notes.txt in its folder is not a file of the store: move it away" in printed
    (month,) = json.loads(undone.stdout)["months"]
    assert (month["symbol"], month["month"], month["files_after"]) == ("AAPL", "2024-01", 4)
    assert not list((tmp_path / "data").rglob("days.parquet"))


@contextmanager
def made_busy(made: Pipeline) -> Iterator[None]:
    (path,) = made.config.state_path.parent.glob("*.update-lock")
    with ExclusiveFileLock(path, waits=False).acquired():
        yield


@tries_more
@pytest.mark.slow
def test_readers_beside_compactions_always_see_all_bars_once(tmp_path: Path) -> None:
    settings, provider = config(tmp_path, SYMBOLS, DAYS[0], DAYS[-1], timeframes=["5m"]), ScriptedProvider(bars())
    with pipeline(settings, provider, FakeClock()) as made:
        assert made.ingest().ok
        lock, quiet = made.freeze(), threading.Event()

        def work() -> None:
            for turn in range(10 if ALL else 4):
                assert made.compact(undo=bool(turn % 2)).ok
                quiet.wait(0.5)  # a query reads again if files are replaced meanwhile

        working = threading.Thread(target=work)
        others = [pipeline(settings, provider, FakeClock()) for _ in READS]
        wanted = [read(other, lock) for read, other in zip(READS, others, strict=True)]

        def read_on(number: int) -> int:
            count = 0
            while working.is_alive():
                assert READS[number](others[number], lock) == wanted[number]
                count += 1
            return count

        with ThreadPoolExecutor(len(READS)) as threads:
            working.start()
            counts = [done.result(120) for done in [threads.submit(read_on, n) for n in range(len(READS))]]
        for other in others:
            other.close()
        assert min(counts) > 0
        assert made.verify().ok


READS: tuple[Callable[[Pipeline, DatasetLock], Any], ...] = (
    lambda p, _: _all_bars(p),
    lambda p, _: p.load(SYMBOLS, DAYS[0], DAYS[-1], as_of="2030-01-01T00:00:00Z").to_pydict(),
    lambda p, _: p.query("SELECT symbol, timestamp, close FROM bars ORDER BY ALL").to_pydict(),
    lambda p, lock: (p.plan().planned, p.verify(lock=lock).problems, p.freeze().text()),
)
