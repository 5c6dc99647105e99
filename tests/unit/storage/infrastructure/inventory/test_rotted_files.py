from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from pathlib import Path

import pytest
from attrs import evolve, field, frozen

from marketpipe.shared_kernel.domain.errors import DatasetMismatchError
from marketpipe.shared_kernel.domain.store_inventory import (
    NO_MARK,
    DatasetIdentity,
    RecordedOfficialYear,
    RecordedVersion,
)
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.trading_date import DaysOfYear, TradingDate
from marketpipe.storage.domain.data_partition import has_rotted
from marketpipe.storage.infrastructure.day_versions import file_mark
from marketpipe.storage.infrastructure.inventory.rotted_files import RottedFiles
from marketpipe.storage.infrastructure.inventory.stored_identity import StoredIdentity
from marketpipe.storage.infrastructure.parquet_files import sha256
from marketpipe.testing import bar
from tests.support.builders import day
from tests.support.in_memory_file_digests import InMemoryFileDigests
from tests.support.store_on_disk import IDENTITY, NothingRecorded, StoreOnDisk

AAPL = (day("AAPL", "2024-01-02"), [bar("2024-01-02T15:00:00Z")])
ROTTED = evolve(IDENTITY, adjustment="rAw")


def _record(content: bytes) -> RecordedVersion:
    return RecordedVersion(file_mark(len(content), 5_000), None, sha256(content))


@frozen
class _Days(NothingRecorded):
    record: RecordedVersion

    def versions(self, symbol: Symbol, first: TradingDate, last: TradingDate) -> Mapping[TradingDate, RecordedVersion]:
        known = {TradingDate.parse("2024-01-02"): self.record} if symbol == Symbol("AAPL") else {}
        return {date: version for date, version in known.items() if first <= date <= last}


@frozen
class _Years:
    of: Mapping[int, RecordedOfficialYear] = field(factory=dict)

    def years(self, symbol: Symbol, first: int, last: int) -> Mapping[int, RecordedOfficialYear]:
        return {year: known for year, known in self.of.items() if first <= year <= last}

    def reopen(self, symbol: Symbol, dates: Collection[TradingDate]) -> None:
        """Do nothing."""

    def forget(self, symbol: Symbol) -> None:
        """Do nothing."""


def _identity(store: StoreOnDisk, record: RecordedVersion) -> StoredIdentity:
    return StoredIdentity(
        store.layout, RottedFiles(store.layout, lambda: (_Days(record), _Years(), InMemoryFileDigests()))
    )


def _stored(root: Path, identity: DatasetIdentity = IDENTITY) -> tuple[StoreOnDisk, Path]:
    store = StoreOnDisk(root, identity)
    store.keep(AAPL)
    return store, store.layout.bars(AAPL[0])


def test_a_file_with_as_many_bytes_as_recorded_and_others_has_rotted() -> None:
    record = _record(b"split")
    other, same = sha256(b"spLit"), sha256(b"split")
    assert has_rotted(5, other, record)
    assert not has_rotted(5, same, record)
    assert not has_rotted(3, other, record), "it comes from elsewhere"
    assert not has_rotted(5, other, evolve(record, mark=NO_MARK))
    assert not has_rotted(5, other, None)


def test_a_day_file_whose_dataset_has_rotted_is_no_other_dataset(tmp_path: Path) -> None:
    store, path = _stored(tmp_path)
    _, file = _stored(tmp_path / "other", ROTTED)
    content = file.read_bytes()
    identity = _identity(store, RecordedVersion(file_mark(len(content), 0), None, sha256(path.read_bytes())))
    path.write_bytes(content)

    assert identity.read() == ROTTED
    identity.check(IDENTITY)
    assert identity.read() == IDENTITY, "that of its record, while the file stays as it is"
    os.utime(path, ns=(1, 1))
    assert identity.read() == ROTTED


@pytest.mark.parametrize("known", ["its digest", "another size", "nothing"])
def test_a_day_file_of_another_dataset_is_refused(tmp_path: Path, known: str) -> None:
    store, path = _stored(tmp_path, ROTTED)
    content = path.read_bytes()
    record = _record(content if known == "its digest" else content + b"?")
    identity = StoredIdentity(store.layout) if known == "nothing" else _identity(store, record)

    with pytest.raises(DatasetMismatchError):
        identity.check(IDENTITY)


def test_a_rotted_file_does_not_let_another_dataset_in_beside_sound_ones(tmp_path: Path) -> None:
    store, path = _stored(tmp_path, ROTTED)
    store.keep((day("AAPL", "2024-01-03"), [bar("2024-01-03T15:00:00Z")]))
    content = path.read_bytes()
    identity = _identity(store, RecordedVersion(file_mark(len(content), 0), None, sha256(content + b"?")))
    assert path in identity._rotted

    with pytest.raises(DatasetMismatchError):
        identity.check(IDENTITY)


def test_what_has_no_record_of_its_own_has_not_rotted(tmp_path: Path) -> None:
    store, path = _stored(tmp_path)
    layout = evolve(store.layout, official=tmp_path / "official")
    official = layout.official_days(Symbol("AAPL"), 2024)
    official.parent.mkdir(parents=True)
    official.write_bytes(b"spLit")
    year = RecordedOfficialYear(DaysOfYear(2024), _record(b"split"))
    rotted = RottedFiles(
        layout, lambda: (_Days(_record(path.read_bytes())), _Years({2024: year}), InMemoryFileDigests())
    )

    assert official in rotted
    assert path not in rotted
    assert official not in RottedFiles(layout, lambda: (_Days(_record(b"")), _Years(), InMemoryFileDigests()))
    for foreign in (path.with_name("days.parquet"), tmp_path / "aggregates" / "a.parquet", layout.official / "a" / "b"):
        foreign.parent.mkdir(parents=True, exist_ok=True)
        foreign.write_bytes(b"spLit")
        assert foreign not in rotted
    assert path.with_name("day=03.parquet") not in rotted


@pytest.mark.parametrize("area", ["aggregates", "quarantine", "revisions"])
def test_a_file_with_another_digest_than_the_recorded_ones_has_rotted(tmp_path: Path, area: str) -> None:
    store, _ = _stored(tmp_path)
    digests = InMemoryFileDigests()
    digests.settle({f"{area}/symbol=AAPL/a.parquet": sha256(b"former")})
    digests.expect({f"{area}/symbol=AAPL/a.parquet": sha256(b"split")})
    rotted = RottedFiles(store.layout, lambda: (NothingRecorded(), _Years(), digests))
    path = store.layout.derived()[f"{area}_path"] / "symbol=AAPL" / "a.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)

    for content, is_rotted in ((b"spLit", True), (b"split", False), (b"former", False)):
        path.write_bytes(content)
        path.with_name("b.parquet").write_bytes(content)
        assert (path in rotted) is is_rotted
        assert path.with_name("b.parquet") not in rotted, "it is not on record"
