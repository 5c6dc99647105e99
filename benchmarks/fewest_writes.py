"""Count what a store in a bucket requests of it while a million bars are ingested, in pages of 10,000 bars.

    python benchmarks/fewest_writes.py [--workers 4] [--only liquid|thin] [--share 1.0] [--folder DIR]

Everything is as configured by default: aggregates, official days, revisions. Liquid symbols have 390 bars a session,
thin ones 20. The bucket is in memory: each call is one request, as a bucket without faults would count it. Both must
stay within the largest allowed number of writes a million bars; ``--share`` ingests fewer symbols and scales.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from attrs import frozen
from benchmarks.comparison import parse_options
from benchmarks.page_server import PageServer
from benchmarks.pipelines import FIRST, last_date, numbered_symbols
from prometheus_client import CollectorRegistry

from marketpipe import Credentials, Pipeline, PipelineConfig
from marketpipe.storage.infrastructure.objects.object_store import DELETE, GET, PUT
from marketpipe.storage.infrastructure.objects.obstore_objects import ObstoreObjects

MILLION = 1_000_000


@frozen
class Market:
    """``most`` is the largest allowed number of writes a million bars."""

    name: str
    bars_a_day: int
    symbols: int
    sessions: int
    most: int


MARKETS = (Market("liquid", 390, 10, 256, 130), Market("thin", 20, 200, 250, 150))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--only", choices=[market.name for market in MARKETS])
    parser.add_argument("--share", type=float, default=1.0)
    parser.add_argument("--folder", type=Path)
    options = parse_options(parser)
    print(f"{'market':>8}{'bars':>12}{'pages':>7}{'puts':>7}{'gets':>7}{'deletes':>8}{'puts a million':>16}{'most':>6}")
    chosen = [market for market in MARKETS if options.only in (None, market.name)]
    passed = [_measured(market, options.workers, options.share, options.folder) for market in chosen]
    sys.exit(0 if all(passed) else "more writes than allowed")


def _measured(market: Market, workers: int, share: float, folder: Path | None) -> bool:
    requests, last = Counter[str](), last_date(market.sessions)
    symbols = numbered_symbols(max(1, round(market.symbols * share)))
    with (
        PageServer(str(FIRST), last, market.bars_a_day, daily=True) as server,
        tempfile.TemporaryDirectory(dir=folder) as root,
    ):
        given: dict[str, Any] = {
            "provider": "alpaca",
            "symbols": symbols,
            "start": FIRST,
            "end": last,
            "root": root,
            "workers": workers,
            "session": "regular",
            "alpaca": {"base_url": server.url, "rate_limit_per_min": MILLION},
            "output_path": "s3://bucket/bars",
            "state_path": "state/marketpipe.sqlite",
        }
        bars = _ingested(PipelineConfig(**given), requests)
        pages = server.counts()["requests"]
    writes = requests[PUT] / bars * MILLION
    print(
        f"{market.name:>8}{bars:>12,}{pages:>7,.0f}{requests[PUT]:>7,}{requests[GET]:>7,}{requests[DELETE]:>8,}"
        f"{writes:>16,.1f}{market.most:>6}",
        flush=True,
    )
    return writes <= market.most


def _ingested(config: PipelineConfig, requests: Counter[str]) -> int:
    """Ingest into an empty bucket, and return the number of bars."""
    from obstore.store import MemoryStore

    def count(kind: str) -> None:
        requests[kind] += 1

    class OverMemory(Pipeline):
        _new_object_store = staticmethod(lambda place: ObstoreObjects(MemoryStore(), place, on_request=count))

    with OverMemory(config, credentials=Credentials("key", "secret"), registry=CollectorRegistry()) as pipeline:
        report = pipeline.ingest()
        if not report.ok:
            raise SystemExit(f"not everything was ingested: {report}")
    return report.bars


if __name__ == "__main__":
    main()
