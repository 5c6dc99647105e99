"""Measure the report page at three sizes of a store: its time, its size, and the time to its first paint.

    python benchmarks/report_page.py [--sizes 10x1 100x1 500x5] [--folder DIR]

A size is symbols times years. Stores are made of synthetic checkpoints and linked files (see linked_store.py), so that
the bars of each symbol-day take a few bytes: a page of real ones is larger by up to the megabytes of ``bars_mb``. The
paint is measured in Chromium, if it, chromedriver and selenium are installed.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.comparison import parse_options
from benchmarks.linked_store import make_store

from marketpipe import Symbol
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.shared_kernel.infrastructure.exchange_calendar import ExchangeCalendar

LAST = date(2024, 12, 31)
MEASURE = """
import resource, sys, time
from marketpipe import StoreConfig
from marketpipe.store import Store
root = sys.argv[1]
config = StoreConfig(**{f"{name}_path": f"{root}/{name}" for name in ("aggregates", "quarantine", "revisions")},
                     output_path=f"{root}/data", state_path=f"{root}/state/marketpipe.sqlite")
with Store(config) as store:
    started, cpu = time.perf_counter(), time.process_time()
    page = store.report()
    page.write(f"{root}/report.html", overwrite=True)
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"{page.symbols:5} symbols x {page.sessions} sessions: {seconds:6.2f} s, {cpu:6.2f} s processor time, "
          f"{page.size_bytes / 1e6:5.1f} MB, {page.embedded:,} symbol-days with bars, peak RSS {peak / 1024:.0f} MB")
"""
PAINTS = "return performance.getEntriesByType('paint').map(each => Math.round(each.startTime))"
OPEN_MAP = """
const began = performance.now(), done = arguments[0];
location.hash = 'completeness';
const look = () => document.querySelector('#completeness canvas')?.width > 300
    ? done(Math.round(performance.now() - began)) : requestAnimationFrame(look);
look();
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", default=["10x1", "100x1", "500x5"])
    parser.add_argument("--folder", type=Path)
    options = parse_options(parser)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        for size in options.sizes:
            symbols, years = map(int, size.split("x"))
            root = Path(folder, size)
            _make(root, symbols, years)
            print(
                subprocess.run([sys.executable, "-c", MEASURE, str(root)], check=True, text=True, stdout=-1).stdout,
                end="",
            )
            print(f"      {painted(root / 'report.html')}", flush=True)


def _make(root: Path, symbols: int, years: int) -> None:
    calendar, first = ExchangeCalendar(latest=TradingDate(LAST)), TradingDate(date(LAST.year - years + 1, 1, 1))
    names = [Symbol(f"S{number:04}") for number in range(symbols)]
    make_store(root, names, calendar.sessions(first, TradingDate(LAST)), official=True)


def painted(page: Path) -> str:
    """Return when Chromium first painted the page, and how long its heat map takes to open."""
    try:
        from selenium import webdriver
    except ModuleNotFoundError:
        return "selenium is not installed: no paint was measured"
    program, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if program is None or driver is None:
        return "chromium and chromedriver are not installed: no paint was measured"
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for option in ("--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1440,900"):
        options.add_argument(option)
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    try:
        browser.get(page.as_uri())
        paints = browser.execute_script(PAINTS)
        opened = browser.execute_async_script(OPEN_MAP)
        return f"first paint after {min(paints)} ms, the heat map {opened} ms after it is asked for"
    finally:
        browser.quit()


if __name__ == "__main__":
    main()
