"""A folder in the place of a day file hides no other damage, and has one advice wherever it is met."""

from __future__ import annotations

from pathlib import Path

import pytest

from marketpipe import PartitionUnreadableError
from marketpipe.storage.domain.integrity import MOVE_AWAY
from tests.support.pipeline_ring import FRIDAY, TUESDAY, WEDNESDAY, config, minutes, pipeline
from tests.support.scripted_provider import ScriptedProvider

DATES = (TUESDAY, WEDNESDAY, FRIDAY)


def bars(price: float) -> dict[str, dict[str, list[dict[str, object]]]]:
    return {"MSFT": {date: minutes(date, 5, price=price) for date in DATES}}


def folder_of(root: Path) -> Path:
    return root / "data" / "symbol=MSFT" / "year=2024" / "month=01"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Tuesday's file is a folder, Wednesday's and a revision are cut, and aggregates are of the bars before these."""
    with pipeline(
        config(tmp_path, ("MSFT",), TUESDAY, FRIDAY, timeframes=["1h"]), ScriptedProvider(bars(50.0))
    ) as made:
        assert made.ingest().ok
    folder = folder_of(tmp_path)
    (folder / "day=02.parquet").unlink()
    (folder / "day=02.parquet").mkdir()
    with pipeline(config(tmp_path, ("MSFT",), TUESDAY, FRIDAY), ScriptedProvider(bars(70.0))) as made:
        made.audit("MSFT", WEDNESDAY, FRIDAY, adopt=True)
    (folder / "day=03.parquet").write_bytes(b"cut")
    next((tmp_path / "revisions").rglob("day=05*.parquet")).write_bytes(b"cut")
    return tmp_path


def test_verify_checks_the_other_files_of_the_symbol(root: Path) -> None:
    with pipeline(config(root, ("MSFT",), TUESDAY, FRIDAY), ScriptedProvider(bars(70.0))) as made:
        report = made.verify()

    named = {problem.path.rpartition("/")[2][:6] for problem in report.problems}
    assert named == {"day=02", "day=03", "day=05"}
    assert not any("may not have been checked" in problem.reason for problem in report.problems)


def test_the_advice_is_true_and_has_the_same_words_everywhere(root: Path) -> None:
    settings = config(root, ("MSFT",), TUESDAY, FRIDAY, timeframes=["1h"])
    with pipeline(settings, ScriptedProvider(bars(70.0))) as made:
        verified = {problem.path[-14:]: problem.reason for problem in made.verify().problems}
        assert verified["day=02.parquet"].endswith(MOVE_AWAY)
        ingested = made.ingest()
        assert [MOVE_AWAY in text for text in ingested.failures.values()] == [True]
        assert [MOVE_AWAY in str(text) for text in ingested.aggregates.failures] == [True]
        with pytest.raises(PartitionUnreadableError, match=MOVE_AWAY):
            made.load("MSFT", TUESDAY, TUESDAY, complete="ignore")

        (folder_of(root) / "day=02.parquet").rmdir()

        assert made.ingest().ok
        left = [problem.path for problem in made.verify().problems]
    assert [path.partition("/")[0] for path in left] == ["revisions"]
