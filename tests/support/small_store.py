"""A store of two symbols on two days, ingested over loopback by the real command line, and functions to inspect it."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from marketpipe.storage.infrastructure.store_layout import VERSION_INDEX
from tests.support.alpaca_loopback import Record, record

DAYS = ["2024-03-04", "2024-03-05"]
SYMBOLS = ["AAPL", "MSFT"]
APART = {"state", "config.yaml", "output.txt", "filler", VERSION_INDEX}


def bars(price: float = 100.0) -> dict[str, list[Record]]:
    moments = [f"{day}T15:{minute:02d}:00Z" for day in DAYS for minute in range(0, 60, 10)]
    return {symbol: [record(moment, price + number) for moment in moments] for number, symbol in enumerate(SYMBOLS)}


def market(price: float = 100.0) -> dict[str, list[Record]]:
    """Return the same bars, and on the first day of each symbol one bar that validation rejects."""
    rejected = record(f"{DAYS[0]}T16:30:00Z", price, h=1.0)
    return {symbol: [*records, rejected] for symbol, records in bars(price).items()}


ALL = {(symbol, day) for symbol in SYMBOLS for day in DAYS}
COMPLETE_WITHOUT = {
    "data": set(),
    "data/symbol=AAPL": {("MSFT", day) for day in DAYS},
    "quarantine": {(symbol, DAYS[1]) for symbol in SYMBOLS},
    "aggregates": ALL,
    "state": set(),
}
"""By the part of the store that cannot be written: the symbol-days of ``market`` that become complete nevertheless."""


def configure(folder: Path, url: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(
        f"provider: alpaca\nsymbols: [{', '.join(SYMBOLS)}]\nstart: {DAYS[0]}\nend: {DAYS[-1]}\nworkers: 2\n"
        f'timeframes: [5m, 1d]\nalpaca: {{base_url: "{url}", rate_limit_per_min: 100000}}\n'
    )
    return folder


def files(folder: Path) -> dict[str, bytes]:
    """Return all files except state, configuration, version indexes and output; temporary files are included."""
    found = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in found if APART.isdisjoint(path.parts)}


def current(folder: Path) -> dict[str, bytes]:
    """Return the files without revisions, whose names contain moments."""
    return {name: content for name, content in files(folder).items() if not name.startswith("revisions")}


def known(folder: Path) -> list[tuple[Any, ...]]:
    """Return the content of the state without moments and job numbers."""
    with TemporaryDirectory() as copy:  # SQLite resolves links itself, which fails below /proc
        for file in (folder / "state").glob("marketpipe.sqlite*"):
            shutil.copy(file, copy)
        with closing(sqlite3.connect(Path(copy, "marketpipe.sqlite"))) as state:
            return state.execute(
                "SELECT symbol, trading_date, outcome, hours, rejected, error, rows, first, last, bytes, sha256, "
                "minutes, figures "
                "FROM checkpoints LEFT JOIN partitions USING (store_id, symbol, trading_date) ORDER BY 1, 2"
            ).fetchall()


def settled(folder: Path) -> set[tuple[str, str]]:
    """Return the symbols and days that are complete; none if nothing was recorded yet."""
    if not (folder / "state" / "marketpipe.sqlite").exists():
        return set()
    try:
        return {(row[0], row[1]) for row in known(folder) if row[2] == "complete"}
    except sqlite3.OperationalError:  # the run ended before the tables were created
        return set()


def check_clear_failure(code: int, printed: str, reasons: Sequence[str]) -> None:
    """Check that the command failed for one of the reasons, with advice."""
    assert code == 1, printed
    assert "Traceback" not in printed
    assert any(words in printed for words in reasons), printed
    assert "free space or allow writing" in printed


def check_what_is_there(folder: Path, whole: Path) -> None:
    """Check that no file is partial or temporary, and that all complete days have theirs.

    Aggregates may be made of fewer minutes.
    """
    there, should = files(folder), files(whole)
    for name, content in there.items():
        assert name in should
        assert content == should[name] or name.startswith("aggregates"), name
    for symbol, day in settled(folder):
        assert f"data/symbol={symbol}/year=2024/month=03/day={day[-2:]}.parquet" in there
