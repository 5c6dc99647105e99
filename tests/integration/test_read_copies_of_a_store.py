"""Read copies of a whole store: who makes them, reads them, checks them and removes them."""

from __future__ import annotations

import json
import os
import shutil
import struct
from pathlib import Path

import pyarrow as pa
import pytest

from marketpipe import IncompleteWarning, Pipeline, QueryError
from marketpipe.terminal.ingestion import print_ingestion
from marketpipe.terminal.store import print_status
from marketpipe.testing import FakeClock
from tests.support.examples import some
from tests.support.in_process_cli import run_in_process
from tests.support.measured_store import values_of
from tests.support.pipeline_ring import config, minutes, pipeline
from tests.support.reported_store import facts_in
from tests.support.scripted_provider import ScriptedProvider

DATES = ("2024-01-30", "2024-01-31", "2024-02-01", "2024-02-02")
FIRST, LAST = DATES[0], DATES[-1]
SYMBOLS = ("AAPL", "MSFT")
FORMS = pytest.mark.parametrize("form", some(["arrow", "parquet"]))
QUERY = "SELECT symbol, trading_date, session, count(*) AS bars, max(high) AS high FROM bars GROUP BY ALL ORDER BY ALL"
MADE = "SELECT symbol, timestamp, open, high, low, close, volume, vwap FROM bars_10m ORDER BY ALL"


def store(root: Path, form: str = "none", timeframes: tuple[str, ...] = ("5m", "1d")) -> tuple[Pipeline, FakeClock]:
    bars = {symbol: {date: minutes(date, 6) for date in DATES} for symbol in SYMBOLS}
    clock, settings = FakeClock("2024-02-05T12:00:00Z"), {"timeframes": timeframes, "read_copies": form}
    made = pipeline(config(root, list(SYMBOLS), FIRST, LAST, **settings), ScriptedProvider(bars), clock)
    return made, clock


def ingested(root: Path, form: str = "none") -> Pipeline:
    made, _ = store(root, form)
    assert made.ingest().ok
    return made


def copies(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root / "copies")) for path in (root / "copies").rglob("*") if path.is_file())


def named(form: str, symbols: tuple[str, ...] = SYMBOLS) -> list[str]:
    return [f"symbol={symbol}/year=2024/month=0{month}.{form}" for symbol in symbols for month in (1, 2)]


def damage(path: Path, content: bytes) -> None:
    """Put another file in the place of one, with its time. What was loaded of the first stays what it was."""
    found = path.stat()
    path.unlink()
    path.write_bytes(content)
    os.utime(path, ns=(found.st_mtime_ns, found.st_mtime_ns))


def without_day_files(root: Path) -> None:
    """Make the day files unreadable under the sizes and times that they have: only copies can answer."""
    for path in (root / "data").rglob("*.parquet"):
        damage(path, bytes(path.stat().st_size))


@FORMS
def test_an_ingestion_makes_the_configured_copies(tmp_path: Path, form: str) -> None:
    with ingested(tmp_path, form) as made:
        assert copies(tmp_path) == named(form)
        assert made.ingest().aggregates.written == 0


def test_without_the_key_there_are_none(tmp_path: Path) -> None:
    with ingested(tmp_path):
        assert not (tmp_path / "copies").exists()


def test_where_the_key_is_none_copies_that_exist_are_kept_but_no_others_are_made(tmp_path: Path) -> None:
    with ingested(tmp_path, "parquet") as made:
        loaded, answer = made.load(SYMBOLS, FIRST, LAST), made.query(QUERY)
        (tmp_path / "copies" / named("parquet")[0]).unlink()
        (tmp_path / "data/symbol=MSFT/year=2024/month=01/day=31.parquet").unlink()
    without, _ = store(tmp_path)
    with without:
        assert without.ingest().ok
        assert without.aggregate().ok
        assert copies(tmp_path) == named("parquet")[1:]
        assert without.verify().ok
        assert without.load(SYMBOLS, FIRST, LAST).equals(loaded)
        assert without.query(QUERY).equals(answer)
        assert without.aggregate(timeframes=["1m"]).written == 1
        assert copies(tmp_path) == named("parquet")


@FORMS
def test_loads_queries_and_exports_read_copies(tmp_path: Path, form: str) -> None:
    with ingested(tmp_path, form) as made:
        loaded, answer, of_ten = made.load("AAPL", FIRST, LAST), made.query(QUERY), made.query(MADE)
        made.export(tmp_path / "before.arrow", "AAPL", FIRST, LAST)
        without_day_files(tmp_path)

        # Fewer than three days are faster from day files than from a copy in Parquet.
        span = (FIRST, LAST) if form == "arrow" else ("2024-01-01", "2024-02-29")
        assert made.load("AAPL", *span, complete="ignore").equals(loaded)
        assert made.query(QUERY).equals(answer)
        assert made.query(MADE).equals(of_ten)
        made.export(tmp_path / "after.arrow", "AAPL", *span)
        exported = [pa.ipc.open_file(tmp_path / name).read_all() for name in ("before.arrow", "after.arrow")]
        assert exported[0].equals(exported[1])


