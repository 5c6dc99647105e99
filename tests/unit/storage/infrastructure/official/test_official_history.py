from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from marketpipe.shared_kernel.domain.errors import PartitionUnreadableError, StateError
from marketpipe.shared_kernel.domain.store_inventory import DatasetIdentity, FileDigests
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.shared_kernel.infrastructure.arrow_bars import BAR_SCHEMA
from marketpipe.storage.domain.integrity import FROM_A_BACKUP
from marketpipe.storage.infrastructure.official.official_history import (
    FIRST_LINE,
    HISTORY_SCHEMA,
    LOST_BEFORE,
    OWNER,
    OfficialHistories,
    OfficialHistory,
    encode_history,
    history_in,
)
from marketpipe.storage.infrastructure.parquet_files import sha256
from marketpipe.storage.infrastructure.store_layout import StoreLayout
from tests.support.in_memory_file_digests import InMemoryFileDigests

AAPL, MSFT = Symbol("AAPL"), Symbol("MSFT")
OURS, OTHERS = DatasetIdentity("alpaca", "iex", "raw"), DatasetIdentity("alpaca", "sip", "raw")
EARLIER, LATER = Timestamp.parse("2024-03-12T02:00:00Z"), Timestamp.parse("2024-03-13T02:00:00Z")
PLACE = "revisions/symbol=AAPL/year=2024/known_since.csv"


def history(*closes: tuple[float, Timestamp]) -> pa.Table:
    """Return versions of one day, each with its close and its moment."""
    midnight = TradingDate.parse("2024-03-11").midnight.moment
    rows = [
        {"timestamp": midnight, **dict.fromkeys(("open", "high", "low", "volume"), 1.0), "close": close, "since": since}
        for close, since in closes
    ]
    of_bars = [dict(row, known_since=row.pop("since").moment) for row in rows]
    return pa.Table.from_pylist(of_bars, schema=HISTORY_SCHEMA)


VERSIONS = history((100.5, EARLIER), (70.5, LATER))
WRITTEN = encode_history(VERSIONS, OURS, AAPL, 2024)


@pytest.fixture
def layout(tmp_path: Path) -> StoreLayout:
    made = StoreLayout(*(tmp_path / name for name in ("data", "aggregates", "quarantine", "revisions")))
    made.official_history(AAPL, 2024).parent.mkdir(parents=True)
    return made


def recorded(*contents: bytes) -> InMemoryFileDigests:
    digests = InMemoryFileDigests()
    for content in contents:
        digests.adopt({PLACE: sha256(content)})
    return digests


def read(layout: StoreLayout, digests: FileDigests | None = None) -> OfficialHistory:
    opened = None if digests is None else lambda: digests
    return OfficialHistories(layout, opened, lambda: OURS).read(AAPL, 2024)


def of_an_earlier_version(versions: pa.Table) -> bytes:
    """Return a file as it was before it named its owner."""
    lines = encode_history(versions, OURS, AAPL, 2024).split(b"\n", 2)[2]
    return FIRST_LINE % sha256(lines).encode() + lines


def test_a_history_reads_back_exactly_and_names_its_owner(layout: StoreLayout) -> None:
    layout.official_history(AAPL, 2024).write_bytes(WRITTEN)

    found = read(layout, recorded(WRITTEN))

    assert found.versions.equals(VERSIONS)
    assert (found.metadata["marketpipe.symbol"], found.metadata["marketpipe.period"]) == ("AAPL", "2024")
    assert (found.lost_before, found.is_lost) == (None, False)


def test_the_versions_come_by_day_then_moment() -> None:
    backwards = history((70.5, LATER), (100.5, EARLIER))

    assert history_in(encode_history(backwards, OURS, AAPL, 2024), "x").versions.equals(VERSIONS)


def test_a_year_that_never_had_a_history_has_an_empty_one(layout: StoreLayout) -> None:
    assert read(layout, InMemoryFileDigests()) == OfficialHistory()
    assert OfficialHistories(layout).known_at(AAPL, 2024, LATER) is None


