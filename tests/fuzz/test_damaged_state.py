"""A state file with flipped, lost and added bytes, or with other values: it causes only errors of MarketPipe's own,
and ``recover`` makes a good one of the stored files."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketpipe import MarketPipeError, Pipeline
from marketpipe.ingestion.infrastructure.sqlite_schema import TABLES
from tests.support.in_process_cli import within
from tests.support.nasty import NO_SYMBOLS, Edit, damaged, damages, fuzzed
from tests.support.pipeline_ring import TUESDAY, WEDNESDAY, config, contents, minutes, pipeline
from tests.support.scripted_provider import ScriptedProvider

pytestmark = pytest.mark.slow
SYMBOLS = ["AAPL", "MSFT"]
PROVIDER = ScriptedProvider({name: {day: minutes(day) for day in (TUESDAY, WEDNESDAY)} for name in SYMBOLS})
STATE = "state/marketpipe.sqlite"
USES: dict[str, Callable[[Pipeline], object]] = {
    "audit": lambda store: store.audit(start=TUESDAY),
    "coverage": lambda store: store.coverage(),
    "freeze": lambda store: store.freeze(),
    "ingest": lambda store: store.ingest(),
    "plan": lambda store: store.plan(retry_suspect=True),
    "status": lambda store: store.status(),
    "update": lambda store: store.update("AAPL"),
    "verify": lambda store: store.verify(),
}
VALUES = st.one_of(
    st.integers(-(2**63), 2**63 - 1),
    st.sampled_from([0, 1, 8, -1, 10**17, None, b"", b"\0" * 200, b"\xff" * 180]),
    st.sampled_from([*NO_SYMBOLS, "2024-13-01", "2024-01-02 ", "complete", "empty", "regular", "AAPL", "0" * 64, "x"]),
    st.text(max_size=12),
    st.binary(max_size=200),
)


def opened(root: Path) -> Pipeline:
    return pipeline(config(root, SYMBOLS, TUESDAY, WEDNESDAY, workers=1), PROVIDER)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("whole")
    with opened(root) as store:
        assert store.ingest().ok
    return root


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory, whole: Path) -> Path:
    root = tmp_path_factory.mktemp("work") / "store"
    shutil.copytree(whole, root)
    return root


def begin(work: Path, whole: Path) -> Path:
    shutil.rmtree(work / "state")
    shutil.copytree(whole / "state", work / "state")
    return work / STATE


def columns() -> list[tuple[str, str]]:
    with closing(sqlite3.connect(":memory:")) as connection:
        for statement in TABLES:
            connection.execute(statement)
        tables = ("stores", "jobs", "checkpoints", "partitions")
        return [(table, row[1]) for table in tables for row in connection.execute(f"PRAGMA table_info({table})")]


def check(work: Path, whole: Path, uses: list[str]) -> None:
    for use in uses:
        with within(60), suppress(MarketPipeError), opened(work) as store:
            USES[use](store)
    assert contents(work) == contents(whole)
    with within(60), opened(work) as store:
        store.recover(force=True)
        assert store.ingest().ok
        assert store.coverage().ok
        assert store.verify().ok
    assert contents(work) == contents(whole)


@fuzzed(15)
@given(edits=damages, uses=st.lists(st.sampled_from(sorted(USES)), min_size=1, max_size=2))
def test_any_damage_to_the_state_file_is_an_error_until_it_is_recovered(
    work: Path, whole: Path, edits: list[Edit], uses: list[str]
) -> None:
    file = begin(work, whole)
    file.write_bytes(damaged((whole / STATE).read_bytes(), edits))
    check(work, whole, uses)


@fuzzed(25)
@given(
    column=st.sampled_from(columns()),
    value=VALUES,
    uses=st.lists(st.sampled_from(sorted(USES)), min_size=1, max_size=3),
)
def test_any_value_in_the_state_file_is_an_error_until_it_is_recovered(
    work: Path, whole: Path, column: tuple[str, str], value: Any, uses: list[str]
) -> None:
    file = begin(work, whole)
    with closing(sqlite3.connect(file, isolation_level=None)) as connection, suppress(sqlite3.Error):
        where = "WHERE rowid = 1" if column[0] in ("stores", "jobs") else "WHERE symbol = 'AAPL'"
        connection.execute(f"UPDATE OR IGNORE {column[0]} SET {column[1]} = ? {where}", (value,))
    check(work, whole, uses)