@FORMS
@pytest.mark.parametrize("torn", [b"", b"PAR1 is no file", b"ARROW1" * 9])
def test_no_torn_copy_is_read(tmp_path: Path, form: str, torn: bytes) -> None:
    with ingested(tmp_path, form) as made:
        loaded, answer = made.load("AAPL", FIRST, LAST), made.query(QUERY)
        for name in copies(tmp_path):
            damage(tmp_path / "copies" / name, torn)

        assert made.load("AAPL", FIRST, LAST).equals(loaded)
        assert made.load("AAPL", "2024-01-01", "2024-02-29", complete="ignore").equals(loaded)
        assert made.query(QUERY).equals(answer)


def test_a_copy_with_damaged_pages_is_no_reason_for_a_query_to_fail(tmp_path: Path) -> None:
    with ingested(tmp_path, "parquet") as made:
        answer = made.query(QUERY)
        for name in named("parquet"):
            content = (tmp_path / "copies" / name).read_bytes()
            damage(tmp_path / "copies" / name, content[:4] + b"\xff" * 600 + content[604:])

        assert made.query(QUERY).equals(answer)
        assert len(made.verify().problems) == 4


def test_a_wrong_query_is_refused_at_once(tmp_path: Path) -> None:
    with ingested(tmp_path, "parquet") as made:
        for sql in ("SELECT nothing FROM bars", "SELEC 1", "SELECT * FROM bars; SELECT 1"):
            with pytest.raises(QueryError):
                made.query(sql)


@FORMS
def test_who_deletes_the_copies_loses_nothing(tmp_path: Path, form: str) -> None:
    with ingested(tmp_path, form) as made:
        loaded, answer = made.load(SYMBOLS, FIRST, LAST), made.query(QUERY)
        shutil.rmtree(tmp_path / "copies")

        assert made.verify().ok
        assert made.load(SYMBOLS, FIRST, LAST).equals(loaded)
        assert made.query(QUERY).equals(answer)
        assert made.coverage().ok
        assert made.aggregate().written == 4
        assert copies(tmp_path) == named(form)


@FORMS
def test_verify_finds_a_flipped_bit_and_the_copy_is_made_again(tmp_path: Path, form: str) -> None:
    with ingested(tmp_path, form) as made:
        path = tmp_path / "copies" / named(form)[0]
        good = path.read_bytes()
        assert made.verify().ok
        place = (
            len(good) // 3
            if form == "parquet"
            else good.index(struct.pack("<d", made.load("AAPL", FIRST, FIRST)["open"][0].as_py()))
        )
        damage(path, good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])

        (problem,) = made.verify().problems

        assert problem.path == f"copies/{named(form)[0]}"
        assert made.aggregate().written == 1
        assert path.read_bytes() == good
        assert made.verify().ok


@FORMS
def test_foreign_files_among_the_copies_are_found(tmp_path: Path, form: str) -> None:
    with ingested(tmp_path, form) as made:
        (tmp_path / "copies/symbol=AAPL/notes.txt").write_text("mine")

        assert [problem.path for problem in made.verify().problems] == ["copies/symbol=AAPL/notes.txt"]


@FORMS
def test_copies_of_a_dropped_symbol_are_removed(tmp_path: Path, form: str) -> None:
    with ingested(tmp_path, form) as made:
        made.drop("AAPL")

        assert copies(tmp_path) == named(form, ("MSFT",))
        assert not (tmp_path / "copies/symbol=AAPL").exists()


@FORMS
def test_a_lock_does_not_name_copies(tmp_path: Path, form: str) -> None:
    with ingested(tmp_path, form) as made:
        lock = made.freeze()
        shutil.rmtree(tmp_path / "copies")

        assert made.freeze() == lock


def test_the_command_makes_copies_and_keeps_their_form(tmp_path: Path) -> None:
    with ingested(tmp_path, "arrow"):
        pass
    (tmp_path / "copies" / named("arrow")[0]).unlink()

    assert run_in_process("aggregate", "--timeframes", "1m", cwd=tmp_path).code == 0
    assert copies(tmp_path) == named("arrow")
    shutil.rmtree(tmp_path / "copies")
    assert run_in_process("aggregate", "--timeframes", "1m", cwd=tmp_path).code == 0
    assert copies(tmp_path) == named("parquet")


def test_another_configured_form_takes_the_place_of_the_first(tmp_path: Path) -> None:
    with ingested(tmp_path, "parquet"):
        pass
    made, _ = store(tmp_path, "arrow")
    with made:
        assert made.ingest().ok
        assert copies(tmp_path) == named("arrow")


