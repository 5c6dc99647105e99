"""Every catalog of files keeps the same promises."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest

from marketpipe.ingestion.infrastructure.sql.state import SqlState
from marketpipe.ingestion.infrastructure.sqlite_state import SQLiteState
from marketpipe.shared_kernel.domain.errors import StateError
from marketpipe.shared_kernel.domain.object_catalog import INLINE, AppendedLines, CatalogChange, FileCatalog, PlacedFile
from tests.support.in_memory_file_catalog import InMemoryFileCatalog

MONTH = "data/symbol=BRK.B/year=2024/month=01"
ONE, OTHER, NEXT_MONTH = f"{MONTH}/day=02.parquet", f"{MONTH}/day=03.parquet", f"{MONTH[:-1]}2/day=01.parquet"
OF_ANOTHER = "data/symbol=BRK.BA/year=2024/month=01/day=02.parquet"
FORMER = "revisions/symbol=BRK.B/year=2024/month=01/day=02.2024-02-01T00-00-00Z.parquet"
INDEX = "revisions/symbol=BRK.B/known_since.csv"
PACK, NEXT_PACK = "objects/0a.parquet", "objects/0b.parquet"


@pytest.fixture(params=["in memory", "SQLite", "postgresql"])
def catalog(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[FileCatalog]:
    if request.param == "in memory":
        yield InMemoryFileCatalog()
        return
    others: SqlState
    state: SqlState
    if request.param == "SQLite":
        others, state = (SQLiteState(tmp_path / "state.sqlite", name) for name in ("another", "data"))
    else:
        states = request.getfixturevalue("postgres_states")
        others, state = states.open(), states.open()
    others.file_catalog.change(CatalogChange(placed=[placed(ONE), placed("other/file"), placed("file")]))
    yield state.file_catalog
    state.close()
    assert [each.path for each in others.file_catalog.below("")] == [ONE, "file", "other/file"]
    others.close()


def placed(path: str, object_key: str = PACK, offset: int = 0) -> PlacedFile:
    return PlacedFile(path, object_key, offset, 10, 1_700_000_000_123_456_789)


def test_a_new_catalog_has_nothing(catalog: FileCatalog) -> None:
    assert catalog.find(ONE) is None
    assert not catalog.has_any("")
    assert (*catalog.listed(""), *catalog.folders(""), *catalog.below(""), *catalog.objects()) == ()


def test_a_placed_file_is_found_with_all_that_it_has(catalog: FileCatalog) -> None:
    large = PlacedFile(ONE, PACK, 5_000_000_000, 6_000_000_000, 2**62)
    text = PlacedFile.inline(INDEX, b"a,b\n\x00\xff\n", 17)

    catalog.change(CatalogChange(placed=[large, text]))

    assert catalog.find(ONE) == large
    assert catalog.find(INDEX) == text
    assert [*catalog.listed("revisions/symbol=BRK.B")] == [text]
    assert catalog.find(OTHER) is None
    assert catalog.find(MONTH) is None


def test_a_folder_has_the_files_and_folders_below_it_and_no_others(catalog: FileCatalog) -> None:
    files = [placed(path, offset=n) for n, path in enumerate((OTHER, NEXT_MONTH, ONE, OF_ANOTHER, FORMER))]
    catalog.change(CatalogChange(placed=files))

    assert [each.path for each in catalog.listed(MONTH)] == [ONE, OTHER]
    assert [each.path for each in catalog.below("data/symbol=BRK.B")] == [ONE, OTHER, NEXT_MONTH]
    assert [each.path for each in catalog.below("")] == sorted(each.path for each in files)
    assert [*catalog.folders("")] == ["data", "revisions"]
    assert [*catalog.folders("data")] == ["symbol=BRK.B", "symbol=BRK.BA"]
    assert [*catalog.folders("data/symbol=BRK.B/year=2024")] == ["month=01", "month=02"]
    assert (*catalog.folders(MONTH), *catalog.listed("data"), *catalog.folders("dat"), *catalog.below("dat")) == ()
    assert [catalog.has_any(each) for each in ("", "data", MONTH)] == [True] * 3
    assert [catalog.has_any(each) for each in ("dat", ONE, "data/symbol=BRK", "data/symbol=A")] == [False] * 4


def test_the_files_of_many_folders_are_found_together(catalog: FileCatalog) -> None:
    folders = [f"data/symbol=S{number}/year=2024/month=01" for number in range(1100)]
    names = ("day=02.parquet", "day=03.parquet")
    files = [placed(f"{folder}/{name}") for folder in folders for name in names]
    catalog.change(CatalogChange(placed=[*files, placed(OF_ANOTHER), placed(f"{folders[0]}/deeper/day=02.parquet")]))

    assert [*catalog.in_each(folders[:2])] == files[:4]
    found = catalog.in_each([*folders, "data/symbol=NONE", "data"], names[1])
    assert [*found] == sorted(files[1::2], key=lambda file: file.path)
    assert [*catalog.in_each([])] == [*catalog.in_each(["data/symbol=S1"])] == []


@pytest.mark.parametrize("wild", ["data/symbol=%", "data/symbol=BRK_B", "data/symbol=[A-Z]*", "data/symbol=brk.b"])
def test_a_name_is_no_pattern_and_has_its_case(catalog: FileCatalog, wild: str) -> None:
    catalog.change(CatalogChange(placed=[placed(ONE)]))

    assert (catalog.has_any(wild), *catalog.below(wild), *catalog.folders(wild)) == (False,)
    catalog.change(CatalogChange(placed=[placed(f"{wild}/day")]))
    assert [each.path for each in catalog.below(wild)] == [f"{wild}/day"]
    assert [*catalog.folders("data")] == sorted(["symbol=BRK.B", wild.removeprefix("data/")])


def test_a_placed_file_replaces_that_at_its_path(catalog: FileCatalog) -> None:
    catalog.change(CatalogChange(placed=[placed(ONE), placed(OTHER, offset=10)]))
    catalog.change(CatalogChange(placed=[placed(ONE, NEXT_PACK)]))

    assert catalog.find(ONE) == placed(ONE, NEXT_PACK)
    assert catalog.objects() == {PACK: 1, NEXT_PACK: 1}


def test_a_removed_file_is_gone_and_its_folder_with_it(catalog: FileCatalog) -> None:
    catalog.change(CatalogChange(placed=[placed(ONE), placed(OF_ANOTHER, NEXT_PACK)]))
    catalog.change(CatalogChange(removed=[ONE, "nowhere/at all"]))

    assert catalog.find(ONE) is None
    assert [*catalog.folders("data")] == ["symbol=BRK.BA"]
    assert not catalog.has_any("data/symbol=BRK.B")
    assert catalog.objects() == {NEXT_PACK: 1}


def test_a_second_name_keeps_what_is_replaced_at_the_same_moment(catalog: FileCatalog) -> None:
    catalog.change(CatalogChange(placed=[placed(ONE)]))
    catalog.change(CatalogChange(placed=[placed(ONE, NEXT_PACK)], second_names={ONE: FORMER}))

    assert catalog.find(FORMER) == placed(FORMER)
    assert catalog.find(ONE) == placed(ONE, NEXT_PACK)
    assert catalog.objects() == {PACK: 1, NEXT_PACK: 1}


def test_a_file_is_renamed_by_a_second_name_and_removing_its_first(catalog: FileCatalog) -> None:
    text = PlacedFile.inline(INDEX, b"one\n", 1)
    catalog.change(CatalogChange(placed=[text, placed(f"{INDEX}.new", NEXT_PACK)]))
    catalog.change(CatalogChange(second_names={INDEX: f"{INDEX}.new"}, removed=[INDEX]))

    assert [*catalog.below("")] == [text.at(f"{INDEX}.new")]
    assert catalog.objects() == {}


def test_two_files_exchange_their_names_by_second_names(catalog: FileCatalog) -> None:
    catalog.change(CatalogChange(placed=[placed(ONE), placed(OTHER, NEXT_PACK)]))
    catalog.change(CatalogChange(second_names={ONE: OTHER, OTHER: ONE}))

    assert [*catalog.below("")] == [placed(ONE, NEXT_PACK), placed(OTHER)]


def test_two_files_exchange_their_names_by_being_placed(catalog: FileCatalog) -> None:
    catalog.change(CatalogChange(placed=[placed(ONE), placed(OTHER, NEXT_PACK)]))
    catalog.change(CatalogChange(placed=[placed(ONE).at(OTHER), placed(OTHER, NEXT_PACK).at(ONE)]))

    assert catalog.objects() == {PACK: 1, NEXT_PACK: 1}
    assert catalog.find(ONE) == placed(ONE, NEXT_PACK)


def test_lines_are_appended_and_the_first_ones_only_to_a_new_file(catalog: FileCatalog) -> None:
    catalog.change(CatalogChange(appended=[AppendedLines(INDEX, b"one\n", b"head\n", 5)]))
    assert catalog.find(INDEX) == PlacedFile.inline(INDEX, b"head\none\n", 5)

    catalog.change(CatalogChange(appended=[AppendedLines(INDEX, b"two", b"head\n", 6)]))
    catalog.change(CatalogChange(appended=[AppendedLines(INDEX, b"three\n", b"head\n", 7)]))
    assert catalog.find(INDEX) == PlacedFile.inline(INDEX, b"head\none\ntwo\nthree\n", 7)


def test_lines_can_be_appended_to_a_file_that_is_placed_at_the_same_moment(catalog: FileCatalog) -> None:
    change = CatalogChange(
        placed=[PlacedFile.inline(INDEX, b"", 1)], appended=[AppendedLines(INDEX, b"a\n", b"h\n", 2)]
    )
    catalog.change(change)

    assert catalog.find(INDEX) == PlacedFile.inline(INDEX, b"a\n", 2)


def test_lines_cannot_be_told_from_what_the_file_was_placed_with(catalog: FileCatalog) -> None:
    catalog.change(CatalogChange(placed=[PlacedFile.inline(INDEX, b"head\n\xff\x00", 1), placed(FORMER)]))
    for number in range(300):  # as text, their places do not ascend
        catalog.change(CatalogChange(appended=[AppendedLines(INDEX, b"%d of them\n" % number, b"", number)]))

    lines = b"".join(b"%d of them\n" % number for number in range(300))
    whole = PlacedFile.inline(INDEX, b"head\n\xff\x00\n" + lines, 299)
    assert catalog.find(INDEX) == whole
    assert [*catalog.listed("revisions/symbol=BRK.B")] == [whole]
    assert [*catalog.below("revisions")] == [whole, placed(FORMER)]
    assert [*catalog.below("")] == [whole, placed(FORMER)]


def test_an_append_of_nothing_changes_nothing(catalog: FileCatalog) -> None:
    catalog.change(CatalogChange(appended=[AppendedLines(INDEX, b"one\n", b"head\n", 5)]))
    for _ in range(2):
        catalog.change(CatalogChange(appended=[AppendedLines(INDEX, b"", b"head\n", 6)]))
    assert catalog.find(INDEX) == PlacedFile.inline(INDEX, b"head\none\n", 5)

    catalog.change(CatalogChange(appended=[AppendedLines(INDEX, b"two\n", b"head\n", 7)]))
    assert catalog.find(INDEX) == PlacedFile.inline(INDEX, b"head\none\ntwo\n", 7)


@pytest.mark.parametrize(
    ("change", "left"),
    [
        (CatalogChange(removed=[INDEX]), None),
        (CatalogChange(placed=[PlacedFile.inline(INDEX, b"new\n", 8)]), PlacedFile.inline(INDEX, b"new\n", 8)),
        (CatalogChange(placed=[placed(INDEX)]), placed(INDEX)),
        (CatalogChange(times={INDEX: 9}), PlacedFile.inline(INDEX, b"one\ntwo\nthree\n", 9)),
        (CatalogChange(second_names={INDEX: OTHER}, removed=[INDEX]), None),
    ],
    ids=["removed", "replaced", "in an object", "another time", "another name"],
)
def test_appended_lines_stay_with_their_file_and_go_with_it(
    catalog: FileCatalog, change: CatalogChange, left: PlacedFile | None
) -> None:
    sibling = f"{INDEX}.other"
    for lines in (b"one\n", b"two\n", b"three\n"):
        catalog.change(CatalogChange(appended=[AppendedLines(path, lines, b"", 5) for path in (INDEX, sibling)]))
    catalog.change(change)

    assert catalog.find(INDEX) == left
    assert catalog.find(OTHER) == (PlacedFile.inline(OTHER, b"one\ntwo\nthree\n", 5) if change.second_names else None)
    assert catalog.find(sibling) == PlacedFile.inline(sibling, b"one\ntwo\nthree\n", 5)
    catalog.change(CatalogChange(placed=[PlacedFile.inline(INDEX, b"again\n", 10)]))
    catalog.change(CatalogChange(appended=[AppendedLines(INDEX, b"four\n", b"", 11)]))
    assert catalog.find(INDEX) == PlacedFile.inline(INDEX, b"again\nfour\n", 11)


def test_it_says_where_a_file_is_without_reading_it(catalog: FileCatalog) -> None:
    catalog.change(CatalogChange(placed=[placed(ONE)], appended=[AppendedLines(INDEX, b"one\n", b"", 5)]))

    assert [catalog.object_of(path) for path in (ONE, INDEX, OTHER, MONTH)] == [PACK, INLINE, None, None]


def test_a_time_is_changed_alone(catalog: FileCatalog) -> None:
    catalog.change(CatalogChange(placed=[placed(ONE), placed(OTHER)]))
    catalog.change(CatalogChange(times={ONE: 3}))

    assert catalog.find(ONE) == PlacedFile(ONE, PACK, 0, 10, 3)
    assert catalog.find(OTHER) == placed(OTHER)


def test_an_empty_change_changes_nothing(catalog: FileCatalog) -> None:
    catalog.change(CatalogChange(placed=[placed(ONE)]))
    catalog.change(CatalogChange())

    assert [*catalog.below("")] == [placed(ONE)]
    assert CatalogChange().is_empty
    assert not CatalogChange(times={ONE: 1}).is_empty


@pytest.mark.parametrize(
    "refused",
    [
        CatalogChange(second_names={OTHER: FORMER}),
        CatalogChange(times={OTHER: 1}),
        CatalogChange(appended=[AppendedLines(ONE, b"x\n", b"", 1)]),
    ],
    ids=["second name of nothing", "time of nothing", "lines in an object"],
)
def test_a_change_that_is_refused_changes_nothing(catalog: FileCatalog, refused: CatalogChange) -> None:
    catalog.change(CatalogChange(placed=[placed(ONE)]))
    both = CatalogChange(
        placed=[placed(NEXT_MONTH, NEXT_PACK), *refused.placed],
        second_names=refused.second_names,
        appended=refused.appended,
        times=refused.times,
    )

    with pytest.raises(StateError):
        catalog.change(both)

    assert [*catalog.below("")] == [placed(ONE)]
    catalog.change(CatalogChange(placed=[placed(OTHER)]))
    assert [*catalog.below("")] == [placed(ONE), placed(OTHER)]


def test_thousands_of_files_are_placed_at_one_moment(catalog: FileCatalog) -> None:
    files = [placed(f"data/symbol=A/year=2024/month=01/{n:05d}", offset=10 * n) for n in range(3000)]
    catalog.change(CatalogChange(placed=files))

    assert [*catalog.below("data")] == files
    catalog.change(CatalogChange(removed=[file.path for file in files[1:]]))
    assert [*catalog.below("data")] == files[:1]


def test_several_threads_append_and_no_line_is_lost(catalog: FileCatalog) -> None:
    def append(number: int) -> None:
        for each in range(10):
            line = f"{number},{each}\n".encode()
            catalog.change(CatalogChange(appended=[AppendedLines(INDEX, line, b"head\n", 1)]))

    threads = [Thread(target=append, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    found = catalog.find(INDEX)
    assert found is not None
    assert found.content is not None
    assert sorted(found.content.splitlines()) == sorted(
        [b"head", *(f"{number},{each}".encode() for number in range(4) for each in range(10))]
    )
