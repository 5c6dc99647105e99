"""Measure how well coverage judges: false suspicions in a drawn market, and how many injected faults it finds.

    python benchmarks/judgement.py [--symbols 500] [--sessions 250] [--faults 175] [--seed 7] [--only KIND]

Every kind of fault is injected at three severities, with and without official days, into some of the symbols of a
market that is otherwise good. A fault is found if one of its sessions is suspect; a session is falsely suspected if no
fault is in it. Faults that no provider's user could notice (fewer than twenty bars lost in a usual day) are not counted.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path

import numpy as np
from attrs import asdict, define, evolve

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.drawn_market import DrawnBars, DrawnMarket, characters
from benchmarks.injected_faults import FAULTS, Fault, Injection
from benchmarks.judged_store import JudgedStore, judge

from marketpipe.shared_kernel.domain.trading_date import TradingDate, TradingSession
from marketpipe.shared_kernel.infrastructure.exchange_calendar import ExchangeCalendar

LAST = TradingDate(date(2024, 12, 31))
BETWEEN = 25
"""Sessions between two faults of a symbol."""
SYMBOLS_WITH_FAULTS = 100
Place = tuple[int, int]
"""A symbol's number and a session's row."""


@define
class Trial:
    """The outcome of one kind of fault at one severity."""

    injected: int = 0
    found: int = 0
    sessions: int = 0
    false: int = 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--symbols", type=int, default=500)
    parser.add_argument("--sessions", type=int, default=250)
    parser.add_argument("--faults", type=int, default=175, help="of each kind and severity")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--only", help="kinds of faults that contain this text; the clean market is skipped then")
    parser.add_argument("--show", type=int, default=0, help="show so many of the false suspicions and missed faults")
    options = parser.parse_args()
    calendar = ExchangeCalendar(latest=LAST)
    sessions = calendar.sessions(TradingDate(date(2020, 1, 2)), LAST)[-options.sessions :]
    market = new_market(sessions, options.symbols, options.seed)
    began = time.perf_counter()
    store = JudgedStore.of(sessions, {n: market.bars_of(n) for n in range(options.symbols)})
    print(f"{options.symbols} symbols x {len(sessions)} sessions drawn in {time.perf_counter() - began:.0f} s", flush=True)
    for with_official in (True, False):
        print(f"\n{'with' if with_official else 'without'} official days")
        if not options.only:
            clean(store, with_official, options.show)
        for kind, fault in FAULTS.items():
            if not options.only or options.only in kind:
                trials = [
                    inject(market, store, fault, severity, with_official, options) for severity in fault.severities
                ]
                show(kind, fault, trials)


def new_market(sessions: Sequence[TradingSession], symbols: int, seed: int) -> DrawnMarket:
    early = frozenset(s.trading_date.day for s in sessions if s.closes < s.opens.plus_minutes(390))
    return DrawnMarket([s.trading_date.day for s in sessions], early, characters(symbols, seed), seed)