def test_a_history_of_an_earlier_version_of_marketpipe_is_read_whatever_is_on_record(layout: StoreLayout) -> None:
    former = of_an_earlier_version(VERSIONS)
    layout.official_history(AAPL, 2024).write_bytes(former)

    assert read(layout).versions.equals(VERSIONS)
    assert read(layout, InMemoryFileDigests()).metadata == {}
    assert read(layout, recorded(former)).versions.equals(VERSIONS)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "was recorded, and does not exist"),
        (encode_history(history((1.5, EARLIER)), OURS, AAPL, 2024), "is not what was recorded of it"),
        (WRITTEN[:-9], "is not what was recorded of it"),
    ],
    ids=["lost", "edited", "cut"],
)
def test_a_history_that_is_not_what_was_recorded_is_refused(
    layout: StoreLayout, content: bytes | None, problem: str
) -> None:
    path = layout.official_history(AAPL, 2024)
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(PartitionUnreadableError, match=problem) as raised:
        read(layout, recorded(WRITTEN))

    assert str(raised.value).startswith(str(path))
    assert raised.value.advice == FROM_A_BACKUP
    assert OfficialHistories(layout, lambda: recorded(WRITTEN)).found(AAPL, 2024) == OfficialHistory(is_lost=True)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (WRITTEN[:-9], "is damaged: its lines are not those that were written"),
        (WRITTEN.replace(b"AAPL", b"MSFT"), "is damaged: its lines are not those that were written"),
        (encode_history(VERSIONS, OURS, MSFT, 2024), "names MSFT 1d 2024, its path AAPL 1d 2024"),
        (encode_history(VERSIONS, OURS, AAPL, 2023), "names AAPL 1d 2023, its path AAPL 1d 2024"),
        (encode_history(VERSIONS, OTHERS, AAPL, 2024), "is of provider alpaca, feed sip"),
    ],
    ids=["cut", "edited", "of another symbol", "of another year", "of another dataset"],
)
def test_a_history_without_a_record_is_refused_if_it_is_damaged_or_of_others(
    layout: StoreLayout, content: bytes, problem: str
) -> None:
    layout.official_history(AAPL, 2024).write_bytes(content)

    with pytest.raises(PartitionUnreadableError, match=problem):
        read(layout)


@pytest.mark.parametrize(
    "lines",
    [
        OWNER + b"{\n" + WRITTEN.split(b"\n", 2)[2],
        OWNER + b"[]\n" + WRITTEN.split(b"\n", 2)[2],
        OWNER + b'{"%s": "yesterday"}\n' % LOST_BEFORE.encode() + WRITTEN.split(b"\n", 2)[2],
        b"timestamp\nno moment\n",
        b"",
    ],
)
def test_whole_lines_of_something_else_are_no_history(lines: bytes) -> None:
    with pytest.raises(PartitionUnreadableError, match="x is damaged: its lines are not those of a history"):
        history_in(FIRST_LINE % sha256(lines).encode() + lines, "x")


def test_a_link_to_itself_is_named(layout: StoreLayout) -> None:
    path = layout.official_history(AAPL, 2024)
    path.symlink_to(path.name)

    with pytest.raises(PartitionUnreadableError, match=r"known_since\.csv cannot be read: Too many levels"):
        read(layout)


def test_a_history_is_read_again_if_it_was_replaced_meanwhile(layout: StoreLayout) -> None:
    newer, path = encode_history(history((2.5, LATER)), OURS, AAPL, 2024), layout.official_history(AAPL, 2024)
    path.write_bytes(WRITTEN)

    def replaced() -> FileDigests:
        path.write_bytes(newer)
        return recorded(newer)

    found = OfficialHistories(layout, replaced).read(AAPL, 2024)

    assert found.versions.equals(history((2.5, LATER)))


def test_a_state_that_cannot_be_read_has_no_records(layout: StoreLayout) -> None:
    layout.official_history(AAPL, 2024).write_bytes(WRITTEN)

    def damaged() -> FileDigests:
        raise StateError("it is no database")

    assert OfficialHistories(layout, damaged).read(AAPL, 2024).versions.equals(VERSIONS)


def test_a_history_that_had_to_begin_anew_answers_for_later_moments_only(layout: StoreLayout) -> None:
    begun = encode_history(history((70.5, LATER)), OURS, AAPL, 2024, lost_before=LATER)
    layout.official_history(AAPL, 2024).write_bytes(begun)
    histories = OfficialHistories(layout)

    known = histories.known_at(AAPL, 2024, LATER)

    assert known is not None
    assert known["close"].to_pylist() == [70.5]
    with pytest.raises(PartitionUnreadableError, match=f"had to begin anew at {LATER}: what it had was lost") as raised:
        histories.known_at(AAPL, 2024, EARLIER)
    assert raised.value.advice == FROM_A_BACKUP


def test_a_history_that_began_anew_without_a_version_knows_that_there_was_no_day(layout: StoreLayout) -> None:
    nothing = HISTORY_SCHEMA.empty_table()
    layout.official_history(AAPL, 2024).write_bytes(encode_history(nothing, OURS, AAPL, 2024, lost_before=EARLIER))

    known = OfficialHistories(layout).known_at(AAPL, 2024, LATER)

    assert known is not None
    assert known.schema == BAR_SCHEMA
    assert len(known) == 0


def test_the_digests_of_whole_histories_can_be_recorded_again(layout: StoreLayout) -> None:
    layout.official_history(AAPL, 2024).write_bytes(WRITTEN)
    for year, content in ((2022, WRITTEN), (2023, b"?")):
        path = layout.official_history(AAPL, year)
        path.parent.mkdir()
        path.write_bytes(content)
    layout.official_history(AAPL, 2025).parent.mkdir()

    assert OfficialHistories(layout).digests(AAPL) == {PLACE: sha256(WRITTEN)}
