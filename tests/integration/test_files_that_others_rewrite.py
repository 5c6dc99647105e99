"""A day file that another program rewrites readably was never a version: not before its repair, and not after it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from attrs import define, field

from marketpipe import IncompleteError, PartitionUnreadableError
from marketpipe.config import PipelineConfig
from marketpipe.pipeline import Pipeline
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.testing import FakeClock
from tests.support.pipeline_ring import FRIDAY, TUESDAY, WEDNESDAY, config, minutes, pipeline
from tests.support.scripted_provider import ScriptedProvider

DATES = (TUESDAY, WEDNESDAY, FRIDAY)


def bars(price: float = 50.0) -> dict[str, Any]:
    return {"AAPL": {date: minutes(date, 5, price=price) for date in DATES}}


@define
class Told:
    """A store whose file of Tuesday somebody rewrites, with a moment before that, one between, and one after repair."""

    root: Path
    settings: PipelineConfig
    clock: FakeClock = field(factory=FakeClock)
    moments: list[Timestamp] = field(factory=list)

    def open(self, found: dict[str, Any] | None = None) -> Pipeline:
        return pipeline(self.settings, ScriptedProvider(bars() if found is None else found), self.clock)

    def passes(self) -> Timestamp:
        """Return a moment between what was and what comes."""
        self.clock.advance(60)
        self.moments.append(self.clock.now())
        self.clock.advance(60)
        return self.moments[-1]

    @property
    def file(self) -> Path:
        return self.root / "data" / "symbol=AAPL" / "year=2024" / "month=01" / "day=02.parquet"

    def opens_at(self, moment: Timestamp, complete: str = "ignore") -> list[float]:
        with self.open() as made:
            found = made.load("AAPL", TUESDAY, TUESDAY, as_of=moment, complete=complete)
        prices: list[float] = found["open"].to_pylist()
        return prices


def rewrite(told: Told) -> None:
    """Other prices, in the schema and with the metadata of the store."""
    table = pq.ParquetFile(told.file).read()
    doubled = {name: pc.multiply(table[name], 2.0) for name in ("open", "high", "low", "close", "vwap")}
    for name, column in doubled.items():
        table = table.set_column(table.column_names.index(name), table.schema.field(name), pa.chunked_array(column))
    pq.write_table(table, told.file)
    now = told.clock.now().epoch_micros * 1000
    os.utime(told.file, ns=(now, now))


def ingest(told: Told) -> None:
    with told.open() as made:
        assert made.ingest().ok


def adopt(told: Told) -> None:
    with told.open() as made:
        made.audit("AAPL", TUESDAY, FRIDAY, adopt=True)


def verify_and_ingest(told: Told) -> None:
    with told.open() as made:
        assert not made.verify().ok
        assert made.ingest().ok


def compact_and_ingest(told: Told) -> None:
    with told.open() as made:
        made.compact()
    ingest(told)


def recover_and_ingest(told: Told) -> None:
    for path in told.settings.state_path.parent.iterdir():
        path.unlink()
    with told.open() as made:
        assert not made.recover().ok
        assert made.ingest().ok


def remove_and_ingest(told: Told) -> None:
    told.file.unlink()
    ingest(told)


REPAIRS = (ingest, adopt, verify_and_ingest, compact_and_ingest, recover_and_ingest, remove_and_ingest)


@pytest.fixture
def told(tmp_path: Path) -> Told:
    made = Told(tmp_path, config(tmp_path, ("AAPL",), TUESDAY, FRIDAY))
    made.passes()
    ingest(made)
    made.passes()
    return made


@pytest.mark.parametrize("repair", REPAIRS)
def test_after_the_repair_each_moment_has_the_recorded_version(told: Told, repair: Callable[[Told], None]) -> None:
    recorded = told.opens_at(told.moments[1], "require")
    rewrite(told)
    told.passes()

    repair(told)

    told.passes()
    assert [told.opens_at(moment, "require") for moment in told.moments[1:]] == [recorded] * 3
    assert told.opens_at(told.moments[0]) == []
    assert not list((told.root / "revisions").rglob("*.parquet"))
    with told.open() as made:
        assert made.verify().ok
        assert made.ingest().planned == 0


@pytest.mark.parametrize("form", ["days", "month"])
def test_what_the_provider_restates_follows_the_recorded_version_and_not_the_rewritten_file(
    told: Told, form: str
) -> None:
    if form == "month":
        with told.open() as made:
            made.compact()
            made.compact(undo=True)
    rewrite(told)
    told.passes()

    with told.open(bars(70.0)) as made:
        assert made.ingest().ok

    told.passes()
    assert told.opens_at(told.moments[3])[0] == 70.0
    with pytest.raises(IncompleteError, match="suspect"):
        told.opens_at(told.moments[2], "require")
    with pytest.raises(IncompleteError, match="suspect"):
        told.opens_at(told.moments[1], "require")


def test_as_long_as_the_file_is_rewritten_no_moment_since_it_was_stored_is_called_missing(told: Told) -> None:
    rewrite(told)
    told.passes()

    for moment in told.moments[1:]:
        with pytest.raises(IncompleteError, match="suspect") as raised:
            told.opens_at(moment, "require")
        assert "not stored yet" not in str(raised.value)
        assert ": 1 symbol-day\n" in str(raised.value)


def test_a_former_version_that_somebody_puts_back_keeps_its_own_moment(told: Told) -> None:
    before = told.file.read_bytes()
    with told.open(bars(70.0)) as made:
        made.audit("AAPL", TUESDAY, FRIDAY, adopt=True)
    told.passes()
    (revision,) = (told.root / "revisions").rglob("day=02*.parquet")
    revision.unlink()
    told.file.write_bytes(before)
    told.passes()

    with told.open(bars(70.0)) as made:
        assert made.ingest().ok

    told.passes()
    assert [told.opens_at(moment)[0] for moment in told.moments[1:]] == [50.0, 70.0, 70.0, 70.0]


def test_an_altered_revision_is_refused_and_not_loaded(told: Told) -> None:
    with told.open(bars(70.0)) as made:
        made.audit("AAPL", TUESDAY, FRIDAY, adopt=True)
    (revision,) = (told.root / "revisions").rglob("day=02*.parquet")
    revision.unlink()
    pq.write_table(pq.ParquetFile(told.file).read(), revision)

    with pytest.raises(PartitionUnreadableError, match="has changed bytes") as raised:
        told.opens_at(told.moments[1])
    assert "comes back from a backup only" in str(raised.value)
    assert "repairs it" not in str(raised.value)  # an ingestion brings the bars of today
