from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from marketpipe.storage.infrastructure.reading.needed_bars import NeededBars
from marketpipe.storage.infrastructure.reading.needed_files import needed_patterns, needed_years
from marketpipe.storage.infrastructure.store_layout import MONTH_FOLDER, YEAR_FOLDER

MONTHS, YEARS = f"{MONTH_FOLDER}.parquet", f"{YEAR_FOLDER}.parquet"
DAY = date(2024, 3, 10)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a root below a folder that is named like one of a symbol and a year."""
    root = tmp_path / "symbol=X" / "year=1999" / "aggregates"
    for symbol in ("AAPL", "MSFT"):
        for year in (2023, 2024):
            folder = root / f"symbol={symbol}" / f"year={year}"
            folder.mkdir(parents=True)
            folder.with_suffix(".parquet").touch()
            for month in range(1, 13):
                (folder / f"month={month:02d}.parquet").touch()
    (root / "symbol=NONE").touch()
    return root


def found(root: Path, pattern: str, needed: NeededBars) -> list[str]:
    return [str(Path(path).relative_to(root.resolve())) for path in needed_patterns(root, pattern, needed)]


def test_a_day_of_a_symbol_needs_the_file_of_its_month_alone(root: Path) -> None:
    needed = NeededBars(frozenset({"AAPL"}), DAY, DAY)

    assert found(root, MONTHS, needed) == ["symbol=AAPL/year=2024/month=03.parquet"]
    assert found(root, YEARS, needed) == ["symbol=AAPL/year=2024.parquet"]


def test_a_day_of_all_symbols_needs_a_file_of_each(root: Path) -> None:
    months = [f"symbol={symbol}/year=2024/month=03.parquet" for symbol in ("AAPL", "MSFT")]

    assert found(root, MONTHS, NeededBars(first=DAY, last=DAY)) == months


def test_folders_of_years_that_are_not_needed_are_not_listed(root: Path) -> None:
    other = root / "symbol=AAPL" / "year=2022"
    other.symlink_to(other)  # may not be listed, even by root

    assert len(found(root, MONTHS, NeededBars(first=date(2023, 12, 31), last=DAY))) == 2 * 4


def test_a_symbol_without_a_folder_needs_no_file(root: Path) -> None:
    assert found(root, MONTHS, NeededBars(frozenset({"NONE", "GOOG"}))) == []


def test_years_are_those_of_files_and_folders_between_the_dates(root: Path) -> None:
    assert needed_years([root, root / "none"], NeededBars()) == {2023, 2024}
    assert needed_years([root], NeededBars(frozenset({"MSFT"}), DAY, DAY)) == {2024}
