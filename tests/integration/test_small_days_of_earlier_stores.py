"""Earlier versions compressed small day files with zstd: they stay as they are while their bars do not change."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from marketpipe.storage.domain.dataset_lock import DatasetLock
from tests.support.earlier_stores import compress_small_days_with_zstd
from tests.support.pipeline_ring import THURSDAY, TUESDAY, WEDNESDAY, config, contents, fingerprints, minutes, pipeline
from tests.support.scripted_provider import ScriptedProvider

DATES = (TUESDAY, WEDNESDAY, THURSDAY)
LARGE = 150


@pytest.fixture
def provider() -> ScriptedProvider:
    return ScriptedProvider(
        {"AAPL": {TUESDAY: minutes(TUESDAY, 20), WEDNESDAY: minutes(WEDNESDAY), THURSDAY: minutes(THURSDAY, LARGE)}}
    )


@pytest.fixture
def earlier(tmp_path: Path, provider: ScriptedProvider) -> Path:
    """Return the root of a store with two small days and a large one, with aggregates, that an earlier version made."""
    with pipeline(config(tmp_path, ["AAPL"], TUESDAY, THURSDAY), provider) as store:
        store.ingest()
    assert compress_small_days_with_zstd(tmp_path) == 2
    with pipeline(config(tmp_path, ["AAPL"], TUESDAY, THURSDAY, timeframes=["5m", "1d"]), provider) as store:
        store.aggregate()
        (tmp_path / "state" / "bars.lock").write_text(store.freeze().text())
    return tmp_path


def request_everything_again(root: Path, provider: ScriptedProvider) -> None:
    """Check also that the store agrees with its state and with its lock afterwards."""
    with closing(sqlite3.connect(root / "state" / "marketpipe.sqlite")) as state, state:
        state.execute("UPDATE checkpoints SET outcome = 'failed', error = 'marked by a test'")
    provider.forget()
    with pipeline(config(root, ["AAPL"], TUESDAY, THURSDAY, timeframes=["5m", "1d"]), provider) as store:
        report = store.ingest()
        assert (report.ok, sorted(provider.asked)) == (True, [f"AAPL {date}" for date in DATES])
        assert store.verify(lock=DatasetLock.parse((root / "state" / "bars.lock").read_text())).ok
        assert store.aggregate().written == 0


def codecs(root: Path) -> list[str]:
    files = sorted((root / "data").rglob("*.parquet"))
    return [pq.read_metadata(path).row_group(0).column(0).compression for path in files]


def test_small_days_have_a_codec_of_their_own(tmp_path: Path, provider: ScriptedProvider) -> None:
    with pipeline(config(tmp_path, ["AAPL"], TUESDAY, THURSDAY), provider) as store:
        store.ingest()

    assert codecs(tmp_path) == ["SNAPPY", "SNAPPY", "ZSTD"]


def test_equal_bars_are_no_new_version(earlier: Path, provider: ScriptedProvider) -> None:
    before = fingerprints(earlier)
    assert codecs(earlier) == ["ZSTD", "ZSTD", "ZSTD"]

    request_everything_again(earlier, provider)

    assert fingerprints(earlier) == before
    assert not list((earlier / "revisions").rglob("*.parquet"))


def test_lost_files_come_back_with_the_bytes_and_the_moment_that_are_recorded(
    earlier: Path, provider: ScriptedProvider
) -> None:
    before = fingerprints(earlier)
    for path in (earlier / "data").rglob("*.parquet"):
        path.unlink()

    request_everything_again(earlier, provider)

    assert fingerprints(earlier) == before


def test_a_recovered_state_knows_them_too(earlier: Path, provider: ScriptedProvider) -> None:
    before = fingerprints(earlier)
    (earlier / "state" / "marketpipe.sqlite").unlink()
    with pipeline(config(earlier, ["AAPL"], TUESDAY, THURSDAY), provider) as store:
        store.recover()

    request_everything_again(earlier, provider)

    assert fingerprints(earlier) == before


def test_a_changed_day_gets_the_new_codec_and_keeps_its_former_version(
    earlier: Path, provider: ScriptedProvider
) -> None:
    before = contents(earlier)
    corrected = ScriptedProvider({"AAPL": {WEDNESDAY: minutes(WEDNESDAY, price=50.0)}})
    with closing(sqlite3.connect(earlier / "state" / "marketpipe.sqlite")) as state, state:
        state.execute("UPDATE checkpoints SET outcome = 'failed' WHERE trading_date = ?", (WEDNESDAY,))
    with pipeline(config(earlier, ["AAPL"], TUESDAY, THURSDAY), corrected) as store:
        store.ingest()
        assert store.verify().ok

    (revision,) = (earlier / "revisions").rglob("*.parquet")
    assert contents(earlier)[str(revision.relative_to(earlier))] in before.values()
    assert codecs(earlier) == ["ZSTD", "SNAPPY", "ZSTD"]
