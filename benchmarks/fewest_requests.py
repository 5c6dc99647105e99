"""How many requests an ingestion takes, against the fewest there can be: bars / 10,000, rounded up.

    python benchmarks/fewest_requests.py [--symbols 500] [--sessions 20] [--workers 4] [--folder DIR]

Symbols of mixed liquidity: a fifth each have 390, 200, 60, 15 and 2 bars a session. First everything, by a store that
knows nothing of their volume; then a tenth of the symbols are lost as a whole, and filled again. Then, of that store,
1 %, 5 % and 20 % of the symbol-days at random: a request is for one stretch of time, so that it takes at least one for
every date, however few bars there are; this is shown beside the fewest, and not held against the goal.
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

from benchmarks.page_server import MOST_BARS, PageServer
from benchmarks.pipelines import FIRST, config_in, ingest, last_of, symbols_called

from marketpipe import PipelineConfig

LIQUIDITY = (390, 200, 60, 15, 2)
SHARES = (0.01, 0.05, 0.2)
GOAL = 1.15


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--symbols", type=int, default=500)
    parser.add_argument("--sessions", type=int, default=20)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    last, symbols = last_of(options.sessions), symbols_called(options.symbols)
    print(f"{'of the fewest':>13}{'requests':>10}{'fewest':>8}{'bars':>12}   {options.symbols} x {options.sessions}")
    with (
        PageServer(str(FIRST), last, *LIQUIDITY) as server,
        tempfile.TemporaryDirectory(dir=options.folder) as folder,
    ):
        config = config_in(Path(folder), server.url, symbols, last, workers=options.workers)
        kept = [_measured("everything, nothing known", server, config)]
        files, chance = sorted(config.output_path.rglob("*.parquet")), random.Random(7)
        some = {f"symbol={symbol}" for symbol in chance.sample(symbols, max(1, len(symbols) // 10))}
        lost = [file for file in files if some & set(file.parts)]
        kept.append(_filled("a tenth of the symbols, whole", lost, server, config))
        for share in SHARES:
            lost = chance.sample(files, round(len(files) * share))
            dates = len({file.parts[-3:] for file in lost})
            _filled(f"{share:.0%} of the symbol-days, on {dates} dates", lost, server, config)
    sys.exit(0 if all(kept) else f"more than {GOAL} times the fewest")


def _filled(what: str, lost: Sequence[Path], server: PageServer, config: PipelineConfig) -> bool:
    for file in lost:
        file.unlink()
    return _measured(what, server, config)


def _measured(what: str, server: PageServer, config: PipelineConfig) -> bool:
    before = server.counts()["requests"]
    report = ingest(config)
    requests, fewest = server.counts()["requests"] - before, math.ceil(report.bars / MOST_BARS)
    ratio = requests / fewest
    print(f"{ratio:>13.2f}{requests:>10,.0f}{fewest:>8,}{report.bars:>12,}   {what}", flush=True)
    return round(ratio, 2) <= GOAL


if __name__ == "__main__":
    main()
