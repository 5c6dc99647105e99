"""No link below the folders of a store is followed; the folders themselves may be links."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from marketpipe.pipeline import Pipeline
from marketpipe.shared_kernel.domain.errors import MarketPipeError, StorageError
from marketpipe.testing import bar
from tests.support.builders import day
from tests.support.pipeline_ring import TUESDAY, WEDNESDAY, config, contents, minutes, pipeline
from tests.support.scripted_provider import ScriptedProvider

BARS = {
    symbol: {
        TUESDAY: [*minutes(TUESDAY, 5), bar(f"{TUESDAY}T19:00:00Z", high=1.0)],
        WEDNESDAY: minutes(WEDNESDAY, 5),
    }
    for symbol in ("AAPL", "MSFT")
}
LINKED = [
    "data/symbol=MSFT",
    "data/symbol=MSFT/year=2024",
    "data/symbol=MSFT/year=2024/month=01",
    "quarantine/symbol=MSFT",
    "aggregates/timeframe=1d",
    "aggregates/timeframe=1d/symbol=MSFT",
    "revisions/symbol=MSFT",
]
AAPL = day("AAPL", TUESDAY).symbol
READS: list[Callable[[Pipeline], object]] = [
    lambda store: store.load("MSFT", TUESDAY, WEDNESDAY),
    lambda store: store.load("MSFT", TUESDAY, WEDNESDAY, "1d"),
    lambda store: store.query("SELECT count(*) FROM bars"),
    lambda store: store.query("SELECT count(*) FROM bars_1d"),
]


def opened(root: Path) -> Pipeline:
    settings = config(root / "store", ("AAPL", "MSFT"), TUESDAY, WEDNESDAY, timeframes=["1d"])
    return pipeline(settings, ScriptedProvider(BARS))


def link(root: Path, place: str) -> Path:
    """Put a link in the place of a folder of the store, which is moved outside."""
    at, outside = root / "store" / place, root / "outside"
    at.rename(outside) if at.exists() else outside.mkdir()
    at.parent.mkdir(parents=True, exist_ok=True)
    at.symlink_to(outside)
    return outside


@pytest.mark.parametrize("place", LINKED)
def test_nothing_is_written_through_a_link_in_a_new_store(tmp_path: Path, place: str) -> None:
    outside = link(tmp_path, place)

    with opened(tmp_path) as store:
        report = store.ingest()

    assert contents(outside) == {}
    assert place.startswith("revisions") or not report.ok
    assert {failed.symbol for failed in report.failures} <= {day("MSFT", TUESDAY).symbol}
    messages = [*report.failures.values(), *report.aggregates.failures]
    assert all(place.rpartition("/")[2] in message and "link" in message for message in messages)


@pytest.mark.parametrize("place", LINKED[:-1])
def test_a_link_in_a_store_is_named_and_neither_read_nor_written(tmp_path: Path, place: str) -> None:
    with opened(tmp_path) as store:
        assert store.ingest().ok
    outside = link(tmp_path, place)
    before = {path: path.stat().st_mtime_ns for path in outside.rglob("*")}

    with opened(tmp_path) as store:
        verified = {problem.path: problem.reason for problem in store.verify().problems}
        assert "link" in verified[place]
        assert any("is a link" in error for error in (_error_of(read, store) for read in READS)) or "quar" in place
        covered = store.coverage()
        assert covered.ok is not place.startswith("data")
        assert all(not report.verdict.disproves for report in covered.days() if report.symbol_day.symbol == AAPL)
        store.ingest()
        store.aggregate()
        store.audit("MSFT", TUESDAY, WEDNESDAY, adopt=True)

    assert {path: path.stat().st_mtime_ns for path in outside.rglob("*")} == before


def _error_of(read: Callable[[Pipeline], object], store: Pipeline) -> str:
    try:
        read(store)
    except StorageError as error:
        return str(error)
    except MarketPipeError as error:
        raise AssertionError from error
    return ""


def test_the_folders_of_a_store_may_be_links_themselves(tmp_path: Path) -> None:
    for area in ("data", "aggregates", "quarantine", "revisions"):
        (tmp_path / "disk" / area).mkdir(parents=True)
        (tmp_path / "store").mkdir(exist_ok=True)
        (tmp_path / "store" / area).symlink_to(tmp_path / "disk" / area)

    with opened(tmp_path) as store:
        assert store.ingest().ok
        assert store.verify().ok
        assert store.coverage().ok
        assert len(store.load("MSFT", TUESDAY, WEDNESDAY)) == 10
        assert store.query("SELECT count(*) AS n FROM bars_1d").to_pylist() == [{"n": 4}]
