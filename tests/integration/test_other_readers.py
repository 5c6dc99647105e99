"""Other readers keep symbols that look like truth values, numbers or dates, with the arguments of the documentation."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import pytest

from marketpipe.testing import bar
from tests.support.builders import day
from tests.support.documented_pages import block_for
from tests.support.store_on_disk import StoreOnDisk

ABSENT: Final = [name for name in ("pandas", "polars") if find_spec(name) is None]  # each takes long to import
pytestmark = pytest.mark.skipif(bool(ABSENT), reason=f"not installed: {ABSENT}")

LINES = block_for("tests/integration/test_other_readers.py", "readers")
SYMBOLS: Final = ("TRUE", "FALSE", "INF", "NAN", "1E5", "005930", "NA", "NULL", "2024-01-01", "12.5", "AAPL")
IMPORTS, *READERS = LINES.split("\n\n")


@contextmanager
def inside(folder: Path) -> Iterator[None]:
    before = os.getcwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def symbols_of(found: Any) -> list[str]:
    """Return the column of symbols of whatever a reader returns."""
    if hasattr(found, "collect"):
        return list(found.collect()["symbol"].to_list())
    if hasattr(found, "fetchall"):
        place = found.columns.index("symbol")
        return [row[place] for row in found.fetchall()]
    if hasattr(found, "to_table"):
        found = found.to_table()
    column = found["symbol"]
    return column.to_pylist() if hasattr(column, "to_pylist") else column.astype(object).tolist()


def results(lines: str) -> Iterator[Any]:
    """Run some lines, and yield the value of each that is an expression."""
    names: dict[str, Any] = {}
    exec(IMPORTS, names)
    for line in lines.strip().splitlines():
        if " = " in line.partition("(")[0]:
            exec(line, names)
        else:
            yield eval(line, names)


@pytest.mark.parametrize("symbols", [(symbol,) for symbol in SYMBOLS] + [SYMBOLS], ids=[*SYMBOLS, "all"])
def test_the_symbol_stays_text(tmp_path: Path, symbols: tuple[str, ...]) -> None:
    store = StoreOnDisk(tmp_path)
    store.keep(*((day(symbol, "2024-01-02"), [bar("2024-01-02T15:00:00Z")]) for symbol in sorted(symbols)))

    with inside(tmp_path):
        found = [symbols_of(result) for block in READERS for result in results(block)]

    assert [sorted(each) for each in found] == [sorted(symbols)] * 4
