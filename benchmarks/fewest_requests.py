"""Count the requests of an ingestion and compare them with the smallest possible number: bars / 10,000, rounded up.

    python benchmarks/fewest_requests.py [--symbols 500] [--sessions 20] [--workers 4] [--folder DIR]

The symbols have mixed liquidity: a fifth each have 390, 200, 60, 15 and 2 bars per session. First an empty store
ingests everything, without knowing the liquidity of the symbols. Then all files of a tenth of the symbols are deleted
and ingested again. Both must stay below the largest allowed ratio. Finally 1 %, 5 % and 20 % of the symbol-days are
deleted at random and ingested again; this is shown only, because a request covers one range of time, so every date
needs at least one request, however few bars it has.
"""

from __future__ import annotations

import argparse
import math
import random
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.comparison import parse_options
from benchmarks.page_server import PAGE_LIMIT, PageServer
from benchmarks.pipelines import FIRST, ingest, last_date, numbered_symbols, pipeline_config

from marketpipe import PipelineConfig

LIQUIDITY = (390, 200, 60, 15, 2)
SHARES = (0.01, 0.05, 0.2)
LARGEST_RATIO = 1.15


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--symbols", type=int, default=500)
    parser.add_argument("--sessions", type=int, default=20)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--folder", type=Path)
    options = parse_options(parser)
    last, symbols = last_date(options.sessions), numbered_symbols(options.symbols)
    print(f"{'ratio':>13}{'requests':>10}{'smallest':>9}{'bars':>12}   {options.symbols} x {options.sessions}")
    with (
        PageServer(str(FIRST), last, *LIQUIDITY) as server,
        tempfile.TemporaryDirectory(dir=options.folder) as folder,
    ):
        config = pipeline_config(Path(folder), server.url, symbols, last, workers=options.workers)
        passed = [_measure("everything into an empty store", server, config)]
        files, chance = sorted(config.output_path.rglob("*.parquet")), random.Random(7)
        some = {f"symbol={symbol}" for symbol in chance.sample(symbols, max(1, len(symbols) // 10))}
        lost = [file for file in files if some & set(file.parts)]
        passed.append(_fill("all files of a tenth of the symbols", lost, server, config))
        for share in SHARES:
            lost = chance.sample(files, round(len(files) * share))
            dates = len({file.parts[-3:] for file in lost})
            _fill(f"{share:.0%} of the symbol-days, on {dates} dates", lost, server, config)
    sys.exit(0 if all(passed) else f"more than {LARGEST_RATIO} times the smallest possible number of requests")


def _fill(title: str, lost: Sequence[Path], server: PageServer, config: PipelineConfig) -> bool:
    for file in lost:
        file.unlink()
    return _measure(title, server, config)


def _measure(title: str, server: PageServer, config: PipelineConfig) -> bool:
    before = server.counts()["requests"]
    report = ingest(config)
    requests, minimum = server.counts()["requests"] - before, max(1, math.ceil(report.bars / PAGE_LIMIT))
    ratio = requests / minimum
    print(f"{ratio:>13.2f}{requests:>10,.0f}{minimum:>9,}{report.bars:>12,}   {title}", flush=True)
    return round(ratio, 2) <= LARGEST_RATIO


if __name__ == "__main__":
    main()
