"""Every register of file digests keeps the same promises."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from marketpipe.ingestion.infrastructure.sql.state import SqlState
from marketpipe.ingestion.infrastructure.sqlite_state import SQLiteState
from marketpipe.shared_kernel.domain.store_inventory import ABSENT, FileDigests
from tests.simulation.modelled_states import ModelledState
from tests.support.in_memory_file_digests import InMemoryFileDigests

FOLDER = "aggregates/timeframe=5m/symbol=BRK.B/"
ONE, OTHER = f"{FOLDER}year=2024/month=01.parquet", f"{FOLDER}year=2024/month=02.parquet"
OF_ANOTHER = "aggregates/timeframe=5m/symbol=BRK.BA/year=2024/month=01.parquet"


@pytest.fixture(params=["SQLite", "simulated", "in memory", "postgresql"])
def digests(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[FileDigests]:
    if request.param == "in memory":
        yield InMemoryFileDigests()
        return
    state: SqlState
    if request.param == "postgresql":
        state = request.getfixturevalue("postgres_states").open()
    elif request.param == "SQLite":
        state = SQLiteState(tmp_path / "state.sqlite", "../data")
    else:
        state = ModelledState()
    yield state.file_digests
    state.close()


def test_a_file_has_both_digests_while_it_is_replaced_and_one_afterwards(digests: FileDigests) -> None:
    digests.settle({ONE: "aa"})
    digests.expect({ONE: "bb"}, durable=True)
    digests.expect({OTHER: "cc"})

    assert digests.below(FOLDER) == {ONE: {"aa", "bb"}, OTHER: {"cc", ABSENT}}

    digests.settle({ONE: "bb", OTHER: "cc"})
    assert digests.below(FOLDER) == {ONE: {"bb"}, OTHER: {"cc"}}
    assert digests.below(ONE) == {ONE: {"bb"}}


def test_a_removed_file_may_be_absent_and_is_then_forgotten(digests: FileDigests) -> None:
    digests.settle({ONE: "aa"})

    digests.expect({ONE: ABSENT})
    assert digests.below(FOLDER) == {ONE: {"aa", ABSENT}}

    digests.settle({ONE: ABSENT})
    assert digests.below(FOLDER) == {}


def test_only_what_is_not_recorded_is_adopted(digests: FileDigests) -> None:
    digests.expect({ONE: "aa"})

    digests.adopt({ONE: "bb", OTHER: "bb"})

    assert digests.below(FOLDER) == {ONE: {"aa", ABSENT}, OTHER: {"bb"}}


def test_a_folder_has_the_files_below_it_and_no_others(digests: FileDigests) -> None:
    digests.settle({OF_ANOTHER: "aa"})

    assert digests.below(FOLDER) == {}
    assert not digests.has_any(FOLDER)
    assert digests.has_any("aggregates/timeframe=5m/")
    assert not digests.has_any("aggregates/timeframe=15m/")


def test_stores_in_one_state_file_do_not_share_digests(tmp_path: Path) -> None:
    one, other = (SQLiteState(tmp_path / "state.sqlite", location) for location in ("../one", "../other"))
    one.file_digests.settle({ONE: "aa"})

    assert other.file_digests.below(FOLDER) == {}
    for state in (one, other):
        state.close()
