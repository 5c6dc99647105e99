from __future__ import annotations

import gzip
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from marketpipe.integration.infrastructure.imported.table_files import read_files, read_source, symbol_in
from marketpipe.integration.infrastructure.imported.table_reader import FILE_SYMBOL
from marketpipe.shared_kernel.domain.errors import ConfigurationError
from tests.support import own_files
from tests.support.own_files import Market

HEAD, ROW = "timestamp,open,high,low,close,volume", "2024-01-02T14:30:00Z,1.5,2.5,1.25,2.25,100"


def written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_plain_compressed_and_zipped_text_is_the_same(tmp_path: Path) -> None:
    text = f"{HEAD}\n{ROW}\n"
    plain = written(tmp_path / "AAPL.csv", text)
    packed = tmp_path / "AAPL.csv.gz"
    packed.write_bytes(gzip.compress(text.encode()))
    zipped = tmp_path / "AAPL.zip"
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr("AAPL.csv", text)
    tables = [read_files([path]).table for path in (plain, packed, zipped)]
    assert tables[0].equals(tables[1])
    assert tables[0].equals(tables[2])


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_any_usual_delimiter(tmp_path: Path, delimiter: str) -> None:
    path = written(tmp_path / "AAPL.csv", f"{HEAD}\n{ROW}\n".replace(",", delimiter))
    assert read_files([path]).table.column_names[:6] == HEAD.split(",")


def test_a_byte_order_mark_is_no_part_of_the_first_name(tmp_path: Path) -> None:
    path = tmp_path / "AAPL.csv"
    path.write_bytes(b"\xef\xbb\xbf" + f"{HEAD}\n{ROW}\n".encode())
    assert read_files([path]).table.column_names[0] == "timestamp"


def test_several_files_become_one_table_that_knows_their_names(tmp_path: Path) -> None:
    paths = [written(tmp_path / name, f"{HEAD}\n{ROW}\n") for name in ("AAPL_1min.csv", "MSFT.csv")]
    assert read_files(paths).table[FILE_SYMBOL].to_pylist() == ["AAPL", "MSFT"]


def test_whole_prices_of_one_file_join_fractions_of_another(tmp_path: Path) -> None:
    whole = written(tmp_path / "A.csv", f"{HEAD}\n2024-01-02T14:30:00Z,1,2,1,2,100\n")
    fractions = written(tmp_path / "B.csv", f"{HEAD}\n{ROW}\n")
    assert read_files([whole, fractions]).table["open"].to_pylist() == [1.0, 1.5]


def test_parquet(tmp_path: Path) -> None:
    path = tmp_path / "BRK.B.parquet"
    pq.write_table(pa.table({"open": [1.5]}), path)
    table = read_files([path]).table
    assert table["open"].to_pylist() == [1.5]
    assert table[FILE_SYMBOL].to_pylist() == ["BRK.B"]


@pytest.mark.parametrize(
    ("row", "names"),
    [
        ("01/02/2024,09:30,1,2,1,2,100", "date time open high low close volume"),
        ("2024-01-02 09:30:00,1,2,1,2,100", "timestamp open high low close volume"),
        ("01/02/2024,1,2,1,2,100", "date open high low close volume"),
    ],
)
def test_columns_without_names_have_the_usual_order(tmp_path: Path, row: str, names: str) -> None:
    source = read_files([written(tmp_path / "AAPL.txt", f"{row}\n{row}\n")])
    assert source.table.column_names[:-1] == names.split()
    assert len(source.table) == 2
    assert "no header" in source.notes[0]


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("AAPL.csv", "", "is empty"),
        ("AAPL.csv", "1,2,3\n", "no header and 3 columns"),
        ("20240102_aapl_minute_quote.csv", "1,2,3,4,5,6\n", "QuantConnect's minute_quote"),
        ("20241340_aapl_minute_trade.csv", "34200000,1,2,1,2,100\n", "does not begin with a date"),
        ("AAPL.csv", f"{HEAD}\n{ROW}\n1,2\n", "cannot be read"),
        ("AAPL.parquet", "PAR1", "cannot be read"),
    ],
)
def test_what_cannot_be_read_is_refused_with_the_file(tmp_path: Path, name: str, text: str, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        read_files([written(tmp_path / name, text)])


def test_a_file_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"missing\.csv cannot be read"):
        read_source(tmp_path / "missing.csv")
    with pytest.raises(ConfigurationError, match="relative paths begin in the current folder, or in --root"):
        read_source("missing.csv")


def test_files_with_other_columns_are_refused(tmp_path: Path) -> None:
    paths = [written(tmp_path / "A.csv", f"{HEAD}\n{ROW}\n"), written(tmp_path / "B.csv", f"{HEAD},n\n{ROW},1\n")]
    with pytest.raises(ConfigurationError, match=r"B\.csv has other columns than .*A\.csv"):
        read_files(paths)


def test_files_with_prices_in_two_units_of_their_format_are_refused(tmp_path: Path) -> None:
    paths = [own_files.databento(tmp_path / f"{pretty}.csv", [Market()], pretty=pretty) for pretty in (True, False)]
    with pytest.raises(ConfigurationError, match="some files have prices in nano-dollars, and some in dollars"):
        read_files(paths)


@pytest.mark.parametrize("given", [7, object(), None])
def test_what_is_no_table_is_refused(given: object) -> None:
    with pytest.raises(ConfigurationError, match="is no table that can be imported"):
        read_source(given)


def test_a_frame_with_two_levels_of_columns_is_refused_with_how_to_make_one_of_them() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({("Close", "AAPL"): [1.5], ("Volume", "AAPL"): [100]})
    with pytest.raises(ConfigurationError, match=r"two levels, .* give frame\.droplevel\(1, axis=1\) and symbol="):
        read_source(frame)
    assert read_source(frame.droplevel(1, axis=1)).table.column_names == ["Close", "Volume"]


@pytest.mark.parametrize(
    ("name", "symbol"),
    [("AAPL.csv", "AAPL"), ("BRK.B.csv.gz", "BRK.B"), ("msft_2024.txt", "msft"), ("SPY 1 min.csv", "SPY")],
)
def test_the_symbol_in_a_name(name: str, symbol: str) -> None:
    assert symbol_in(name) == symbol


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (f"{HEAD}\n{ROW}\n".encode("utf-16"), "is UTF-16: save it as UTF-8"),
        (f"{HEAD},caf\xe9\n{ROW},x\n".encode("latin-1"), "cannot be read: 'utf-8' codec"),
        (f"{HEAD},open\n{ROW},1.5\n".encode(), "two columns are named 'open'"),
    ],
)
def test_text_that_cannot_be_read_is_refused(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "AAPL.csv"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=words):
        read_files([path])


def test_a_path_that_cannot_exist_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="cannot be read: embedded null"):
        read_files(["A\0.csv"])
