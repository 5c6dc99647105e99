"""Another ``output_path`` is another store: no area is shared with, replaced by or believed of another dataset."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from marketpipe import load_ohlcv
from marketpipe.config import PipelineConfig
from marketpipe.shared_kernel.domain.errors import DatasetMismatchError, PartitionUnreadableError
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.testing import FakeClock, bar
from tests.support.examples import some
from tests.support.pipeline_ring import TUESDAY, WEDNESDAY, config, contents, minutes, pipeline
from tests.support.scripted_provider import ScriptedProvider

BEFORE, BETWEEN, AFTER = "2025-06-02T12:00:00Z", "2025-06-02T13:00:00Z", "2025-06-02T14:00:00Z"
SYMBOLS = ("BRK.B", "ZM")


def provider(feed: str, price: float) -> ScriptedProvider:
    rejected = bar(f"{TUESDAY}T19:00:00Z", high=1.0)
    days = {TUESDAY: [*minutes(TUESDAY, 5, price=price), rejected], WEDNESDAY: minutes(WEDNESDAY, 5, price=price)}
    return ScriptedProvider(dict.fromkeys(SYMBOLS, days), feed=feed)


def store_at(output: Path, **changes: object) -> PipelineConfig:
    """Return a configuration that names no place but the ``output_path``."""
    return PipelineConfig(
        provider="scripted",
        symbols=SYMBOLS,
        start=TUESDAY,
        end=WEDNESDAY,
        output_path=output,
        timeframes=("5m", "1d"),
        **changes,  # type: ignore[arg-type]
    )


def closes(root: Path, timeframe: str = "1m", as_of: str | None = None) -> set[float]:
    return set(load_ohlcv(SYMBOLS, TUESDAY, WEDNESDAY, timeframe, root, as_of=as_of)["close"].to_pylist())


def restated(settings: PipelineConfig, feed: str, prices: Sequence[float], first: str) -> None:
    with pipeline(settings, provider(feed, prices[0]), FakeClock(first)) as store:
        assert store.ingest().ok
    for number, price in enumerate(prices[1:], 1):
        clock = FakeClock(str(Timestamp.parse(first).moment.replace(minute=number).isoformat()))
        with pipeline(settings, provider(feed, price), clock) as store:
            assert store.audit(start=TUESDAY, end=WEDNESDAY, adopt=True).adopted


@pytest.mark.parametrize(("one", "other"), some([("data", "data_sip"), ("bars", "bars2"), ("a/data", "b/data")]))
def test_another_output_path_alone_shares_nothing(tmp_path: Path, one: str, other: str) -> None:
    root, other_root = (tmp_path / name if not name.endswith("/data") else tmp_path / name[0] for name in (one, other))
    root = tmp_path if one == "data" else root
    restated(store_at(tmp_path / one), "thin", [100.0], BEFORE)
    before, daily = contents(tmp_path), closes(root, "1d")
    restated(store_at(tmp_path / other), "tape", [500.0, 600.0], BEFORE)
    restated(store_at(tmp_path / one), "thin", [100.0, 101.0], AFTER)

    changed = {name for name, digest in before.items() if contents(tmp_path)[name] != digest}
    assert all("/".join(name.split("/")[: len(Path(one).parts)]) != other for name in changed)
    assert closes(other_root, "1d") == {601.5}
    assert daily == {101.5}
    assert closes(root, as_of=BETWEEN) == {100.5, 100.75, 101.0, 101.25, 101.5}
    for output in (one, other):
        with pipeline(store_at(tmp_path / output), provider("thin" if output == one else "tape", 1.0)) as store:
            assert store.verify().ok


@pytest.mark.parametrize("key", ["aggregates_path", "quarantine_path", "revisions_path"])
def test_an_area_of_another_dataset_is_refused_before_anything_is_touched(tmp_path: Path, key: str) -> None:
    restated(store_at(tmp_path / "data"), "thin", [100.0, 101.0], BEFORE)
    whole, shared = contents(tmp_path), {key: tmp_path / key.removesuffix("_path")}

    with (
        pipeline(store_at(tmp_path / "tape" / "data", **shared), provider("tape", 500.0)) as store,
        pytest.raises(DatasetMismatchError, match=rf"contains the dataset of .*thin.*give another {key}"),
    ):
        store.ingest()
    assert contents(tmp_path) == whole
    assert not (tmp_path / "tape").exists()


def test_a_file_of_another_dataset_is_neither_replaced_nor_believed(tmp_path: Path) -> None:
    for name, price in (("thin", 100.0), ("tape", 500.0)):
        restated(store_at(tmp_path / name / "data"), name, [price, price + 1], BEFORE)
    daily = "aggregates/timeframe=1d/symbol=ZM/year=2024.parquet"
    rejected = f"quarantine/symbol=ZM/year=2024/month=01/day={TUESDAY[-2:]}.parquet"
    revision = next((tmp_path / "tape/revisions/symbol=ZM").rglob("day=03.*")).relative_to(tmp_path / "tape")
    for file in (daily, rejected, revision):
        shutil.copyfile(tmp_path / "tape" / file, tmp_path / "thin" / file)
    foreign = contents(tmp_path / "thin")

    settings = store_at(tmp_path / "thin" / "data")
    with pipeline(settings, provider("thin", 102.0), FakeClock(AFTER)) as store:
        assert {problem.path for problem in store.verify().problems} == {daily, rejected, str(revision)}
        with pytest.raises(PartitionUnreadableError, match=r"year=2024\.parquet is of .*feed tape.*: move it away"):
            store.load("ZM", TUESDAY, WEDNESDAY, "1d")
        with pytest.raises(PartitionUnreadableError, match=r"day=03\..* is of .*feed tape"):
            store.load("ZM", WEDNESDAY, WEDNESDAY, as_of=BETWEEN.replace("13:00", "12:00"))
        report = store.ingest("ZM", TUESDAY, TUESDAY)

        assert [error for error in report.failures.values() if "quarantine" in error and "move it away" in error]
        assert any("symbol=ZM" in failure and "feed tape" in failure for failure in store.aggregate().failures)
    assert {name: contents(tmp_path / "thin")[name] for name in (daily, rejected)} == {
        name: foreign[name] for name in (daily, rejected)
    }


def test_a_store_of_an_earlier_version_keeps_the_places_that_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    former = config(Path(), SYMBOLS, TUESDAY, WEDNESDAY, output_path="elsewhere/bars", timeframes=["1d"])
    restated(former, "thin", [100.0, 101.0], BEFORE)
    whole = contents(tmp_path)

    with pipeline(store_at(Path("elsewhere/bars")), provider("thin", 101.0)) as store:
        assert store.config.aggregates_path == Path("aggregates")
        assert store.ingest().planned == 0
        assert set(whole) <= set(contents(tmp_path))
    with pipeline(store_at(Path("elsewhere/new")), provider("thin", 101.0)) as store:
        assert store.config.state_path == Path("elsewhere/new_state/marketpipe.sqlite")
