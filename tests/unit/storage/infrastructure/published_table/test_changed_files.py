"""A table is published by what has changed, and has what reading everything would give it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import pytest

from marketpipe.shared_kernel.domain.errors import StorageError
from marketpipe.shared_kernel.domain.object_catalog import CatalogChange, PlacedFile
from marketpipe.shared_kernel.infrastructure.machine.threads import REAL_THREADS
from marketpipe.storage.domain.published_table import TableContents
from marketpipe.storage.infrastructure.objects.change_notes import KNOWN, NOTES
from marketpipe.storage.infrastructure.published_table.table_contents import LiveTable
from marketpipe.storage.infrastructure.published_table.table_copies import TableCopies
from tests.support.live_tables import DATES, TableStore
from tests.support.object_disks import NOW

MSFT = "data/symbol=MSFT/year=2024/month=01"


def days_of(store: TableStore, count_of_dates: int) -> None:
    for number in range(count_of_dates):
        date = f"2024-{1 + number // 28:02}-{1 + number % 28:02}"
        for symbol in ("A", "B", "C", "D", "E"):
            store.correct(symbol, date, 0)


@pytest.mark.parametrize("dates", [8, 56])
def test_a_new_day_costs_what_it_has_and_a_row_for_each_part(dates: int) -> None:
    store = TableStore()
    days_of(store, dates)
    parts = len(store.table.contents().files)
    for symbol in ("A", "B", "C", "D", "E"):
        store.correct(symbol, "2024-06-03", 0, 1)
    store.catalog.rows, requests = 0, sum(store.objects.store.requests.values())

    contents = store.table.contents()

    assert [file.figures.dates[0] for file in contents.files if file.key in contents.copied] == ["2024-06-03"]
    notes = 2 * 5  # a note of each of the five writes, read twice: nothing has come meanwhile
    assert store.catalog.rows == parts + notes + 5 + len(["the last reading, found and listed"] * 2) + 2 * 1
    assert sum(store.objects.store.requests.values()) - requests == 5 + 1


def test_nothing_that_has_not_changed_is_read() -> None:
    store = TableStore()
    first = store.table.contents()
    store.catalog.rows = 0
    assert store.table.contents() == TableContents(first.files)
    assert store.catalog.rows == len(first.files) + 2
    assert store.catalog.below(NOTES.rstrip("/")) == []


def test_what_has_changed_makes_the_table_that_reading_everything_makes() -> None:
    store = TableStore(piece_bytes=3000)
    steps: list[Callable[[], object]] = [
        lambda: store.correct("MSFT", DATES[1], 0, 2),
        lambda: store.correct("NEW", "2024-02-01", 0),
        lambda: store.store.compact("MSFT"),
        lambda: store.store.compact("AAPL"),
        lambda: store.correct("AAPL", DATES[0], 5),
        lambda: store.catalog.change(CatalogChange(removed=[f"{MSFT}/days.parquet", f"ends/{MSFT}/days.parquet"])),
        lambda: store.correct("MSFT", DATES[0], 1),
        lambda: store.catalog.change(CatalogChange(times={f"{MSFT}/day=02.parquet": 5})),
    ]
    store.table.contents()
    for number, step in enumerate(steps):
        step()
        contents = store.table.contents()
        again = store.read_again()
        assert (contents.files, contents.left) == (again.files, again.left), number
        named = {file.key for file in contents.files} | {file.object for file in store.catalog.below("data")}
        assert named <= store.catalog.objects().keys(), number


def test_a_change_while_it_is_read_is_in_the_table_as_a_whole() -> None:
    store = TableStore()
    store.table.contents()
    store.correct("MSFT", DATES[0], 3)
    read, changes = store.catalog.in_each, [("AAPL", DATES[1]), ("AAPL", DATES[0])]

    def meanwhile(folders: Collection[str], name: str | None = None) -> Sequence[PlacedFile]:
        found = read(folders, name)
        if changes:
            store.correct(*changes.pop(0), 4, 5, 6)
        return found

    store.catalog.in_each = meanwhile  # type: ignore[method-assign]
    contents = store.table.contents()

    assert not changes
    assert min(store.rows(contents).count(("AAPL", date)) for date in DATES) > 2
    assert contents.files == store.read_again().files


def test_a_month_that_is_mixed_comes_back_as_a_whole() -> None:
    store = TableStore()
    first = store.table.contents()
    before = store.catalog.below(MSFT)
    assert store.store.compact("MSFT") is not None
    assert store.rows(store.table.contents()) == store.rows(first)
    store.catalog.change(CatalogChange([before[0]]))  # the month file was published before, and must leave the table
    mixed = store.table.contents()
    assert {symbol for symbol, _ in store.rows(mixed)} == {"AAPL"}
    assert len(mixed.left) == 1
    assert store.table.contents().left == mixed.left

    store.catalog.change(CatalogChange(removed=[f"{MSFT}/days.parquet", f"ends/{MSFT}/days.parquet"]))
    one_form = store.table.contents()
    assert (store.rows(one_form).count(("MSFT", DATES[0])), one_form.left) == (2, ())
    store.catalog.change(CatalogChange(before[1:]))
    last = store.table.contents()
    assert (store.rows(last), last.left) == (store.rows(first), ())


def test_of_two_publishers_the_one_that_was_overtaken_changes_nothing() -> None:
    store = TableStore()
    store.table.contents()
    store.correct("MSFT", DATES[0], 7)
    put_new = store.objects.store.put_new
    known = list[Sequence[PlacedFile]]()

    def overtaken(key: str, content: bytes) -> bool:
        store.objects.store.put_new = put_new  # type: ignore[method-assign]
        store.correct("MSFT", DATES[1], 7)
        other.contents()
        known.append([*store.catalog.below("tables/parts"), *store.catalog.below(KNOWN.rstrip("/"))])
        return put_new(key, content)

    names = iter(["o1", "o2", "o3", "o4"])
    place = store.catalog, store.objects.store, lambda: next(names), lambda: NOW, REAL_THREADS.executor
    other = LiveTable(TableCopies(*place))
    store.objects.store.put_new = overtaken  # type: ignore[method-assign]
    with pytest.raises(StorageError, match="another process has published meanwhile"):
        store.table.contents()
    assert [*store.catalog.below("tables/parts"), *store.catalog.below(KNOWN.rstrip("/"))] == known[0]
    assert store.rows(store.table.contents()) == store.rows(store.read_again())


def test_a_change_of_very_many_files_is_read_as_a_whole() -> None:
    store = TableStore()
    store.table.contents()
    store.correct("MSFT", DATES[0], 3)
    note = PlacedFile.inline(f"{NOTES}many", b"", 0)
    store.catalog.change(CatalogChange(placed=[note]))
    assert ("MSFT", DATES[0]) in store.rows(store.table.contents())
    assert store.catalog.below(NOTES.rstrip("/")) == []


def test_what_is_left_of_a_month_object_is_copied_in_pieces() -> None:
    symbols = [f"S{number:02}" for number in range(12)]
    store = TableStore(piece_bytes=12_000)
    for symbol in symbols:
        for date in DATES:
            store.correct(symbol, date, *range(30))
    compacted = store.compact(symbols)
    first = store.table.contents()
    assert compacted in {file.key for file in first.files}

    store.correct(symbols[0], DATES[0], 40)
    second = store.table.contents()
    store.correct(symbols[1], DATES[0], 40)
    third = store.table.contents()

    sizes = [sum(file.size for file in each.files if file.key in each.copied) for each in (second, third)]
    assert len(second.copied) > 3
    assert sizes[1] < sizes[0] / 2
    assert store.rows(third) == store.rows(store.read_again())
