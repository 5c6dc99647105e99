"""Copies of another symbol, month or dataset in the place of a fresh one; a root that is named as one of a symbol."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pyarrow as pa
import pytest

from marketpipe import Pipeline
from tests.support.examples import some
from tests.support.pipeline_ring import config, minutes, pipeline
from tests.support.scripted_provider import ScriptedProvider

JANUARY, FEBRUARY = (("2024-01-29", "2024-01-30", "2024-01-31"), ("2024-02-01", "2024-02-02"))
COPY = "copies/symbol={}/year=2024/month={}.{}"
FORMS = pytest.mark.parametrize("form", some(["arrow", "parquet"]))


def ingested(root: Path, form: str, feed: str = "sip", price: float = 100.0) -> Pipeline:
    days = [*JANUARY, *FEBRUARY]
    bars = {
        symbol: {date: minutes(date, 6, price=price + more) for date in days}
        for more, symbol in enumerate(("AAPL", "MSFT"))
    }
    settings = config(root, ["AAPL", "MSFT"], days[0], days[-1], timeframes=("5m",), read_copies=form)
    made = pipeline(settings, ScriptedProvider(bars, feed=feed))
    assert made.ingest().ok
    return made


def answers(made: Pipeline) -> list[pa.Table]:
    loaded = made.load("AAPL", "2024-01-01", "2024-02-29", complete="ignore")
    return [loaded, made.query("SELECT * FROM bars ORDER BY ALL"), made.query("SELECT * FROM bars_10m ORDER BY ALL")]


def put(source: Path, place: Path) -> None:
    found = place.stat()
    content = source.read_bytes()
    place.unlink()
    place.write_bytes(content)
    os.utime(place, ns=(found.st_mtime_ns, found.st_mtime_ns))


@FORMS
@pytest.mark.parametrize("other", [("MSFT", "01"), ("AAPL", "02")])
def test_a_copy_of_another_symbol_or_month_is_not_read(tmp_path: Path, form: str, other: tuple[str, str]) -> None:
    with ingested(tmp_path, form) as made:
        whole = answers(made)
        put(tmp_path / COPY.format(*other, form), tmp_path / COPY.format("AAPL", "01", form))

        assert answers(made) == whole


@FORMS
def test_a_copy_of_another_dataset_is_not_read_and_no_aggregate_is_made_of_it(tmp_path: Path, form: str) -> None:
    with ingested(tmp_path / "other", form, feed="iex", price=300.0):
        pass
    with ingested(tmp_path / "ours", form) as made:
        whole, of_five = answers(made), made.query("SELECT * FROM bars_5m ORDER BY ALL")
        for month in ("01", "02"):
            name = COPY.format("AAPL", month, form)
            put(tmp_path / "other" / name, tmp_path / "ours" / name)
        shutil.rmtree(tmp_path / "ours/aggregates")

        assert answers(made) == whole
        made.aggregate(timeframes=["5m"])
        assert made.query("SELECT * FROM bars_5m ORDER BY ALL") == of_five


@pytest.mark.parametrize("form", some(["arrow", "parquet", "none"]))
def test_a_store_below_a_folder_that_is_named_as_one_of_a_symbol_has_its_own_symbols(tmp_path: Path, form: str) -> None:
    with ingested(tmp_path / "plain", form) as made:
        expected = answers(made), made.query("SELECT * FROM bars_5m ORDER BY ALL")
    with ingested(tmp_path / "symbol=ZZZ/year=1999", form) as made:
        assert (answers(made), made.query("SELECT * FROM bars_5m ORDER BY ALL")) == expected
