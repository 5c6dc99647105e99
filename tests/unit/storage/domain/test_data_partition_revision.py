from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.storage.domain.data_partition import MonthPartition, Revision
from tests.support.builders import day

JANUARY = MonthPartition(Symbol("AAPL"), 2024, 1)
MOMENTS = st.datetimes().map(lambda moment: Timestamp.parse(f"{moment.isoformat()}+00:00"))


def test_the_path_of_a_revision_names_its_day_and_the_moment_since_which_it_was_known() -> None:
    revision = Revision(day("AAPL", "2024-01-02"), Timestamp.parse("2024-01-03T16:30:00.123456-05:00"))

    assert revision.path == "symbol=AAPL/year=2024/month=01/day=02.20240103T213000.123456Z.parquet"


@given(MOMENTS)
def test_a_revision_is_found_again_by_the_name_of_its_file(moment: Timestamp) -> None:
    revision = Revision(day("AAPL", "2024-01-02"), moment)

    assert JANUARY.revision(revision.path.rpartition("/")[2]) == revision


@given(MOMENTS, MOMENTS)
def test_names_sort_by_time(one: Timestamp, other: Timestamp) -> None:
    names = [Revision(day("AAPL", "2024-01-02"), moment).path for moment in (one, other)]

    assert (names[0] < names[1]) == (one < other)


@pytest.mark.parametrize(
    "name",
    [
        "day=02.parquet",
        "day=02.20240103T213000.123456Z.parquet.tmp",
        ".day=02.20240103T213000.123456Z.parquet.12-34.tmp",
        "day=02.20240103T213000.123456Z (copy).parquet",
        "day=02.20240103T213000Z.parquet",
        "day=02.20241303T213000.123456Z.parquet",
        "day=00.20240103T213000.123456Z.parquet",
        "day=32.20240103T213000.123456Z.parquet",
    ],
)
def test_other_names_are_no_revisions(name: str) -> None:
    assert JANUARY.revision(name) is None


@pytest.mark.parametrize(
    ("month", "first", "last"),
    [
        ((2024, 1), "2024-01-01", "2024-01-31"),
        ((2024, 2), "2024-02-01", "2024-02-29"),
        ((2023, 12), "2023-12-01", "2023-12-31"),
    ],
)
def test_a_month_knows_its_dates(month: tuple[int, int], first: str, last: str) -> None:
    found = MonthPartition(Symbol("AAPL"), *month)

    assert (found.first, found.last) == (TradingDate.parse(first), TradingDate.parse(last))
