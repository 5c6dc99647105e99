"""A file that another program has put in the place of a version is none, and what it replaced keeps its moment."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from attrs import evolve

from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.storage.infrastructure.day_versions import VersionIndex
from tests.unit.storage.infrastructure.test_day_versions_after_a_lost_checkpoint import DAY, Told, begin


def rewrite(told: Told) -> None:
    """The same bars in other bytes, written now."""
    path, now = told.store.path(DAY), told.store.clock.now().epoch_micros * 1000
    pq.write_table(pq.ParquetFile(path).read(), path)
    os.utime(path, ns=(now, now))


def revisions(told: Told) -> list[Path]:
    return sorted(told.store.layout.revisions.rglob("*.parquet"))


@pytest.mark.parametrize("recorded", [True, False])
def test_the_version_that_returns_has_its_moment(tmp_path: Path, recorded: bool) -> None:
    told = begin(tmp_path)
    first = told.step(1.0, 60, recorded=recorded)
    told.store.clock.advance(60)
    rewrite(told)

    again = told.step(1.0, 60, recorded=recorded)

    assert (again.sha256, again.known_since) == (first.sha256, first.known_since)
    assert revisions(told) == []
    told.check()


def test_without_a_record_an_unreadable_file_is_healed_with_the_moment_of_the_index(tmp_path: Path) -> None:
    told = begin(tmp_path)
    first = told.step(1.0, 60, recorded=False)
    told.store.path(DAY).write_bytes(b"not Parquet")

    assert told.step(1.0, 60, recorded=False).known_since == first.known_since


def test_a_state_that_does_not_know_moments_takes_the_file_for_a_version(tmp_path: Path) -> None:
    told = begin(tmp_path)
    told.step(1.0, 60, recorded=True)
    assert told.register.version is not None
    told.register.version = evolve(told.register.version, known_since=None)
    rewrite(told)

    told.step(2.0, 60, recorded=True)

    assert len(revisions(told)) == 1


@pytest.mark.parametrize("is_kept", [True, False])
def test_a_former_version_that_is_put_back_is_a_revision_of_its_moment(tmp_path: Path, is_kept: bool) -> None:
    told = begin(tmp_path)
    told.step(1.0, 60, recorded=True)
    former = told.store.path(DAY).read_bytes()
    second = told.step(2.0, 60, recorded=True)
    (kept,) = revisions(told)
    if not is_kept:
        kept.unlink()
    told.store.path(DAY).unlink()
    told.store.path(DAY).write_bytes(former)

    again = told.step(2.0, 60, recorded=True)

    assert (again.known_since, revisions(told)) == (second.known_since, [kept])
    told.check()


@pytest.mark.parametrize(("seconds", "count"), [(60, 2), (-3600, 1)])
def test_a_version_whose_record_and_line_are_lost_is_known_by_the_revision_before_it(
    tmp_path: Path, seconds: int, count: int
) -> None:
    """If its time is none at which it can have been published, it is that of another program."""
    told = begin(tmp_path)
    told.step(1.0, 60, recorded=True)
    index = told.store.layout.version_index(DAY.symbol)
    lines = index.read_bytes()
    told.step(2.0, 60, recorded=False)
    index.write_bytes(lines)
    if seconds < 0:
        os.utime(told.store.path(DAY), ns=(0, told.store.clock.now().epoch_micros * 1000 + seconds * 1_000_000_000))

    told.step(3.0, 60, recorded=True)

    assert len(revisions(told)) == count


def test_the_index_tells_of_which_dates_there_was_a_version(tmp_path: Path) -> None:
    told = begin(tmp_path)
    first = told.step(1.0, 60, recorded=True)
    known = VersionIndex(told.store.layout).of(DAY.symbol)

    assert first.known_since is not None
    assert known.dates_at(first.known_since) == {str(DAY.trading_date)}
    assert known.dates_at(Timestamp.from_epoch_micros(0)) == set()
