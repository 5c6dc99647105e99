"""The real sample: from the package that has it into a store, and a clear message without the package."""

from __future__ import annotations

import gzip
import json
import shlex
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from marketpipe import load_ohlcv
from tests.support.in_process_cli import run_in_process

ROWS = """Ticker,Date,Open,High,Low,Close,Volume,Adj Close
AAPL,2012-10-26,609.43,614.0,591.0,604.0,36372900,79.1
AAPL,2012-10-31,594.88,601.96,587.7,595.32,18214800,77.9
FB,2012-10-31,20.82,21.5,20.73,21.11,98656600,21.11
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of a package with that name, as an installed one would be found."""
    folder = tmp_path / "packages" / "bokeh_sampledata"
    (folder / "_data").mkdir(parents=True)
    (folder / "__init__.py").write_text("raise ImportError('must not be imported')\n")
    monkeypatch.syspath_prepend(str(folder.parent))
    return folder


def test_the_sample_is_a_store_of_daily_bars_as_traded(package: Path, tmp_path: Path) -> None:
    (package / "_data" / "stocks.csv.gz").write_bytes(gzip.compress(ROWS.encode()))
    ended = run_in_process("sample", cwd=tmp_path)
    assert (ended.code, ended.err) == (0, "")
    assert "3 real daily bars of AAPL, FB, 2012-10-26 to 2012-10-31" in ended.out
    assert "public domain" in ended.out
    assert load_ohlcv("AAPL", "2012-10-01", "2012-10-31", "1d", root=tmp_path / "sample")["close"].to_pylist() == [
        604.0,
        595.32,
    ]
    advised = shlex.split(ended.out.rpartition("try: marketpipe ")[2])
    exported = run_in_process(*advised, cwd=tmp_path)
    assert (exported.code, "3 rows written" in exported.err) == (0, True), exported.err
    covered = run_in_process("coverage", "--root", "sample", cwd=tmp_path)  # FB was listed later
    assert (covered.code, "complete, except for 1 unlisted" in covered.out) == (0, True), covered.out
    again = json.loads(run_in_process("sample", "--json", cwd=tmp_path).out)
    assert (again["ok"], again["preview"]["provider"]) == (True, "import:quandl-wiki")


def test_with_another_root_the_advised_line_works_from_the_current_folder(package: Path, tmp_path: Path) -> None:
    (package / "_data" / "stocks.csv.gz").write_bytes(gzip.compress(ROWS.encode()))
    ended = run_in_process("sample", "--root", "elsewhere", cwd=tmp_path)
    advised = shlex.split(ended.out.rpartition("try: marketpipe ")[2])
    exported = run_in_process(*advised, cwd=tmp_path)
    assert (exported.code, "3 rows written" in exported.err) == (0, True), exported.err
    assert (tmp_path / "elsewhere" / "sample" / "official").is_dir()


@pytest.mark.usefixtures("package")
def test_an_older_package_is_named_with_what_to_install(tmp_path: Path) -> None:
    ended = run_in_process("sample", cwd=tmp_path)
    assert (ended.code, "pip install 'bokeh-sampledata>=2026.1'" in ended.err) == (2, True)
    assert not (tmp_path / "sample").exists()


def test_the_first_ingestion_of_invented_bars_says_so(tmp_path: Path) -> None:
    words = ("ingest", "--provider", "synthetic", "--symbols", "A", "--start", "2024-01-02", "--end", "2024-01-02")
    assert "these bars are invented" in run_in_process(*words, cwd=tmp_path).out
    assert "invented" not in run_in_process(*words, cwd=tmp_path).out


def test_the_published_package_becomes_the_sample(tmp_path: Path) -> None:
    if find_spec("bokeh_sampledata") is None:
        pytest.skip("the extra sample is not installed")
    ended = run_in_process("sample", cwd=tmp_path)
    assert (ended.code, "12,154 real daily bars of AAPL, FB, GOOG, IBM, MSFT" in ended.out) == (0, True), ended.err
    assert "bokeh_sampledata" not in sys.modules, "it would import what it needs itself"
