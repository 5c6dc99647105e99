from __future__ import annotations

from pathlib import Path

from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.infrastructure.day_figures import FigureCalculator
from marketpipe.storage.infrastructure.compacted.month_file import MONTH_FILE, StoredDayFile, month_file
from marketpipe.storage.infrastructure.inventory.stored_files import ParquetStoredFiles
from marketpipe.storage.infrastructure.publishing.durable_files import SameThread
from marketpipe.testing import bar
from tests.support.builders import CALENDAR, day
from tests.support.store_on_disk import StoreOnDisk


def test_a_day_that_its_month_does_not_have_is_passed_over_in_both_forms(tmp_path: Path) -> None:
    store = StoreOnDisk(tmp_path)
    store.keep((day("AAPL", "2024-02-01"), [bar("2024-02-01T15:00:00Z")]))
    folder = store.layout.data / "symbol=AAPL" / "year=2024" / "month=02"
    content = (folder / "day=01.parquet").read_bytes()
    (folder / MONTH_FILE).write_bytes(month_file([StoredDayFile("day=31.parquet", content, 0)], {}))
    (folder / "day=31.parquet").write_bytes(b"another one")

    files = ParquetStoredFiles(store.layout, SameThread, FigureCalculator(CALENDAR))
    found = files.stored_days(Symbol("AAPL"), store.identity)
    assert [each.symbol_day for each in found] == [day("AAPL", "2024-02-01")]