@FORMS
def test_a_day_that_is_replaced_between_two_loads_is_in_the_second(tmp_path: Path, form: str) -> None:
    """Also if both have checked what is missing: no load relies on what an earlier one has seen."""
    with ingested(tmp_path, form) as made:
        before, month = made.load("AAPL", FIRST, LAST), ("2024-01-01", "2024-01-31")
        first = made.load("AAPL", *month, complete="ignore")
        other = tmp_path / "data/symbol=MSFT/year=2024/month=01/day=30.parquet"
        (tmp_path / "data/symbol=AAPL/year=2024/month=01/day=31.parquet").write_bytes(other.read_bytes())

        assert made.load("AAPL", *month, complete="ignore").num_rows == first.num_rows
        assert not made.load("AAPL", FIRST, LAST, complete="ignore").equals(before)
        with pytest.warns(IncompleteWarning):
            assert not made.load("AAPL", FIRST, LAST).equals(before)


@FORMS
def test_aggregates_without_files_are_made_of_copies(tmp_path: Path, form: str) -> None:
    with ingested(tmp_path, form) as made:
        expected = made.load("AAPL", FIRST, LAST, "10m")
        without_day_files(tmp_path)

        assert made.load("AAPL", FIRST, LAST, "10m", complete="ignore").equals(expected)


def test_status_metrics_and_the_report_page_count_fresh_stale_and_absent_copies(tmp_path: Path) -> None:
    with ingested(tmp_path, "parquet") as made:
        fresh = made.status()
        (tmp_path / "copies" / "symbol=AAPL" / "year=2024" / "month=01.parquet").unlink()
        os.utime(tmp_path / "copies" / "symbol=MSFT" / "year=2024" / "month=02.parquet", ns=(1, 1))
        found, counted = made.status(), values_of(made, "store_read_copies", "condition")
        (of_page,) = (each for each in facts_in(made.report().html)["aggregates"] if "copies" in each["timeframe"])

    assert fresh.read_copies is not None
    assert (fresh.read_copies.fresh, fresh.read_copies.stale, fresh.read_copies.absent) == (4, 0, 0)
    assert found.read_copies is not None
    assert found.read_copies.names == {"AAPL 2024-01": "absent", "MSFT 2024-02": "stale"}
    assert counted == {"fresh": 2, "stale": 1, "absent": 1}
    assert (of_page["fresh"], of_page["stale"], of_page["absent"]) == (2, 1, 1)


def test_status_prints_copies_only_of_a_store_that_keeps_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with ingested(tmp_path / "with", "arrow") as made, ingested(tmp_path / "without") as plain:
        print_status(plain.status(), as_json=False)
        assert "read copies" not in capsys.readouterr().out
        print_status(made.status(), as_json=False)
        assert "\nread copies: 4 fresh, 0 stale, 0 absent\n" in capsys.readouterr().out
        (tmp_path / "with" / "copies" / "symbol=AAPL" / "year=2024" / "month=01.arrow").unlink()
        print_status(made.status(), as_json=False)
        shown = capsys.readouterr().out
        assert "3 fresh, 0 stale, 1 absent\n  3 Arrow files, " in shown
        assert f" MB, in {tmp_path / 'with' / 'copies'}\n" in shown
        assert "without a fresh copy are read from day files until 'marketpipe aggregate --timeframes 1m'" in shown
        print_status(made.status(), as_json=True)
        found = json.loads(capsys.readouterr().out)["read_copies"]
    assert (found["fresh"], found["stale"], found["absent"], found["configured"]) == (3, 0, 1, "arrow")
    assert (found["files"], found["folder"]) == ({"arrow": 3}, str(tmp_path / "with" / "copies"))
    assert found["size_bytes"] == sum(path.stat().st_size for path in (tmp_path / "with/copies").rglob("*.arrow"))


@pytest.mark.parametrize(
    ("form", "advice"),
    [
        ("arrow", "read_copies is arrow: the 4 Parquet ones are read until the next ingestion makes Arrow ones"),
        (
            "none",
            "read_copies is none, so no ingestion refreshes them; 'marketpipe aggregate --timeframes 1m' does",
        ),
    ],
)
def test_copies_in_another_form_than_the_configured_one_are_fresh_and_named(
    form: str, advice: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with ingested(tmp_path, "parquet"):
        pass
    changed, _ = store(tmp_path, form)
    with changed:
        print_status(changed.status(), as_json=False)
        shown = capsys.readouterr().out
        without_day_files(tmp_path)
        assert changed.load("MSFT", "2024-01-02", "2024-02-20", complete="ignore").num_rows == 24
    assert "read copies: 4 fresh, 0 stale, 0 absent\n  4 Parquet files, " in shown
    assert advice in shown


def test_read_copies_are_counted_apart_from_aggregates(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made, _ = store(tmp_path, "parquet", timeframes=("5m",))
    with made:
        first, again = made.ingest(), made.aggregate()
    print_ingestion(first, as_json=False)
    assert "aggregates: 4 files written, 0 unchanged\nread copies: 4 files written, 0 unchanged\n" in (
        capsys.readouterr().out
    )
    print_ingestion(first, as_json=True)
    found = json.loads(capsys.readouterr().out)["aggregates"]
    assert (found["written"], found["copies_written"], found["copies_unchanged"]) == (8, 4, 0)
    assert (again.written, again.unchanged, again.copies_unchanged) == (0, 8, 4)
